//! How the change log stands: whether it is whole, and where it ends.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::super::{
    super::{error::StoreError, sql::Prefix},
    SqliteStore, changelog, failure,
    location::Place,
    migrate::{self, Trouble},
    schema,
};

/// A place in the log, and all that has to be the same for what comes behind it to be all there is.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// SQLite's own count of changes to tables and triggers.
    pub(super) schema_version: i64,
    pub(super) epoch: String,
    /// The row that was read last.
    pub(super) id: i64,
    /// Drawn at random when that row was written: a row that came to its number otherwise, after a
    /// restored backup or an emptied log, has another one.
    pub(super) nonce: i64,
}

impl Standing {
    /// The end of the log; `None` if its table or a trigger is missing or altered, or it is empty.
    /// All from one moment of the database.
    pub(super) async fn read(
        connection: &mut SqliteConnection,
        prefix: &Prefix,
    ) -> Result<Option<Self>, sqlx::Error> {
        let mut moment = connection.begin().await?;
        let standing = Self::read_in(&mut moment, prefix).await;
        moment.rollback().await?;
        standing
    }

    /// The same within a transaction.
    async fn read_in(
        moment: &mut SqliteConnection,
        prefix: &Prefix,
    ) -> Result<Option<Self>, sqlx::Error> {
        let sql = "SELECT schema_version FROM pragma_schema_version";
        let schema_version = sqlx::query_scalar(sql).fetch_one(&mut *moment).await?;
        if !is_whole(moment, prefix).await? {
            return Ok(None);
        }
        let sql = "SELECT c.id, c.nonce, s.value AS epoch FROM {p}changes AS c, {p}settings AS s \
                   WHERE s.name = 'changes_epoch' ORDER BY c.id DESC LIMIT 1";
        let last = sqlx::query(AssertSqlSafe(prefix.fill(sql))).fetch_optional(moment).await?;
        last.map(|last| {
            Ok(Self {
                schema_version,
                epoch: last.try_get("epoch")?,
                id: last.try_get("id")?,
                nonce: last.try_get("nonce")?,
            })
        })
        .transpose()
    }
}

/// Whether table and triggers are what they should be.
async fn is_whole(moment: &mut SqliteConnection, prefix: &Prefix) -> Result<bool, sqlx::Error> {
    let sql = "SELECT lower(name), sql FROM sqlite_schema WHERE type IN ('table', 'trigger')";
    let found: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(moment).await?;
    let found: HashMap<String, String> = found.into_iter().collect();
    let wanted = changelog::definitions(prefix);
    Ok(wanted.iter().all(|(name, sql)| {
        found.get(&name.to_ascii_lowercase()).is_some_and(|found| plain(found) == plain(sql))
    }))
}

/// A definition as it counts: whoever keeps our tables in migrations of their own may have set them
/// out otherwise.
fn plain(sql: &str) -> String {
    let words: Vec<&str> = sql.split_whitespace().collect();
    words.join(" ").to_ascii_lowercase()
}

/// Puts the log right: brings older tables up to date, or makes it anew.
pub(super) async fn repair(store: &SqliteStore) -> Result<(), StoreError> {
    repair_as_writer(store).await.map_err(|error| {
        if error.is_unsupported() {
            return StoreError::unusable(
                "the change log or its triggers are missing or were altered, and this store may \
                 not write; open the database once with one that may",
            );
        }
        error
    })
}

async fn repair_as_writer(store: &SqliteStore) -> Result<(), StoreError> {
    let prefix = &store.prefix;
    let trouble = |error: Trouble| match error {
        Trouble::Database(error) => failure::of(error),
        schema @ Trouble::Schema(_) => schema.within(&Place::elsewhere()),
    };
    let mut writer = store.writer().await?;
    let version = migrate::version(&mut writer, prefix).await.map_err(trouble)?;
    if version == 0 {
        return Err(StoreError::unusable(format!("there are no tables of `{prefix}` any more")));
    }
    if version < schema::VERSION {
        return migrate::migrate(&mut writer, prefix, store.algorithm).await.map_err(trouble);
    }
    let mut change = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failure::of)?;
    // Another process may have been quicker.
    if Standing::read_in(&mut change, prefix).await.map_err(failure::of)?.is_none() {
        let sql = AssertSqlSafe(changelog::anew(prefix));
        sqlx::raw_sql(sql).execute(&mut *change).await.map_err(failure::of)?;
        change.commit().await.map_err(failure::of)?;
    }
    Ok(())
}

//! Makes a database ready: its tables, and the digest algorithm that it records.

use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    super::sql::{
        Prefix,
        primary::Standby,
        telling::{BEGIN_MENDING, put_right},
    },
    schema, session,
    telling::telling,
};
use crate::value::digest::DigestAlgorithm;

/// What a database is to be.
pub(super) struct Wanted<'a> {
    pub(super) prefix: &'a Prefix,
    /// `None`: the one that the connection makes tables in.
    pub(super) schema: Option<&'a str>,
    pub(super) algorithm: Option<DigestAlgorithm>,
    /// Whether tables may be made, or brought up to date.
    pub(super) may_migrate: bool,
}

/// What it is.
pub(super) struct Prepared {
    /// With its schema, so that no `search_path` decides which tables are meant.
    pub(super) prefix: Prefix,
    pub(super) schema: String,
    pub(super) algorithm: DigestAlgorithm,
}

/// Why a database can't be made ready.
pub(super) enum Trouble {
    Database(sqlx::Error),
    /// What is wrong with what stands in it, and what to do.
    Schema(String),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Makes the tables, or brings them up to date, all in one transaction. After an error it is still open:
/// the connection is to be closed.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    wanted: &Wanted<'_>,
) -> Result<Prepared, Trouble> {
    sqlx::raw_sql(session::BEGIN_MIGRATION).execute(&mut *connection).await?;
    let (is_standby, current): (bool, Option<String>) =
        sqlx::query_as("SELECT pg_is_in_recovery(), current_schema()::text")
            .persistent(false)
            .fetch_one(&mut *connection)
            .await?;
    if is_standby {
        return Err(Trouble::Schema(Standby.to_string()));
    }
    let schema = wanted.schema.map(str::to_owned).or(current).ok_or_else(|| {
        Trouble::Schema(
            "no schema of its search_path exists; name one with `PostgresOptions::schema`".into(),
        )
    })?;
    let prefix = wanted.prefix.within(&schema);
    // Looked at before a lock is taken, so that a database that is up to date is opened without one.
    let found = version(connection, &schema, &prefix).await?;
    if found < schema::VERSION {
        if !wanted.may_migrate {
            return Err(Trouble::Schema(outdated(found)));
        }
        migrate(connection, &schema, &prefix, wanted.algorithm.unwrap_or_default()).await?;
    }
    let algorithm = recorded_algorithm(connection, &prefix, wanted.algorithm).await?;
    // A role that may not read is found out now, and not by the first visitor.
    let look = prefix.fill("SELECT 1 FROM {p}keys, {p}owners, {p}memberships LIMIT 0");
    sqlx::raw_sql(AssertSqlSafe(look)).execute(&mut *connection).await?;
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(Prepared { prefix, schema, algorithm })
}

fn outdated(found: i64) -> String {
    let (state, ddl) = if found == 0 {
        ("its tables are missing".to_owned(), "ddl()".to_owned())
    } else {
        let newest = schema::VERSION;
        let state = format!("its tables are of version {found}, and this release needs {newest}");
        (state, format!("ddl_from({found})"))
    };
    format!("{state}; allow `PostgresOptions::migrate`, or run the statements of its `{ddl}`")
}

/// Takes a lock and looks again: of many nodes that start at once, one finds work to do.
async fn migrate(
    connection: &mut PgConnection,
    schema: &str,
    prefix: &Prefix,
    algorithm: DigestAlgorithm,
) -> Result<(), Trouble> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .persistent(false)
        .bind(lock_of(schema))
        .execute(&mut *connection)
        .await?;
    let found = version(connection, schema, prefix).await?;
    if found >= schema::VERSION {
        return Ok(());
    }
    let exists = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";
    let exists = sqlx::query_scalar(exists).persistent(false).bind(schema);
    let mut ddl = schema::ddl_from(found, prefix, algorithm);
    // Not `IF NOT EXISTS`, which asks for the right to make schemas even where there is nothing to make.
    if !exists.fetch_one(&mut *connection).await? {
        ddl.insert_str(0, &schema::create_schema(schema));
    }
    sqlx::raw_sql(AssertSqlSafe(ddl)).execute(connection).await?;
    Ok(())
}

/// Puts the triggers right, in one transaction. After an error it is still open: the connection is to be
/// closed.
pub(super) async fn mend_triggers(
    connection: &mut PgConnection,
    prefix: &Prefix,
    schema: &str,
) -> Result<(), Trouble> {
    sqlx::raw_sql(BEGIN_MENDING).execute(&mut *connection).await?;
    // Many nodes find them missing at once; the others then find nothing to do.
    let lock = format!("SELECT pg_advisory_xact_lock({})", lock_of(schema));
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *connection).await?;
    // Those of a newer release are its own business.
    version(connection, schema, prefix).await?;
    put_right(connection, &telling(prefix, schema)).await?;
    Ok(())
}

/// The number of a lock that everybody takes who makes tables of ours in this schema. It belongs to the
/// transaction, so that it holds behind a pooler and is gone with whoever took it.
fn lock_of(schema: &str) -> i64 {
    let hash = Sha256::new().chain_update("tower-token-auth migrations ").chain_update(schema);
    let hash = hash.finalize();
    i64::from_be_bytes(hash[..8].try_into().expect("a hash is longer than eight bytes"))
}

/// The version of the tables; 0 where there are none. A newer one than this code knows is refused.
async fn version(
    connection: &mut PgConnection,
    schema: &str,
    prefix: &Prefix,
) -> Result<i64, Trouble> {
    // Not `to_regclass`, which may still answer from before the lock was waited for.
    let exists = "SELECT EXISTS (SELECT 1 FROM pg_class AS c \
                  JOIN pg_namespace AS n ON n.oid = c.relnamespace \
                  WHERE n.nspname = $1 AND c.relname = $2)";
    let exists = sqlx::query_scalar(exists).persistent(false);
    let exists = exists.bind(schema).bind(prefix.fill("{n}migrations"));
    if !exists.fetch_one(&mut *connection).await? {
        return Ok(0);
    }
    let highest = AssertSqlSafe(prefix.fill("SELECT coalesce(max(version), 0) FROM {p}migrations"));
    let version: i64 = sqlx::query_scalar(highest).persistent(false).fetch_one(connection).await?;
    if version > schema::VERSION {
        return Err(Trouble::Schema(format!(
            "its tables are of version {version}, and this release knows versions up to {}; use \
             the release that made them, or a newer one",
            schema::VERSION
        )));
    }
    Ok(version)
}

async fn recorded_algorithm(
    connection: &mut PgConnection,
    prefix: &Prefix,
    wanted: Option<DigestAlgorithm>,
) -> Result<DigestAlgorithm, Trouble> {
    let sql = prefix.fill("SELECT value FROM {p}settings WHERE name = 'digest_algorithm'");
    let name: Option<String> =
        sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_optional(connection).await?;
    let recorded = name.as_deref().and_then(DigestAlgorithm::from_name).ok_or_else(|| {
        Trouble::Schema(format!(
            "the digest algorithm in {prefix}settings is missing or unknown; restore the table, or \
             use a newer release"
        ))
    })?;
    match wanted {
        Some(wanted) if wanted != recorded => Err(Trouble::Schema(format!(
            "it keeps {recorded} digests, and {wanted} was asked for; leave the algorithm out, or \
             choose another schema or table prefix"
        ))),
        _ => Ok(recorded),
    }
}

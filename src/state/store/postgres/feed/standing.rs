//! What stands of the triggers that tell of changes, and how they are put right.

use sqlx::{Executor as _, Row as _, SqlStr, postgres::PgRow};

use super::super::{super::error::StoreError, PostgresStore, failure, migrate, session::Session};

/// What stands of the triggers.
pub(super) struct Standing {
    pub(super) standing: String,
    pub(super) is_whole: bool,
    pub(super) channel: String,
}

impl Standing {
    /// By one message, so that it needs no transaction behind a pooler.
    pub(super) async fn read(store: &PostgresStore, sql: SqlStr) -> Result<Self, StoreError> {
        let mut session = Session::of(&store.pool).await?;
        let row: PgRow =
            session.connection().fetch_one(sqlx::raw_sql(sql)).await.map_err(failure::of_read)?;
        session.release();
        let column = |name| row.try_get_unchecked::<String, _>(name).map_err(StoreError::other);
        Ok(Self {
            standing: column("standing")?,
            is_whole: column("is_whole")? == "true",
            channel: column("channel")?,
        })
    }
}

/// Makes the triggers anew.
pub(super) async fn repair(store: &PostgresStore) -> Result<(), StoreError> {
    let missing = |why: String| {
        StoreError::unusable(format!(
            "the triggers that tell of changes are missing, or not those of this release, and {why}; \
             have the owner of the tables open the store once, or run what `PostgresOptions::ddl` \
             says of them"
        ))
    };
    if !store.may_migrate {
        return Err(missing("this store may not make them".into()));
    }
    let mut session = Session::of(&store.pool).await?;
    let made = migrate::make_triggers(session.connection(), &store.prefix, &store.schema).await;
    match made {
        Ok(()) => {
            session.release();
            Ok(())
        }
        // Dropped with its connection, whose transaction is still open.
        Err(error) => {
            let error = failure::of(error);
            Err(if error.is_unsupported() { missing(error.to_string()) } else { error })
        }
    }
}

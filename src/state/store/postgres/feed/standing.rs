//! What stands of the triggers that tell of changes, and how they are put right.

use sqlx::postgres::PgConnectOptions;

use super::super::{
    super::{
        error::StoreError,
        sql::{
            hearing::Told,
            telling::{Found, Telling},
        },
    },
    PostgresStore, failure, migrate,
    place::Place,
    session::Session,
    telling,
};

impl Told for PostgresStore {
    fn telling(&self) -> Telling {
        telling::telling(&self.prefix, &self.schema)
    }

    fn leads_to(&self) -> PgConnectOptions {
        (*self.pool.connect_options()).clone()
    }

    async fn look(&self, sql: String) -> Result<Found, StoreError> {
        let mut session = Session::of(&self.pool).await?;
        let found = Found::read(session.connection(), sql).await.map_err(failure::of_read);
        session.release_after(&found);
        found
    }

    async fn mend(&self) -> Result<(), StoreError> {
        let missing = |why: String| {
            StoreError::unusable(format!(
                "the triggers that tell of changes are missing, or not those of this release, and {why}; \
                 have the owner of the tables open the store once, or run what `PostgresOptions::ddl` \
                 says of them"
            ))
        };
        if !self.may_migrate {
            return Err(missing("this store may not make them".into()));
        }
        let mut session = Session::of(&self.pool).await?;
        match migrate::mend_triggers(session.connection(), &self.prefix, &self.schema).await {
            Ok(()) => {
                session.release();
                Ok(())
            }
            // Dropped with its connection, whose transaction is still open.
            Err(migrate::Trouble::Database(error)) => {
                let error = failure::of(error);
                Err(if error.is_unsupported() { missing(error.to_string()) } else { error })
            }
            Err(trouble) => Err(Place::elsewhere().trouble(trouble)),
        }
    }

    fn failure(error: sqlx::Error) -> StoreError {
        failure::of(error)
    }

    fn trouble_at(at: &PgConnectOptions, error: sqlx::Error) -> StoreError {
        Place::of(at).trouble(error.into())
    }
}

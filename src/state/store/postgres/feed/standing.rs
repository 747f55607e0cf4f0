//! What stands of the triggers that tell of changes, and how they are put right.

use super::super::{
    super::error::StoreError, PostgresStore, failure, migrate, place::Place, session::Session,
    telling::Found,
};

/// What stands of them, by a question that may do more than ask.
pub(super) async fn look(store: &PostgresStore, sql: String) -> Result<Found, StoreError> {
    let mut session = Session::of(&store.pool).await?;
    let found = Found::read(session.connection(), sql).await.map_err(failure::of_read);
    session.release_after(&found);
    found
}

/// Puts them right.
pub(super) async fn mend(store: &PostgresStore) -> Result<(), StoreError> {
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
    match migrate::mend_triggers(session.connection(), &store.prefix, &store.schema).await {
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

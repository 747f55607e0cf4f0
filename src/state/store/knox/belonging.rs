//! Whose a new key is to be: a user's and, in Smarter's database, a profile's.

use super::{
    super::error::StoreError,
    KnoxStore, failure,
    schema::Smarter,
    session::{Session, Statement},
};
use crate::value::key::{ApiKey, Record};

/// Whose a new key is to be, as the columns that say so are bound.
pub(super) struct Belonging {
    pub(super) user: String,
    /// Smarter's alone.
    pub(super) profile: Option<String>,
}

impl KnoxStore {
    /// The profile of the key's owner in the key's account; or their only one, where none is named.
    pub(super) async fn belonging(
        &self,
        session: &mut Session,
        key: &ApiKey,
    ) -> Result<Belonging, StoreError> {
        let user = self.bound_owner(key.owner_id()).ok_or_else(StoreError::not_found)?;
        let Some(smarter) = self.smarter() else {
            return Ok(Belonging { user, profile: None });
        };
        let profile = self.profile_in(session, smarter, &user, key).await?;
        Ok(Belonging { user, profile: Some(profile) })
    }

    /// A successor authenticates whom the key that it replaces does, and is of the same profile unless
    /// it names another account.
    pub(super) async fn belonging_of(
        &self,
        session: &mut Session,
        replaced: &Record,
        key: &ApiKey,
    ) -> Result<Belonging, StoreError> {
        let belonging = self.belonging(session, key).await?;
        let user = self.bound_owner(replaced.owner().id()).ok_or_else(StoreError::not_found)?;
        Ok(Belonging { user, ..belonging })
    }

    pub(super) async fn profile_in(
        &self,
        session: &mut Session,
        smarter: &Smarter,
        user: &str,
        key: &ApiKey,
    ) -> Result<String, StoreError> {
        let dialect = self.schema.dialect;
        let mut text = format!(
            "SELECT {} FROM {} AS m WHERE m.user_id = {}",
            dialect.text("m.id"),
            smarter.profiles,
            self.schema.owners.ids.value(dialect)
        );
        let mut values = vec![Some(user.to_owned())];
        if let Some(account) = key.account() {
            text.push_str(&format!(" AND m.account_id = {}", smarter.account_ids.value(dialect)));
            let account = smarter.account_ids.bound(account.as_str(), dialect);
            values.push(Some(account.ok_or_else(no_profile)?));
        }
        let statement = Statement { sql: self.schema.compile(&text), values };
        let rows = session.rows(statement).await.map_err(failure::of)?;
        let mut ids = rows.into_iter().flatten().flatten();
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(id),
            (None, _) => Err(no_profile()),
            (Some(_), Some(_)) => Err(StoreError::unsupported(
                "a key is of one of its owner's profiles: name the account",
            )),
        }
    }
}

fn no_profile() -> StoreError {
    StoreError::unsupported(
        "the owner has no profile in that account, and a key is of a profile: make one in Smarter",
    )
}

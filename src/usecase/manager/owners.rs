//! Makes and changes owners.

use super::{KeyError, KeyManager, ledger::Ledger, limits, settle::settle, transact::MAX_ROUNDS};
use crate::{
    state::store::{DynRepository, StoreError},
    value::{
        owner::{AccountId, Owner, OwnerId},
        subject::Subject,
    },
};

/// What is to change about an owner; what is not given stays as it is.
#[derive(Clone, Debug, Default)]
#[must_use = "pass it to `KeyManager::update_owner`"]
pub struct OwnerUpdate {
    username: Option<Box<str>>,
    is_active: Option<bool>,
    is_staff: Option<bool>,
    is_superuser: Option<bool>,
    accounts: Option<Vec<AccountId>>,
}

impl OwnerUpdate {
    /// Changes nothing, until a setter says what.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name by which people know the owner, one line of 1 to 255 characters.
    pub fn username(mut self, username: impl Into<Box<str>>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets whether the owner is active; the keys of an inactive owner are refused.
    pub fn active(mut self, is_active: bool) -> Self {
        self.is_active = Some(is_active);
        self
    }

    /// Sets whether the owner is staff. Keys that the owner holds stay as they are.
    pub fn staff(mut self, is_staff: bool) -> Self {
        self.is_staff = Some(is_staff);
        self
    }

    /// Sets whether the owner is a superuser.
    pub fn superuser(mut self, is_superuser: bool) -> Self {
        self.is_superuser = Some(is_superuser);
        self
    }

    /// Replaces the accounts the owner is a member of.
    pub fn accounts<A: Into<AccountId>>(mut self, accounts: impl IntoIterator<Item = A>) -> Self {
        self.accounts = Some(accounts.into_iter().map(Into::into).collect());
        self
    }

    fn check(&self) -> Result<(), KeyError> {
        self.username.iter().try_for_each(|username| limits::line("username", username))?;
        self.accounts.as_deref().map_or(Ok(()), limits::accounts)
    }

    fn apply(&self, mut owner: Owner) -> Owner {
        if let Some(username) = &self.username {
            owner = owner.with_username(username.clone());
        }
        if let Some(is_active) = self.is_active {
            owner = owner.with_active(is_active);
        }
        if let Some(is_staff) = self.is_staff {
            owner = owner.with_staff(is_staff);
        }
        if let Some(is_superuser) = self.is_superuser {
            owner = owner.with_superuser(is_superuser);
        }
        if let Some(accounts) = &self.accounts {
            owner = owner.with_accounts(accounts.iter().cloned());
        }
        owner
    }
}

impl KeyManager {
    /// Adds an owner. [`create`](Self::create) does so by itself for an owner that is not there.
    ///
    /// # Errors
    /// `is_duplicate` when an owner of that id is there already, who stays unchanged; `is_invalid`
    /// when an id or the username is empty or too long; `is_unsupported` when the store's schema
    /// keeps owners elsewhere; `is_forbidden` on behalf of anybody but a superuser;
    /// `is_outcome_unknown` when the store failed on the way.
    pub async fn create_owner(&self, owner: impl Into<Owner>) -> Result<Owner, KeyError> {
        let repository = self.owners()?;
        let owner = owner.into();
        limits::owner(&owner)?;
        let id = owner.id().clone();
        self.change_owner(repository, &id, |stored| match stored {
            Some(_) => Err(KeyError::owner_exists),
            None => Ok(owner.clone()),
        })
        .await
    }

    /// Finds an owner by its id.
    ///
    /// # Errors
    /// `is_not_found`, also on behalf of anybody but the owner and superusers; `is_unavailable` when
    /// the store could not look.
    pub async fn owner(&self, id: impl Into<OwnerId>) -> Result<Owner, KeyError> {
        let repository = self.repository()?;
        let id = id.into();
        let found = repository.owner(&id).await.map_err(KeyError::reading)?;
        let found = found.ok_or_else(KeyError::no_such_owner)?;
        let may = match &self.caller {
            // By the very row that is answered, and otherwise by one that was read later than it.
            Some(caller) if *caller == id => self.judgement().lets_rule(Some(&found), Some(&id)),
            Some(caller) => {
                let row = repository.owner(caller).await.map_err(KeyError::reading)?;
                self.judgement().lets_rule(row.as_ref(), None)
            }
            None => true,
        };
        may.then_some(found).ok_or_else(KeyError::no_such_owner)
    }

    /// Changes what `update` gives and leaves the rest. No authentication in this process that
    /// begins after it returned goes by the owner as it was.
    ///
    /// # Errors
    /// `is_not_found`; `is_invalid` when an account's id or the username is empty or too long;
    /// `is_unsupported` when the store's schema keeps owners elsewhere; `is_forbidden` on behalf of
    /// anybody but a superuser; `is_outcome_unknown` when the store failed on the way.
    pub async fn update_owner(
        &self,
        id: impl Into<OwnerId>,
        update: OwnerUpdate,
    ) -> Result<Owner, KeyError> {
        let repository = self.owners()?;
        let id = id.into();
        update.check()?;
        self.change_owner(repository, &id, |stored| match stored {
            Some(owner) => Ok(update.apply(owner.clone())),
            None => Err(KeyError::no_such_owner),
        })
        .await
    }

    /// Lets the owner's keys be used again, those that are active themselves.
    ///
    /// # Errors
    /// Those of [`update_owner`](Self::update_owner).
    pub async fn activate_owner(&self, id: impl Into<OwnerId>) -> Result<Owner, KeyError> {
        self.update_owner(id, OwnerUpdate::new().active(true)).await
    }

    /// Has all keys of the owner refused for as long as this lasts; the keys themselves stay as
    /// they are. No policy refuses this.
    ///
    /// # Errors
    /// Those of [`update_owner`](Self::update_owner).
    pub async fn deactivate_owner(&self, id: impl Into<OwnerId>) -> Result<Owner, KeyError> {
        self.update_owner(id, OwnerUpdate::new().active(false)).await
    }

    /// Replaces the accounts the owner is a member of.
    ///
    /// # Errors
    /// Those of [`update_owner`](Self::update_owner).
    pub async fn set_accounts<A: Into<AccountId>>(
        &self,
        id: impl Into<OwnerId>,
        accounts: impl IntoIterator<Item = A>,
    ) -> Result<Owner, KeyError> {
        self.update_owner(id, OwnerUpdate::new().accounts(accounts)).await
    }

    /// Refuses unless the caller is a superuser or, where one is named, this owner, by their row as it
    /// stands now: also where there is nothing to do, which would tell that there is nothing. Whatever
    /// changes a row is judged once more inside its transaction.
    pub(super) async fn may_rule(&self, or: Option<&OwnerId>) -> Result<(), KeyError> {
        let Some(caller) = &self.caller else { return Ok(()) };
        let row = self.repository()?.owner(caller).await.map_err(KeyError::reading)?;
        let mut judgement = self.judgement();
        if judgement.lets_rule(row.as_ref(), or) {
            return Ok(());
        }
        Err(judgement.explain(StoreError::not_applied(), KeyError::changing_owner))
    }

    /// Writes what `edit` answers, seeing the stored row, if the caller may change owners.
    async fn change_owner(
        &self,
        repository: &dyn DynRepository,
        id: &OwnerId,
        mut edit: impl FnMut(Option<&Owner>) -> Result<Owner, fn() -> KeyError> + Send,
    ) -> Result<Owner, KeyError> {
        let about = [Subject::Owner(id.clone())];
        for _ in 0..MAX_ROUNDS {
            let places = self.room(1, &about).await?;
            let (ledger, mut judgement) = (Ledger::default(), self.judgement());
            let mut is_unsettled = false;
            let mut decide = |stored: Option<&Owner>, caller: Option<&Owner>| {
                judgement.begin();
                ledger.begin_owner();
                if !judgement.lets_rule(caller, None) {
                    return None;
                }
                // Lost while this one waited for the row. An owner's row does not tell that it was
                // written, so that the repair could take it for the one that was lost about.
                is_unsettled = self.inner.settler.is_unsettled(&about);
                if is_unsettled {
                    return None;
                }
                let after = edit(stored).map_err(|error| judgement.finds(error)).ok()?;
                ledger.owner(stored, &after);
                Some(after)
            };
            let change = repository.change_owner(id, self.caller.as_ref(), &mut decide);
            match settle(&*self.inner, &ledger, places, change).await {
                Err(error) if is_unsettled && error.is_not_applied() => {}
                outcome => {
                    return outcome
                        .map_err(|error| judgement.explain(error, KeyError::changing_owner));
                }
            }
        }
        Err(KeyError::unsettled())
    }

    fn owners(&self) -> Result<&dyn DynRepository, KeyError> {
        let repository = self.repository()?;
        if !repository.capabilities().owners {
            return Err(KeyError::not_in_schema("owners are kept elsewhere: change them there"));
        }
        Ok(repository)
    }
}

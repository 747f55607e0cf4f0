//! What a change of keys sees, and what it answers.

use crate::value::{
    key::{ApiKey, KeyId, Record},
    owner::Owner,
};

/// Decides on one key, seeing its [`Family`]: what is to be written, or `None` to change nothing at
/// all, those keys included that the same call has decided on before.
pub type KeyPlan<'a> = &'a mut (dyn FnMut(&Family) -> Option<Vec<KeyWrite>> + Send);
/// Decides, on the stored owner and the caller's stored row, whether a key may be added.
pub type InsertJudge<'a> = &'a mut (dyn FnMut(&Owner, Option<&Owner>) -> bool + Send);
/// Answers with what an owner is to become, seeing the stored row, if there is one, and the caller's;
/// `None` changes nothing.
pub type OwnerEdit<'a> =
    &'a mut (dyn FnMut(Option<&Owner>, Option<&Owner>) -> Option<Owner> + Send);

/// A key with all that a decision about it may depend on, as one transaction sees them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Family {
    /// The key, with its owner's row.
    pub key: Record,
    /// The key that this one replaced, if it names one that is still there.
    pub predecessor: Option<ApiKey>,
    /// The key that replaced this one, if there is one.
    pub successor: Option<ApiKey>,
    /// The caller's row, if a caller was named and is stored.
    pub caller: Option<Owner>,
}

/// One row to be written. A store that meets one it does not know, of a later version of this crate,
/// writes nothing and answers [`StoreError::unsupported`](crate::store::StoreError::unsupported).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum KeyWrite {
    /// Adds a key of the same owner.
    Insert(ApiKey),
    /// Writes the key with this id; [`ApiKey::keeping_identity_of`] says what stays as it is stored.
    Update(ApiKey),
    /// Takes a key away.
    Delete(KeyId),
}

impl Family {
    /// A key without relatives and without a caller.
    #[must_use]
    pub fn of(key: Record) -> Self {
        Self { key, predecessor: None, successor: None, caller: None }
    }

    /// Sets the key that this one replaced.
    #[must_use]
    pub fn with_predecessor(mut self, predecessor: Option<ApiKey>) -> Self {
        self.predecessor = predecessor;
        self
    }

    /// Sets the key that replaced this one.
    #[must_use]
    pub fn with_successor(mut self, successor: Option<ApiKey>) -> Self {
        self.successor = successor;
        self
    }

    /// Sets the caller's row.
    #[must_use]
    pub fn with_caller(mut self, caller: Option<Owner>) -> Self {
        self.caller = caller;
        self
    }
}

//! Whose key it is: a person, an organisation or a service, and the accounts it is a member of.

use std::{fmt, sync::Arc};

use uuid::Uuid;

/// An owner's own identity in the user's system, as text of 1 to 128 bytes.
///
/// Integers and UUIDs convert, so `42.into()` and `"ada".into()` both name an owner. An empty or
/// over-long id is refused when it is about to be stored. Clones share the text, as the keys of one
/// owner do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct OwnerId(Arc<str>);

/// An account's own identity in the user's system, as text of 1 to 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct AccountId(Arc<str>);

macro_rules! text_id {
    ($name:ident) => {
        impl $name {
            /// The longest id that is stored, in bytes.
            pub const MAX_LEN: usize = 128;

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it is neither empty nor longer than [`MAX_LEN`](Self::MAX_LEN).
            #[must_use]
            pub fn is_valid(&self) -> bool {
                (1..=Self::MAX_LEN).contains(&self.0.len())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id.into())
            }
        }

        impl From<&$name> for $name {
            fn from(id: &$name) -> Self {
                id.clone()
            }
        }

        text_id!($name from i32, i64, u32, u64, Uuid);
    };
    ($name:ident from $($plain:ty),*) => {
        $(impl From<$plain> for $name {
            fn from(id: $plain) -> Self {
                Self(id.to_string().into())
            }
        })*
    };
}

text_id!(OwnerId);
text_id!(AccountId);

/// Whose key it is, and what the rules ask about them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Owner {
    id: OwnerId,
    username: Box<str>,
    is_active: bool,
    is_staff: bool,
    is_superuser: bool,
    accounts: Box<[AccountId]>,
}

impl Owner {
    /// An active owner who is neither staff nor superuser; the username is the id until
    /// [`with_username`](Self::with_username) says otherwise.
    #[must_use]
    pub fn new(id: impl Into<OwnerId>) -> Self {
        let id = id.into();
        Self {
            username: id.as_str().into(),
            id,
            is_active: true,
            is_staff: false,
            is_superuser: false,
            accounts: Box::default(),
        }
    }

    /// An active staff owner: one who may hold working keys under the default policy.
    #[must_use]
    pub fn staff(id: impl Into<OwnerId>) -> Self {
        Self::new(id).with_staff(true)
    }

    /// Sets the name by which people know the owner.
    #[must_use]
    pub fn with_username(mut self, username: impl Into<Box<str>>) -> Self {
        self.username = username.into();
        self
    }

    /// Sets whether the owner is active; keys of an inactive owner are refused.
    #[must_use]
    pub fn with_active(mut self, is_active: bool) -> Self {
        self.is_active = is_active;
        self
    }

    /// Sets whether the owner is staff.
    #[must_use]
    pub fn with_staff(mut self, is_staff: bool) -> Self {
        self.is_staff = is_staff;
        self
    }

    /// Sets whether the owner is a superuser.
    #[must_use]
    pub fn with_superuser(mut self, is_superuser: bool) -> Self {
        self.is_superuser = is_superuser;
        self
    }

    /// Sets the accounts the owner is a member of; order and repeats do not matter.
    #[must_use]
    pub fn with_accounts<A: Into<AccountId>>(
        mut self,
        accounts: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut accounts: Vec<AccountId> = accounts.into_iter().map(Into::into).collect();
        accounts.sort_unstable();
        accounts.dedup();
        self.accounts = accounts.into();
        self
    }

    /// The owner's identity.
    #[must_use]
    pub fn id(&self) -> &OwnerId {
        &self.id
    }

    /// The name by which people know the owner.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Whether the owner is active.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.is_active
    }

    /// Whether the owner is staff.
    #[must_use]
    pub fn is_staff(&self) -> bool {
        self.is_staff
    }

    /// Whether the owner is a superuser.
    #[must_use]
    pub fn is_superuser(&self) -> bool {
        self.is_superuser
    }

    /// The accounts the owner is a member of, sorted.
    #[must_use]
    pub fn accounts(&self) -> &[AccountId] {
        &self.accounts
    }

    /// This owner less what a change from `before` to `after` took away, and nothing that it gave:
    /// flags and memberships.
    pub(crate) fn narrowed_by(self, before: &Self, after: &Self) -> Self {
        let kept = |own: bool, before: bool, after: bool| own && (after || !before);
        let is_active = kept(self.is_active, before.is_active, after.is_active);
        let is_staff = kept(self.is_staff, before.is_staff, after.is_staff);
        let is_superuser = kept(self.is_superuser, before.is_superuser, after.is_superuser);
        let is_kept =
            |own: &&AccountId| kept(true, before.is_member_of(own), after.is_member_of(own));
        let accounts: Vec<AccountId> = self.accounts.iter().filter(is_kept).cloned().collect();
        let owner = self.with_active(is_active).with_staff(is_staff).with_superuser(is_superuser);
        owner.with_accounts(accounts)
    }

    /// Whether the owner is a member of `account`.
    #[must_use]
    pub fn is_member_of(&self, account: &AccountId) -> bool {
        self.accounts.binary_search(account).is_ok()
    }
}

impl From<&Self> for Owner {
    fn from(owner: &Self) -> Self {
        owner.clone()
    }
}

/// What [`Owner::new`] makes of it: enough to name one whose row is there already.
impl From<OwnerId> for Owner {
    fn from(id: OwnerId) -> Self {
        Self::new(id)
    }
}

/// What [`Owner::new`] makes of it: enough to name one whose row is there already.
impl From<&str> for Owner {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_uuids_convert() {
        assert_eq!(OwnerId::from(42_i64).as_str(), "42");
        assert_eq!(OwnerId::from(Uuid::nil()).as_str(), "00000000-0000-0000-0000-000000000000");
        assert!(!OwnerId::from("").is_valid());
        assert!(OwnerId::from("é".repeat(64)).is_valid());
        assert!(!OwnerId::from("é".repeat(65)).is_valid());
    }

    #[test]
    fn accounts_are_a_set() {
        let owner = Owner::staff("ada").with_accounts(["b", "a", "b"]);
        assert_eq!(owner.accounts(), ["a".into(), "b".into()]);
        assert!(owner.is_member_of(&"b".into()));
        assert!(!owner.is_member_of(&"c".into()));
    }
}

//! The ownership rules: which keys somebody owns, may see and may manage.

use super::{
    key::ApiKey,
    owner::{AccountId, Owner},
};

/// How a user has to stand to a key.
///
/// A *profile* is one owner's membership of one account; one account may be the platform's. Who has
/// several profiles sees the union. An inactive user sees and manages nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Relation {
    /// The key's owner is the user.
    Owner,
    /// A superuser reads all keys; anybody else their own, those of their accounts, and those of the
    /// platform's account.
    Reader,
    /// The user reads the key and does not own it.
    SharedWith,
    /// A superuser manages all keys; staff their own and those of their accounts; anybody else
    /// their own.
    Manager,
}

impl Relation {
    /// Whether `user`, by their stored row, stands so to `key`. `platform` is the platform's account,
    /// if there is one.
    #[must_use]
    pub fn holds(self, user: &Owner, key: &ApiKey, platform: Option<&AccountId>) -> bool {
        let owns = key.owner_id() == user.id();
        let is_colleague = || key.account().is_some_and(|account| user.is_member_of(account));
        match self {
            Self::Owner => owns,
            _ if !user.is_active() => false,
            Self::Reader => {
                owns || user.is_superuser()
                    || is_colleague()
                    || platform.is_some() && key.account() == platform
            }
            Self::SharedWith => !owns && Self::Reader.holds(user, key, platform),
            Self::Manager => owns || user.is_superuser() || user.is_staff() && is_colleague(),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::value::{
        digest::{DigestAlgorithm, TokenDigest},
        key::KeyId,
    };

    /// A key of `grace`, in account `acme`, as others see it.
    #[test]
    fn each_rule_by_who_asks() {
        let digest = TokenDigest::of(DigestAlgorithm::Sha256, "t");
        let key = ApiKey::new(KeyId::random(), digest, "grace".into(), DateTime::UNIX_EPOCH)
            .with_account(Some("acme".into()));
        let ada = || Owner::new("ada");
        let acme = AccountId::from("acme");
        // Who asks, whether acme is the platform's account, and: owner, reader, shared, manager.
        let table = [
            (Owner::new("grace"), false, [true, true, false, true]),
            (Owner::new("grace").with_active(false), false, [true, false, false, false]),
            (ada(), false, [false, false, false, false]),
            (ada(), true, [false, true, true, false]),
            (ada().with_accounts(["acme"]), false, [false, true, true, false]),
            (ada().with_accounts(["acme"]).with_staff(true), false, [false, true, true, true]),
            (ada().with_accounts(["other"]).with_staff(true), true, [false, true, true, false]),
            (ada().with_superuser(true), false, [false, true, true, true]),
            (ada().with_superuser(true).with_active(false), true, [false; 4]),
        ];
        let relations =
            [Relation::Owner, Relation::Reader, Relation::SharedWith, Relation::Manager];
        for (user, is_platform, expected) in table {
            let platform = is_platform.then_some(&acme);
            let holds = relations.map(|relation| relation.holds(&user, &key, platform));
            assert_eq!(holds, expected, "{user:?}, platform: {is_platform}");
        }
        // A key of no account is nobody's but its owner's, whatever the platform's account.
        let loose = key.with_account(None);
        assert!(!Relation::Reader.holds(&ada().with_accounts(["acme"]), &loose, Some(&acme)));
        assert!(!Relation::Reader.holds(&ada(), &loose, None));
    }
}

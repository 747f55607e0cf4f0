//! The record of an API key: all that is known of it but its secret.

mod id;
mod last_use;
mod record;
mod setters;
mod shared;
mod slide;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use self::last_use::LastUse;
pub use self::{
    id::KeyId,
    record::{Record, Status},
};
pub(crate) use self::{shared::SharedRecord, slide::Slide};
use super::{
    digest::TokenDigest,
    owner::{AccountId, OwnerId},
    token::TokenKey,
};

/// The record of an API key: everything about it but its secret.
///
/// A custom store makes one with [`ApiKey::new`] and the `with_…` setters. `Serialize` (feature
/// `serde`) writes the masked identifier in place of the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    id: KeyId,
    digest: TokenDigest,
    token_key: TokenKey,
    owner: OwnerId,
    name: Box<str>,
    scopes: Box<[Box<str>]>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_use: LastUse,
    is_active: bool,
    /// What few keys carry stands behind one pointer, so that a million cached keys stay small.
    details: Option<Box<Details>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Details {
    account: Option<AccountId>,
    predecessor: Option<KeyId>,
    description: Option<Box<str>>,
    version: Option<Box<str>>,
    tags: Vec<Box<str>>,
    annotations: BTreeMap<String, String>,
}

impl ApiKey {
    /// An active, nameless key that never expires and was never used.
    #[must_use]
    pub fn new(id: KeyId, digest: TokenDigest, owner: OwnerId, created_at: DateTime<Utc>) -> Self {
        Self {
            id,
            digest,
            token_key: TokenKey::default(),
            owner,
            name: Box::default(),
            scopes: Box::default(),
            created_at,
            updated_at: created_at,
            expires_at: None,
            last_use: LastUse::NEVER,
            is_active: true,
            details: None,
        }
    }
    /// The key's public identity.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The hash of its token.
    #[must_use]
    pub fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    /// The masked digest for display: `****` and its last four characters.
    #[must_use]
    pub fn identifier(&self) -> String {
        self.digest.identifier()
    }

    /// The token's first 15 characters.
    #[must_use]
    pub fn token_key(&self) -> &TokenKey {
        &self.token_key
    }

    /// Whose key it is.
    #[must_use]
    pub fn owner_id(&self) -> &OwnerId {
        &self.owner
    }

    /// The account it belongs to, where accounts are used.
    #[must_use]
    pub fn account(&self) -> Option<&AccountId> {
        self.details.as_ref()?.account.as_ref()
    }

    /// The key that this one replaced by a rotation, if it came of one; that key may be gone by now.
    #[must_use]
    pub fn predecessor(&self) -> Option<KeyId> {
        self.details.as_ref()?.predecessor
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.details.as_ref()?.description.as_deref()
    }

    /// The version of whatever it stands for.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.details.as_ref()?.version.as_deref()
    }

    /// Its tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.details.iter().flat_map(|details| details.tags.iter().map(AsRef::as_ref))
    }

    /// Its annotations, by name.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        let details = self.details.iter();
        details
            .flat_map(|details| details.annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())))
    }

    /// Its scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(AsRef::as_ref)
    }

    /// When it was made.
    #[must_use]
    pub fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// When management last changed it.
    #[must_use]
    pub fn updated_at(&self) -> DateTime<Utc> {
        self.updated_at
    }

    /// The moment after which it is refused; `None` means never.
    #[must_use]
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }

    /// When it was last seen, to the microsecond and within the recorder's window; `None` means
    /// never.
    #[must_use]
    pub fn last_used_at(&self) -> Option<DateTime<Utc>> {
        self.last_use.at()
    }

    /// Whether it is active; expiry and owner are judged apart.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.is_active
    }

    /// Whether `now` is past the key's expiry; a key that expires at `now` still passes, as in knox.
    #[must_use]
    pub fn is_expired_at(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at < now)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for ApiKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut out = serializer.serialize_struct("ApiKey", 16)?;
        out.serialize_field("id", &self.id)?;
        out.serialize_field("identifier", &self.identifier())?;
        out.serialize_field("owner", &self.owner)?;
        out.serialize_field("account", &self.account())?;
        out.serialize_field("predecessor", &self.predecessor())?;
        out.serialize_field("name", &self.name)?;
        out.serialize_field("description", &self.description())?;
        out.serialize_field("version", &self.version())?;
        out.serialize_field("tags", &self.tags().collect::<Vec<_>>())?;
        out.serialize_field("annotations", &self.annotations().collect::<BTreeMap<_, _>>())?;
        out.serialize_field("scopes", &self.scopes)?;
        out.serialize_field("created_at", &self.created_at)?;
        out.serialize_field("updated_at", &self.updated_at)?;
        out.serialize_field("expires_at", &self.expires_at)?;
        out.serialize_field("last_used_at", &self.last_used_at())?;
        out.serialize_field("is_active", &self.is_active)?;
        out.end()
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::digest::DigestAlgorithm;
    use crate::value::owner::Owner;

    fn key() -> ApiKey {
        let digest = TokenDigest::of(DigestAlgorithm::Sha256, "t");
        ApiKey::new(KeyId::random(), digest, "ada".into(), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn judged_in_knox_s_order_and_expiry_is_strict() {
        let now = DateTime::UNIX_EPOCH + chrono::Duration::hours(1);
        let past = now - chrono::Duration::microseconds(1);
        let record = |expires, active, owner| {
            let key = key().with_expires_at(expires).with_active(active);
            Record::new(key, Owner::new("ada").with_active(owner))
        };
        assert_eq!(record(None, true, true).status_at(now), Status::Usable);
        assert_eq!(record(Some(now), true, true).status_at(now), Status::Usable);
        assert_eq!(record(Some(past), true, true).status_at(now), Status::Expired);
        assert_eq!(record(Some(past), false, false).status_at(now), Status::Expired);
        assert_eq!(record(None, false, false).status_at(now), Status::OwnerInactive);
        assert_eq!(record(None, false, true).status_at(now), Status::KeyInactive);
        assert_eq!(record(None, true, false).status_at(now), Status::OwnerInactive);
    }

    #[test]
    fn standing_ignores_what_no_revocation_changes() {
        let owner = Owner::staff("ada");
        let key = key();
        let one = Record::new(key.clone(), owner.clone());
        let same = key.clone().with_name("n").with_last_used_at(Some(DateTime::UNIX_EPOCH));
        assert!(one.same_standing(&Record::new(same, owner.clone())));
        let others = [
            Record::new(key.clone().with_active(false), owner.clone()),
            Record::new(key.clone().with_expires_at(Some(DateTime::UNIX_EPOCH)), owner.clone()),
            Record::new(key.clone().with_scopes(["s"]), owner.clone()),
            Record::new(key.clone().with_account(Some("a".into())), owner.clone()),
            Record::new(key.clone(), owner.clone().with_active(false)),
            Record::new(key.clone(), owner.clone().with_staff(false)),
            Record::new(key.clone(), owner.clone().with_superuser(true)),
            Record::new(key, owner.with_accounts(["a"])),
        ];
        for other in &others {
            assert!(!one.same_standing(other), "{other:?}");
        }
    }

    #[test]
    fn rare_details_cost_nothing_until_they_are_set() {
        let plain = key().with_tags(Vec::<String>::new()).with_description(None::<&str>);
        assert!(plain.details.is_none());
        let full = plain.with_tags(["a", "b"]).with_description(Some("d"));
        assert_eq!(full.tags().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(full.description(), Some("d"));
    }
}

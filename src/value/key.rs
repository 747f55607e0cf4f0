//! The record of an API key, and the one judgement of whether it may be used now.

use std::{any::Any, collections::BTreeMap, fmt, str, sync::Arc};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    digest::TokenDigest,
    owner::{AccountId, Owner, OwnerId},
    token::TokenKey,
};

/// A key's public identity: a version 4 UUID that may be shown, logged and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct KeyId(Uuid);

impl KeyId {
    /// A new random identity.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The UUID itself.
    #[must_use]
    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl From<Uuid> for KeyId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl str::FromStr for KeyId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The record of an API key: everything about it but its secret.
///
/// A custom store makes one with [`ApiKey::new`] and the `with_…` setters. `Serialize` (feature
/// `serde`) writes the masked identifier in place of the digest.
#[derive(Clone, Debug)]
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
    last_used_at: Option<DateTime<Utc>>,
    is_active: bool,
    /// What few keys carry stands behind one pointer, so that a million cached keys stay small.
    details: Option<Box<Details>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Details {
    account: Option<AccountId>,
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
            last_used_at: None,
            is_active: true,
            details: None,
        }
    }

    /// Sets the token's first 15 characters.
    #[must_use]
    pub fn with_token_key(mut self, token_key: TokenKey) -> Self {
        self.token_key = token_key;
        self
    }

    /// Sets the name; names need not be unique.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the account the key belongs to, where accounts are used.
    #[must_use]
    pub fn with_account(mut self, account: Option<AccountId>) -> Self {
        self.details_mut().account = account;
        self.settled()
    }

    /// Sets what the key is for.
    #[must_use]
    pub fn with_description(mut self, description: Option<impl Into<Box<str>>>) -> Self {
        self.details_mut().description = description.map(Into::into);
        self.settled()
    }

    /// Sets the version of whatever the key stands for.
    #[must_use]
    pub fn with_version(mut self, version: Option<impl Into<Box<str>>>) -> Self {
        self.details_mut().version = version.map(Into::into);
        self.settled()
    }

    /// Sets the tags, in their order.
    #[must_use]
    pub fn with_tags<T: Into<Box<str>>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.details_mut().tags = tags.into_iter().map(Into::into).collect();
        self.settled()
    }

    /// Sets the annotations: free names and values for the user's own tools.
    #[must_use]
    pub fn with_annotations(mut self, annotations: BTreeMap<String, String>) -> Self {
        self.details_mut().annotations = annotations;
        self.settled()
    }

    /// Sets the scopes, in their order.
    #[must_use]
    pub fn with_scopes<T: Into<Box<str>>>(mut self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets when the key was last changed by management.
    #[must_use]
    pub fn with_updated_at(mut self, updated_at: DateTime<Utc>) -> Self {
        self.updated_at = updated_at;
        self
    }

    /// Sets the moment after which the key is refused; `None` means never.
    #[must_use]
    pub fn with_expires_at(mut self, expires_at: Option<DateTime<Utc>>) -> Self {
        self.expires_at = expires_at;
        self
    }

    /// Sets when the key was last seen; `None` means never.
    #[must_use]
    pub fn with_last_used_at(mut self, last_used_at: Option<DateTime<Utc>>) -> Self {
        self.last_used_at = last_used_at;
        self
    }

    /// Sets whether the key is active.
    #[must_use]
    pub fn with_active(mut self, is_active: bool) -> Self {
        self.is_active = is_active;
        self
    }

    fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }

    /// Drops the details again when a setter left nothing in them.
    fn settled(mut self) -> Self {
        if self.details.as_deref() == Some(&Details::default()) {
            self.details = None;
        }
        self
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

    /// When it was last seen, within the recorder's window; `None` means never.
    #[must_use]
    pub fn last_used_at(&self) -> Option<DateTime<Utc>> {
        self.last_used_at
    }

    /// Whether it is active; expiry and owner are judged apart.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.is_active
    }

    /// This edited key with what no edit may change: id, digest, token key, owner, the time it was
    /// made and its last use, as `stored` has them. For stores' `update`.
    #[must_use]
    pub fn keeping_identity_of(self, stored: &Self) -> Self {
        Self {
            id: stored.id,
            digest: stored.digest,
            token_key: stored.token_key.clone(),
            owner: stored.owner.clone(),
            created_at: stored.created_at,
            last_used_at: stored.last_used_at,
            ..self
        }
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
        let mut out = serializer.serialize_struct("ApiKey", 15)?;
        out.serialize_field("id", &self.id)?;
        out.serialize_field("identifier", &self.identifier())?;
        out.serialize_field("owner", &self.owner)?;
        out.serialize_field("account", &self.account())?;
        out.serialize_field("name", &self.name)?;
        out.serialize_field("description", &self.description())?;
        out.serialize_field("version", &self.version())?;
        out.serialize_field("tags", &self.tags().collect::<Vec<_>>())?;
        out.serialize_field("annotations", &self.annotations().collect::<BTreeMap<_, _>>())?;
        out.serialize_field("scopes", &self.scopes)?;
        out.serialize_field("created_at", &self.created_at)?;
        out.serialize_field("updated_at", &self.updated_at)?;
        out.serialize_field("expires_at", &self.expires_at)?;
        out.serialize_field("last_used_at", &self.last_used_at)?;
        out.serialize_field("is_active", &self.is_active)?;
        out.end()
    }
}

/// What a store answers: a key, its owner, and whatever a custom store attached.
#[derive(Clone)]
pub struct Record {
    key: ApiKey,
    owner: Arc<Owner>,
    data: Option<Arc<dyn Any + Send + Sync>>,
}

impl Record {
    /// A key with its owner's row. Stores that share one `Arc` between an owner's keys save memory.
    #[must_use]
    pub fn new(key: ApiKey, owner: impl Into<Arc<Owner>>) -> Self {
        Self { key, owner: owner.into(), data: None }
    }

    /// Attaches data of the user's own type, to be read back with `AuthenticatedKey::data`.
    #[must_use]
    pub fn with_data<T: Any + Send + Sync>(mut self, data: T) -> Self {
        self.data = Some(Arc::new(data));
        self
    }

    /// The key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.key.id
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What the store attached, if it is a `T`.
    #[must_use]
    pub fn data<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.data.as_ref()?.downcast_ref()
    }

    /// The one judgement: may this key be used at `now`? The order is knox's, where expiry is
    /// judged before the owner's status, with the key's own flag between them.
    #[must_use]
    pub fn status_at(&self, now: DateTime<Utc>) -> Status {
        if self.key.is_expired_at(now) {
            Status::Expired
        } else if !self.key.is_active {
            Status::KeyInactive
        } else if !self.owner.is_active() {
            Status::OwnerInactive
        } else {
            Status::Usable
        }
    }

    /// Whether the two agree in all that a revocation can change: digest, owner, account, active
    /// flag, expiry and scopes of the key; the flags and memberships of its owner. `last_used_at`,
    /// names and tags do not count.
    pub(crate) fn same_standing(&self, other: &Self) -> bool {
        let (a, b) = (&self.key, &other.key);
        a.id == b.id
            && a.digest == b.digest
            && a.owner == b.owner
            && a.account() == b.account()
            && a.is_active == b.is_active
            && a.expires_at == b.expires_at
            && a.scopes == b.scopes
            && self.owner.is_active() == other.owner.is_active()
            && self.owner.is_staff() == other.owner.is_staff()
            && self.owner.is_superuser() == other.owner.is_superuser()
            && self.owner.accounts() == other.owner.accounts()
    }
}

/// What only keys made for tests need.
#[cfg(feature = "test-util")]
impl Record {
    pub(crate) fn key_mut(&mut self) -> &mut ApiKey {
        &mut self.key
    }

    pub(crate) fn set_owner(&mut self, owner: Owner) {
        self.key.owner = owner.id().clone();
        self.owner = Arc::new(owner);
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("key", &self.key)
            .field("owner", &self.owner)
            .field("has_data", &self.data.is_some())
            .finish()
    }
}

/// Whether a record may be used, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Admitted.
    Usable,
    /// Past its expiry.
    Expired,
    /// Deactivated.
    KeyInactive,
    /// Its owner is inactive.
    OwnerInactive,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::digest::DigestAlgorithm;

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
        assert_eq!(record(None, false, false).status_at(now), Status::KeyInactive);
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
            Record::new(key.clone(), owner.clone().with_accounts(["a"])),
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

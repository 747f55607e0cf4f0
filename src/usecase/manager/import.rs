//! Takes over keys from elsewhere, by their digests.

use std::fmt;

use chrono::{DateTime, Utc};

use super::{
    KeyError, KeyManager, NewKey, create::not_added, ledger::Ledger, limits, settle::settle,
    to_micros, transact::MAX_ROUNDS,
};
use crate::{
    state::store::KeyWrite,
    usecase::{
        events::Event,
        maintenance::{Goal, is_claim},
    },
    value::{
        digest::{DigestAlgorithm, TokenDigest},
        key::{ApiKey, KeyId, Record},
        owner::Owner,
        subject::Subject,
    },
};

/// A key that was made elsewhere, known by its digest: its client goes on with the token it has.
#[derive(Clone)]
#[must_use = "pass it to `KeyManager::import`"]
pub struct ImportedKey {
    digest: Box<str>,
    owner: Owner,
    new: NewKey,
    id: Option<KeyId>,
    created_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl ImportedKey {
    /// A key of `owner` whose token has this digest: hexadecimal, of the algorithm that the database
    /// was made for.
    pub fn new(digest: impl Into<Box<str>>, owner: impl Into<Owner>) -> Self {
        Self {
            digest: digest.into(),
            owner: owner.into(),
            new: NewKey::default(),
            id: None,
            created_at: None,
            last_used_at: None,
        }
    }

    /// Sets all else that is known of it. An expiry may have passed; a token prefix is ignored.
    pub fn like(mut self, new: NewKey) -> Self {
        self.new = new;
        self
    }

    /// Sets its id; by default it gets a random one.
    pub fn id(mut self, id: KeyId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets when it was made, by default now; kept to the microsecond.
    pub fn created_at(mut self, created_at: DateTime<Utc>) -> Self {
        self.created_at = Some(to_micros(created_at));
        self
    }

    /// Sets when it was last used; kept to the microsecond.
    pub fn last_used_at(mut self, last_used_at: DateTime<Utc>) -> Self {
        self.last_used_at = Some(to_micros(last_used_at));
        self
    }
}

/// Without the digest, in whose place somebody may have put a token by mistake.
impl fmt::Debug for ImportedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportedKey")
            .field("owner", self.owner.id())
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What became of an [`ImportedKey`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The key as it is stored.
    pub record: Record,
    /// Whether it was added; `false` if the owner's key of that digest was there already, and left as
    /// it is.
    pub is_new: bool,
}

impl KeyManager {
    /// Takes over a key from elsewhere. Importing it again changes nothing, so that an import that was
    /// broken off is simply run again. No policy judges it. The owner's row is made if there is none.
    ///
    /// # Errors
    /// `is_invalid` when the digest is not one of the database's algorithm, a field is too long, or a
    /// time not in the years 1 to 9999;
    /// `is_duplicate` when another owner's key has the digest, or another key the id;
    /// `is_unsupported` when the store's schema has no place for a field that was given;
    /// `is_forbidden` on behalf of anybody but a superuser; `is_outcome_unknown` when the store failed
    /// on the way: import it again, which does no harm if it was added.
    pub async fn import(&self, imported: ImportedKey) -> Result<Imported, KeyError> {
        let repository = self.repository()?;
        let now = self.now();
        let ImportedKey { digest, owner, new, id, created_at, last_used_at } = imported;
        let digest = parse(repository.digest_algorithm(), &digest)?;
        if last_used_at.is_some() && !repository.capabilities().last_use {
            return Err(KeyError::not_in_schema("when a key was last used"));
        }
        limits::owner(&owner)?;
        let owner_id = owner.id().clone();
        let made = self.new_id(&digest)?;
        if repository.capabilities().derived_ids && id.is_some_and(|id| id != made) {
            return Err(KeyError::not_in_schema("keys' own ids"));
        }
        let key = ApiKey::new(id.unwrap_or(made), digest, owner_id, now);
        let expires_at = new.expiry.moment(now);
        let times = [("expiry", expires_at), ("creation", created_at), ("last use", last_used_at)];
        times
            .into_iter()
            .try_for_each(|(what, at)| at.map_or(Ok(()), |at| limits::year(what, at)))?;
        let key = new.describe(key.with_expires_at(expires_at), repository.capabilities())?;
        let key = key.with_created_at(created_at.unwrap_or(now)).with_last_used_at(last_used_at);

        for _ in 0..MAX_ROUNDS {
            if let Some(imported) = self.insert_imported(&key, &owner).await? {
                return Ok(imported);
            }
        }
        Err(KeyError::unsettled())
    }

    /// Adds the key, unless it is there. `None` if what was there only kept its place, and is gone by now.
    async fn insert_imported(
        &self,
        key: &ApiKey,
        owner: &Owner,
    ) -> Result<Option<Imported>, KeyError> {
        let repository = self.repository()?;
        let about = [Subject::Digest(*key.digest()), Subject::Key(key.id())];
        let places = self.room(1, &about).await?;
        let (ledger, mut judgement) = (Ledger::default(), self.judgement());
        let mut judge = |stored: &Owner, caller: Option<&Owner>| {
            judgement.begin();
            ledger.begin(key.id());
            let may = judgement.lets_rule(caller, None);
            if may {
                ledger.adds(Goal::Stay { key: key.clone(), owner: stored.clone() });
            }
            may
        };
        let insert =
            repository.insert(key.clone(), owner.clone(), self.caller.as_ref(), &mut judge);
        match settle(&*self.inner, &ledger, places, insert).await {
            Ok(record) => {
                self.inner.tell(Event::Created { key: record.id(), owner: record.owner().id() });
                Ok(Some(Imported { record, is_new: true }))
            }
            Err(error) if error.is_duplicate() => {
                // The store may have noticed before it asked about the caller.
                self.may_rule(None).await?;
                self.imported_before(key).await
            }
            Err(error) => Err(judgement.explain(error, not_added)),
        }
    }

    /// The key that has the digest already, if it is the same owner's. A row that only kept the place of
    /// one whose import was lost, in a process that has ended since, is taken away.
    async fn imported_before(&self, wanted: &ApiKey) -> Result<Option<Imported>, KeyError> {
        let repository = self.repository()?;
        let found = repository.find(*wanted.digest()).await.map_err(KeyError::reading)?;
        let record = match found {
            Some(record) if record.key().owner_id() == wanted.owner_id() => record,
            _ => return Err(KeyError::key_exists()),
        };
        let has_flag = repository.capabilities().activation;
        if is_claim(wanted, has_flag) || !is_claim(record.key(), has_flag) {
            return Ok(Some(Imported { record, is_new: false }));
        }
        let ids = [record.id()];
        let take_away = self.change_keys(&ids, |family, _| {
            is_claim(family.key.key(), has_flag).then(|| vec![KeyWrite::Delete(record.id())])
        });
        match take_away.await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(None),
        }
    }
}

fn parse(algorithm: DigestAlgorithm, hex: &str) -> Result<TokenDigest, KeyError> {
    let others = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512].into_iter();
    let mut others = others.filter(|other| *other != algorithm);
    TokenDigest::from_hex(algorithm, hex).map_err(|error| {
        match others.find(|other| TokenDigest::from_hex(*other, hex).is_ok()) {
            Some(other) => KeyError::invalid(format!(
                "this is a {other} digest, and the key store keeps {algorithm} digests: import it \
                 into one that was made for {other}"
            )),
            None => KeyError::invalid(error.to_string()),
        }
    })
}

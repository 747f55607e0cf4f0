//! Issues keys.

use super::{KeyError, KeyManager, NewKey, ledger::Ledger, limits, settle::settle};
use crate::{
    state::store::StoreError,
    usecase::{events::Event, maintenance::Goal},
    value::{
        digest::TokenDigest,
        format::{self, TokenFormat},
        key::{ApiKey, KeyId, Record},
        owner::Owner,
        token::Token,
    },
};

impl KeyManager {
    /// Issues a key: returns its record, and its token, which is stored nowhere and shown this once.
    ///
    /// The owner's row is made if there is none; one that is there is left unchanged. The policy on
    /// [`issuing`](crate::Issuing) judges the stored row.
    ///
    /// # Errors
    /// `is_business_rule` when the policy says no: neither key nor owner is written then.
    /// `is_not_found` when there is no such owner, and the store keeps owners elsewhere.
    /// `is_invalid` when a field is too long, or the expiry not in the future. `is_unsupported`
    /// when the store's schema has no place for a field that was given. `is_outcome_unknown` when
    /// the store failed on the way: nobody knows the key's token, so it is made inactive as soon as the
    /// store answers, or deleted where the schema has no active flag. `is_forbidden` on behalf of a caller who may not.
    pub async fn create(
        &self,
        owner: impl Into<Owner>,
        new: NewKey,
    ) -> Result<(Record, Token), KeyError> {
        let repository = self.repository()?;
        let owner = owner.into();
        limits::owner(&owner)?;
        let now = self.now();
        let expires_at = new.expiry.from(now)?;
        let token = self.new_token(new.token_prefix.as_deref())?;
        let digest = token.digest(repository.digest_algorithm());
        let key = ApiKey::new(self.new_id(&digest)?, digest, owner.id().clone(), now)
            .with_token_key(token.token_key());
        let key = new.describe(key.with_expires_at(expires_at), repository.capabilities())?;

        let places = self.room(1, &[]).await?;
        let (ledger, mut judgement) = (Ledger::default(), self.judgement());
        let unheard = key.clone();
        let mut judge = |stored: &Owner, caller: Option<&Owner>| {
            judgement.begin();
            ledger.begin(unheard.id());
            let may = judgement.lets_create(stored, caller) && judgement.admits(stored);
            if may {
                ledger.adds(Goal::Void { key: unheard.clone(), owner: stored.clone() });
            }
            may
        };
        let insert = repository.insert(key, owner, self.caller.as_ref(), &mut judge);
        match settle(&*self.inner, &ledger, places, insert).await {
            Ok(record) => {
                self.inner.tell(Event::Created { key: record.id(), owner: record.owner().id() });
                Ok((record, token))
            }
            Err(error) => Err(judgement.explain(error, not_added).issuing()),
        }
    }

    /// A random id, or the one that the digest makes where the schema keeps none.
    pub(super) fn new_id(&self, digest: &TokenDigest) -> Result<KeyId, KeyError> {
        let is_derived = self.repository()?.capabilities().derived_ids;
        Ok(if is_derived { KeyId::of_digest(digest) } else { KeyId::random() })
    }

    pub(super) fn new_token(&self, prefix: Option<&str>) -> Result<Token, KeyError> {
        let settings = &self.inner.settings;
        let own = prefix.map(|prefix| settings.token_format.with_prefix(prefix)).transpose();
        let own = own.map_err(|error| KeyError::invalid(error.to_string()))?;
        let format: &TokenFormat = own.as_ref().unwrap_or(&settings.token_format);
        let token = format.generate().map_err(|error| KeyError::internal(error.to_string()))?;
        // A plain token under a prefix that promises checksums would be refused before the store
        // is asked: a key that can never be used.
        let refuses = |prefix| format::checksum_holds(token.expose(), prefix) == Some(false);
        if settings.checksummed_prefixes.iter().any(|prefix| refuses(prefix)) {
            return Err(KeyError::invalid(
                "this token prefix is registered as checksummed, and the token format is not: \
                 choose another prefix",
            ));
        }
        Ok(token)
    }
}

/// Why a key could not be added: a store that keeps owners elsewhere makes none.
pub(super) fn not_added(error: StoreError) -> KeyError {
    if error.is_not_found() { KeyError::no_such_owner() } else { KeyError::changing_key(error) }
}

//! Finds keys: one by its id or its token, and many by what they are, a page at a time.

use super::{KeyError, KeyManager, limits, to_micros};
use crate::{
    state::store::{Cursor, KeyFilter, KeyOrder, KeyQuery},
    value::{
        digest::TokenDigest,
        key::{KeyId, Record},
        token::is_blank,
    },
};

/// Which part of a listing is wanted, and in which order.
#[derive(Clone, Copy, Debug)]
#[must_use = "pass it to `KeyManager::list`"]
pub struct Page {
    limit: u32,
    order: KeyOrder,
    after: Option<Cursor>,
}

impl Page {
    /// The most keys that one page holds: more would keep a connection busy for one caller.
    pub const MAX: u32 = 1000;

    /// The first `limit` keys, which is taken to be at least 1 and at most [`MAX`](Self::MAX).
    pub fn first(limit: u32) -> Self {
        Self { limit: limit.clamp(1, Self::MAX), order: KeyOrder::OldestFirst, after: None }
    }

    /// Lists the newest keys first. By default the oldest come first.
    pub fn newest_first(mut self) -> Self {
        self.order = KeyOrder::NewestFirst;
        self
    }

    /// Goes on where another page ended: pass that page's [`next`](KeyPage::next), and the same filter
    /// and order. Behind the last key the page is empty.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }
}

/// The first 100 keys.
impl Default for Page {
    fn default() -> Self {
        Self::first(100)
    }
}

/// One page of a listing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyPage {
    /// The keys, each with its owner, in order of the time they were made; ties by id.
    pub keys: Vec<Record>,
    /// Where the next page begins; `None` when this was the last one.
    pub next: Option<Cursor>,
}

impl KeyManager {
    /// Finds a key by its id, with its owner.
    ///
    /// # Errors
    /// `is_not_found` when there is none; `is_unavailable` when the store could not look.
    pub async fn get(&self, id: KeyId) -> Result<Record, KeyError> {
        let repository = self.repository()?;
        if self.caller.is_some() {
            return self.find_one(KeyFilter::all().id(id)).await;
        }
        let found = repository.get(id).await.map_err(KeyError::reading)?;
        found.ok_or_else(KeyError::no_such_key)
    }

    /// Finds the key of a token, in whatever state it is: for one that somebody pasted, with blanks
    /// around it or without. [`revoke_token`](Self::revoke_token) ends it.
    ///
    /// # Errors
    /// Those of [`get`](Self::get); the token itself is in none of them.
    pub async fn find_by_token(&self, token: &str) -> Result<Record, KeyError> {
        let digest = self.digest_of_pasted(token)?;
        self.find_one(KeyFilter::all().digest(digest)).await
    }

    /// Lists the keys that pass a filter, a page at a time, in order of the time they were made. Keys
    /// that are added, changed or deleted meanwhile shift no page. On behalf of a caller it lists only
    /// what they may see. A filter's moments count to the microsecond.
    ///
    /// # Errors
    /// `is_invalid` when no key could ever pass the filter, as it contradicts itself, names an owner who
    /// can't be, or has a digest of another algorithm than the store's; `is_forbidden` on behalf of anybody but a
    /// superuser when the filter asks how somebody else stands to keys; `is_unavailable` when the store
    /// could not look.
    pub async fn list(&self, filter: KeyFilter, page: Page) -> Result<KeyPage, KeyError> {
        limits::filter(&filter, self.repository()?.digest_algorithm())?;
        // One key more than the page holds tells whether there is another page.
        let mut keys = self.look(filter, page, page.limit + 1).await?;
        let is_last = keys.len() <= page.limit as usize;
        keys.truncate(page.limit as usize);
        let last = keys.last().filter(|_| !is_last);
        let next = last.map(|record| Cursor::behind(record.key()));
        Ok(KeyPage { keys, next })
    }

    /// Less the blanks that a credential may have around it, and no other: those may be the token's
    /// own.
    pub(super) fn digest_of_pasted(&self, token: &str) -> Result<TokenDigest, KeyError> {
        let token = token.trim_matches(|c| u8::try_from(c).is_ok_and(is_blank));
        Ok(TokenDigest::of(self.repository()?.digest_algorithm(), token))
    }

    async fn find_one(&self, filter: KeyFilter) -> Result<Record, KeyError> {
        let found = self.look(filter, Page::first(1), 1).await?;
        found.into_iter().next().ok_or_else(KeyError::no_such_key)
    }

    async fn look(
        &self,
        filter: KeyFilter,
        page: Page,
        limit: u32,
    ) -> Result<Vec<Record>, KeyError> {
        let filter = match &self.caller {
            Some(caller) => {
                // How somebody else stands to keys tells who they are.
                if filter.standing.iter().any(|standing| standing.user != *caller) {
                    self.may_rule(None).await?;
                }
                filter.readable_by(caller)
            }
            None => filter,
        };
        let query = KeyQuery::first(limit)
            .filter(to_the_microsecond(filter))
            .platform(self.inner.settings.platform.clone())
            .order(page.order)
            .after(page.after);
        self.repository()?.list(query).await.map_err(KeyError::reading)
    }
}

/// As every store keeps times, so that they all read a filter alike.
fn to_the_microsecond(mut filter: KeyFilter) -> KeyFilter {
    let KeyFilter { expires_before, expires_from, unused_since, created_before, .. } = &mut filter;
    for moment in [expires_before, expires_from, unused_since, created_before] {
        *moment = moment.map(to_micros);
    }
    filter
}

//! Lists keys, a page at a time.

use super::{KeyError, KeyManager};
use crate::{
    state::store::{Cursor, KeyQuery},
    value::key::Record,
};

/// Which keys a listing answers with.
#[derive(Clone, Copy, Debug)]
#[must_use = "pass it to `KeyManager::list`"]
pub struct Page {
    limit: u32,
    after: Option<Cursor>,
}

impl Page {
    /// The most keys that one page holds: more would keep a connection busy for one caller.
    pub const MAX: u32 = 1000;

    /// The first `limit` keys, which is taken to be at least 1 and at most [`MAX`](Self::MAX).
    pub fn first(limit: u32) -> Self {
        Self { limit: limit.clamp(1, Self::MAX), after: None }
    }

    /// Goes on where another page ended: pass that page's [`next`](KeyPage::next).
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
    /// The keys, each with its owner: oldest first, ties by id.
    pub keys: Vec<Record>,
    /// Where the next page begins; `None` when this was the last one.
    pub next: Option<Cursor>,
}

impl KeyManager {
    /// Lists keys, oldest first. Keys that are added or deleted meanwhile shift no page.
    ///
    /// # Errors
    /// `is_unavailable` when the store could not look.
    pub async fn list(&self, page: Page) -> Result<KeyPage, KeyError> {
        // One key more than the page holds tells whether there is another page.
        let query = KeyQuery::first(page.limit + 1).after(page.after);
        let mut keys = self.repository()?.list(query).await.map_err(KeyError::reading)?;
        let is_last = keys.len() <= page.limit as usize;
        keys.truncate(page.limit as usize);
        let last = keys.last().filter(|_| !is_last);
        let next = last.map(|record| Cursor::behind(record.key()));
        Ok(KeyPage { keys, next })
    }
}

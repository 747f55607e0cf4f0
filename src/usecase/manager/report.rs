//! Tells which keys nobody needs any more, perhaps.

use chrono::{DateTime, Duration, Utc};

use super::{KeyError, KeyManager, KeyPage, Page};
use crate::state::store::KeyFilter;

/// What counts as unused and as old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "pass it to `KeyManager::report`"]
pub struct ReportSettings {
    unused_for: Duration,
    older_than: Duration,
}

impl ReportSettings {
    /// Calls a key unused that was not used for this long; 90 days by default.
    pub fn unused_for(mut self, days: u32) -> Self {
        self.unused_for = Duration::days(days.into());
        self
    }

    /// Calls a key old that was made longer ago than this; 1,095 days by default, from which on the
    /// source system warns.
    pub fn older_than(mut self, days: u32) -> Self {
        self.older_than = Duration::days(days.into());
        self
    }
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self { unused_for: Duration::days(90), older_than: Duration::days(1_095) }
    }
}

/// Keys that somebody should look at. A key may stand under more than one head.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyReport {
    /// Active keys that were never used: those that pass [`KeyFilter::never_used`].
    pub never_used: KeyPage,
    /// Active keys that were used, and not [lately](ReportSettings::unused_for): those that pass
    /// [`KeyFilter::used`] and [`KeyFilter::unused_since`].
    pub unused: KeyPage,
    /// Active keys that were made [long ago](ReportSettings::older_than): those that pass
    /// [`KeyFilter::created_before`].
    pub old: KeyPage,
    /// From when on a use counts as late enough.
    pub unused_since: DateTime<Utc>,
    /// Before when a key was made to be called old.
    pub old_before: DateTime<Utc>,
}

impl KeyManager {
    /// Tells which active keys were never used, not used lately, or made long ago: the oldest
    /// [`Page::MAX`] of each. [`list`](Self::list) goes on behind them, with the filter that stands at
    /// each page. On behalf of a caller it tells of the keys that they may see. It goes by what is
    /// stored: where nobody records last uses ([`LastUsed::Off`](crate::LastUsed::Off)), every key
    /// looks unused.
    ///
    /// # Errors
    /// `is_unsupported` when the store keeps no last uses; `is_unavailable` when it could not look.
    pub async fn report(&self, settings: ReportSettings) -> Result<KeyReport, KeyError> {
        if !self.repository()?.capabilities().last_use {
            return Err(KeyError::not_in_schema("when a key was last used"));
        }
        let now = self.now();
        // What is longer ago than that was before there were keys, and not every calendar goes there.
        let epoch = DateTime::UNIX_EPOCH;
        let ago = |span| now.checked_sub_signed(span).map_or(epoch, |at| at.max(epoch));
        let (unused_since, old_before) = (ago(settings.unused_for), ago(settings.older_than));
        let active = || KeyFilter::all().active(true);
        let page = Page::first(Page::MAX);
        Ok(KeyReport {
            never_used: self.list(active().never_used(), page).await?,
            unused: self.list(active().used().unused_since(unused_since), page).await?,
            old: self.list(active().created_before(old_before), page).await?,
            unused_since,
            old_before,
        })
    }
}

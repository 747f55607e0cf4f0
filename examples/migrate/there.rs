//! A key that the new database has already: what there is to say about it.

use std::time::SystemTime;

use tower_token_auth::{KeyError, KeyFilter, KeyManager, Page, Record, Status};

use super::{report::Fate, target::Target};

pub(crate) const TAKEN: &str = "another key in the new database has its digest or its id";

/// What becomes of a row that has expired at Django.
pub(crate) async fn expired(record: &Record, target: &Target) -> Result<Fate, KeyError> {
    if let Some(keys) = &target.keys
        && let Some(there @ Fate::There { ended: true }) = there(record, keys).await?
    {
        return Ok(there);
    }
    Ok(Fate::Left("it has expired".into()))
}

/// What the new database has to say about it without being changed.
pub(crate) async fn there(record: &Record, keys: &KeyManager) -> Result<Option<Fate>, KeyError> {
    let key = record.key();
    let same_digest = KeyFilter::all().digest(*key.digest());
    for filter in [same_digest, KeyFilter::all().id(key.id())] {
        if let Some(found) = keys.list(filter, Page::first(1)).await?.keys.first() {
            let is_same =
                found.key().digest() == key.digest() && found.owner().id() == record.owner().id();
            return Ok(Some(match is_same {
                true => Fate::There { ended: is_ended(record, found) },
                false => Fate::Left(TAKEN.into()),
            }));
        }
    }
    Ok(None)
}

/// Whether a key was ended at Django since it was moved, and is still good in the new database: nobody
/// ends it there but its people, as it may have been made good again.
#[expect(clippy::disallowed_methods, reason = "the library reads time through a clock")]
pub(crate) fn is_ended(record: &Record, there: &Record) -> bool {
    let now = SystemTime::now().into();
    let is_usable = |record: &Record| record.status_at(now) == Status::Usable;
    is_usable(there) && !is_usable(record)
}

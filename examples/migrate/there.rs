//! A key that the new database has already: what there is to say about it.

use std::time::SystemTime;

use tower_token_auth::{KeyError, KeyFilter, KeyManager, Page, Record, Status, TokenDigest};

use super::{report::Fate, target::Target};

pub(crate) const TAKEN: &str = "another key in the new database has its digest or its id";

/// What becomes of a row that is not moved: where its key is there and still good, that is told. A row that
/// can't be read any more is no good at Django either.
pub(crate) async fn left(
    record: Option<Record>,
    digest: Option<TokenDigest>,
    reason: String,
    target: &Target,
) -> Result<(Option<Record>, Fate), KeyError> {
    if let (Some(keys), Some(digest)) = (&target.keys, digest)
        && let filter = KeyFilter::all().digest(digest)
        && let Some(found) = keys.list(filter, Page::first(1)).await?.keys.into_iter().next()
        && match &record {
            Some(record) => found.owner().id() == record.owner().id() && is_ended(record, &found),
            None => is_usable(&found),
        }
    {
        return Ok((record.or(Some(found)), Fate::There { ended: true }));
    }
    Ok((record, Fate::Left(reason)))
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
pub(crate) fn is_ended(record: &Record, there: &Record) -> bool {
    is_usable(there) && !is_usable(record)
}

#[expect(clippy::disallowed_methods, reason = "the library reads time through a clock")]
fn is_usable(record: &Record) -> bool {
    record.status_at(SystemTime::now().into()) == Status::Usable
}

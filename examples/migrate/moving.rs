//! Moves a page of rows, each by an import of its own.

use std::{collections::HashMap, error::Error, time::SystemTime};

use futures_util::{StreamExt as _, stream};
use tower_token_auth::{
    Authenticator, DigestAlgorithm, KeyError, MemoryStore, Owner, Record, store::StoreError,
};

use super::{
    key,
    report::{Fate, Report},
    target::{AT_A_TIME, Target},
};

const OTHER_OWNER: &str = "the new database has another owner of this id, by the username";

#[expect(clippy::disallowed_methods, reason = "the library reads time through a clock")]
pub(crate) async fn all(
    rows: Vec<Result<Record, StoreError>>,
    target: &Target,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let now = SystemTime::now().into();
    // A dry run imports as well, into memory: what is refused here is refused there.
    let memory = MemoryStore::with_algorithm(DigestAlgorithm::Sha512);
    let (memory, _guard) = Authenticator::builder(memory).build()?;
    let memory = memory.keys();
    let (mut records, mut others) = (Vec::new(), HashMap::new());
    for row in rows {
        let record = match row {
            Ok(record) => record,
            Err(error) => {
                let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                report.count(None, Fate::Left(reason));
                continue;
            }
        };
        if record.key().is_expired_at(now) {
            report.count(Some(&record), Fate::Left("it has expired".into()));
            continue;
        }
        let owner = key::owner(&record);
        if !others.contains_key(owner.id()) {
            let is_other = is_other(target, &owner).await?;
            others.insert(owner.id().clone(), is_other);
        }
        if others[owner.id()] {
            report.count(Some(&record), Fate::Left(OTHER_OWNER.into()));
        } else {
            records.push(record);
        }
    }
    let moved = stream::iter(records).map(|record| key::import(record, target, &memory));
    let mut moved = moved.buffer_unordered(AT_A_TIME);
    while let Some(done) = moved.next().await {
        let (record, fate) = done?;
        report.count(Some(&record), fate);
    }
    Ok(())
}

/// Whether the new database has somebody else of this id, who would own the keys.
async fn is_other(target: &Target, owner: &Owner) -> Result<bool, KeyError> {
    let Some(keys) = &target.keys else { return Ok(false) };
    match keys.owner(owner.id()).await {
        Ok(stored) => Ok(stored.username() != owner.username()),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

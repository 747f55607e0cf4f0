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
    there,
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
            let fate = there::expired(&record, target).await?;
            report.count(Some(&record), fate);
            continue;
        }
        let owner = key::owner(&record);
        if !others.contains_key(owner.id()) {
            let stored = stored(target, &owner).await?;
            others.insert(owner.id().clone(), stored);
        }
        let stored = others[owner.id()].as_ref();
        if stored.is_some_and(|stored| stored.username() != owner.username()) {
            report.count(Some(&record), Fate::Left(OTHER_OWNER.into()));
        } else {
            let as_other = stored.is_some_and(|stored| *stored != owner);
            records.push((record, as_other));
        }
    }
    let import = |(record, as_other)| key::import(record, as_other, target, &memory);
    let moved = stream::iter(records).map(import);
    let mut moved = moved.buffer_unordered(AT_A_TIME);
    while let Some(done) = moved.next().await {
        let (record, fate) = done?;
        report.count(Some(&record), fate);
    }
    Ok(())
}

/// Whom the new database has of this id, who may be somebody else and would own the keys.
async fn stored(target: &Target, owner: &Owner) -> Result<Option<Owner>, KeyError> {
    let Some(keys) = &target.keys else { return Ok(None) };
    match keys.owner(owner.id()).await {
        Ok(stored) => Ok(Some(stored)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

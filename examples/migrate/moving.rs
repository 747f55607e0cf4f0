//! Moves a page of rows, each by an import of its own.

use std::{collections::HashMap, error::Error, time::SystemTime};

use futures_util::{StreamExt as _, stream};
use tower_token_auth::{
    Authenticator, DigestAlgorithm, KeyError, MemoryStore, Owner, store::TokenPage,
};

use super::{
    key,
    report::Report,
    target::{AT_A_TIME, Target},
    task::Task,
};

const OTHER_OWNER: &str = "the new database has another owner of this id, by the username";

#[expect(clippy::disallowed_methods, reason = "the library reads time through a clock")]
pub(crate) async fn all(
    page: TokenPage,
    target: &Target,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let now = SystemTime::now().into();
    // A dry run imports as well, into memory: what is refused here is refused there.
    let memory = MemoryStore::with_algorithm(DigestAlgorithm::Sha512);
    let (memory, _guard) = Authenticator::builder(memory).build()?;
    let memory = memory.keys();
    let (mut tasks, mut others) = (Vec::new(), HashMap::new());
    for (row, digest) in page.rows.into_iter().zip(page.digests) {
        let leave = |record, reason| Task::Leave(record, digest, reason);
        let record = match row {
            Ok(record) => record,
            Err(error) => {
                let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                tasks.push(leave(None, reason));
                continue;
            }
        };
        if record.key().is_expired_at(now) {
            tasks.push(leave(Some(record), "it has expired".into()));
            continue;
        }
        let owner = key::owner(&record);
        if !others.contains_key(owner.id()) {
            let stored = stored(target, &owner).await?;
            others.insert(owner.id().clone(), stored);
        }
        let stored = others[owner.id()].as_ref();
        if stored.is_some_and(|stored| stored.username() != owner.username()) {
            tasks.push(leave(Some(record), OTHER_OWNER.into()));
        } else {
            let as_other = stored.is_some_and(|stored| *stored != owner);
            tasks.push(Task::Import(record, as_other));
        }
    }
    let done = stream::iter(tasks).map(|task| task.done(target, &memory));
    let mut done = done.buffer_unordered(AT_A_TIME);
    while let Some(done) = done.next().await {
        let (record, fate) = done?;
        report.count(record.as_ref(), fate);
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

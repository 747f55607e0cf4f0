//! One key: what is kept of it, and what becomes of it.

use tower_token_auth::{ImportedKey, KeyError, KeyManager, NewKey, Owner, Record};

use super::{
    report::Fate,
    target::Target,
    there::{TAKEN, is_ended, there},
};

/// The user whom the token authenticates. A nameless one is called by the id.
pub(crate) fn owner(record: &Record) -> Owner {
    let owner = record.owner().clone();
    if owner.username().is_empty() {
        let id = owner.id().to_string();
        return owner.with_username(id);
    }
    owner
}

pub(crate) async fn import(
    record: Record,
    as_other: bool,
    target: &Target,
    memory: &KeyManager,
) -> Result<(Option<Record>, Fate), KeyError> {
    let keys = match &target.keys {
        Some(keys) if target.is_dry => {
            if let Some(fate) = there(&record, keys).await? {
                return Ok((Some(record), fate));
            }
            memory
        }
        Some(keys) => keys,
        None => memory,
    };
    let fate = match keys.import(imported(&record)).await {
        Ok(done) if done.is_new => {
            Fate::Moved { as_other: as_other || *done.record.owner() != owner(&record) }
        }
        Ok(done) => Fate::There { ended: is_ended(&record, &done.record) },
        Err(error) if error.is_duplicate() => Fate::Left(TAKEN.into()),
        Err(error) if error.is_invalid() => Fate::Left(error.to_string()),
        Err(error) => return Err(error),
    };
    Ok((Some(record), fate))
}

fn imported(record: &Record) -> ImportedKey {
    let key = record.key();
    let tags = key.tags().filter(|tag| !tag.is_empty());
    // The user may be there already, and active there.
    let is_active = key.is_active() && record.owner().is_active();
    let new = NewKey::default().active(is_active).tags(tags);
    // Plain knox's keys have no name, and get that of a key which nobody named.
    let new = Some(key.name()).filter(|name| !name.is_empty()).into_iter().fold(new, NewKey::name);
    let new = key.description().into_iter().fold(new, NewKey::description);
    let new = key.version().into_iter().fold(new, NewKey::version);
    let new = key.account().into_iter().fold(new, NewKey::account);
    let new = key.expires_at().into_iter().fold(new, NewKey::expires_at);
    let new = key.annotations().fold(new, |new, (name, value)| new.annotation(name, value));
    let imported = ImportedKey::new(key.digest().to_hex(), owner(record)).like(new).id(key.id());
    let imported = imported.created_at(key.created_at());
    key.last_used_at().into_iter().fold(imported, ImportedKey::last_used_at)
}

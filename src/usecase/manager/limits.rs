//! How long texts and lists may be, and what they may hold: one place for creating and updating.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, Utc};

use super::error::KeyError;
use crate::{
    state::store::{KeyFilter, Standing},
    value::{
        digest::DigestAlgorithm,
        owner::{AccountId, Owner},
        ownership::Relation,
    },
};

/// Names, versions, tags, scopes and annotation names, in characters; the source's schema has 255.
pub(super) const SHORT: usize = 255;
/// Descriptions and annotation values, in characters: a page of text, not a document.
pub(super) const LONG: usize = 4096;
/// Tags, scopes and annotations of one key: a record is read whole and cached whole.
pub(super) const MANY: usize = 64;
/// What every SQL store can hold.
pub(super) const LAST_YEAR: i32 = 9999;

type Checked = Result<(), KeyError>;

/// One line of 1 to 255 characters.
pub(super) fn line(what: &str, text: &str) -> Checked {
    if text.is_empty() {
        return Err(KeyError::invalid(format!("a {what} is not empty: leave it out instead")));
    }
    if text.chars().any(char::is_control) {
        return Err(KeyError::invalid(format!("a {what} holds no control characters")));
    }
    at_most(what, text, SHORT)
}

/// Text of at most 4,096 characters.
pub(super) fn text(what: &str, text: &str) -> Checked {
    if text.contains('\0') {
        return Err(KeyError::invalid(format!("a {what} holds no NUL character")));
    }
    at_most(what, text, LONG)
}

fn at_most(what: &str, text: &str, most: usize) -> Checked {
    if text.chars().nth(most).is_some() {
        return Err(KeyError::invalid(format!("a {what} has at most {most} characters")));
    }
    Ok(())
}

pub(super) fn tags(tags: &[Box<str>]) -> Checked {
    few("tags", tags.len())?;
    tags.iter().try_for_each(|tag| line("tag", tag))
}

/// Scopes stand in lists that are separated by blanks (RFC 6749, section 3.3), so they hold none.
pub(super) fn scopes(scopes: &[Box<str>]) -> Checked {
    few("scopes", scopes.len())?;
    for scope in scopes {
        line("scope", scope)?;
        if scope.contains(char::is_whitespace) {
            return Err(KeyError::invalid("a scope holds no blanks: give each scope by itself"));
        }
    }
    Ok(())
}

pub(super) fn annotations(annotations: &BTreeMap<String, String>) -> Checked {
    few("annotations", annotations.len())?;
    for (name, value) in annotations {
        line("annotation's name", name)?;
        text("annotation's value", value)?;
    }
    Ok(())
}

fn few(what: &str, count: usize) -> Checked {
    if count > MANY {
        return Err(KeyError::invalid(format!("a key has at most {MANY} {what}")));
    }
    Ok(())
}

/// A key that has expired when it is made is a mistake, not a wish.
pub(super) fn expiry(expires_at: DateTime<Utc>, now: DateTime<Utc>) -> Checked {
    if expires_at <= now {
        return Err(KeyError::invalid(
            "the expiry is not in the future: give a later one, or none for a key that never \
             expires",
        ));
    }
    year("expiry", expires_at)
}

/// A moment that every store can keep.
pub(super) fn year(what: &str, at: DateTime<Utc>) -> Checked {
    if !(1..=LAST_YEAR).contains(&at.year()) {
        return Err(KeyError::invalid(format!(
            "the {what} is not in the years 1 to {LAST_YEAR}: give another time, or none"
        )));
    }
    Ok(())
}

/// A filter that no key could ever pass is a mistake, not a question.
pub(super) fn filter(filter: &KeyFilter, algorithm: DigestAlgorithm) -> Checked {
    if let Some(digest) = filter.digest
        && digest.algorithm() != algorithm
    {
        return Err(KeyError::invalid(format!(
            "the key store keeps {algorithm} digests: look for one of those"
        )));
    }
    let users = filter.standing.iter().map(|standing| &standing.user).chain(&filter.owner);
    for user in users {
        id("owner", user.as_str(), user.is_valid())?;
    }
    filter.tag.iter().try_for_each(|tag| line("tag to look for", tag))?;
    filter.text.iter().try_for_each(|text| line("text to look for", text))?;
    if let (Some(from), Some(before)) = (filter.expires_from, filter.expires_before)
        && from >= before
    {
        return Err(contradiction("a key does not expire from a later moment to an earlier one"));
    }
    let owners = filter.standing.iter().filter(|standing| standing.relation == Relation::Owner);
    let mut owners = owners.map(|standing| &standing.user).chain(&filter.owner);
    let owner = owners.next();
    if owners.any(|other| Some(other) != owner) {
        return Err(contradiction("a key has one owner"));
    }
    let is_shared = |standing: &Standing| {
        standing.relation == Relation::SharedWith && Some(&standing.user) == owner
    };
    if filter.standing.iter().any(is_shared) {
        return Err(contradiction("no key is shared with its own owner"));
    }
    Ok(())
}

fn contradiction(why: &str) -> KeyError {
    KeyError::invalid(format!("this filter contradicts itself, as {why}: leave a part of it out"))
}

pub(super) fn account(account: &AccountId) -> Checked {
    id("account", account.as_str(), account.is_valid())
}

pub(super) fn owner(owner: &Owner) -> Checked {
    id("owner", owner.id().as_str(), owner.id().is_valid())?;
    line("username", owner.username())?;
    accounts(owner.accounts())
}

/// An owner's accounts: a record is cached with all of them.
pub(super) fn accounts(accounts: &[AccountId]) -> Checked {
    if accounts.len() > MANY {
        return Err(KeyError::invalid(format!("an owner has at most {MANY} accounts")));
    }
    accounts.iter().try_for_each(account)
}

fn id(what: &str, id: &str, is_valid: bool) -> Checked {
    if !is_valid || id.chars().any(char::is_control) {
        return Err(KeyError::invalid(format!(
            "an {what}'s id has 1 to 128 bytes and no control characters"
        )));
    }
    Ok(())
}

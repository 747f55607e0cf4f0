//! One change's judgement: what its caller may do, what the policy says, and why it was refused.

use std::borrow::Cow;

use super::{KeyError, policy::Issuing};
use crate::{
    state::store::StoreError,
    value::{
        key::ApiKey,
        owner::{AccountId, Owner, OwnerId},
        ownership::Relation,
    },
};

/// What a call asks of whoever it is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// To change the key.
    Manage,
    /// To be handed the secret of a key in its place.
    Secret,
}

/// It remembers why the last call said no, as a store may call again.
pub(super) struct Judgement<'a> {
    issuing: &'a Issuing,
    /// On whose behalf; `None` is the service itself, which may do all.
    caller: Option<&'a OwnerId>,
    platform: Option<&'a AccountId>,
    refusal: Option<Refusal>,
}

enum Refusal {
    /// What the caller can't see is not there.
    Hidden,
    Forbidden(&'static str),
    Rule(Cow<'static, str>),
    /// There is an owner of that id already, or none.
    Owner(fn() -> KeyError),
}

impl<'a> Judgement<'a> {
    pub(super) fn new(
        issuing: &'a Issuing,
        caller: Option<&'a OwnerId>,
        platform: Option<&'a AccountId>,
    ) -> Self {
        Self { issuing, caller, platform, refusal: None }
    }

    /// Begins a judgement, and forgets an earlier one: the store began its transaction anew.
    pub(super) fn begin(&mut self) {
        self.refusal = None;
    }

    /// Whether the caller, by their stored row, may do so to `key`.
    pub(super) fn lets(&mut self, need: Need, key: &ApiKey, row: Option<&Owner>) -> bool {
        if self.caller.is_none() {
            return true;
        }
        let holds = |relation: Relation| row.is_some_and(|u| relation.holds(u, key, self.platform));
        let refusal = if !holds(Relation::Reader) {
            Refusal::Hidden
        } else if need == Need::Manage && !holds(Relation::Manager) {
            Refusal::Forbidden(
                "the caller may see this key but not change it: ask its owner or a superuser",
            )
        } else if need == Need::Secret && !may_be_handed(row, key.owner_id()) {
            Refusal::Forbidden(
                "a secret is handed out to the key's owner or to a superuser: ask one of them",
            )
        } else {
            return true;
        };
        self.refuse(refusal)
    }

    /// Whether the caller may be handed the secret of a new key of `owner`.
    pub(super) fn lets_create(&mut self, owner: &Owner, row: Option<&Owner>) -> bool {
        if self.caller.is_none() || may_be_handed(row, owner.id()) {
            return true;
        }
        self.refuse(Refusal::Forbidden(
            "a caller makes keys of its own, unless it is a superuser, and only while it is active",
        ))
    }

    /// Whether the caller is a superuser; or, if one is named, this owner.
    pub(super) fn lets_rule(&mut self, row: Option<&Owner>, or: Option<&OwnerId>) -> bool {
        let is_or = |row: &Owner| or.is_some_and(|or| row.id() == or);
        let may = row.is_some_and(|row| row.is_active() && (row.is_superuser() || is_or(row)));
        if self.caller.is_none() || may {
            return true;
        }
        self.refuse(Refusal::Forbidden(match or {
            Some(_) => "this is for the owner and for superusers: ask one of them",
            None => "this is for superusers: ask one of them",
        }))
    }

    /// Whether the policy lets `owner`, by their stored row, hold a working key.
    pub(super) fn admits(&mut self, owner: &Owner) -> bool {
        match self.issuing.judge(owner) {
            Ok(()) => true,
            Err(words) => self.refuse(Refusal::Rule(words)),
        }
    }

    /// Refuses for a reason of the key's own.
    pub(super) fn breaks(&mut self, rule: &'static str) -> bool {
        self.refuse(Refusal::Rule(rule.into()))
    }

    /// Refuses for what is stored of an owner.
    pub(super) fn finds(&mut self, error: fn() -> KeyError) {
        self.refusal = Some(Refusal::Owner(error));
    }

    fn refuse(&mut self, refusal: Refusal) -> bool {
        self.refusal = Some(refusal);
        false
    }

    /// Why the change failed: the refusal explains one that the store did not apply.
    pub(super) fn explain(
        self,
        error: StoreError,
        otherwise: fn(StoreError) -> KeyError,
    ) -> KeyError {
        match self.refusal {
            Some(refusal) if error.is_not_applied() => match refusal {
                Refusal::Hidden => KeyError::no_such_key(),
                Refusal::Forbidden(words) => KeyError::forbidden(words),
                Refusal::Rule(words) => KeyError::business_rule(words),
                Refusal::Owner(error) => error(),
            },
            _ => otherwise(error),
        }
    }
}

fn may_be_handed(row: Option<&Owner>, owner: &OwnerId) -> bool {
    row.is_some_and(|row| row.is_active() && (row.id() == owner || row.is_superuser()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Negative control: without `begin`'s line the store's own trouble is told as the first try's no.
    #[test]
    fn what_an_earlier_try_was_refused_for_does_not_explain_a_later_one() {
        let issuing = Issuing::default();
        let mut judgement = Judgement::new(&issuing, None, None);
        judgement.begin();
        assert!(!judgement.breaks("a rule"));
        judgement.begin();
        assert!(judgement.admits(&Owner::staff("ada")));
        let error = judgement.explain(StoreError::not_applied(), KeyError::changing_key);
        assert!(error.is_unavailable(), "{error}");
    }
}

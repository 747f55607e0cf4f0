//! Why a change to a key or an owner was not made, or may not have been.

use std::{borrow::Cow, error::Error, fmt};

use crate::state::store::StoreError;

pub(super) const REPLACED: &str = "this key was rotated already: rotate the key that replaced it";

/// Why the manager could not do what it was asked: opaque, with `is_…` questions of which at most
/// one is true, and a source.
///
/// Its message says what to do and holds no secret.
#[derive(Debug)]
pub struct KeyError {
    kind: Kind,
    message: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    BusinessRule,
    NotFound,
    Duplicate,
    Forbidden,
    Unsupported,
    Invalid,
    OutcomeUnknown,
    Unavailable,
    Internal,
}

impl KeyError {
    /// Whether a rule said no, such as the policy on who may hold a working key; nothing changed.
    #[must_use]
    pub fn is_business_rule(&self) -> bool {
        self.kind == Kind::BusinessRule
    }

    /// Whether there is no such key or owner; nothing changed.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// Whether an owner of that id, or another owner's key of that digest, is there already; nothing
    /// changed.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.kind == Kind::Duplicate
    }

    /// Whether the caller may not do this: to a key that they may see, or at all; nothing changed.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.kind == Kind::Forbidden
    }

    /// Whether this store's schema or role can't do it; nothing changed.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.kind == Kind::Unsupported
    }

    /// Whether a value that was passed in is at fault; nothing changed.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.kind == Kind::Invalid
    }

    /// Whether the store failed at a moment when the change may or may not have been made.
    ///
    /// Nothing need be done about it. The change is made again until the store answers, in the
    /// background on a tokio runtime, otherwise by the next change. What it takes away is taken in any
    /// case; what it gives is given only if nobody has changed the key or the owner since. A key whose
    /// token was to be returned becomes inactive, or is deleted where the schema has no active flag,
    /// and one that it was to replace becomes what it was; one that was imported stays if it is there
    /// and is not added again. Until then every request with a key that
    /// it is about is answered 503, and another change of it settles this one first.
    ///
    /// It is known to this process alone: let the guard's [`shutdown`](crate::Guard::shutdown) settle
    /// it before the process ends.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        self.kind == Kind::OutcomeUnknown
    }

    /// Whether the store could not look, or certainly did not make the change: try again later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(super) fn business_rule(words: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::BusinessRule, words)
    }

    pub(super) fn no_such_key() -> Self {
        Self::new(Kind::NotFound, "no such key: check its id, or list the keys")
    }

    pub(super) fn no_such_owner() -> Self {
        Self::new(Kind::NotFound, "no such owner: check the id, or create the owner first")
    }

    pub(super) fn forbidden(words: &'static str) -> Self {
        Self::new(Kind::Forbidden, words)
    }

    pub(super) fn too_many_lost() -> Self {
        Self::new(
            Kind::Unavailable,
            "too many changes are under way, or wait to be settled with the key store, so that no \
             other is begun: try again later",
        )
    }

    pub(super) fn unsettled() -> Self {
        Self::new(
            Kind::Unavailable,
            "an earlier change to the same key or owner waits to be settled with the key store, so \
             that no other is begun: try again later",
        )
    }

    pub(super) fn owner_exists() -> Self {
        Self::new(Kind::Duplicate, "an owner of this id is there already: update it instead")
    }

    pub(super) fn key_exists() -> Self {
        Self::new(
            Kind::Duplicate,
            "another key has this digest or this id already: find it by them, and delete it first",
        )
    }

    pub(super) fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unsupported, message)
    }

    /// What this store's schema has no place for.
    pub(super) fn not_in_schema(what: &str) -> Self {
        Self::unsupported(format!("not supported by this schema: {what}"))
    }

    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    pub(super) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// A read that failed: nothing can have changed.
    pub(super) fn reading(error: StoreError) -> Self {
        if error.is_unsupported() {
            return Self::unsupported(error.to_string()).because(error);
        }
        Self::new(Kind::Unavailable, "the key store can't be read at the moment: try again")
            .because(error)
    }

    /// A change to a key that failed.
    pub(super) fn changing_key(error: StoreError) -> Self {
        if error.is_not_found() {
            Self::no_such_key()
        } else if error.is_duplicate() {
            // A new key's id and digest are random: what is taken is the place of its predecessor's
            // successor, by a rotation that a store noticed at its index alone.
            Self::business_rule(REPLACED).because(error)
        } else {
            Self::changing(error)
        }
    }

    /// A change to an owner that failed.
    pub(super) fn changing_owner(error: StoreError) -> Self {
        if error.is_not_found() {
            Self::no_such_owner()
        } else if error.is_duplicate() {
            Self::owner_exists()
        } else {
            Self::changing(error)
        }
    }

    /// A note of a key's use that failed: making it again does no harm, so nothing is unknown.
    pub(super) fn noting(error: StoreError) -> Self {
        if error.is_unsupported() {
            return Self::unsupported(error.to_string()).because(error);
        }
        Self::new(Kind::Unavailable, "the key's use could not be written: try again").because(error)
    }

    fn changing(error: StoreError) -> Self {
        if error.is_unsupported() {
            Self::unsupported(error.to_string()).because(error)
        } else if error.is_not_applied() {
            Self::new(Kind::Unavailable, "the key store did not make the change: try again")
                .because(error)
        } else if error.is_definite() {
            Self::internal("internal error: the key store answered what this change can't cause")
                .because(error)
        } else {
            Self::new(
                Kind::OutcomeUnknown,
                "the key store failed before it said whether the change was made: it is made again \
                 by itself as soon as the store answers, and until then requests with a key that it \
                 is about are answered 503",
            )
            .because(error)
        }
    }

    /// This error of a change that issues a token, which nobody is told then.
    pub(super) fn issuing(self) -> Self {
        if self.kind != Kind::OutcomeUnknown {
            return self;
        }
        let message = "the key store failed before it said whether the key was made: as nobody was \
                       told its token, it is made inactive by itself as soon as the store answers, \
                       and a key that it was to replace is put back; try again then";
        Self { message: message.into(), ..self }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for KeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}

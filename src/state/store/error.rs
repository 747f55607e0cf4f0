//! Why a store could not do what it was asked.

use std::{error::Error, fmt};

type Source = Box<dyn Error + Send + Sync>;

/// Why a store could not do what it was asked: opaque, with `is_…` questions and a source.
///
/// Its message holds no secret; a constructor's `source` must not either.
#[derive(Debug)]
pub struct StoreError {
    kind: Kind,
    source: Option<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Duplicate,
    NotFound,
    Unsupported,
    NotApplied,
    Unusable,
    Other,
}

impl StoreError {
    /// The store can't be reached, or did not answer: try again later.
    #[must_use]
    pub fn unavailable(source: impl Into<Source>) -> Self {
        Self { kind: Kind::Unavailable, source: Some(source.into()) }
    }

    /// A key id, digest or owner id is taken; nothing changed.
    #[must_use]
    pub fn duplicate() -> Self {
        Self { kind: Kind::Duplicate, source: None }
    }

    /// There is no such key or owner; nothing changed.
    #[must_use]
    pub fn not_found() -> Self {
        Self { kind: Kind::NotFound, source: None }
    }

    /// This store's schema has no place for what was asked, or its role may not write it; `what` is
    /// named in the message, and nothing changed.
    #[must_use]
    pub fn unsupported(what: impl Into<Source>) -> Self {
        Self { kind: Kind::Unsupported, source: Some(what.into()) }
    }

    /// The change was certainly not made: a judge said no, or the store knows it rolled back.
    #[must_use]
    pub fn not_applied() -> Self {
        Self { kind: Kind::NotApplied, source: None }
    }

    /// [`not_applied`](Self::not_applied) for a reason worth telling.
    #[must_use]
    pub fn not_applied_because(source: impl Into<Source>) -> Self {
        Self { kind: Kind::NotApplied, source: Some(source.into()) }
    }

    /// The store can't be opened or set up. The message is shown as it stands: one line that says
    /// what is wrong and what to do.
    #[must_use]
    pub fn unusable(message: impl Into<Source>) -> Self {
        Self { kind: Kind::Unusable, source: Some(message.into()) }
    }

    /// Anything else. After a change, its outcome counts as unknown.
    #[must_use]
    pub fn other(source: impl Into<Source>) -> Self {
        Self { kind: Kind::Other, source: Some(source.into()) }
    }

    /// Whether the store can't be reached, or did not answer.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// Whether an id or digest is taken.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.kind == Kind::Duplicate
    }

    /// Whether there is no such key or owner.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// Whether this store's schema or role can't do it.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.kind == Kind::Unsupported
    }

    /// Whether the change was certainly not made by a decision or a rollback.
    #[must_use]
    pub fn is_not_applied(&self) -> bool {
        self.kind == Kind::NotApplied
    }

    /// Whether it is certain that nothing changed. Reads aside, every other error may have come
    /// after the commit.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        matches!(self.kind, Kind::Duplicate | Kind::NotFound | Kind::Unsupported | Kind::NotApplied)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.source) {
            (Kind::Unavailable, _) => f.write_str("the key store is unavailable"),
            (Kind::Duplicate, _) => f.write_str("that id or digest is taken already"),
            (Kind::NotFound, _) => f.write_str("no such key or owner"),
            (Kind::Unsupported, Some(what)) => write!(f, "not supported by this schema: {what}"),
            (Kind::Unsupported, None) => f.write_str("not supported by this schema"),
            (Kind::NotApplied, _) => f.write_str("the change was not applied"),
            (Kind::Unusable, Some(message)) => message.fmt(f),
            (Kind::Other | Kind::Unusable, _) => f.write_str("the key store failed"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        // An unusable store's message is shown already: what follows it is what lies behind it.
        if self.kind == Kind::Unusable { source.source() } else { Some(source) }
    }
}

//! Why a request was refused.

use std::{borrow::Cow, fmt, time::Duration};

use crate::value::key::KeyId;

/// Why a request was refused: opaque, with a [`kind`](Self::kind), and always in the extensions of
/// the response that was made of it.
///
/// Its message says what to do and holds no part of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    kind: RejectionKind,
    detail: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    /// Tells the two ways of being malformed apart, as knox has words for each.
    lacks_token: bool,
    /// What several fields would be refused for if they were joined to one: knox has words for that.
    joined: Option<RejectionKind>,
    /// The scopes that are needed, as a challenge may name them: RFC 6749, section 3.3.
    scope: Option<Box<str>>,
    key: Option<KeyId>,
}

impl Rejection {
    pub(crate) fn new(kind: RejectionKind) -> Self {
        let retry_after = kind.is_unavailable().then_some(Duration::from_secs(1));
        Self {
            kind,
            detail: None,
            retry_after,
            lacks_token: false,
            joined: None,
            scope: None,
            key: None,
        }
    }

    /// Malformed, because a source is there and no token in it.
    pub(crate) fn without_token(detail: &'static str) -> Self {
        Self { lacks_token: true, ..Self::new(RejectionKind::Malformed).with_detail(detail) }
    }

    /// Says what several fields would be refused for if they were joined to one.
    pub(crate) fn with_joined(mut self, joined: RejectionKind) -> Self {
        self.joined = Some(joined);
        self
    }

    /// Says it in words that fit the service's own configuration; never with a client's value.
    pub(crate) fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Names the scopes that are needed, where a challenge can.
    pub(crate) fn with_scope(mut self, scope: Option<Box<str>>) -> Self {
        self.scope = scope;
        self
    }

    /// Says which key it is about: for events and logs, never for the client.
    pub(crate) fn about(mut self, key: KeyId) -> Self {
        self.key = Some(key);
        self
    }

    /// Which key it is about, if a key was found.
    pub(crate) fn key(&self) -> Option<KeyId> {
        self.key
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// Whether the credential is malformed for want of a token.
    pub(crate) fn lacks_token(&self) -> bool {
        self.lacks_token
    }

    /// What several fields would be refused for if they were joined to one.
    pub(crate) fn joined(&self) -> Option<RejectionKind> {
        self.joined
    }

    /// The scopes that are needed, as a challenge may name them.
    pub(crate) fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// What the client is told, unless the responder has words of its own.
    #[must_use]
    pub fn detail(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.kind.description())
    }

    /// How long a client is asked to wait, if trying again can help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Rejection {}

/// What went wrong with a request's credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// No configured header carries a credential.
    Missing,
    /// The `Authorization` header uses a scheme that is not configured.
    WrongScheme,
    /// A configured scheme without a token, with more than one part, or with a blank in a key header.
    Malformed,
    /// More than one credential.
    Several,
    /// A credential field of more than 8 KiB.
    TooLong,
    /// A token that is no UTF-8.
    NotUtf8,
    /// No such key.
    Unknown,
    /// The key has expired.
    Expired,
    /// The key is deactivated.
    KeyInactive,
    /// The key's owner is inactive.
    OwnerInactive,
    /// The key lacks a scope.
    OutOfScope,
    /// The store can't be asked.
    StoreUnavailable,
    /// The store did not answer in time.
    TimedOut,
    /// Too many reads are waiting for the store.
    Overloaded,
    /// The key's standing is unknown until a change to it is settled.
    Suspect,
}

impl RejectionKind {
    /// Every kind, in the order of the documentation's table.
    pub const ALL: [Self; 15] = [
        Self::Missing,
        Self::WrongScheme,
        Self::Malformed,
        Self::Several,
        Self::TooLong,
        Self::NotUtf8,
        Self::Unknown,
        Self::Expired,
        Self::KeyInactive,
        Self::OwnerInactive,
        Self::OutOfScope,
        Self::StoreUnavailable,
        Self::TimedOut,
        Self::Overloaded,
        Self::Suspect,
    ];

    /// A stable word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::WrongScheme => "wrong_scheme",
            Self::Malformed => "malformed",
            Self::Several => "several",
            Self::TooLong => "too_long",
            Self::NotUtf8 => "not_utf8",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::KeyInactive => "key_inactive",
            Self::OwnerInactive => "owner_inactive",
            Self::OutOfScope => "out_of_scope",
            Self::StoreUnavailable => "store_unavailable",
            Self::TimedOut => "timed_out",
            Self::Overloaded => "overloaded",
            Self::Suspect => "suspect",
        }
    }

    /// Whether the service, not the credential, is at fault: 503, never 401.
    #[must_use]
    pub fn is_unavailable(self) -> bool {
        matches!(self, Self::StoreUnavailable | Self::TimedOut | Self::Overloaded | Self::Suspect)
    }

    /// Whether a whole credential was read and the key itself refused.
    #[must_use]
    pub fn is_about_the_key(self) -> bool {
        matches!(self, Self::Unknown | Self::Expired | Self::KeyInactive | Self::OwnerInactive)
    }

    fn description(self) -> &'static str {
        match self {
            Self::Missing => "no credential was sent",
            Self::WrongScheme => "the Authorization header uses another scheme",
            Self::Malformed => "the credential is malformed: expected one token without blanks",
            Self::Several => "more than one credential was sent; send exactly one",
            Self::TooLong => "the credential is longer than 8192 bytes",
            Self::NotUtf8 => "the token is not valid UTF-8",
            Self::Unknown => "the API key is unknown",
            Self::Expired => "the API key has expired",
            Self::KeyInactive => "the API key is not active",
            Self::OwnerInactive => "the owner of the API key is not active",
            Self::OutOfScope => "the API key lacks a scope that is needed here",
            Self::StoreUnavailable => "API keys can't be checked at the moment; try again",
            Self::TimedOut => "checking the API key took too long; try again",
            Self::Overloaded => "too many API keys are being checked at the moment; try again",
            Self::Suspect => "a change to the API key is being settled; try again",
        }
    }
}

impl fmt::Display for RejectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

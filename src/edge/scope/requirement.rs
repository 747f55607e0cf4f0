//! Which scopes are needed, and the judgement of a request by them.

use bytes::Bytes;
use http::{Extensions, request::Parts, response::Response};

use crate::{
    edge::{answers::Answers, visitor::Visitor},
    usecase::{
        authenticated::AuthenticatedKey,
        authenticator::Authenticator,
        config::ConfigError,
        rejection::{Rejection, RejectionKind},
    },
};

/// What a layer asks of a key; the layer and its services share one.
#[derive(Clone, Debug)]
pub(super) struct Requirement {
    /// Invariant: not empty, and none twice.
    scopes: Box<[Box<str>]>,
    enough: Enough,
    pub(super) answers: Answers,
    /// Who is told of refusals, if anybody.
    pub(super) auth: Option<Authenticator>,
}

/// How many of the scopes a key must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enough {
    All,
    Any,
}

/// Why a request must not reach the inner service.
pub(super) enum Refusal {
    /// The key may not do this.
    OutOfScope(Rejection),
    /// There is no key, and a layer of ours permitted that.
    NoKey(Visitor),
    /// No layer of ours saw the request.
    NoLayer,
}

impl Requirement {
    pub(super) fn new<S: Into<Box<str>>>(
        enough: Enough,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let mut distinct: Vec<Box<str>> = Vec::new();
        for scope in scopes.into_iter().map(Into::into) {
            check(&scope)?;
            if !distinct.contains(&scope) {
                distinct.push(scope);
            }
        }
        if distinct.is_empty() {
            return Err(ConfigError::new("no scope: name at least one, such as \"read\""));
        }
        Ok(Self { scopes: distinct.into(), enough, answers: Answers::default(), auth: None })
    }

    /// Judges a request by what an outer layer left in its extensions. It neither changes nor
    /// clones any of it, so that an admitted request costs no shared write.
    pub(super) fn judge(&self, extensions: &Extensions) -> Result<(), Refusal> {
        if let Some(key) = extensions.get::<AuthenticatedKey>() {
            let mut held = self.scopes.iter().map(|scope| key.has_scope(scope));
            let suffices = match self.enough {
                Enough::All => held.all(|is_held| is_held),
                Enough::Any => held.any(|is_held| is_held),
            };
            return if suffices { Ok(()) } else { Err(Refusal::OutOfScope(self.lacking(key))) };
        }
        let visitor = extensions.get::<Visitor>().cloned();
        Err(visitor.map_or(Refusal::NoLayer, Refusal::NoKey))
    }

    /// The response to a refused request.
    pub(super) fn refuse(&self, refusal: Refusal, mut head: Parts) -> Response<Bytes> {
        match refusal {
            Refusal::OutOfScope(rejection) => {
                // The layer has done so, but code of the user's may have admitted the key instead.
                self.answers.sources.mark_sensitive(&mut head.headers);
                self.auth.iter().for_each(|auth| auth.tell_refusal(&rejection));
                self.answers.refuse(rejection, &head)
            }
            Refusal::NoKey(visitor) => visitor.refuse(&head),
            Refusal::NoLayer => self.answers.no_layer("RequireScopeLayer", &head),
        }
    }

    fn lacking(&self, key: &AuthenticatedKey) -> Rejection {
        let missing = self.scopes.iter().filter(|scope| !key.has_scope(scope));
        let missing: Vec<_> = missing.map(|scope| format!("\"{scope}\"")).collect();
        let detail = match (self.enough, &*missing) {
            (_, [only]) => format!("the API key lacks the scope {only}"),
            (Enough::All, _) => format!("the API key lacks the scopes {}", missing.join(" and ")),
            (Enough::Any, _) => {
                format!("the API key lacks a scope: one of {} is needed", missing.join(", "))
            }
        };
        Rejection::new(RejectionKind::OutOfScope)
            .with_detail(detail)
            .with_scope(self.as_parameter())
            .about(key.id())
    }

    /// The `scope` parameter of a challenge, where it can say what is needed: it has no way to say
    /// "one of these", and RFC 6749, section 3.3, leaves some characters out.
    fn as_parameter(&self) -> Option<Box<str>> {
        let can_say = self.enough == Enough::All || self.scopes.len() == 1;
        let allowed = |byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let can_spell = self.scopes.iter().all(|scope| scope.bytes().all(allowed));
        (can_say && can_spell).then(|| self.scopes.join(" ").into())
    }
}

/// Scopes stand in lists that are separated by blanks, so no key is issued one that holds any.
fn check(scope: &str) -> Result<(), ConfigError> {
    if scope.is_empty() {
        return Err(ConfigError::new("an empty scope: name one such as \"read\""));
    }
    if scope.contains(|c: char| c.is_whitespace() || c.is_control()) {
        // The value is not repeated, as no setting's is: what was passed by mistake must not reach
        // a log.
        return Err(ConfigError::new(
            "that is no scope: a scope is one word, such as \"read\"; give each by itself",
        ));
    }
    Ok(())
}

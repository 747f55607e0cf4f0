//! Where credentials may stand, and which of them a request presents.

use std::sync::Arc;

use http::{
    HeaderMap,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderName, HeaderValue},
};

use super::{parse, stripped::Stripped};
use crate::usecase::{
    config::ConfigError,
    rejection::{Rejection, RejectionKind},
};

/// Scheme names that may be repeated to a client that sent one of them. Any other first word may be
/// a bare token, so it is never repeated. Registered names, and some that are common without it.
const WELL_KNOWN: [&str; 18] = [
    "Basic",
    "Bearer",
    "Digest",
    "Negotiate",
    "NTLM",
    "OAuth",
    "DPoP",
    "GNAP",
    "HOBA",
    "Mutual",
    "PrivateToken",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "vapid",
    "AWS4-HMAC-SHA256",
    "ApiKey",
    "Api-Key",
    "Token",
];

/// The schemes of `Authorization` and the headers that count as sources of a credential.
///
/// Invariant: there is at least one source.
#[derive(Clone, Debug)]
pub(in crate::edge) struct Sources {
    pub(super) schemes: Vec<Arc<str>>,
    pub(super) headers: Vec<HeaderName>,
}

/// Where one credential stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Source<'s> {
    /// In `Authorization`, behind this scheme.
    Scheme(&'s Arc<str>),
    /// Alone in this header.
    Header(&'s HeaderName),
}

/// What a request presents to a layer's sources.
pub(in crate::edge) enum Presented<'s, 'h> {
    /// One credential.
    Token(Source<'s>, &'h str),
    /// None, but an `Authorization` of another scheme; its name if it may be repeated.
    Foreign(Option<&'static str>),
    /// None.
    Nothing,
}

impl Default for Sources {
    fn default() -> Self {
        Self { schemes: vec![Arc::from("Token")], headers: Vec::new() }
    }
}

impl Sources {
    pub(in crate::edge) fn add_scheme(&mut self, scheme: &str) -> Result<(), ConfigError> {
        check_scheme(scheme)?;
        if self.scheme(scheme.as_bytes()).is_none() {
            self.schemes.push(Arc::from(scheme));
        }
        Ok(())
    }

    pub(in crate::edge) fn add_header(&mut self, name: &str) -> Result<(), ConfigError> {
        // The value is not repeated: a token that was passed by mistake must not reach a log.
        let name = HeaderName::try_from(name).map_err(|_| {
            ConfigError::new("that is no header name: name one such as \"x-api-key\"")
        })?;
        if [HOST, COOKIE, CONTENT_TYPE, CONTENT_LENGTH].contains(&name) {
            return Err(ConfigError::new(format!(
                "the header {name} has a meaning of its own: name one such as \"x-api-key\""
            )));
        }
        if name == AUTHORIZATION {
            return Err(ConfigError::new(
                "the Authorization header carries a scheme: name that with `scheme`",
            ));
        }
        if !self.headers.contains(&name) {
            self.headers.push(name);
        }
        Ok(())
    }

    pub(in crate::edge) fn clear(&mut self) {
        self.clear_schemes();
        self.headers.clear();
    }

    pub(in crate::edge) fn clear_schemes(&mut self) {
        self.schemes.clear();
    }

    pub(in crate::edge) fn schemes(&self) -> &[Arc<str>] {
        &self.schemes
    }

    /// Marks every field that may carry a credential, so that `Debug` and HPACK keep it out.
    pub(in crate::edge) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        for name in self.names() {
            // `entry` would reach every field at once, but it reserves room for another.
            let Some(first) = headers.get_mut(name) else { continue };
            first.set_sensitive(true);
            if headers.get_all(name).iter().nth(1).is_some() {
                let fields = headers.iter_mut().filter(|(field, _)| *field == name);
                fields.for_each(|(_, value)| value.set_sensitive(true));
            }
        }
    }

    /// What a request presents to these sources.
    pub(in crate::edge) fn find<'s, 'h>(
        &'s self,
        headers: &'h HeaderMap,
    ) -> Result<Presented<'s, 'h>, Rejection> {
        let mut found = None;
        let mut foreign = None;
        if !self.schemes.is_empty() {
            let fields = headers.get_all(AUTHORIZATION);
            for value in fields.iter().map(HeaderValue::as_bytes) {
                let Some(word) = parse::scheme(value) else { continue };
                match self.scheme(word) {
                    Some(scheme) => found = Some((Source::Scheme(scheme), value)),
                    None => foreign = Some(word),
                }
            }
            if found.is_some() && fields.iter().nth(1).is_some() {
                let fields: Vec<_> = fields.iter().map(HeaderValue::as_bytes).collect();
                let joined = self.judge_joined(&fields.join(&b','));
                return Err(Rejection::new(RejectionKind::Several).with_joined(joined));
            }
        }
        for name in &self.headers {
            for value in headers.get_all(name) {
                if found.replace((Source::Header(name), value.as_bytes())).is_some() {
                    return Err(Rejection::new(RejectionKind::Several));
                }
            }
        }
        match (found, foreign) {
            (Some((source @ Source::Scheme(_), value)), _) => {
                Ok(Presented::Token(source, parse::behind_scheme(value)?))
            }
            (Some((source @ Source::Header(_), value)), _) => {
                Ok(Presented::Token(source, parse::whole(value)?))
            }
            (None, Some(word)) => Ok(Presented::Foreign(well_known(word))),
            (None, None) => Ok(Presented::Nothing),
        }
    }

    /// The source of ours that is the same as the one a layer further out took `stripped` from.
    pub(super) fn source_of(&self, stripped: &Stripped) -> Option<Source<'_>> {
        match stripped.scheme() {
            Some(scheme) => self.scheme(scheme.as_bytes()).map(Source::Scheme),
            None => self.headers.iter().find(|name| *name == stripped.header()).map(Source::Header),
        }
    }

    /// Why a request that presents nothing of ours is refused, and what to send.
    pub(in crate::edge) fn refusal_of_absent(&self, presented: &Presented<'_, '_>) -> Rejection {
        let Presented::Foreign(name) = presented else {
            return Rejection::new(RejectionKind::Missing)
                .with_detail(format!("no API key was sent; send {}", self.advice()));
        };
        let expected = self.schemes.iter().map(|scheme| format!("\"{scheme}\""));
        let expected = expected.collect::<Vec<_>>().join(" or ");
        Rejection::new(RejectionKind::WrongScheme).with_detail(match name {
            Some(name) => format!("this service expects {expected}, the request used \"{name}\""),
            None => format!(
                "this service expects {expected}, the request used another scheme; send {}",
                self.advice()
            ),
        })
    }

    /// What several fields would be refused for as one, joined with commas: RFC 9110, section 5.3,
    /// lets a server join them, and gunicorn does so before knox, whose words depend on it.
    fn judge_joined(&self, joined: &[u8]) -> RejectionKind {
        match parse::scheme(joined).and_then(|word| self.scheme(word)) {
            None => RejectionKind::WrongScheme,
            Some(_) => match parse::only_behind_scheme(joined) {
                Ok(_) => RejectionKind::Unknown,
                Err(rejection) => rejection.kind(),
            },
        }
    }

    fn advice(&self) -> String {
        let schemes =
            self.schemes.iter().map(|scheme| format!("\"Authorization: {scheme} <key>\""));
        let headers = self.headers.iter().map(|name| format!("\"{name}: <key>\""));
        schemes.chain(headers).collect::<Vec<_>>().join(" or ")
    }

    fn scheme(&self, word: &[u8]) -> Option<&Arc<str>> {
        self.schemes.iter().find(|scheme| scheme.as_bytes().eq_ignore_ascii_case(word))
    }

    fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let authorization = (!self.schemes.is_empty()).then_some(&AUTHORIZATION);
        authorization.into_iter().chain(&self.headers)
    }
}

/// A scheme is a `token` of RFC 9110, section 5.6.2.
fn check_scheme(scheme: &str) -> Result<(), ConfigError> {
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if scheme.is_empty() {
        return Err(ConfigError::new("an empty scheme: name one such as \"Token\""));
    }
    if !scheme.bytes().all(in_token) {
        // Nor here.
        return Err(ConfigError::new(
            "that is no scheme: a scheme is one word of ASCII letters, digits or hyphens, such as \
             \"Token\"",
        ));
    }
    Ok(())
}

fn well_known(word: &[u8]) -> Option<&'static str> {
    WELL_KNOWN.into_iter().find(|name| name.as_bytes().eq_ignore_ascii_case(word))
}

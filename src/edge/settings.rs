//! What a layer was set up with, and the one path from a request's head to a verdict on it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Extensions, HeaderMap, request::Parts, response::Response};

use super::{
    answers::Answers,
    credential::{Presented, Stripped, Taken},
    visitor::Visitor,
};
use crate::{
    state::cache::Sighting,
    usecase::{
        authenticated::AuthenticatedKey,
        authenticator::{Authenticator, Freshness},
        events::Event,
        rejection::{Rejection, RejectionKind},
    },
    value::{digest::TokenDigest, trace},
};

pub(super) type Bypass = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// What a layer was set up with, shared by it, its services and requests under way. On cache lines apart
/// from the count of those, which routers move at each request.
#[repr(align(128))]
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) auth: Authenticator,
    pub(super) answers: Answers,
    pub(super) optional: bool,
    pub(super) authoritative: bool,
    pub(super) strip: bool,
    pub(super) bypasses: Vec<Bypass>,
}

/// What a request's head leads to.
pub(super) enum Verdict {
    /// The head is ready for the inner service.
    Pass,
    /// The inner service must not be called.
    Refuse(Rejection),
    /// The store must be asked.
    Ask(Credential),
}

/// The credential of a request, as far as it outlives the request's head.
pub(super) struct Credential {
    digest: TokenDigest,
    /// Set if the field is to be taken out once the request is admitted.
    to_strip: Option<Stripped>,
}

/// Whether this thread was asked for what it knows of a request's token.
#[derive(Clone, Copy)]
pub(super) enum Look {
    Not,
    /// It can't say; what it saw, of a token that it may come to know.
    AtToken(Option<Sighting>),
}

/// What a request presents.
enum Found {
    /// The credential of this key, which was admitted.
    Known(AuthenticatedKey, Option<Stripped>),
    /// A credential.
    Credential(Credential, Option<Sighting>),
    /// None, so that it passes as anonymous.
    Nothing,
}

impl Settings {
    pub(super) fn new(auth: Authenticator) -> Self {
        Self {
            auth,
            answers: Answers::default(),
            optional: false,
            authoritative: false,
            strip: false,
            bypasses: Vec::new(),
        }
    }

    /// Marks, cleans and judges a request's head, without a store.
    pub(super) fn judge(self: &Arc<Self>, head: &mut Parts, look: Look) -> Verdict {
        // Before anything of the user's sees the head: a predicate or responder may log it.
        self.answers.sources.mark_sensitive(&mut head.headers);
        head.extensions.remove::<AuthenticatedKey>();
        head.extensions.remove::<Visitor>();
        if self.bypasses.iter().any(|lets_pass| lets_pass(head)) {
            head.extensions.insert(Visitor::bypassing(Arc::clone(self)));
            return Verdict::Pass;
        }
        let (credential, sighting) = match self.credential(head, look) {
            Ok(Found::Known(key, to_strip)) => {
                admit(head, key, to_strip);
                return Verdict::Pass;
            }
            Ok(Found::Credential(credential, sighting)) => (credential, sighting),
            Ok(Found::Nothing) => {
                head.extensions.insert(Visitor::anonymous(Arc::clone(self)));
                return Verdict::Pass;
            }
            Err(rejection) => {
                self.auth.tell_refusal(&rejection);
                return Verdict::Refuse(rejection);
            }
        };
        if self.authoritative {
            self.auth.tell(Event::Requested);
            return Verdict::Ask(credential);
        }
        match self.decide(&credential.digest, sighting) {
            Some(Ok(key)) => {
                credential.admit(head, key);
                Verdict::Pass
            }
            Some(Err(rejection)) => Verdict::Refuse(rejection),
            None => Verdict::Ask(credential),
        }
    }

    /// The key of a request whose token this thread knows and stands where nearly every client puts it, if the
    /// layer is set up for nothing rarer; then [`leave_key`](Self::leave_key) is all that is left.
    #[inline]
    pub(super) fn known(&self, headers: &mut HeaderMap) -> Result<AuthenticatedKey, Look> {
        if self.authoritative || self.strip || !self.bypasses.is_empty() {
            return Err(Look::Not);
        }
        let token = self.answers.sources.in_its_place(headers).ok_or(Look::Not)?;
        self.auth.admit_known(token).map_err(Look::AtToken)
    }

    /// Leaves a key for the inner service to find, where nothing was taken out of the request.
    #[inline]
    pub(super) fn leave_key(extensions: &mut Extensions, key: AuthenticatedKey) {
        trace::admitted(|| key.id());
        extensions.remove::<Visitor>();
        extensions.insert(key);
    }

    /// Whether a layer further out took credentials out of a request.
    pub(super) fn were_taken(extensions: &Extensions) -> bool {
        extensions.get::<Taken>().is_some()
    }

    /// The decision, if the cache can make it.
    fn decide(
        &self,
        digest: &TokenDigest,
        sighting: Option<Sighting>,
    ) -> Option<Result<AuthenticatedKey, Rejection>> {
        self.auth.tell(Event::Requested);
        self.auth.cached(digest, sighting).map(|decision| self.auth.told(decision))
    }

    /// Asks the store.
    pub(super) fn resolve(
        &self,
        credential: &Credential,
    ) -> impl Future<Output = Result<AuthenticatedKey, Rejection>> + Send + 'static {
        let freshness =
            if self.authoritative { Freshness::Authoritative } else { Freshness::Cached };
        let (auth, digest) = (self.auth.clone(), credential.digest);
        async move { auth.told(auth.resolve(digest, freshness).await) }
    }

    pub(super) fn refuse(&self, rejection: Rejection, head: &Parts) -> Response<Bytes> {
        self.answers.refuse(rejection, head)
    }

    /// The request's one credential, or what this thread knows of it.
    fn credential(&self, head: &Parts, look: Look) -> Result<Found, Rejection> {
        let presented = self.answers.sources.find(&head.headers)?;
        let stripped = match head.extensions.get::<Taken>() {
            Some(taken) => taken.for_sources(&self.answers.sources)?,
            None => None,
        };
        let mut sighting = None;
        let (source, digest) = match (presented, stripped) {
            (Presented::Token(source, token), None) => {
                match look {
                    Look::AtToken(seen) => sighting = seen,
                    Look::Not if self.authoritative => {}
                    Look::Not => match self.auth.admit_known(token.as_bytes()) {
                        Ok(key) => {
                            let digest = *key.key().digest();
                            let to_strip = self.strip.then(|| Stripped::new(source, digest));
                            return Ok(Found::Known(key, to_strip));
                        }
                        Err(seen) => sighting = seen,
                    },
                }
                (source, self.auth.digest_of(token)?)
            }
            (Presented::Token(source, token), Some((earlier, stripped))) => {
                let digest = self.auth.digest_of(token)?;
                if source != earlier || digest != *stripped.digest() {
                    return Err(Rejection::new(RejectionKind::Several));
                }
                (source, digest)
            }
            (_, Some((source, stripped)))
                if !head.headers.contains_key(stripped.header())
                    && stripped.digest().algorithm() == self.auth.digest_algorithm() =>
            {
                (source, *stripped.digest())
            }
            _ if self.optional => return Ok(Found::Nothing),
            (absent, _) => return Err(self.answers.sources.refusal_of_absent(&absent)),
        };
        let to_strip = self.strip.then(|| Stripped::new(source, digest));
        Ok(Found::Credential(Credential { digest, to_strip }, sighting))
    }

    /// What the layer would have said to an anonymous request in required mode.
    pub(super) fn refusal_of_anonymous(&self, head: &Parts) -> Rejection {
        let presented = self.answers.sources.find(&head.headers).unwrap_or(Presented::Nothing);
        self.answers.sources.refusal_of_absent(&presented)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("answers", &self.answers)
            .field("optional", &self.optional)
            .field("authoritative", &self.authoritative)
            .field("strip", &self.strip)
            .field("bypasses", &self.bypasses.len())
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// Leaves in the head what the inner service is to find there.
    pub(super) fn admit(self, head: &mut Parts, key: AuthenticatedKey) {
        admit(head, key, self.to_strip);
    }
}

fn admit(head: &mut Parts, key: AuthenticatedKey, to_strip: Option<Stripped>) {
    if let Some(stripped) = to_strip {
        head.headers.remove(stripped.header());
        head.extensions.get_or_insert_default::<Taken>().add(stripped);
    }
    Settings::leave_key(&mut head.extensions, key);
}

//! What a layer was set up with, and the one path from a request's head to a verdict on it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{request::Parts, response::Response};

use super::{
    answers::Answers,
    credential::{Presented, Stripped, Taken},
    visitor::Visitor,
};
use crate::{
    usecase::{
        authenticated::AuthenticatedKey,
        authenticator::{Authenticator, Freshness},
        events::Event,
        rejection::{Rejection, RejectionKind},
    },
    value::{digest::TokenDigest, trace},
};

pub(super) type Bypass = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// What a layer was set up with; the layer, its services and the requests under way share one.
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
    pub(super) fn judge(self: &Arc<Self>, head: &mut Parts) -> Verdict {
        // Before anything of the user's sees the head: a predicate or responder may log it.
        self.answers.sources.mark_sensitive(&mut head.headers);
        head.extensions.remove::<AuthenticatedKey>();
        head.extensions.remove::<Visitor>();
        if self.bypasses.iter().any(|lets_pass| lets_pass(head)) {
            head.extensions.insert(Visitor::bypassing(Arc::clone(self)));
            return Verdict::Pass;
        }
        let credential = match self.credential(head) {
            Ok(Some(credential)) => credential,
            Ok(None) => {
                head.extensions.insert(Visitor::anonymous(Arc::clone(self)));
                return Verdict::Pass;
            }
            Err(rejection) => {
                self.auth.tell_refusal(&rejection);
                return Verdict::Refuse(rejection);
            }
        };
        self.auth.tell(Event::Requested);
        if self.authoritative {
            return Verdict::Ask(credential);
        }
        match self.auth.cached(&credential.digest).map(|decision| self.auth.told(decision)) {
            Some(Ok(key)) => {
                credential.admit(head, key);
                Verdict::Pass
            }
            Some(Err(rejection)) => Verdict::Refuse(rejection),
            None => Verdict::Ask(credential),
        }
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

    /// The response to a refused request.
    pub(super) fn refuse(&self, rejection: Rejection, head: &Parts) -> Response<Bytes> {
        self.answers.refuse(rejection, head)
    }

    /// The request's one credential; `None` if it passes as anonymous.
    fn credential(&self, head: &Parts) -> Result<Option<Credential>, Rejection> {
        let presented = self.answers.sources.find(&head.headers)?;
        let stripped = match head.extensions.get::<Taken>() {
            Some(taken) => taken.for_sources(&self.answers.sources)?,
            None => None,
        };
        let (source, digest) = match (presented, stripped) {
            (Presented::Token(source, token), None) => (source, self.auth.digest_of(token)?),
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
            _ if self.optional => return Ok(None),
            (absent, _) => return Err(self.answers.sources.refusal_of_absent(&absent)),
        };
        let to_strip = self.strip.then(|| Stripped::new(source, digest));
        Ok(Some(Credential { digest, to_strip }))
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
        if let Some(stripped) = self.to_strip {
            head.headers.remove(stripped.header());
            head.extensions.get_or_insert_default::<Taken>().add(stripped);
        }
        trace::admitted(key.id());
        head.extensions.insert(key);
    }
}

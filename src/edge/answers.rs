//! How a layer answers what it refuses: one piece, so that layers can answer alike.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{request::Parts, response::Response};

use super::{
    credential::Sources,
    responder::{Grpc, GrpcMode, Problem, Responder, dress, no_layer},
};
use crate::usecase::rejection::{Rejection, RejectionKind};

/// What a refusal's response depends on, beside the refusal and the request.
#[derive(Clone, Default)]
pub(super) struct Answers {
    /// Where credentials may stand: challenges name the schemes.
    pub(super) sources: Sources,
    pub(super) responder: Option<Arc<dyn Responder>>,
    pub(super) grpc: Option<GrpcMode>,
    pub(super) uniform: bool,
}

impl Answers {
    /// The response to a refused request.
    pub(super) fn refuse(&self, rejection: Rejection, head: &Parts) -> Response<Bytes> {
        let responder = self.responder_for(head);
        let mut response = if self.uniform && rejection.kind().is_about_the_key() {
            let told = Rejection::new(RejectionKind::Unknown)
                .with_detail("the API key is unknown, expired or not active");
            responder.respond(&told, head)
        } else {
            responder.respond(&rejection, head)
        };
        dress(&mut response, &rejection, &self.sources);
        response.extensions_mut().insert(rejection);
        response
    }

    /// The response to a request that never met a `TokenAuthLayer` before it came to `place`. No
    /// responder is asked: it is no refusal, but a mistake of the service's.
    pub(super) fn no_layer(&self, place: &str, head: &Parts) -> Response<Bytes> {
        no_layer(place, self.grpc_mode(), head)
    }

    fn responder_for(&self, head: &Parts) -> &dyn Responder {
        let own = self.responder.as_deref();
        if self.grpc_mode().applies_to(head) { &Grpc } else { own.unwrap_or(&Problem) }
    }

    /// A responder of the user's answers gRPC requests too, unless a mode was set.
    fn grpc_mode(&self) -> GrpcMode {
        match (self.grpc, &self.responder) {
            (Some(mode), _) => mode,
            (None, Some(_)) => GrpcMode::Never,
            (None, None) => GrpcMode::Auto,
        }
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("sources", &self.sources)
            .field("grpc", &self.grpc)
            .field("uniform", &self.uniform)
            .finish_non_exhaustive()
    }
}

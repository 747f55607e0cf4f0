//! The mark of a request that passed without a key.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{request::Parts, response::Response};

use super::settings::Settings;
use crate::usecase::rejection::{Rejection, RejectionKind};

/// In the extensions of a request that a [`TokenAuthLayer`](crate::TokenAuthLayer) let pass without
/// a key: as anonymous in optional mode, or through a bypass.
///
/// A request behind the layer carries this or an [`AuthenticatedKey`](crate::AuthenticatedKey),
/// never both; one with neither never met the layer.
#[derive(Clone)]
pub struct Visitor {
    settings: Arc<Settings>,
    passage: Passage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    Anonymous,
    Bypass,
}

impl Visitor {
    pub(super) fn anonymous(settings: Arc<Settings>) -> Self {
        Self { settings, passage: Passage::Anonymous }
    }

    pub(super) fn bypassing(settings: Arc<Settings>) -> Self {
        Self { settings, passage: Passage::Bypass }
    }

    /// Whether the request carried no credential, which the layer's optional mode permits.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.passage == Passage::Anonymous
    }

    /// Whether a bypass let the request pass: whatever credential it carries was not looked at.
    #[must_use]
    pub fn is_bypassing(&self) -> bool {
        self.passage == Passage::Bypass
    }

    /// The layer's own 401, for code that needs a key after all: the same responder and challenges.
    /// It is counted and told to [`Events`](crate::Events) as a refusal of the layer's.
    #[must_use]
    pub fn refuse(&self, request: &Parts) -> Response<Bytes> {
        let rejection = match self.passage {
            Passage::Anonymous => self.settings.refusal_of_anonymous(request),
            Passage::Bypass => Rejection::new(RejectionKind::Missing)
                .with_detail("an API key is needed here, but this request bypasses the check"),
        };
        self.settings.auth.tell_refusal(&rejection);
        self.settings.refuse(rejection, request)
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Visitor").field(&self.passage).finish()
    }
}

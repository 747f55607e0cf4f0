//! The memory of credentials that layers took out of a request.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName};

use super::source::{Source, Sources};
use crate::{
    usecase::rejection::{Rejection, RejectionKind},
    value::digest::TokenDigest,
};

/// Left in the extensions of a request whose credential layers of ours took out, for layers further
/// in. Nothing outside this crate can make one. At most one for each header.
#[derive(Clone, Debug, Default)]
pub(in crate::edge) struct Taken(Vec<Stripped>);

impl Taken {
    pub(in crate::edge) fn add(&mut self, stripped: Stripped) {
        self.0.retain(|earlier| earlier.header != stripped.header);
        self.0.push(stripped);
    }

    /// The one that a layer with these sources would have read; several are ambiguous.
    pub(in crate::edge) fn for_sources<'s>(
        &self,
        sources: &'s Sources,
    ) -> Result<Option<(Source<'s>, &Stripped)>, Rejection> {
        let mut read = self.0.iter().filter_map(|it| Some((sources.source_of(it)?, it)));
        match (read.next(), read.next()) {
            (_, Some(_)) => Err(Rejection::new(RejectionKind::Several)),
            (first, None) => Ok(first),
        }
    }
}

/// A credential that was taken out of a request.
#[derive(Clone, Debug)]
pub(in crate::edge) struct Stripped {
    header: HeaderName,
    scheme: Option<Arc<str>>,
    digest: TokenDigest,
}

impl Stripped {
    pub(in crate::edge) fn new(source: Source<'_>, digest: TokenDigest) -> Self {
        match source {
            Source::Scheme(scheme) => {
                Self { header: AUTHORIZATION, scheme: Some(Arc::clone(scheme)), digest }
            }
            Source::Header(name) => Self { header: name.clone(), scheme: None, digest },
        }
    }

    pub(in crate::edge) fn header(&self) -> &HeaderName {
        &self.header
    }

    /// `None` if the header was one of its own.
    pub(super) fn scheme(&self) -> Option<&Arc<str>> {
        self.scheme.as_ref()
    }

    pub(in crate::edge) fn digest(&self) -> &TokenDigest {
        &self.digest
    }
}

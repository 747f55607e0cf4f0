//! What is to be done about one row.

use tower_token_auth::{KeyError, KeyManager, Record, TokenDigest};

use super::{key, report::Fate, target::Target, there};

pub(crate) enum Task {
    /// Whether its owner is there with other flags or accounts.
    Import(Record, bool),
    /// For this reason; with whatever could be read of it.
    Leave(Option<Record>, Option<TokenDigest>, String),
}

impl Task {
    /// Does it; `memory` is where a dry run imports.
    pub(crate) async fn done(
        self,
        target: &Target,
        memory: &KeyManager,
    ) -> Result<(Option<Record>, Fate), KeyError> {
        match self {
            Self::Import(record, as_other) => key::import(record, as_other, target, memory).await,
            Self::Leave(record, digest, why) => there::left(record, digest, why, target).await,
        }
    }
}

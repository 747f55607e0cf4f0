//! How an authenticator is set up: every default with its reason, every nonsense refused.

use std::{fmt, sync::Arc};

use super::{
    authenticator::{Authenticator, Guard, Inner},
    manager::Issuing,
};
use crate::{
    state::store::{DynRepository, DynStore, KeyRepository, KeyStore},
    value::{clock::Clock, token::TokenFormat},
};

/// What an authenticator was set up with.
pub(super) struct Settings {
    pub(super) clock: Clock,
    pub(super) checksummed_prefixes: Box<[Box<str>]>,
    pub(super) token_format: TokenFormat,
    pub(super) issuing: Issuing,
}

/// Sets up an [`Authenticator`].
#[must_use = "a builder does nothing until `build`"]
pub struct AuthenticatorBuilder {
    store: Arc<dyn DynStore>,
    repository: Option<Arc<dyn DynRepository>>,
    clock: Clock,
    token_format: TokenFormat,
    checksummed_prefixes: Vec<Box<str>>,
    pub(super) issuing: Issuing,
}

impl AuthenticatorBuilder {
    pub(super) fn managed(store: impl KeyRepository) -> Self {
        let store: Arc<dyn DynRepository> = Arc::new(store);
        Self::over(Arc::clone(&store) as Arc<dyn DynStore>, Some(store))
    }

    pub(super) fn read_only(store: impl KeyStore) -> Self {
        Self::over(Arc::new(store), None)
    }

    fn over(store: Arc<dyn DynStore>, repository: Option<Arc<dyn DynRepository>>) -> Self {
        Self {
            store,
            repository,
            clock: Clock::system(),
            token_format: TokenFormat::default(),
            checksummed_prefixes: Vec::new(),
            issuing: Issuing::default(),
        }
    }

    /// Builds the authenticator, and the guard whose `shutdown` drains its recorder. Nothing is
    /// spawned, so that it may be built outside a runtime.
    ///
    /// # Errors
    /// When a setting makes no sense; the message says which and what to do.
    pub fn build(self) -> Result<(Authenticator, Guard), ConfigError> {
        let mut prefixes = self.checksummed_prefixes;
        prefixes.extend(self.token_format.checksummed_prefix().map(Into::into));
        let settings = Settings {
            clock: self.clock,
            checksummed_prefixes: prefixes.into(),
            token_format: self.token_format,
            issuing: self.issuing,
        };
        let inner = Inner { store: self.store, repository: self.repository, settings };
        Ok((Authenticator::from_inner(inner), Guard::new()))
    }
}

impl fmt::Debug for AuthenticatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatorBuilder").finish_non_exhaustive()
    }
}

/// A setting that makes no sense; the message says which, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Box<str>);

impl ConfigError {
    pub(crate) fn new(message: impl Into<Box<str>>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

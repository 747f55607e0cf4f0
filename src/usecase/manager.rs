//! Issues, changes and lists keys.

use std::{fmt, sync::Arc};

use super::authenticator::Inner;

/// Issues, changes and lists the keys of one store.
#[derive(Clone)]
pub struct KeyManager {
    inner: Arc<Inner>,
}

impl KeyManager {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }
}

impl fmt::Debug for KeyManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let managed = self.inner.repository.is_some();
        f.debug_struct("KeyManager").field("managed", &managed).finish_non_exhaustive()
    }
}

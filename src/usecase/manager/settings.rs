//! The settings that govern what is issued, and to whom.

use super::policy::Issuing;
use crate::usecase::config::AuthenticatorBuilder;

impl AuthenticatorBuilder {
    /// Who may hold a working key; staff owners by default, as in the source system.
    pub fn issuing(mut self, issuing: Issuing) -> Self {
        self.issuing = issuing;
        self
    }
}

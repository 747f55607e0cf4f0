//! The settings that govern what is issued, and to whom.

use std::time::Duration;

use super::policy::Issuing;
use crate::{
    usecase::config::AuthenticatorBuilder,
    value::{format::TokenFormat, owner::AccountId, token::TokenError},
};

impl AuthenticatorBuilder {
    /// Who may hold a working key; staff owners by default, as in the source system, and any active
    /// owner on a schema whose own rule that is, as plain knox's.
    pub fn issuing(mut self, issuing: Issuing) -> Self {
        self.issuing = Some(issuing);
        self
    }

    /// What issued tokens look like; knox's format without a prefix by default. Tokens of any other
    /// form are admitted all the same, as long as their digest is known. The prefix of a
    /// checksummed format counts as [registered](Self::checksummed_prefix).
    pub fn token_format(mut self, format: TokenFormat) -> Self {
        self.token_format = format;
        self
    }

    /// The longest grace that a rotation may give, at most ten years, and none at all with zero; 30 days
    /// by default, long enough for a client that is deployed monthly, and short enough that an old
    /// key's end is still somebody's business.
    pub fn max_grace(mut self, grace: Duration) -> Self {
        self.max_grace = grace;
        self
    }

    /// Names the platform's account: every active user may see its keys. By default there is none. An
    /// account's id has 1 to 128 bytes and no control characters.
    pub fn platform_account(mut self, account: impl Into<AccountId>) -> Self {
        self.platform = Some(account.into());
        self
    }

    /// Registers a prefix under which every token carries a checksum, so that garbage under it is
    /// refused without asking the store: for prefixes that were used before the present one.
    ///
    /// # Errors
    /// When [`TokenFormat::checksummed`] would refuse the prefix.
    pub fn checksummed_prefix(mut self, prefix: &str) -> Result<Self, TokenError> {
        TokenFormat::checksummed(prefix)?;
        self.checksummed_prefixes.push(prefix.into());
        Ok(self)
    }
}

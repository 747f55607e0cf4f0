//! Who may hold a working key.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::value::owner::Owner;

/// The source system's rule, in its own words.
const STAFF_ONLY: &str = "API Keys can only be created for staff users.";
const ACTIVE_ONLY: &str = "an inactive owner can't hold a working key: activate the owner first";

/// Who may hold a working key: judged when a key is created, activated or rotated, on the owner's row
/// as it is stored. Deactivation is never refused, and what is imported is not judged.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Issuing {
    /// Staff owners alone, the default and the rule of the source system. The error for anybody
    /// else reads `API Keys can only be created for staff users.`
    #[default]
    StaffOwners,
    /// Any owner who is active, as in plain knox.
    AnyActiveOwner,
    /// A rule of one's own; make it with [`Issuing::rule`].
    Rule(Arc<Rule>),
}

/// `Err` refuses, with the words for it.
type Rule = dyn Fn(&Owner) -> Result<(), String> + Send + Sync;

impl Issuing {
    /// A rule of one's own: an `Err` refuses, and its text is what the business-rule error says.
    /// It runs inside the store's transaction, perhaps more than once: let it be quick and ask
    /// nobody.
    #[must_use]
    pub fn rule(rule: impl Fn(&Owner) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self::Rule(Arc::new(rule))
    }

    pub(super) fn judge(&self, owner: &Owner) -> Result<(), Cow<'static, str>> {
        match self {
            Self::StaffOwners if owner.is_staff() => Ok(()),
            Self::StaffOwners => Err(STAFF_ONLY.into()),
            Self::AnyActiveOwner if owner.is_active() => Ok(()),
            Self::AnyActiveOwner => Err(ACTIVE_ONLY.into()),
            Self::Rule(rule) => rule(owner).map_err(Cow::Owned),
        }
    }
}

impl fmt::Debug for Issuing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StaffOwners => "StaffOwners",
            Self::AnyActiveOwner => "AnyActiveOwner",
            Self::Rule(_) => "Rule(..)",
        })
    }
}

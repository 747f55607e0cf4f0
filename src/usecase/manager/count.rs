//! Counts an owner's keys, as far as a limit asks for it.

use chrono::TimeDelta;

use super::{KeyError, KeyManager, KeyPage, Page};
use crate::{state::store::KeyFilter, value::owner::OwnerId};

impl KeyManager {
    /// Whether the owner has so many keys, or more, that let them in and have not expired: what knox
    /// counts, inactive ones included.
    pub(crate) async fn has_unexpired(
        &self,
        owner: &OwnerId,
        count: u32,
    ) -> Result<bool, KeyError> {
        if count == 0 {
            return Ok(true);
        }
        // One that expires at this very moment still passes, and yet does not count.
        let soon = self.now() + TimeDelta::microseconds(1);
        let filter = KeyFilter::all().owner(owner).expires_from(soon);
        let (mut counted, mut page) = (0, Page::first(count));
        loop {
            let KeyPage { keys, next } = self.list(filter.clone(), page).await?;
            counted += keys.iter().filter(|key| key.owner().id() == owner).count();
            if counted >= count as usize {
                return Ok(true);
            }
            let Some(next) = next else { return Ok(false) };
            page = page.after(next);
        }
    }
}

//! How a user stands to keys, by the ownership rules: in plain knox a key is its user's, in Smarter's
//! database its profile's.

use super::{
    super::contract::Standing,
    list::{Growing, Nothing},
    schema::{Owners, Smarter},
};
use crate::value::{owner::AccountId, ownership::Relation};

impl Growing<'_> {
    /// What [`Relation::holds`] says, in SQL, of the user's row as it is stored. In Smarter's database
    /// the key is its profile's user's, and a user without a profile stands to no key.
    pub(super) fn stands(
        &mut self,
        standing: &Standing,
        platform: Option<&AccountId>,
    ) -> Result<(), Nothing> {
        let (user, value) = self.owner(&standing.user)?;
        let Owners { table, id, has_staff, has_superusers, .. } = &self.store.schema.owners;
        let own = match self.store.smarter() {
            Some(_) => format!("p.user_id = u.{id}"),
            None => format!("k.user_id = u.{id}"),
        };
        let rules = if *has_superusers { "u.is_superuser" } else { "1 = 0" };
        let is_staff = if *has_staff { "u.is_staff" } else { "1 = 0" };
        let mut values = vec![user];
        let (mut is_colleague, mut is_known) = ("1 = 0".to_owned(), String::new());
        let mut on_platform = String::new();
        if let Some(Smarter { profiles, account_ids, .. }) = self.store.smarter() {
            let profile = format!("EXISTS (SELECT 1 FROM {profiles} AS m WHERE m.user_id = u.{id}");
            is_colleague = format!("{profile} AND m.account_id = p.account_id)");
            is_known = format!(" AND {profile})");
            let platform = platform.and_then(|id| account_ids.bound(id.as_str(), self.dialect()));
            if let Some(platform) = platform
                && matches!(standing.relation, Relation::Reader | Relation::SharedWith)
            {
                on_platform = format!(" OR p.account_id = {}", account_ids.value(self.dialect()));
                values.push(platform);
            }
        }
        let reads =
            format!("u.is_active{is_known} AND ({rules} OR {own} OR {is_colleague}{on_platform})");
        let stands = match standing.relation {
            Relation::Owner => own,
            Relation::Reader => reads,
            Relation::SharedWith => format!("{reads} AND NOT {own}"),
            Relation::Manager => format!(
                "u.is_active{is_known} AND ({rules} OR {own} OR {is_staff} AND {is_colleague})"
            ),
        };
        let text =
            format!(" AND EXISTS (SELECT 1 FROM {table} AS u WHERE u.{id} = {value} AND {stands})");
        self.push(&text, values);
        Ok(())
    }
}

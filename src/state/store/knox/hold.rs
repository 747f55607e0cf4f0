//! Rows that a change is judged on, held until it is over.
//!
//! The keys in the order of their digests (`FOR UPDATE`), then their owners and the caller with their
//! memberships (`FOR SHARE`: many changes may rely on one owner at once, but none may change it
//! meanwhile). So what was judged stands until the commit, whoever else writes, Django included. SQLite
//! needs none of it: its change began by taking the whole file.
//!
//! Everybody here takes them in this order, whatever they change: keys by their digests, with their rows
//! in Smarter's table (and on MySQL, which locks all that is joined, their profiles), owners by their ids,
//! memberships by theirs; last uses are written in the order of the digests as well. So two changes of ours
//! never wait for each other in a ring. Django has an order of its own, as when it deletes a user with all
//! that is theirs; where the two meet in a ring the database ends one of them, and ours is begun anew.
//!
//! It only locks. What is read of these rows comes from a later statement, which shows them as they are.

use std::collections::BTreeSet;

use super::{
    super::error::StoreError,
    KnoxStore,
    dialect::Dialect,
    failure,
    ids::Ids,
    range,
    schema::{Owners, Smarter},
    session::{Session, Statement},
    statements::values,
};
use crate::value::{key::KeyId, owner::OwnerId};

impl KnoxStore {
    /// Holds these keys, their owners and the caller.
    pub(super) async fn hold(
        &self,
        session: &mut Session,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
    ) -> Result<(), StoreError> {
        if self.schema.dialect == Dialect::Sqlite {
            return Ok(());
        }
        let mut owners = BTreeSet::new();
        if let Some(statement) = self.lock_keys(ids) {
            let rows = session.rows(statement).await.map_err(failure::of)?;
            owners.extend(rows.into_iter().flatten().flatten());
        }
        owners.extend(caller.and_then(|caller| self.bound_owner(caller)));
        self.lock_owners(session, owners).await
    }

    /// Holds owners.
    pub(super) async fn hold_owners<'a>(
        &self,
        session: &mut Session,
        owners: impl IntoIterator<Item = &'a OwnerId>,
    ) -> Result<(), StoreError> {
        if self.schema.dialect == Dialect::Sqlite {
            return Ok(());
        }
        let owners = owners.into_iter().filter_map(|owner| self.bound_owner(owner)).collect();
        self.lock_owners(session, owners).await
    }

    /// An owner's id as it is bound; `None` if no row can have it.
    pub(super) fn bound_owner(&self, owner: &OwnerId) -> Option<String> {
        self.schema.owners.ids.bound(owner.as_str(), self.schema.dialect)
    }

    /// `None` if no row can have any of the ids.
    fn lock_keys(&self, ids: &[KeyId]) -> Option<Statement> {
        let (dialect, tokens) = (self.schema.dialect, &self.schema.tokens);
        let user = dialect.text("k.user_id");
        let (text, bound, aliases): (_, Vec<String>, _) = match self.smarter() {
            Some(Smarter { keys, profiles, .. }) => {
                let among = vec![Ids::Uuids.value(dialect); ids.len()].join(", ");
                let text = format!(
                    "SELECT {user}, {} FROM {tokens} AS k \
                     JOIN {keys} AS c ON c.authtoken_ptr_id = k.digest \
                     JOIN {profiles} AS p ON p.id = c.user_profile_id WHERE c.key_id IN ({among})",
                    dialect.text("p.user_id")
                );
                let bound = ids.iter().map(|id| Ids::uuid(*id.as_uuid(), dialect)).collect();
                (text, bound, "k, c")
            }
            None => {
                let ranges: Vec<_> = ids.iter().filter_map(|id| range::digests(*id)).collect();
                let among = vec!["k.digest BETWEEN ? AND ?"; ranges.len()].join(" OR ");
                let text = format!("SELECT {user} FROM {tokens} AS k WHERE {among}");
                let bound = ranges.into_iter().flat_map(|(first, last)| [first, last]).collect();
                (text, bound, "k")
            }
        };
        if bound.is_empty() {
            return None;
        }
        let text = format!("{text} ORDER BY k.digest{}", dialect.for_update(aliases));
        let values = bound.into_iter().map(Some).collect();
        Some(Statement { sql: self.schema.compile(&text), values })
    }

    async fn lock_owners(
        &self,
        session: &mut Session,
        owners: BTreeSet<String>,
    ) -> Result<(), StoreError> {
        if owners.is_empty() {
            return Ok(());
        }
        let dialect = self.schema.dialect;
        let Owners { table, id, ids, .. } = &self.schema.owners;
        let among = values(owners.len()).replace('?', ids.value(dialect));
        let share = dialect.for_share();
        let mut texts = vec![format!(
            "SELECT '' FROM {table} AS o WHERE o.{id} IN ({among}) ORDER BY o.{id}{share}"
        )];
        if let Some(Smarter { profiles, .. }) = self.smarter() {
            texts.push(format!(
                "SELECT '' FROM {profiles} AS m WHERE m.user_id IN ({among}) ORDER BY m.id{share}"
            ));
        }
        for text in texts {
            let values = owners.iter().cloned().map(Some).collect();
            let statement = Statement { sql: self.schema.compile(&text), values };
            session.rows(statement).await.map_err(failure::of)?;
        }
        Ok(())
    }
}

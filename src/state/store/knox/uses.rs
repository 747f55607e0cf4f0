//! When keys were last used: Smarter keeps it, plain knox has no column for it.

use super::{
    super::{contract::KeyUse, error::StoreError},
    KnoxStore, failure,
    ids::Ids,
    session::Statement,
};

/// How many rows one statement writes: few enough that others wait for them no longer than for a
/// change.
const BATCH: usize = 100;

impl KnoxStore {
    /// Writes each batch in one statement, in the order of the digests, as changes hold their rows.
    pub(super) async fn write_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        let Some(smarter) = self.smarter() else {
            return Err(StoreError::unsupported("plain knox keeps no last use"));
        };
        let mut uses: Vec<(String, &KeyUse)> =
            uses.iter().map(|key_use| (key_use.digest.to_hex(), key_use)).collect();
        // Of two uses of one key the later stays.
        uses.sort_unstable_by(|(one, a), (other, b)| one.cmp(other).then(b.at.cmp(&a.at)));
        uses.dedup_by(|(later, _), (kept, _)| later == kept);
        let mut written = 0;
        for batch in uses.chunks(BATCH) {
            written += self.write_batch(&smarter.keys, batch).await?;
        }
        Ok(written)
    }

    async fn write_batch(
        &self,
        keys: &str,
        batch: &[(String, &KeyUse)],
    ) -> Result<u64, StoreError> {
        let dialect = self.schema.dialect;
        let (new, any) = (dialect.new_moment(), dialect.any_moment());
        let whens = format!(" WHEN ? THEN {new}").repeat(batch.len());
        let due = format!(
            "(authtoken_ptr_id = ? AND key_id = {} AND (last_used_at IS NULL OR {} < {any}))",
            Ids::Uuids.value(dialect),
            dialect.comparable("last_used_at"),
        );
        let due = vec![due; batch.len()].join(" OR ");
        let text = format!(
            "UPDATE {keys} SET last_used_at = CASE authtoken_ptr_id{whens} END WHERE {due}"
        );
        let mut values = Vec::with_capacity(batch.len() * 5);
        for (digest, key_use) in batch {
            values.extend([digest.clone(), self.schema.bound(key_use.at)].map(Some));
        }
        for (digest, key_use) in batch {
            let id = Ids::uuid(*key_use.key.as_uuid(), dialect);
            let before = self.schema.bound(key_use.if_before);
            values.extend([digest.clone(), id, before].map(Some));
        }
        let mut session = self.pool.session().await.map_err(failure::of)?;
        let done = session.execute(Statement { sql: self.schema.compile(&text), values }).await;
        if done.as_ref().err().is_none_or(failure::is_answer) {
            session.release();
        }
        done.map_err(failure::of)
    }
}

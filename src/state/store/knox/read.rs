//! What authentication asks: each one statement, and so one moment of the database.

use super::{
    super::{
        contract::{KeyStore, KeyUse},
        error::StoreError,
    },
    KnoxStore,
    row::{self, NoDate},
    session::{Cells, Statement},
};
use crate::value::{
    digest::{DigestAlgorithm, TokenDigest},
    key::Record,
};

/// The most digests of one statement: fewer than any of the databases takes values.
const MOST: usize = 16_384;

impl KeyStore for KnoxStore {
    /// SHA-512, of all that knox 5 issues.
    fn digest_algorithm(&self) -> DigestAlgorithm {
        DigestAlgorithm::Sha512
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        Ok(self.found(&[digest]).await?.pop())
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        for part in digests.chunks(MOST) {
            records.extend(self.found(part).await?);
        }
        Ok(records)
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.write_uses(uses).await
    }
}

impl KnoxStore {
    /// Finds, and lets those know who watch what is found.
    async fn found(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        let rows = self.rows_of(digests).await?;
        let found = row::records(rows, &self.schema, NoDate::IsAnError)?;
        self.watchers.note(digests, &found);
        Ok(found)
    }

    /// Finds what was found before, for who only looks whether it has changed: nobody is admitted by it.
    pub(super) async fn find_again(
        &self,
        digests: &[TokenDigest],
    ) -> Result<Vec<Record>, StoreError> {
        row::records(self.rows_of(digests).await?, &self.schema, NoDate::HasExpired)
    }

    /// Whatever a collation takes for the same digest is left out here, where bytes are compared,
    /// before anything else of its row is read.
    async fn rows_of(&self, digests: &[TokenDigest]) -> Result<Vec<Cells>, StoreError> {
        let mut asked: Vec<String> = digests.iter().map(TokenDigest::to_hex).collect();
        asked.sort_unstable();
        asked.dedup();
        let Some(last) = asked.last().cloned() else { return Ok(Vec::new()) };
        // A few sizes, so that a few statements are prepared; the last one is asked for again.
        let size = asked.len().next_power_of_two();
        let mut values: Vec<_> = asked.iter().cloned().map(Some).collect();
        values.resize(size, Some(last));
        let sql = self.statements.find(&self.schema, size);
        let mut rows = self.pool.rows(Statement { sql, values }).await?;
        let is_asked = |hex: &str| asked.binary_search_by(|asked| asked.as_str().cmp(hex)).is_ok();
        rows.retain(|row| row::digest_of(row).is_some_and(is_asked));
        Ok(rows)
    }
}

//! What authentication asks: each one statement, and so one moment of the database.

use serde_json::{Value, json};

use super::{
    super::{
        contract::{KeyStore, KeyUse},
        error::StoreError,
    },
    SqliteStore, failure, row,
};
use crate::value::{
    digest::{DigestAlgorithm, TokenDigest},
    key::Record,
};

impl KeyStore for SqliteStore {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        let query = sqlx::query(self.statements.find.clone()).bind(digest.to_hex());
        let found = query.fetch_optional(&self.reader()?).await.map_err(failure::of)?;
        found.map(|found| row::record(&found, self.algorithm)).transpose()
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        let digests: Value = digests.iter().map(TokenDigest::to_hex).collect();
        let query = sqlx::query(self.statements.find_many.clone()).bind(digests.to_string());
        let found = query.fetch_all(&self.reader()?).await.map_err(failure::of)?;
        row::records(&found, self.algorithm)
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        if uses.is_empty() {
            return Ok(0);
        }
        let uses: Value = uses.iter().map(as_json).collect();
        let mut writer = self.writer().await?;
        let query = sqlx::query(self.statements.record_uses.clone()).bind(uses.to_string());
        let done = query.execute(&mut *writer).await.map_err(failure::of)?;
        Ok(done.rows_affected())
    }
}

fn as_json(key_use: &KeyUse) -> Value {
    json!({
        "digest": key_use.digest.to_hex(),
        "key": key_use.key.to_string(),
        "at": key_use.at.timestamp_micros(),
        "if_before": key_use.if_before.timestamp_micros(),
    })
}

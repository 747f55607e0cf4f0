//! What authentication asks: each one statement, and so one moment of the database.

use sqlx::{
    Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::{
    super::{
        contract::{KeyStore, KeyUse},
        error::StoreError,
    },
    PostgresStore, failure,
    moment::Moment,
    row,
    session::Session,
};
use crate::value::{
    digest::{DigestAlgorithm, TokenDigest},
    key::Record,
};

impl KeyStore for PostgresStore {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        let query = self.query(&self.statements.find).bind(digest.as_bytes());
        let found = self.rows(query).await?;
        found.first().map(|found| row::record(found, self.algorithm)).transpose()
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        let digests: Vec<&[u8]> = digests.iter().map(TokenDigest::as_bytes).collect();
        let query = self.query(&self.statements.find_many).bind(digests);
        row::records(&self.rows(query).await?, self.algorithm)
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        if uses.is_empty() {
            return Ok(0);
        }
        let digests: Vec<&[u8]> = uses.iter().map(|key_use| key_use.digest.as_bytes()).collect();
        let keys: Vec<_> = uses.iter().map(|key_use| *key_use.key.as_uuid()).collect();
        let at: Vec<_> = uses.iter().map(|key_use| Moment(key_use.at)).collect();
        let if_before: Vec<_> = uses.iter().map(|key_use| Moment(key_use.if_before)).collect();
        let query = self.query(&self.statements.record_uses);
        let query = query.bind(digests).bind(keys).bind(at).bind(if_before);
        let mut session = Session::of(&self.pool).await?;
        session.begin(self.beginnings.change.clone()).await?;
        match query.execute(session.connection()).await {
            Ok(done) => {
                session.commit().await?;
                Ok(done.rows_affected())
            }
            Err(error) => {
                session.rollback().await;
                Err(failure::of(error))
            }
        }
    }
}

impl PostgresStore {
    /// Sends a read. Where a pooler may give the next message to another server, it goes inside a
    /// transaction: sqlx sends a statement and its values apart.
    pub(super) async fn rows(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut session = Session::of(&self.pool).await?;
        if self.is_pooled {
            session.begin(self.beginnings.read.clone()).await?;
        }
        let found = query.fetch_all(session.connection()).await;
        match &found {
            Ok(_) if self.is_pooled => session.commit().await?,
            Err(error) if self.is_pooled && failure::is_answer(error) => session.rollback().await,
            Err(error) if !failure::is_answer(error) => {}
            Ok(_) | Err(_) => session.release(),
        }
        found.map_err(failure::of_read)
    }
}

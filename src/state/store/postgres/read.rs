//! What authentication asks: each one statement, and so one moment of the database.

use sqlx::postgres::PgRow;

use super::{
    super::{
        contract::{KeyStore, KeyUse},
        error::StoreError,
    },
    PostgresStore, Statement, failure,
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
        let query = || self.query(&self.statements.find).bind(digest.as_bytes());
        let found = self.rows(query).await?;
        found.first().map(|found| row::record(found, self.algorithm)).transpose()
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        let digests: Vec<&[u8]> = digests.iter().map(TokenDigest::as_bytes).collect();
        let query = || self.query(&self.statements.find_many).bind(&digests);
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
        session.begin(self.beginnings.change.clone()).await.map_err(failure::of)?;
        match query.execute(session.connection()).await {
            Ok(done) => {
                session.commit().await?;
                Ok(done.rows_affected())
            }
            Err(error) => {
                let error = failure::of(error);
                session.rollback(&error).await;
                Err(error)
            }
        }
    }
}

impl PostgresStore {
    /// Makes a read; once more where the connection's prepared statements are outdated.
    pub(super) async fn rows<'q>(
        &self,
        query: impl Fn() -> Statement<'q>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut session = Session::of(&self.pool).await?;
        let mut found = self.rows_on(&mut session, query()).await;
        if found.as_ref().is_err_and(failure::is_outdated) {
            session.renew().await?;
            found = self.rows_on(&mut session, query()).await;
        }
        session.release_after(&found);
        found
    }

    /// Sends a read. Where a pooler may give the next message to another server, it goes inside a
    /// transaction: sqlx sends a statement and its values apart.
    pub(super) async fn rows_on(
        &self,
        session: &mut Session,
        query: Statement<'_>,
    ) -> Result<Vec<PgRow>, StoreError> {
        if !self.is_pooled {
            return query.fetch_all(session.connection()).await.map_err(failure::of_read);
        }
        session.begin(self.beginnings.read.clone()).await.map_err(failure::of_read)?;
        let found = query.fetch_all(session.connection()).await.map_err(failure::of_read);
        if found.as_ref().err().is_none_or(failure::is_answer) {
            // Of one that has failed it is the end as well.
            let ended = sqlx::raw_sql("COMMIT").execute(session.connection()).await;
            ended.map_err(failure::of_read)?;
        }
        found
    }
}

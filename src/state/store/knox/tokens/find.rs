//! Which tables of tokens are there: knox's or Smarter's, and DRF's own.

use std::sync::Arc;

use super::{
    super::{
        KnoxOptions, catalogue,
        connect::{self, Target},
        dialect::Dialect,
        discover::{self, discover},
        place::Trouble,
        schema::Schema,
        session::{Pool, Session},
    },
    TokenTable, TokenTableKind,
};
use crate::state::store::error::StoreError;

/// The table of DRF's own tokens, which no setting of Django's renames.
const DRF: &str = "authtoken_token";

impl KnoxOptions {
    /// Finds the tables of tokens in a database, to read them for a move to another store: knox's or
    /// Smarter's, DRF's own, or both. Nothing is made or changed there.
    ///
    /// # Errors
    /// When the database can't be reached, holds none of them, or one that can't be read; the message
    /// says what to do, and never the password.
    pub async fn token_tables(self, url: &str) -> Result<Vec<TokenTable>, StoreError> {
        let target = Target::parse(url)?;
        let place = target.place();
        connect::try_once(&target, self.acquire_timeout).await.map_err(|e| place.trouble(e))?;
        let pool = connect::pool(target, &self);
        match self.tables_in(&pool).await {
            Ok(tables) => Ok(tables),
            Err(trouble) => {
                pool.close().await;
                Err(place.trouble(trouble))
            }
        }
    }

    async fn tables_in(&self, pool: &Pool) -> Result<Vec<TokenTable>, Trouble> {
        let mut session = pool.session().await?;
        let dialect = pool.dialect();
        let mut found = Vec::new();
        if discover::find(&mut session, dialect, self, &self.token_table).await?.is_some() {
            let schema = discover(&mut session, dialect, self).await?;
            let kind = match schema.smarter {
                Some(_) => TokenTableKind::Smarter,
                None => TokenTableKind::Knox,
            };
            found.push((kind, schema));
        }
        let drf = self.drf(&mut session, dialect).await?;
        found.extend(drf.map(|schema| (TokenTableKind::Drf, schema)));
        session.release();
        if found.is_empty() {
            let advice = format!(
                "and none `{DRF}` of DRF's own tokens; check the URL, or name knox's table by \
                 `KnoxOptions::token_table`"
            );
            return Err(discover::missing(&self.token_table, &advice));
        }
        let table =
            |(kind, schema)| TokenTable { pool: pool.clone(), schema: Arc::new(schema), kind };
        Ok(found.into_iter().map(table).collect())
    }

    async fn drf(
        &self,
        session: &mut Session,
        dialect: Dialect,
    ) -> Result<Option<Schema>, Trouble> {
        let Some(tokens) = discover::find(session, dialect, self, DRF).await? else {
            return Ok(None);
        };
        catalogue::is_fit(session, dialect).await?;
        tokens.require(&["key", "created", "user_id"])?;
        tokens.require_moments(dialect, &["created"])?;
        let owners = discover::owners(session, dialect, self, &tokens).await?;
        let (zone, tokens) = (self.zone, tokens.quoted);
        Ok(Some(Schema { dialect, zone, tokens, owners, smarter: None }))
    }
}

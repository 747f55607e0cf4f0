//! Reads every row of a Django's tokens, for a move to another store: those that are no key are told,
//! and not passed over.

mod find;

use std::{fmt, sync::Arc};

use super::{
    dialect::Dialect,
    discover, failure, row,
    schema::{From, Schema},
    session::{Cells, Pool, Statement},
};
use crate::{
    state::store::error::StoreError,
    value::{
        digest::{DigestAlgorithm, TokenDigest},
        key::Record,
    },
};

/// A table in which a Django keeps tokens, to be read row by row: for a move to another store.
/// [`KnoxOptions::token_tables`](crate::KnoxOptions::token_tables) finds them.
///
/// A lookup of [`KnoxStore`](crate::KnoxStore) sees keys alone. This sees every row, and says of one that
/// is no key why.
#[derive(Clone)]
pub struct TokenTable {
    pool: Pool,
    schema: Arc<Schema>,
    kind: TokenTableKind,
}

/// Whose table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenTableKind {
    /// django-rest-knox's.
    Knox,
    /// django-rest-knox's, with Smarter's rows beside it.
    Smarter,
    /// That of Django REST framework's own `TokenAuthentication`, which keeps the tokens themselves. Where
    /// its database takes a token in another case for the same one, as MySQL does, that ends with the move.
    Drf,
}

/// A part of a [`TokenTable`].
#[derive(Debug)]
#[non_exhaustive]
pub struct TokenPage {
    /// The rows, in the order of the table's primary key: each a key with the user whom it
    /// authenticates, or an error whose source says why it is none. DRF's tokens are hashed by SHA-512.
    /// Of Smarter's, [`owner_id`](crate::ApiKey::owner_id) is the user of the key's profile, who may be
    /// another one.
    pub rows: Vec<Result<Record, StoreError>>,
    /// The digest of each of them, in the same order; also where the rest of the row can't be read. `None`
    /// where it is itself what can't be.
    pub digests: Vec<Option<TokenDigest>>,
    /// Where the next page begins; `None` when this was the last one.
    pub next: Option<TokenPlace>,
}

/// A place in a [`TokenTable`]. It is a secret, as it may hold one of DRF's tokens, and is not shown.
#[derive(Clone)]
pub struct TokenPlace(Box<str>);

impl TokenTable {
    /// Whose table it is.
    #[must_use]
    pub fn kind(&self) -> TokenTableKind {
        self.kind
    }

    /// How many rows there are now, keys or not.
    ///
    /// # Errors
    /// When the database could not look.
    pub async fn count(&self) -> Result<u64, StoreError> {
        let count = self.schema.dialect.text("count(*)");
        let text = format!("SELECT {count} FROM {} AS k", self.schema.tokens);
        let statement = Statement { sql: self.schema.compile(&text), values: Vec::new() };
        let rows = self.pool.rows(statement).await?;
        let count = rows.into_iter().flatten().flatten().next();
        count.and_then(|count| count.parse().ok()).ok_or_else(failure::vanished)
    }

    /// Reads at most `limit` rows, at least 1, from the first or behind a place. A row that is added,
    /// changed or removed meanwhile shifts none of the others.
    ///
    /// # Errors
    /// When the database could not look.
    pub async fn page(
        &self,
        after: Option<&TokenPlace>,
        limit: u32,
    ) -> Result<TokenPage, StoreError> {
        let limit = limit.max(1);
        let rows = self.pool.rows(self.select(after, limit)).await?;
        let is_full = rows.len() >= limit as usize;
        let last = rows.last().filter(|_| is_full).and_then(row::digest_of);
        let next = last.map(|last| TokenPlace(last.into()));
        let digests = rows.iter().map(|row| self.digest(row)).collect();
        Ok(TokenPage { rows: rows.into_iter().map(|row| self.read(row)).collect(), digests, next })
    }

    fn select(&self, after: Option<&TokenPlace>, limit: u32) -> Statement {
        let (schema, dialect) = (&self.schema, self.schema.dialect);
        let (record, column) = match self.kind {
            TokenTableKind::Drf => {
                let key = format!("k.{}", dialect.quote("key"));
                let token =
                    [dialect.text(&key), "''".into(), dialect.moment("k.created"), "NULL".into()];
                (schema.record_of(token, From::EveryToken), key)
            }
            _ => (schema.record(From::EveryToken), "k.digest".to_owned()),
        };
        // A blob of SQLite's comes behind every text, whatever it is compared with, and would come again
        // with every page.
        let listed = match dialect {
            Dialect::Sqlite => format!("typeof({column}) = 'text'"),
            _ => "1 = 1".into(),
        };
        let beyond = after.map_or_else(String::new, |_| format!(" AND {column} > ?"));
        let text = format!("{record} WHERE {listed}{beyond} ORDER BY {column} LIMIT {limit}");
        let values = after.map(|place| Some(place.0.to_string())).into_iter().collect();
        Statement { sql: schema.compile(&text), values }
    }

    fn digest(&self, row: &Cells) -> Option<TokenDigest> {
        let token = row::digest_of(row).filter(|token| !token.is_empty())?;
        match self.kind {
            TokenTableKind::Drf => Some(TokenDigest::of(DigestAlgorithm::Sha512, token)),
            _ => row::digest_in(token).ok(),
        }
    }

    fn read(&self, mut row: Cells) -> Result<Record, StoreError> {
        if self.kind == TokenTableKind::Drf {
            let token = row.first_mut().and_then(Option::as_mut);
            let token =
                token.filter(|token| !token.is_empty()).ok_or_else(|| no_key("it is empty"))?;
            *token = TokenDigest::of(DigestAlgorithm::Sha512, token).to_hex();
        } else {
            is_alive(&row)?;
        }
        // In the order of the columns of a record: the user's id, and Smarter's key and profile.
        let has = |at: usize| row.get(at).is_some_and(Option::is_some);
        if self.kind == TokenTableKind::Smarter && !has(10) {
            return Err(no_key("Smarter has no row beside knox's"));
        }
        if self.kind == TokenTableKind::Smarter && !has(11) {
            return Err(no_key("its profile is gone"));
        }
        if !has(4) {
            return Err(no_key("its user is gone"));
        }
        row::record(row, &self.schema)
    }
}

impl fmt::Debug for TokenTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenTable").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenPlace")
    }
}

/// Older versions of knox kept the first 8 characters of a token, and hashed something else than the
/// token: an upgraded table may hold such rows, whose digests look like any other. A shorter key is
/// right only where it is the whole token, and one that was imported has none.
fn is_alive(row: &Cells) -> Result<(), StoreError> {
    let cell = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    let digest = row::digest_in(cell(0))?;
    let token_key = cell(1);
    let is_whole = || TokenDigest::of(DigestAlgorithm::Sha512, token_key) == digest;
    let is_short = token_key.chars().count() < discover::TOKEN_KEY as usize;
    if is_short && !token_key.is_empty() && !is_whole() {
        return Err(no_key("an older knox hashed it otherwise, so that no token opens it"));
    }
    Ok(())
}

/// Says why a row is no key, and nothing that is in it.
fn no_key(why: &str) -> StoreError {
    StoreError::other(format!("a row is no key: {why}"))
}

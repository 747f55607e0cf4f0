//! The query of a listing: filter, ownership and owners are of one moment.

use super::{
    super::contract::{KeyOrder, KeyQuery},
    KnoxStore,
    dialect::Dialect,
    ids::Ids,
    range,
    schema::From,
    session::Statement,
};
use crate::value::{key::KeyId, owner::OwnerId};

/// A statement that grows, condition by condition.
pub(super) struct Growing<'a> {
    pub(super) store: &'a KnoxStore,
    text: String,
    values: Vec<Option<String>>,
}

/// What is asked for is nobody's, so that nothing is listed.
pub(super) struct Nothing;

impl KnoxStore {
    /// `None` if no key can be what is asked for.
    pub(super) fn listing(&self, query: KeyQuery) -> Option<Statement> {
        let record = self.schema.record(From::Anywhere);
        let text = format!("{record} WHERE 1 = 1");
        let mut sql = Growing { store: self, text, values: Vec::new() };
        sql.ask(query).ok()?;
        let Growing { text, values, .. } = sql;
        Some(Statement { sql: self.schema.compile(&text), values })
    }
}

impl Growing<'_> {
    fn ask(&mut self, query: KeyQuery) -> Result<(), Nothing> {
        let platform = query.platform;
        for standing in self.filter(query.filter)? {
            self.stands(&standing, platform.as_ref())?;
        }
        let (beyond, direction) = match query.order {
            KeyOrder::OldestFirst => (">", ""),
            KeyOrder::NewestFirst => ("<", " DESC"),
        };
        let id = self.id();
        let created = self.comparable("k.created");
        if let Some(after) = query.after {
            let at = self.store.schema.bound(after.created_at);
            let place = self.place(after.id, query.order)?;
            let any = self.dialect().any_moment();
            self.push(
                &format!(
                    " AND ({created} {beyond} {any} OR {created} = {any} AND {id} {beyond} {})",
                    self.any_id()
                ),
                [at.clone(), at, place],
            );
        }
        let limit = query.limit.max(1);
        self.text
            .push_str(&format!(" ORDER BY {created}{direction}, {id}{direction} LIMIT {limit}"));
        Ok(())
    }

    /// What ties are broken by: the id, or the digest that it is made of, which is in the same order.
    fn id(&self) -> String {
        match (self.store.smarter(), self.dialect()) {
            (None, _) => "k.digest".into(),
            // MariaDB's own UUIDs are in another order than their digits.
            (Some(_), Dialect::MySql) => "REPLACE(CAST(c.key_id AS CHAR), '-', '')".into(),
            (Some(_), _) => "c.key_id".into(),
        }
    }

    fn any_id(&self) -> &'static str {
        match (self.store.smarter(), self.dialect()) {
            (Some(_), Dialect::Postgres) => "CAST(? AS uuid)",
            _ => "?",
        }
    }

    /// The place behind a key of this id.
    fn place(&self, id: KeyId, order: KeyOrder) -> Result<String, Nothing> {
        if self.store.is_smarter() {
            return Ok(Ids::uuid(*id.as_uuid(), self.dialect()));
        }
        let (first, last) = range::digests(id).ok_or(Nothing)?;
        Ok(match order {
            KeyOrder::OldestFirst => last,
            KeyOrder::NewestFirst => first,
        })
    }

    pub(super) fn owner(&self, owner: &OwnerId) -> Result<(String, &'static str), Nothing> {
        let bound = self.store.bound_owner(owner).ok_or(Nothing)?;
        Ok((bound, self.store.schema.owners.ids.value(self.dialect())))
    }

    pub(super) fn comparable(&self, column: &str) -> String {
        self.dialect().comparable(column)
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.store.schema.dialect
    }

    pub(super) fn push(&mut self, text: &str, values: impl IntoIterator<Item = String>) {
        self.text.push_str(text);
        self.values.extend(values.into_iter().map(Some));
    }
}

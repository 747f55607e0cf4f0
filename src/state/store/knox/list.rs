//! The query of a listing: filter, ownership and owners are of one moment.

use chrono::{DateTime, Utc};

use super::{
    super::contract::{KeyFilter, KeyOrder, KeyQuery, Standing},
    KnoxStore,
    dialect::Dialect,
    ids::Ids,
    range,
    schema::{From, Owners, Smarter},
    session::Statement,
};
use crate::value::{
    key::KeyId,
    owner::{AccountId, OwnerId},
    ownership::Relation,
};

/// A statement that grows, condition by condition.
struct Growing<'a> {
    store: &'a KnoxStore,
    text: String,
    values: Vec<Option<String>>,
}

/// What is asked for is nobody's, so that nothing is listed.
struct Nothing;

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

    /// What [`KeyFilter::admits`] says, in SQL. Answers with what is left to be asked about users.
    fn filter(&mut self, filter: KeyFilter) -> Result<Vec<Standing>, Nothing> {
        let KeyFilter {
            id,
            digest,
            owner,
            active,
            expires_before,
            expires_from,
            unused_since,
            never_used,
            created_before,
            tag,
            text,
            standing,
        } = filter;
        let is_smarter = self.store.is_smarter();
        if let Some(id) = id {
            self.has_id(id)?;
        }
        if let Some(digest) = digest {
            self.push(" AND k.digest = ?", [digest.to_hex()]);
        }
        if let Some(owner) = owner {
            self.is_of(&owner)?;
        }
        match active {
            Some(active) if is_smarter => {
                self.text.push_str(if active {
                    " AND c.is_active"
                } else {
                    " AND NOT c.is_active"
                });
            }
            Some(false) => return Err(Nothing),
            _ => {}
        }
        if let Some(before) = expires_before {
            self.compare("k.expiry", "<", before, "");
        }
        if let Some(from) = expires_from {
            self.compare("k.expiry", ">=", from, " OR k.expiry IS NULL");
        }
        let used = if is_smarter { "coalesce(c.last_used_at, k.created)" } else { "k.created" };
        if let Some(since) = unused_since {
            self.compare(used, "<", since, "");
        }
        match never_used {
            Some(never) if is_smarter => {
                let not = if never { "" } else { " NOT" };
                self.text.push_str(&format!(" AND c.last_used_at IS{not} NULL"));
            }
            Some(false) => return Err(Nothing),
            _ => {}
        }
        if let Some(before) = created_before {
            self.compare("k.created", "<", before, "");
        }
        if let Some(tag) = tag {
            self.has_tag(tag.into_string())?;
        }
        if let Some(text) = text {
            self.holds(&text)?;
        }
        Ok(standing)
    }

    fn compare(&mut self, column: &str, how: &str, at: DateTime<Utc>, or: &str) {
        let (column, any) = (self.comparable(column), self.dialect().any_moment());
        let at = self.store.schema.bound(at);
        self.push(&format!(" AND ({column} {how} {any}{or})"), [at]);
    }

    fn has_id(&mut self, id: KeyId) -> Result<(), Nothing> {
        if self.store.is_smarter() {
            let value = Ids::Uuids.value(self.dialect());
            let id = Ids::uuid(*id.as_uuid(), self.dialect());
            self.push(&format!(" AND c.key_id = {value}"), [id]);
        } else {
            let (first, last) = range::digests(id).ok_or(Nothing)?;
            self.push(" AND k.digest BETWEEN ? AND ?", [first, last]);
        }
        Ok(())
    }

    /// Also a key that authenticates the owner and is of somebody else's profile: revoking all of an
    /// owner's keys leaves none with which they get in.
    fn is_of(&mut self, owner: &OwnerId) -> Result<(), Nothing> {
        let (owner, value) = self.owner(owner)?;
        if self.store.is_smarter() {
            let either = format!(" AND (k.user_id = {value} OR p.user_id = {value})");
            self.push(&either, [owner.clone(), owner]);
        } else {
            self.push(&format!(" AND k.user_id = {value}"), [owner]);
        }
        Ok(())
    }

    fn has_tag(&mut self, tag: String) -> Result<(), Nothing> {
        if !self.store.is_smarter() || tag.contains('\0') {
            return Err(Nothing);
        }
        let condition = match self.dialect() {
            Dialect::Sqlite => "EXISTS (SELECT 1 FROM json_each(c.tags) AS t WHERE t.value = ?)",
            Dialect::Postgres => {
                "(jsonb_typeof(c.tags) = 'array' AND c.tags @> to_jsonb(CAST(? AS text)))"
            }
            Dialect::MySql => "JSON_CONTAINS(c.tags, JSON_QUOTE(?))",
        };
        self.push(&format!(" AND {condition}"), [tag]);
        Ok(())
    }

    /// Folded here and there in ASCII alone, as the contract has it.
    fn holds(&mut self, text: &str) -> Result<(), Nothing> {
        if !self.store.is_smarter() || text.contains('\0') {
            return Err(Nothing);
        }
        let within = |column: &str| match self.dialect() {
            // SQLite's own `lower` knows ASCII alone.
            Dialect::Sqlite => format!("instr(lower({column}), ?) > 0"),
            Dialect::Postgres => format!("strpos(lower({column} COLLATE \"C\"), ?) > 0"),
            // Its own folds more than that, and compares by a collation.
            Dialect::MySql => {
                let bytes = format!("CAST(CONVERT({column} USING utf8mb4) AS BINARY)");
                let folded = (b'A'..=b'Z').map(char::from).fold(bytes, |bytes, letter| {
                    format!("REPLACE({bytes}, '{letter}', '{}')", letter.to_ascii_lowercase())
                });
                format!("INSTR({folded}, CAST(? AS BINARY)) > 0")
            }
        };
        let either = format!(" AND ({} OR {})", within("c.name"), within("c.description"));
        let text = text.to_ascii_lowercase();
        self.push(&either, [text.clone(), text]);
        Ok(())
    }

    /// What [`Relation::holds`] says, in SQL, of the user's row as it is stored. In Smarter's database
    /// the key is its profile's user's, and a user without a profile stands to no key.
    fn stands(&mut self, standing: &Standing, platform: Option<&AccountId>) -> Result<(), Nothing> {
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

    fn owner(&self, owner: &OwnerId) -> Result<(String, &'static str), Nothing> {
        let bound = self.store.bound_owner(owner).ok_or(Nothing)?;
        Ok((bound, self.store.schema.owners.ids.value(self.dialect())))
    }

    fn comparable(&self, column: &str) -> String {
        self.dialect().comparable(column)
    }

    fn dialect(&self) -> Dialect {
        self.store.schema.dialect
    }

    fn push(&mut self, text: &str, values: impl IntoIterator<Item = String>) {
        self.text.push_str(text);
        self.values.extend(values.into_iter().map(Some));
    }
}

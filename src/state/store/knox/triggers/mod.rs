//! What tells of changes to Django's tables on PostgreSQL, if it is asked for: triggers that every program
//! which writes to them runs.
//!
//! # What is told
//! Of a plain knox token its key's id, computed from the digest as
//! [`KeyId::of_digest`](crate::KeyId::of_digest) does, or everything if the digest is none that Django
//! writes. Of Smarter's keys their `key_id`, also where knox's row beside it changed; a row without a key
//! has its user told. Of users and of new profiles the user; of a changed or removed profile everything,
//! as its keys may authenticate somebody else. A transaction that changes more than 64 of them, an id too
//! long, and TRUNCATE tell of everything.
//!
//! A new expiry is told in either direction, so that knox's own renewals are, too. A later one revokes
//! nothing; but whoever keeps the earlier one would refuse the key when that passes, for as long as the
//! fresh TTL, and no trigger can know who keeps what. It is once in `MIN_REFRESH_INTERVAL` for a key in
//! use.
//!
//! # How Django is left alone
//! 1. A trigger has no condition and names no column, but compares inside its function: PostgreSQL refuses
//!    to alter the type of a column that a trigger names.
//! 2. Nothing is deferred: PostgreSQL refuses to alter a table with pending events, and a migration may
//!    write to it before.
//! 3. Whatever fails inside the function is told as everything, and the write goes on. A column that is not
//!    there any more counts as one that was changed.
//! 4. Names begin with `token_auth_knox1_`, where the number is that of what they do: another release's
//!    stand beside them, and neither puts the other's right. They end in a hash of the schema that knox's
//!    table is in, and of the column by which a row is told: where tenants share one table of users, each
//!    has triggers of its own on it.

mod manage;
mod text;

use sha2::{Digest as _, Sha256};

use super::{
    KnoxOptions,
    dialect::Dialect,
    place::Trouble,
    schema::{Owners, Schema, Smarter},
    session::{Cells, Session, Statement},
};
use crate::state::store::sql::telling::{Function, Telling, Trigger, literal};

pub(super) use manage::Wanted;
use text::TELL;

/// A new text takes a new number.
const PREFIX: &str = "token_auth_knox1_";

/// The triggers for one database's tables, and whether they are wanted.
#[derive(Debug)]
pub(super) struct Triggers {
    wanted: Wanted,
    /// The first is knox's own, in whose schema the function stands.
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    /// What its triggers are called by.
    label: &'static str,
    /// As the store's statements call it.
    called: String,
    space: String,
    name: String,
    /// Events, each with what is told of it: by which kind of payload, of which column.
    told: Vec<(&'static str, &'static str, String)>,
    /// The columns of which a change counts, the one by which a row is known first.
    counts: Vec<String>,
}

impl Triggers {
    /// Those of the tables that were found; `None` on another database than PostgreSQL.
    pub(super) async fn of(
        session: &mut Session,
        schema: &Schema,
        options: &KnoxOptions,
    ) -> Result<Option<Self>, Trouble> {
        if schema.dialect != Dialect::Postgres {
            return match options.triggers {
                Wanted::No => Ok(None),
                Wanted::There | Wanted::Made => Err(Trouble::Schema(
                    "triggers tell of changes on PostgreSQL alone; leave them out, and the feed \
                     looks again at the keys in use"
                        .into(),
                )),
            };
        }
        let mut tables = tables(schema, options);
        let called = tables.iter().map(|table| table.called.clone()).collect();
        for (table, (space, name)) in tables.iter_mut().zip(places(session, called).await?) {
            (table.space, table.name) = (space, name);
        }
        Ok(Some(Self { wanted: options.triggers, tables }))
    }

    /// All that is to stand of them.
    fn telling(&self) -> Telling {
        let space = &self.tables[0].space;
        let channel = format!("{PREFIX}changes_{}", hash(space));
        let function = Function {
            name: format!("{PREFIX}tell_change"),
            quoted: format!("{}.{PREFIX}tell_change", Dialect::Postgres.quote(space)),
            body: TELL.replace("{channel}", &channel),
        };
        Telling {
            schema: literal(space),
            channel: literal(&channel),
            alive: format!("{PREFIX}alive_"),
            functions: vec![function],
            triggers: self.tables.iter().flat_map(|table| self.triggers(table)).collect(),
        }
    }

    fn triggers(&self, table: &Table) -> impl Iterator<Item = Trigger> {
        let keys = self.tables.iter().find(|table| table.label == KEYS).map(Table::quoted);
        // No name holds a NUL.
        let whose = hash(&format!("{}\0{}", self.tables[0].space, table.counts[0]));
        let trigger = move |event: &'static str, arguments| Trigger {
            name: format!("{PREFIX}{}_{}_{whose}", table.label, event.to_ascii_lowercase()),
            schema: literal(&table.space),
            relation: literal(&table.name),
            table: table.quoted(),
            event,
            function: 0,
            is_deferred: false,
            arguments,
            compared: &[],
            counted: table.counts.clone(),
            called: table.called.clone(),
        };
        let of_table = trigger.clone();
        let of_rows = table.told.iter().map(move |(event, kind, subject)| {
            let keys = keys.clone().filter(|_| *kind == "token").unwrap_or_default();
            let first = [(*kind).to_owned(), subject.clone(), keys];
            trigger(event, first.into_iter().chain(table.counts.iter().cloned()).collect())
        });
        of_rows.chain([of_table("TRUNCATE", Vec::new())])
    }
}

/// What tells names apart, short enough for a name.
fn hash(text: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(text)[..4])
}

impl Table {
    /// As a statement calls it, whatever its `search_path`.
    fn quoted(&self) -> String {
        let quote = |name: &str| Dialect::Postgres.quote(name);
        format!("{}.{}", quote(&self.space), quote(&self.name))
    }
}

/// What Smarter's table of keys is called by.
const KEYS: &str = "smarter_keys";

/// The tables, each with what is told of it. What a release or a schema
/// has told of one table in another way is under another label.
fn tables(schema: &Schema, options: &KnoxOptions) -> Vec<Table> {
    let table = |called: &str,
                 label,
                 told: &[(&'static str, &'static str, &str)],
                 counts: &[&str]| Table {
        label,
        called: called.into(),
        space: String::new(),
        name: String::new(),
        told: told.iter().map(|(event, kind, column)| (*event, *kind, (*column).into())).collect(),
        counts: counts.iter().map(ToString::to_string).collect(),
    };
    let changed = |kind, column| [("UPDATE", kind, column), ("DELETE", kind, column)];
    let (tokens, kind) =
        if schema.smarter.is_some() { ("smarter_tokens", "token") } else { ("tokens", "digest") };
    let tokens =
        table(&schema.tokens, tokens, &changed(kind, "digest"), &["digest", "user_id", "expiry"]);
    let Owners { has_staff, has_superusers, is_padded, .. } = schema.owners;
    let mut flags = vec![&*options.owner_id, "is_active"];
    flags.extend(has_staff.then_some("is_staff"));
    flags.extend(has_superusers.then_some("is_superuser"));
    // Where a column fills an id up with blanks, it is not as this store tells it.
    let kind = if is_padded { "all" } else { "o" };
    let owners = table(&schema.owners.table, "owners", &changed(kind, &options.owner_id), &flags);
    let mut tables = vec![tokens, owners];
    if let Some(Smarter { keys, profiles, .. }) = &schema.smarter {
        let counts = ["authtoken_ptr_id", "key_id", "is_active", "user_profile_id"];
        tables.push(table(keys, KEYS, &changed("k", "key_id"), &counts));
        let user = if is_padded { "all" } else { "o" };
        let told = [("INSERT", user, "user_id"), ("UPDATE", "all", "id"), ("DELETE", "all", "id")];
        let counts = ["id", "user_id", "account_id"];
        tables.push(table(profiles, "smarter_profiles", &told, &counts));
    }
    tables
}

/// The schema and the name of each table.
async fn places(
    session: &mut Session,
    quoted: Vec<String>,
) -> Result<Vec<(String, String)>, Trouble> {
    let wanted = quoted.len();
    let list: Vec<String> = (0..wanted).map(|at| format!("({at}, to_regclass(?))")).collect();
    let sql = format!(
        "SELECT CAST(n.nspname AS text), CAST(c.relname AS text) FROM (VALUES {}) AS w (at, table_oid) \
         JOIN pg_class AS c ON c.oid = w.table_oid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         ORDER BY w.at",
        list.join(", ")
    );
    let values = quoted.into_iter().map(Some).collect();
    let rows = session.rows(Statement { sql: Dialect::Postgres.compile(&sql), values }).await?;
    let pair = |row: Cells| {
        let mut cells = row.into_iter().flatten();
        Some((cells.next()?, cells.next()?))
    };
    let places: Vec<_> = rows.into_iter().filter_map(pair).collect();
    if places.len() < wanted {
        return Err(Trouble::Schema("one of its tables has just gone; open it anew".into()));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of a site with every default.
    fn triggers(is_smarter: bool) -> Triggers {
        let options = KnoxOptions::default();
        let schema = Schema::nameless(is_smarter);
        let tables = tables(&schema, &options).into_iter();
        let named = |table| Table { space: "s".into(), name: "t".into(), ..table };
        Triggers { wanted: Wanted::No, tables: tables.map(named).collect() }
    }

    /// Two releases that disagree about it would put each other's right, for ever.
    #[test]
    fn the_text_belongs_to_the_number() {
        let sums = [false, true].map(|is_smarter| {
            let text = triggers(is_smarter).telling().ddl();
            base16ct::lower::encode_string(&Sha256::digest(text)[..8])
        });
        let known = ("token_auth_knox1_", ["bd4644d3e2347a0b", "9006ce6aa62e2497"]);
        let sums = sums.each_ref().map(String::as_str);
        assert_eq!((PREFIX, sums), known, "a new text needs a new number");
    }

    /// PostgreSQL cuts longer ones off, and takes no longer channel at all.
    #[test]
    fn names_fit() {
        let telling = triggers(true).telling();
        let of_triggers = telling.triggers.iter().map(|trigger| trigger.name.clone());
        let of_rest = [telling.channel.clone(), telling.heartbeats(u64::MAX)];
        for name in of_triggers.chain(of_rest) {
            assert!(name.len() <= 63, "{name}");
        }
    }

    /// PostgreSQL would refuse to alter the type of a column that a trigger names, and to alter a table with
    /// events that wait for the commit.
    #[test]
    fn no_trigger_is_in_the_way_of_a_migration() {
        let text = triggers(true).telling().ddl();
        let triggers = text.split("CREATE TRIGGER").skip(1);
        let made: Vec<&str> = triggers.filter_map(|text| text.split(';').next()).collect();
        assert_eq!(made.len(), 13);
        for trigger in made {
            let names_none = !trigger.contains("WHEN") && !trigger.contains(" OF ");
            assert!(names_none && !trigger.contains("DEFER"), "{trigger}");
        }
    }
}

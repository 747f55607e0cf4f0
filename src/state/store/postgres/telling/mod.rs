//! What tells of changes: triggers that every program which writes to the tables runs, and what they
//! send.
//!
//! A payload is `k` and a key's id, `o` and an owner's, or `*` for everything: never a digest, never a
//! token, at most 128 bytes. A transaction that changes more than 64 keys and owners, or an owner with an
//! id too long for that, tells of everything, in one message.
//!
//! # How
//! 1. A *note* trigger fires for each row of which something changed that counts, and for no other: its
//!    condition is looked at without a call, so that a last use costs none. It notes whom the row is
//!    about, in a setting that lives and is undone with the transaction.
//! 2. A *tell* trigger fires for the same rows, deferred to the commit. The first one sends what was noted.
//!    Each of them then sees that its own row was told, and tells of everything if not: so the note only
//!    keeps messages few, and whoever resets it, or has it told before it was taken, hides nothing.
//! 3. TRUNCATE, which has no rows, tells of everything.
//!
//! An added key is not told, as nobody has read it; of an owner nothing can be known before it is there.
//!
//! They fire ALWAYS: in sessions too whose `session_replication_role` is `replica`, and for rows that
//! logical replication applies. The functions run with the rights of whoever writes, and pin the path on
//! which names are looked up. Which channel they tell on depends on the schema, so that two sets of
//! tables in one database do not disturb each other.

mod standing;

use super::super::sql::Prefix;

pub(super) use standing::{Found, mend, standing};

/// The channel in the schema that `{schema}` stands for.
const CHANNEL: &str =
    "'{n}changes_' || left(encode(sha256(convert_to({schema}, 'UTF8')), 'hex'), 8)";

/// The functions. The setting holds who is to be told and who was, `*` for everybody. What is sent twice
/// in a transaction is delivered once. Blocks between blank lines are single statements.
const FUNCTIONS: &str = "\
CREATE OR REPLACE FUNCTION {p}note_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $tell$
DECLARE
    setting text := 'token_auth.' || {channel};
    state jsonb := coalesce(nullif(current_setting(setting, true), ''), '[[], []]');
    noted jsonb := state -> 0;
    told jsonb := state -> 1;
    id text;
    subject jsonb;
BEGIN
    IF noted @> '\"*\"' OR told @> '\"*\"' THEN
        RETURN NULL;
    END IF;
    FOREACH id IN ARRAY ARRAY[to_jsonb(OLD) ->> TG_ARGV[1], to_jsonb(NEW) ->> TG_ARGV[1]] LOOP
        subject := to_jsonb(TG_ARGV[0] || id);
        CONTINUE WHEN id IS NULL OR noted @> subject OR told @> subject;
        noted := noted || subject;
        IF octet_length(id) > 127 OR jsonb_array_length(noted) + jsonb_array_length(told) > 64 THEN
            noted := '[\"*\"]';
            EXIT;
        END IF;
    END LOOP;
    PERFORM set_config(setting, jsonb_build_array(noted, told)::text, true);
    RETURN NULL;
END $tell$;

CREATE OR REPLACE FUNCTION {p}tell_changes() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $tell$
DECLARE
    channel text := {channel};
    setting text := 'token_auth.' || channel;
    state jsonb := coalesce(nullif(current_setting(setting, true), ''), '[[], []]');
    noted jsonb := state -> 0;
    told jsonb := state -> 1;
    id text;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify(channel, '*');
        RETURN NULL;
    END IF;
    PERFORM pg_notify(channel, payload) FROM jsonb_array_elements_text(noted) AS payload;
    told := told || noted;
    FOREACH id IN ARRAY ARRAY[to_jsonb(OLD) ->> TG_ARGV[1], to_jsonb(NEW) ->> TG_ARGV[1]] LOOP
        CONTINUE WHEN id IS NULL OR told @> to_jsonb(TG_ARGV[0] || id) OR told @> '\"*\"';
        PERFORM pg_notify(channel, '*');
        told := '[\"*\"]';
    END LOOP;
    IF told <> state -> 1 THEN
        PERFORM set_config(setting, jsonb_build_array('[]'::jsonb, told)::text, true);
    END IF;
    RETURN NULL;
END $tell$;

";

/// A table whose rows are told of: with which letter, by which column, and what of them counts.
struct Table {
    name: &'static str,
    letter: &'static str,
    subject: &'static str,
    columns: &'static [&'static str],
    events: &'static [&'static str],
}

const TABLES: [Table; 3] = [
    Table {
        name: "keys",
        letter: "k",
        subject: "key_id",
        columns: &[
            "key_id",
            "digest",
            "owner_id",
            "account_id",
            "scopes",
            "expires_at",
            "is_active",
        ],
        events: &["UPDATE", "DELETE"],
    },
    Table {
        name: "owners",
        letter: "o",
        subject: "id",
        columns: &["id", "is_active", "is_staff", "is_superuser"],
        events: &["UPDATE", "DELETE"],
    },
    Table {
        name: "memberships",
        letter: "o",
        subject: "owner_id",
        columns: &["owner_id", "account_id"],
        events: &["INSERT", "UPDATE", "DELETE"],
    },
];

/// One trigger: a function, on a table and an event.
struct Trigger {
    table: &'static Table,
    event: &'static str,
    function: &'static str,
}

impl Trigger {
    fn all() -> impl Iterator<Item = Self> {
        TABLES.iter().flat_map(|table| {
            let of_rows = table.events.iter().flat_map(move |event| {
                ["note_change", "tell_changes"].map(|function| Self { table, event, function })
            });
            let whole = Self { table, event: "TRUNCATE", function: "tell_changes" };
            of_rows.chain([whole])
        })
    }

    /// Where triggers are told not to wait, those of one row fire in the order of their names: notes come
    /// before what is told of them.
    fn name(&self) -> String {
        let what = &self.function[..4];
        format!("{{n}}{what}_{}_{}", self.table.name, self.event.to_ascii_lowercase())
    }

    fn is_of_rows(&self) -> bool {
        self.event != "TRUNCATE"
    }

    fn is_deferred(&self) -> bool {
        self.is_of_rows() && self.function == "tell_changes"
    }

    /// The columns that its condition compares.
    fn compared(&self) -> &'static [&'static str] {
        if self.event == "UPDATE" { self.table.columns } else { &[] }
    }

    fn arguments(&self) -> Vec<&'static str> {
        if self.is_of_rows() { vec![self.table.letter, self.table.subject] } else { Vec::new() }
    }

    fn create(&self) -> String {
        let (name, event, table) = (self.name(), self.event, self.table.name);
        let constraint = if self.is_deferred() { "CONSTRAINT " } else { "" };
        let deferred = if self.is_deferred() { "DEFERRABLE INITIALLY DEFERRED " } else { "" };
        let each = if self.is_of_rows() { "ROW" } else { "STATEMENT" };
        let row = |of: &str| {
            let columns: Vec<_> = self.compared().iter().map(|c| format!("{of}.{c}")).collect();
            columns.join(", ")
        };
        let condition = if self.compared().is_empty() {
            String::new()
        } else {
            format!("WHEN (ROW({}) IS DISTINCT FROM ROW({}))\n", row("OLD"), row("NEW"))
        };
        let arguments = self.arguments().into_iter().map(literal).collect::<Vec<_>>().join(", ");
        format!(
            "CREATE {constraint}TRIGGER {name} AFTER {event} ON {{p}}{table}\n\
             {deferred}FOR EACH {each}\n{condition}EXECUTE FUNCTION {{p}}{}({arguments});\n\n",
            self.function
        )
    }

    fn enable(&self) -> String {
        format!("ALTER TABLE {{p}}{} ENABLE ALWAYS TRIGGER {};\n\n", self.table.name, self.name())
    }
}

/// The functions and triggers, for a database that has none.
pub(super) fn ddl() -> String {
    let mut text = functions();
    for trigger in Trigger::all() {
        text.push_str(&trigger.create());
        text.push_str(&trigger.enable());
    }
    text
}

fn functions() -> String {
    FUNCTIONS.replace("{channel}", &channel("TG_TABLE_SCHEMA"))
}

/// On which channel the triggers tell that stand in a schema, an expression.
fn channel(schema: &str) -> String {
    CHANNEL.replace("{schema}", schema)
}

/// Where one feed's heartbeats come in; `number` tells it apart from all others.
pub(super) fn heartbeats(prefix: &Prefix, number: u64) -> String {
    format!("{prefix}alive_{number:016x}")
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PostgreSQL cuts longer ones off, and takes no longer channel at all.
    #[test]
    fn every_table_has_its_triggers_and_names_fit() {
        let prefix = Prefix::parse(&"p".repeat(32)).unwrap();
        let text = prefix.fill(&ddl());
        assert_eq!(text.matches("CREATE TRIGGER").count(), 10);
        assert_eq!(text.matches("CREATE CONSTRAINT TRIGGER").count(), 7);
        assert_eq!(text.matches("ENABLE ALWAYS").count(), 17);
        for word in text.split([' ', '\n', '(', ';', '\'']) {
            assert!(word.len() <= 63 || word.contains('.'), "{word}");
        }
        assert!(heartbeats(&prefix, u64::MAX).len() <= 63);
        assert!(prefix.fill("{n}changes_01234567").len() <= 63);
    }

    /// What was released under a version stays as it is: two releases that disagree about it would put each
    /// other's triggers right, for ever.
    #[test]
    fn the_text_belongs_to_the_version() {
        use sha2::{Digest as _, Sha256};
        let version = super::super::schema::VERSION;
        let sum = base16ct::lower::encode_string(&Sha256::digest(ddl())[..8]);
        assert_eq!(
            (version, sum.as_str()),
            (2, "8300344ef08d1c1b"),
            "a new text needs a new version"
        );
    }

    /// A digest would let whoever listens know which tokens there are.
    #[test]
    fn payloads_hold_ids_alone() {
        assert!(FUNCTIONS.contains("subject := to_jsonb(TG_ARGV[0] || id);"));
        assert!(FUNCTIONS.contains("octet_length(id) > 127"), "with the letter, 128 bytes");
        for table in &TABLES {
            assert!(["key_id", "id", "owner_id"].contains(&table.subject));
        }
    }
}

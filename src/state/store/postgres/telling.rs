//! What tells of changes: triggers that every program which writes to the tables runs, and what they
//! send.
//!
//! A transaction that changes more than 64 keys and owners, or an owner with an id too long for that,
//! tells of everything, in one message.
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
//! The functions run with the rights of whoever writes. Which channel they tell on depends on the schema,
//! so that two sets of tables in one database do not disturb each other.

use super::super::sql::{
    Prefix,
    telling::{Function, Telling, Trigger, literal},
};

/// The channel in the schema that `{schema}` stands for.
const CHANNEL: &str =
    "'{n}changes_' || left(encode(sha256(convert_to({schema}, 'UTF8')), 'hex'), 8)";

/// The functions, by the name of each and what it does. The setting holds who is to be told and who was,
/// `*` for everybody. What is sent twice in a transaction is delivered once.
const FUNCTIONS: [(&str, &str); 2] = [("note_change", NOTE), ("tell_changes", TELL)];

const NOTE: &str = "
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
END ";

const TELL: &str = "
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
END ";

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

/// The triggers of a table. Where they are told not to wait, those of one row fire in the order of their
/// names: notes come before what is told of them.
fn triggers(table: &'static Table, names: &impl Fn(&str) -> String) -> Vec<Trigger> {
    let trigger = |event: &'static str, function: usize, arguments: &[&str]| {
        let is_of_rows = event != "TRUNCATE";
        let what = &FUNCTIONS[function].0[..4];
        let name = format!("{{n}}{what}_{}_{}", table.name, event.to_ascii_lowercase());
        Trigger {
            name: names(&name),
            schema: names("{schema}"),
            relation: names(&format!("'{{n}}{}'", table.name)),
            table: names(&format!("{{p}}{}", table.name)),
            event,
            function,
            is_deferred: is_of_rows && function == 1,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            compared: if event == "UPDATE" { table.columns } else { &[] },
            counted: table.columns.iter().map(ToString::to_string).collect(),
            called: String::new(),
        }
    };
    let subject = [table.letter, table.subject];
    let of_rows =
        table.events.iter().flat_map(|event| [0, 1].map(|of| trigger(event, of, &subject)));
    of_rows.chain([trigger("TRUNCATE", 1, &[])]).collect()
}

/// All of it; `names` fills in the prefix and the schema where `{p}`, `{n}` and `{schema}` stand.
fn of(names: impl Fn(&str) -> String) -> Telling {
    let function = |(name, body): (&str, &str)| Function {
        name: names(&format!("{{n}}{name}")),
        quoted: names(&format!("{{p}}{name}")),
        body: body.replace("{channel}", &names(&channel("TG_TABLE_SCHEMA"))),
    };
    Telling {
        schema: names("{schema}"),
        channel: names(&channel("{schema}")),
        alive: names("{n}alive_"),
        functions: FUNCTIONS.map(function).into(),
        triggers: TABLES.iter().flat_map(|table| triggers(table, &names)).collect(),
    }
}

/// What tells of the tables with this prefix in this schema.
pub(super) fn telling(prefix: &Prefix, schema: &str) -> Telling {
    let schema = literal(schema);
    of(|text| prefix.fill_with(text, &[("schema", &schema)]))
}

/// The functions and triggers, for a database that has none; the prefix is still to be filled in.
pub(super) fn ddl() -> String {
    of(str::to_owned).ddl()
}

/// On which channel the triggers tell that stand in a schema, an expression.
fn channel(schema: &str) -> String {
    CHANNEL.replace("{schema}", schema)
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
        assert!(telling(&prefix, "s").heartbeats(u64::MAX).len() <= 63);
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
        assert!(NOTE.contains("subject := to_jsonb(TG_ARGV[0] || id);"));
        assert!(NOTE.contains("octet_length(id) > 127"), "with the letter, 128 bytes");
        for table in &TABLES {
            assert!(["key_id", "id", "owner_id"].contains(&table.subject));
        }
    }
}

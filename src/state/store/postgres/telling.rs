//! What tells of changes: triggers that every program which writes to the tables runs, and what they
//! send.
//!
//! A payload is `k` and a key's id, `o` and an owner's, or `*` for everything: never a digest, never a
//! token, at most 128 bytes. A statement that changes more than 64 rows, or the row of an owner
//! with an id too long for that, tells of everything.

use super::super::sql::Prefix;

/// Statement triggers, as only those can count; they see each row as it was and as it is. Transition
/// tables and column lists exclude each other, so that the functions compare: a flush of last uses, a
/// new name, or an update that changes nothing tells nothing. An added key is not told, as nobody has
/// read it; of an owner nothing can be known before it is there.
///
/// They fire ALWAYS, in sessions too whose `session_replication_role` is `replica`. The worker of logical
/// replication fires no statement triggers but those of TRUNCATE, whatever they are set to, so that a
/// subscriber's own nodes are told of nothing that it applies. The functions run with the rights of
/// whoever writes, and pin the path on which names are looked up; the transition tables are found before
/// it. Which channel they tell on depends on the schema, so that two sets of tables in one database do not
/// disturb each other.
///
/// Blocks between blank lines are single statements.
pub(super) const MIGRATION: &str = "\
CREATE OR REPLACE FUNCTION {p}tell_keys() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $tell$
DECLARE
    told text[];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        told := ARRAY(SELECT DISTINCT key_id FROM (
            (SELECT key_id, digest, owner_id, account_id, scopes, expires_at, is_active FROM gone
            EXCEPT
            SELECT key_id, digest, owner_id, account_id, scopes, expires_at, is_active FROM come)
            UNION ALL
            (SELECT key_id, digest, owner_id, account_id, scopes, expires_at, is_active FROM come
            EXCEPT
            SELECT key_id, digest, owner_id, account_id, scopes, expires_at, is_active FROM gone)
        ) AS changed LIMIT 65);
    ELSIF TG_OP = 'DELETE' THEN
        told := ARRAY(SELECT key_id FROM gone LIMIT 65);
    END IF;
    PERFORM pg_notify('{n}changes_' || left(md5(TG_TABLE_SCHEMA), 8), payload)
    FROM unnest(CASE WHEN TG_OP = 'TRUNCATE' OR cardinality(told) > 64 THEN ARRAY['*']
        ELSE ARRAY(SELECT 'k' || id FROM unnest(told) AS id) END) AS payload;
    RETURN NULL;
END $tell$;

CREATE OR REPLACE FUNCTION {p}tell_owners() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $tell$
DECLARE
    told text[];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        told := ARRAY(SELECT DISTINCT id FROM (
            (SELECT id, is_active, is_staff, is_superuser FROM gone
            EXCEPT
            SELECT id, is_active, is_staff, is_superuser FROM come)
            UNION ALL
            (SELECT id, is_active, is_staff, is_superuser FROM come
            EXCEPT
            SELECT id, is_active, is_staff, is_superuser FROM gone)
        ) AS changed LIMIT 65);
    ELSIF TG_OP = 'DELETE' THEN
        told := ARRAY(SELECT id FROM gone LIMIT 65);
    END IF;
    PERFORM pg_notify('{n}changes_' || left(md5(TG_TABLE_SCHEMA), 8), payload)
    FROM unnest(CASE WHEN TG_OP = 'TRUNCATE' OR cardinality(told) > 64
        OR EXISTS (SELECT 1 FROM unnest(told) AS id WHERE octet_length(id) > 127) THEN ARRAY['*']
        ELSE ARRAY(SELECT 'o' || id FROM unnest(told) AS id) END) AS payload;
    RETURN NULL;
END $tell$;

CREATE OR REPLACE FUNCTION {p}tell_memberships() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $tell$
DECLARE
    told text[];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        told := ARRAY(SELECT DISTINCT owner_id FROM (
            (SELECT owner_id, account_id FROM gone EXCEPT SELECT owner_id, account_id FROM come)
            UNION ALL
            (SELECT owner_id, account_id FROM come EXCEPT SELECT owner_id, account_id FROM gone)
        ) AS changed LIMIT 65);
    ELSIF TG_OP = 'DELETE' THEN
        told := ARRAY(SELECT DISTINCT owner_id FROM gone LIMIT 65);
    ELSIF TG_OP = 'INSERT' THEN
        told := ARRAY(SELECT DISTINCT owner_id FROM come LIMIT 65);
    END IF;
    PERFORM pg_notify('{n}changes_' || left(md5(TG_TABLE_SCHEMA), 8), payload)
    FROM unnest(CASE WHEN TG_OP = 'TRUNCATE' OR cardinality(told) > 64
        OR EXISTS (SELECT 1 FROM unnest(told) AS id WHERE octet_length(id) > 127) THEN ARRAY['*']
        ELSE ARRAY(SELECT 'o' || id FROM unnest(told) AS id) END) AS payload;
    RETURN NULL;
END $tell$;

";

/// On which tables, of which events, and which transition tables the function sees then.
const TRIGGERS: [(&str, &str, bool, bool); 10] = [
    ("keys", "UPDATE", true, true),
    ("keys", "DELETE", true, false),
    ("keys", "TRUNCATE", false, false),
    ("owners", "UPDATE", true, true),
    ("owners", "DELETE", true, false),
    ("owners", "TRUNCATE", false, false),
    ("memberships", "INSERT", false, true),
    ("memberships", "UPDATE", true, true),
    ("memberships", "DELETE", true, false),
    ("memberships", "TRUNCATE", false, false),
];

/// The functions and triggers, for a database that has none.
pub(super) fn ddl() -> String {
    let mut text = MIGRATION.to_owned();
    for (table, event, sees_old, sees_new) in TRIGGERS {
        let name = name_of(table, event);
        let old = if sees_old { " OLD TABLE AS gone" } else { "" };
        let new = if sees_new { " NEW TABLE AS come" } else { "" };
        let referencing = if sees_old || sees_new { " REFERENCING" } else { "" };
        text.push_str(&format!(
            "CREATE TRIGGER {name} AFTER {event} ON {{p}}{table}{referencing}{old}{new}\n\
             FOR EACH STATEMENT EXECUTE FUNCTION {{p}}tell_{table}();\n\n\
             ALTER TABLE {{p}}{table} ENABLE ALWAYS TRIGGER {name};\n\n"
        ));
    }
    text
}

/// Makes them anew, whatever is there of them.
pub(super) fn anew(prefix: &Prefix) -> String {
    let mut text = String::new();
    for (table, event, ..) in TRIGGERS {
        let name = name_of(table, event);
        text.push_str(&format!("DROP TRIGGER IF EXISTS {name} ON {{p}}{table};\n"));
    }
    text.push_str(&ddl());
    prefix.fill(&text)
}

/// What stands of them in the database: the first column tells it apart from anything that was there
/// before or comes after, the same text made again included; the second says whether it is all as it
/// should be; the third is the channel on which they tell.
pub(super) fn standing(prefix: &Prefix, schema: &str) -> String {
    let mut wanted = Vec::new();
    for (table, event, sees_old, sees_new) in TRIGGERS {
        // As `pg_trigger` keeps them: bits of an AFTER trigger for each statement.
        let bits = match event {
            "INSERT" => 4,
            "DELETE" => 8,
            "UPDATE" => 16,
            _ => 32,
        };
        let old = if sees_old { "'gone'" } else { "NULL" };
        let new = if sees_new { "'come'" } else { "NULL" };
        let (name, body) = (name_of(table, event), body_of(table));
        wanted
            .push(format!("('{name}', '{{n}}{table}', {bits}, {old}, {new}, $body${body}$body$)"));
    }
    prefix.fill(&format!(
        "SELECT coalesce(string_agg(concat_ws(':', t.oid, t.xmin, t.tgenabled, p.oid, p.xmin), ',' \
         ORDER BY t.tgname), '') AS standing, \
         (count(*) FILTER (WHERE t.tgenabled = 'A' AND t.tgqual IS NULL \
         AND t.tgoldtable IS NOT DISTINCT FROM w.gone AND t.tgnewtable IS NOT DISTINCT FROM w.come \
         AND t.tgtype = w.bits AND p.prosrc = w.body \
         AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp']) = {count})::text AS is_whole, \
         '{{n}}changes_' || left(md5({schema}), 8) AS channel \
         FROM (VALUES {wanted}) AS w (name, relation, bits, gone, come, body) \
         JOIN pg_catalog.pg_namespace AS n ON n.nspname = {schema} \
         JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.relation \
         JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = c.oid AND t.tgname = w.name \
         JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid",
        count = TRIGGERS.len(),
        wanted = wanted.join(", "),
        schema = literal(schema),
    ))
}

fn name_of(table: &str, event: &str) -> String {
    format!("{{n}}tell_{table}_{}", event.to_ascii_lowercase())
}

/// What the function of this table has between its quotes.
fn body_of(table: &str) -> &'static str {
    let function = MIGRATION.split(&format!("tell_{table}()")).nth(1);
    function.and_then(|text| text.split("$tell$").nth(1)).expect("each table has a function")
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_its_triggers_and_names_fit() {
        let text = Prefix::parse(&"p".repeat(32)).unwrap().fill(&ddl());
        assert_eq!(text.matches("CREATE TRIGGER").count(), TRIGGERS.len());
        for table in ["keys", "owners", "memberships"] {
            assert!(body_of(table).starts_with("\nDECLARE") && body_of(table).ends_with("END "));
        }
        // PostgreSQL cuts longer ones off.
        for word in text.split([' ', '\n', '(', ';', '\'']) {
            assert!(word.len() <= 63 || word.contains('.'), "{word}");
        }
    }

    /// A digest would let whoever listens know which tokens there are.
    #[test]
    fn payloads_hold_ids_alone() {
        let sent: Vec<&str> = MIGRATION.split("ELSE ARRAY(SELECT '").skip(1).collect();
        assert_eq!(sent.len(), 3);
        for sent in sent {
            assert!(sent.starts_with("k' || id FROM") || sent.starts_with("o' || id FROM"));
        }
        assert_eq!(MIGRATION.matches("> 127").count(), 2, "with the letter, 128 bytes");
    }
}

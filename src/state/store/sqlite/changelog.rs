//! The change log: the table that every process writes to by triggers, whatever program it runs,
//! and that a feed reads.

use super::super::sql::Prefix;

/// Triggers fire on the columns that a revocation can change, and on changed values only: a flush of
/// last uses, a new name or an update that changes nothing writes no row. Rows that come to be are
/// told as well, so that a database that is restored to a moment before them lacks their row.
///
/// The two BEFORE triggers are for `REPLACE`: the rows that it puts out of its way are deleted
/// without a DELETE trigger. No digest is written down. Nothing here is newer than SQLite 3.37, as
/// it runs in whatever program writes to the database, and nothing here can fail by itself.
///
/// The log keeps its last 10,000 rows, and of those older than a day it drops two with each new
/// one, so that it shrinks without anybody having to write for that. The last hundred stay however
/// old they are: where days lie between two changes, a reader still stands at the one before. A
/// reader that was away for longer has a gap, which costs its cache once.
///
/// Blocks between blank lines are single statements; [`definitions`] reads them.
pub(super) const MIGRATION: &str = "\
CREATE TABLE {p}changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    nonce INTEGER NOT NULL DEFAULT (random()),
    at INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
    kind TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;

CREATE TRIGGER {p}changes_bounded AFTER INSERT ON {p}changes
BEGIN
    DELETE FROM {p}changes WHERE id <= NEW.id - 10000;
    DELETE FROM {p}changes
    WHERE id IN (SELECT id FROM {p}changes WHERE id <= NEW.id - 100 ORDER BY id LIMIT 2)
        AND at < NEW.at - 86400;
END;

CREATE TRIGGER {p}keys_replaced BEFORE INSERT ON {p}keys
BEGIN
    INSERT INTO {p}changes (kind, subject)
    SELECT 'key', key_id FROM {p}keys WHERE digest = NEW.digest OR key_id = NEW.key_id
        OR predecessor_id = NEW.predecessor_id;
END;

CREATE TRIGGER {p}keys_added AFTER INSERT ON {p}keys
BEGIN
    INSERT INTO {p}changes (kind, subject) VALUES ('key', NEW.key_id);
END;

CREATE TRIGGER {p}keys_displaced BEFORE UPDATE OF digest, key_id, predecessor_id ON {p}keys
WHEN OLD.digest IS NOT NEW.digest OR OLD.key_id IS NOT NEW.key_id
    OR OLD.predecessor_id IS NOT NEW.predecessor_id
BEGIN
    INSERT INTO {p}changes (kind, subject)
    SELECT 'key', key_id FROM {p}keys WHERE digest = NEW.digest OR key_id = NEW.key_id
        OR predecessor_id = NEW.predecessor_id;
END;

CREATE TRIGGER {p}keys_changed
AFTER UPDATE OF digest, key_id, owner_id, account_id, scopes, expires_at, is_active ON {p}keys
WHEN OLD.digest IS NOT NEW.digest OR OLD.key_id IS NOT NEW.key_id
    OR OLD.owner_id IS NOT NEW.owner_id OR OLD.account_id IS NOT NEW.account_id
    OR OLD.scopes IS NOT NEW.scopes OR OLD.expires_at IS NOT NEW.expires_at
    OR OLD.is_active IS NOT NEW.is_active
BEGIN
    INSERT INTO {p}changes (kind, subject) VALUES ('key', OLD.key_id);
    INSERT INTO {p}changes (kind, subject)
    SELECT 'key', NEW.key_id WHERE OLD.key_id IS NOT NEW.key_id;
END;

CREATE TRIGGER {p}keys_removed AFTER DELETE ON {p}keys
BEGIN
    INSERT INTO {p}changes (kind, subject) VALUES ('key', OLD.key_id);
END;

CREATE TRIGGER {p}owners_added AFTER INSERT ON {p}owners
BEGIN
    INSERT INTO {p}changes (kind, subject) VALUES ('owner', NEW.id);
END;

CREATE TRIGGER {p}owners_changed
AFTER UPDATE OF id, is_active, is_staff, is_superuser ON {p}owners
WHEN OLD.id IS NOT NEW.id OR OLD.is_active IS NOT NEW.is_active
    OR OLD.is_staff IS NOT NEW.is_staff OR OLD.is_superuser IS NOT NEW.is_superuser
BEGIN
    INSERT INTO {p}changes (kind, subject) VALUES ('owner', OLD.id);
    INSERT INTO {p}changes (kind, subject)
    SELECT 'owner', NEW.id WHERE OLD.id IS NOT NEW.id;
END;

CREATE TRIGGER {p}owners_removed AFTER DELETE ON {p}owners
BEGIN
    INSERT INTO {p}changes (kind, subject) VALUES ('owner', OLD.id);
END;

CREATE TRIGGER {p}memberships_added AFTER INSERT ON {p}memberships
BEGIN
    INSERT INTO {p}changes (kind, subject) VALUES ('owner', NEW.owner_id);
END;

CREATE TRIGGER {p}memberships_changed AFTER UPDATE ON {p}memberships
WHEN OLD.owner_id IS NOT NEW.owner_id OR OLD.account_id IS NOT NEW.account_id
BEGIN
    INSERT INTO {p}changes (kind, subject) VALUES ('owner', OLD.owner_id);
    INSERT INTO {p}changes (kind, subject)
    SELECT 'owner', NEW.owner_id WHERE OLD.owner_id IS NOT NEW.owner_id;
END;

CREATE TRIGGER {p}memberships_removed AFTER DELETE ON {p}memberships
BEGIN
    INSERT INTO {p}changes (kind, subject) VALUES ('owner', OLD.owner_id);
END;

INSERT OR REPLACE INTO {p}settings (name, value)
VALUES ('changes_epoch', lower(hex(randomblob(16))));

INSERT INTO {p}changes (kind, subject) VALUES ('all', '');
";

/// The table and the triggers, as SQLite keeps them: name, and the statement without its `;`.
pub(super) fn definitions(prefix: &Prefix) -> Vec<(String, String)> {
    let text = prefix.fill(MIGRATION);
    let statements = text.split("\n\n").map(|statement| statement.trim_end_matches([';', '\n']));
    let created = statements.filter(|statement| statement.starts_with("CREATE "));
    created.map(|statement| (name_of(statement).to_owned(), statement.to_owned())).collect()
}

/// The name behind `CREATE TABLE` or `CREATE TRIGGER`.
fn name_of(statement: &str) -> &str {
    statement.split_whitespace().nth(2).expect("a definition has a name")
}

/// Makes the log anew, with a new epoch: whoever read the old one has a gap. The triggers go first,
/// as they name the table.
pub(super) fn anew(prefix: &Prefix) -> String {
    let names = definitions(prefix).into_iter().map(|(name, _)| name);
    let (table, triggers) = (prefix.fill("{p}changes"), names.skip(1));
    let mut text: String =
        triggers.map(|trigger| format!("DROP TRIGGER IF EXISTS {trigger};\n")).collect();
    text.push_str(&format!("DROP TABLE IF EXISTS {table};\n"));
    text.push_str(&prefix.fill(MIGRATION));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_found_with_its_name() {
        let found = definitions(&Prefix::parse("x_").unwrap());
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..3], ["x_changes", "x_changes_bounded", "x_keys_replaced"]);
        assert_eq!(names.len(), MIGRATION.matches("CREATE ").count());
        assert!(found.iter().all(|(_, sql)| sql.ends_with("END") || sql.ends_with("STRICT")));
    }

    /// A digest would let whoever reads the log alone know which tokens there are.
    #[test]
    fn no_digest_is_written_down() {
        let subjects: Vec<&str> = MIGRATION
            .split("'key', ")
            .flat_map(|part| part.split("'owner', "))
            .skip(1)
            .map(|rest| rest.split([' ', ')', '\n']).next().unwrap())
            .collect();
        assert_eq!(subjects.len(), 14);
        for subject in subjects {
            let column = subject.trim_start_matches("NEW.").trim_start_matches("OLD.");
            assert!(["key_id", "id", "owner_id"].contains(&column), "{subject}");
        }
    }
}

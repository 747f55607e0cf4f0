//! The tables: their names, and the migrations that make them.

use super::{super::sql::Prefix, changelog};
use crate::value::digest::DigestAlgorithm;

/// The migrations in their order; the first is version 1. What was released is never changed.
const MIGRATIONS: &[&str] = &[FIRST, LINEAGE, changelog::MIGRATION];

/// The version this code knows.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// `keys` is clustered by its digest, so that the one lookup that matters descends one tree.
/// Digests are lower-case hexadecimal, as another spelling would never be found. Times are
/// microseconds since 1970-01-01 UTC. An owner takes its keys and memberships with it.
const FIRST: &str = "\
CREATE TABLE {p}migrations (
    version INTEGER PRIMARY KEY,
    applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE {p}settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO {p}settings (name, value) VALUES ('digest_algorithm', '{digest}');

CREATE TABLE {p}owners (
    id TEXT NOT NULL PRIMARY KEY,
    username TEXT NOT NULL,
    is_active INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    is_staff INTEGER NOT NULL CHECK (is_staff IN (0, 1)),
    is_superuser INTEGER NOT NULL CHECK (is_superuser IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE {p}memberships (
    owner_id TEXT NOT NULL REFERENCES {p}owners (id) ON DELETE CASCADE,
    account_id TEXT NOT NULL,
    PRIMARY KEY (owner_id, account_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE {p}keys (
    digest TEXT NOT NULL PRIMARY KEY
        CHECK (length(digest) IN (64, 128) AND digest NOT GLOB '*[^0-9a-f]*'),
    key_id TEXT NOT NULL UNIQUE,
    token_key TEXT NOT NULL,
    owner_id TEXT NOT NULL REFERENCES {p}owners (id) ON DELETE CASCADE,
    account_id TEXT,
    name TEXT NOT NULL,
    description TEXT,
    version TEXT,
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    annotations TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(annotations)),
    scopes TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(scopes)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    is_active INTEGER NOT NULL CHECK (is_active IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX {p}keys_in_order ON {p}keys (created_at, key_id);

CREATE INDEX {p}keys_of_owner ON {p}keys (owner_id);
";

/// Which key a key replaced, for rotation. That key may be gone, so that this is no foreign key; and no
/// key is replaced twice.
const LINEAGE: &str = "
ALTER TABLE {p}keys ADD COLUMN predecessor_id TEXT;

CREATE UNIQUE INDEX {p}keys_by_predecessor ON {p}keys (predecessor_id)
    WHERE predecessor_id IS NOT NULL;
";

/// Records a version; the database's own clock serves, as nothing is decided by it.
const RECORD: &str = "
INSERT INTO {p}migrations (version, applied_at)
VALUES ({version}, CAST(unixepoch('subsec') * 1000000 AS INTEGER));
";

/// All of it, for a new database.
pub(super) fn ddl(prefix: &Prefix, algorithm: DigestAlgorithm) -> String {
    ddl_from(0, prefix, algorithm)
}

/// What is to be done after `version`.
pub(super) fn ddl_from(version: i64, prefix: &Prefix, algorithm: DigestAlgorithm) -> String {
    let mut text = String::new();
    for (migration, number) in MIGRATIONS.iter().zip(1_i64..).filter(|(_, n)| *n > version) {
        text.push_str(&prefix.fill(migration).replace("{digest}", algorithm.name()));
        text.push_str(&prefix.fill(RECORD).replace("{version}", &number.to_string()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_placeholder_is_left_in_the_printed_ddl() {
        let text = ddl(&Prefix::parse("x_").unwrap(), DigestAlgorithm::Sha512);
        assert!(!text.contains("{p}") && !text.contains("{v") && !text.contains("{d"), "{text}");
        assert!(text.contains("CREATE TABLE x_keys"), "{text}");
        assert!(text.contains("'sha512'"), "{text}");
    }
}

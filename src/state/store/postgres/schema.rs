//! The tables, and the migrations that make them.

use std::borrow::Cow;

use super::{super::sql::Prefix, telling};
use crate::value::digest::DigestAlgorithm;

/// The migrations in their order; the first is version 1. What was released is never changed.
fn migrations() -> [Cow<'static, str>; VERSION as usize] {
    [FIRST.into(), telling::ddl().into()]
}

/// The version this code knows.
pub(super) const VERSION: i64 = 2;

/// Every name that is made is told, as errors name them. Ids are compared byte for byte, and by the "C"
/// collation their indices do not depend on the system's locales. Each page of `keys` keeps a tenth
/// free, so that a last use, which stands in no index, is written beside the row it replaces. An owner
/// takes its keys and memberships with it. A predecessor may be gone, so that it is no foreign key.
const FIRST: &str = "\
CREATE TABLE {p}migrations (
    version bigint NOT NULL CONSTRAINT {n}migrations_pkey PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE {p}settings (
    name text NOT NULL CONSTRAINT {n}settings_pkey PRIMARY KEY,
    value text NOT NULL
);

INSERT INTO {p}settings (name, value) VALUES ('digest_algorithm', '{digest}');

CREATE TABLE {p}owners (
    id text COLLATE \"C\" NOT NULL CONSTRAINT {n}owners_pkey PRIMARY KEY,
    username text NOT NULL,
    is_active boolean NOT NULL,
    is_staff boolean NOT NULL,
    is_superuser boolean NOT NULL
);

CREATE TABLE {p}memberships (
    owner_id text COLLATE \"C\" NOT NULL
        CONSTRAINT {n}memberships_owner_id_fkey REFERENCES {p}owners (id) ON DELETE CASCADE,
    account_id text COLLATE \"C\" NOT NULL,
    CONSTRAINT {n}memberships_pkey PRIMARY KEY (owner_id, account_id)
);

CREATE TABLE {p}keys (
    digest bytea NOT NULL CONSTRAINT {n}keys_pkey PRIMARY KEY
        CONSTRAINT {n}keys_digest_check CHECK (octet_length(digest) = {digest_len}),
    key_id uuid NOT NULL CONSTRAINT {n}keys_key_id_key UNIQUE,
    token_key text NOT NULL,
    owner_id text COLLATE \"C\" NOT NULL
        CONSTRAINT {n}keys_owner_id_fkey REFERENCES {p}owners (id) ON DELETE CASCADE,
    account_id text COLLATE \"C\",
    name text NOT NULL,
    description text,
    version text,
    tags text[] NOT NULL DEFAULT '{}'
        CONSTRAINT {n}keys_tags_check CHECK (array_position(tags, NULL) IS NULL),
    annotations jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT {n}keys_annotations_check CHECK (jsonb_typeof(annotations) = 'object'),
    scopes text[] NOT NULL DEFAULT '{}'
        CONSTRAINT {n}keys_scopes_check CHECK (array_position(scopes, NULL) IS NULL),
    created_at timestamptz NOT NULL
        CONSTRAINT {n}keys_created_at_check CHECK (isfinite(created_at)),
    updated_at timestamptz NOT NULL
        CONSTRAINT {n}keys_updated_at_check CHECK (isfinite(updated_at)),
    expires_at timestamptz
        CONSTRAINT {n}keys_expires_at_check CHECK (isfinite(expires_at)),
    last_used_at timestamptz
        CONSTRAINT {n}keys_last_used_at_check CHECK (isfinite(last_used_at)),
    is_active boolean NOT NULL,
    predecessor_id uuid
) WITH (fillfactor = 90);

CREATE INDEX {n}keys_in_order ON {p}keys (created_at, key_id);

CREATE INDEX {n}keys_of_owner ON {p}keys (owner_id);

CREATE UNIQUE INDEX {n}keys_by_predecessor ON {p}keys (predecessor_id)
    WHERE predecessor_id IS NOT NULL;
";

/// The constraints of `keys` whose breach is a `duplicate`.
const UNIQUE: [&str; 3] = ["{n}keys_pkey", "{n}keys_key_id_key", "{n}keys_by_predecessor"];

/// Records a version.
const RECORD: &str = "
INSERT INTO {p}migrations (version) VALUES ({version});
";

/// What is to be done after `version`; 0 is a new database.
pub(super) fn ddl_from(version: i64, prefix: &Prefix, algorithm: DigestAlgorithm) -> String {
    let mut text = String::new();
    for (migration, number) in migrations().iter().zip(1_i64..).filter(|(_, n)| *n > version) {
        let (len, number) = (algorithm.digest_len().to_string(), number.to_string());
        let names = [("digest", algorithm.name()), ("digest_len", &len), ("version", &number)];
        text.push_str(&prefix.fill_with(&format!("{migration}{RECORD}"), &names));
    }
    text
}

/// Makes the schema; for a printed text also where it is there.
pub(super) fn create_schema(schema: &str) -> String {
    format!("CREATE SCHEMA IF NOT EXISTS \"{}\";\n\n", schema.replace('"', "\"\""))
}

/// Whether a constraint says that an id, a digest or a predecessor is taken; a user's own index does not.
pub(super) fn is_of_identity(prefix: &Prefix, constraint: &str) -> bool {
    UNIQUE.iter().any(|own| prefix.fill(own) == constraint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_placeholder_is_left_in_the_printed_ddl() {
        let text = ddl_from(0, &Prefix::parse("x_").unwrap(), DigestAlgorithm::Sha512);
        assert!(!text.replace("'{}'", "").contains('{'), "{text}");
        assert!(text.contains("CREATE TABLE x_keys"), "{text}");
        assert!(text.contains("'sha512'") && text.contains("= 64"), "{text}");
    }

    #[test]
    fn only_our_own_indices_tell_that_a_key_is_taken() {
        let prefix = Prefix::parse("x_").unwrap().within("s");
        assert!(is_of_identity(&prefix, "x_keys_by_predecessor"));
        assert!(!is_of_identity(&prefix, "x_keys_by_name"));
    }
}

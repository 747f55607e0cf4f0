//! What the names of all of a store's tables and indices begin with.

use std::{fmt, sync::Arc};

use super::super::error::StoreError;

/// What every table's and index's name begins with; a plain identifier, so that it needs no quotes.
#[derive(Clone, Debug)]
pub(in super::super) struct Prefix {
    plain: Arc<str>,
    /// With the schema before it, where there is one.
    qualified: Arc<str>,
}

impl Prefix {
    const MAX_LEN: usize = 32;

    pub(in super::super) fn parse(prefix: &str) -> Result<Self, StoreError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_identifier = (1..=Self::MAX_LEN).contains(&prefix.len())
            && prefix.bytes().all(plain)
            && !prefix.starts_with(|first: char| first.is_ascii_digit())
            && !prefix.to_ascii_lowercase().starts_with("sqlite_");
        is_identifier.then(|| Self::of(prefix)).ok_or_else(|| {
            StoreError::unusable(
                "the table prefix can't be used: choose 1 to 32 ASCII letters, digits and \
                 underscores that begin neither with a digit nor with `sqlite_`",
            )
        })
    }

    fn of(prefix: &str) -> Self {
        Self { plain: prefix.into(), qualified: prefix.into() }
    }

    /// Puts the prefix where `template` says `{p}`, with its schema. Where a schema must not stand, as
    /// before the name of an index that is made, the template says `{n}`.
    pub(in super::super) fn fill(&self, template: &str) -> String {
        self.fill_with(template, &[])
    }

    /// The same, with more names to be filled in. In one pass: what a value holds is never taken for a
    /// name, as a schema may be called anything.
    pub(in super::super) fn fill_with(&self, template: &str, more: &[(&str, &str)]) -> String {
        let mut text = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, from)) = rest.split_once('{') {
            text.push_str(before);
            let value = from.split_once('}').and_then(|(name, behind)| {
                let value = match name {
                    "p" => &*self.qualified,
                    "n" => &*self.plain,
                    name => more.iter().find(|(known, _)| *known == name)?.1,
                };
                Some((value, behind))
            });
            let (value, behind) = value.unwrap_or(("{", from));
            text.push_str(value);
            rest = behind;
        }
        text + rest
    }
}

#[cfg(feature = "postgres")]
impl Prefix {
    /// The tables of this schema, which may have any name.
    pub(in super::super) fn within(&self, schema: &str) -> Self {
        let schema = schema.replace('"', "\"\"");
        let qualified = format!("\"{schema}\".{}", self.plain).into();
        Self { plain: Arc::clone(&self.plain), qualified }
    }

    /// As PostgreSQL reads a name without quotes.
    pub(in super::super) fn folded(&self) -> Self {
        Self::of(&self.plain.to_ascii_lowercase())
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self::of("token_auth_")
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_short_plain_identifier() {
        for good in ["a", "_", "Acme_2_", &"p".repeat(32)] {
            assert_eq!(Prefix::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "2a", "a-b", "a b", "a\"", "ä", "a;", "SQLite_x", &"p".repeat(33)] {
            let message = Prefix::parse(bad).unwrap_err().to_string();
            assert!(message.contains("choose 1 to 32"), "{bad:?}: {message}");
        }
    }

    #[test]
    fn only_known_names_are_filled_in_and_no_value_is() {
        let prefix = Prefix::parse("x_").unwrap();
        let filled = prefix.fill_with("{} {{p}} '{a}' {b} {", &[("a", "{p}{b}"), ("b", "2")]);
        assert_eq!(filled, "{} {x_} '{p}{b}' 2 {");
    }

    /// A schema's name is somebody else's choice, and may hold anything.
    #[cfg(feature = "postgres")]
    #[test]
    fn a_schema_stands_before_the_tables_and_is_quoted() {
        let prefix = Prefix::parse("X_").unwrap().folded().within("a\"; DROP");
        let filled = prefix.fill("CREATE INDEX {n}i ON {p}keys");
        assert_eq!(filled, "CREATE INDEX x_i ON \"a\"\"; DROP\".x_keys");
    }
}

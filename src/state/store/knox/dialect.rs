//! What each database says in a way of its own.
//!
//! Every column is read as text, and every value is bound as text, so that the rest of this store is
//! one. Statements are written with `?` for each value; [`Dialect::compile`] numbers them where the
//! database wants numbers.

use std::{fmt::Write as _, sync::Arc};

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
    /// MariaDB as well.
    MySql,
}

impl Dialect {
    /// A table's or column's name, which may hold anything.
    pub(super) fn quote(self, name: &str) -> String {
        match self {
            Self::Sqlite | Self::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::MySql => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// The statement as the database wants it.
    pub(super) fn compile(self, text: &str) -> SqlStr {
        let text = match self {
            Self::Sqlite | Self::MySql => text.into(),
            Self::Postgres => numbered(text),
        };
        // `Arc`, so that a clone for each execution is no copy.
        AssertSqlSafe(Arc::<str>::from(text)).into_sql_str()
    }

    /// A column as text; NULL only where it is NULL.
    pub(super) fn text(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("CAST({column} AS TEXT)"),
            Self::Postgres => format!("CAST({column} AS text)"),
            Self::MySql => format!("CAST({column} AS CHAR)"),
        }
    }

    /// A moment as text that [`moment::parse`](super::moment::parse) reads; NULL only where it is
    /// NULL. PostgreSQL's `to_char` makes NULL of infinity, and no difference of the year 44 BC.
    pub(super) fn moment(self, column: &str) -> String {
        match self {
            // Numbers and blobs among texts, which SQLite lets in.
            Self::Sqlite => format!(
                "CASE WHEN typeof({column}) IN ('null', 'text') THEN {column} ELSE 'no text' END"
            ),
            Self::MySql => self.text(column),
            Self::Postgres => format!(
                "CASE WHEN {column} IS NULL THEN NULL \
                 WHEN {column} >= timestamptz '0001-01-01 00:00:00+00' \
                 AND {column} < timestamptz '10000-01-01 00:00:00+00' \
                 THEN to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') \
                 ELSE 'beyond the calendar' END"
            ),
        }
    }

    /// A moment's column as it can be compared with [`any_moment`](Self::any_moment): SQLite compares
    /// texts, and Django writes no fraction when it is zero.
    pub(super) fn comparable(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!(
                "substr({column} || CASE WHEN instr({column}, '.') > 0 \
                 THEN '000000' ELSE '.000000' END, 1, 26)"
            ),
            Self::Postgres | Self::MySql => column.into(),
        }
    }

    /// The same of an expiry, which may hold no date: that is `past`, a literal, as it is where such a
    /// row is read. Whatever [`moment::parse`](super::moment::parse) takes is compared as it stands,
    /// and nothing else.
    pub(super) fn comparable_expiry(self, column: &str, past: &str) -> String {
        let is_date = match self {
            // Its function takes more: years from 0 on, 24 hours, any length of a fraction. A 30th of
            // February it brings into March.
            Self::Sqlite => format!(
                "typeof({column}) = 'text' AND substr({column}, 1, 4) > '0000' AND substr({column}, 12, 2) < '24' \
                 AND strftime('%Y-%m-%d %H:%M:%S', substr({column}, 1, 19)) = substr({column}, 1, 19) \
                 AND (length(CAST({column} AS BLOB)) = 19 \
                 OR length(CAST({column} AS BLOB)) BETWEEN 21 AND 26 \
                 AND substr({column}, 20, 1) = '.' AND substr({column}, 21) NOT GLOB '*[^0-9]*')"
            ),
            Self::Postgres => format!(
                "{column} >= timestamptz '0001-01-01 00:00:00+00' \
                 AND {column} < timestamptz '10000-01-01 00:00:00+00'"
            ),
            // Nothing for a zero, and another day for one that there is not.
            Self::MySql => format!("FROM_DAYS(TO_DAYS({column})) = DATE({column})"),
        };
        let comparable = self.comparable(column);
        let past = match self {
            Self::Sqlite => format!("'{past}'"),
            Self::Postgres => format!("timestamptz '{past}'"),
            Self::MySql => format!("CAST('{past}' AS DATETIME(6))"),
        };
        format!(
            "CASE WHEN {column} IS NULL THEN NULL WHEN {is_date} THEN {comparable} ELSE {past} END"
        )
    }

    /// A moment that is bound to be compared.
    pub(super) fn any_moment(self) -> &'static str {
        match self {
            Self::Sqlite => "?",
            Self::Postgres => "CAST(? AS timestamptz)",
            Self::MySql => "CAST(? AS DATETIME(6))",
        }
    }

    /// A moment that is bound to be written. MySQL's CAST would make NULL of what is none, which is a
    /// key that never expires; a strict column refuses it.
    pub(super) fn new_moment(self) -> &'static str {
        match self {
            Self::Sqlite | Self::MySql => "?",
            Self::Postgres => "CAST(? AS timestamptz)",
        }
    }

    /// A flag that is bound as `0` or `1`.
    pub(super) fn flag(self) -> &'static str {
        match self {
            Self::Sqlite | Self::MySql => "?",
            Self::Postgres => "CAST(? AS boolean)",
        }
    }

    /// JSON that is bound.
    pub(super) fn json(self) -> &'static str {
        match self {
            Self::Sqlite | Self::MySql => "?",
            Self::Postgres => "CAST(? AS jsonb)",
        }
    }

    /// All texts that `select` answers with, as a JSON list, or NULL for none. `select` begins with
    /// the column.
    pub(super) fn json_list(self, column: &str, from: &str) -> String {
        let column = self.text(column);
        match self {
            Self::Sqlite => format!("(SELECT json_group_array({column}) FROM {from})"),
            Self::Postgres => format!("(SELECT CAST(json_agg({column}) AS text) FROM {from})"),
            Self::MySql => format!("(SELECT CAST(JSON_ARRAYAGG({column}) AS CHAR) FROM {from})"),
        }
    }

    /// Joins in the order in which it is written, so that no statistics make a lookup begin at another
    /// end than the digest. PostgreSQL's planner takes no such order, and needs none.
    pub(super) fn join_in_order(self) -> &'static str {
        match self {
            Self::Sqlite => " CROSS JOIN ",
            Self::Postgres => " JOIN ",
            Self::MySql => " STRAIGHT_JOIN ",
        }
    }

    /// Ends a SELECT that holds its rows for a change; SQLite holds the whole file.
    pub(super) fn for_update(self, aliases: &str) -> String {
        match self {
            Self::Sqlite => String::new(),
            Self::Postgres => format!(" FOR UPDATE OF {aliases}"),
            Self::MySql => " FOR UPDATE".into(),
        }
    }

    /// Ends a SELECT that keeps its rows from being changed.
    pub(super) fn for_share(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR SHARE",
            // The words that MariaDB knows as well.
            Self::MySql => " LOCK IN SHARE MODE",
        }
    }

    /// What a change begins with. READ COMMITTED, so that each statement sees what was committed before
    /// it, and rows that were waited for as they now are.
    pub(super) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => {
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 10000; \
                 SET LOCAL lock_timeout = 5000; \
                 SET LOCAL idle_in_transaction_session_timeout = 10000; \
                 SELECT set_config('synchronous_commit', 'on', true) \
                 WHERE current_setting('synchronous_commit') = 'off'"
            }
            Self::MySql => {
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; START TRANSACTION"
            }
        }
    }
}

/// `?` by `?`, each with its number; but for those within quotes, which are part of a name or a text. A
/// quote that stands twice for itself ends one and begins another.
fn numbered(text: &str) -> String {
    let (mut numbered, mut number, mut quote) = (String::with_capacity(text.len()), 0, None);
    for sign in text.chars() {
        match (sign, quote) {
            ('?', None) => {
                number += 1;
                let _ = write!(numbered, "${number}");
                continue;
            }
            ('"' | '\'', None) => quote = Some(sign),
            (_, Some(open)) if open == sign => quote = None,
            _ => {}
        }
        numbered.push(sign);
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgresql_numbers_its_values() {
        let sql = |dialect: Dialect| dialect.compile("a = ? AND b IN (?, ?)").as_str().to_owned();
        assert_eq!(sql(Dialect::Postgres), "a = $1 AND b IN ($2, $3)");
        assert_eq!(sql(Dialect::MySql), "a = ? AND b IN (?, ?)");
    }

    /// Seen to fail with every `?` numbered.
    #[test]
    fn a_question_mark_in_a_name_is_no_value() {
        let name = Dialect::Postgres.quote("a?\"?'?");
        let sql = Dialect::Postgres.compile(&format!("SELECT '?''?', ? FROM {name} WHERE b = ?"));
        assert_eq!(sql.as_str(), r#"SELECT '?''?', $1 FROM "a?""?'?" WHERE b = $2"#);
    }

    #[test]
    fn a_name_is_quoted_whatever_it_holds() {
        assert_eq!(Dialect::Postgres.quote("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(Dialect::MySql.quote("a`; DROP"), "`a``; DROP`");
    }
}

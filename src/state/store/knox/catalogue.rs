//! What a database's own catalogue says about its tables.

use super::{
    dialect::Dialect,
    place::Trouble,
    session::{Session, Statement},
};

/// A table with its columns, each with its type as the catalogue spells it.
pub(super) struct Table {
    pub(super) name: Box<str>,
    pub(super) quoted: String,
    pub(super) columns: Vec<(String, String)>,
}

impl Table {
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|(name, _)| name == column)
    }

    /// Empty for a column that is not there.
    pub(super) fn type_of(&self, column: &str) -> &str {
        let found = self.columns.iter().find(|(name, _)| name == column);
        found.map_or("", |(_, column_type)| column_type)
    }

    /// The `25` of `varchar(25)`.
    pub(super) fn length_of(&self, column: &str) -> Option<u32> {
        let (_, rest) = self.type_of(column).split_once('(')?;
        rest.split_once(')')?.0.trim().parse().ok()
    }

    pub(super) fn require(&self, columns: &[&str]) -> Result<(), Trouble> {
        match columns.iter().find(|column| !self.has(column)) {
            None => Ok(()),
            Some(column) => Err(Trouble::Schema(format!(
                "its table `{}` has no column `{column}`, or the role may not see it; name the right \
                 tables and columns by `KnoxOptions`",
                self.name
            ))),
        }
    }

    /// Moments that this store can read: on PostgreSQL a column without a zone would be one in a zone
    /// that nobody told us.
    pub(super) fn require_moments(
        &self,
        dialect: Dialect,
        columns: &[&str],
    ) -> Result<(), Trouble> {
        let fits = |column: &str| match dialect {
            Dialect::Sqlite => true,
            Dialect::Postgres => self.type_of(column).ends_with("with time zone"),
            Dialect::MySql => self.type_of(column).starts_with("datetime"),
        };
        match columns.iter().find(|column| !fits(column)) {
            None => Ok(()),
            Some(column) => Err(Trouble::Schema(format!(
                "column `{column}` of its table `{}` is of the type `{}`, which Django gives no time; \
                 restore the type that Django's migration made",
                self.name,
                self.type_of(column)
            ))),
        }
    }
}

/// The columns of a table; none if there is none, or the role may not see it.
pub(super) async fn columns(
    session: &mut Session,
    dialect: Dialect,
    name: &str,
    quoted: &str,
) -> Result<Vec<(String, String)>, Trouble> {
    let (sql, value) = match dialect {
        Dialect::Sqlite => ("SELECT name, type FROM pragma_table_info(?)", name),
        Dialect::Postgres => (
            "SELECT CAST(a.attname AS text), format_type(a.atttypid, a.atttypmod) \
             FROM pg_attribute AS a WHERE a.attrelid = to_regclass(?) AND a.attnum > 0 \
             AND NOT a.attisdropped",
            quoted,
        ),
        Dialect::MySql => (
            "SELECT CAST(column_name AS CHAR), CAST(column_type AS CHAR) \
             FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?",
            name,
        ),
    };
    let sql = dialect.compile(sql);
    let rows = session.rows(Statement { sql, values: vec![Some(value.into())] }).await?;
    let pair = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter().flatten();
        Some((cells.next()?, cells.next()?.to_ascii_lowercase()))
    };
    Ok(rows.into_iter().filter_map(pair).collect())
}

/// Whether the role may read the table: reads nothing of it.
pub(super) async fn look(
    session: &mut Session,
    dialect: Dialect,
    quoted: &str,
) -> Result<(), sqlx::Error> {
    let sql = dialect.compile(&format!("SELECT '' FROM {quoted} WHERE 1 = 0"));
    session.rows(Statement { sql, values: Vec::new() }).await.map(drop)
}

/// Whether the server is one that this store can rely on.
pub(super) async fn is_fit(session: &mut Session, dialect: Dialect) -> Result<(), Trouble> {
    let sql = match dialect {
        Dialect::Sqlite => return Ok(()),
        Dialect::Postgres => "SELECT CAST(pg_is_in_recovery() AS text)",
        Dialect::MySql => {
            "SELECT CONCAT(@@SESSION.sql_mode, IF(@@SESSION.autocommit, ',AUTOCOMMIT', ''))"
        }
    };
    let statement = Statement { sql: dialect.compile(sql), values: Vec::new() };
    let answer = session.rows(statement).await?.into_iter().flatten().flatten().next();
    let answer = answer.unwrap_or_default();
    match dialect {
        Dialect::Postgres if answer == "true" => Err(Trouble::Schema(
            "this server is a standby, which learns of a revocation late; name the primary".into(),
        )),
        Dialect::MySql if !answer.contains("STRICT_") => Err(Trouble::Schema(
            "its connections are in no strict SQL mode, so that MySQL would store what fits of a value; \
             set sql_mode to STRICT_ALL_TABLES on each connection of the pool"
                .into(),
        )),
        // Its first read would begin a transaction, and every later one see what stood then.
        Dialect::MySql if !answer.contains(",AUTOCOMMIT") => Err(Trouble::Schema(
            "its connections do not commit by themselves, so that they would go on to read what stood \
             at first; set autocommit to 1 on each connection of the pool"
                .into(),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_read_off_a_type() {
        let columns = [("a", "varchar(25)"), ("b", "character varying(8)"), ("c", "text")];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into();
        let table = Table { name: "t".into(), quoted: "t".into(), columns };
        let lengths = ["a", "b", "c", "d"].map(|column| table.length_of(column));
        assert_eq!(lengths, [Some(25), Some(8), None, None]);
    }
}

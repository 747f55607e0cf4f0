//! The kinds of primary keys that a site may have chosen, and how each is told and bound as text.

use uuid::Uuid;

use super::dialect::Dialect;

/// What a column of ids holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    Numbers,
    /// `char(32)` where the database has no type for them: 32 digits without dashes.
    Uuids,
    Texts,
}

impl Ids {
    /// By the column's type as the database's catalogue spells it.
    pub(super) fn of_type(column_type: &str, dialect: Dialect) -> Self {
        let name = column_type.trim().to_ascii_lowercase();
        if name.contains("int") || name.contains("serial") {
            Self::Numbers
        } else if name == "uuid" || (dialect != Dialect::Postgres && name == "char(32)") {
            Self::Uuids
        } else {
            Self::Texts
        }
    }

    /// An id as it is bound; `None` if no row can have it, as it is not spelt as this store tells it.
    pub(super) fn bound(self, id: &str, dialect: Dialect) -> Option<String> {
        match self {
            Self::Numbers => id.parse::<i64>().ok().map(|n| n.to_string()).filter(|n| n == id),
            Self::Uuids => {
                let uuid = Uuid::try_parse(id).ok().filter(|uuid| uuid.to_string() == id)?;
                Some(Self::uuid(uuid, dialect))
            }
            // PostgreSQL's texts hold no NUL.
            Self::Texts => (!id.contains('\0')).then(|| id.to_owned()),
        }
    }

    /// A UUID as every column of them takes it.
    pub(super) fn uuid(uuid: Uuid, dialect: Dialect) -> String {
        match dialect {
            Dialect::Postgres => uuid.to_string(),
            Dialect::Sqlite | Dialect::MySql => uuid.simple().to_string(),
        }
    }

    /// How it stands in a statement.
    pub(super) fn value(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Self::Numbers, Dialect::Postgres) => "CAST(? AS bigint)",
            // As text it would be compared as a floating-point number.
            (Self::Numbers, Dialect::MySql) => "CAST(? AS SIGNED)",
            (Self::Uuids, Dialect::Postgres) => "CAST(? AS uuid)",
            _ => "?",
        }
    }

    /// An id as this store tells it; `None` if the column holds none.
    pub(super) fn told(self, text: String) -> Option<String> {
        match self {
            Self::Numbers => text.parse::<i64>().ok().map(|number| number.to_string()),
            Self::Uuids => Uuid::try_parse(&text).ok().map(|uuid| uuid.to_string()),
            Self::Texts => Some(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_known_by_its_name_in_each_catalogue() {
        for (name, dialect, ids) in [
            ("integer", Dialect::Sqlite, Ids::Numbers),
            ("bigint", Dialect::Postgres, Ids::Numbers),
            ("int(11)", Dialect::MySql, Ids::Numbers),
            ("bigint(20) unsigned", Dialect::MySql, Ids::Numbers),
            ("char(32)", Dialect::Sqlite, Ids::Uuids),
            ("char(32)", Dialect::MySql, Ids::Uuids),
            ("uuid", Dialect::MySql, Ids::Uuids),
            ("uuid", Dialect::Postgres, Ids::Uuids),
            ("character varying(32)", Dialect::Postgres, Ids::Texts),
            ("varchar(20)", Dialect::Sqlite, Ids::Texts),
        ] {
            assert_eq!(Ids::of_type(name, dialect), ids, "{name}");
        }
    }

    /// Two spellings of one id would be two owners to the cache, and to a revocation.
    #[test]
    fn an_id_has_one_spelling() {
        let dialect = Dialect::Sqlite;
        assert_eq!(Ids::Numbers.bound("-7", dialect).as_deref(), Some("-7"));
        for other in ["07", "+7", " 7", "7 ", "7.0", "", "9223372036854775808", "x"] {
            assert_eq!(Ids::Numbers.bound(other, dialect), None, "{other:?}");
        }
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let simple = "67e5504410b1426f9247bb680e5fe0c8";
        assert_eq!(Ids::Uuids.bound(uuid, dialect).as_deref(), Some(simple));
        assert_eq!(Ids::Uuids.bound(uuid, Dialect::Postgres).as_deref(), Some(uuid));
        for other in [simple, &uuid.to_uppercase(), &format!("{{{uuid}}}")] {
            assert_eq!(Ids::Uuids.bound(other, dialect), None, "{other}");
        }
        assert_eq!(Ids::Uuids.told(simple.to_owned()).as_deref(), Some(uuid));
    }
}

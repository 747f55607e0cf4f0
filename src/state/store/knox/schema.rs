//! The tables that were found, and what is selected from them.

use chrono::{DateTime, FixedOffset, Offset as _, Utc};
use sqlx::SqlStr;

use super::{dialect::Dialect, ids::Ids, moment};
use crate::value::owner::AccountId;

/// What was found. Names are quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schema {
    pub(super) dialect: Dialect,
    /// Of the times in columns that know no zone.
    pub(super) zone: FixedOffset,
    pub(super) tokens: String,
    pub(super) owners: Owners,
    /// `None` where the tables are plain knox's.
    pub(super) smarter: Option<Smarter>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owners {
    pub(super) table: String,
    pub(super) id: String,
    pub(super) ids: Ids,
    /// Whether the column fills ids up with blanks, which a cast to text takes away.
    pub(super) is_padded: bool,
    pub(super) username: String,
    /// A user model of the site's own may have no such columns, and then nobody is one.
    pub(super) has_staff: bool,
    pub(super) has_superusers: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Smarter {
    pub(super) keys: String,
    pub(super) profiles: String,
    /// `None` where no client of Smarter's names a key.
    pub(super) links: Option<String>,
    pub(super) account_ids: Ids,
    pub(super) profile_ids: Ids,
    /// The platform's account, if there is one.
    pub(super) platform: Option<AccountId>,
}

/// In which order the tables of a record are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Beginning with the digest, whatever the statistics say.
    Digest,
    /// As the database sees fit.
    Anywhere,
    /// Each of knox's rows, whatever of the rest there is.
    EveryToken,
}

impl Schema {
    pub(super) fn compile(&self, text: &str) -> SqlStr {
        self.dialect.compile(text)
    }

    /// A moment as it is bound.
    pub(super) fn bound(&self, moment: DateTime<Utc>) -> String {
        moment::write(moment, self.zone, self.dialect)
    }

    /// The zone of moments as they are selected: PostgreSQL is asked for UTC.
    pub(super) fn zone_of_text(&self) -> FixedOffset {
        match self.dialect {
            Dialect::Postgres => Utc.fix(),
            Dialect::Sqlite | Dialect::MySql => self.zone,
        }
    }

    /// The columns of a record as [`row`](super::row) reads them, with what they are read from: the
    /// token as `k`, its owner as `o` and, of Smarter's, the key as `c` and its profile as `p`.
    pub(super) fn record(&self, from: From) -> String {
        let dialect = self.dialect;
        let [digest, token_key] = ["k.digest", "k.token_key"].map(|column| dialect.text(column));
        let [created, expiry] = ["k.created", "k.expiry"].map(|at| dialect.moment(at));
        self.record_of([digest, token_key, created, expiry], from)
    }

    /// The same with the token's own four columns given.
    pub(super) fn record_of(&self, token: [String; 4], from: From) -> String {
        let dialect = self.dialect;
        let text = |column: &str| dialect.text(column);
        let mut columns = Vec::from(token);
        columns.extend(self.owner_columns());
        if self.smarter.is_some() {
            columns.extend(["c.key_id", "p.user_id", "p.account_id", "c.name"].map(text));
            columns.extend(["c.description", "c.version", "c.tags", "c.annotations"].map(text));
            columns.extend(["c.updated_at", "c.last_used_at"].map(|at| dialect.moment(at)));
            columns.push(text("c.is_active"));
        }
        format!("SELECT {} FROM {}", columns.join(", "), self.joined(from))
    }

    fn joined(&self, from: From) -> String {
        let join = match from {
            From::Digest => self.dialect.join_in_order(),
            From::Anywhere => " JOIN ",
            From::EveryToken => " LEFT JOIN ",
        };
        let mut joined = format!("{} AS k", self.tokens);
        if let Some(Smarter { keys, profiles, .. }) = &self.smarter {
            joined.push_str(&format!(
                "{join}{keys} AS c ON c.authtoken_ptr_id = k.digest\
                 {join}{profiles} AS p ON p.id = c.user_profile_id"
            ));
        }
        let Owners { table, id, .. } = &self.owners;
        joined.push_str(&format!("{join}{table} AS o ON o.{id} = k.user_id"));
        joined
    }

    /// An owner's row, of `o`, with its accounts.
    fn owner_columns(&self) -> [String; 6] {
        let Owners { id, username, has_staff, has_superusers, .. } = &self.owners;
        let text = |column: &str| self.dialect.text(column);
        let flag = |has: bool, column: &str| if has { text(column) } else { "'0'".into() };
        let accounts = match &self.smarter {
            None => "NULL".into(),
            Some(Smarter { profiles, .. }) => {
                let from = format!("{profiles} AS m WHERE m.user_id = o.{id}");
                self.dialect.json_list("m.account_id", &from)
            }
        };
        [
            text(&format!("o.{id}")),
            text(&format!("o.{username}")),
            text("o.is_active"),
            flag(*has_staff, "o.is_staff"),
            flag(*has_superusers, "o.is_superuser"),
            accounts,
        ]
    }

    /// An owner's row by its id.
    pub(super) fn owner(&self) -> String {
        let Owners { table, id, ids, .. } = &self.owners;
        format!(
            "SELECT {} FROM {table} AS o WHERE o.{id} = {}",
            self.owner_columns().join(", "),
            ids.value(self.dialect)
        )
    }
}

#[cfg(test)]
impl Schema {
    /// One of PostgreSQL whose tables have no names, for what is asked of its kind alone.
    pub(super) fn nameless(is_smarter: bool) -> Self {
        let smarter = Smarter {
            keys: String::new(),
            profiles: String::new(),
            links: None,
            account_ids: Ids::Numbers,
            profile_ids: Ids::Numbers,
            platform: None,
        };
        let owners = Owners {
            table: String::new(),
            id: String::new(),
            ids: Ids::Numbers,
            is_padded: false,
            username: String::new(),
            has_staff: true,
            has_superusers: true,
        };
        Self {
            dialect: Dialect::Postgres,
            zone: super::KnoxOptions::default().zone,
            tokens: String::new(),
            owners,
            smarter: is_smarter.then_some(smarter),
        }
    }
}

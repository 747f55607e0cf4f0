//! What is to be moved where: read once, from the command line and the environment.

use tower_token_auth::{KnoxOptions, store::StoreError};

pub(crate) const USAGE: &str = "usage: migrate --from URL --to URL [--dry-run]
  --from URL              Django's database: postgres://…, mysql://…, mariadb://…, or a SQLite file
  --to URL                the new one: postgres://…, or a SQLite file, which is made if it is not there
  --dry-run               write nothing, and say what would be moved
  --token-table TABLE     knox's table, if not knox_authtoken (KNOX_TOKEN_MODEL)
  --owner-table TABLE     the users' table, if not auth_user (AUTH_USER_MODEL)
  --username COLUMN       their names' column, if not username (USERNAME_FIELD)
  --time-zone +HH:MM      of the times in a SQLite or MySQL database, if not UTC
MIGRATE_FROM and MIGRATE_TO name the databases where the arguments don't: other people on a machine may
see the arguments of a process, and with them a password, but not its environment.";

#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) is_dry: bool,
    token_table: Option<String>,
    owner_table: Option<String>,
    username: Option<String>,
    time_zone: Option<String>,
}

impl Arguments {
    pub(crate) fn read(
        mut words: impl Iterator<Item = String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let (mut read, mut from, mut to) = (Self::default(), None, None);
        while let Some(word) = words.next() {
            let place = match &*word {
                "--dry-run" => {
                    read.is_dry = true;
                    continue;
                }
                "--from" => &mut from,
                "--to" => &mut to,
                "--token-table" => &mut read.token_table,
                "--owner-table" => &mut read.owner_table,
                "--username" => &mut read.username,
                "--time-zone" => &mut read.time_zone,
                // Not repeated: it may be a URL with a password in it.
                _ => return Err(format!("an argument is none of these\n{USAGE}")),
            };
            let value = words.next().filter(|value| !value.starts_with("--"));
            *place = Some(value.ok_or_else(|| format!("{word} needs a value\n{USAGE}"))?);
        }
        let named = |given: Option<String>, name, what| {
            let given = given.or_else(|| variable(name)).filter(|url| !url.is_empty());
            given.ok_or_else(|| format!("{what}\n{USAGE}"))
        };
        read.from = named(from, "MIGRATE_FROM", "--from names no database to read")?;
        read.to = named(to, "MIGRATE_TO", "--to names no database to write")?;
        Ok(read)
    }

    /// The options of the source.
    pub(crate) fn options(&self, options: KnoxOptions) -> Result<KnoxOptions, String> {
        let options = self.names(options).map_err(|error| error.to_string())?;
        let Some(zone) = &self.time_zone else { return Ok(options) };
        let zone = zone.parse().map_err(|_| format!("`{zone}` is no zone: give one as +01:00"))?;
        Ok(options.time_zone(zone))
    }

    fn names(&self, mut options: KnoxOptions) -> Result<KnoxOptions, StoreError> {
        if let Some(table) = &self.token_table {
            options = options.token_table(table)?;
        }
        if let Some(table) = &self.owner_table {
            options = options.owner_table(table)?;
        }
        self.username.iter().try_fold(options, |options, name| options.username_column(name))
    }
}

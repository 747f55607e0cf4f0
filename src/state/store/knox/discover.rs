//! What is there: plain knox's tables or Smarter's, of which version, told by their columns.

use super::{
    KnoxOptions,
    catalogue::{self, Table},
    dialect::Dialect,
    failure::{Meaning, Refusal},
    ids::Ids,
    place::Trouble,
    schema::{Owners, Schema, Smarter},
    session::{Session, Statement},
};
use crate::value::owner::AccountId;

/// The account number of Smarter's platform.
const PLATFORM: &str = "3141-5926-5359";
/// The length of knox 5's `token_key`; 4.2 kept 8 characters.
pub(super) const TOKEN_KEY: u32 = 15;

pub(super) async fn discover(
    session: &mut Session,
    dialect: Dialect,
    options: &KnoxOptions,
) -> Result<Schema, Trouble> {
    catalogue::is_fit(session, dialect).await?;
    let tokens = find(session, dialect, options, &options.token_table).await?.ok_or_else(|| {
        missing(
            &options.token_table,
            "run Django's migrations, or name it by `KnoxOptions::token_table`",
        )
    })?;
    versions(&tokens)?;
    tokens.require(&["digest", "created", "user_id", "expiry", "token_key"])?;
    tokens.require_moments(dialect, &["created", "expiry"])?;
    let owners = owners(session, dialect, options, &tokens).await?;
    let smarter = smarter(session, dialect, options).await?;
    Ok(Schema { dialect, zone: options.zone, tokens: tokens.quoted, owners, smarter })
}

/// The users' table, and that the tokens name its rows.
pub(super) async fn owners(
    session: &mut Session,
    dialect: Dialect,
    options: &KnoxOptions,
    tokens: &Table,
) -> Result<Owners, Trouble> {
    let owners = find(session, dialect, options, &options.owner_table).await?.ok_or_else(|| {
        missing(&options.owner_table, "name the users' table by `KnoxOptions::owner_table`")
    })?;
    owners.require(&[&options.owner_id, &options.username, "is_active"])?;
    let ids = Ids::of_type(owners.type_of(&options.owner_id), dialect);
    if Ids::of_type(tokens.type_of("user_id"), dialect) != ids {
        return Err(Trouble::Schema(format!(
            "`user_id` of the table `{}` is of another kind than `{}` of `{}`, so that it names other \
             rows; name the table of AUTH_USER_MODEL by `KnoxOptions::owner_table`",
            tokens.name, options.owner_id, owners.name
        )));
    }
    Ok(Owners {
        ids,
        is_padded: owners.type_of(&options.owner_id).starts_with("character("),
        id: dialect.quote(&options.owner_id),
        username: dialect.quote(&options.username),
        has_staff: owners.has("is_staff"),
        has_superusers: owners.has("is_superuser"),
        table: owners.quoted,
    })
}

/// Older versions, each by its name and with the statement that counts its rows.
fn versions(tokens: &Table) -> Result<(), Trouble> {
    let older = |version: &str, why: &str| {
        Err(Trouble::Schema(format!(
            "its table `{}` is of django-rest-knox {version}, {why}; upgrade to knox 5 and have its \
             tokens issued anew, which are as many as this counts: SELECT count(*) FROM {}",
            tokens.name, tokens.quoted
        )))
    };
    if tokens.has("salt") || tokens.has("expires") {
        return older("3.x to 4.1", "which salted its digests");
    }
    match tokens.length_of("token_key") {
        Some(length) if length < TOKEN_KEY => older(
            "4.2",
            "which hashed other bytes than knox 5 does and kept the first 8 characters of a token, so \
             that knox 5 finds none of its rows either",
        ),
        _ => Ok(()),
    }
}

async fn smarter(
    session: &mut Session,
    dialect: Dialect,
    options: &KnoxOptions,
) -> Result<Option<Smarter>, Trouble> {
    if options.is_plain {
        return Ok(None);
    }
    let Some(keys) = find(session, dialect, options, &options.key_table).await? else {
        if options.is_smarter {
            return Err(missing(&options.key_table, "name Smarter's by `KnoxOptions::key_table`"));
        }
        return Ok(None);
    };
    keys.require(&[
        "authtoken_ptr_id",
        "created_at",
        "updated_at",
        "name",
        "description",
        "version",
        "annotations",
        "tags",
        "user_profile_id",
        "key_id",
        "last_used_at",
        "is_active",
    ])?;
    keys.require_moments(dialect, &["created_at", "updated_at", "last_used_at"])?;
    let profiles = find(session, dialect, options, &options.profile_table).await?;
    let profiles = profiles.ok_or_else(|| {
        missing(&options.profile_table, "name Smarter's by `KnoxOptions::profile_table`")
    })?;
    profiles.require(&["id", "user_id", "account_id"])?;
    let links = find(session, dialect, options, &options.link_table).await?;
    links.iter().try_for_each(|links| links.require(&["api_key_id"]))?;
    let account_ids = Ids::of_type(profiles.type_of("account_id"), dialect);
    let accounts = find(session, dialect, options, &options.account_table).await?;
    let platform = match accounts.filter(|table| table.has("account_number") && table.has("id")) {
        Some(accounts) => platform(session, dialect, &accounts, account_ids).await?,
        None => None,
    };
    Ok(Some(Smarter {
        keys: keys.quoted,
        profile_ids: Ids::of_type(profiles.type_of("id"), dialect),
        profiles: profiles.quoted,
        links: links.map(|links| links.quoted),
        account_ids,
        platform,
    }))
}

async fn platform(
    session: &mut Session,
    dialect: Dialect,
    accounts: &Table,
    ids: Ids,
) -> Result<Option<AccountId>, Trouble> {
    let sql = format!(
        "SELECT {} FROM {} AS a WHERE a.account_number = ?",
        dialect.text("a.id"),
        accounts.quoted
    );
    let sql = dialect.compile(&sql);
    let rows = session.rows(Statement { sql, values: vec![Some(PLATFORM.into())] }).await?;
    let id = rows.into_iter().flatten().flatten().next().and_then(|id| ids.told(id));
    Ok(id.map(AccountId::from))
}

/// A table, once it has answered: so that one which the role may not read is told apart from one that
/// is not there. MySQL hides the columns of the former, and Smarter's database would look like plain
/// knox's, where no key is inactive.
pub(super) async fn find(
    session: &mut Session,
    dialect: Dialect,
    options: &KnoxOptions,
    name: &str,
) -> Result<Option<Table>, Trouble> {
    let quoted = match &options.schema {
        Some(schema) if dialect == Dialect::Postgres => {
            format!("{}.{}", dialect.quote(schema), dialect.quote(name))
        }
        _ => dialect.quote(name),
    };
    let columns = catalogue::columns(session, dialect, name, &quoted).await?;
    let looked = catalogue::look(session, dialect, &quoted).await;
    let meaning = looked.as_ref().err().and_then(Refusal::of).map(|refusal| refusal.meaning);
    match (looked, meaning) {
        (Ok(()), _) => Ok(Some(Table { name: name.into(), quoted, columns })),
        (Err(_), Some(Meaning::NoSuchTable)) if columns.is_empty() => Ok(None),
        (Err(_), Some(Meaning::NoRights)) if columns.is_empty() && name == &*options.key_table => {
            Err(Trouble::Schema(format!(
                "the role may not see whether there is a table `{name}`, by which Smarter's keys are \
                 told from plain knox's; grant it SELECT on the database, or say that there is none by \
                 `KnoxOptions::insecure_assume_plain`"
            )))
        }
        // SQLite has no code of its own for it.
        (Err(_), _) if columns.is_empty() && dialect == Dialect::Sqlite => Ok(None),
        (Err(error), _) => Err(Trouble::Database(error)),
    }
}

pub(super) fn missing(table: &str, advice: &str) -> Trouble {
    Trouble::Schema(format!("there is no table `{table}`, or the role may not see it; {advice}"))
}

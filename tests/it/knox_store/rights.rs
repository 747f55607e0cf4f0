//! Roles that may do less, and pools of the user's.

use sqlx::{MySqlPool, mysql::MySqlPoolOptions};
use tower_token_auth::{Authenticator, KnoxStore, NewKey, store::KeyStore as _};

use super::{TOKEN, digest};
use crate::support::site::{Kind, Site};

async fn site(kind: Kind) -> Option<Site> {
    let site = Site::new(kind, true).await?;
    site.users(&[1]).await;
    site.account(1, "1").await;
    site.profile(1, 1, 1).await;
    site.token(&digest().to_hex(), 1, "NULL").await;
    site.key(&digest().to_hex(), 1, false).await;
    Some(site)
}

/// The name of a role or database of this site's own.
fn own_name(site: &Site) -> String {
    let at = site.url.find("site_").unwrap();
    site.url[at..].to_owned()
}

/// From where MySQL's users come: a new server has a nameless one for the second, who is preferred.
const HOSTS: [&str; 2] = ["%", "localhost"];

/// A user of the server's, who goes with this.
pub(super) struct Role<'a> {
    site: &'a Site,
    name: String,
    pub(super) url: String,
}

impl<'a> Role<'a> {
    pub(super) async fn on(site: &'a Site) -> Self {
        let name = own_name(site).replace("site_", "r_")[..24].to_owned();
        let (scheme, rest) = site.url.split_once("://").unwrap();
        let (_, place) = rest.split_once('@').unwrap();
        let url = format!("{scheme}://{name}:secret@{place}");
        let make = match site.kind {
            Kind::MySql => {
                let make = |host| format!("CREATE USER {name}@'{host}' IDENTIFIED BY 'secret'");
                HOSTS.map(make).join("; ")
            }
            _ => format!(
                "CREATE ROLE {name} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA {} TO {name}",
                own_name(site)
            ),
        };
        site.run(&make).await;
        Self { site, name, url }
    }

    pub(super) async fn grant(&self, what: &str) {
        let to = |host| match self.site.kind {
            Kind::MySql => format!("GRANT {what} TO {}@'{host}'", self.name),
            _ => format!("GRANT {what} TO {}", self.name),
        };
        self.site.run(&HOSTS.map(to).join("; ")).await;
    }

    pub(super) async fn revoke(&self, what: &str) {
        let from = |host| match self.site.kind {
            Kind::MySql => format!("REVOKE {what} FROM {}@'{host}'", self.name),
            _ => format!("REVOKE {what} FROM {}", self.name),
        };
        self.site.run(&HOSTS.map(from).join("; ")).await;
    }

    pub(super) async fn drop(self) {
        let drop = match self.site.kind {
            Kind::MySql => HOSTS.map(|host| format!("DROP USER {}@'{host}'", self.name)).join("; "),
            _ => format!("DROP OWNED BY {0}; DROP ROLE {0}", self.name),
        };
        self.site.run(&drop).await;
    }
}

/// On MySQL a table that the role may not see looks like one that is not there: Smarter's database would
/// look like plain knox's, and its inactive keys would be admitted.
///
/// Seen to fail on MariaDB by such an admission, with the catalogue alone asked.
#[tokio::test]
async fn a_role_that_may_not_see_smarter_s_keys_is_refused() {
    for kind in [Kind::Postgres, Kind::MySql] {
        let Some(site) = site(kind).await else { continue };
        let role = Role::on(&site).await;
        let message = KnoxStore::open(&role.url).await.unwrap_err().to_string();
        assert!(message.contains("knox_authtoken") || message.contains("denied"), "{message}");
        role.grant("SELECT ON knox_authtoken").await;
        role.grant("SELECT ON auth_user").await;
        let message = KnoxStore::open(&role.url).await.unwrap_err().to_string();
        let is_told = message.contains("drf_smarterauthtoken") && message.contains("SELECT");
        assert!(is_told && !message.contains("secret"), "{message}");
        if kind == Kind::MySql {
            let plain = KnoxStore::options().insecure_assume_plain();
            let store = plain.open(&role.url).await.unwrap();
            assert!(!store.is_smarter());
            store.close().await;
        }
        role.drop().await;
    }
}

#[tokio::test]
async fn a_role_that_may_only_read_authenticates() {
    for kind in [Kind::Postgres, Kind::MySql] {
        let Some(site) = site(kind).await else { continue };
        let role = Role::on(&site).await;
        for table in [
            "knox_authtoken",
            "auth_user",
            "drf_smarterauthtoken",
            "account_userprofile",
            "account_account",
            "llm_client_llmclientapikey",
        ] {
            role.grant(&format!("SELECT ON {table}")).await;
        }
        let store = KnoxStore::open(&role.url).await.unwrap();
        let found = store.find(digest()).await.unwrap().unwrap();
        assert!(!found.key().is_active());
        let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
        assert!(auth.authenticate(TOKEN).await.is_err());
        let error = auth.keys().create("1", NewKey::default()).await.unwrap_err();
        assert!(error.is_unsupported(), "{error}");
        let error = auth.keys().activate(found.id()).await.unwrap_err();
        assert!(error.is_unsupported(), "{error}");
        store.close().await;
        role.drop().await;
    }
}

#[tokio::test]
async fn a_pool_of_the_user_s_has_to_be_strict_on_mysql() {
    let Some(site) = site(Kind::MySql).await else { return };
    let loose = MySqlPoolOptions::new().after_connect(|link, _| {
        Box::pin(async move { sqlx::raw_sql("SET sql_mode = ''").execute(link).await.map(drop) })
    });
    let pool = loose.connect(&site.url).await.unwrap();
    let error = Site::options().from_mysql_pool(pool).await.unwrap_err().to_string();
    assert!(error.contains("STRICT_ALL_TABLES"), "{error}");
    let pool = MySqlPool::connect(&site.url).await.unwrap();
    let store = Site::options().from_mysql_pool(pool.clone()).await.unwrap();
    store.close().await;
    assert!(store.find(digest()).await.unwrap().is_some(), "the pool is the user's to close");
}

/// A pool of ours commits by itself, whatever the server says: otherwise a lookup would go on to read what
/// stood when the first one was made on its connection, and a revocation would never be seen.
///
/// Seen to fail without `autocommit` among what is set: the opening is refused, which looks for it.
#[tokio::test]
async fn a_pool_of_ours_commits_by_itself_on_mysql() {
    let Some(site) = site(Kind::MySql).await else { return };
    site.run("UPDATE drf_smarterauthtoken SET is_active = true").await;
    let role = Role::on(&site).await;
    for table in ["knox_authtoken", "auth_user", "drf_smarterauthtoken", "account_userprofile"] {
        role.grant(&format!("SELECT ON {table}")).await;
    }
    for table in ["account_account", "llm_client_llmclientapikey"] {
        role.grant(&format!("SELECT ON {table}")).await;
    }
    // For this role alone, as others use the server at the same time.
    let init = |user: &str| {
        format!(
            "SET GLOBAL init_connect = \
             'SET autocommit = IF(SUBSTRING_INDEX(USER(), ''@'', 1) = ''{user}'', 0, 1)'"
        )
    };
    site.run(&init(&role.name)).await;
    let store = Site::options().max_connections(1).open(&role.url).await;
    site.run("SET GLOBAL init_connect = ''").await;
    let store = store.unwrap();
    assert!(store.find(digest()).await.unwrap().unwrap().key().is_active());
    site.run("UPDATE drf_smarterauthtoken SET is_active = false").await;
    let found = store.find(digest()).await.unwrap().unwrap();
    // First, as a transaction that is left open would keep the tables from being dropped.
    store.close().await;
    role.drop().await;
    assert!(!found.key().is_active());
}

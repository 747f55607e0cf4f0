//! What a real Django changes, heard by the triggers on its tables: under a fresh TTL of an hour, so that
//! nothing else can end a cached key.

use std::time::Duration;

use serde_json::json;
use tower_token_auth::{Authenticator, Guard, KnoxStore, RejectionKind};

use crate::support::django::{Django, Issued, Place, Schema};

/// Far more than a notification takes, and far less than the fresh TTL.
const LONG: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3_600);

/// A site, a user of it, and an authenticator that hears of what changes.
struct Site {
    django: Django,
    schema: Schema,
    user: i64,
    auth: Authenticator,
    _guard: Guard,
}

impl Site {
    async fn new(schema: Schema, settings: &[(&'static str, &str)]) -> Option<Self> {
        let django = Django::with(Place::Postgres, schema, settings)?;
        let user = match schema {
            Schema::Knox => django.user("ada"),
            Schema::Smarter => django.member("ada", django.account("1234-5678-9012")).0,
        };
        let store = KnoxStore::options().install_triggers().open(&django.url).await.unwrap();
        let feed = store.feed();
        let builder = Authenticator::builder(store).feed(feed).fresh_ttl(HOUR);
        let (auth, _guard) = builder.build().unwrap();
        let site = Self { django, schema, user, auth, _guard };
        site.hears().await;
        Some(site)
    }

    async fn both() -> Vec<Self> {
        let mut both = Vec::new();
        for schema in Schema::BOTH {
            both.extend(Self::new(schema, &[]).await);
        }
        both
    }

    /// Waits until the feed is healthy; it begins with the first read.
    async fn hears(&self) {
        let healthy = async {
            while !self.auth.feed_health().is_healthy() {
                drop(self.auth.authenticate("nobody").await);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let healthy = tokio::time::timeout(LONG, healthy).await;
        assert!(healthy.is_ok(), "it never hears: {}", self.auth.feed_health());
    }

    /// A key that was admitted, and so is cached.
    async fn cached(&self) -> Issued {
        let key = self.django.issue(self.user);
        self.until(&key, None, "issued").await;
        key
    }

    /// Asks until the decision is this one; `None` is admission.
    async fn until(&self, key: &Issued, expected: Option<RejectionKind>, why: &str) {
        let decided = async {
            while self.auth.authenticate(&key.token).await.err().map(|no| no.kind()) != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let decided = tokio::time::timeout(LONG, decided).await;
        assert!(decided.is_ok(), "{:?}: {why}: it never comes to {expected:?}", self.schema);
        assert!(self.auth.feed_health().is_healthy(), "{why}: by a gap, not by a notification");
    }

    /// The table that a site's own keys stand in.
    fn tables(&self) -> &'static [&'static str] {
        match self.schema {
            Schema::Knox => &["knox_authtoken"],
            Schema::Smarter => {
                &["llm_client_llmclientapikey", "drf_smarterauthtoken", "knox_authtoken"]
            }
        }
    }
}

/// Seen to fail with the function's `pg_notify` left out.
#[tokio::test]
async fn what_django_ends_is_heard() {
    use RejectionKind::{Expired, KeyInactive, OwnerInactive, Unknown};
    for site in Site::both().await {
        let django = &site.django;
        let key = site.cached().await;
        django.delete_key(&key.digest);
        site.until(&key, Some(Unknown), "deleted by the ORM").await;

        let (one, other) = (site.cached().await, site.cached().await);
        let post = |path, key: &Issued| {
            let answer = django.request("POST", path, Some(key.authorization().as_bytes()));
            assert_eq!(answer.status.as_u16(), 204);
        };
        post("/logout/", &one);
        site.until(&one, Some(Unknown), "logout").await;
        assert!(site.auth.authenticate(&other.token).await.is_ok(), "logout is of one");
        post("/logoutall/", &other);
        site.until(&other, Some(Unknown), "logoutall").await;

        let key = site.cached().await;
        django.change_user(site.user, json!({ "is_active": false }));
        site.until(&key, Some(OwnerInactive), "the user was deactivated").await;
        django.change_user(site.user, json!({ "is_active": true }));
        site.until(&key, None, "and is active again").await;

        django.change_key(&key.digest, json!({ "expiry": "2026-01-02T03:04:05Z" }));
        site.until(&key, Some(Expired), "the expiry was moved").await;
        django.change_key(&key.digest, json!({ "expiry": null }));
        site.until(&key, None, "and taken away").await;
        if site.schema == Schema::Smarter {
            django.call_key(&key.digest, "deactivate");
            site.until(&key, Some(KeyInactive), "the key was deactivated").await;
            django.call_key(&key.digest, "toggle_active");
            site.until(&key, None, "and is active again").await;
        }

        // By raw SQL, many at once, and all of them.
        let undone = "BEGIN; UPDATE auth_user SET is_active = false; ROLLBACK";
        django.sql(&[undone]);
        site.until(&key, None, "what was undone").await;
        django.sql(&["UPDATE knox_authtoken SET expiry = now() - interval '1 hour'"]);
        site.until(&key, Some(Expired), "by raw SQL").await;
        django.issue_many(&[site.user], 100);
        let last = site.cached().await;
        for table in site.tables() {
            django.sql(&[&format!("DELETE FROM {table}")]);
        }
        site.until(&last, Some(Unknown), "more than are told one by one").await;
        let last = site.cached().await;
        django.sql(&[&format!("TRUNCATE {}", site.tables().join(", "))]);
        site.until(&last, Some(Unknown), "TRUNCATE").await;
        let last = site.cached().await;
        django.order("delete_user", json!({ "id": site.user }));
        site.until(&last, Some(Unknown), "the user was deleted").await;
    }
}

/// What Django's ORM writes by the way has nothing read again: a login, a last use, a `save()` of what is
/// there. Of a request under AUTO_REFRESH the renewal is told, which is once a minute.
///
/// Seen to fail with every column compared.
#[tokio::test]
async fn what_ends_nothing_has_nothing_read_again() {
    use tower_token_auth::store::{Heard, RevocationFeed as _};
    for site in Site::both().await {
        let django = &site.django;
        let key = django.issue(site.user);
        let store = KnoxStore::options().expect_triggers().open(&django.url).await.unwrap();
        let mut feed = store.feed();
        feed.listen().await.unwrap();
        let heard = async |feed: &mut tower_token_auth::KnoxFeed| {
            feed.probe(1).await.unwrap();
            let mut heard = Vec::new();
            loop {
                match tokio::time::timeout(LONG, feed.next()).await.unwrap().unwrap() {
                    Heard::Alive(_) => return heard,
                    other => heard.push(other),
                }
            }
        };
        django.whoami(Some(key.authorization().as_bytes()));
        django.change_user(site.user, json!({ "first_name": "Ada" }));
        django.change_user(site.user, json!({ "last_login": "2026-01-02T03:04:05Z" }));
        django.change_key(&key.digest, json!({}));
        if site.schema == Schema::Smarter {
            django.call_key(&key.digest, "accessed");
            let at = "2026-01-02T03:04:05Z";
            django.change_key(&key.digest, json!({ "last_used_at": at, "name": "other" }));
        }
        django.issue(site.user);
        assert_eq!(heard(&mut feed).await, [], "{:?}", site.schema);
        django.set_knox(json!({ "AUTO_REFRESH": true }));
        // Issued for nine hours, so that the first use renews it to ten, and the next ones do not.
        let hours = django.issue_with(site.user, json!({ "expiry": 9 * 3_600 }));
        for _ in 0..5 {
            let answer = django.whoami(Some(hours.authorization().as_bytes()));
            assert_eq!(answer.status.as_u16(), 200);
        }
        assert_eq!(heard(&mut feed).await.len(), 1, "{:?}: one renewal", site.schema);
        store.close().await;
    }
}

/// Triggers that are dropped are noticed, and all that was cached is read again; they are made anew.
///
/// Seen to fail without the comparison in `Round::heartbeat`.
#[tokio::test]
async fn dropped_triggers_are_noticed_and_made_again() {
    for site in Site::both().await {
        let key = site.cached().await;
        let drop = "DROP FUNCTION token_auth_knox1_tell_change() CASCADE";
        site.django.sql(&[drop]);
        site.django.change_user(site.user, json!({ "is_active": false }));
        let refused = async {
            while site.auth.authenticate(&key.token).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Nobody told of it, and the fresh TTL is an hour.
        tokio::time::timeout(LONG, refused).await.expect("the gap has it read again");
        site.hears().await;
        site.django.change_user(site.user, json!({ "is_active": true }));
        site.until(&key, None, "it hears again").await;
    }
}

/// Django's own migrations run over the tables as if nothing stood on them, and are heard past: back to its
/// first users, and to knox with salts and short keys, and on again.
#[tokio::test]
async fn django_s_migrations_go_through() {
    for site in Site::both().await {
        let django = &site.django;
        let mut apps = vec![("auth", "0001", "0012")];
        if site.schema == Schema::Knox {
            apps.push(("knox", "0007", "0009"));
        }
        let key = site.cached().await;
        for (app, back, on) in apps {
            if app == "knox" {
                // The older column takes no keys of today's.
                django.delete_key(&key.digest);
            }
            for to in [back, on] {
                django.order("migrate", json!({ "app": app, "to": to }));
            }
        }
        site.hears().await;
        let key = site.cached().await;
        django.change_user(site.user, json!({ "is_active": false }));
        site.until(&key, Some(RejectionKind::OwnerInactive), "behind the migrations").await;
    }
}

/// A user model of the site's own, with other ids, and a token model of its own.
#[tokio::test]
async fn another_user_model_is_heard_of() {
    for kind in ["bigint", "uuid"] {
        let settings = [("ORACLE_USER", kind), ("ORACLE_TOKEN", "people")];
        let Some(django) = Django::with(Place::Postgres, Schema::Knox, &settings) else { return };
        let user = django.order("user", json!({ "username": "ada" }));
        let options = KnoxStore::options().token_table("people_pass").unwrap();
        let options = options.owner_table("people_person").unwrap().install_triggers();
        let store = options.open(&django.url).await.unwrap();
        let feed = store.feed();
        let (auth, _guard) =
            Authenticator::builder(store).feed(feed).fresh_ttl(HOUR).build().unwrap();
        let site = Site { django, schema: Schema::Knox, user: 0, auth, _guard };
        site.hears().await;
        let key = site.django.issue(user.clone());
        site.until(&key, None, kind).await;
        site.django.change_user(user.clone(), json!({ "is_active": false }));
        site.until(&key, Some(RejectionKind::OwnerInactive), kind).await;
        site.django.change_user(user, json!({ "is_active": true }));
        site.until(&key, None, kind).await;
        site.django.delete_key(&key.digest);
        site.until(&key, Some(RejectionKind::Unknown), kind).await;
    }
}

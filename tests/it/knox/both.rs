//! One database, and on either side of it a Django with real knox, or Smarter, and a service of ours.

use std::time::Duration;

use axum::{Router, body::Body, extract::Request, http::header::AUTHORIZATION, routing::get};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tower_token_auth::{
    AuthenticatedKey, Authenticator, DigestAlgorithm, Guard, KeyUpdate, KnoxStore, OwnerUpdate,
    TokenDigest,
    knox::{self, KnoxSettings, LoginRefusal},
    testing::ManualClock,
};

use crate::support::{
    django::{Django, Place, Schema},
    http::{Answer, send},
};

/// Far more than the bound within which what Django changed holds here: a second on a server, a tenth of one
/// on SQLite.
const LONG: Duration = Duration::from_secs(6);

/// The two sides, and a user of theirs.
struct Sides {
    django: Django,
    schema: Schema,
    user: i64,
    auth: Authenticator,
    app: Router,
    _guard: Guard,
}

impl Sides {
    async fn new(place: Place, schema: Schema) -> Option<Self> {
        let django = Django::new(place, schema)?;
        let user = match schema {
            Schema::Knox => django.user("ada"),
            Schema::Smarter => django.member("ada", django.account("1234-5678-9012")).0,
        };
        let store = KnoxStore::open(&django.url).await.unwrap();
        let feed = store.feed();
        let (auth, _guard) = Authenticator::builder(store).feed(feed).build().unwrap();
        let app = app(&auth, user);
        Some(Self { django, schema, user, auth, app, _guard })
    }

    async fn ask(&self, method: &str, path: &str, token: &str) -> Answer {
        ask(&self.app, method, path, token).await
    }

    /// A token that django, or we, made; and its digest.
    async fn issue(&self, by: By) -> (String, String) {
        let token = match by {
            By::Django => self.django.issue(self.user).token,
            By::Us => issued(&self.app).await,
        };
        let digest = TokenDigest::of(DigestAlgorithm::Sha512, &token).to_hex();
        (token, digest)
    }

    fn theirs(&self, token: &str) -> (u16, String) {
        let answer = self.django.whoami(Some(format!("Token {token}").as_bytes()));
        (answer.status.as_u16(), answer.body)
    }

    /// Both say this of the token; we, as soon as we have heard of it.
    async fn both_say(&self, token: &str, said: &(u16, String), why: &str) {
        let heard = async {
            loop {
                let answer = self.ask("GET", "/whoami", token).await;
                if (answer.status.as_u16(), &answer.body) == (said.0, &said.1) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let heard = tokio::time::timeout(LONG, heard).await;
        assert!(heard.is_ok(), "{why}: we never say {said:?}");
        assert_eq!(self.theirs(token), *said, "{why}: they say");
    }

    /// Both refuse it, in the same words; here from this moment on.
    async fn both_refuse_at_once(&self, token: &str, words: &str, why: &str) {
        let answer = self.ask("GET", "/whoami", token).await;
        assert_eq!((answer.status.as_u16(), answer.body), refused(words), "{why}: we say");
        assert_eq!(self.theirs(token), refused(words), "{why}: they say");
    }
}

/// Who makes a token.
#[derive(Clone, Copy, Debug)]
enum By {
    Django,
    Us,
}

const UNKNOWN: &str = "Invalid token.";
const NO_USER: &str = "User inactive or deleted.";
const NOT_ACTIVE: &str = "Api key is not activated.";

fn admitted() -> (u16, String) {
    (200, r#"{"user":"ada"}"#.to_owned())
}

fn refused(words: &str) -> (u16, String) {
    (401, json!({ "detail": words }).to_string())
}

/// The service, in which everybody who asks logs in as this user.
fn app(auth: &Authenticator, user: i64) -> Router {
    let settings = KnoxSettings::default();
    let whoami =
        async |key: AuthenticatedKey| json!({ "user": key.owner().username() }).to_string();
    let whoami = Router::new().route("/whoami", get(whoami)).layer(settings.layer(auth.clone()));
    whoami.merge(knox::routes(auth, settings, move |_| async move { Ok::<_, LoginRefusal>(user) }))
}

async fn ask(app: &Router, method: &str, path: &str, token: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(AUTHORIZATION, format!("Token {token}"));
    send(app, request.body(Body::empty()).unwrap()).await
}

async fn issued(app: &Router) -> String {
    let answer = ask(app, "POST", "/login/", "").await;
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    body["token"].as_str().unwrap_or_else(|| panic!("no token: {body}")).to_owned()
}

/// What one side makes the other admits; and what we write the ORM reads, saves and deletes.
async fn good_on_both(sides: &Sides) {
    for by in [By::Django, By::Us] {
        let (token, digest) = sides.issue(by).await;
        sides.both_say(&token, &admitted(), "it is new").await;
        // Every column as Django has it, whoever wrote it.
        let row = sides.django.key(&digest).unwrap();
        assert_eq!(row["token_key"], token[..15]);
        assert_eq!(row["user_id"], sides.user);
        let expiry =
            |row: &Value| row["expiry"].as_str().map(|at| at.parse::<DateTime<Utc>>().unwrap());
        // Smarter's own keys do not expire unless it is asked for.
        if !(sides.schema == Schema::Smarter && matches!(by, By::Django)) {
            let created: DateTime<Utc> = row["created"].as_str().unwrap().parse().unwrap();
            let lives = expiry(&row).unwrap() - created;
            assert!((lives - TimeDelta::hours(10)).abs() < TimeDelta::seconds(5), "{lives}");
        }
        // Saved whole, as an object that the ORM read.
        let later = "2040-01-02T03:04:05.000006Z";
        let mut fields = json!({ "expiry": later });
        if sides.schema == Schema::Smarter {
            fields["description"] = json!("of Django");
        }
        sides.django.change_key(&digest, fields);
        let row = sides.django.key(&digest).unwrap();
        assert_eq!(expiry(&row), Some(later.parse().unwrap()));
        let ours = sides.auth.keys().find_by_token(&token).await.unwrap();
        assert_eq!(ours.key().expires_at(), Some(later.parse().unwrap()));
        if sides.schema == Schema::Smarter {
            assert_eq!(ours.key().description(), Some("of Django"));
            assert_eq!(ours.key().name(), row["name"]);
        }
        sides.both_say(&token, &admitted(), "it was saved").await;
        sides.django.delete_key(&digest);
        sides.both_say(&token, &refused(UNKNOWN), "it was deleted").await;
    }
}

/// What ends a token on one side ends it on the other, and in the same words.
async fn ended_on_both(sides: &Sides) {
    for by in [By::Django, By::Us] {
        by_django(sides, by).await;
        by_us(sides, by).await;
    }
}

async fn by_django(sides: &Sides, by: By) {
    let Sides { django, user, .. } = sides;
    let (token, digest) = sides.issue(by).await;
    let authorization = format!("Token {token}");
    let (other, _) = sides.issue(by).await;
    for token in [&token, &other] {
        sides.both_say(token, &admitted(), "it is new").await;
    }
    django.change_user(*user, json!({ "is_active": false }));
    sides.both_say(&token, &refused(NO_USER), "Django deactivated the user").await;
    django.change_user(*user, json!({ "is_active": true }));
    sides.both_say(&token, &admitted(), "Django activated the user").await;
    if sides.schema == Schema::Smarter {
        django.call_key(&digest, "deactivate");
        sides.both_say(&token, &refused(NOT_ACTIVE), "Smarter deactivated the key").await;
        django.call_key(&digest, "activate");
        sides.both_say(&token, &admitted(), "Smarter activated the key").await;
    }
    let posted = django.request("POST", "/logout", Some(authorization.as_bytes()));
    assert_eq!(posted.status, 204);
    sides.both_say(&token, &refused(UNKNOWN), "knox logged it out").await;
    sides.both_say(&other, &admitted(), "another was logged out").await;

    let (expired, digest) = sides.issue(by).await;
    sides.both_say(&expired, &admitted(), "it is new").await;
    django.change_key(&digest, json!({ "expiry": "2020-01-01T00:00:00Z" }));
    sides.both_say(&expired, &refused(UNKNOWN), "Django let it expire").await;

    let (more, _) = sides.issue(by).await;
    sides.both_say(&more, &admitted(), "it is new").await;
    let posted = django.request("POST", "/logoutall", Some(format!("Token {more}").as_bytes()));
    assert_eq!(posted.status, 204);
    for token in [&more, &other] {
        sides.both_say(token, &refused(UNKNOWN), "knox logged all out").await;
    }
}

async fn by_us(sides: &Sides, by: By) {
    let Sides { django, user, auth, .. } = sides;
    let keys = auth.keys();
    let (token, digest) = sides.issue(by).await;
    let (other, _) = sides.issue(by).await;
    for token in [&token, &other] {
        sides.both_say(token, &admitted(), "it is new").await;
    }
    let id = keys.find_by_token(&token).await.unwrap().id();
    let inactive = keys.update_owner(user.to_string(), OwnerUpdate::default().active(false)).await;
    assert!(inactive.unwrap_err().is_unsupported(), "users are Django's");
    if sides.schema == Schema::Smarter {
        keys.deactivate(id).await.unwrap();
        sides.both_refuse_at_once(&token, NOT_ACTIVE, "we deactivated it").await;
        keys.activate(id).await.unwrap();
        sides.both_say(&token, &admitted(), "we activated it").await;
    } else {
        assert!(keys.deactivate(id).await.unwrap_err().is_unsupported());
    }
    let later: DateTime<Utc> = "2040-01-02T03:04:05.000006Z".parse().unwrap();
    keys.update(id, KeyUpdate::default().expires_at(Some(later))).await.unwrap();
    let row = django.key(&digest).unwrap();
    assert_eq!(row["expiry"].as_str().unwrap().parse(), Ok(later), "we let it expire later");
    sides.both_say(&token, &admitted(), "we let it expire later").await;
    assert_eq!(sides.ask("POST", "/logout/", &token).await.status, 204);
    sides.both_refuse_at_once(&token, UNKNOWN, "we logged it out").await;
    sides.both_say(&other, &admitted(), "another was logged out").await;

    let (more, _) = sides.issue(by).await;
    sides.both_say(&more, &admitted(), "it is new").await;
    assert_eq!(sides.ask("POST", "/logoutall/", &more).await.status, 204);
    for token in [&more, &other] {
        sides.both_refuse_at_once(token, UNKNOWN, "we logged all out").await;
    }
    // Nothing of them is left, in any table.
    assert!(django.keys().is_empty());
    assert_eq!(django.sql(&["SELECT count(*) FROM knox_authtoken"]), [[json!(0)]]);
}

/// Django's `save()` writes every column of an object as it was read. What we did to the row meanwhile is
/// undone by it, and a row that we deleted is there again: on both sides, as there is one database.
async fn undone_by_a_stale_object(sides: &Sides) {
    let (token, digest) = sides.issue(By::Us).await;
    let held = sides.django.load(&digest);
    if sides.schema == Schema::Smarter {
        let id = sides.auth.keys().find_by_token(&token).await.unwrap().id();
        sides.auth.keys().deactivate(id).await.unwrap();
        sides.both_refuse_at_once(&token, NOT_ACTIVE, "we deactivated it").await;
        sides.django.save(held, json!({}));
        sides.both_say(&token, &admitted(), "a stale object was saved").await;
    }
    assert_eq!(sides.ask("POST", "/logout/", &token).await.status, 204);
    sides.both_refuse_at_once(&token, UNKNOWN, "we logged it out").await;
    sides.django.save(held, json!({}));
    // A token that was looked for in vain is not looked for again for a while.
    sides.auth.flush();
    sides.both_say(&token, &admitted(), "a stale object was saved").await;
    sides.django.delete_key(&digest);
    sides.both_say(&token, &refused(UNKNOWN), "Django deleted it").await;
}

/// Each by its own clock, and both of them stand.
async fn expired_on_both(sides: &Sides) {
    let Sides { django, user, .. } = sides;
    let now: DateTime<Utc> = "2030-01-01T12:00:00Z".parse().unwrap();
    let clock = ManualClock::at(now);
    let store = KnoxStore::open(&django.url).await.unwrap();
    let (auth, _guard) = Authenticator::builder(store).clock(clock.clone()).build().unwrap();
    let app = app(&auth, *user);
    django.stop_clock(now);
    let tokens = [django.issue_with(*user, json!({ "expiry": 36_000 })).token, issued(&app).await];
    let hours = TimeDelta::hours(10);
    // To the very moment it is good, and no microsecond longer.
    for (later, said) in [
        (TimeDelta::zero(), admitted()),
        (hours, admitted()),
        (hours + TimeDelta::microseconds(1), refused(UNKNOWN)),
    ] {
        django.stop_clock(now + later);
        clock.step_wall(now + later - clock.wall());
        for token in &tokens {
            let answer = ask(&app, "GET", "/whoami", token).await;
            assert_eq!((answer.status.as_u16(), answer.body), said, "we, {later} later");
            let answer = django.whoami(Some(format!("Token {token}").as_bytes()));
            assert_eq!((answer.status.as_u16(), answer.body), said, "they, {later} later");
        }
    }
}

/// All of it on one site, as each takes a second or two to be made: every check in full, always.
///
/// Seen to fail without the feed, and on Smarter's tables with `logoutall/` deactivating.
async fn hold(place: Place, schema: Schema) {
    let Some(sides) = Sides::new(place, schema).await else { return };
    good_on_both(&sides).await;
    ended_on_both(&sides).await;
    undone_by_a_stale_object(&sides).await;
    // The last, as the clocks stand from then on.
    expired_on_both(&sides).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn knox_on_sqlite() {
    hold(Place::Sqlite, Schema::Knox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn knox_on_postgres() {
    hold(Place::Postgres, Schema::Knox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn knox_on_mariadb() {
    hold(Place::MariaDb, Schema::Knox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smarter_on_sqlite() {
    hold(Place::Sqlite, Schema::Smarter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smarter_on_postgres() {
    hold(Place::Postgres, Schema::Smarter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smarter_on_mariadb() {
    hold(Place::MariaDb, Schema::Smarter).await;
}

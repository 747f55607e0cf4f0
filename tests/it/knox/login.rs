//! knox's views and ours, led through the same visits by stopped clocks.
//!
//! Compared are status, challenge, `Content-Type`, `Allow` and body. Not the rest: knox has `Vary: Accept`, as it
//! can answer in HTML, and we have `Cache-Control: no-store`. Nor `OPTIONS`, to which the framework tells what it
//! can parse and render, and we no more than what is allowed.

use axum::{Router, body::Body, extract::Request, http::header::AUTHORIZATION, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, FixedOffset, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use tower_token_auth::{
    AuthenticatedKey, Authenticator, KnoxStore, Owner,
    knox::{self, KnoxSettings, LoginRefusal},
    testing::ManualClock,
};

use crate::support::{
    django::{Django, Place, Schema},
    http::{Answer, send},
    site::{Kind, Site},
};

const WHOLE: &str = "2030-01-01T12:00:00Z";
const FRACTION: &str = "2030-01-01T12:00:00.012300Z";

/// Who answers.
enum Side<'a> {
    Knox(&'a Django),
    Ours(&'a Router),
}

impl Side<'_> {
    /// Asks; without a credential if it is empty.
    async fn ask(&self, method: &str, path: &str, authorization: &str) -> Answer {
        let sent = Some(authorization).filter(|sent| !sent.is_empty());
        match self {
            Self::Knox(django) => django.request(method, path, sent.map(str::as_bytes)),
            Self::Ours(app) => {
                let mut request = Request::builder().method(method).uri(path);
                if let Some(sent) = sent {
                    request = request.header(AUTHORIZATION, sent);
                }
                send(*app, request.body(Body::empty()).unwrap()).await
            }
        }
    }
}

/// What has to agree of an answer; a token in it is shown by its form.
fn told(answer: &Answer) -> String {
    let header = |name| answer.header(name).unwrap_or("-");
    let mut body = answer.body.clone();
    if let Some(token) = token_in(answer) {
        let (prefix, random) = token.split_at(token.len() - 64);
        assert!(random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        body = body.replace(&token, &format!("{prefix}…"));
    }
    format!(
        "{} {} {} {} {body}",
        answer.status.as_u16(),
        header("www-authenticate"),
        header("content-type"),
        header("allow"),
    )
}

fn token_in(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    body["token"].as_str().map(Into::into)
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// Everything that can be asked of the three views, in an order in which each answer depends on those
/// before it.
async fn visit(side: &Side<'_>, scheme: &str) -> Vec<String> {
    let (ada, bob) = (basic("ada", "of ada"), basic("bob", "of bob"));
    let mut said = Vec::new();
    let mut log_in = async |who: &str, path| {
        let answer = side.ask("POST", path, who).await;
        said.push(format!("{path}: {}", told(&answer)));
        let token = token_in(&answer).unwrap_or_else(|| "none".to_owned());
        format!("{scheme} {token}")
    };
    let first = log_in(&ada, "/login/").await;
    let second = log_in(&ada, "/login").await;
    let third = log_in(&ada, "/login/").await;
    let of_bob = log_in(&bob, "/login/").await;
    let wrong = basic("ada", "of bob");
    let asked = [
        ("POST", "/login/", ""),
        ("POST", "/login/", &wrong),
        ("POST", "/login/", &first),
        ("GET", "/login/", ""),
        ("GET", "/login/", &ada),
        ("PUT", "/login", &ada),
        ("DELETE", "/login/", &ada),
        ("PATCH", "/login/", &wrong),
        ("GET", "/logout/", ""),
        ("GET", "/logout/", &first),
        ("PUT", "/logoutall/", &first),
        ("POST", "/logout/", ""),
        ("POST", "/logoutall", &ada),
        ("POST", "/logout", scheme),
        ("POST", "/logout/", "Token a b"),
        ("POST", "/logoutall/", "Token unknown"),
        ("GET", "/whoami", &first),
        ("GET", "/whoami", &second),
        ("POST", "/logout/", &second),
        ("POST", "/logout/", &second),
        ("GET", "/whoami", &second),
        ("GET", "/whoami", &third),
        ("POST", "/logoutall/", &third),
        ("POST", "/logoutall/", &first),
        ("GET", "/whoami", &first),
        ("GET", "/whoami", &third),
        ("GET", "/whoami", &of_bob),
        ("POST", "/logout", &of_bob),
    ];
    for (method, path, authorization) in asked {
        let answer = side.ask(method, path, authorization).await;
        // Every view of the framework's names its own methods; this one is not knox's.
        let told = told(&answer);
        let told = if path == "/whoami" { answer.body } else { told };
        said.push(format!("{method} {path}: {told}"));
    }
    said
}

/// Ours, over the site's database, by a clock that stands.
async fn ours(
    django: &Django,
    settings: &KnoxSettings,
    now: &str,
    users: &[(i64, &str)],
) -> Router {
    let store = KnoxStore::open(&django.url).await.unwrap();
    let builder = Authenticator::builder(store).clock(ManualClock::at(now.parse().unwrap()));
    let (auth, _guard) = settings.apply_to(builder).build().unwrap();
    let known = users.iter().map(|(id, name)| (basic(name, &format!("of {name}")), *id));
    let known: Vec<(String, i64)> = known.collect();
    let check = move |request: Request| {
        let sent = request.headers().get(AUTHORIZATION);
        assert!(sent.is_none_or(axum::http::HeaderValue::is_sensitive));
        let sent = sent.map(|value| value.to_str().unwrap());
        let found = known.iter().find(|(known, _)| Some(known.as_str()) == sent);
        let refusal = match sent {
            Some(sent) if sent.starts_with("Basic ") => {
                LoginRefusal::basic().saying("Invalid username/password.")
            }
            _ => LoginRefusal::basic(),
        };
        let found = found.map(|(_, id)| *id).ok_or(refusal);
        async move { found }
    };
    let whoami =
        async |key: AuthenticatedKey| json!({ "user": key.owner().username() }).to_string();
    let whoami = Router::new().route("/whoami", get(whoami)).layer(settings.layer(auth.clone()));
    whoami.merge(knox::routes(&auth, settings.clone(), check))
}

/// Whether a visit to each ends alike, by these settings.
async fn agree(
    django: &Django,
    users: &[(i64, &str)],
    knox: Value,
    settings: KnoxSettings,
    now: &str,
) {
    let scheme = knox["AUTH_HEADER_PREFIX"].as_str().unwrap_or("Token").to_owned();
    django.stop_clock(now.parse().unwrap());
    django.set_knox(knox.clone());
    let theirs = visit(&Side::Knox(django), &scheme).await;
    django.sql(&["DELETE FROM knox_authtoken"]);
    let app = ours(django, &settings, now, users).await;
    let said = visit(&Side::Ours(&app), &scheme).await;
    django.sql(&["DELETE FROM knox_authtoken"]);
    assert_eq!(theirs, said, "{knox}");
}

/// A plain site with two users, whose passwords are `of` and their names.
fn site(
    place: Place,
    settings: &[(&'static str, &str)],
) -> Option<(Django, [(i64, &'static str); 2])> {
    let django = Django::with(place, Schema::Knox, settings)?;
    let users = ["ada", "bob"]
        .map(|name| (django.user_with(name, json!({ "password": format!("of {name}") })), name));
    Some((django, users))
}

/// Seen to fail with the members of a login's answer in another order, the fraction always shown, the
/// method judged before the credential, and the password not marked sensitive.
#[tokio::test(flavor = "multi_thread")]
async fn the_views_answer_as_knox_by_every_setting() {
    let Some((django, users)) = site(Place::Sqlite, &[]) else { return };
    let ours = KnoxSettings::default;
    let by_day = |at: DateTime<Utc>| at.format("%d.%m.%Y %H:%M").to_string();
    let user = |owner: &Owner| json!({ "username": owner.username() });
    let seconds = |seconds: f64| std::time::Duration::from_secs_f64(seconds);
    let serializer = "knox.serializers.UserSerializer";
    let table = [
        (json!({}), ours(), WHOLE),
        (json!({}), ours(), FRACTION),
        (json!({ "TOKEN_TTL": 90.25 }), ours().token_ttl(seconds(90.25)), WHOLE),
        (json!({ "TOKEN_TTL": 0.987_7 }), ours().token_ttl(seconds(0.987_7)), FRACTION),
        (json!({ "TOKEN_TTL": null }), ours().token_ttl(None), WHOLE),
        (json!({ "TOKEN_PREFIX": "acme_" }), ours().token_prefix("acme_").unwrap(), WHOLE),
        (json!({ "USER_SERIALIZER": serializer }), ours().user_serializer(user), WHOLE),
        (
            json!({ "EXPIRY_DATETIME_FORMAT": "%d.%m.%Y %H:%M" }),
            ours().expiry_datetime_format(by_day),
            FRACTION,
        ),
        (
            json!({ "EXPIRY_DATETIME_FORMAT": "%d.%m.%Y %H:%M", "TOKEN_TTL": null }),
            ours().expiry_datetime_format(by_day).token_ttl(None),
            WHOLE,
        ),
        (json!({ "TOKEN_LIMIT_PER_USER": 0 }), ours().token_limit_per_user(0), WHOLE),
        (json!({ "TOKEN_LIMIT_PER_USER": 2 }), ours().token_limit_per_user(2), WHOLE),
        (
            json!({ "TOKEN_LIMIT_PER_USER": 1, "TOKEN_TTL": null }),
            ours().token_limit_per_user(1).token_ttl(None),
            WHOLE,
        ),
        (
            json!({ "AUTH_HEADER_PREFIX": "Bearer" }),
            ours().auth_header_prefix("Bearer").unwrap(),
            WHOLE,
        ),
        (
            json!({
                "AUTH_HEADER_PREFIX": "X-Key", "TOKEN_PREFIX": "0123456789", "TOKEN_LIMIT_PER_USER": 3,
                "USER_SERIALIZER": serializer,
            }),
            ours()
                .auth_header_prefix("X-Key")
                .and_then(|ours| ours.token_prefix("0123456789"))
                .unwrap()
                .token_limit_per_user(3)
                .user_serializer(user),
            FRACTION,
        ),
    ];
    for (knox, settings, now) in table {
        agree(&django, &users, knox, settings, now).await;
    }
}

/// Each of them keeps and compares times in its own way.
#[tokio::test(flavor = "multi_thread")]
async fn the_views_answer_as_knox_on_the_servers() {
    for place in [Place::Postgres, Place::MariaDb] {
        let Some((django, users)) = site(place, &[]) else { continue };
        let limit = KnoxSettings::default().token_limit_per_user(2);
        agree(&django, &users, json!({ "TOKEN_LIMIT_PER_USER": 2 }), limit, FRACTION).await;
    }
}

/// What JSON could have said in several ways.
///
/// Seen to fail with the line separator left as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_s_name_is_told_to_the_byte() {
    let Some(django) = Django::new(Place::Sqlite, Schema::Knox) else { return };
    let name = "a\"\\/é\u{1f511}\u{7f}\u{2028}\u{2029}\t\u{8}\u{1f}<&>";
    let id = django.user_with(name, json!({ "password": format!("of {name}") }));
    let knox = json!({ "USER_SERIALIZER": "knox.serializers.UserSerializer" });
    django.stop_clock(WHOLE.parse().unwrap());
    django.set_knox(knox);
    let user = |owner: &Owner| json!({ "username": owner.username() });
    let settings = KnoxSettings::default().user_serializer(user);
    let app = ours(&django, &settings, WHOLE, &[(id, name)]).await;
    let mut said = Vec::new();
    for side in [Side::Knox(&django), Side::Ours(&app)] {
        let answer = side.ask("POST", "/login/", &basic(name, &format!("of {name}"))).await;
        assert_eq!(answer.status, 200);
        said.push(told(&answer));
    }
    assert_eq!(said[0], said[1]);
}

/// DRF tells times by the site's clock on the wall.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_with_a_time_zone_tells_its_offset() {
    let Some((django, users)) = site(Place::Sqlite, &[("ORACLE_TIME_ZONE", "Asia/Kolkata")]) else {
        return;
    };
    let zone = FixedOffset::east_opt(19_800).unwrap();
    let settings = KnoxSettings::default().expiry_datetime_format(move |at| {
        let fraction = if at.timestamp_subsec_micros() == 0 {
            SecondsFormat::Secs
        } else {
            SecondsFormat::Micros
        };
        at.with_timezone(&zone).to_rfc3339_opts(fraction, false)
    });
    for now in [WHOLE, FRACTION] {
        agree(&django, &users, json!({}), settings.clone(), now).await;
    }
}

/// What counts for the limit: the tokens that expire later than now, or never; inactive users can't log in.
///
/// Seen to fail with `expiry >= now` counted, and with NULL not counted.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_counts_what_knox_counts() {
    let now: DateTime<Utc> = WHOLE.parse().unwrap();
    for place in Place::ALL {
        let Some((django, users)) = site(place, &[]) else { continue };
        let at = |micros| (now + TimeDelta::microseconds(micros)).to_rfc3339();
        let expiries = [json!(at(-1)), json!(at(0)), json!(at(1)), json!(null)];
        let planted: Vec<String> = (0..)
            .zip(expiries)
            .map(|(n, expiry)| {
                let token = format!("planted {n}");
                django.plant(users[0].0, &token, json!({ "expiry": expiry })).digest
            })
            .collect();
        django.stop_clock(now);
        django.set_knox(json!({ "TOKEN_LIMIT_PER_USER": 3 }));
        let settings = KnoxSettings::default().token_limit_per_user(3);
        let app = ours(&django, &settings, WHOLE, &users).await;
        for side in [Side::Knox(&django), Side::Ours(&app)] {
            for status in [200, 403] {
                let answer = side.ask("POST", "/login/", &basic("ada", "of ada")).await;
                assert_eq!(answer.status, status, "{place:?}: {}", answer.body);
            }
            for key in django.keys() {
                let digest = key["digest"].as_str().unwrap();
                if !planted.iter().any(|planted| planted == digest) {
                    django.delete_key(digest);
                }
            }
        }
    }
}

/// A key that somebody else has ended, of which nobody has told us, is over all the same once its client
/// has logged out. Time stands, and there is no feed.
///
/// Seen to fail without the revocation behind a logout.
#[tokio::test(flavor = "multi_thread")]
async fn a_logout_of_what_is_gone_holds() {
    let Some((django, users)) = site(Place::Sqlite, &[]) else { return };
    let app = ours(&django, &KnoxSettings::default(), WHOLE, &users).await;
    let side = Side::Ours(&app);
    let log_in = async || {
        let answer = side.ask("POST", "/login/", &basic("ada", "of ada")).await;
        format!("Token {}", token_in(&answer).unwrap())
    };
    for path in ["/logout/", "/logoutall/"] {
        let tokens = [log_in().await, log_in().await];
        for token in &tokens {
            assert_eq!(side.ask("GET", "/whoami", token).await.status, 200);
        }
        django.sql(&["DELETE FROM knox_authtoken"]);
        for token in &tokens {
            assert_eq!(side.ask("GET", "/whoami", token).await.status, 200, "nobody has told us");
        }
        assert_eq!(side.ask("POST", path, &tokens[0]).await.status, 204);
        assert_eq!(side.ask("GET", "/whoami", &tokens[0]).await.status, 401);
        let other = side.ask("GET", "/whoami", &tokens[1]).await;
        assert_eq!(other.status, if path == "/logout/" { 200 } else { 401 });
    }
}

/// A site on the framework's own classes asks for nothing, and refuses with 403.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_the_framework_s() {
    let classes = [("ORACLE_LOGIN", "Session,Basic")];
    let Some((django, users)) = site(Place::Sqlite, &classes) else { return };
    let store = KnoxStore::open(&django.url).await.unwrap();
    let (auth, _guard) = Authenticator::builder(store).build().unwrap();
    let check = async |_: Request| Err::<i64, _>(LoginRefusal::forbidden());
    let app = knox::routes(&auth, KnoxSettings::default(), check);
    for method in ["POST", "GET"] {
        let [theirs, ours] = [Side::Knox(&django), Side::Ours(&app)]
            .map(|side| async move { told(&side.ask(method, "/login/", "").await) });
        assert_eq!(theirs.await, ours.await);
    }
    // Whom the check lets in, and the rule does not: no key, and words of the framework's.
    let id = users[0].0;
    django.change_user(id, json!({ "is_active": false }));
    for id in [id, 4_711] {
        let app = knox::routes(&auth, KnoxSettings::default(), move |_| async move {
            Ok::<_, LoginRefusal>(id)
        });
        let answer = Side::Ours(&app).ask("POST", "/login/", "").await;
        assert_eq!(answer.body, r#"{"detail":"User inactive or deleted."}"#);
        assert_eq!(answer.status, 403);
    }
    assert!(django.keys().is_empty());
}

/// Whoever is only logged in is not told what the store says of its own trouble.
///
/// Seen to fail with the words of the error.
#[tokio::test]
async fn a_store_s_words_are_not_for_clients() {
    // On Smarter's tables, a user without a profile can hold no key.
    let site = Site::new(Kind::Sqlite, true).await.unwrap();
    site.users(&[1]).await;
    let (auth, _guard) = Authenticator::builder(site.store().await).build().unwrap();
    let check = async |_: Request| Ok::<_, LoginRefusal>(1);
    let app = knox::routes(&auth, KnoxSettings::default(), check);
    let answer = Side::Ours(&app).ask("POST", "/login/", "").await;
    assert_eq!(answer.body, r#"{"detail":"A server error occurred."}"#);
    assert_eq!(answer.status.as_u16(), 500);
    site.run("ALTER TABLE drf_smarterauthtoken RENAME TO gone").await;
    let answer = Side::Ours(&app).ask("POST", "/login/", "").await;
    assert_eq!(answer.body, r#"{"detail":"Service temporarily unavailable, try again later."}"#);
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
}

//! Real knox behind gunicorn, and ours behind hyper, asked the same over real connections.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Router, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use futures_util::{StreamExt as _, future::join, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_token_auth::{
    AuthenticatedKey, Authenticator, DigestAlgorithm, ImportedKey, MemoryStore, NewKey, Owner,
    TokenAuthLayer, responder::Knox, store::KeyRepository,
};

use super::values::{FIXED, Fields, values};
use crate::support::{
    django::{Django, Place, Schema},
    http::Answer,
    raw, rounds,
};

/// Where the two answer differently, and why that is right; of each it is asserted that it happens.
const EXCEPTIONS: [Exception; 3] = [
    Exception {
        why: "a token that is no UTF-8 makes knox fail; DRF has words for it, and we use them",
        holds: |fields, knox, ours| {
            let is_text = |field: &Vec<u8>| str::from_utf8(field).is_ok();
            let words = r#"{"detail":"Invalid token header. Token string should not contain invalid characters."}"#;
            !fields.iter().all(is_text)
                && knox.status == 500
                && (ours.status.as_u16(), &*ours.body) == (401, words)
        },
    },
    Exception {
        why: "a control character is refused by each front server, in words of its own",
        holds: |fields, knox, ours| {
            let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
            fields.iter().flatten().any(is_control) && (knox.status, ours.status) == (BAD, BAD)
        },
    },
    Exception {
        why: "gunicorn takes no field of more than 8,190 bytes, its name included; hyper does",
        holds: |fields, knox, ours| {
            let is_long = |field: &Vec<u8>| "Authorization: \r\n".len() + field.len() > 8_190;
            fields.iter().any(is_long)
                && knox.status == 431
                && (ours.status.as_u16(), &*ours.body) == (401, r#"{"detail":"Invalid token."}"#)
        },
    },
];
const BAD: http::StatusCode = http::StatusCode::BAD_REQUEST;

struct Exception {
    why: &'static str,
    /// Whether what was sent, and what knox and we answered, is a case of it.
    holds: fn(&Fields, &Answer, &Answer) -> bool,
}

/// What has to agree.
fn told(answer: &Answer) -> (u16, Option<&str>, Option<&str>, &str) {
    let header = |name| answer.header(name);
    (answer.status.as_u16(), header("www-authenticate"), header("content-type"), &answer.body)
}

/// A site with a key for each way in which a whole token is judged; and the tokens.
fn site(place: Place, schema: Schema) -> Option<(Django, Vec<String>)> {
    let django = Django::new(place, schema)?;
    let account = (schema == Schema::Smarter).then(|| django.account("1234-5678-9012"));
    let user = |name| match account {
        Some(account) => django.member(name, account).0,
        None => django.user(name),
    };
    let [alice, old, gone] = ["alice", "old", "gone"].map(user);
    let none = || json!({});
    let mut keys = vec![
        django.issue(alice),
        django.issue_with(alice, json!({ "expiry": null })),
        django.issue_with(alice, json!({ "prefix": "acme_" })),
        django.issue_with(old, json!({ "expiry": -3600 })),
        django.issue(gone),
        django.issue_with(gone, json!({ "expiry": -3600 })),
        django.plant(alice, "tiny", none()),
        django.plant(alice, "tökén", none()),
    ];
    if schema == Schema::Smarter {
        let inactive = |user| django.issue_with(user, json!({ "is_active": false }));
        keys.extend([alice, gone].map(inactive));
        keys.push(django.issue_with(alice, json!({ "is_active": false, "expiry": -3600 })));
    }
    django.change_user(gone, json!({ "is_active": false }));
    let tokens = keys.into_iter().map(|key| key.token).chain(["unknown".to_owned()]);
    Some((django, tokens.collect()))
}

/// A store with the site's keys: the one place that says which.
async fn store(django: &Django) -> impl KeyRepository + use<> {
    let store = MemoryStore::with_algorithm(DigestAlgorithm::Sha512);
    let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for key in django.keys() {
        let user = django.order("user_row", json!({ "id": key["user_id"] }));
        let owner = Owner::new(key["user_id"].to_string())
            .with_username(text(&user["username"]))
            .with_active(user["is_active"] == true);
        let new = match key["expiry"].as_str() {
            Some(expiry) => NewKey::default().expires_at(expiry.parse().unwrap()),
            None => NewKey::default(),
        };
        // knox's own keys have no such flag.
        let new = new.active(key["is_active"] != false);
        let imported = ImportedKey::new(text(&key["digest"]), owner).like(new);
        assert!(auth.keys().import(imported).await.unwrap().is_new);
    }
    store
}

/// Serves what knox's site serves; gives the port.
async fn serve(store: impl KeyRepository, scheme: &str) -> u16 {
    let (auth, _guard) = Authenticator::builder(store).build().unwrap();
    let layer = TokenAuthLayer::new(auth).schemes([scheme]).unwrap().responder(Knox);
    let app = Router::new().route("/whoami", get(whoami)).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

async fn whoami(key: AuthenticatedKey) -> impl IntoResponse {
    let user = json!({ "user": key.owner().username() });
    ([(CONTENT_TYPE, "application/json")], user.to_string())
}

/// Sends every value to both, and panics where they differ and no exception holds.
async fn compare(knox: u16, ours: u16, sent: &[(&'static str, Fields)]) -> Seen {
    let ask = |(_, fields): &'_ (&str, Fields)| {
        let fields = fields.clone();
        async move { join(raw::get(knox, "/whoami", &fields), raw::get(ours, "/whoami", &fields)).await }
    };
    // The fixed ones are first, and among them each expired token, whose row knox deletes when it is
    // first asked for it: one at a time, as two that delete on SQLite can make each other fail.
    let drawn = sent.iter().position(|(way, _)| *way != FIXED).unwrap_or(sent.len());
    let (fixed, drawn) = sent.split_at(drawn);
    let mut answers: Vec<_> = stream::iter(fixed).map(ask).buffered(1).collect().await;
    answers.extend(stream::iter(drawn).map(ask).buffered(2).collect::<Vec<_>>().await);
    let mut seen = BTreeMap::new();
    let mut complaints = Vec::new();
    for ((way, fields), (knox, ours)) in sent.iter().zip(&answers) {
        let exception = EXCEPTIONS.iter().find(|exception| (exception.holds)(fields, knox, ours));
        let seen_as = match exception {
            _ if told(knox) == told(ours) => format!("{} {}", knox.status.as_u16(), knox.body),
            Some(exception) => exception.why.to_owned(),
            None => {
                // In the clear, as every byte may matter: the tokens went with their site.
                let shown: Vec<_> =
                    fields.iter().map(|field| field.escape_ascii().to_string()).collect();
                complaints.push(format!(
                    "{way}: {shown:?}\n  knox {:?}\n  ours {:?}",
                    told(knox),
                    told(ours)
                ));
                continue;
            }
        };
        *seen.entry(seen_as).or_default() += 1;
    }
    let count = complaints.len();
    assert!(count == 0, "{count} of {}:\n{}", sent.len(), complaints[..count.min(20)].join("\n"));
    Seen(seen)
}

/// How often the two said the same, in knox's words, and how often each exception was met.
struct Seen(BTreeMap<String, usize>);

impl Seen {
    /// Of everything that can be said, something was.
    fn is_all(&self, schema: Schema) {
        let mut refusals = vec![
            "Authentication credentials were not provided.",
            "Invalid token header. No credentials provided.",
            "Invalid token header. Token string should not contain spaces.",
            "Invalid token.",
            "User inactive or deleted.",
        ];
        if schema == Schema::Smarter {
            refusals.push("Api key is not activated.");
        }
        let refusals = refusals.iter().map(|words| format!("401 {{\"detail\":\"{words}\"}}"));
        let admitted = "200 {\"user\":\"alice\"}".to_owned();
        let exceptions = EXCEPTIONS.map(|exception| exception.why.to_owned());
        let all = refusals.chain([admitted]).chain(exceptions);
        assert_eq!(self.0.keys().cloned().collect::<BTreeSet<_>>(), all.collect());
    }
}

/// Whether the two agree where knox has its tables in this place.
async fn agree(place: Place, schema: Schema, seed: u64, share: usize) {
    let Some((django, tokens)) = site(place, schema) else { return };
    let ours = serve(store(&django).await, "Token").await;
    let sent = values(seed, rounds(share, 10_000), "Token", &tokens);
    compare(django.serve(), ours, &sent).await.is_all(schema);
}

/// Seen to fail with the words for a joined field left out of `Knox` (knox's depend on where the comma
/// comes to stand), with the byte 0xa0 taken for a blank, with UTF-8 judged before the parts are counted,
/// and with a row of the exceptions left out.
#[tokio::test(flavor = "multi_thread")]
async fn we_answer_as_knox_on_sqlite() {
    agree(Place::Sqlite, Schema::Knox, 1, 680).await;
}

/// Seen to fail as the one before.
#[tokio::test(flavor = "multi_thread")]
async fn we_answer_as_knox_on_postgres() {
    agree(Place::Postgres, Schema::Knox, 2, 170).await;
}

/// Seen to fail as the one before.
#[tokio::test(flavor = "multi_thread")]
async fn we_answer_as_knox_on_mariadb() {
    agree(Place::MariaDb, Schema::Knox, 3, 170).await;
}

/// Smarter's words for a key that is not active, and which comes first of what is wrong with a key.
#[tokio::test(flavor = "multi_thread")]
async fn we_answer_as_smarter() {
    agree(Place::Sqlite, Schema::Smarter, 6, 170).await;
}

/// knox's AUTH_HEADER_PREFIX. Seen to fail with `SchemeAlone` left out of `Knox`: RFC 6750 has words for
/// a challenge of `Bearer` that knox does not use.
#[tokio::test(flavor = "multi_thread")]
async fn we_answer_as_knox_behind_another_scheme() {
    let Some((django, tokens)) = site(Place::Sqlite, Schema::Knox) else { return };
    for (seed, scheme) in [(4, "Bearer"), (5, "X-Key")] {
        let knox = django.serve_with(json!({ "AUTH_HEADER_PREFIX": scheme }));
        let ours = serve(store(&django).await, scheme).await;
        let sent = values(seed, rounds(170, 2_000), scheme, &tokens);
        compare(knox, ours, &sent).await;
    }
}

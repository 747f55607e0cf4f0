//! No plaintext token in what the crate logs, shows or says.

use std::{
    convert::Infallible,
    error::Error,
    fmt::{Debug, Display, Write as _},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::{Layer as _, ServiceExt as _, service_fn};
#[cfg(feature = "sqlite")]
use tower_token_auth::store::KeyRepository as _;
use tower_token_auth::{
    Authenticator, DigestAlgorithm, Event, ImportedKey, KeyFilter, KeyManager, KeyUpdate, NewKey,
    Owner, Page, Rejection, Rotation, SharedStore, Subject, Token, TokenAuthLayer, TokenDigest,
    TokenFormat, store::KeyStore as _,
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{fmt::MakeWriter, util::SubscriberInitExt as _};

use crate::support::{Fault, Scripted, issue, issue_with, long_ago};

/// How much of a token in a row counts as a leak; all of it, if it is shorter. Below its token key's
/// 15 characters, above what two texts have in common by accident.
const WINDOW: usize = 10;

/// Everything that was logged, shown or said.
#[derive(Clone, Default)]
struct Transcript(Arc<Mutex<String>>);

impl Transcript {
    fn shown(&self, value: &impl Debug) {
        let mut text = self.0.lock().unwrap();
        writeln!(text, "{value:?}\n{value:#?}").unwrap();
    }

    fn said(&self, value: &(impl Debug + Display)) {
        self.shown(value);
        writeln!(self.0.lock().unwrap(), "{value}").unwrap();
    }

    fn failed(&self, error: &(impl Error + 'static)) {
        let mut error: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(this) = error {
            writeln!(self.0.lock().unwrap(), "{this} {this:?} {this:#?}").unwrap();
            error = this.source();
        }
    }

    /// The first part of `token`'s digest, by whatever algorithm, that is in it.
    fn leak_of_digest(&self, token: &str) -> Option<String> {
        let digest = |algorithm| TokenDigest::of(algorithm, token).to_hex();
        let digests = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512].map(digest);
        let lower = Self(Arc::new(Mutex::new(self.0.lock().unwrap().to_lowercase())));
        digests.iter().find_map(|digest| lower.leak_of(digest)).map(str::to_owned)
    }

    /// The first part of `token` that is in it.
    fn leak_of<'a>(&self, token: &'a str) -> Option<&'a str> {
        let text = self.0.lock().unwrap();
        let window = WINDOW.min(token.len());
        (0..=token.len() - window)
            .map(|start| &token[start..start + window])
            .find(|part| text.contains(part))
    }
}

impl io::Write for Transcript {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Transcript {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// I14, with canaries of every kind: issued here, issued elsewhere, short, wrong, expired, and such
/// as are no tokens at all.
///
/// Seen to fail with a `Debug` derived for `Token` (of the issued one), and for `TokenKey` (of the
/// foreign one, by its key's record), with the digest in `ImportedKey`'s (of a token that was given in its
/// place), and with a token in an event; the last is what the test after this one plants.
#[tokio::test(start_paused = true)]
async fn no_part_of_a_token_is_logged_shown_or_said() {
    let transcript = Transcript::default();
    let canaries = act(&transcript).await;
    assert!(canaries.len() > 10);
    for canary in &canaries {
        assert_eq!(transcript.leak_of(canary), None, "of {canary}");
        assert_eq!(transcript.leak_of_digest(canary), None, "of the digest of {canary}");
    }
    let text = transcript.0.lock().unwrap();
    assert!(text.contains("a witness was here"), "events are captured");
    assert!(text.contains("StoreUnavailable") && text.contains("key-of-ada"), "values are shown");
    // What the crate itself logs, tells and counts.
    for heard in [
        r#"request refused kind="expired""#,
        "key created key_id=",
        "the key store could not be read",
        "Failed { reason: WrongScheme, key: None }",
        "Deactivated { key: KeyId(",
        r#"token_auth_refused_total{kind="unknown"} "#,
        r#"token_auth_store_reads_total{outcome="failed"} "#,
    ] {
        assert!(text.contains(heard), "{heard}");
    }
}

/// The control: the same, with a canary in an event, in a `Debug` form, in an error, or in a metric's
/// label, and with the digest of one.
#[tokio::test(start_paused = true)]
async fn a_planted_token_is_caught() {
    for plant in 0..5 {
        let transcript = Transcript::default();
        let canaries = act(&transcript).await;
        let canary = &canaries[plant];
        let quiet = subscribe(&transcript);
        match plant {
            0 => tracing::trace!(token = canary.as_str(), "a mistake"),
            1 => transcript.shown(&format!("Token({canary})")),
            3 => {
                let exporter = PrometheusBuilder::new().build_recorder();
                metrics::with_local_recorder(&exporter, || {
                    metrics::counter!("mistakes_total", "token" => canary.clone()).increment(1);
                });
                transcript.shown(&exporter.handle().render());
            }
            4 => {
                let hex = TokenDigest::of(DigestAlgorithm::Sha256, canary).to_hex();
                transcript.shown(&hex.to_uppercase());
                assert!(transcript.leak_of_digest(canary).is_some());
                continue;
            }
            _ => transcript.failed(&io::Error::other(format!("no such key: {canary:.15}"))),
        }
        drop(quiet);
        assert!(transcript.leak_of(canary).is_some(), "plant {plant}");
    }
}

fn subscribe(transcript: &Transcript) -> tracing::subscriber::DefaultGuard {
    subscriber(transcript).set_default()
}

fn subscriber(transcript: &Transcript) -> impl tracing::Subscriber + Send + Sync + 'static {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(transcript.clone())
        .finish()
}

/// Does about everything with tokens that can be done, and says with which.
async fn act(transcript: &Transcript) -> Vec<String> {
    let _captured = subscribe(transcript);
    tracing::trace!("a witness was here");
    let exporter = PrometheusBuilder::new().build_recorder();
    let _counted = metrics::set_default_local_recorder(&exporter);
    let mut canaries = Vec::new();
    let mut canary = |text: &str| -> String {
        canaries.push(text.to_owned());
        text.to_owned()
    };

    let store = Scripted::new();
    let heard = transcript.clone();
    let builder = Authenticator::builder(SharedStore::new(store.clone()))
        .events(move |event: Event<'_>| heard.shown(&event))
        .token_format(TokenFormat::checksummed("tta").unwrap());
    transcript.shown(&builder);
    let (auth, guard) = builder.build().unwrap();
    transcript.shown(&auth);
    transcript.shown(&guard);

    // Issued here.
    let keys = auth.keys();
    transcript.shown(&keys);
    let new = NewKey::named("key-of-ada").expires_in(Duration::from_secs(3_600)).tags(["a", "b"]);
    transcript.shown(&new);
    let (record, token) = keys.create(Owner::staff("ada"), new).await.unwrap();
    let issued = canary(token.expose());
    transcript.shown(&(&token, token.token_key(), token.digest(DigestAlgorithm::Sha512)));
    transcript.shown(&record);
    transcript.shown(record.key());
    transcript.shown(record.owner());
    transcript.shown(&record.key().identifier());
    transcript.shown(&serde_json::to_string(record.key()).unwrap());
    transcript.failed(&keys.create(Owner::new("bob"), NewKey::default()).await.unwrap_err());
    let past = NewKey::default().expires_at(long_ago());
    transcript.failed(&keys.create(Owner::staff("ada"), past).await.unwrap_err());

    // Issued elsewhere: one long, one short enough that its token key is all of it, one expired.
    let foreign = canary("f0reign-canary-0123456789abcdefghij");
    let short = canary("sh0rt-canary");
    let expired = canary("expired-canary-9876543210");
    for token in [&foreign, &short] {
        transcript.shown(&issue(&store, token).await);
        transcript.shown(&Subject::Digest(TokenDigest::of(DigestAlgorithm::Sha256, token)));
    }
    let ada = Owner::staff("ada");
    let old = issue_with(&store, &expired, ada, |key| key.with_expires_at(Some(long_ago()))).await;
    transcript.shown(&old);

    // Admitted and refused, twice each, so that the cache has its word too.
    let unknown = canary("unkn0wn-canary-abcdefghijkl");
    let forged = canary(&format!("{}{}", &issued[..issued.len() - 6], "000000"));
    for token in [&issued, &foreign, &short, &expired, &unknown, &forged, &String::new()] {
        for _ in 0..2 {
            match auth.authenticate(token).await {
                Ok(key) => {
                    transcript.shown(&key);
                    transcript.shown(&auth.recheck(&key).await);
                }
                Err(refusal) => {
                    transcript.said(&refusal);
                    transcript.failed(&refusal);
                    transcript.said(&refusal.kind());
                }
            }
        }
    }

    // While the store is in trouble of every kind.
    let troubles: [fn(&Scripted); 4] = [
        |store| store.fail(true),
        |store| store.break_reads(Some(Fault::Other)),
        |store| store.break_reads(Some(Fault::Panic)),
        |store| store.hold(),
    ];
    for (number, trouble) in troubles.iter().enumerate() {
        let troubled = canary(&format!("tr0ubled-canary-{number}-zyxwvutsrq"));
        auth.flush();
        trouble(&store);
        for token in [&troubled, &foreign] {
            transcript.said(&auth.authenticate(token).await.unwrap_err());
        }
        if number == 0 {
            let digest = TokenDigest::of(DigestAlgorithm::Sha256, &troubled);
            transcript.failed(&store.find(digest).await.unwrap_err());
        }
        store.fail(false);
        store.break_reads(None);
        store.release();
    }

    managed(transcript, &keys, &mut canary).await;

    // Changed, listed, deleted.
    let id = record.id();
    transcript.shown(&keys.toggle_active(id).await);
    transcript.shown(&keys.update(id, KeyUpdate::new().description(Some("for tests"))).await);
    transcript.shown(&keys.list(KeyFilter::all(), Page::default()).await);
    transcript.shown(&keys.accessed(id).await);
    store.lose_answers();
    transcript.failed(&keys.deactivate(id).await.unwrap_err());
    transcript.failed(&keys.delete(id).await.unwrap_err());
    transcript.failed(&keys.delete(id).await.unwrap_err());
    transcript.shown(&keys.get(id).await);

    // What is no token, or put where none belongs.
    let broken = canary("br0ken canary with-blanks-0123456789");
    transcript.failed(&Token::parse(broken.as_str()).unwrap_err());
    let no_hex = TokenDigest::from_hex(DigestAlgorithm::Sha256, &foreign);
    transcript.failed(&no_hex.unwrap_err());
    let no_bytes = TokenDigest::from_bytes(DigestAlgorithm::Sha256, foreign.as_bytes());
    transcript.failed(&no_bytes.unwrap_err());
    let as_prefix = canary("prefix-canary-that-is-far-too-long-0123456789");
    let wrong =
        keys.create(Owner::staff("ada"), NewKey::default().token_prefix(as_prefix.as_str()));
    transcript.failed(&wrong.await.unwrap_err());
    let parsed = Token::parse(foreign).unwrap();
    transcript.shown(&(&parsed, parsed.token_key()));
    through_the_layer(transcript, &auth, &parsed, &mut canaries).await;
    transcript.shown(&guard.shutdown(Duration::from_secs(1)).await);
    drop((auth, keys));
    transcript.0.lock().unwrap().push_str(&exporter.handle().render());
    canaries
}

/// What a manager does with tokens and digests beside issuing: rotates, imports, looks for one that somebody
/// pasted, ends it, and filters.
async fn managed(
    transcript: &Transcript,
    keys: &KeyManager,
    canary: &mut (impl FnMut(&str) -> String + Send),
) {
    let (old, token) = keys.create(Owner::staff("ada"), NewKey::named("rotated")).await.unwrap();
    canary(token.expose());
    let rotation = Rotation::with_grace(Duration::from_secs(60));
    transcript.shown(&rotation);
    let (new, token) = keys.rotate(old.id(), rotation).await.unwrap();
    let pasted = canary(token.expose());
    transcript.shown(&(&new, &token));
    let again = keys.rotate(old.id(), Rotation::at_once()).await;
    transcript.failed(&again.map(drop).unwrap_err());

    // By its digest, and once with the token itself in the digest's place.
    let elsewhere = canary("imp0rtd=zaqxswcdevfrbgtnhy=canary");
    let digest = TokenDigest::of(DigestAlgorithm::Sha256, &elsewhere).to_hex();
    let other = TokenDigest::of(DigestAlgorithm::Sha512, &elsewhere).to_hex();
    for digest in [&digest, &elsewhere, &other, &digest] {
        let imported = ImportedKey::new(digest.as_str(), Owner::new("eve"));
        transcript.shown(&imported);
        match keys.import(imported).await {
            Ok(done) => transcript.shown(&done),
            Err(error) => transcript.failed(&error),
        }
    }
    let taken = keys.import(ImportedKey::new(digest, Owner::new("bob"))).await;
    transcript.failed(&taken.map(drop).unwrap_err());

    let nobody_s = canary("n0body=mjunhybgtvfrcdexsw=canary");
    for token in [&format!(" {pasted}\n"), &elsewhere, &nobody_s] {
        for found in [keys.find_by_token(token).await, keys.revoke_token(token).await] {
            match found {
                Ok(record) => transcript.shown(&record),
                Err(error) => transcript.failed(&error),
            }
        }
    }
    for filter in [
        KeyFilter::all().owned_by("ada"),
        KeyFilter::all().tag("a").active(false).text("key-of"),
        KeyFilter::all().never_used(),
    ] {
        transcript.shown(&filter);
        transcript.shown(&keys.list(filter, Page::first(1)).await);
    }
    // Pasted where a text belongs: what is asked for is not told on.
    let wrong = KeyFilter::all().text(pasted.as_str());
    transcript.shown(&keys.list(wrong, Page::default()).await);
    let far_too_long = KeyFilter::all().text(nobody_s.repeat(100));
    if let Err(error) = keys.list(far_too_long, Page::default()).await {
        transcript.failed(&error);
    }
}

/// What the inner service sees of a head, and every response, by every way a token can be sent.
async fn through_the_layer(
    transcript: &Transcript,
    auth: &Authenticator,
    admitted: &Token,
    canaries: &mut Vec<String>,
) {
    let layer = TokenAuthLayer::new(auth.clone()).header("x-api-key").unwrap();
    transcript.shown(&layer);
    let seen = transcript.clone();
    let inner = service_fn(move |request: Request<()>| {
        seen.shown(&request);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let service = layer.layer(inner);
    transcript.shown(&service);
    let sent = |name: &str, value: String| {
        Request::builder().header(name, value).body(()).expect("a test's header")
    };
    let mut requests = vec![
        sent("authorization", format!("Token {}", admitted.expose())),
        sent("x-api-key", admitted.expose().to_owned()),
    ];
    for (number, form) in ["Token ", "Bearer ", "", "Token a "].into_iter().enumerate() {
        let canary = format!("layer{number}-canary-qwertyuiop-{number}");
        requests.push(sent("authorization", format!("{form}{canary}")));
        requests.push(sent("x-api-key", format!("{canary} {canary}")));
        canaries.push(canary);
    }
    for request in requests {
        let response = service.clone().oneshot(request).await.expect("the inner service is sound");
        let (parts, body) = response.into_parts();
        transcript.shown(&parts);
        let body = body.collect().await.expect("a body of bytes").to_bytes();
        transcript.shown(&String::from_utf8_lossy(&body));
        if let Some(refusal) = parts.extensions.get::<Rejection>() {
            transcript.said(refusal);
        }
    }
}

/// The same of the SQLite store: what it logs, what its errors say.
///
/// Seen to fail with an event in `insert` that has the token's key.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn no_part_of_a_token_is_logged_or_said_by_sqlite() {
    let transcript = Transcript::default();
    // SQLite's statements run on threads of their own, which only the process' subscriber hears.
    let everywhere = subscriber(&transcript);
    tracing::subscriber::set_global_default(everywhere).expect("no other test sets one");
    let store = tower_token_auth::SqliteStore::open(":memory:").await.unwrap();
    transcript.shown(&store);
    let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
    let keys = auth.keys();
    let (record, token) = keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    transcript.shown(&auth.authenticate(token.expose()).await);
    let again =
        store.insert(record.key().clone(), record.owner().clone(), None, &mut |_, _| true).await;
    transcript.failed(&again.unwrap_err());
    transcript.shown(&keys.deactivate(record.id()).await);
    transcript.failed(&auth.authenticate(token.expose()).await.unwrap_err());
    store.close().await;
    transcript.failed(&keys.delete(record.id()).await.unwrap_err());
    transcript.said(&auth.authenticate("an0ther-canary-qwertyuiop").await.unwrap_err());
    for canary in [token.expose(), "an0ther-canary-qwertyuiop"] {
        assert_eq!(transcript.leak_of(canary), None, "of {canary}");
    }
    let text = transcript.0.lock().unwrap();
    assert!(text.contains("INSERT INTO"), "the store's own statements are captured: {text}");
}

/// I14: what lies on the disk, log and all, holds no token. A token key is kept for people, and is the only
/// part of a token that is there: what lies behind it is looked for.
///
/// The control is part of it: the digest of each key is found, and a token that somebody puts into a name.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn no_token_is_in_the_files_of_a_sqlite_database() {
    const TOKEN_KEY: usize = 15;
    let folder = tempfile::tempdir().unwrap();
    let store = tower_token_auth::SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    let (auth, guard) = Authenticator::builder(store.clone()).build().unwrap();
    let keys = auth.keys();
    let (created, token) = keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    let rotation = Rotation::with_grace(Duration::from_secs(60));
    let (_, successor) = keys.rotate(created.id(), rotation).await.unwrap();
    let imported = "imp0rtd=zaqxswcdevfrbgtnhy=canary";
    let digest = TokenDigest::of(store.digest_algorithm(), imported).to_hex();
    keys.import(ImportedKey::new(digest, Owner::new("eve"))).await.unwrap();
    let unknown = "unkn0wn=mjunhybgtvfrcdexsw=canary";
    for token in [token.expose(), successor.expose(), imported, unknown] {
        let _ = auth.authenticate(token).await;
        let _ = keys.find_by_token(token).await;
    }
    guard.shutdown(Duration::from_secs(10)).await;
    keys.revoke_token(imported).await.unwrap();
    keys.revoke_token(unknown).await.unwrap_err();
    keys.delete(created.id()).await.unwrap();

    let files = || {
        let transcript = Transcript::default();
        let mut names = Vec::new();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            let bytes = std::fs::read(file.path()).unwrap();
            transcript.0.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes));
            names.push(file.file_name().into_string().unwrap());
        }
        (transcript, names)
    };
    let check = |transcript: &Transcript| {
        for token in [token.expose(), successor.expose()] {
            assert_eq!(transcript.leak_of(&token[TOKEN_KEY..]), None, "of {token}");
        }
        for token in [imported, unknown] {
            assert_eq!(transcript.leak_of(token), None, "of {token}");
        }
        for token in [successor.expose(), imported] {
            assert!(transcript.leak_of_digest(token).is_some(), "the files are read");
        }
    };
    let (transcript, names) = files();
    assert!(names.iter().any(|name| name.ends_with("-wal")), "the log is there: {names:?}");
    check(&transcript);
    keys.create(Owner::staff("ada"), NewKey::named(successor.expose())).await.unwrap();
    assert!(files().0.leak_of(&successor.expose()[TOKEN_KEY..]).is_some(), "a planted one");
    store.close().await;
}

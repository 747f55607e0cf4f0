//! Keys that were made elsewhere, taken over by their digests.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Barrier;
use tower_token_auth::{
    DigestAlgorithm, Imported, ImportedKey, Issuing, KeyError, KeyId, KeyManager, MemoryStore,
    NewKey, Owner, RejectionKind, TokenDigest, store::KeyRepository as _,
};

use crate::support::stores::{self, Setup, on_each, start};

const TOKEN: &str = "a-token-from-elsewhere";

fn hex(setup: &Setup, token: &str) -> String {
    crate::support::digest(&setup.rows, token).to_hex()
}

/// All that a key can bring with it.
fn whole(setup: &Setup) -> ImportedKey {
    let can = setup.can();
    let mut new = NewKey::default().expires_at(start() + TimeDelta::days(9));
    if can.metadata {
        new = new
            .name("n")
            .description("d")
            .version("1.0")
            .account("acme")
            .scopes(["write", "read"])
            .tags(["t"])
            .annotation("team", "core");
    }
    let mut imported = ImportedKey::new(hex(setup, TOKEN), Owner::staff("ada")).like(new);
    if can.last_use {
        imported = imported.last_used_at(start() - TimeDelta::days(1));
    }
    imported.created_at(start() - TimeDelta::days(99))
}

// Negative control: without `with_created_at` or `with_last_used_at` in `import` it fails.
#[tokio::test]
async fn an_imported_key_is_used_with_the_token_that_its_client_has() {
    on_each(stores::all().await, async |setup| {
        let (auth, can) = (setup.auth(), setup.can());
        let keys = auth.keys();
        let unknown = auth.authenticate(TOKEN).await.unwrap_err();
        assert_eq!(unknown.kind(), RejectionKind::Unknown, "known as unknown from here on");

        let id = KeyId::random();
        let Imported { record, is_new, .. } = keys.import(whole(setup).id(id)).await.unwrap();
        assert!(is_new);
        assert_eq!(auth.authenticate(TOKEN).await.unwrap().id(), id);
        let key = record.key();
        assert_eq!(setup.stored(id).await.as_ref(), Some(key), "what is answered is stored");
        assert_eq!((key.id(), key.owner_id().as_str()), (id, "ada"));
        assert_eq!(key.expires_at(), Some(start() + TimeDelta::days(9)));
        let made = start() - TimeDelta::days(99);
        assert_eq!((key.created_at(), key.updated_at()), (made, made));
        let used = can.last_use.then(|| start() - TimeDelta::days(1));
        assert_eq!((key.last_used_at(), key.is_active()), (used, true));
        if can.metadata {
            assert_eq!(
                (key.name(), key.description(), key.version()),
                ("n", Some("d"), Some("1.0"))
            );
            assert_eq!(key.account(), Some(&"acme".into()));
            assert_eq!(key.scopes().collect::<Vec<_>>(), ["write", "read"]);
            assert_eq!(key.tags().collect::<Vec<_>>(), ["t"]);
            assert_eq!(key.annotations().collect::<Vec<_>>(), [("team", "core")]);
        }
        assert_eq!(key.token_key().expose(), "", "nobody told it");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_known_of_a_key_is_made_up() {
    on_each(stores::all().await, async |setup| {
        let digest = hex(setup, TOKEN).to_uppercase();
        let imported = setup.keys().import(ImportedKey::new(digest, "bob")).await.unwrap();
        let key = imported.record.key();
        assert_eq!((key.created_at(), key.updated_at()), (start(), start()));
        assert_eq!((key.expires_at(), key.last_used_at()), (None, None));
        let name =
            if setup.can().metadata { &format!("key-{}", &key.id().to_string()[..8]) } else { "" };
        assert_eq!(key.name(), name);
        // No policy judges it: `bob` is no staff. His row came with his first key.
        assert_eq!(imported.record.owner(), &Owner::new("bob"));
    })
    .await;
}

#[tokio::test]
async fn no_policy_judges_an_import_and_the_stored_owner_stays() {
    on_each(stores::whole().await, async |setup| {
        let never = Issuing::rule(|_| Err("nobody at all".into()));
        let keys = setup.builder().issuing(never).build().unwrap().0.keys();
        keys.create_owner(Owner::new("ada").with_username("Ada").with_active(false)).await.unwrap();
        let record = keys.import(whole(setup)).await.unwrap().record;
        assert_eq!(record.owner(), &Owner::new("ada").with_username("Ada").with_active(false));
        let refused = setup.auth().authenticate(TOKEN).await.unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::OwnerInactive, "a key as good as its owner");
    })
    .await;
}

// "Idempotent": an import that was broken off is run again, whatever became of its keys meanwhile.
// Negative control: without the look behind a duplicate, the second import fails.
#[tokio::test]
async fn importing_again_changes_nothing() {
    on_each(stores::all().await, async |setup| {
        let keys = setup.keys();
        let first = keys.import(whole(setup)).await.unwrap();
        if setup.can().activation {
            keys.deactivate(first.record.id()).await.unwrap();
        }
        setup.clock.advance(Duration::from_secs(60));
        let before = setup.all_rows().await;
        let again = [
            whole(setup),
            ImportedKey::new(hex(setup, TOKEN), Owner::new("ada").with_superuser(true)),
            whole(setup).id(KeyId::random()).like(NewKey::default().expires_in(Duration::MAX / 2)),
        ];
        for (n, again) in again.into_iter().enumerate() {
            let answer = keys.import(again).await;
            if n == 2 {
                assert!(answer.unwrap_err().is_invalid(), "bad input is bad the second time too");
                continue;
            }
            let Imported { record, is_new, .. } = answer.unwrap();
            assert!(!is_new);
            assert_eq!(record.id(), first.record.id());
            assert_eq!(record.key().is_active(), !setup.can().activation, "as it is stored now");
        }
        assert_eq!(setup.all_rows().await, before);
    })
    .await;
}

#[tokio::test]
async fn another_s_digest_and_a_taken_id_are_duplicates() {
    on_each(stores::all().await, async |setup| {
        let keys = setup.keys();
        let first = keys.import(whole(setup)).await.unwrap().record;
        let before = setup.all_rows().await;
        let taken = [
            ImportedKey::new(hex(setup, TOKEN), Owner::staff("bob")),
            ImportedKey::new(hex(setup, "other"), Owner::staff("ada")).id(first.id()),
            ImportedKey::new(hex(setup, "other"), Owner::staff("bob")).id(first.id()),
        ];
        for taken in taken {
            let error = keys.import(taken).await.unwrap_err();
            assert!(error.is_duplicate(), "{error}");
            assert!(error.to_string().contains("digest or this id"), "{error}");
            assert_eq!(setup.all_rows().await, before, "nothing changed");
        }
        let bob = setup.rows.owner(&"bob".into()).await.unwrap();
        assert_eq!(bob, None, "nor is an owner made");
    })
    .await;
}

/// It is of use to nobody, and tells that it was there.
#[tokio::test]
async fn a_key_that_has_expired_or_is_inactive_is_imported_as_it_is() {
    on_each(stores::all().await, async |setup| {
        let auth = setup.auth();
        let expired = NewKey::default().expires_at(start() - TimeDelta::days(1));
        let imported = ImportedKey::new(hex(setup, TOKEN), "ada").like(expired);
        let record = auth.keys().import(imported).await.unwrap().record;
        assert_eq!(record.key().expires_at(), Some(start() - TimeDelta::days(1)));
        let refused = auth.authenticate(TOKEN).await.unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::Expired);

        let inactive = NewKey::default().active(false);
        let imported = ImportedKey::new(hex(setup, "other"), "ada").like(inactive);
        let answer = auth.keys().import(imported).await;
        if setup.can().activation {
            assert!(!answer.unwrap().record.key().is_active());
        } else {
            assert!(answer.unwrap_err().is_unsupported());
        }
    })
    .await;
}

async fn refused(setup: &Setup, imported: ImportedKey, is: fn(&KeyError) -> bool, words: &str) {
    let error = setup.keys().import(imported).await.unwrap_err();
    assert!(is(&error) && error.to_string().contains(words), "{words}: {error:?}");
    assert!(!format!("{error:?}").contains(&hex(setup, TOKEN)), "a digest is no text for an error");
    assert!(setup.all_rows().await.is_empty(), "nothing changed");
}

// Negative controls: without `year` on the creation, and without the look at what the schema keeps of
// uses, their lines fail.
#[tokio::test]
async fn bad_input_is_refused_with_a_reason() {
    on_each(stores::all().await, async |setup| {
        let can = setup.can();
        let good = || ImportedKey::new(hex(setup, TOKEN), "ada");
        let of = |hex: &str| ImportedKey::new(hex, "ada");
        let sha512 = TokenDigest::of(DigestAlgorithm::Sha512, TOKEN).to_hex();
        let is_invalid = KeyError::is_invalid;
        for (imported, words) in [
            (of(&sha512), "this is a sha512 digest, and the key store keeps sha256 digests"),
            (of(&sha512), "import it into one that was made for sha512"),
            (of(""), "expected 32 bytes, or 64 hexadecimal characters"),
            (of(TOKEN), "64 hexadecimal characters"),
            (of(&hex(setup, TOKEN)[1..]), "64 hexadecimal characters"),
            (of(&format!(" {}", hex(setup, TOKEN))), "64 hexadecimal characters"),
            (of(&"g".repeat(64)), "64 hexadecimal characters"),
            (ImportedKey::new(hex(setup, TOKEN), ""), "an owner's id has 1 to 128 bytes"),
            (good().like(NewKey::default().expires_at(late())), "the expiry is not in the years"),
            (good().created_at(late()), "the creation is not in the years 1 to 9999"),
            (good().created_at(DateTime::<Utc>::MIN_UTC), "the creation is not in the years"),
        ] {
            refused(setup, imported, is_invalid, words).await;
        }
        let used = good().last_used_at(late());
        if can.last_use {
            refused(setup, used, is_invalid, "the last use is not in the years").await;
        } else {
            refused(setup, used, KeyError::is_unsupported, "when a key was last used").await;
        }
        let named = good().like(NewKey::named("a\nb"));
        if can.metadata {
            refused(setup, named, is_invalid, "no control characters").await;
        } else {
            refused(setup, named, KeyError::is_unsupported, "not supported by this schema").await;
        }
    })
    .await;
}

/// Milliseconds that were taken for seconds, say.
fn late() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_800, 0).unwrap()
}

#[tokio::test]
async fn a_database_of_sha_512_takes_sha_512_digests() {
    let memory = MemoryStore::with_algorithm(DigestAlgorithm::Sha512);
    let auth = crate::support::authenticator(memory);
    let of = |algorithm| TokenDigest::of(algorithm, TOKEN).to_hex();
    let error = auth.keys().import(ImportedKey::new(of(DigestAlgorithm::Sha256), "ada")).await;
    let error = error.unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("made for sha256"), "{error}");
    auth.keys().import(ImportedKey::new(of(DigestAlgorithm::Sha512), "ada")).await.unwrap();
    assert!(auth.authenticate(TOKEN).await.is_ok());
}

#[tokio::test]
async fn times_are_kept_to_the_microsecond() {
    on_each(stores::whole().await, async |setup| {
        let fine = |days| start() - TimeDelta::days(days) + TimeDelta::nanoseconds(999);
        let imported = ImportedKey::new(hex(setup, TOKEN), "ada")
            .created_at(fine(3))
            .last_used_at(fine(2))
            .like(NewKey::default().expires_at(fine(1)));
        let record = setup.keys().import(imported).await.unwrap().record;
        let key = record.key();
        let times = [Some(key.created_at()), key.last_used_at(), key.expires_at()];
        assert_eq!(times, [3, 2, 1].map(|days| Some(start() - TimeDelta::days(days))));
        assert_eq!(setup.stored(key.id()).await.as_ref(), Some(key));
    })
    .await;
}

/// Two that take over the same keys at once: each key is new to one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_at_once_add_each_key_once() {
    on_each(stores::whole().await, async |setup| {
        let start = Arc::new(Barrier::new(2));
        let run = |keys: KeyManager| {
            let start = Arc::clone(&start);
            let digests: Vec<String> = (0..20).map(|n| hex(setup, &format!("t{n}"))).collect();
            tokio::spawn(async move {
                start.wait().await;
                let mut new = 0;
                for digest in digests {
                    let imported = keys.import(ImportedKey::new(digest, "ada")).await.unwrap();
                    new += usize::from(imported.is_new);
                }
                new
            })
        };
        let runs = [run(setup.keys()), run(setup.keys())];
        let [one, other] = runs;
        assert_eq!(one.await.unwrap() + other.await.unwrap(), 20);
        assert_eq!(setup.all_rows().await.len(), 20);
    })
    .await;
}

/// From one database of ours into another: what is listed here is imported there.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_database_moves_into_another() {
    use tower_token_auth::{KeyFilter, Page, SqliteStore};

    use crate::support::authenticator;

    let folder = tempfile::tempdir().unwrap();
    let open = async |name: &str| {
        authenticator(SqliteStore::open(folder.path().join(name)).await.unwrap())
    };
    let (from, to) = (open("from.db").await, open("to.db").await);
    let mut tokens = Vec::new();
    for n in 0..5 {
        let new = NewKey::named(format!("key {n}")).active(n != 3);
        tokens.push(from.keys().create(Owner::staff("ada"), new).await.unwrap());
    }
    for _ in 0..2 {
        for record in from.keys().list(KeyFilter::all(), Page::default()).await.unwrap().keys {
            let key = record.key();
            let like = NewKey::named(key.name()).active(key.is_active());
            let imported = ImportedKey::new(key.digest().to_hex(), record.owner())
                .id(key.id())
                .created_at(key.created_at())
                .like(like);
            to.keys().import(imported).await.unwrap();
        }
    }
    for (n, (record, token)) in tokens.iter().enumerate() {
        let admitted = to.authenticate(token.expose()).await;
        assert_eq!(admitted.is_ok(), n != 3);
        assert_eq!(to.keys().get(record.id()).await.unwrap().owner(), &Owner::staff("ada"));
    }
    let moved = to.keys().list(KeyFilter::all(), Page::default()).await.unwrap().keys;
    assert_eq!(moved.len(), 5);
}

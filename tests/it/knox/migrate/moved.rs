//! Every token that passed at Django passes here, as the same user, and none that did not.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tower_token_auth::{
    DigestAlgorithm, KeyFilter, KeyId, NewKey, Owner, OwnerUpdate, Page, RejectionKind, TokenDigest,
};

use super::{Target, counted, refused, run};
use crate::support::django::{Django, Place, Schema};

const TOKENS: u32 = 40;

async fn target(place: Place) -> Option<Target> {
    // Each kind of both, in other pairs than the same with the same alone.
    if place == Place::Sqlite { Target::schema().await } else { Some(Target::file()) }
}

fn moment(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str().map(|text| text.parse().unwrap())
}

/// Tokens of knox's and of DRF's in one database.
///
/// Seen to fail with DRF's tokens hashed by SHA-256, with expired rows moved as well, and, once their user
/// is active, with the keys of one who was not moved as active.
#[tokio::test]
async fn knox_s_tokens_and_drf_s_own_go_on_working() {
    for place in Place::ALL {
        let settings = [("ORACLE_APPS", "rest_framework.authtoken")];
        let Some(django) = Django::with(place, Schema::Knox, &settings) else { return };
        let Some(target) = target(place).await else { return };
        let staff = json!({ "is_staff": true, "is_superuser": true });
        let (ada, bob) = (django.user_with("ada", staff), django.user("bob"));
        let gone = django.user_with("gone", json!({ "is_active": false }));
        let tokens = django.issue_many(&[ada, bob], TOKENS);
        let prefixed = django.issue_with(ada, json!({ "prefix": "acme_", "expiry": null }));
        let expired = django.plant(ada, "was-good", json!({ "expiry": "2020-01-01T00:00:00Z" }));
        let inactive = django.issue(gone);
        let drf = |user: i64| {
            let token = django.order("drf_token", json!({ "user": user }));
            token.as_str().unwrap().to_owned()
        };
        let (drf, drf_inactive) = (drf(bob), drf(gone));
        let rows = django.keys();

        let printed = run(&django.url, &target, &[]);
        let [knox, of_drf] = printed.split("Drf: ").collect::<Vec<_>>()[..] else {
            panic!("{printed}")
        };
        assert!(knox.starts_with(&format!("Knox: {0} of {0} rows", TOKENS + 3)), "{knox}");
        assert_eq!(counted(knox, "moved"), TOKENS + 2);
        assert_eq!(counted(knox, "refused until they and their owner are activated"), 1);
        assert_eq!(counted(knox, "not moved"), 1);
        assert_eq!(counted(knox, "it has expired"), 1);
        assert!(of_drf.starts_with("2 of 2 rows"), "{of_drf}");
        assert_eq!((counted(of_drf, "moved"), counted(of_drf, "not moved")), (2, 0));
        for secret in [&tokens[0][..20], &drf[..20], &inactive.digest[..20]] {
            assert!(!printed.contains(secret), "{printed}");
        }

        let (auth, _guard) = target.auth().await;
        let keys = auth.keys();
        let (new, issued) = keys.create(Owner::staff(ada), NewKey::named("new")).await.unwrap();
        assert_eq!(new.owner().username(), "ada", "the owner's row is as it was");
        let of_bob = [&*drf];
        let users = [ada, bob];
        let moved = tokens.iter().zip(users.into_iter().cycle());
        let moved = moved.map(|(token, user)| (token.as_str(), user));
        let others = [(prefixed.token.as_str(), ada), (issued.expose(), ada)];
        for (token, user) in moved.chain(others).chain(of_bob.map(|token| (token, bob))) {
            let admitted = auth.authenticate(token).await.unwrap();
            let name = if user == ada { "ada" } else { "bob" };
            let owner = admitted.owner();
            assert_eq!((owner.id().as_str(), owner.username()), (&*user.to_string(), name));
            assert_eq!((owner.is_staff(), owner.is_superuser()), (user == ada, user == ada));
        }
        assert_eq!(refused(&auth, &expired.token).await, RejectionKind::Unknown);
        for token in [&inactive.token, &drf_inactive] {
            assert_eq!(refused(&auth, token).await, RejectionKind::OwnerInactive);
        }
        // A user who was inactive gets no key back by being activated alone: who does that here may not
        // know what was ended at Django.
        let staff = OwnerUpdate::new().active(true).staff(true);
        keys.update_owner(gone, staff).await.unwrap();
        for token in [&inactive.token, &drf_inactive] {
            assert_eq!(refused(&auth, token).await, RejectionKind::KeyInactive);
        }
        let digest = TokenDigest::from_hex(DigestAlgorithm::Sha512, &inactive.digest).unwrap();
        keys.activate(KeyId::of_digest(&digest)).await.unwrap();
        assert_eq!(auth.authenticate(&inactive.token).await.unwrap().owner().username(), "gone");
        assert_eq!(refused(&auth, &drf_inactive).await, RejectionKind::KeyInactive);
        assert_eq!(refused(&auth, &tokens[0].to_uppercase()).await, RejectionKind::Unknown);

        // Row by row: the id is that of the digest, the times are kept.
        for row in rows.iter().filter(|row| row["digest"] != expired.digest.as_str()) {
            let digest = row["digest"].as_str().unwrap();
            let digest = TokenDigest::from_hex(DigestAlgorithm::Sha512, digest).unwrap();
            let key = keys.get(KeyId::of_digest(&digest)).await.unwrap();
            assert_eq!(*key.key().digest(), digest);
            assert_eq!(Some(key.key().created_at()), moment(&row["created"]));
            assert_eq!(key.key().expires_at(), moment(&row["expiry"]));
        }
        assert_eq!(target.keys().await, i64::from(TOKENS) + 5);
    }
}

/// What Smarter keeps beside knox's row.
///
/// Seen to fail with the key's own id left out, and with its profile's user as the owner.
#[tokio::test]
async fn smarter_s_keys_keep_what_is_known_of_them() {
    for place in Place::ALL {
        let Some(django) = Django::new(place, Schema::Smarter) else { return };
        let Some(target) = target(place).await else { return };
        let (first, second) = (django.account("1234-5678-9012"), django.account("1234-5678-9013"));
        let (ada, profile) = django.member("ada", first);
        django.profile(ada, second);
        let (_, other_profile) = django.member("bob", second);
        let used: DateTime<Utc> = "2026-03-04T05:06:07.890123Z".parse().unwrap();
        let rich = django.issue_with(
            ada,
            json!({
                "name": "nightly_build", "description": "what it does", "version": "1.2.3",
                "tags": ["a", "b"], "annotations": [{ "team": "core" }],
            }),
        );
        django.change_key(&rich.digest, json!({ "last_used_at": used.to_rfc3339() }));
        let ended = django.issue_with(ada, json!({ "name": "ended" }));
        django.call_key(&ended.digest, "deactivate");
        // The token is ada's, and the key is managed as one of bob's.
        let mixed = json!({ "name": "mixed", "user_profile_id": other_profile });
        let mixed = django.plant(ada, "the-token-of-ada-with-bob-s-profile", mixed);
        let bare = django.issue_with(ada, json!({ "parent_only": true }));

        let printed = run(&django.url, &target, &[]);
        assert!(printed.starts_with("Smarter: 4 of 4 rows"), "{printed}");
        assert_eq!(counted(&printed, "moved"), 3);
        assert_eq!(counted(&printed, "refused until they are activated"), 1);
        assert_eq!(counted(&printed, "now their user's own"), 1);
        assert_eq!(counted(&printed, "a row is no key: Smarter has no row beside knox's"), 1);

        let (auth, _guard) = target.auth().await;
        let keys = auth.keys();
        let id: KeyId = rich.row["key_id"].as_str().unwrap().parse().unwrap();
        let record = keys.get(id).await.unwrap();
        let key = record.key();
        assert_eq!((key.name(), key.description()), ("nightly_build", Some("what it does")));
        assert_eq!((key.version(), key.is_active()), (Some("1.2.3"), true));
        assert_eq!(key.tags().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(key.annotations().collect::<Vec<_>>(), [("team", "core")]);
        assert_eq!((key.last_used_at(), key.expires_at()), (Some(used), None));
        assert_eq!(Some(key.created_at()), moment(&rich.row["created"]));
        assert_eq!(key.account().unwrap().as_str(), first.to_string());
        let owner = record.owner();
        let accounts: Vec<_> = owner.accounts().iter().map(|account| account.as_str()).collect();
        assert_eq!(accounts, [first.to_string(), second.to_string()]);
        assert_eq!((owner.username(), owner.is_staff()), ("ada", true));
        assert_ne!(profile, other_profile);

        assert_eq!(auth.authenticate(&rich.token).await.unwrap().id(), id);
        let admitted = auth.authenticate(&mixed.token).await.unwrap();
        assert_eq!(admitted.owner().username(), "ada");
        assert_eq!(refused(&auth, &ended.token).await, RejectionKind::KeyInactive);
        assert_eq!(refused(&auth, &bare.token).await, RejectionKind::Unknown);
        keys.activate(ended.row["key_id"].as_str().unwrap().parse().unwrap()).await.unwrap();
        assert_eq!(auth.authenticate(&ended.token).await.unwrap().name(), "ended");
        let (_, issued) = keys.create(Owner::staff(ada), NewKey::named("new")).await.unwrap();
        assert_eq!(auth.authenticate(issued.expose()).await.unwrap().name(), "new");
    }
}

/// Nothing is written, not even a table; and what a real run has moved is told from the rest.
///
/// Seen to fail with the target opened as for a real run, and with a dry run that never looks there.
#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let Some(django) = Django::new(Place::Sqlite, Schema::Knox) else { return };
    let ada = django.user("ada");
    let tokens = django.issue_many(&[ada], 3);
    let Some(schema) = Target::schema().await else { return };
    for target in [Target::file(), schema] {
        let dry = || run(&django.url, &target, &["--dry-run"]);
        let printed = dry();
        assert_eq!(counted(&printed, "would be moved"), 3);
        assert!(printed.ends_with("This was a dry run: nothing was written.\n"), "{printed}");
        assert!(target.number("SELECT count(*) FROM token_auth_keys").await.is_err());
        if let Target::File(folder) = &target {
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }

        let moved = run(&django.url, &target, &[]);
        assert_eq!(counted(&moved, "moved"), 3);
        django.issue(ada);
        let before = target.keys().await;
        let printed = dry();
        assert_eq!(counted(&printed, "there already"), u32::try_from(before).unwrap());
        assert_eq!(counted(&printed, "would be moved"), 1);
        assert_eq!(target.keys().await, before);
        django.sql(&["DELETE FROM knox_authtoken WHERE token_key NOT IN \
            (SELECT token_key FROM knox_authtoken ORDER BY created LIMIT 3)"]);
    }
    assert_eq!(tokens.len(), 3);
}

/// Times without a zone: an hour more or less of a key's life.
///
/// Seen to fail with the argument left aside.
#[tokio::test]
async fn local_times_are_moved_in_the_zone_that_was_named() {
    let naive = [("ORACLE_USE_TZ", "0"), ("ORACLE_TIME_ZONE", "Etc/GMT-2")];
    let Some(django) = Django::with(Place::Sqlite, Schema::Knox, &naive) else { return };
    let target = Target::file();
    let ada = django.user("ada");
    let expiry = "2100-01-02T03:04:05Z";
    django.plant(ada, "of-a-local-time", json!({ "expiry": expiry }));
    let printed = run(&django.url, &target, &["--time-zone", "+02:00"]);
    assert_eq!(counted(&printed, "moved"), 1);
    let (auth, _guard) = target.auth().await;
    let page = auth.keys().list(KeyFilter::all(), Page::default()).await.unwrap();
    assert_eq!(page.keys[0].key().expires_at(), Some(expiry.parse().unwrap()));
}

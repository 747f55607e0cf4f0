//! Killed in the middle and started again: none is lost, and none comes twice.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tower_token_auth::{NewKey, Owner, RejectionKind};

use super::{Target, counted, refused, run, succeeds, with};
use crate::{
    examples::command,
    support::{
        django::{Django, Place, Schema},
        rounds,
    },
};

/// How many imports are under way at a time.
const AT_A_TIME: u32 = 16;

/// Optimized where the counts are in full: it is then measured, too.
fn program(is_full: bool) -> PathBuf {
    let debug = PathBuf::from(command("migrate").get_program());
    if !is_full {
        return debug;
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--example", "migrate", "--features", "full"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.unwrap().success());
    let path = debug.to_str().unwrap().replace("/debug/", "/release/");
    path.into()
}

/// 100,000 keys with `TOKEN_AUTH_FULL=1`, otherwise 2,000, from SQLite to SQLite and from PostgreSQL to
/// PostgreSQL. Killed once, at a third of them in full; the run after it ends the work, and one more finds
/// nothing to do. Memory does not grow with their number.
///
/// Seen to fail with pages that begin too late, by which some rows are lost.
#[tokio::test]
async fn a_run_that_is_killed_is_ended_by_another() {
    let count = rounds(2_000, 100_000) as u32;
    let is_full = count > 2_000;
    let program = program(is_full);
    for place in [Place::Sqlite, Place::Postgres] {
        let Some(django) = Django::new(place, Schema::Knox) else { return };
        let target = match place {
            Place::Sqlite => Target::file(),
            _ => match Target::schema().await {
                Some(target) => target,
                None => return,
            },
        };
        let users: Vec<i64> = (0..50).map(|at| django.user(&format!("user {at}"))).collect();
        let tokens = django.issue_many(&users, count);

        let enough = if is_full { i64::from(count) / 3 } else { 1 };
        let mut killed = start(&program, &django, &target);
        let (begun, mut most) = (now(), 0);
        let keys = async || target.number("SELECT count(*) FROM token_auth_keys").await;
        while keys().await.unwrap_or(0) < enough {
            most = most.max(memory(&killed));
            assert!(killed.try_wait().unwrap().is_none(), "it has ended");
        }
        killed.kill().unwrap();
        assert!(!killed.wait().unwrap().success());
        let (there, first) = (keys().await.unwrap(), begun.elapsed());
        assert!((1..i64::from(count)).contains(&there), "{there} of {count}");

        let begun = now();
        let resumed = start(&program, &django, &target).wait_with_output().unwrap();
        let printed = succeeds(&resumed);
        let second = begun.elapsed();
        // A server may end what it was told before the kill.
        let (already, asked) = (counted(&printed, "there already"), u32::try_from(there).unwrap());
        assert!((asked..=asked + AT_A_TIME).contains(&already), "{asked}, {already}");
        assert_eq!(counted(&printed, "moved"), count - already);
        assert_eq!(counted(&printed, "not moved"), 0);
        assert_eq!(target.keys().await, i64::from(count));
        let printed = start(&program, &django, &target).wait_with_output().unwrap();
        assert_eq!(counted(&succeeds(&printed), "there already"), count);
        assert_eq!(target.keys().await, i64::from(count), "doubled");
        println!(
            "{place:?}: {there} of {count} keys in {first:.1?}, the rest in {second:.1?}; at most {most} kB"
        );
        assert!(most < 100_000, "{most} kB");

        let (auth, _guard) = target.auth().await;
        let (_, issued) = auth.keys().create(Owner::staff("new"), NewKey::default()).await.unwrap();
        let all = tokens.iter().zip(users.iter().cycle()).map(|(token, user)| {
            let auth = &auth;
            async move {
                let admitted = auth.authenticate(token).await.unwrap();
                assert_eq!(admitted.owner().id().as_str(), user.to_string());
            }
        });
        let admitted = stream::iter(all).buffer_unordered(64).count().await;
        assert_eq!(admitted, count as usize);
        assert_eq!(auth.authenticate(issued.expose()).await.unwrap().owner().id().as_str(), "new");
    }
}

/// What was ended at Django between two runs: nothing of it is revived, and what is still good in the new
/// database is told.
///
/// Seen to fail, each at its count, without the comparison of the two, and with what has expired at Django,
/// whose user was renamed there, or that can't be read any more, passed over.
#[tokio::test]
async fn what_was_ended_since_is_told() {
    let Some(django) = Django::new(Place::Sqlite, Schema::Smarter) else { return };
    let account = django.account("1234-5678-9012");
    let (ada, _) = django.member("ada", account);
    let (bob, _) = django.member("bob", account);
    let named = |user: i64, name: &str| django.issue_with(user, json!({ "name": name }));
    let (eve, _) = django.member("eve", account);
    let (renamed, still_good) = (named(eve, "renamed"), named(eve, "still_good"));
    let unreadable = named(ada, "unreadable");
    let (good, inactive) = (named(ada, "good"), named(ada, "inactive"));
    let (expired, ended_twice) = (named(ada, "expired"), named(ada, "ended_twice"));
    let (of_bob, before) = (named(bob, "of_bob"), named(ada, "before"));
    django.call_key(&before.digest, "deactivate");
    let target = Target::file();
    assert_eq!(counted(&run(&django.url, &target, &[]), "moved"), 9);

    for key in [&inactive, &ended_twice, &renamed] {
        django.call_key(&key.digest, "deactivate");
    }
    django.sql(&[&format!("UPDATE auth_user SET username = 'eva' WHERE id = {eve}")]);
    let no_date = "UPDATE knox_authtoken SET expiry = 'never' WHERE digest = ";
    django.sql(&[&format!("{no_date}'{}'", unreadable.digest)]);
    let past = "UPDATE knox_authtoken SET expiry = '2020-01-01 00:00:00' WHERE digest = ";
    django.sql(&[&format!("{past}'{}'", expired.digest)]);
    django.sql(&[&format!("UPDATE auth_user SET is_active = 0 WHERE id = {bob}")]);
    let (auth, guard) = target.auth().await;
    let id = ended_twice.row["key_id"].as_str().unwrap().parse().unwrap();
    auth.keys().deactivate(id).await.unwrap();
    guard.shutdown(Duration::from_secs(10)).await;
    drop(auth);
    for more in [&["--dry-run"][..], &[]] {
        let printed = run(&django.url, &target, more);
        assert_eq!(counted(&printed, "there already"), 8, "{printed}");
        assert_eq!(counted(&printed, "ended at Django since"), 5, "{printed}");
        let ended = [&inactive, &expired, &of_bob, &renamed, &unreadable];
        let named = ended.iter().filter(|key| printed.contains(&key.digest[124..])).count();
        assert!(named >= 3, "{printed}");
        assert_eq!(counted(&printed, "not moved"), 1, "{printed}");
    }
    let (auth, _guard) = target.auth().await;
    assert!(auth.authenticate(&good.token).await.is_ok());
    assert!(auth.authenticate(&still_good.token).await.is_ok());
    for key in [&ended_twice, &before] {
        assert_eq!(refused(&auth, &key.token).await, RejectionKind::KeyInactive);
    }
}

fn start(program: &Path, django: &Django, target: &Target) -> Child {
    let mut command = Command::new(program);
    with(&mut command, &django.url, target, &[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The most memory that it has had, in kilobytes; nothing where the system does not tell.
fn memory(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[expect(clippy::disallowed_methods, reason = "a measurement is of real time")]
fn now() -> Instant {
    Instant::now()
}

//! Changes of many keys: all of an owner's, all that have expired, all that nobody uses.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tower_token_auth::{
    ApiKey, Authenticator, AuthenticatorBuilder, KeyId, KeyManager, KeyUpdate, LastUsed,
    MemoryStore, NewKey, Owner, RejectionKind, Rotation,
    store::{Capabilities, KeyRepository as _, KeyStore as _, KeyUse},
};

use crate::support::{
    self, Fate, Quirky, Scripted,
    stores::{self, Setup, on_each, seed, start},
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// More than two batches.
const MANY: usize = 450;

/// So many days before the setup's clock began.
fn days_ago(days: i64) -> DateTime<Utc> {
    start() - TimeDelta::days(days)
}

fn micros(count: i64) -> TimeDelta {
    TimeDelta::microseconds(count)
}

/// With a recorder, as `deactivate_unused` asks for.
fn recording(setup: &Setup) -> KeyManager {
    setup.builder().last_used(LastUsed::default()).build().unwrap().0.keys()
}

async fn used(store: &impl tower_token_auth::store::KeyStore, key: &ApiKey, at: DateTime<Utc>) {
    let key_use = KeyUse { key: key.id(), digest: *key.digest(), at, if_before: at };
    assert_eq!(store.record_uses(&[key_use]).await.unwrap(), 1);
}

async fn is_active(setup: &Setup, id: KeyId) -> bool {
    setup.stored(id).await.unwrap().is_active()
}

#[tokio::test]
async fn revoke_all_ends_every_active_key_of_the_owner_and_no_other() {
    on_each(stores::all().await, async |setup| {
        let can = setup.can();
        let auth = setup.auth();
        let keys = auth.keys();
        // A fifth is inactive already, a seventh has expired.
        let own = seed(setup, "ada", MANY, |n, key| {
            let key = key.with_active(!can.activation || n % 5 != 0);
            key.with_expires_at((n % 7 == 0).then(|| days_ago(1)))
        });
        let own = own.await;
        let others = seed(setup, "bob", 3, |_, key| key).await;
        let (cached, token) = keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
        assert!(auth.authenticate(token.expose()).await.is_ok(), "cached from here on");

        let expected = if can.activation { MANY - MANY.div_ceil(5) } else { MANY } + 1;
        assert_eq!(keys.revoke_all("ada").await.unwrap(), expected as u64);
        let refused = auth.authenticate(token.expose()).await.unwrap_err().kind();
        if can.activation {
            assert_eq!(refused, RejectionKind::KeyInactive);
            for key in &own {
                let stored = setup.stored(key.id()).await.unwrap();
                assert!(!stored.is_active());
                let was_active = key.is_active();
                let at = if was_active { start() } else { key.updated_at() };
                assert_eq!(stored, key.clone().with_active(false).with_updated_at(at));
            }
        } else {
            assert_eq!(refused, RejectionKind::Unknown);
            assert_eq!(setup.all_rows().await.len(), others.len());
            assert_eq!(setup.stored(cached.id()).await, None);
        }
        for key in &others {
            assert_eq!(setup.stored(key.id()).await.as_ref(), Some(key));
        }
        // Called again, it has nothing to do; what is made afterwards is not touched by it.
        assert_eq!(keys.revoke_all("ada").await.unwrap(), 0);
        let (later, token) = keys.create("ada", NewKey::default()).await.unwrap();
        assert_eq!(auth.authenticate(token.expose()).await.unwrap().id(), later.id());

        let error = keys.revoke_all("nobody").await.unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("owner"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_batch_more_or_less_makes_no_difference() {
    let setup = stores::whole().await.remove(0);
    for count in [1, 199, 200, 201, 400, 401] {
        let owner = format!("owner of {count}");
        seed(&setup, &owner, count, |_, key| key).await;
        assert_eq!(setup.keys().revoke_all(owner.as_str()).await.unwrap(), count as u64);
    }
    setup.keys().create_owner("without keys").await.unwrap();
    assert_eq!(setup.keys().revoke_all("without keys").await.unwrap(), 0);
}

// Negative control: with an inclusive comparison in `KeyFilter::admits`, what expires at the very moment
// goes too.
#[tokio::test]
async fn delete_expired_deletes_what_expired_before_the_moment_and_nothing_else() {
    on_each(stores::all().await, async |setup| {
        let keys = setup.keys();
        let before = days_ago(30);
        let old = seed(setup, "ada", MANY, |n, key| {
            key.with_expires_at(Some(before - micros(1 + n as i64)))
        });
        let old = old.await;
        let kept = [
            seed(setup, "bob", 3, |_, key| key.with_expires_at(Some(before))).await,
            seed(setup, "eve", 3, |_, key| key.with_expires_at(Some(start()))).await,
            seed(setup, "dan", 3, |_, key| key).await,
        ]
        .concat();
        assert_eq!(keys.delete_expired(before).await.unwrap(), MANY as u64);
        for key in &old {
            assert_eq!(setup.stored(key.id()).await, None);
        }
        for key in &kept {
            assert_eq!(setup.stored(key.id()).await.as_ref(), Some(key));
        }
        assert_eq!(keys.delete_expired(before).await.unwrap(), 0);
        // By now, those of `bob`; not those in their last microsecond.
        assert_eq!(keys.delete_expired(start()).await.unwrap(), 3);
        assert_eq!(setup.all_rows().await.len(), 6);
        let error = keys.delete_expired(start() + micros(1)).await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains("not in the future"), "{error}");
    })
    .await;
}

// A moment just read is not in the future, though it has nanoseconds and the manager's clock has not.
// Negative control: without `to_micros` on what is passed in, one of the first rounds fails.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "it is about the real clock")]
async fn delete_expired_takes_a_moment_just_read() {
    let keys = support::authenticator(MemoryStore::new()).keys();
    for _ in 0..1_000 {
        assert_eq!(keys.delete_expired(Utc::now()).await.unwrap(), 0);
    }
}

/// A successor that expired goes together with its predecessor, and so not before that one's grace is
/// over: it is still used. Negative control: without the question about `in_grace` in `pass`, the
/// first call deletes both.
#[tokio::test]
async fn delete_expired_leaves_a_key_whose_predecessor_is_in_its_grace() {
    on_each(stores::all().await, async |setup| {
        if !setup.can().lineage {
            return;
        }
        let auth = setup.auth();
        let keys = auth.keys();
        let (old, token) = keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
        let short = Rotation::with_grace(DAY).expires_in(HOUR);
        let (new, _) = keys.rotate(old.id(), short).await.unwrap();
        setup.clock.advance(2 * HOUR);
        assert_eq!(keys.delete_expired(setup.clock.wall()).await.unwrap(), 0);
        assert_eq!(auth.authenticate(token.expose()).await.unwrap().id(), old.id());
        assert!(setup.stored(new.id()).await.is_some());
        setup.clock.advance(DAY);
        assert_eq!(keys.delete_expired(setup.clock.wall()).await.unwrap(), 2);
        assert!(setup.all_rows().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn deactivate_unused_deactivates_what_was_not_used_since_and_nothing_else() {
    on_each(stores::all().await, async |setup| {
        let can = setup.can();
        let keys = recording(setup);
        let since = days_ago(90);
        if !can.activation || !can.last_use {
            let error = keys.deactivate_unused(since).await.unwrap_err();
            assert!(error.is_unsupported(), "{error}");
            return;
        }
        // Last used before the moment; never used, and made before it.
        let unused = [
            seed(setup, "ada", MANY, |n, key| {
                key.with_last_used_at(Some(since - micros(1 + n as i64)))
            })
            .await,
            seed(setup, "bob", 3, |_, key| key).await,
        ]
        .concat();
        let kept = [
            seed(setup, "eve", 3, |_, key| key.with_last_used_at(Some(since))).await,
            seed(setup, "dan", 3, |_, key| key.with_active(false)).await,
        ]
        .concat();
        // Made lately, and not used yet.
        let (new, _) = keys.create(Owner::staff("zoe"), NewKey::default()).await.unwrap();
        assert_eq!(keys.deactivate_unused(since).await.unwrap(), MANY as u64 + 3);
        for key in &unused {
            assert!(!is_active(setup, key.id()).await);
        }
        for key in &kept {
            assert_eq!(setup.stored(key.id()).await.as_ref(), Some(key));
        }
        assert_eq!(setup.stored(new.id()).await.as_ref(), Some(new.key()));
        assert_eq!(keys.deactivate_unused(since).await.unwrap(), 0);
    })
    .await;
}

/// A client that has not changed over yet uses the old key, in its grace: nobody may cut it off
/// because the new one lies idle. Negative control: without the question about `in_grace` in `pass`,
/// the first call deactivates both.
#[tokio::test]
async fn a_key_whose_predecessor_is_used_is_not_unused() {
    on_each(stores::all().await, async |setup| {
        let can = setup.can();
        if !(can.lineage && can.activation && can.last_use) {
            return;
        }
        let keys = recording(setup);
        let (old, _) = keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
        let (new, _) = keys.rotate(old.id(), Rotation::with_grace(30 * DAY)).await.unwrap();
        setup.clock.advance(20 * DAY);
        used(&setup.rows, old.key(), setup.clock.wall()).await;
        setup.clock.advance(DAY);
        let since = setup.clock.wall() - TimeDelta::days(14);
        assert_eq!(keys.deactivate_unused(since).await.unwrap(), 0);
        assert!(is_active(setup, old.id()).await && is_active(setup, new.id()).await);
        // Once nobody uses the old one either, both go.
        setup.clock.advance(8 * DAY);
        let since = setup.clock.wall() - TimeDelta::days(8);
        assert_eq!(keys.deactivate_unused(since).await.unwrap(), 2);
        assert!(!is_active(setup, old.id()).await && !is_active(setup, new.id()).await);
    })
    .await;
}

// Negative control: without the question about the window, its lines are admitted.
#[tokio::test]
async fn deactivate_unused_refuses_where_a_used_key_may_look_unused() {
    let (memory, window) = (MemoryStore::new(), Duration::from_secs(90));
    let clock = tower_token_auth::testing::ManualClock::at(start());
    let over = |last_used| {
        let builder = Authenticator::builder(memory.clone()).clock(clock.clone());
        builder.last_used(last_used).build().unwrap().0.keys()
    };
    let old = support::issue_with(&memory, "t", Owner::staff("ada"), |key| key).await;

    let off = over(LastUsed::Off);
    let error = off.deactivate_unused(days_ago(90)).await.unwrap_err();
    assert!(error.is_unsupported(), "{error}");
    assert!(error.to_string().contains("keeps no last uses"), "{error}");
    assert!(error.to_string().contains("deactivate keys by their ids"), "{error}");

    let on = over(LastUsed::Every(window));
    let twice = TimeDelta::from_std(2 * window).unwrap();
    for since in [start(), start() + TimeDelta::days(1), start() - twice + micros(1)] {
        let error = on.deactivate_unused(since).await.unwrap_err();
        assert!(error.is_invalid(), "{since}: {error}");
        assert!(error.to_string().contains("kept to 90s: give a moment at least twice"), "{error}");
    }
    let wide = over(LastUsed::Every(Duration::MAX));
    assert!(wide.deactivate_unused(DateTime::<Utc>::MIN_UTC).await.unwrap_err().is_invalid());
    assert!(memory.get(old.id()).await.unwrap().unwrap().key().is_active(), "nothing changed");
    assert_eq!(on.deactivate_unused(start() - twice).await.unwrap(), 1);

    let mut can = Capabilities::all();
    can.last_use = false;
    let forgetful = Authenticator::builder(Quirky::over(memory.clone()).able_to(can));
    let error = forgetful.build().unwrap().0.keys().deactivate_unused(days_ago(90)).await;
    assert!(error.unwrap_err().is_unsupported());
}

/// A bulk change that has listed its keys, and waits for the store's lock.
struct Waiting {
    store: Scripted,
    all: Vec<ApiKey>,
}

impl Waiting {
    async fn over(edit: impl Fn(ApiKey) -> ApiKey + Copy) -> Self {
        let store = Scripted::new();
        let mut all = Vec::new();
        for token in ["a", "b", "c", "d", "e"] {
            let key = support::issue_with(&store, token, Owner::staff("ada"), edit);
            all.push(key.await);
        }
        Self { store, all }
    }

    /// Lets `meanwhile` happen between the listing and the change; answers as `call` does.
    async fn run<F: Future<Output = u64> + Send + 'static>(
        &self,
        call: impl FnOnce(KeyManager) -> F,
        meanwhile: impl AsyncFnOnce(&MemoryStore, &[ApiKey]),
    ) -> u64 {
        let clock = tower_token_auth::testing::ManualClock::at(start());
        let builder: AuthenticatorBuilder = Authenticator::builder(self.store.clone());
        let keys = builder.clock(clock).build().unwrap().0.keys();
        self.store.hold_changes();
        let begun = self.store.changes_begun_so_far();
        let change = tokio::spawn(call(keys));
        self.store.changes_begun(begun + 1).await;
        meanwhile(self.store.rows(), &self.all).await;
        self.store.release();
        change.await.unwrap()
    }

    async fn stored(&self, n: usize) -> Option<ApiKey> {
        let found = self.store.get(self.all[n].id()).await.unwrap();
        found.map(|record| record.key().clone())
    }
}

// What others change between the listing and the change is asked again inside the transaction.
// Negative control: without `filter.admits` there, each of these three fails.
#[tokio::test]
async fn revoke_all_meets_keys_that_others_changed_meanwhile() {
    let waiting = Waiting::over(|key| key).await;
    let revoke = |keys: KeyManager| async move { keys.revoke_all("ada").await.unwrap() };
    let at = support::long_ago() + TimeDelta::days(1);
    let revoked = waiting.run(revoke, async |rows, all| {
        let off = |key: &ApiKey| Some(key.clone().with_active(false).with_updated_at(at));
        support::edit(rows, all[0].id(), |record| off(record.key())).await.unwrap();
        support::remove(rows, all[1].id()).await.unwrap();
        // One that was not listed: the next pass finds it.
        support::issue_with(rows, "new", Owner::staff("ada"), |key| key).await;
    });
    assert_eq!(revoked.await, 4, "three that were listed, and the new one");
    assert_eq!(waiting.stored(0).await.unwrap().updated_at(), at, "it was off already");
    assert_eq!(waiting.stored(1).await, None);
    for n in 2..5 {
        assert!(!waiting.stored(n).await.unwrap().is_active());
    }
    let new = waiting.store.find(support::digest(&waiting.store, "new")).await.unwrap().unwrap();
    assert!(!new.key().is_active());
}

#[tokio::test]
async fn delete_expired_spares_a_key_whose_expiry_others_put_off_meanwhile() {
    let waiting = Waiting::over(|key| key.with_expires_at(Some(days_ago(2)))).await;
    let delete = |keys: KeyManager| async move { keys.delete_expired(days_ago(1)).await.unwrap() };
    let deleted = waiting.run(delete, async |rows, all| {
        let later = |key: &ApiKey| Some(key.clone().with_expires_at(Some(days_ago(1))));
        support::edit(rows, all[0].id(), |record| later(record.key())).await.unwrap();
        let never = |key: &ApiKey| Some(key.clone().with_expires_at(None));
        support::edit(rows, all[1].id(), |record| never(record.key())).await.unwrap();
    });
    assert_eq!(deleted.await, 3);
    for n in 0..5 {
        assert_eq!(waiting.stored(n).await.is_some(), n < 2, "{n}");
    }
    // All of them gone before their turn: nothing to do, and no error.
    let waiting = Waiting::over(|key| key.with_expires_at(Some(days_ago(2)))).await;
    let deleted = waiting.run(delete, async |rows, all| {
        for key in all {
            support::remove(rows, key.id()).await.unwrap();
        }
    });
    assert_eq!(deleted.await, 0);
}

#[tokio::test]
async fn deactivate_unused_spares_a_key_that_is_used_meanwhile() {
    let waiting = Waiting::over(|key| key).await;
    let unused =
        |keys: KeyManager| async move { keys.deactivate_unused(days_ago(9)).await.unwrap() };
    let deactivated = waiting.run(unused, async |rows, all| {
        used(rows, &all[3], start()).await;
    });
    assert_eq!(deactivated.await, 4);
    for n in 0..5 {
        assert_eq!(waiting.stored(n).await.unwrap().is_active(), n == 3, "{n}");
    }
}

/// Bulk changes and single ones at once, on one key set: nothing is lost and nobody waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_changes_beside_others() {
    on_each(stores::whole().await, async |setup| {
        let keys = setup.keys();
        let all = seed(setup, "ada", MANY, |_, key| key).await;
        let ids: Vec<KeyId> = all.iter().map(ApiKey::id).collect();
        let renames = tokio::spawn({
            let keys = keys.clone();
            async move {
                for id in ids.into_iter().step_by(9) {
                    let update = KeyUpdate::new().name("renamed");
                    keys.update(id, update).await.unwrap();
                }
            }
        });
        let revokes = [keys.clone(), setup.keys()]
            .map(|keys| tokio::spawn(async move { keys.revoke_all("ada").await.unwrap() }));
        let [one, other] = revokes;
        assert_eq!(one.await.unwrap() + other.await.unwrap(), MANY as u64, "each key once");
        renames.await.unwrap();
        for (n, key) in all.iter().enumerate() {
            let stored = setup.stored(key.id()).await.unwrap();
            assert!(!stored.is_active(), "no rename brings it back");
            assert_eq!(stored.name() == "renamed", n % 9 == 0);
        }
    })
    .await;
}

/// Whoever makes keys as fast as they are ended is not run after for ever.
///
/// Negative control: without the end of a pass, or with passes without end, it goes on until no key is
/// made any more.
#[tokio::test(start_paused = true)]
async fn revoke_all_ends_though_keys_are_made_faster() {
    let waiting = Waiting::over(|key| key).await;
    waiting.store.step_changes(3);
    let (store, begun) = (waiting.store.clone(), waiting.store.changes_begun_so_far());
    let maker = tokio::spawn(async move {
        for n in 1..=100 {
            store.changes_begun(begun + n).await;
            let token = format!("made-while-it-runs-{n}");
            let at = start() + micros(n as i64);
            let digest = support::digest(&store, &token);
            let key = ApiKey::new(KeyId::random(), digest, "ada".into(), at);
            let owner = Owner::staff("ada");
            store.rows().insert(key, owner, None, &mut |_, _| true).await.unwrap();
        }
    });
    let keys = support::authenticator(waiting.store.clone()).keys();
    let revoked = keys.revoke_all("ada").await.unwrap();
    assert!((5..20).contains(&revoked), "{revoked}");
    assert!(!maker.is_finished());
    maker.abort();
    for n in 0..5 {
        assert!(!waiting.stored(n).await.unwrap().is_active(), "{n}");
    }
}

/// A key that can't be settled keeps nothing from the others, and of one owner's keys it is told that
/// not all were ended.
///
/// Negative control: it fails with unsettled keys left in the batch, with relatives that are not asked
/// about, with a decision to write nothing that asks for the relatives to be settled, and with one
/// owner's error forgotten.
#[tokio::test(start_paused = true)]
async fn a_key_that_can_not_be_settled_holds_up_no_other() {
    let waiting = Waiting::over(|key| key.with_expires_at(Some(days_ago(2)))).await;
    let clock = tower_token_auth::testing::ManualClock::at(start());
    let auth = Authenticator::builder(waiting.store.clone()).clock(clock);
    let keys = auth.last_used(LastUsed::default()).build().unwrap().0.keys();
    let stuck = waiting.all[2].id();
    // The last one replaced it, so that what becomes of the two depends on each other.
    let linked = waiting.all[4].clone().with_predecessor(Some(stuck));
    support::edit(waiting.store.rows(), linked.id(), |_| Some(linked.clone())).await.unwrap();
    let is_done = [true, true, false, true, false];
    waiting.store.stick(Some(stuck));
    assert!(keys.deactivate(stuck).await.unwrap_err().is_outcome_unknown());

    assert_eq!(keys.deactivate_unused(days_ago(9)).await.unwrap(), 3);
    for (n, is_done) in is_done.into_iter().enumerate() {
        assert_eq!(waiting.stored(n).await.unwrap().is_active(), !is_done, "{n}");
    }
    for n in [0, 1, 3] {
        let on = waiting.all[n].clone();
        support::edit(waiting.store.rows(), on.id(), |_| Some(on.clone())).await.unwrap();
    }
    let error = keys.revoke_all("ada").await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("earlier change"), "{error}");
    for (n, is_done) in is_done.into_iter().enumerate() {
        assert_eq!(waiting.stored(n).await.unwrap().is_active(), !is_done, "{n}");
    }
    assert_eq!(keys.delete_expired(days_ago(1)).await.unwrap(), 3);
    for (n, is_done) in is_done.into_iter().enumerate() {
        assert_eq!(waiting.stored(n).await.is_none(), is_done, "{n}");
    }

    waiting.store.stick(None);
    assert_eq!(keys.revoke_all("ada").await.unwrap(), 1, "the other one is off by then");
    assert_eq!(keys.delete_expired(days_ago(1)).await.unwrap(), 2);
}

/// On a bad day, with one batch after another lost, a single key can still be revoked.
///
/// Negative control: with places kept for relatives that are not there, half as many batches find room.
#[tokio::test(start_paused = true)]
async fn lost_batches_leave_room_for_a_single_key() {
    let store = Scripted::new();
    let mut last = None;
    for n in 0..40 {
        for key in 0..200 {
            let (owner, token) = (Owner::staff(format!("owner-{n}")), format!("{n}-{key}"));
            let key = support::issue_with(store.rows(), &token, owner, |key| key).await;
            last = Some(key.id());
        }
    }
    let keys = support::authenticator(store.clone()).keys();
    store.changes(Fate::LostBefore);
    let mut lost = 0;
    for n in 0..40 {
        let error = keys.revoke_all(format!("owner-{n}")).await.unwrap_err();
        lost += usize::from(error.is_outcome_unknown());
        assert!(error.is_outcome_unknown() || error.is_unavailable(), "{error}");
    }
    assert_eq!(lost, 19, "of 200 keys each, beside room for another 401 in 4,096");
    // Once the store answers, one that no batch was about can be revoked at once.
    store.changes(Fate::Made);
    assert!(!keys.deactivate(last.unwrap()).await.unwrap().key().is_active());
}

/// A successor of this owner whose predecessor somebody gave to another owner by hand goes like the
/// others.
///
/// Negative control: where the two "go together or stay", as in the changes of many owners' keys, both
/// stay.
#[tokio::test]
async fn revoke_all_ends_a_key_whose_predecessor_is_another_owner_s() {
    let store = MemoryStore::new();
    let ours = support::issue_with(&store, "new", Owner::staff("ada"), |key| key).await;
    let theirs = support::issue_with(&store, "old", Owner::staff("bob"), |key| key).await;
    let linked = ours.clone().with_predecessor(Some(theirs.id()));
    support::edit(&store, ours.id(), |_| Some(linked.clone())).await.unwrap();
    let keys = support::authenticator(store.clone()).keys();
    assert_eq!(keys.revoke_all("ada").await.unwrap(), 2, "with what was in its grace beside it");
    let stored = store.get(ours.id()).await.unwrap().unwrap();
    assert!(!stored.key().is_active());
}

/// A change that is lost while `revoke_all` goes keeps the key from it at first: then it goes round again.
///
/// Negative control: with a pass that does not tell what it left, it says that it is done, and the key is
/// active.
#[tokio::test]
async fn revoke_all_ends_a_key_of_which_a_change_is_lost_meanwhile() {
    let store = Scripted::new();
    let key = support::issue(&store, support::TOKEN).await;
    let keys = support::authenticator(store.clone()).keys();
    store.step_changes(1);
    let mut update = Box::pin(keys.update(key.id(), KeyUpdate::new().name("renamed")));
    assert!(support::poll_times(update.as_mut(), 2).await.is_none(), "made, and not answered");
    let mut all = Box::pin(keys.revoke_all("ada"));
    assert!(support::poll_times(all.as_mut(), 1).await.is_none(), "before its transaction");
    drop(update);
    assert_eq!(all.await.unwrap(), 1);
    assert!(!store.rows().get(key.id()).await.unwrap().unwrap().key().is_active());
}

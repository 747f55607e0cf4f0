//! Who settles what is lost: where there is no runtime, where it ends, and at the end of a service.

use std::{
    pin::pin,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use tower_token_auth::{Authenticator, KeyId, KeyUpdate, Owner};

use super::operations::{OTHER, Operation, Sound, TOKEN, TOKENS, World, key_id};
use crate::support::{Fate, Scripted, block_on, idle};

/// Polls a change until the store has decided, and drops it.
fn drop_halfway(world: &World<Scripted>, operation: Operation) {
    world.store.step_changes(1);
    {
        let mut change = pin!(operation.run(&world.auth));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(change.as_mut().poll(&mut cx).is_pending());
        }
    }
    world.store.step_changes(0);
}

/// A change that finds nothing to do, but settles what stands before it.
async fn another_change(auth: &Authenticator) {
    assert!(auth.keys().delete(KeyId::random()).await.is_err());
}

/// Nothing happens by itself there: what is lost is suspect until the next change settles it.
///
/// Seen to fail with what is about others left alone by `settle_before`.
#[test]
fn without_a_runtime_the_next_change_settles_what_was_dropped() {
    for operation in Operation::ALL {
        let sound = block_on(Sound::of(operation));
        for fate in [Fate::Made, Fate::LostBefore, Fate::Late] {
            let what = format!("{operation:?}, {fate:?}");
            let world = block_on(World::for_a(operation, Scripted::new()));
            world.store.changes(fate);
            drop_halfway(&world, operation);
            let touched = |token: &&&str| sound.touches(token);
            for token in TOKENS.iter().filter(touched) {
                assert!(block_on(world.is_suspect(token)), "{what}: {token}");
            }
            // In vain while the store is down: and the change that tried is not made either.
            world.store.changes(Fate::Down);
            block_on(another_change(&world.auth));
            for token in TOKENS.iter().filter(touched) {
                assert!(block_on(world.is_suspect(token)), "{what}: {token}");
            }
            world.store.changes(Fate::Made);
            block_on(another_change(&world.auth));
            sound.is_settled(operation, &block_on(world.rows()), &what);
            for token in TOKENS {
                assert!(!block_on(world.is_suspect(token)), "{what}: {token}");
            }
            assert_eq!(block_on(world.store.land()), 0, "{what}");
        }
    }
}

/// A future may be dropped where its runtime is not: then the next request about a suspect has it
/// settled.
///
/// Seen to fail without `rouse` in `Inner::refusal_of`: nobody tried.
#[tokio::test(start_paused = true)]
async fn dropped_on_a_thread_without_a_runtime_it_waits_for_the_next_request() {
    let world = World::for_a(Operation::Deactivate, Scripted::new()).await;
    thread::scope(|scope| {
        scope.spawn(|| drop_halfway(&world, Operation::Deactivate)).join().unwrap();
    });
    idle().await;
    let asked = world.store.changes_begun_so_far();
    assert!(world.is_suspect(TOKEN).await);
    world.store.changes_begun(asked + 1).await;
    idle().await;
    assert!(!world.is_suspect(TOKEN).await);
    assert!(!world.rows().await.key(1).unwrap().is_active());
}

/// A runtime that ends takes its tenders along: the next one's first request brings them back.
///
/// Seen to fail without `rouse` in `Inner::refusal_of`, and without `Queue::leave_alone`: nobody tried.
#[test]
fn a_runtime_that_ends_takes_nothing_along() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let world = block_on(World::for_a(Operation::Deactivate, Scripted::new()));
    runtime().block_on(async {
        let auth = world.auth.clone();
        world.store.step_changes(1);
        let mut change = Box::pin(async move { Operation::Deactivate.run(&auth).await });
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(change.as_mut().poll(&mut cx).is_pending());
        }
        // It has decided. Its task does not go on, and ends with its runtime.
        tokio::spawn(async move {
            let _change = change;
            std::future::pending::<()>().await;
        });
        idle().await;
    });
    world.store.step_changes(0);
    assert!(block_on(world.is_suspect(TOKEN)));
    let asked = world.store.changes_begun_so_far();
    runtime().block_on(async {
        assert!(world.is_suspect(TOKEN).await);
        world.store.changes_begun(asked + 1).await;
        idle().await;
        assert!(!world.is_suspect(TOKEN).await);
    });
    assert!(!block_on(world.rows()).key(1).unwrap().is_active());
}

/// At the end of a service the guard settles what it can within its deadline, beside the last uses,
/// and tells what is left.
///
/// Seen to fail without `settled` in `Guard::shutdown`, without `Queue::leave_alone`, and with pauses that
/// `rouse` does not cut short (not settled within the deadline).
#[tokio::test(start_paused = true)]
async fn the_guard_settles_what_it_can_and_tells_what_is_left() {
    for is_back in [true, false] {
        for is_auth_gone in [true, false] {
            let world = World::for_a(Operation::Deactivate, Scripted::new()).await;
            world.store.changes(Fate::LostBefore);
            let update = KeyUpdate::new().name("renamed");
            let lost = world.auth.keys().update(key_id(3), update).await.unwrap_err();
            assert!(lost.is_outcome_unknown());
            world.store.changes(Fate::Down);
            let World { store, auth, guard } = world;
            let auth = (!is_auth_gone).then_some(auth);
            // Long enough for a tender to give up, or to take its longest pause.
            for _ in 0..100 {
                tokio::time::advance(Duration::from_millis(500)).await;
                idle().await;
            }
            let coming_back = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if is_back {
                    store.changes(Fate::Made);
                }
            };
            let deadline = Duration::from_secs(2);
            let (report, ()) =
                futures_util::future::join(guard.shutdown(deadline), coming_back).await;
            let what = format!("back: {is_back}, authenticator gone: {is_auth_gone}");
            assert_eq!(report.unsettled(), usize::from(!is_back), "{what}");
            let told = report.to_string();
            let says = told.ends_with("; 1 changes of unknown outcome not settled");
            assert_eq!(says, !is_back, "{what}: {told}");
            store.changes(Fate::Made);
            let rows = World::over(store.clone()).rows().await;
            let name = rows.key(3).unwrap().name().to_owned();
            assert_eq!(name, if is_back { "renamed" } else { "key" }, "{what}");
            drop(auth);
        }
    }
}

/// Who drops authenticator and guard leaves the last tries to the runtime.
///
/// Seen to fail, in the second half, without `close` when the authenticator goes: somebody went on trying.
#[tokio::test(start_paused = true)]
async fn without_authenticator_and_guard_it_is_tried_a_few_times_more() {
    let world = World::for_a(Operation::Deactivate, Scripted::new()).await;
    world.store.changes(Fate::LostBefore);
    world.auth.keys().deactivate(key_id(1)).await.unwrap_err();
    world.store.changes(Fate::Down);
    let World { store, auth, guard } = world;
    drop((auth, guard));
    store.changes_begun(store.changes_begun_so_far() + 2).await;
    store.changes(Fate::Made);
    store.changes_begun(store.changes_begun_so_far() + 1).await;
    idle().await;
    assert!(!World::over(store).rows().await.key(1).unwrap().is_active());

    // A store that is gone as well is let go in the end.
    let world = World::for_a(Operation::Deactivate, Scripted::new()).await;
    world.store.changes(Fate::LostBefore);
    world.auth.keys().deactivate(key_id(1)).await.unwrap_err();
    world.store.changes(Fate::Down);
    let World { store, auth, guard } = world;
    drop((auth, guard));
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(store.holders(), 1, "nobody tries any more");
}

/// What the error says is what happens.
///
/// Seen to fail without `settled` in `KeyManager::room` (the change that waits says something else), and
/// without the look at suspects in `Cache::fetch`.
#[tokio::test(start_paused = true)]
async fn the_error_says_what_becomes_of_it() {
    let world = World::for_a(Operation::Deactivate, Scripted::new()).await;
    world.store.changes(Fate::LostBefore);
    let keys = world.auth.keys();
    let changed = keys.deactivate(key_id(1)).await.unwrap_err();
    let issued = keys.create(Owner::staff("ada"), Default::default()).await.unwrap_err();
    let rotated = keys.rotate(key_id(3), Default::default()).await.unwrap_err();
    for error in [&changed, &issued, &rotated] {
        assert!(error.is_outcome_unknown() && !error.is_unavailable());
        assert!(std::error::Error::source(error).is_some(), "and why");
        let text = error.to_string();
        assert!(text.contains("by itself as soon as the store answers"), "{text}");
        assert!(!text.contains("look before"), "{text}");
    }
    assert!(changed.to_string().contains("made again"), "{changed}");
    assert!(changed.to_string().contains("503"), "{changed}");
    for error in [issued, rotated] {
        assert!(error.to_string().contains("made inactive"), "{error}");
        assert!(error.to_string().contains("put back"), "{error}");
    }
    world.store.changes(Fate::Down);
    let waits = keys.activate(key_id(1)).await.unwrap_err();
    assert!(waits.is_unavailable() && waits.to_string().contains("no other is begun"), "{waits}");
    assert_eq!(world.refusal(OTHER).await.map(|kind| kind.as_str()), Some("suspect"));
}

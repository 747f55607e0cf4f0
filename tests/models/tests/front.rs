//! What a thread knows by itself is no older than what all threads know.
//!
//! The thread that asks is the one that began, as it has met the key; the change is made on another.
//!
//! How they were seen to fail, each under loom and under shuttle, with one mechanism removed
//! (`state/cache/front`): all of the first three with the fence's time not compared (`Cache::sight`); what
//! is learnt meanwhile with that time loaded behind the check (`Cache::keep`); the deletion of a key that this
//! one learns, with a slot that a newer one replaces and nothing ends (`Cache::publish`).

#![cfg(any(token_auth_loom, token_auth_shuttle))]

use std::sync::Arc;

use token_auth_models::{
    block_on, explore, spawn,
    world::{ABSENT, Answer, GOOD, TOKEN, World, key_id, reader},
};
use tower_token_auth::{RejectionKind, Subject};

/// Makes a change on another thread while this one asks twice; once it has returned, the answer is `then`.
fn races(world: &Arc<World>, then: Answer, change: impl FnOnce(&World) + Send + 'static) {
    races_for(world, 2, then, change);
}

fn races_for(
    world: &Arc<World>,
    times: usize,
    then: Answer,
    change: impl FnOnce(&World) + Send + 'static,
) {
    let other = {
        let world = Arc::clone(world);
        spawn(move || {
            change(&world);
            world.has_returned();
        })
    };
    reader(world, times, then)();
    other.join().unwrap();
    assert_eq!(world.answer(), then);
}

/// I1, by the stamps of the key and of its owner, and by a flush.
#[test]
fn a_key_that_a_thread_knows_is_revoked() {
    explore(3, || {
        races(&World::known(GOOD), Answer::Refused, |world| {
            world.change(&Subject::Key(key_id()), |row| row.key_active = false);
        });
    });
    explore(3, || {
        races(&World::known(GOOD), Answer::Refused, |world| {
            world.change(&Subject::Owner("ada".into()), |row| row.owner_active = false);
        });
    });
    explore(3, || {
        races(&World::known(GOOD), Answer::Refused, |world| {
            world.row.lock().unwrap().key_active = false;
            world.auth.flush();
        });
    });
}

/// Rule 10: what another thread's read found out counts for one that knew better.
#[test]
fn another_thread_finds_a_deletion_made_elsewhere() {
    explore(2, || {
        let world = World::known(GOOD);
        *world.row.lock().unwrap() = ABSENT;
        races(&world, Answer::Refused, |world| {
            let answer = block_on(world.auth.authenticate_authoritative(TOKEN));
            assert_eq!(answer.unwrap_err().kind(), RejectionKind::Unknown);
        });
    });
}

/// The same of a key that nobody had read: the thread's first read, which it then knows the key by, lands
/// while the other one, which found more, is on its way into the table. There is a place for both: what
/// finds none there tells nobody, and the TTL bounds what another thread knows.
#[test]
fn another_thread_finds_a_deletion_while_this_one_learns_the_key() {
    explore(2, || {
        races_for(&World::with_room(GOOD, 2), 5, Answer::Refused, |world| {
            world.row.lock().unwrap().key_active = false;
            let answer = block_on(world.auth.authenticate_authoritative(TOKEN));
            assert_ne!(answer.map(|key| key.id()).ok(), Some(key_id()));
        });
    });
}

/// I3: a change of a key that a thread knows is lost.
#[test]
fn a_key_that_a_thread_knows_becomes_suspect() {
    explore(2, || {
        races(&World::known(GOOD), Answer::Unavailable, |world| {
            world.auth.suspect(&Subject::Key(key_id()));
        });
    });
}

/// The thread learns the key while it is revoked, or becomes suspect: its next request looks again.
#[test]
fn what_is_learnt_during_a_change_is_not_used_behind_it() {
    let about_to_know = || {
        let world = World::warm(GOOD);
        assert_eq!(world.answer(), Answer::Admitted);
        assert!(!world.auth.knows(TOKEN), "from the next request on");
        world
    };
    explore(3, move || {
        races(&about_to_know(), Answer::Refused, |world| {
            world.change(&Subject::Key(key_id()), |row| row.key_active = false);
        });
    });
    explore(2, move || {
        races(&about_to_know(), Answer::Unavailable, |world| {
            world.auth.suspect(&Subject::Key(key_id()));
        });
    });
}

/// Every thread has its own: one that has met the key tells another nothing.
#[test]
fn a_thread_knows_what_it_has_met() {
    explore(2, || {
        let world = World::known(GOOD);
        let other = Arc::clone(&world);
        spawn(move || assert!(!other.auth.knows(TOKEN))).join().unwrap();
        assert!(world.auth.knows(TOKEN));
    });
}

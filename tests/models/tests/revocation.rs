//! No authentication that begins after a revocation returned is answered from before it.
//!
//! How they were seen to fail, each under loom and under shuttle, with one mechanism removed:
//! every test with slots used unchecked (`Cache::usable` without `is_current`); the tests of first
//! fills with the snap taken after the read (`Lead::read`); leader and follower with a waiter that
//! does not check what it is given (`Cache::fetch`); the flush with no stamp of its own; the
//! deletion made elsewhere without `supersede`; the two of the feed with the lease read behind the
//! stamps (`Cache::usable`), and its recovery with the lease extended before the flush. Boarding whatever the stamps say goes unseen here,
//! as reads without a runtime end before anybody could board: `tests/it/flight.rs` sees that.

#![cfg(any(token_auth_loom, token_auth_shuttle))]

use std::sync::Arc;

use token_auth_models::{
    block_on, explore, spawn,
    world::{ABSENT, Answer, GOOD, HOUR, TOKEN, World, digest, key_id, reader},
};
use tower_token_auth::{RejectionKind, Subject};

/// Authenticates once, in vain whatever else happens.
fn never_admitted(world: &Arc<World>) -> impl FnOnce() + Send + 'static {
    let world = Arc::clone(world);
    move || assert_ne!(world.answer(), Answer::Admitted, "by what was cached before the change")
}

/// I1, I2: a cold fill, and what it published, against the key's revocation.
#[test]
fn a_key_revoked_during_its_first_fill() {
    explore(3, || {
        let world = World::new(GOOD);
        let reader = spawn(reader(&world, 2, Answer::Refused));
        world.change(&Subject::Key(key_id()), |row| row.key_active = false);
        world.has_returned();
        reader.join().unwrap();
    });
}

/// I1: a warm table and two readers.
#[test]
fn a_cached_key_revoked_under_two_readers() {
    explore(2, || {
        let world = World::warm(GOOD);
        let readers =
            [spawn(reader(&world, 1, Answer::Refused)), spawn(reader(&world, 1, Answer::Refused))];
        world.change(&Subject::Key(key_id()), |row| row.key_active = false);
        world.has_returned();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// I2: the owner is not known when a follower joins, so that it must judge the result itself.
#[test]
fn an_owner_deactivated_under_leader_and_follower() {
    explore(2, || {
        let world = World::new(GOOD);
        let readers =
            [spawn(reader(&world, 1, Answer::Refused)), spawn(reader(&world, 1, Answer::Refused))];
        world.change(&Subject::Owner("ada".into()), |row| row.owner_active = false);
        world.has_returned();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// I9, I10: a negative read under way must not answer who comes after the key was made.
#[test]
fn a_key_created_during_a_negative_fill() {
    explore(2, || {
        let world = World::new(ABSENT);
        let readers = [
            spawn(reader(&world, 1, Answer::Admitted)),
            spawn(reader(&world, 1, Answer::Admitted)),
        ];
        world.change(&digest(), |row| *row = GOOD);
        world.has_returned();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// Delete, then create the same digest: neither answer outlives its change.
#[test]
fn a_key_deleted_and_created_again() {
    explore(2, || {
        let world = World::warm(GOOD);
        let reader = spawn(reader(&world, 2, Answer::Admitted));
        world.change(&Subject::Key(key_id()), |row| *row = ABSENT);
        assert_eq!(world.answer(), Answer::Refused, "a deleted key was admitted");
        world.change(&digest(), |row| *row = GOOD);
        world.has_returned();
        reader.join().unwrap();
    });
}

/// A flush against a fill under way and a cached slot.
#[test]
fn a_flush_outdates_what_is_cached_and_what_is_under_way() {
    explore(2, || {
        let world = World::new(GOOD);
        let readers =
            [spawn(reader(&world, 1, Answer::Refused)), spawn(reader(&world, 1, Answer::Refused))];
        world.row.lock().unwrap().key_active = false;
        world.auth.flush();
        world.has_returned();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// Rule 10: a read that finds a change made elsewhere revokes what stood before, so that no other
/// thread goes on with it, in whichever table it stands.
#[test]
fn a_read_finds_a_deletion_made_elsewhere() {
    explore(2, || {
        let world = World::warm(GOOD);
        *world.row.lock().unwrap() = ABSENT;
        let reader = spawn(reader(&world, 2, Answer::Refused));
        let answer = block_on(world.auth.authenticate_authoritative(TOKEN));
        assert_eq!(answer.unwrap_err().kind(), RejectionKind::Unknown);
        world.has_returned();
        reader.join().unwrap();
    });
}

/// Rule 10 against a local revocation: the older read must not come back with a newer snap.
#[test]
fn a_refresh_under_way_does_not_bring_a_revoked_key_back() {
    explore(2, || {
        let world = World::warm(GOOD);
        let refresher = {
            let world = Arc::clone(&world);
            spawn(move || drop(block_on(world.auth.authenticate_authoritative(TOKEN))))
        };
        world.change(&Subject::Key(key_id()), |row| row.key_active = false);
        assert_eq!(world.answer(), Answer::Refused, "a refresh published a revoked key");
        refresher.join().unwrap();
        assert_eq!(world.answer(), Answer::Refused, "a refresh published a revoked key");
    });
}

/// I5: a feed that listens again vouches for what is cached from then on, and never for what was
/// cached before.
#[test]
fn a_feed_that_listens_again_vouches_for_nothing_from_before() {
    explore(3, || {
        let world = World::past_the_short_ttl();
        let reader = spawn(never_admitted(&world));
        world.auth.feed_found(HOUR);
        reader.join().unwrap();
    });
}

/// I4: a probe that came back proves that what was told before it counts: who sees the longer lease
/// sees the word.
#[test]
fn a_longer_lease_is_never_seen_without_the_word_before_it() {
    explore(3, || {
        let world = World::past_the_short_ttl();
        let reader = spawn(never_admitted(&world));
        world.auth.revoke(&Subject::Key(key_id()));
        world.auth.feed_answered(HOUR);
        reader.join().unwrap();
    });
}

//! Of a key of which a change was lost nothing is said, and what was read meanwhile is not used.
//!
//! How they were seen to fail, each under loom and under shuttle, with one mechanism changed.
//! `nothing_suspect_is_kept`: with a publication that does not ask (`Cache::publish`), and with the
//! stamp before the mark (`Cache::suspect`): a read between the two is kept as current, which is what
//! a thread that keeps slots of its own would go on using. `what_was_read_meanwhile_is_not_used`: with
//! the mark cleared before the stamp (`Cache::settled`), and with a waiter that looks at the stamps
//! first and at the suspects second (`Cache::fetch`). `from_the_loss_to_the_end`: with no stamp at the
//! end. `another_loss_keeps_it_suspect`: with marks that are not counted (`Suspects::clear`). All of
//! them with no mark at all. The look in `Cache::lookup` is not needed for any of this, as the stamp
//! at the loss has outdated what is found there: it spares a read.

#![cfg(any(token_auth_loom, token_auth_shuttle))]

use std::sync::Arc;

use token_auth_models::{
    Ordering, explore, spawn,
    world::{Answer, GOOD, TOKEN, World, key_id},
};
use tower_token_auth::Subject;

fn key() -> Subject {
    Subject::Key(key_id())
}

/// Authenticates while the key is suspect from beginning to end.
fn doubter(world: &Arc<World>) -> impl FnOnce() + Send + 'static {
    let world = Arc::clone(world);
    move || {
        let after = world.returned.load(Ordering::Acquire);
        let answer = world.answer();
        assert!(!after || answer == Answer::Unavailable, "{answer:?} of a suspect");
    }
}

/// I3: from the moment the loss is known nothing current is kept, neither what was read before nor
/// what is read meanwhile, and whoever begins then is told nothing.
#[test]
fn nothing_suspect_is_kept() {
    explore(2, || {
        let world = World::new(GOOD);
        let readers = [spawn(doubter(&world)), spawn(doubter(&world))];
        world.auth.suspect(&key());
        world.has_returned();
        assert!(!world.auth.keeps(TOKEN), "kept when the loss was known");
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert!(!world.auth.keeps(TOKEN), "kept meanwhile");
        assert_eq!(world.answer(), Answer::Unavailable);
    });
}

/// I3: a lost deactivation is made good while others ask. They all began after the loss was known, so
/// that none of them may be admitted, and once it is settled they are refused.
#[test]
fn what_was_read_meanwhile_is_not_used() {
    explore(3, || {
        let world = World::new(GOOD);
        world.auth.suspect(&key());
        let reader = {
            let world = Arc::clone(&world);
            spawn(move || {
                for _ in 0..2 {
                    let after = world.returned.load(Ordering::Acquire);
                    let answer = world.answer();
                    assert_ne!(answer, Answer::Admitted, "from what was read while it was suspect");
                    assert!(!after || answer == Answer::Refused, "{answer:?} once it is settled");
                }
            })
        };
        world.row.lock().unwrap().key_active = false;
        world.auth.settled(&key());
        world.has_returned();
        reader.join().unwrap();
    });
}

/// I3, the whole of it, with a key that is cached: whoever begins after the loss is never admitted,
/// whoever begins after it was settled is refused.
#[test]
fn from_the_loss_to_the_end() {
    explore(2, || {
        let world = World::warm(GOOD);
        let reader = {
            let world = Arc::clone(&world);
            spawn(move || {
                for _ in 0..2 {
                    let after = world.returned.load(Ordering::Acquire);
                    let answer = world.answer();
                    assert!(!after || answer != Answer::Admitted, "after the loss");
                }
            })
        };
        world.auth.suspect(&key());
        world.has_returned();
        assert_eq!(world.answer(), Answer::Unavailable, "nothing is said");
        world.row.lock().unwrap().key_active = false;
        world.auth.settled(&key());
        assert_eq!(world.answer(), Answer::Refused, "settled");
        reader.join().unwrap();
    });
}

/// Two changes of one key are lost; when the first is made good, the second is not.
#[test]
fn another_loss_keeps_it_suspect() {
    explore(2, || {
        let world = World::new(GOOD);
        world.auth.suspect(&key());
        let second = {
            let world = Arc::clone(&world);
            spawn(move || {
                world.auth.suspect(&key());
                assert_eq!(world.answer(), Answer::Unavailable, "its own loss is not settled");
            })
        };
        world.auth.settled(&key());
        second.join().unwrap();
        assert_eq!(world.answer(), Answer::Unavailable);
        world.auth.settled(&key());
        assert_eq!(world.answer(), Answer::Admitted, "nothing had been made");
    });
}

//! Revocations against authentications on real threads.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use tower_token_auth::{Authenticator, KeyId, Record, Subject};

use crate::support::{Scripted, TOKEN, block_on, issue, rounds};

/// What the authenticating threads and the revoking one know of each other.
#[derive(Default)]
struct Course {
    /// Odd while the key is out of service: made odd when the revocation has returned, and even
    /// before the key is put back. SeqCst, so that nobody can see it odd before.
    phase: AtomicU64,
    /// Authentications in all.
    asked: AtomicU64,
    /// Those that began and ended in one odd phase.
    judged: AtomicU64,
    /// Those of them that were admitted.
    late: AtomicU64,
    /// Those that were admitted in an even phase.
    admitted: AtomicU64,
    over: AtomicBool,
}

/// I1: of 1,000,000 revocations with `TOKEN_AUTH_FULL=1`, otherwise 20,000, none lets an
/// authentication pass that began after it had returned. They go round through every way there is,
/// each is answered by at least one authentication that began and ended before the key was put back,
/// and half of the authenticating threads read through a runtime, the others inline.
///
/// Seen to fail without `is_current` in `Cache::usable`, without it in `Cache::fetch`, and with the
/// snap taken after the read.
#[test]
fn no_authentication_that_begins_after_a_revocation_is_admitted() {
    let races = rounds(20_000, 1_000_000) as u64;
    let store = Scripted::new();
    // So that revocations often find a read under way which has looked.
    store.step_answers(20);
    let key = block_on(issue(&store, TOKEN));
    let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_time().build().unwrap();
    let course = Course::default();
    thread::scope(|scope| {
        for has_runtime in [true, false] {
            let (course, auth, runtime) = (&course, &auth, &runtime);
            scope.spawn(move || {
                let _inside = has_runtime.then(|| runtime.enter());
                authenticate_until_over(course, auth);
            });
        }
        // Whatever happens, the others are let go.
        let _over = Over(&course);
        for race in 0..races {
            take_out(race, &auth, &store, &key.id());
            course.phase.fetch_add(1, Ordering::SeqCst);
            let before = course.judged.load(Ordering::SeqCst);
            while course.judged.load(Ordering::SeqCst) == before {
                thread::yield_now();
            }
            course.phase.fetch_add(1, Ordering::SeqCst);
            put_back(&auth, &key.id());
            if race.is_multiple_of(2) {
                // Every other time the key is in the cache when it is revoked, otherwise perhaps
                // on its way there.
                let before = course.admitted.load(Ordering::SeqCst);
                while course.admitted.load(Ordering::SeqCst) == before {
                    thread::yield_now();
                }
            }
        }
    });
    let Course { asked, judged, late, admitted, .. } = course;
    println!("{races} of 1000000 revocations against {asked:?} authentications,");
    println!("{judged:?} of them while it was out of service, {admitted:?} admitted before");
    assert_eq!(late.into_inner(), 0, "late admissions");
    assert!(judged.into_inner() >= races && admitted.into_inner() >= races / 2);
}

struct Over<'a>(&'a Course);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

fn authenticate_until_over(course: &Course, auth: &Authenticator) {
    while !course.over.load(Ordering::SeqCst) {
        let phase = course.phase.load(Ordering::SeqCst);
        let is_admitted = block_on(auth.authenticate(TOKEN)).is_ok();
        let is_same = course.phase.load(Ordering::SeqCst) == phase;
        course.asked.fetch_add(1, Ordering::Relaxed);
        if phase.is_multiple_of(2) {
            course.admitted.fetch_add(u64::from(is_admitted), Ordering::SeqCst);
        } else if is_same {
            course.late.fetch_add(u64::from(is_admitted), Ordering::SeqCst);
            course.judged.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn take_out(race: u64, auth: &Authenticator, store: &Scripted, id: &KeyId) {
    let keys = auth.keys();
    let mut edit = |record: &Record| Some(record.key().clone().with_active(false));
    let mut behind_its_back = || block_on(crate::support::edit(store, *id, &mut edit)).unwrap();
    match race % 5 {
        0 => drop(block_on(keys.deactivate(*id)).unwrap()),
        1 => drop(block_on(keys.deactivate_owner("ada")).unwrap()),
        2 => {
            let record = behind_its_back();
            auth.revoke(&Subject::Digest(*record.key().digest()));
        }
        3 => {
            let record = behind_its_back();
            auth.revoke(&Subject::Owner(record.owner().id().clone()));
        }
        _ => {
            behind_its_back();
            auth.flush();
        }
    }
}

fn put_back(auth: &Authenticator, id: &KeyId) {
    let keys = auth.keys();
    block_on(keys.activate_owner("ada")).unwrap();
    block_on(keys.activate(*id)).unwrap();
}

//! What a revocation that returned has outdated, and when it does so.

use futures_util::FutureExt as _;
use tower_token_auth::{ApiKey, Authenticator, Owner, Record, Subject};

use crate::support::{Scripted, TOKEN, ask, authenticator, digest, idle, issue, issue_with};

/// Every way to take a key out of service: through the manager, and behind its back with a word to
/// the authenticator afterwards.
#[derive(Clone, Copy, Debug)]
enum Way {
    Deactivate,
    Toggle,
    Delete,
    DeactivateOwner,
    RevokeKey,
    RevokeOwner,
    RevokeDigest,
    Flush,
}

impl Way {
    const ALL: [Self; 8] = [
        Self::Deactivate,
        Self::Toggle,
        Self::Delete,
        Self::DeactivateOwner,
        Self::RevokeKey,
        Self::RevokeOwner,
        Self::RevokeDigest,
        Self::Flush,
    ];
    const MANAGED: [Self; 4] =
        [Self::Deactivate, Self::Toggle, Self::Delete, Self::DeactivateOwner];

    async fn go(self, auth: &Authenticator, store: &Scripted, key: &ApiKey) -> Result<(), String> {
        let (keys, id, owner) = (auth.keys(), key.id(), key.owner_id().clone());
        let managed = match self {
            Self::Deactivate => keys.deactivate(id).await.map(drop),
            Self::Toggle => keys.toggle_active(id).await.map(drop),
            Self::Delete => keys.delete(id).await.map(drop),
            Self::DeactivateOwner => keys.deactivate_owner(owner).await.map(drop),
            Self::RevokeKey => {
                switch_off(store, key).await;
                auth.revoke(&Subject::Key(id));
                Ok(())
            }
            Self::RevokeOwner => {
                let mut edit = |owner: &Owner| Some(owner.clone().with_active(false));
                crate::support::edit_owner(store, &owner, &mut edit)
                    .await
                    .expect("the owner is there");
                auth.revoke(&Subject::Owner(owner));
                Ok(())
            }
            Self::RevokeDigest => {
                crate::support::remove(store, id).await.expect("the key is there");
                auth.revoke(&Subject::Digest(*key.digest()));
                Ok(())
            }
            Self::Flush => {
                switch_off(store, key).await;
                auth.flush();
                Ok(())
            }
        };
        managed.map_err(|error| error.to_string())
    }
}

/// Deactivates the key in the store, unknown to any authenticator.
async fn switch_off(store: &Scripted, key: &ApiKey) {
    let mut edit = |record: &Record| Some(record.key().clone().with_active(false));
    crate::support::edit(store, key.id(), &mut edit).await.expect("the key is there");
}

async fn cached() -> (Authenticator, Scripted, ApiKey) {
    let store = Scripted::new();
    let key = issue(&store, TOKEN).await;
    let auth = authenticator(store.clone());
    auth.authenticate(TOKEN).await.expect("the key is usable");
    (auth, store, key)
}

async fn refused(auth: &Authenticator) -> bool {
    auth.authenticate(TOKEN).await.is_err_and(|refusal| refusal.kind().is_about_the_key())
}

/// I1, from the map.
///
/// Seen to fail: without the stamps in `Fence::revoke` (at `Deactivate`), without the flush stamp in
/// `Fence::is_current` (at `Flush`), without the digest's stamp among a present record's (at
/// `RevokeDigest`), and without `is_current` in `Cache::usable`.
#[tokio::test]
async fn a_cached_key_is_refused_once_its_revocation_returned() {
    for way in Way::ALL {
        let (auth, store, key) = cached().await;
        assert!(auth.authenticate(TOKEN).now_or_never().is_some(), "cached");
        way.go(&auth, &store, &key).await.unwrap();
        assert!(refused(&auth).await, "{way:?}");
        assert!(refused(&auth).await, "{way:?}, again");
    }
}

/// I1 and I2 by a read that looked before the change and answers after it: newcomers who follow it,
/// and who find what it might have published. With `DeactivateOwner` neither the digest nor the key
/// is stamped; with `RevokeKey` nobody knows while the read is under way whose digest it is.
///
/// Seen to fail: without `is_current` in `Cache::fetch` (the newcomer was admitted, at
/// `Deactivate`), with the snap taken when the read landed, and, for what is found afterwards,
/// without `is_current` in both `Cache::publish` and `Cache::usable`.
#[tokio::test]
async fn a_read_that_looked_before_a_revocation_admits_nobody_who_came_after_it() {
    for way in Way::ALL {
        let store = Scripted::new();
        let key = issue(&store, TOKEN).await;
        let auth = authenticator(store.clone());
        store.hold_answers();
        let early = ask(&auth, TOKEN);
        store.begun(1).await;
        idle().await;
        way.go(&auth, &store, &key).await.unwrap();
        let late = ask(&auth, TOKEN);
        idle().await;
        store.release();
        assert!(late.await.unwrap().is_err_and(|no| no.kind().is_about_the_key()), "{way:?}");
        let _either = early.await.unwrap();
        assert!(refused(&auth).await, "{way:?}: published");
    }
}

/// I1 where the slot's refresh is under way when the revocation returns.
///
/// Seen to fail like the test before.
#[tokio::test]
#[cfg(feature = "test-util")]
async fn a_refresh_that_looked_before_a_revocation_brings_nothing_back() {
    for way in Way::ALL {
        let clock = tower_token_auth::testing::ManualClock::at(crate::support::long_ago());
        let store = Scripted::new();
        let key = issue(&store, TOKEN).await;
        let (auth, _guard) =
            Authenticator::builder(store.clone()).clock(clock.clone()).build().unwrap();
        auth.authenticate(TOKEN).await.unwrap();
        clock.advance(std::time::Duration::from_secs(9));
        store.hold_answers();
        assert!(auth.authenticate(TOKEN).now_or_never().unwrap().is_ok(), "and asks for a refresh");
        store.begun(2).await;
        idle().await;
        way.go(&auth, &store, &key).await.unwrap();
        store.release();
        idle().await;
        assert!(refused(&auth).await, "{way:?}");
    }
}

/// I3, first clause: a read that begins after a change was asked for, and before it is committed,
/// is outdated by it.
///
/// Seen to fail with `settle` outdating its subjects before it awaits the change, and not after.
#[tokio::test]
async fn a_change_outdates_what_was_read_until_its_commit() {
    for way in Way::MANAGED {
        let (auth, store, key) = cached().await;
        store.hold_changes();
        let change = tokio::spawn({
            let (auth, store, key) = (auth.clone(), store.clone(), key.clone());
            async move { way.go(&auth, &store, &key).await }
        });
        // The first change put the key in.
        store.changes_begun(2).await;
        auth.flush();
        assert!(auth.authenticate(TOKEN).await.is_ok(), "not committed yet, and cached anew");
        assert_eq!(store.reads(), 2);
        store.release();
        change.await.unwrap().unwrap();
        assert!(refused(&auth).await, "{way:?}");
    }
}

/// The other side of it: a change that certainly was not made costs nothing.
///
/// Seen to fail with `settle` outdating on every error.
#[tokio::test]
async fn a_change_that_was_not_made_outdates_nothing() {
    let store = Scripted::new();
    let key = issue_with(&store, TOKEN, Owner::new("bob"), |key| key).await;
    let auth = authenticator(store.clone());
    auth.authenticate(TOKEN).await.unwrap();
    let refusal = auth.keys().activate(key.id()).await.unwrap_err();
    assert!(refusal.is_business_rule(), "the owner is no staff");
    assert!(auth.authenticate(TOKEN).now_or_never().is_some(), "still cached");
}

/// I10 and the order of events of a key that comes to be while its absence is being read: the read looked
/// before the key was there, and answers afterwards.
///
/// Seen to fail with absent slots that depend on no stamp but the flush: `Unknown` from the table.
#[tokio::test]
async fn a_key_put_in_during_a_read_of_its_absence_is_known_at_once() {
    let store = Scripted::new();
    let auth = authenticator(store.clone());
    for _ in 0..2 {
        store.hold_answers();
        let early = ask(&auth, TOKEN);
        store.begun(store.reads() + 1).await;
        idle().await;
        let key = issue(&store, TOKEN).await;
        auth.revoke(&Subject::Digest(digest(&store, TOKEN)));
        store.release();
        assert!(auth.authenticate(TOKEN).await.is_ok());
        let _either = early.await.unwrap();
        assert!(auth.authenticate(TOKEN).await.is_ok(), "the absence was not published");
        // And once more, after a deletion that left a negative entry.
        auth.keys().delete(key.id()).await.unwrap();
        assert!(refused(&auth).await);
        auth.flush();
    }
    issue(&store, TOKEN).await;
    assert!(auth.authenticate(TOKEN).await.is_ok(), "nothing was read since the flush");
}

/// I10: of a key that was put in, its negative entry here does not outlive the word about it.
///
/// Seen to fail with absent slots that depend on no stamp but the flush.
#[tokio::test]
async fn the_negative_entry_of_a_new_key_goes_with_its_digest_s_stamp() {
    let store = Scripted::new();
    let auth = authenticator(store.clone());
    assert!(refused(&auth).await);
    issue(&store, TOKEN).await;
    assert!(refused(&auth).await, "nobody has said so yet");
    assert_eq!(store.reads(), 1);
    auth.revoke(&Subject::Digest(digest(&store, TOKEN)));
    assert!(auth.authenticate(TOKEN).await.is_ok());
}

//! The feed within one process, through its own way of failing: being behind, and being gone.

use tower_token_auth::store::RevocationChannel;

use super::*;

struct Two {
    channel: RevocationChannel,
    store: Scripted,
    auth: Authenticator,
    clock: ManualClock,
    key: ApiKey,
}

async fn two(capacity: usize) -> Two {
    let (store, clock) = (Scripted::new(), ManualClock::at(long_ago()));
    let channel = RevocationChannel::new(capacity);
    let key = issue(&store, TOKEN).await;
    let builder = Authenticator::builder(store.clone()).clock(clock.clone()).fresh_ttl(HOUR);
    let (auth, _guard) = builder.feed(channel.feed()).build().unwrap();
    idle().await;
    assert_eq!(auth.feed_health(), FeedHealth::Healthy);
    assert!(auth.authenticate(TOKEN).await.is_ok());
    Two { channel, store, auth, clock, key }
}

async fn switch_off(two: &Two) {
    let mut edit = |record: &Record| Some(record.key().clone().with_active(false));
    crate::support::edit(&two.store, two.key.id(), &mut edit).await.unwrap();
}

async fn refused(two: &Two) -> bool {
    two.auth.authenticate(TOKEN).await.is_err_and(|no| no.kind() == RejectionKind::KeyInactive)
}

#[tokio::test(start_paused = true)]
async fn every_feed_of_a_channel_hears_every_word() {
    let one = two(16).await;
    let (other, _guard) = Authenticator::builder(one.store.clone())
        .fresh_ttl(HOUR)
        .feed(one.channel.feed())
        .build()
        .unwrap();
    idle().await;
    assert!(other.authenticate(TOKEN).await.is_ok());
    switch_off(&one).await;
    one.channel.revoke(Subject::Key(one.key.id()));
    idle().await;
    assert!(refused(&one).await && other.authenticate(TOKEN).await.is_err());
    assert!(other.feed_health().is_healthy(), "another feed's probes are not its own");
    one.channel.flush();
    idle().await;
    let reads = one.store.reads();
    assert!(refused(&one).await && one.store.reads() == reads + 1, "flushed");
}

/// More words than the channel holds, before the feed took any: the one that matters is gone.
///
/// Seen to fail with `ChannelFeed::next` that passes over being behind.
#[tokio::test(start_paused = true)]
async fn a_feed_that_is_behind_has_a_gap() {
    let setup = two(4).await;
    switch_off(&setup).await;
    setup.channel.revoke(Subject::Key(setup.key.id()));
    for _ in 0..8 {
        setup.channel.revoke(Subject::Key(tower_token_auth::KeyId::random()));
    }
    idle().await;
    tokio::time::advance(TICK).await;
    idle().await;
    assert!(refused(&setup).await);
    assert!(setup.auth.feed_health().is_healthy(), "and it listens again");
}

/// Seen to fail with a feed that holds a sender of its own.
#[tokio::test(start_paused = true)]
async fn a_channel_that_is_gone_is_a_feed_that_is_down() {
    let setup = two(4).await;
    drop(setup.channel);
    idle().await;
    let health = setup.auth.feed_health().to_string();
    assert!(health.contains("unhealthy") && health.contains("keep a clone"), "{health}");
    setup.store.hold();
    setup.clock.advance(secs(5));
    assert!(setup.auth.authenticate(TOKEN).now_or_never().is_none(), "the short TTL holds");
}

#[tokio::test]
async fn a_channel_of_any_size_can_be_made() {
    for capacity in [0, 1, usize::MAX] {
        let channel = RevocationChannel::new(capacity);
        channel.flush();
        assert_eq!(format!("{channel:?}"), "RevocationChannel { feeds: 0, .. }");
    }
}

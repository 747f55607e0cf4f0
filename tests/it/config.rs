//! Settings that make no sense are refused when the authenticator is built, in one line that says
//! what to do.

use std::time::Duration;

use tower_token_auth::{
    Authenticator, AuthenticatorBuilder, LastUsed, MemoryStore, store::RevocationChannel,
};

type Setting = (&'static str, fn(AuthenticatorBuilder) -> AuthenticatorBuilder);

const NONSENSE: [Setting; 24] = [
    ("capacity is 0: set it to", |builder| builder.capacity(0)),
    ("capacity is 18446744073709551615: set it to", |builder| builder.capacity(usize::MAX)),
    ("negative_capacity is 0: set it to", |builder| builder.negative_capacity(0)),
    ("fresh_ttl is 0: set it to", |builder| builder.fresh_ttl(Duration::ZERO)),
    ("negative_ttl is 0: set it to", |builder| builder.negative_ttl(Duration::ZERO)),
    ("store_timeout is 0: set it to", |builder| builder.store_timeout(Duration::ZERO)),
    ("store_timeout is above an hour", |builder| builder.store_timeout(Duration::MAX)),
    ("max_in_flight is 0: set it to 2 or more", |builder| builder.max_in_flight(0)),
    ("max_in_flight is 1: set it to 2 or more", |builder| builder.max_in_flight(1)),
    ("max_in_flight is 18446744073709551615", |builder| builder.max_in_flight(usize::MAX)),
    ("max_waiting is 0: set it to 1 or more", |builder| builder.max_waiting(0)),
    ("max_waiting is 18446744073709551615", |builder| builder.max_waiting(usize::MAX)),
    ("feed_heartbeat is 0ns: set it to 10ms or more", |builder| {
        builder.feed_heartbeat(Duration::ZERO)
    }),
    ("feed_heartbeat is 3601s: set it to an hour or less", |builder| {
        builder.feed_heartbeat(Duration::from_secs(3_601))
    }),
    ("feed_timeout is 9ms: set it to 10ms or more", |builder| {
        builder.feed_timeout(Duration::from_millis(9))
    }),
    ("feed_timeout is 18446744073709551615", |builder| builder.feed_timeout(Duration::MAX)),
    ("short_ttl is 0ns: set it to 1ns or more", |builder| builder.short_ttl(Duration::ZERO)),
    ("short_ttl is 18446744073709551615", |builder| builder.short_ttl(Duration::MAX)),
    ("stale_if_error is 3601s: set it to an hour or less", |builder| {
        builder.stale_if_error(Duration::from_secs(3_601))
    }),
    ("`LastUsed::Off`", |builder| builder.last_used(LastUsed::Every(Duration::ZERO))),
    ("max_grace is above ten years: set it to", |builder| builder.max_grace(Duration::MAX)),
    ("platform_account is no account's id: give one", |builder| builder.platform_account("")),
    ("platform_account is no account's id", |builder| builder.platform_account("x".repeat(129))),
    ("platform_account is no account's id", |builder| builder.platform_account("a\nb")),
];

#[test]
fn nonsense_is_refused_in_one_line_that_says_what_to_do() {
    for (expected, set) in NONSENSE {
        let error = set(Authenticator::builder(MemoryStore::new())).build().unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[tokio::test]
async fn what_is_extreme_but_no_nonsense_works() {
    let hour = Duration::from_secs(3_600);
    let channel = RevocationChannel::new(1);
    let extremes = Authenticator::builder(MemoryStore::new())
        .feed(channel.feed())
        .feed_heartbeat(Duration::from_millis(10))
        .feed_timeout(hour)
        .short_ttl(hour)
        .stale_if_error(hour)
        .capacity(1)
        .negative_capacity(1)
        .fresh_ttl(Duration::MAX)
        .negative_ttl(Duration::MAX)
        .store_timeout(hour)
        .max_in_flight(2)
        .max_waiting(1)
        .last_used(LastUsed::Every(Duration::MAX))
        .max_grace(Duration::from_secs(10 * 365 * 24 * 3_600))
        .platform_account("p".repeat(128));
    let (auth, guard) = extremes.build().unwrap();
    let new = tower_token_auth::NewKey::named("first");
    let (_, token) = auth.keys().create(tower_token_auth::Owner::staff("ada"), new).await.unwrap();
    for _ in 0..2 {
        assert_eq!(auth.authenticate(token.expose()).await.unwrap().name(), "first");
        assert!(auth.authenticate("unknown").await.is_err());
    }
    assert_eq!(guard.shutdown(Duration::from_secs(1)).await.written(), 1);
}

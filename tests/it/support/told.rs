//! What a feed of our own tells by now.

use std::time::Duration;

use tower_token_auth::store::{Heard, RevocationFeed};

/// Long enough that a test which waits for it has failed.
pub(crate) const FOREVER: Duration = Duration::from_secs(30);

/// All that the feed tells by now: it answers a probe behind it.
pub(crate) async fn told(feed: &mut impl RevocationFeed) -> Vec<Heard> {
    feed.probe(7).await.unwrap();
    let mut told = Vec::new();
    loop {
        let next = tokio::time::timeout(FOREVER, feed.next()).await;
        match next.expect("the probe comes back").unwrap() {
            Heard::Alive(nonce) => {
                assert_eq!(nonce, 7);
                return told;
            }
            heard => told.push(heard),
        }
    }
}

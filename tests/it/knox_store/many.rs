//! A feed beside very many keys in use: a look at them comes to its end, and how long it takes is printed.

use std::time::{Duration, Instant};

use tower_token_auth::{
    DigestAlgorithm, TokenDigest,
    store::{Heard, KeyStore as _, RevocationFeed as _},
};

use crate::support::{
    rounds,
    site::{KINDS, Site},
};

/// Keys of the user 1, made by the database itself, and their digests.
async fn issue_many(site: &Site, count: u32) -> Vec<TokenDigest> {
    let digests: Vec<_> =
        (0..count).map(|n| TokenDigest::of(DigestAlgorithm::Sha512, &n.to_string())).collect();
    let at = site.at("2026-01-02 03:04:05");
    for part in digests.chunks(1_000) {
        let rows: Vec<_> =
            part.iter().map(|d| format!("('{}', {at}, 1, NULL, 'abc')", d.to_hex())).collect();
        site.run(&format!(
            "INSERT INTO knox_authtoken (digest, created, user_id, expiry, token_key) VALUES {}",
            rows.join(", ")
        ))
        .await;
    }
    digests
}

#[expect(clippy::disallowed_methods, reason = "a measurement is of real time")]
fn now() -> Instant {
    Instant::now()
}

/// With `TOKEN_AUTH_FULL=1`, at 1,000, 10,000 and 100,000 keys in use, of which 65,536 are looked at;
/// otherwise at 1,000. That each probe is answered is all that is asserted; the time is for whoever reads it.
#[tokio::test]
async fn a_feed_looks_at_very_many_keys() {
    for kind in KINDS {
        for count in [1_000, 10_000, 100_000] {
            if count > rounds(1_000, 100_000) as u32 {
                continue;
            }
            let Some(site) = Site::new(kind, false).await else { continue };
            site.users(&[1]).await;
            let digests = issue_many(&site, count).await;
            let store = site.store().await;
            let mut feed = store.feed();
            feed.listen().await.unwrap();
            for part in digests.chunks(10_000) {
                assert_eq!(store.find_many(part).await.unwrap().len(), part.len());
            }
            let mut longest = Duration::ZERO;
            for nonce in 0..3 {
                // On SQLite, a look is at all of them where something was written.
                site.run("UPDATE auth_user SET last_name = 'b'").await;
                feed.probe(nonce).await.unwrap();
                let began = now();
                assert_eq!(feed.next().await.unwrap(), Heard::Alive(nonce));
                longest = longest.max(began.elapsed());
            }
            println!("{kind:?}: a look at {count} keys in use takes {longest:.2?}");
        }
    }
}

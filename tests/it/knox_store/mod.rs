//! What only the store over Django's tables promises; what every store promises is in `conforms`.
//!
//! The tables are made by statements of our own, and hold what no Django would write.

mod busy;
#[cfg(feature = "test-util")]
mod conforms;
mod expiry;
#[cfg(feature = "postgres")]
mod failover;
#[cfg(feature = "test-util")]
mod feed;
mod holds;
mod least;
mod lookup;
mod management;
#[cfg(feature = "test-util")]
mod many;
mod owners;
mod ownership;
mod replaced;
mod rights;
mod rows;
mod start;
mod tokens;
#[cfg(feature = "test-util")]
mod triggers;

use std::future::Future;

use tower_token_auth::{DigestAlgorithm, TokenDigest};

use crate::support::site::{KINDS, Site};

/// The token of whatever key a test makes, and its digest as Django keeps it.
const TOKEN: &str = "b6e3a5c0ffee";

fn digest() -> TokenDigest {
    TokenDigest::of(DigestAlgorithm::Sha512, TOKEN)
}

/// On each database, plain and Smarter's: with the user 1, who is staff and has the profile 1 in the
/// account 1.
async fn on_each<F: Future<Output = ()>>(test: impl Fn(Site, bool) -> F) {
    for kind in KINDS {
        for is_smarter in [false, true] {
            let Some(site) = Site::new(kind, is_smarter).await else { continue };
            site.users(&[1]).await;
            if is_smarter {
                site.account(1, "0000-0000-0001").await;
                site.profile(1, 1, 1).await;
            }
            test(site, is_smarter).await;
        }
    }
}

/// A key of the user 1; `expiry` is SQL.
async fn issue(site: &Site, is_smarter: bool, digest: &str, expiry: &str) {
    site.token(digest, 1, expiry).await;
    if is_smarter {
        site.key(digest, 1, true).await;
    }
}

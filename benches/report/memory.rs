//! G8: the memory that one cached key takes.

use std::{fs, sync::Arc};

use chrono::{DateTime, Utc};
use counting_allocator::growth_of;
use tokio::runtime::Builder;
use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, KeyId, Owner, Record, Token, TokenDigest,
    store::{KeyStore, KeyUse, StoreError},
};

use crate::{Effort, contenders::now, print, statistics::Estimate};

const GOAL: f64 = 400.0;
const KEYS: u32 = 1_000_000;
const OWNERS: u32 = 1_000;

/// A store that knows every token and keeps nothing but its owners, which their keys share. A key
/// has a name of 20 characters and no other text, or what our own stores read beside it.
struct Everything {
    owners: Vec<Arc<Owner>>,
    made_at: DateTime<Utc>,
    has_token_keys: bool,
}

impl Everything {
    fn new(has_token_keys: bool) -> Self {
        let owners = (0..OWNERS).map(|number| Arc::new(Owner::staff(number))).collect();
        Self { owners, made_at: now(), has_token_keys }
    }

    fn record(&self, digest: TokenDigest) -> Record {
        let head = digest.as_bytes().first_chunk().expect("a digest has at least 32 bytes");
        let number = u32::from_ne_bytes(*head);
        let owner = &self.owners[(number % OWNERS) as usize];
        let key = ApiKey::new(KeyId::random(), digest, owner.id().clone(), self.made_at)
            .with_name(format!("{number:020}"))
            .with_expires_at(Some(self.made_at + chrono::TimeDelta::days(30)))
            // Used just now: the recorder has nothing to keep of it.
            .with_last_used_at(Some(self.made_at));
        let key = match Token::parse("0123456789abcdef") {
            Ok(token) if self.has_token_keys => key.with_token_key(token.token_key()),
            _ => key,
        };
        Record::new(key, Arc::clone(owner))
    }
}

impl KeyStore for Everything {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        DigestAlgorithm::Sha256
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        Ok(Some(self.record(digest)))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        Ok(digests.iter().map(|digest| self.record(*digest)).collect())
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        Ok(uses.len() as u64)
    }
}

pub(crate) fn report(effort: Effort) {
    let keys = if effort == Effort::Smoke { 10_000 } else { KEYS };
    let Weight { asked_for, resident } = per_key(keys, false);
    let exact = Estimate { value: asked_for, low: asked_for, high: asked_for };
    print("G8", exact, &format!("<= {GOAL:.0}"), asked_for <= GOAL, 0);
    println!(
        "    bytes for each of {keys} keys, the fence's stamps included; there are no fronts yet"
    );
    if let Some(resident) = resident {
        println!("    the process grew by {resident:.0} for each: the allocator rounds up");
    }
    let Weight { asked_for, .. } = per_key(keys, true);
    println!("    with the token key that our own stores read: {asked_for:.0}");
}

/// Bytes for each cached key.
struct Weight {
    /// Asked of the allocator and not given back.
    asked_for: f64,
    /// What the process grew by, where the system tells.
    resident: Option<f64>,
}

fn per_key(keys: u32, has_token_keys: bool) -> Weight {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let store = Everything::new(has_token_keys);
    let before = resident();
    let (kept, growth) = growth_of(|| {
        let builder = Authenticator::read_only(store).capacity(keys as usize);
        let kept = builder.build().expect("the capacity fits");
        runtime.block_on(async {
            for number in 0..keys {
                kept.0.authenticate(&format!("token {number}")).await.expect("every key is good");
            }
        });
        kept
    });
    let grown = before.zip(resident()).map(|(before, after)| after.saturating_sub(before));
    drop(kept);
    Weight {
        asked_for: growth.kept as f64 / f64::from(keys),
        resident: grown.map(|grown| grown as f64 / f64::from(keys)),
    }
}

/// The bytes of memory that this process holds, where Linux says so.
pub(crate) fn resident() -> Option<u64> {
    let pages: u64 =
        fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}

//! A store of one's own: keys from a table of another system, with typed data attached to each key.
//!
//! `cargo run --example custom_store --features full`

use std::{
    collections::{HashMap, HashSet},
    error::Error,
};

use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, KeyId, Owner, Record, TokenDigest,
    store::{KeyStore, KeyUse, StoreError},
};

/// What this system knows of a customer and wants at hand in every handler.
#[derive(Clone, Debug)]
struct Plan {
    requests_per_minute: u32,
}

/// The other system's table, here in memory: a digest's bytes, and what belongs to it.
struct Customers(HashMap<Vec<u8>, (ApiKey, Plan)>);

impl Customers {
    fn row(&self, digest: &TokenDigest) -> Option<Record> {
        let (key, plan) = self.0.get(digest.as_bytes())?;
        let owner = Owner::new(key.owner_id().clone());
        Some(Record::new(key.clone(), owner).with_data(plan.clone()))
    }
}

impl KeyStore for Customers {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        DigestAlgorithm::Sha256
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        Ok(self.row(&digest))
    }

    /// With a database behind it: one query for all of them, not one for each.
    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        let wanted: HashSet<&TokenDigest> = digests.iter().collect();
        Ok(wanted.into_iter().filter_map(|digest| self.row(digest)).collect())
    }

    async fn record_uses(&self, _: &[KeyUse]) -> Result<u64, StoreError> {
        Err(StoreError::unsupported("the customers' table keeps no last use"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let token = "customer-42-secret";
    let digest = TokenDigest::of(DigestAlgorithm::Sha256, token);
    let since = "2026-01-31T12:00:00Z".parse()?;
    let key = ApiKey::new(KeyId::random(), digest, "42".into(), since).with_name("customer");
    let row = (key, Plan { requests_per_minute: 600 });
    let store = Customers(HashMap::from([(digest.as_bytes().to_vec(), row)]));

    let (auth, _guard) = Authenticator::read_only(store).build()?;
    let key = auth.authenticate(token).await?;
    let plan: &Plan = key.data().ok_or("the store attaches a plan to every key")?;
    println!("{}: {} requests a minute", key.name(), plan.requests_per_minute);
    match auth.authenticate("customer-43-guess").await {
        Ok(_) => Err("a guess was admitted".into()),
        Err(rejection) => {
            println!("a guess: {rejection}");
            Ok(())
        }
    }
}

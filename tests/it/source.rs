//! One test for each sentence of the source system's reference, named after it, on every store.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use tower_token_auth::{
    Authenticator, AuthenticatorBuilder, Issuing, KeyFilter, KeyManager, LastUsed, MemoryStore,
    NewKey, Owner, Page, RejectionKind, SharedStore,
    store::{Capabilities, KeyRepository as _},
    testing::ManualClock,
};

/// A store, and whatever has to outlive it.
struct Place {
    store: SharedStore,
    _keep: Box<dyn std::any::Any>,
}

async fn memory() -> Option<Place> {
    Some(Place { store: SharedStore::new(MemoryStore::new()), _keep: Box::new(()) })
}

#[cfg(feature = "sqlite")]
async fn sqlite() -> Option<Place> {
    let folder = tempfile::tempdir().unwrap();
    let store = tower_token_auth::SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    Some(Place { store: SharedStore::new(store), _keep: Box::new(folder) })
}

#[cfg(feature = "postgres")]
async fn postgres() -> Option<Place> {
    let database = crate::support::postgres::Database::new()?;
    let store = SharedStore::new(database.open().await);
    Some(Place { store, _keep: Box::new(database) })
}

/// Django's tables, with the users of these tests: Smarter's, which keep all that a sentence speaks of, or
/// knox's alone, of which each sentence says what they can't.
#[cfg(feature = "knox")]
async fn django(kind: crate::support::site::Kind, is_smarter: bool) -> Option<Place> {
    let site = crate::support::site::Site::of_named_users(kind, is_smarter).await?;
    if is_smarter {
        site.account(1, "0000-0000-0001").await;
    }
    for (profile, user, is_staff) in [(1, "ada", true), (2, "admin", true), (3, "bob", false)] {
        site.named_user(user, true, is_staff, false).await;
        if is_smarter {
            site.profile(profile, user, 1).await;
        }
    }
    let store = SharedStore::new(site.store().await);
    Some(Place { store, _keep: Box::new(site) })
}

#[cfg(feature = "knox")]
async fn smarter_on_sqlite() -> Option<Place> {
    django(crate::support::site::Kind::Sqlite, true).await
}

#[cfg(feature = "knox")]
async fn knox_on_sqlite() -> Option<Place> {
    django(crate::support::site::Kind::Sqlite, false).await
}

#[cfg(feature = "knox")]
async fn smarter_on_postgresql() -> Option<Place> {
    django(crate::support::site::Kind::Postgres, true).await
}

#[cfg(feature = "knox")]
async fn knox_on_postgresql() -> Option<Place> {
    django(crate::support::site::Kind::Postgres, false).await
}

#[cfg(feature = "knox")]
async fn smarter_on_mysql() -> Option<Place> {
    django(crate::support::site::Kind::MySql, true).await
}

#[cfg(feature = "knox")]
async fn knox_on_mysql() -> Option<Place> {
    django(crate::support::site::Kind::MySql, false).await
}

/// Each sentence becomes a test of its own in the module of each store.
macro_rules! on_stores {
    ($sentences:tt: $($(#[$when:meta])? $store:ident),*) => {
        $(on_stores!(@ $(#[$when])? $store $sentences);)*
    };
    (@ $(#[$when:meta])? $store:ident { $($sentence:ident)* }) => {
        $(#[$when])?
        mod $store {
            $(#[tokio::test]
            async fn $sentence() {
                // None where it needs a server and there is none, which was said.
                if let Some(place) = super::$store().await {
                    super::$sentence(place).await;
                }
            })*
        }
    };
}

on_stores!({
    create_returns_the_record_and_the_token
    name_description_expiry_and_prefix_are_optional_and_is_active_is_true_by_default
    create_takes_name_description_expiry_prefix_and_is_active
    key_id_is_a_unique_identifier_for_the_api_key
    activate_and_deactivate_the_key
    toggle_active_toggles_the_active_status
    accessed_tracks_usage_when_never_used_or_longer_ago_than_five_minutes
    api_keys_can_only_be_created_for_staff_users
    under_any_active_owner_a_non_staff_user_gets_a_key
    the_identifier_is_a_masked_version_of_the_digest
    deactivated_keys_cannot_be_used_for_authentication
// One name more in this line, and a function of that name above, add a store.
}: memory, #[cfg(feature = "sqlite")] sqlite, #[cfg(feature = "postgres")] postgres,
    #[cfg(feature = "knox")] smarter_on_sqlite, #[cfg(feature = "knox")] smarter_on_postgresql,
    #[cfg(feature = "knox")] smarter_on_mysql, #[cfg(feature = "knox")] knox_on_sqlite,
    #[cfg(feature = "knox")] knox_on_postgresql, #[cfg(feature = "knox")] knox_on_mysql);

struct Scene {
    auth: Authenticator,
    keys: KeyManager,
    clock: ManualClock,
    can: Capabilities,
    _place: Place,
}

impl Scene {
    /// A key of this name, or of none where keys have no names.
    fn named(&self, name: &str) -> NewKey {
        if self.can.metadata { NewKey::named(name) } else { NewKey::default() }
    }
}

fn scene_with(
    place: Place,
    set: impl FnOnce(AuthenticatorBuilder) -> AuthenticatorBuilder,
) -> Scene {
    let clock = ManualClock::at(DateTime::<Utc>::UNIX_EPOCH + chrono::Duration::days(20_000));
    let builder = Authenticator::builder(place.store.clone()).clock(clock.clone());
    // The recorder would write beside `accessed()`.
    let (auth, _guard) = set(builder.last_used(LastUsed::Off)).build().unwrap();
    let can = place.store.capabilities();
    Scene { keys: auth.keys(), auth, clock, can, _place: place }
}

fn scene(place: Place) -> Scene {
    scene_with(place, |builder| builder)
}

async fn create_returns_the_record_and_the_token(place: Place) {
    let s = scene(place);
    let (key, token) = s.keys.create(Owner::staff("ada"), s.named("first")).await.unwrap();
    assert_eq!(key.key().digest(), &token.digest(key.key().digest().algorithm()));
    assert_eq!(key.key().token_key(), &token.token_key());
    assert_eq!(s.auth.authenticate(token.expose()).await.unwrap().id(), key.id());
}

async fn name_description_expiry_and_prefix_are_optional_and_is_active_is_true_by_default(
    place: Place,
) {
    let s = scene(place);
    let (key, token) = s.keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    let default = format!("key-{}", &key.id().to_string()[..8]);
    assert_eq!(key.name(), if s.can.metadata { &default } else { "" });
    assert_eq!((key.key().description(), key.key().expires_at()), (None, None));
    assert_eq!(key.key().last_used_at(), None);
    assert!(key.key().is_active());
    assert_eq!(token.expose().len(), 64, "no prefix");
}

async fn create_takes_name_description_expiry_prefix_and_is_active(place: Place) {
    let s = scene(place);
    let expiry = s.clock.wall() + chrono::Duration::days(30);
    let new = NewKey::named("Production Key")
        .description("Key for production API access")
        .expires_at(expiry)
        .token_prefix("prod_")
        .active(false);
    let created = s.keys.create(Owner::staff("admin"), new).await;
    if !s.can.metadata {
        assert!(created.unwrap_err().is_unsupported());
        let new = NewKey::default().expires_at(expiry).token_prefix("prod_");
        let (key, token) = s.keys.create(Owner::staff("admin"), new).await.unwrap();
        assert_eq!(s.keys.get(key.id()).await.unwrap().key().expires_at(), Some(expiry));
        assert!(token.expose().starts_with("prod_"));
        return;
    }
    let (key, token) = created.unwrap();
    for key in [key.clone(), s.keys.get(key.id()).await.unwrap()] {
        assert_eq!(key.name(), "Production Key");
        assert_eq!(key.key().description(), Some("Key for production API access"));
        assert_eq!(key.key().expires_at(), Some(expiry));
        assert!(!key.key().is_active());
        assert_eq!(key.owner().id().as_str(), "admin");
    }
    assert!(token.expose().starts_with("prod_"));
}

async fn key_id_is_a_unique_identifier_for_the_api_key(place: Place) {
    let s = scene(place);
    let mut ids = HashSet::new();
    for _ in 0..20 {
        let (key, _) = s.keys.create(Owner::staff("ada"), s.named("same")).await.unwrap();
        let version = if s.can.derived_ids { 8 } else { 4 };
        assert_eq!(key.id().as_uuid().get_version_num(), version);
        assert_eq!(s.keys.get(key.id()).await.unwrap().key().digest(), key.key().digest());
        assert!(ids.insert(key.id()));
    }
}

async fn activate_and_deactivate_the_key(place: Place) {
    let s = scene(place);
    let (key, _) = s.keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    if !s.can.activation {
        assert!(s.keys.activate(key.id()).await.unwrap_err().is_unsupported());
        assert!(s.keys.deactivate(key.id()).await.unwrap_err().is_unsupported());
        return;
    }
    for (is_active, second) in [(false, 1), (false, 2), (true, 3), (true, 4)] {
        s.clock.advance(Duration::from_secs(1));
        let changed = if is_active {
            s.keys.activate(key.id()).await.unwrap()
        } else {
            s.keys.deactivate(key.id()).await.unwrap()
        };
        for seen in [changed, s.keys.get(key.id()).await.unwrap()] {
            assert_eq!(seen.key().is_active(), is_active);
            let passed = seen.key().updated_at() - seen.key().created_at();
            assert_eq!(passed.num_seconds(), second);
        }
    }
}

async fn toggle_active_toggles_the_active_status(place: Place) {
    let s = scene(place);
    let (key, _) = s.keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    if !s.can.activation {
        assert!(s.keys.toggle_active(key.id()).await.unwrap_err().is_unsupported());
        return;
    }
    for is_active in [false, true] {
        let toggled = s.keys.toggle_active(key.id()).await.unwrap();
        assert_eq!(toggled.key().is_active(), is_active);
        assert_eq!(s.keys.get(key.id()).await.unwrap().key().is_active(), is_active);
    }
}

async fn accessed_tracks_usage_when_never_used_or_longer_ago_than_five_minutes(place: Place) {
    let s = scene(place);
    let (key, _) = s.keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    if !s.can.last_use {
        assert!(s.keys.accessed(key.id()).await.unwrap_err().is_unsupported());
        return;
    }
    let first = s.clock.wall();
    assert!(s.keys.accessed(key.id()).await.unwrap(), "never used");
    s.clock.advance(Duration::from_secs(300));
    assert!(!s.keys.accessed(key.id()).await.unwrap(), "five minutes old is not older");
    let stored = s.keys.get(key.id()).await.unwrap();
    assert_eq!(stored.key().last_used_at(), Some(first));
    s.clock.advance(Duration::from_micros(1));
    assert!(s.keys.accessed(key.id()).await.unwrap(), "older");
    let stored = s.keys.get(key.id()).await.unwrap();
    assert_eq!(stored.key().last_used_at(), Some(s.clock.wall()));
    assert_eq!(stored.key().updated_at(), key.key().updated_at(), "no change by management");
}

async fn api_keys_can_only_be_created_for_staff_users(place: Place) {
    // On knox's own tables, whose rule is another one, it is not the default.
    let s = scene_with(place, |builder| builder.issuing(Issuing::StaffOwners));
    let refused = s.keys.create(Owner::new("bob"), s.named("n")).await.unwrap_err();
    assert!(refused.is_business_rule());
    assert_eq!(refused.to_string(), "API Keys can only be created for staff users.");
    assert!(
        s.keys.list(KeyFilter::all(), Page::default()).await.unwrap().keys.is_empty(),
        "no row is written"
    );
    // Where owners are kept elsewhere, bob is there all the time.
    if s.can.owners {
        assert!(s.keys.owner("bob").await.unwrap_err().is_not_found(), "nor one of the owner");
    }
}

async fn under_any_active_owner_a_non_staff_user_gets_a_key(place: Place) {
    let s = scene_with(place, |builder| builder.issuing(Issuing::AnyActiveOwner));
    let (_, token) = s.keys.create(Owner::new("bob"), NewKey::default()).await.unwrap();
    assert!(s.auth.authenticate(token.expose()).await.is_ok());
}

async fn the_identifier_is_a_masked_version_of_the_digest(place: Place) {
    let s = scene(place);
    let (key, _) = s.keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    let hex = key.key().digest().to_hex();
    assert_eq!(key.key().identifier(), format!("****{}", &hex[hex.len() - 4..]));
}

async fn deactivated_keys_cannot_be_used_for_authentication(place: Place) {
    let s = scene(place);
    let (key, token) = s.keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    assert!(s.auth.authenticate(token.expose()).await.is_ok());
    if !s.can.activation {
        // There, what is to be used no more is deleted.
        s.keys.delete(key.id()).await.unwrap();
        let refused = s.auth.authenticate(token.expose()).await.unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::Unknown);
        return;
    }
    s.keys.deactivate(key.id()).await.unwrap();
    let refused = s.auth.authenticate(token.expose()).await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::KeyInactive);
    s.keys.activate(key.id()).await.unwrap();
    assert!(s.auth.authenticate(token.expose()).await.is_ok());
}

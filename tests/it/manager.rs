//! The manager beyond the source's sentences: policies, limits, pages, owners, failures.

use std::{
    collections::BTreeMap,
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, Issuing, KeyError, KeyFilter, KeyId, KeyManager,
    KeyUpdate, MemoryStore, NewKey, Owner, OwnerId, OwnerUpdate, Page, Record, RejectionKind,
    TokenDigest, TokenFormat,
    store::{
        Capabilities, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit,
        StoreError,
    },
    testing::ManualClock,
};

fn start() -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + chrono::Duration::days(20_000)
}

fn keys_under(issuing: Issuing) -> KeyManager {
    let builder = Authenticator::builder(MemoryStore::new()).issuing(issuing);
    builder.clock(ManualClock::at(start())).build().unwrap().0.keys()
}

fn keys() -> KeyManager {
    keys_under(Issuing::default())
}

async fn made(keys: &KeyManager) -> KeyId {
    keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap().0.id()
}

#[tokio::test]
async fn policies_judge_the_stored_owner_and_not_the_one_passed_in() {
    let keys = keys();
    keys.create_owner(Owner::new("bob")).await.unwrap();
    let refused = keys.create(Owner::staff("bob"), NewKey::default()).await.unwrap_err();
    assert!(refused.is_business_rule(), "staff as passed in, not as stored");
    keys.create_owner(Owner::staff("ada").with_username("Ada")).await.unwrap();
    let (key, _) = keys.create(Owner::new("ada"), NewKey::default()).await.unwrap();
    assert_eq!((key.owner().username(), key.owner().is_staff()), ("Ada", true), "left unchanged");
    assert!(keys.create("ada", NewKey::default()).await.is_ok(), "an id names a stored owner");
}

#[tokio::test]
async fn deactivation_is_never_refused_and_activation_is_judged() {
    let keys = keys();
    let id = made(&keys).await;
    keys.update_owner("ada", OwnerUpdate::new().staff(false)).await.unwrap();
    assert!(!keys.toggle_active(id).await.unwrap().key().is_active());
    for refused in [keys.toggle_active(id).await, keys.activate(id).await] {
        let refused = refused.unwrap_err();
        assert!(refused.is_business_rule());
        assert_eq!(refused.to_string(), "API Keys can only be created for staff users.");
    }
    assert!(!keys.get(id).await.unwrap().key().is_active(), "nothing changed");
    assert!(!keys.deactivate(id).await.unwrap().key().is_active());
}

#[tokio::test]
async fn any_active_owner_and_a_rule_of_one_s_own() {
    let keys = keys_under(Issuing::AnyActiveOwner);
    let inactive = Owner::staff("eve").with_active(false);
    assert!(keys.create(inactive, NewKey::default()).await.unwrap_err().is_business_rule());

    let keys = keys_under(Issuing::rule(|owner| {
        let is_paying = owner.is_member_of(&"paying".into());
        is_paying.then_some(()).ok_or_else(|| format!("{} has not paid", owner.username()))
    }));
    let refused = keys.create(Owner::staff("eve"), NewKey::default()).await.unwrap_err();
    assert_eq!(
        (refused.is_business_rule(), refused.to_string()),
        (true, "eve has not paid".into())
    );
    let paying = Owner::new("ada").with_accounts(["paying"]);
    assert!(keys.create(paying, NewKey::default()).await.is_ok());
}

#[tokio::test]
async fn every_field_of_a_new_key_is_kept_and_only_given_ones_are_updated() {
    let keys = keys();
    let new = NewKey::named("n")
        .description("d")
        .version("1.0")
        .account("acme")
        .scopes(["read", "write"])
        .tags(["t"])
        .annotation("team", "core")
        .expires_in(Duration::from_secs(60));
    let (made, _) = keys.create(Owner::staff("ada"), new).await.unwrap();
    let shape = |record: &Record| {
        let key = record.key();
        let joined = |texts: Vec<&str>| texts.join(" ");
        let notes = key.annotations().map(|(name, value)| format!("{name}={value}"));
        format!(
            "{} {:?} {:?} {:?} [{}] [{}] [{}] {:?}",
            key.name(),
            key.description(),
            key.version(),
            key.account().map(ToString::to_string),
            joined(key.scopes().collect()),
            joined(key.tags().collect()),
            notes.collect::<Vec<_>>().join(" "),
            key.expires_at().map(|at| (at - start()).num_seconds()),
        )
    };
    let whole = r#"n Some("d") Some("1.0") Some("acme") [read write] [t] [team=core] Some(60)"#;
    assert_eq!(shape(&made), whole);
    let same = keys.update(made.id(), KeyUpdate::new()).await.unwrap();
    assert_eq!(shape(&same), whole);
    let renamed = keys.update(made.id(), KeyUpdate::new().name("m")).await.unwrap();
    assert_eq!(shape(&renamed), whole.replacen('n', "m", 1));
    let bare = KeyUpdate::new()
        .description(None::<&str>)
        .version(None::<&str>)
        .account(None::<&str>)
        .expires_at(None)
        .scopes([""; 0])
        .tags([""; 0])
        .annotations(BTreeMap::new());
    keys.update(made.id(), bare).await.unwrap();
    let stored = keys.get(made.id()).await.unwrap();
    assert_eq!(shape(&stored), "m None None None [] [] [] None");
}

#[tokio::test]
async fn bad_input_is_refused_with_a_reason_and_nothing_is_written() {
    let keys = keys();
    let long = "é".repeat(256);
    let now = start();
    let refused = [
        (NewKey::named(""), "a name is not empty"),
        (NewKey::named(long.clone()), "at most 255 characters"),
        (NewKey::named("a\nb"), "no control characters"),
        (NewKey::default().description("x".repeat(4097)), "at most 4096"),
        (NewKey::default().scopes(["two words"]), "no blanks"),
        (NewKey::default().tags(vec!["t"; 65]), "at most 64 tags"),
        (NewKey::default().annotation("", "v"), "annotation's name"),
        (NewKey::default().account(""), "account"),
        (NewKey::default().expires_at(now), "not in the future"),
        (NewKey::default().expires_at(now - chrono::Duration::days(1)), "not in the future"),
        (NewKey::default().expires_in(Duration::ZERO), "not in the future"),
        (NewKey::default().expires_in(Duration::MAX), "years 1 to 9999"),
        (NewKey::default().token_prefix("elevenchars"), "10 characters"),
    ];
    for (new, reason) in refused {
        let error = keys.create(Owner::staff("ada"), new).await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains(reason), "{reason}: {error}");
    }
    for owner in [Owner::staff(""), Owner::staff("x".repeat(129))] {
        assert!(keys.create(owner, NewKey::default()).await.unwrap_err().is_invalid());
    }
    assert!(keys.list(KeyFilter::all(), Page::default()).await.unwrap().keys.is_empty());
    let id = made(&keys).await;
    for update in [KeyUpdate::new().name(""), KeyUpdate::new().expires_at(Some(now))] {
        assert!(keys.update(id, update).await.unwrap_err().is_invalid());
    }
    let longest = NewKey::named(long[..510].to_owned());
    assert!(keys.create(Owner::staff("ada"), longest).await.is_ok(), "characters, not bytes");
}

// Negative control: without the look at registered prefixes in `new_token`, a key is made that
// `authenticate` refuses as unknown.
#[tokio::test]
async fn no_token_is_issued_that_its_prefix_would_have_refused() {
    let builder = Authenticator::builder(MemoryStore::new()).checksummed_prefix("app").unwrap();
    let keys = builder.build().unwrap().0.keys();
    let new = NewKey::default().token_prefix("app_");
    assert!(keys.create(Owner::staff("ada"), new).await.unwrap_err().is_invalid());

    let format = TokenFormat::checksummed("app").unwrap();
    let builder = Authenticator::builder(MemoryStore::new()).token_format(format);
    let (auth, _guard) = builder.build().unwrap();
    for (new, start) in [(NewKey::default(), "app_"), (NewKey::default().token_prefix("x"), "x_")] {
        let (_, token) = auth.keys().create(Owner::staff("ada"), new).await.unwrap();
        assert!(token.expose().starts_with(start));
        assert!(auth.authenticate(token.expose()).await.is_ok());
    }
}

#[tokio::test]
async fn times_are_kept_to_the_microsecond() {
    let keys = Authenticator::builder(MemoryStore::new()).build().unwrap().0.keys();
    let fine = DateTime::from_timestamp_nanos(4_000_000_000_123_456_789);
    let new = NewKey::default().expires_at(fine);
    let (key, _) = keys.create(Owner::staff("ada"), new).await.unwrap();
    assert_eq!(key.key().expires_at().unwrap().timestamp_subsec_nanos(), 123_456_000);
    assert_eq!(key.key().created_at().timestamp_subsec_nanos() % 1000, 0);
}

#[tokio::test]
async fn pages_follow_each_other_and_a_change_around_them_shifts_none() {
    let keys = keys();
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.push(made(&keys).await);
    }
    // All were made at one moment of the clock, so their order is that of their ids.
    expected.sort_unstable();
    let first = keys.list(KeyFilter::all(), Page::first(2)).await.unwrap();
    keys.delete(first.keys[0].id()).await.unwrap();
    let second =
        keys.list(KeyFilter::all(), Page::first(2).after(first.next.unwrap())).await.unwrap();
    let third =
        keys.list(KeyFilter::all(), Page::first(2).after(second.next.unwrap())).await.unwrap();
    assert!(third.next.is_none());
    let pages = [first.keys, second.keys, third.keys].concat();
    assert_eq!(pages.iter().map(Record::id).collect::<Vec<_>>(), expected);
    assert!(
        keys.list(KeyFilter::all(), Page::first(4)).await.unwrap().next.is_none(),
        "exactly full and the last"
    );
    assert_eq!(keys.list(KeyFilter::all(), Page::first(0)).await.unwrap().keys.len(), 1);
}

#[tokio::test]
async fn owners_are_made_changed_and_switched_and_their_keys_follow() {
    let (auth, _guard) = Authenticator::builder(MemoryStore::new()).build().unwrap();
    let keys = auth.keys();
    keys.create_owner(Owner::staff("ada")).await.unwrap();
    assert!(keys.create_owner(Owner::new("ada")).await.unwrap_err().is_duplicate());
    let (_, token) = keys.create("ada", NewKey::default()).await.unwrap();
    assert!(auth.authenticate(token.expose()).await.is_ok());
    keys.deactivate_owner("ada").await.unwrap();
    let refused = auth.authenticate(token.expose()).await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::OwnerInactive);
    keys.activate_owner("ada").await.unwrap();
    keys.set_accounts("ada", ["b", "a"]).await.unwrap();
    let admitted = auth.authenticate(token.expose()).await.unwrap();
    assert_eq!(admitted.owner().accounts(), ["a".into(), "b".into()]);
    assert!(admitted.owner().is_staff(), "what was not given stays");
    assert!(keys.set_accounts("ada", [""]).await.unwrap_err().is_invalid());
    assert!(keys.deactivate_owner("eve").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (keys, id) = (keys(), KeyId::random());
    let answers: [Result<(), KeyError>; 6] = [
        keys.get(id).await.map(drop),
        keys.activate(id).await.map(drop),
        keys.toggle_active(id).await.map(drop),
        keys.accessed(id).await.map(drop),
        keys.update(id, KeyUpdate::new().name("n")).await.map(drop),
        keys.delete(id).await.map(drop),
    ];
    for answer in answers {
        assert!(answer.unwrap_err().is_not_found());
    }
    let id = made(&keys).await;
    keys.delete(id).await.unwrap();
    assert!(keys.get(id).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_read_only_authenticator_manages_nothing() {
    let (auth, _guard) = Authenticator::read_only(MemoryStore::new()).build().unwrap();
    let (keys, id) = (auth.keys(), KeyId::random());
    let answers: [Result<(), KeyError>; 9] = [
        keys.create("ada", NewKey::default()).await.map(drop),
        keys.get(id).await.map(drop),
        keys.deactivate(id).await.map(drop),
        keys.accessed(id).await.map(drop),
        keys.update(id, KeyUpdate::new()).await.map(drop),
        keys.delete(id).await.map(drop),
        keys.list(KeyFilter::all(), Page::default()).await.map(drop),
        keys.create_owner("ada").await.map(drop),
        keys.update_owner("ada", OwnerUpdate::new()).await.map(drop),
    ];
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(error.is_unsupported() && error.to_string().contains("Authenticator::builder"));
    }
}

#[tokio::test]
async fn what_a_schema_can_t_express_is_unsupported() {
    let store = Odd::over(MemoryStore::new()).able_to(Capabilities::minimal());
    let (auth, _guard) = Authenticator::builder(store).build().unwrap();
    let keys = auth.keys();
    let (key, _) = keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    assert_eq!(key.name(), "", "a schema without names gets none");
    let answers: [Result<(), KeyError>; 6] = [
        keys.create("ada", NewKey::named("n")).await.map(drop),
        keys.create("ada", NewKey::default().active(false)).await.map(drop),
        keys.toggle_active(key.id()).await.map(drop),
        keys.accessed(key.id()).await.map(drop),
        keys.update(key.id(), KeyUpdate::new().tags(["t"])).await.map(drop),
        keys.deactivate_owner("ada").await.map(drop),
    ];
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(error.is_unsupported(), "{error}");
        assert!(error.to_string().starts_with("not supported by this schema: "), "{error}");
    }
    assert!(keys.delete(key.id()).await.is_ok());
}

#[tokio::test]
async fn a_failure_that_may_have_come_behind_the_commit_is_an_unknown_outcome() {
    let memory = MemoryStore::new();
    let (sound, _guard) = Authenticator::builder(memory.clone()).build().unwrap();
    let id = made(&sound.keys()).await;
    let store = Odd::over(memory).failing_behind_the_commit();
    let keys = Authenticator::builder(store).build().unwrap().0.keys();
    let error = keys.deactivate(id).await.unwrap_err();
    assert!(error.is_outcome_unknown() && !error.is_unavailable(), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    assert!(!sound.keys().get(id).await.unwrap().key().is_active(), "and it was made");
    let error = keys.create("ada", NewKey::default()).await.unwrap_err();
    assert!(error.is_outcome_unknown());
}

// The store waits twice before its commit and twice behind it. Wherever the caller goes away, the
// next authentication goes by the row as it then stands, never by what was cached before.
// Negative control: with `Armed` in `settle` disarmed on drop, the last two rounds are admitted.
#[tokio::test]
async fn a_change_dropped_at_any_await_point_leaves_nothing_outdated_behind() {
    for polls in 0..6 {
        let memory = MemoryStore::new();
        let (sound, _guard) = Authenticator::builder(memory.clone()).build().unwrap();
        let owner = Owner::staff("ada");
        let (key, token) = sound.keys().create(owner, NewKey::default()).await.unwrap();
        let (auth, _guard) = Authenticator::builder(Odd::over(memory).slow()).build().unwrap();
        assert!(auth.authenticate(token.expose()).await.is_ok(), "cached from here on");
        {
            let keys = auth.keys();
            let mut change = pin!(keys.deactivate(key.id()));
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                if change.as_mut().poll(&mut context).is_ready() {
                    break;
                }
            }
        }
        let is_active = sound.keys().get(key.id()).await.unwrap().key().is_active();
        assert_eq!(is_active, polls < 3, "committed by the third poll");
        let admitted = auth.authenticate(token.expose()).await.is_ok();
        assert_eq!(admitted, is_active, "dropped after {polls} polls");
    }
}

/// A store with faults to choose from.
#[derive(Clone)]
struct Odd {
    rows: MemoryStore,
    able: Capabilities,
    fails: bool,
    yields: usize,
}

impl Odd {
    fn over(rows: MemoryStore) -> Self {
        let able = Capabilities::all();
        Self { rows, able, fails: false, yields: 0 }
    }

    fn able_to(mut self, able: Capabilities) -> Self {
        self.able = able;
        self
    }

    fn failing_behind_the_commit(mut self) -> Self {
        self.fails = true;
        self
    }

    fn slow(mut self) -> Self {
        self.yields = 2;
        self
    }

    async fn pause(&self) {
        for _ in 0..self.yields {
            tokio::task::yield_now().await;
        }
    }

    async fn around<T>(
        &self,
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.pause().await;
        let outcome = change.await;
        self.pause().await;
        if self.fails { Err(StoreError::unavailable("the line is down")) } else { outcome }
    }
}

impl KeyStore for Odd {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.rows.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.rows.find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.rows.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.rows.record_uses(uses).await
    }
}

impl KeyRepository for Odd {
    fn capabilities(&self) -> Capabilities {
        self.able
    }

    async fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        self.around(self.rows.insert(key, owner, caller, judge)).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        self.rows.get(id).await
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        self.around(self.rows.change(ids, caller, plan)).await
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        self.rows.list(query).await
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        self.rows.owner(id).await
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        self.around(self.rows.change_owner(id, caller, edit)).await
    }
}

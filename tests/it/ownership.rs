//! Who may see and change which keys: the rules by themselves, and every operation on behalf of
//! somebody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use tower_token_auth::{
    AccountId, ApiKey, Authenticator, ImportedKey, Issuing, KeyError, KeyFilter, KeyId, KeyManager,
    KeyUpdate, LastUsed, MemoryStore, NewKey, Owner, OwnerUpdate, Page, Relation, ReportSettings,
    Rotation,
    store::{KeyRepository as _, KeyWrite},
};

use crate::support::{
    self, Quirky, Scripted,
    stores::{self, Setup, on_each, start},
};

const HOUSE: &str = "house";

/// Keys and users as plain rows: what the rules are stated about.
struct World {
    users: Vec<Owner>,
    keys: Vec<ApiKey>,
}

impl World {
    /// Every kind of user, and a key of each of them in one of the accounts or in none.
    async fn on(setup: &Setup) -> Self {
        let profiles: [&[&str]; 6] =
            [&[], &["acme"], &["globex"], &["acme", "globex"], &[HOUSE], &["empty"]];
        let mut users = Vec::new();
        for (n, profiles) in profiles.into_iter().enumerate() {
            for flags in 0..8 {
                let owner = Owner::new(format!("user {n} {flags}"))
                    .with_accounts(profiles.iter().copied())
                    .with_staff(flags & 1 != 0)
                    .with_superuser(flags & 2 != 0)
                    .with_active(flags & 4 == 0);
                users.push(owner);
            }
        }
        let accounts = [None, Some("acme"), Some("globex"), Some(HOUSE), Some("nobody's")];
        let mut keys = Vec::new();
        for (n, user) in users.iter().enumerate() {
            let account = accounts[n % accounts.len()].map(AccountId::from);
            let token = format!("token {n}").replace(' ', "-");
            let key = support::issue_with(&setup.rows, &token, user.clone(), |key| {
                key.with_account(account)
            });
            keys.push(key.await);
        }
        Self { users, keys }
    }

    /// The keys to which a user stands so: the rules as they are written down, as sets.
    fn expected(&self, user: &str, relation: Relation, platform: Option<&str>) -> BTreeSet<KeyId> {
        let those = |which: &dyn Fn(&ApiKey) -> bool| -> BTreeSet<KeyId> {
            self.keys.iter().filter(|key| which(key)).map(ApiKey::id).collect()
        };
        let in_account =
            |account: &str| those(&|key| key.account().is_some_and(|its| its.as_str() == account));
        // Somebody unknown sees nothing.
        let Some(user) = self.users.iter().find(|owner| owner.id().as_str() == user) else {
            return BTreeSet::new();
        };
        let own = those(&|key| key.owner_id() == user.id());
        if relation == Relation::Owner {
            return own;
        }
        // Nor does somebody inactive.
        if !user.is_active() {
            return BTreeSet::new();
        }
        let all = those(&|_| true);
        // The union over all profiles.
        let profiles = user.accounts().iter().map(|account| in_account(account.as_str()));
        let of_accounts: BTreeSet<KeyId> = profiles.flatten().collect();
        let of_platform = platform.map(in_account).unwrap_or_default();
        let readable = if user.is_superuser() {
            all.clone()
        } else {
            [&own, &of_accounts, &of_platform].into_iter().flatten().copied().collect()
        };
        match relation {
            Relation::Reader => readable,
            Relation::SharedWith => readable.difference(&own).copied().collect(),
            Relation::Manager if user.is_superuser() => all,
            Relation::Manager if user.is_staff() => own.union(&of_accounts).copied().collect(),
            Relation::Manager => own,
            _ => unreachable!("the rules know no other relation"),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.users.iter().map(|user| user.id().as_str()).chain(["nobody at all"])
    }
}

/// All that a filter lists, over as many pages as it takes.
async fn listed(keys: &KeyManager, filter: KeyFilter) -> BTreeSet<KeyId> {
    let (mut all, mut page) = (BTreeSet::new(), Some(Page::first(20)));
    while let Some(wanted) = page {
        let listed = keys.list(filter.clone(), wanted).await.unwrap();
        all.extend(listed.keys.iter().map(|record| record.id()));
        page = listed.next.map(|next| Page::first(20).after(next));
    }
    all
}

fn on_platform(setup: &Setup, platform: Option<&str>) -> KeyManager {
    let builder = setup.builder().issuing(Issuing::AnyActiveOwner);
    let builder = match platform {
        Some(platform) => builder.platform_account(platform),
        None => builder,
    };
    builder.build().unwrap().0.keys()
}

// Negative controls, each seen to fail: in SQL, without `u.is_active`, without the platform's line,
// with `u.is_staff` left out of the manager's rule, and with `<>` turned into `=`; in `Relation::holds`
// the same, on the stores in memory.
#[tokio::test]
async fn every_rule_for_every_kind_of_user() {
    on_each(stores::whole().await, async |setup| {
        let world = World::on(setup).await;
        let mut pairs = BTreeMap::new();
        for platform in [None, Some(HOUSE), Some("no account's")] {
            let keys = on_platform(setup, platform);
            for user in world.names() {
                let rules: [(Relation, KeyFilter); 4] = [
                    (Relation::Owner, KeyFilter::all().owned_by(user)),
                    (Relation::Reader, KeyFilter::all().readable_by(user)),
                    (Relation::SharedWith, KeyFilter::all().shared_with(user)),
                    (Relation::Manager, KeyFilter::all().manageable_by(user)),
                ];
                for (relation, filter) in rules {
                    let expected = world.expected(user, relation, platform);
                    let told = format!("{relation:?} {user:?}, platform: {platform:?}");
                    assert_eq!(listed(&keys, filter).await, expected, "{told}");
                    *pairs.entry(format!("{relation:?}")).or_insert(0) += expected.len();
                }
                let seen = listed(&keys.on_behalf_of(user), KeyFilter::all()).await;
                assert_eq!(seen, world.expected(user, Relation::Reader, platform), "{user:?}");
            }
        }
        assert!(pairs.values().all(|found| *found > 100), "too little to tell: {pairs:?}");
    })
    .await;
}

/// The same rules, where keys are looked at and changed one by one.
#[tokio::test]
async fn every_user_sees_and_changes_each_key_as_the_rules_say() {
    on_each(stores::whole().await, async |setup| {
        // The others are these two, by other ways.
        if !["memory", "sqlite"].contains(&setup.name) {
            return;
        }
        let world = World::on(setup).await;
        let all = on_platform(setup, Some(HOUSE));
        for user in world.names() {
            let keys = all.on_behalf_of(user);
            let readable = world.expected(user, Relation::Reader, Some(HOUSE));
            let manageable = world.expected(user, Relation::Manager, Some(HOUSE));
            assert!(manageable.is_subset(&readable));
            for key in &world.keys {
                let id = key.id();
                let (seen, changed) = (keys.get(id).await, keys.update(id, KeyUpdate::new()).await);
                assert_eq!(seen.is_ok(), readable.contains(&id), "{user:?} and {key:?}");
                assert_eq!(changed.is_ok(), manageable.contains(&id), "{user:?} and {key:?}");
                let Err(error) = changed else { continue };
                assert_eq!(error.is_forbidden(), readable.contains(&id), "{user:?}: {error}");
                assert_eq!(error.is_not_found(), !readable.contains(&id), "{user:?}: {error}");
            }
        }
    })
    .await;
}

/// How a caller stands to the key that an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Hidden,
    Seen,
    Managed,
    Own,
    Super,
}
use Standing::{Hidden, Managed, Own, Seen, Super};

/// What an operation asks of its caller.
#[derive(Clone, Copy, Debug)]
enum Asks {
    /// To see the key.
    ToSee,
    /// To manage it.
    ToManage,
    /// To be handed its successor's secret.
    ForItsSecret,
    /// To be the owner or a superuser; anybody else is told nothing of the owner.
    ToBeTold,
    /// To be the owner or a superuser.
    ToOwn,
    /// To be a superuser.
    ToRule,
    /// Nothing: it answers with less.
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Ok,
    NotFound,
    Forbidden,
}

impl Asks {
    /// What is answered, as it is written down.
    fn answer(self, standing: Standing) -> Answer {
        match (self, standing) {
            (Self::Nothing, _) | (_, Super) => Answer::Ok,
            (Self::ToSee | Self::ToManage | Self::ForItsSecret, Hidden) => Answer::NotFound,
            (Self::ToManage | Self::ForItsSecret, Seen) => Answer::Forbidden,
            (Self::ForItsSecret, Managed) => Answer::Forbidden,
            (Self::ToSee | Self::ToManage | Self::ForItsSecret, _) => Answer::Ok,
            (Self::ToBeTold | Self::ToOwn, Own) => Answer::Ok,
            (Self::ToBeTold, _) => Answer::NotFound,
            (Self::ToOwn | Self::ToRule, _) => Answer::Forbidden,
        }
    }
}

/// What an operation is tried on.
#[derive(Clone)]
struct Target {
    key: ApiKey,
    token: String,
    owner: Owner,
    fresh: String,
}

type Try = for<'a> fn(&'a KeyManager, &'a Target) -> BoxFuture<'a, Result<(), KeyError>>;
type Operation = (&'static str, Asks, Try);

/// Every operation of the manager, some in more than one way.
const OPERATIONS: &[Operation] = &[
    ("get", Asks::ToSee, |keys, t| Box::pin(async { keys.get(t.key.id()).await.map(drop) })),
    ("find_by_token", Asks::ToSee, |keys, t| {
        Box::pin(async { keys.find_by_token(&t.token).await.map(drop) })
    }),
    ("activate", Asks::ToManage, |keys, t| {
        Box::pin(async { keys.activate(t.key.id()).await.map(drop) })
    }),
    ("deactivate", Asks::ToManage, |keys, t| {
        Box::pin(async { keys.deactivate(t.key.id()).await.map(drop) })
    }),
    ("toggle_active", Asks::ToManage, |keys, t| {
        Box::pin(async { keys.toggle_active(t.key.id()).await.map(drop) })
    }),
    ("accessed", Asks::ToManage, |keys, t| {
        Box::pin(async { keys.accessed(t.key.id()).await.map(drop) })
    }),
    ("update", Asks::ToManage, |keys, t| {
        let update = KeyUpdate::new().name("changed").expires_at(None);
        Box::pin(async { keys.update(t.key.id(), update).await.map(drop) })
    }),
    ("delete", Asks::ToManage, |keys, t| {
        Box::pin(async { keys.delete(t.key.id()).await.map(drop) })
    }),
    ("revoke_token", Asks::ToManage, |keys, t| {
        Box::pin(async { keys.revoke_token(&t.token).await.map(drop) })
    }),
    ("rotate", Asks::ForItsSecret, |keys, t| {
        Box::pin(async { keys.rotate(t.key.id(), Rotation::at_once()).await.map(drop) })
    }),
    ("create", Asks::ToOwn, |keys, t| {
        Box::pin(async { keys.create(t.owner.id().clone(), NewKey::default()).await.map(drop) })
    }),
    // A row that is passed in is nobody's right.
    ("create", Asks::ToOwn, |keys, t| {
        let owner = t.owner.clone().with_staff(true).with_superuser(true);
        Box::pin(async { keys.create(owner, NewKey::default()).await.map(drop) })
    }),
    ("create", Asks::ToRule, |keys, t| {
        let owner = Owner::staff(t.fresh.as_str()).with_superuser(true);
        Box::pin(async { keys.create(owner, NewKey::default()).await.map(drop) })
    }),
    ("owner", Asks::ToBeTold, |keys, t| {
        Box::pin(async { keys.owner(t.owner.id()).await.map(drop) })
    }),
    ("revoke_all", Asks::ToOwn, |keys, t| {
        Box::pin(async { keys.revoke_all(t.owner.id()).await.map(drop) })
    }),
    ("delete_all", Asks::ToOwn, |keys, t| {
        Box::pin(async { keys.delete_all(t.owner.id()).await.map(drop) })
    }),
    ("list", Asks::Nothing, |keys, _| {
        Box::pin(async { keys.list(KeyFilter::all(), Page::default()).await.map(drop) })
    }),
    // How others stand to keys tells whether they are there, active, and who they are.
    ("list", Asks::ToOwn, |keys, t| {
        let filter = KeyFilter::all().manageable_by(t.owner.id());
        Box::pin(async { keys.list(filter, Page::default()).await.map(drop) })
    }),
    ("report", Asks::Nothing, |keys, _| {
        Box::pin(async { keys.report(ReportSettings::default()).await.map(drop) })
    }),
    ("delete_expired", Asks::ToRule, |keys, _| {
        Box::pin(async { keys.delete_expired(start()).await.map(drop) })
    }),
    ("deactivate_unused", Asks::ToRule, |keys, _| {
        Box::pin(async { keys.deactivate_unused(start() - TimeDelta::days(1)).await.map(drop) })
    }),
    // Nobody learns that there is nothing to do, either.
    ("deactivate_unused", Asks::ToRule, |keys, _| {
        let since = support::long_ago();
        Box::pin(async move { keys.deactivate_unused(since).await.map(drop) })
    }),
    ("import", Asks::ToRule, |keys, t| {
        let imported = ImportedKey::new("ab".repeat(32), t.fresh.as_str());
        Box::pin(async { keys.import(imported).await.map(drop) })
    }),
    // One that is there already is still nobody's but a superuser's to hear of.
    ("import", Asks::ToRule, |keys, t| {
        let imported = ImportedKey::new(t.key.digest().to_hex(), t.owner.id().clone());
        Box::pin(async { keys.import(imported).await.map(drop) })
    }),
    ("create_owner", Asks::ToRule, |keys, t| {
        Box::pin(async { keys.create_owner(t.fresh.as_str()).await.map(drop) })
    }),
    ("update_owner", Asks::ToRule, |keys, t| {
        let update = OwnerUpdate::new().superuser(true);
        Box::pin(async { keys.update_owner(t.owner.id(), update).await.map(drop) })
    }),
    ("activate_owner", Asks::ToRule, |keys, t| {
        Box::pin(async { keys.activate_owner(t.owner.id()).await.map(drop) })
    }),
    ("deactivate_owner", Asks::ToRule, |keys, t| {
        Box::pin(async { keys.deactivate_owner(t.owner.id()).await.map(drop) })
    }),
    ("set_accounts", Asks::ToRule, |keys, t| {
        Box::pin(async { keys.set_accounts(t.owner.id(), ["empty"]).await.map(drop) })
    }),
];

/// So that no operation is added without a line in the table above.
#[test]
fn the_table_names_every_operation_of_the_manager() {
    let mut written = BTreeSet::new();
    for file in fs::read_dir("src/usecase/manager").unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("pub async fn ") {
                written.insert(rest.split(['(', '<']).next().unwrap().to_owned());
            }
        }
    }
    let tried: BTreeSet<String> = OPERATIONS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(written, tried);
}

/// Everybody who may call, with how they stand to a key in `acme` of another owner.
fn callers() -> [(Owner, Standing); 11] {
    let user = |id: &str| Owner::new(id);
    [
        (user("stranger"), Hidden),
        (user("strange staff").with_staff(true).with_accounts(["globex", HOUSE]), Hidden),
        (user("loose staff").with_staff(true), Hidden),
        (user("member").with_accounts(["acme"]), Seen),
        (user("member of two").with_accounts(["acme", "globex"]), Seen),
        (user("colleague").with_staff(true).with_accounts(["globex", "acme"]), Managed),
        (user("super").with_superuser(true), Super),
        (user("lone super").with_superuser(true).with_staff(true), Super),
        (user("former super").with_superuser(true).with_active(false), Hidden),
        (user("former colleague").with_staff(true).with_accounts(["acme"]).with_active(false), {
            Hidden
        }),
        (user("former member").with_accounts(["acme"]).with_active(false), Hidden),
    ]
}

/// One store, and one key at a time on it.
struct Bench<'a> {
    setup: &'a Setup,
    keys: KeyManager,
    count: usize,
}

impl<'a> Bench<'a> {
    fn on(setup: &'a Setup) -> Self {
        let builder = setup.builder().issuing(Issuing::AnyActiveOwner).platform_account(HOUSE);
        let builder = builder.last_used(LastUsed::default());
        Self { setup, keys: builder.build().unwrap().0.keys(), count: 0 }
    }

    /// A key of its own owner in `account`, alone in the store.
    async fn target(&mut self, account: &str, owner: impl FnOnce(Owner) -> Owner) -> Target {
        self.count += 1;
        let all: Vec<KeyId> = self.setup.all_rows().await.iter().map(|(key, _)| key.id()).collect();
        if !all.is_empty() {
            let mut none = |family: &tower_token_auth::store::Family| {
                Some(vec![KeyWrite::Delete(family.key.id())])
            };
            self.setup.rows.change(&all, None, &mut none).await.unwrap();
        }
        let owner = owner(Owner::new(format!("owner {}", self.count)));
        let token = format!("token-{}", self.count);
        let key = support::issue_with(&self.setup.rows, &token, owner.clone(), |key| {
            key.with_account(Some(account.into())).with_expires_at(Some(start()))
        });
        Target { key: key.await, token, owner, fresh: format!("fresh {}", self.count) }
    }

    /// Tries one operation, and panics unless it is answered as expected and leaves no trace where it
    /// is refused.
    async fn tries(
        &self,
        (name, asks, operation): Operation,
        caller: &Owner,
        standing: Standing,
        target: &Target,
    ) {
        let told = format!("{name}, which asks {asks:?}, by {:?}: {standing:?}", caller.id());
        let rows = async || {
            let fresh = self.setup.rows.owner(&target.fresh.as_str().into()).await.unwrap();
            (self.setup.all_rows().await, fresh, self.setup.rows.owner(caller.id()).await.unwrap())
        };
        let before = rows().await;
        let answer = operation(&self.keys.on_behalf_of(caller.id()), target).await;
        let expected = asks.answer(standing);
        match &answer {
            Ok(()) => assert_eq!(Answer::Ok, expected, "{told}"),
            Err(error) if error.is_not_found() => assert_eq!(Answer::NotFound, expected, "{told}"),
            Err(error) if error.is_forbidden() => assert_eq!(Answer::Forbidden, expected, "{told}"),
            Err(error) => panic!("{told}: {error:?}"),
        }
        let Err(error) = answer else { return };
        assert_eq!(rows().await, before, "{told}: nothing is changed where it is refused");
        let said = format!("{error} {error:?}");
        assert!(!said.contains(&target.token) && !said.contains(target.owner.username()), "{said}");
        assert!(std::error::Error::source(&error).is_none(), "{said}");

        // The same of a key and an owner that were never there: not a letter tells them apart.
        let absent = Target {
            key: ApiKey::new(KeyId::random(), *target.key.digest(), "gone".into(), start()),
            token: "no-such-token".into(),
            owner: Owner::new("never there"),
            fresh: target.fresh.clone(),
        };
        if standing == Hidden {
            let other = operation(&self.keys.on_behalf_of(caller.id()), &absent).await;
            assert_eq!(format!("{other:?}"), format!("{:?}", Err::<(), _>(error)), "{told}");
        }
    }
}

// Negative controls, each seen to fail: with `Judgement::lets` or `lets_create` saying yes to all,
// without the question about a secret, without `is_active` in `lets_rule`, without `lets_rule` in
// `import` and `change_owner`, without the row that `owner` judges, without `readable_by` in `look`; and
// without `may_rule` in `revoke_all`, `delete_expired`, `deactivate_unused`, `import` and `look`, where
// whoever was to be refused learned that there was nothing to do, or that a key was there.
#[tokio::test]
async fn every_operation_on_behalf_of_everybody() {
    on_each(stores::whole().await, async |setup| {
        for (caller, _) in callers() {
            setup.keys().create_owner(caller).await.unwrap();
        }
        let mut bench = Bench::on(setup);
        let nobody = Owner::new("nobody at all");
        for &operation in OPERATIONS {
            for (caller, standing) in callers() {
                let target = bench.target("acme", |owner| owner).await;
                bench.tries(operation, &caller, standing, &target).await;
            }
            let target = bench.target("acme", |owner| owner).await;
            bench.tries(operation, &nobody, Hidden, &target).await;
            // Its owner, whatever account it is in, as long as they are active.
            let owner = target.owner.clone();
            bench.tries(operation, &owner, Own, &target).await;
            if !matches!(operation, ("list", Asks::ToOwn, _)) {
                // Inactive, they are no better than anybody else; how they stand to keys, they may ask.
                let target = bench.target("acme", |owner| owner.with_active(false)).await;
                bench.tries(operation, &target.owner, Hidden, &target).await;
            }
            // A key of the platform is everybody's to see, and its account's staff's to manage.
            for (caller, standing) in
                [(0, Seen), (1, Managed), (2, Seen), (3, Seen), (5, Seen), (8, Hidden)]
            {
                let target = bench.target(HOUSE, |owner| owner).await;
                bench.tries(operation, &callers()[caller].0, standing, &target).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_makes_keys_of_its_own_by_the_policy_and_its_stored_row() {
    on_each(stores::whole().await, async |setup| {
        let keys = setup.keys();
        keys.create_owner("plain").await.unwrap();
        keys.create_owner(Owner::staff("staff")).await.unwrap();
        keys.create_owner(Owner::staff("former").with_active(false)).await.unwrap();
        let own = async |caller: &str| {
            keys.on_behalf_of(caller).create(Owner::staff(caller), NewKey::default()).await
        };
        assert_eq!(own("staff").await.unwrap().0.owner().id().as_str(), "staff");
        let refused = own("plain").await.unwrap_err();
        assert!(refused.is_business_rule(), "as stored, not as passed in: {refused}");
        assert!(own("former").await.unwrap_err().is_forbidden());
        assert!(own("nobody").await.unwrap_err().is_forbidden());
        assert!(keys.owner("nobody").await.unwrap_err().is_not_found(), "nor do they come to be");
        assert_eq!(setup.all_rows().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_caller_is_not_found_by_what_a_listing_holds_back() {
    let setup = &stores::whole().await[0];
    let mut bench = Bench::on(setup);
    let target = bench.target("acme", |owner| owner).await;
    setup.keys().create_owner("stranger").await.unwrap();
    let keys = bench.keys.on_behalf_of("stranger");
    let report = keys.report(ReportSettings::default()).await.unwrap();
    assert!(report.never_used.keys.is_empty() && report.old.keys.is_empty());
    for filter in [
        KeyFilter::all(),
        KeyFilter::all().owner(target.owner.id()),
        KeyFilter::all().manageable_by("stranger"),
    ] {
        let page = keys.list(filter, Page::default()).await.unwrap();
        assert!(page.keys.is_empty() && page.next.is_none());
    }
    let own = setup.keys().on_behalf_of(target.owner.id());
    assert_eq!(own.list(KeyFilter::all(), Page::default()).await.unwrap().keys.len(), 1);
    assert_eq!(own.report(ReportSettings::default()).await.unwrap().never_used.keys.len(), 1);
}

/// The last caller that was named counts, and a manager without one may do all.
#[tokio::test]
async fn a_caller_takes_the_place_of_the_one_before() {
    let setup = &stores::whole().await[0];
    let mut bench = Bench::on(setup);
    let target = bench.target("acme", |owner| owner).await;
    let own = bench.keys.on_behalf_of("nobody").on_behalf_of(target.owner.id());
    assert!(own.get(target.key.id()).await.is_ok());
    assert!(own.on_behalf_of("nobody").get(target.key.id()).await.is_err());
    assert!(bench.keys.get(target.key.id()).await.is_ok());
}

// A caller who loses their rights while a change waits for the store: the row inside the transaction
// decides. Negative control: with the look before a bulk change as its only one, those go through.
#[tokio::test]
async fn a_caller_is_judged_by_the_row_that_the_transaction_sees() {
    const WAYS: usize = 6;
    for way in 0..WAYS {
        let store = Scripted::new();
        let builder = Authenticator::builder(store.clone()).issuing(Issuing::AnyActiveOwner);
        let keys = builder.build().unwrap().0.keys();
        keys.create_owner(Owner::new("super").with_superuser(true)).await.unwrap();
        let key = support::issue_with(&store, support::TOKEN, Owner::new("ada"), |key| {
            key.with_expires_at(Some(support::long_ago()))
        });
        let id = key.await.id();
        let before = store.get(id).await.unwrap().unwrap().key().clone();
        let begun = store.changes_begun_so_far();
        store.hold_changes();
        let bound = keys.on_behalf_of("super");
        let change = tokio::spawn(async move {
            match way {
                0 => bound.delete(id).await.map(drop),
                1 => bound.deactivate(id).await.map(drop),
                2 => bound.revoke_all("ada").await.map(drop),
                3 => bound.delete_expired(support::long_ago() + TimeDelta::days(1)).await.map(drop),
                4 => bound.create("ada", NewKey::default()).await.map(drop),
                _ => bound.deactivate_owner("ada").await.map(drop),
            }
        });
        store.changes_begun(begun + 1).await;
        // Past the gate, as another process would.
        support::edit_owner(store.rows(), &"super".into(), |owner| {
            Some(owner.clone().with_superuser(false))
        })
        .await
        .unwrap();
        store.release();
        let error = change.await.unwrap().unwrap_err();
        assert_eq!(error.is_not_found(), way < 2, "way {way}: {error}");
        assert_eq!(error.is_forbidden(), way >= 2, "way {way}: {error}");
        let after = store.get(id).await.unwrap().unwrap();
        assert_eq!(after.key(), &before, "way {way}");
        assert!(after.owner().is_active());
    }
}

/// A store may run a transaction again, on rows that others changed meanwhile: the last try's judgement
/// is the one that is told. Negative control: with the first try's refusal kept, a caller who lost their
/// rights hears that there is an owner of that id.
#[tokio::test]
async fn of_several_tries_the_last_one_s_judgement_counts() {
    let super_user = |rows: MemoryStore, is_super: bool| async move {
        let edit = |owner: &Owner| Some(owner.clone().with_superuser(is_super));
        support::edit_owner(&rows, &"root".into(), edit).await.unwrap();
    };
    let store = Quirky::over(MemoryStore::new()).retrying();
    let auth = support::authenticator(store.clone());
    auth.keys().create_owner(Owner::staff("root").with_accounts(["acme"])).await.unwrap();
    let edit = |key: ApiKey| key.with_account(Some("acme".into())).with_active(false);
    let id = support::issue_with(&store, support::TOKEN, Owner::staff("ada"), edit).await.id();
    let keys = auth.keys().on_behalf_of("root");

    // Forbidden at first, and a superuser's the next time; then the other way round.
    store.between_tries(move |rows| super_user(rows, true));
    keys.create_owner("eve").await.unwrap();
    store.between_tries(move |rows| super_user(rows, false));
    let error = keys.create_owner("eve").await.unwrap_err();
    assert!(error.is_forbidden(), "nobody hears that there is one: {error}");

    // Inactive at first, and active the next time.
    super_user(store.rows(), true).await;
    store.between_tries(move |rows| async move {
        support::edit(&rows, id, |row| Some(row.key().clone().with_active(true))).await.unwrap();
    });
    keys.rotate(id, Rotation::at_once()).await.unwrap();
    assert!(keys.rotate(id, Rotation::at_once()).await.unwrap_err().is_business_rule());

    // Forbidden at first, and gone the next time.
    super_user(store.rows(), false).await;
    store.between_tries(move |rows| async move {
        support::remove(&rows, id).await.unwrap();
    });
    let error = keys.rotate(id, Rotation::at_once()).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

/// Not even by the change of it that waits to be settled.
///
/// Negative control: with the error of `room` handed on as it is, this one is "try again later".
#[tokio::test(start_paused = true)]
async fn a_hidden_key_is_not_told_of_by_what_is_unsettled() {
    let store = Scripted::new();
    let id = support::issue(&store, support::TOKEN).await.id();
    let keys = support::authenticator(store.clone()).keys();
    keys.create_owner("stranger").await.unwrap();
    store.stick(Some(id));
    assert!(keys.deactivate(id).await.unwrap_err().is_outcome_unknown());
    let (hidden, own) = (keys.on_behalf_of("stranger"), keys.on_behalf_of("ada"));
    for (keys, is_hidden) in [(hidden, true), (own, false)] {
        for error in [
            keys.deactivate(id).await.unwrap_err(),
            keys.delete(id).await.unwrap_err(),
            keys.update(id, KeyUpdate::new().name("mine")).await.unwrap_err(),
            keys.rotate(id, Rotation::at_once()).await.unwrap_err(),
        ] {
            assert_eq!(error.is_not_found(), is_hidden, "{error}");
            assert_eq!(error.is_unavailable(), !is_hidden, "{error}");
        }
    }
}

#[test]
fn a_manager_s_debug_form_tells_for_whom_it_acts() {
    let keys = support::authenticator(MemoryStore::new()).keys().on_behalf_of("ada");
    assert!(format!("{keys:?}").contains("ada"));
}

//! Every managed change, and a store on which each of them has something to do.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tower_token_auth::{
    ApiKey, Authenticator, Guard, ImportedKey, KeyError, KeyFilter, KeyId, KeyUpdate, LastUsed,
    MemoryStore, NewKey, Owner, Page, Record, RejectionKind, Rotation, TokenDigest,
    store::KeyRepository, testing::ManualClock,
};

use crate::support::{Scripted, idle};

/// Of the key that is changed.
pub(super) const TOKEN: &str = "the-key-s-token";
/// Of the key that it replaced, which is in its grace.
pub(super) const OLDER: &str = "the-older-key-s-token";
/// Of somebody else's key.
pub(super) const OTHER: &str = "another-owner-s-token";
/// Of a key that is to be imported.
pub(super) const IMPORTED: &str = "an-imported-key-s-token";
pub(super) const TOKENS: [&str; 4] = [TOKEN, OLDER, OTHER, IMPORTED];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Activate,
    Deactivate,
    ToggleOn,
    ToggleOff,
    Rename,
    Widen,
    Narrow,
    ExpireLater,
    ExpireEarlier,
    Delete,
    RevokeToken,
    Create,
    RotateAtOnce,
    RotateWithGrace,
    Import,
    DeactivateOwner,
    ActivateOwner,
    SetAccounts,
    CreateOwner,
    RevokeAll,
    DeleteExpired,
    DeactivateUnused,
}

use Operation as Op;

impl Operation {
    pub(super) const ALL: [Self; 22] = [
        Op::Activate,
        Op::Deactivate,
        Op::ToggleOn,
        Op::ToggleOff,
        Op::Rename,
        Op::Widen,
        Op::Narrow,
        Op::ExpireLater,
        Op::ExpireEarlier,
        Op::Delete,
        Op::RevokeToken,
        Op::Create,
        Op::RotateAtOnce,
        Op::RotateWithGrace,
        Op::Import,
        Op::DeactivateOwner,
        Op::ActivateOwner,
        Op::SetAccounts,
        Op::CreateOwner,
        Op::RevokeAll,
        Op::DeleteExpired,
        Op::DeactivateUnused,
    ];

    /// Whether it hands out a token, which nobody has if it is lost.
    pub(super) fn issues(self) -> bool {
        matches!(self, Op::Create | Op::RotateAtOnce | Op::RotateWithGrace)
    }

    pub(super) async fn run(self, auth: &Authenticator) -> Result<(), KeyError> {
        let (keys, id) = (auth.keys(), key_id(1));
        let update = |update| keys.update(id, update);
        match self {
            Op::Activate => keys.activate(id).await.map(drop),
            Op::Deactivate => keys.deactivate(id).await.map(drop),
            Op::ToggleOn | Op::ToggleOff => keys.toggle_active(id).await.map(drop),
            Op::Rename => update(KeyUpdate::new().name("renamed")).await.map(drop),
            Op::Widen => update(KeyUpdate::new().scopes(["a", "b", "c"])).await.map(drop),
            Op::Narrow => update(KeyUpdate::new().scopes(["b"])).await.map(drop),
            Op::ExpireLater => update(KeyUpdate::new().expires_at(None)).await.map(drop),
            Op::ExpireEarlier => {
                let earlier = start() + chrono::Duration::days(10);
                update(KeyUpdate::new().expires_at(Some(earlier))).await.map(drop)
            }
            Op::Delete => keys.delete(id).await.map(drop),
            Op::RevokeToken => keys.revoke_token(TOKEN).await.map(drop),
            Op::Create => keys.create(Owner::staff("ada"), NewKey::named("new")).await.map(drop),
            Op::RotateAtOnce => keys.rotate(id, Rotation::at_once()).await.map(drop),
            Op::RotateWithGrace => {
                let rotation = Rotation::with_grace(Duration::from_secs(3600));
                keys.rotate(id, rotation).await.map(drop)
            }
            Op::Import => {
                let digest = TokenDigest::of(Default::default(), IMPORTED).to_hex();
                let imported = ImportedKey::new(digest, Owner::new("eve")).id(key_id(4));
                keys.import(imported.like(NewKey::named("imported"))).await.map(drop)
            }
            Op::DeactivateOwner => keys.deactivate_owner("ada").await.map(drop),
            Op::ActivateOwner => keys.activate_owner("ada").await.map(drop),
            Op::SetAccounts => keys.set_accounts("ada", ["b", "c"]).await.map(drop),
            Op::CreateOwner => keys.create_owner(Owner::staff("new")).await.map(drop),
            Op::RevokeAll => keys.revoke_all("ada").await.map(drop),
            Op::DeleteExpired => keys.delete_expired(start()).await.map(drop),
            Op::DeactivateUnused => {
                keys.deactivate_unused(start() - chrono::Duration::days(1)).await.map(drop)
            }
        }
    }
}

/// When every change is made.
pub(super) fn start() -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + chrono::Duration::days(20_000)
}

pub(super) fn key_id(number: u32) -> KeyId {
    format!("00000000-0000-4000-8000-00000000000{number}").parse().unwrap()
}

/// A store, and an authenticator over it.
pub(super) struct World<S> {
    pub(super) store: S,
    pub(super) auth: Authenticator,
    pub(super) guard: Guard,
}

impl<S: KeyRepository + Clone> World<S> {
    /// One on which `operation` has something to do.
    pub(super) async fn for_a(operation: Operation, store: S) -> Self {
        fill(operation, &store).await;
        Self::over(store)
    }

    /// An authenticator of its own.
    pub(super) fn over(store: S) -> Self {
        let builder = Authenticator::builder(store.clone()).clock(ManualClock::at(start()));
        let builder = builder.capacity(64).negative_capacity(64);
        let builder = builder.last_used(LastUsed::Every(Duration::from_secs(60)));
        let (auth, guard) = builder.build().unwrap();
        Self { store, auth, guard }
    }

    /// Asks about a token: `None` when it is admitted.
    pub(super) async fn refusal(&self, token: &str) -> Option<RejectionKind> {
        self.auth.authenticate(token).await.err().map(|refusal| refusal.kind())
    }

    pub(super) async fn is_suspect(&self, token: &str) -> bool {
        self.refusal(token).await == Some(RejectionKind::Suspect)
    }

    pub(super) async fn rows(&self) -> Rows {
        Rows::of(&self.auth).await
    }
}

async fn fill(operation: Operation, store: &impl KeyRepository) {
    let days = chrono::Duration::days;
    let add = async |number: u32, token: &str, owner: Owner, edit: &dyn Fn(ApiKey) -> ApiKey| {
        let digest = TokenDigest::of(Default::default(), token);
        let made = start() - days(100);
        let key = ApiKey::new(key_id(number), digest, owner.id().clone(), made).with_name("key");
        // Used just now, so that no use is due.
        let is_idle = operation == Op::DeactivateUnused && owner.id().as_str() == "ada";
        let used = if is_idle { start() - days(50) } else { start() };
        let key = edit(key).with_last_used_at(Some(used));
        store.insert(key, owner, None, &mut |_, _| true).await.unwrap();
    };
    let ada = Owner::staff("ada").with_accounts(["a", "b"]);
    let ada = ada.with_active(operation != Op::ActivateOwner);
    add(2, OLDER, ada.clone(), &|key| {
        key.with_scopes(["a", "b"]).with_expires_at(Some(start() + days(1)))
    })
    .await;
    add(1, TOKEN, ada, &|key| {
        let expires = if operation == Op::DeleteExpired { -1 } else { 50 };
        key.with_scopes(["a", "b"])
            .with_expires_at(Some(start() + days(expires)))
            .with_active(!matches!(operation, Op::Activate | Op::ToggleOn))
            // One whose predecessor still works stays until both have expired.
            .with_predecessor((operation != Op::DeleteExpired).then(|| key_id(2)))
    })
    .await;
    add(3, OTHER, Owner::staff("bob"), &|key| key).await;
}

impl World<Scripted> {
    /// Waits until the key of [`TOKEN`] is no suspect any more.
    pub(super) async fn is_cleared(&self) {
        for _ in 0..100 {
            let begun = self.store.changes_begun_so_far();
            if !self.is_suspect(TOKEN).await {
                return;
            }
            self.store.changes_begun(begun + 1).await;
            idle().await;
        }
        panic!("still suspect");
    }
}

/// All that a store holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub(super) keys: Vec<ApiKey>,
    owners: Vec<Option<Owner>>,
}

impl Rows {
    async fn of(auth: &Authenticator) -> Self {
        let page = auth.keys().list(KeyFilter::all(), Page::first(100)).await.unwrap();
        // Uses are no change.
        let key = |record: &Record| record.key().clone().with_last_used_at(None);
        let mut keys: Vec<ApiKey> = page.keys.iter().map(key).collect();
        keys.sort_by_key(ApiKey::id);
        let mut owners = Vec::new();
        for id in ["ada", "bob", "eve", "new"] {
            owners.push(auth.keys().owner(id).await.ok());
        }
        Self { keys, owners }
    }

    pub(super) fn key(&self, number: u32) -> Option<&ApiKey> {
        self.keys.iter().find(|key| key.id() == key_id(number))
    }
}

/// What `operation` makes of it where nothing is lost: the rows before and after, and what each token
/// then is answered.
pub(super) struct Sound {
    pub(super) before: Rows,
    pub(super) after: Rows,
    pub(super) answers_before: Vec<Option<RejectionKind>>,
    pub(super) answers_after: Vec<Option<RejectionKind>>,
}

impl Sound {
    pub(super) async fn of(operation: Operation) -> Self {
        let world = World::for_a(operation, MemoryStore::new()).await;
        let (before, answers_before) = (world.rows().await, answers(&world).await);
        operation.run(&world.auth).await.unwrap();
        let (after, answers_after) = (world.rows().await, answers(&world).await);
        assert_ne!(before, after, "{operation:?} has something to do");
        Self { before, after, answers_before, answers_after }
    }

    /// Whether the change touches the token's key.
    pub(super) fn touches(&self, token: &str) -> bool {
        let number = 1 + u32::try_from(TOKENS.iter().position(|t| *t == token).unwrap()).unwrap();
        let of = |rows: &Rows| {
            let key = rows.key(number).cloned();
            let owner = key.as_ref().and_then(|key| {
                let ids = ["ada", "bob", "eve", "new"];
                let at = ids.iter().position(|id| *id == key.owner_id().as_str());
                rows.owners[at.unwrap()].clone()
            });
            (key, owner)
        };
        of(&self.before) != of(&self.after)
    }

    /// The owners as they were, less what the change took away.
    fn taken(&self) -> Vec<Option<Owner>> {
        let less = |(before, after): (&Option<Owner>, &Option<Owner>)| {
            let (before, after) = (before.clone()?, after.as_ref()?);
            let kept = before.accounts().iter().filter(|account| after.is_member_of(account));
            let kept: Vec<_> = kept.cloned().collect();
            let is_active = before.is_active() && after.is_active();
            Some(before.with_accounts(kept).with_active(is_active))
        };
        self.before.owners.iter().zip(&self.after.owners).map(less).collect()
    }

    /// Panics unless the rows are what a lost change is to be settled to.
    pub(super) fn is_settled(&self, operation: Operation, rows: &Rows, what: &str) {
        if !operation.issues() {
            // What was to be given to an owner is given only where it has landed, and what was to be
            // imported is there only if it has.
            let is_less = match operation {
                Op::ActivateOwner | Op::SetAccounts => {
                    rows.keys == self.after.keys && rows.owners == self.taken()
                }
                Op::Import => rows.keys == self.before.keys && rows.owners == self.after.owners,
                _ => false,
            };
            assert!(is_less || rows == &self.after, "{what}: {rows:?}");
            return;
        }
        let is_new = |key: &&ApiKey| self.before.keys.iter().all(|old| old.id() != key.id());
        let new: Vec<&ApiKey> = rows.keys.iter().filter(is_new).collect();
        assert_eq!(new.len(), 1, "{what}: the key whose token nobody has keeps its place");
        assert!(!new[0].is_active() && new[0].predecessor().is_none(), "{what}: {:?}", new[0]);
        assert_eq!(rows.key(1), self.before.key(1), "{what}: the old key is what it was");
        // What a change takes away is taken in any case.
        assert_eq!(rows.key(2), self.after.key(2), "{what}");
        assert_eq!(rows.owners, self.before.owners, "{what}");
    }
}

/// What each token is answered.
pub(super) async fn answers<S: KeyRepository + Clone>(
    world: &World<S>,
) -> Vec<Option<RejectionKind>> {
    let mut answers = Vec::new();
    for token in TOKENS {
        answers.push(world.refusal(token).await);
    }
    answers
}

//! Transactions that have decided what to write and have not landed yet.
//!
//! They land as a store's own would: whole, and only if nobody has written the rows since that they
//! read. A row that was written as it stood counts as written, and so does one that was added and
//! taken away again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use tower_token_auth::{
    ApiKey, KeyId, MemoryStore, Owner, OwnerId, Record,
    store::{Family, InsertJudge, KeyPlan, KeyRepository as _, KeyWrite, OwnerEdit, StoreError},
};

#[derive(Default)]
pub(super) struct Late(Mutex<State>);

#[derive(Default)]
struct State {
    /// How often each row was written.
    versions: HashMap<Row, u64>,
    waiting: Vec<Transaction>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Row {
    Key(KeyId),
    Owner(OwnerId),
}

struct Transaction {
    /// With how often it had been written.
    read: Vec<(Row, u64)>,
    writes: Vec<Write>,
}

enum Write {
    Insert(ApiKey, Owner),
    Keys(KeyId, Vec<KeyWrite>),
    Owner(Owner),
}

impl Late {
    /// The rows were written.
    pub(super) fn wrote(&self, rows: impl IntoIterator<Item = Row>) {
        let mut state = self.state();
        for row in rows {
            *state.versions.entry(row).or_default() += 1;
        }
    }

    /// Decides, and writes nothing yet.
    pub(super) async fn insert(
        &self,
        rows: &MemoryStore,
        key: ApiKey,
        owner: Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<(), StoreError> {
        let mut may = false;
        let mut look = |stored: &Owner, caller: Option<&Owner>| {
            may = judge(stored, caller);
            false
        };
        let refused = rows.insert(key.clone(), owner.clone(), caller, &mut look).await;
        if !may {
            return refused.map(drop);
        }
        self.waits(vec![Row::Key(key.id())], vec![Write::Insert(key, owner)]);
        Ok(())
    }

    /// Decides, each key as it stands, and writes nothing yet.
    pub(super) async fn change(
        &self,
        rows: &MemoryStore,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<(), StoreError> {
        let (mut read, mut writes) = (Vec::new(), Vec::new());
        let mut look = |family: &Family| {
            let relatives = [&family.predecessor, &family.successor];
            let relatives = relatives.into_iter().flatten().map(ApiKey::id);
            read.extend(relatives.chain([family.key.id()]).map(Row::Key));
            writes.push(Write::Keys(family.key.id(), plan(family)?));
            Some(Vec::new())
        };
        rows.change(ids, caller, &mut look).await?;
        self.waits(read, writes);
        Ok(())
    }

    /// Decides, and writes nothing yet.
    pub(super) async fn change_owner(
        &self,
        rows: &MemoryStore,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<(), StoreError> {
        let mut after = None;
        let mut look = |stored: Option<&Owner>, caller: Option<&Owner>| {
            after = edit(stored, caller);
            None
        };
        let refused = rows.change_owner(id, caller, &mut look).await;
        let Some(after) = after else { return refused.map(drop) };
        self.waits(vec![Row::Owner(id.clone())], vec![Write::Owner(after)]);
        Ok(())
    }

    /// The latest one never lands.
    pub(super) fn forget(&self) {
        self.state().waiting.pop();
    }

    /// Lets those that wait land; says how many did. Atomic where nobody else runs meanwhile, as rows
    /// in memory never make one wait.
    pub(super) async fn land(&self, rows: &MemoryStore) -> usize {
        let waiting = std::mem::take(&mut self.state().waiting);
        let mut landed = 0;
        for transaction in waiting {
            let is_current = {
                let state = self.state();
                let current = |row: &Row| state.versions.get(row).copied().unwrap_or_default();
                transaction.read.iter().all(|(row, version)| current(row) == *version)
            };
            if is_current && self.make(rows, transaction.writes).await.is_ok() {
                landed += 1;
            }
        }
        landed
    }

    async fn make(&self, rows: &MemoryStore, writes: Vec<Write>) -> Result<(), StoreError> {
        for write in writes {
            match write {
                Write::Insert(key, owner) => {
                    let made = rows.insert(key, owner, None, &mut |_, _| true).await?;
                    self.wrote([Row::Key(made.id())]);
                }
                Write::Keys(id, writes) => {
                    let mut plan = |_: &Family| Some(writes.clone());
                    let made = rows.change(&[id], None, &mut plan).await?;
                    self.wrote(made.iter().map(Record::id).map(Row::Key));
                }
                Write::Owner(after) => {
                    let id = after.id().clone();
                    let mut edit = |_: Option<&Owner>, _: Option<&Owner>| Some(after.clone());
                    rows.change_owner(&id, None, &mut edit).await?;
                    self.wrote([Row::Owner(id)]);
                }
            }
        }
        Ok(())
    }

    fn waits(&self, read: Vec<Row>, writes: Vec<Write>) {
        let mut state = self.state();
        let version = |row: Row| {
            let version = state.versions.get(&row).copied().unwrap_or_default();
            (row, version)
        };
        let read = read.into_iter().map(version).collect();
        state.waiting.push(Transaction { read, writes });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

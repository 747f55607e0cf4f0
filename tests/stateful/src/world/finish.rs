//! What must hold when a case is over, and of the rows whenever something was written.

use std::pin::pin;

use tower_token_auth::{KeyFilter, Owner, OwnerId, Page, Record};

use super::World;
use crate::{
    backend::Backend,
    model::{
        Complaint,
        rows::{OWNERS, OwnerRow, Row},
    },
    step::{Process, Setting},
    watched::{Event, MANAGING},
};

/// How often a settler may have to try again after its store is back: its longest pause, and a try
/// that hangs, are over by then.
const TRIES: usize = 4;

impl<B: Backend> World<B> {
    /// Puts the store right and lets all limits pass: then everything must be known to everybody.
    pub(super) async fn end(&mut self, setting: &Setting) -> Result<(), Complaint> {
        for on in [Process::One, Process::Two] {
            self.stores[on as usize].own.set_down(false);
            self.lines[on as usize].iter().for_each(|line| line.mend());
            while !self.stores[on as usize].own.held().is_empty() {
                self.stores[on as usize].own.release();
            }
        }
        self.stores[0].land_now().await;
        self.rest().await;
        self.heed_all()?;
        self.answer_requests().await?;
        for _ in 0..TRIES {
            for on in [Process::One, Process::Two] {
                self.rouse(on).await?;
            }
            self.advance(11_000).await;
            self.rest().await;
            self.heed_all()?;
        }
        for on in [Process::One, Process::Two] {
            if self.model.has_lost(on) {
                return Err(format!("{on:?} never settles what it lost"));
            }
        }
        self.advance(setting.fresh_ttl.max(setting.negative_ttl)).await;
        self.rest().await;
        // By now nothing but the truth may be said.
        self.look().await?;
        self.is_changed = true;
        self.compare_rows().await?;
        for (number, owner) in (0..).zip(OWNERS) {
            let stored = self.stores[0].dump_owner(&OwnerId::from(owner)).await;
            let stored = stored.as_ref().map(OwnerRow::of);
            if stored.as_ref() != self.model.rows.owners.get(&number) {
                return Err(format!("{owner} is stored as {stored:?}"));
            }
        }
        for auth in &self.auths {
            let keys = auth.keys();
            let listed =
                pin!(async move { keys.list(KeyFilter::all(), Page::first(Page::MAX)).await });
            let listed = self.drive(listed).await.ok_or("a listing never ends")?;
            self.compare(&listed.map_err(|error| error.to_string())?.keys)?;
        }
        Ok(())
    }

    /// Asks for a change that changes nothing: a settler whose worker panicked begins anew then.
    async fn rouse(&mut self, on: Process) -> Result<(), Complaint> {
        let keys = self.auths[on as usize].keys();
        let asked = MANAGING.scope((), async move { keys.deactivate_owner("nobody").await });
        let outcome = self.drive(pin!(asked)).await.ok_or("a change never ends")?;
        if !outcome.is_err_and(|error| error.is_not_found()) {
            return Err("an owner that is not there was changed".into());
        }
        self.rest().await;
        let is_own = |event: &Event| matches!(event, Event::Write(write) if write.by_manager);
        self.common
            .drain()
            .into_iter()
            .filter(|event| !is_own(event))
            .try_for_each(|e| self.heed(e))
    }

    pub(super) async fn compare_rows(&mut self) -> Result<(), Complaint> {
        if std::mem::take(&mut self.is_changed) {
            self.compare(&self.stores[0].dump().await)?;
        }
        Ok(())
    }

    fn compare(&self, records: &[Record]) -> Result<(), Complaint> {
        let rows: Vec<Row> = records.iter().map(|record| Row::of(record.key())).collect();
        if !self.model.rows.in_order().into_iter().eq(&rows) {
            let expected = self.model.rows.in_order();
            return Err(format!("stored is {rows:#?}, and ought to be {expected:#?}"));
        }
        let owner = |owner: &Owner| OwnerRow::of(owner);
        let is_right = |record: &Record| {
            let number = Row::of(record.key()).owner;
            self.model.rows.owners.get(&number) == Some(&owner(record.owner()))
        };
        match records.iter().find(|record| !is_right(record)) {
            Some(record) => Err(format!("an owner is stored as {:?}", record.owner())),
            None => Ok(()),
        }
    }
}

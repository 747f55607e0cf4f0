//! A store's connections, and what becomes of them when the file is replaced under them.
//!
//! A connection keeps the file that it opened, even when another one stands in its place: it would
//! read a deleted database for ever. So the feed, which looks after the file, has pools made anew;
//! a pool of the user's can't be, and answers no more.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{
    super::{error::StoreError, file::FileId},
    SqliteOptions, failure,
    location::Access,
    migrate,
};
use crate::value::digest::DigestAlgorithm;

/// The connections that a store reads and writes with.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) read: SqlitePool,
    /// `None` where the location itself says that nothing may be written.
    pub(super) write: Option<SqlitePool>,
}

/// How to make the connections of a database that [`open`](SqliteOptions::open) opened.
pub(super) struct Maker {
    pub(super) options: SqliteOptions,
    pub(super) connect: SqliteConnectOptions,
    pub(super) access: Access,
}

pub(super) struct Pools {
    /// `None` while the file that they have open is not the one in its place.
    current: RwLock<Option<Pair>>,
    /// Makes them anew; `None` for a pool of the user's.
    maker: Option<Maker>,
    /// The file; `None` for a database in memory.
    path: Option<PathBuf>,
    /// The identity of the file that `current` has open, or had before it was lost.
    opened: Mutex<Option<FileId>>,
    /// A pool of the user's that was lost: its file may come back.
    lost: Mutex<Option<Pair>>,
    /// Whether [`close`](Self::close) was called: nothing is made anew then.
    is_closed: AtomicBool,
}

impl Pools {
    pub(super) fn new(pair: Pair, maker: Option<Maker>, path: Option<PathBuf>) -> Self {
        // Absolute, as the process may change its folder later.
        let path = path.map(|path| std::path::absolute(&path).unwrap_or(path));
        let opened = Mutex::new(path.as_deref().and_then(FileId::of));
        let (current, lost) = (RwLock::new(Some(pair)), Mutex::default());
        Self { current, maker, path, opened, lost, is_closed: AtomicBool::new(false) }
    }

    /// The connections, unless they have a deleted file open.
    pub(super) fn current(&self) -> Result<Pair, StoreError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or_else(|| StoreError::unavailable(self.advice()))
    }

    /// Where the file is; `None` for a database in memory.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// How a connection of one's own to the same database is made.
    pub(super) fn connect_options(&self) -> Result<SqliteConnectOptions, StoreError> {
        match &self.maker {
            Some(maker) => Ok(maker.connect.clone()),
            None => Ok((*self.current()?.read.connect_options()).clone()),
        }
    }

    /// Waits until every connection that was made here is closed; leaves a user's pool alone.
    pub(super) async fn close(&self) {
        if self.maker.is_none() {
            return;
        }
        // SeqCst: cold, and the plain order in which a feed sees it before it makes anything.
        self.is_closed.store(true, Ordering::SeqCst);
        if let Ok(Pair { read, write }) = self.current() {
            read.close().await;
            if let Some(write) = write {
                write.close().await;
            }
        }
    }

    /// Whether [`close`](Self::close) was called, or the user closed the pool.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
            || self.current().is_ok_and(|pair| pair.read.is_closed())
    }

    /// Sees to it that the connections are to `file`, the one that stands in its place now. Until
    /// they are, nothing is read: what another process revokes in the new file can't be seen in the
    /// old one, for however long it stays open.
    pub(super) async fn follow(
        &self,
        file: Option<FileId>,
        algorithm: DigestAlgorithm,
    ) -> Result<(), StoreError> {
        if file.is_some() && file == *lock(&self.opened) {
            // A user's file was moved away and back.
            if let Some(pair) = lock(&self.lost).take() {
                self.set(Some(pair));
            }
            if self.current().is_ok() {
                return Ok(());
            }
        }
        let old = self.set(None);
        let (Some(maker), Some(file)) = (&self.maker, file) else {
            if self.maker.is_none() && old.is_some() {
                *lock(&self.lost) = old;
            }
            return Err(StoreError::unusable(self.advice()));
        };
        // The old connections close once the last read on them has ended: what that finds is
        // outdated by the flush with which the feed begins.
        drop(old);
        let pair = maker.make(false);
        maker.prepare_again(&pair, algorithm).await?;
        *lock(&self.opened) = Some(file);
        self.set(Some(pair));
        Ok(())
    }

    fn set(&self, pair: Option<Pair>) -> Option<Pair> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, pair)
    }

    fn advice(&self) -> &'static str {
        match &self.maker {
            Some(_) => {
                "the file of the key database was moved away, and no database that can be used \
                 stands in its place; put one there"
            }
            None => {
                "the file of the key database was replaced, and this pool has the old one open; \
                 make a new pool and a store on it, or start the service again"
            }
        }
    }
}

impl Maker {
    /// New connections; none is opened before it is needed.
    pub(super) fn make(&self, may_create: bool) -> Pair {
        let connect = self.connect.clone();
        // A file that is missing later on is trouble, and no reason to make an empty one.
        let connect = if may_create { connect } else { connect.create_if_missing(false) };
        let reading = connect.clone().pragma("query_only", "ON");
        let connections = self.options.read_connections;
        let (read, write) = match self.access {
            Access::ReadWrite => (self.pool(reading, connections), Some(self.pool(connect, 1))),
            Access::ReadOnly => (self.pool(reading, connections), None),
            Access::Memory => {
                let pool = self.pool(connect, 1);
                (pool.clone(), Some(pool))
            }
        };
        Pair { read, write }
    }

    /// Brings the tables of a file that came in another's place up to date. One without our tables
    /// is not taken for an empty database: its keys would all count as unknown.
    async fn prepare_again(
        &self,
        pair: &Pair,
        algorithm: DigestAlgorithm,
    ) -> Result<(), StoreError> {
        let SqliteOptions { prefix, busy_timeout, .. } = &self.options;
        let first = pair.write.as_ref().unwrap_or(&pair.read);
        if !migrate::is_made(first, prefix).await.map_err(failure::of)? {
            return Err(StoreError::unusable(format!(
                "the database that was put in the place of the key database has no tables of \
                 `{prefix}`; put the right one there"
            )));
        }
        let prepared =
            migrate::prepare(first, prefix, Some(algorithm), self.journal(), *busy_timeout).await;
        prepared.map(drop).map_err(|error| error.within(&super::location::Place::elsewhere()))
    }

    /// Which journal the database is to have.
    pub(super) fn journal(&self) -> migrate::Journal {
        match self.access {
            Access::ReadOnly => migrate::Journal::AsItIs,
            Access::ReadWrite | Access::Memory => migrate::Journal::Wal,
        }
    }

    fn pool(&self, connect: SqliteConnectOptions, connections: u32) -> SqlitePool {
        SqlitePoolOptions::new()
            .max_connections(connections)
            // A change may wait its turn behind one that waits for a lock.
            .acquire_timeout(
                self.options.busy_timeout.saturating_mul(2).max(Duration::from_secs(1)),
            )
            // An embedded database's connections do not go stale; to close the last one of a
            // database in memory would lose it.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(connect)
    }
}

/// Locks. Nothing under these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

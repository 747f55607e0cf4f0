//! Where records live: the contract for stores, and the stores that come with the crate.
//!
//! A store that answers [`KeyStore`] can authenticate; one that answers [`KeyRepository`] as well
//! can be managed. Both are written with plain `async fn`. A [`RevocationFeed`] tells of changes
//! that were made elsewhere.

mod channel;
mod contract;
mod erased;
mod error;
mod feed;
#[cfg(any(feature = "sqlite", feature = "knox"))]
mod file;
#[cfg(feature = "knox")]
mod knox;
mod memory;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "knox"))]
mod opening;
#[cfg(feature = "postgres")]
mod postgres;
mod shared;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "knox"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "test-util")]
pub mod conformance;

pub use channel::{ChannelFeed, RevocationChannel};
pub use contract::{
    Capabilities, Cursor, Family, InsertJudge, KeyFilter, KeyOrder, KeyPlan, KeyQuery,
    KeyRepository, KeyStore, KeyUse, KeyWrite, OwnerEdit, Standing,
};
pub(crate) use erased::{DynFeed, DynRepository, DynStore};
pub use error::StoreError;
pub use feed::{Heard, RevocationFeed};
#[cfg(feature = "knox")]
pub use knox::{
    KnoxFeed, KnoxOptions, KnoxStore, TokenPage, TokenPlace, TokenTable, TokenTableKind,
};
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::{PostgresFeed, PostgresOptions, PostgresStore};
pub use shared::SharedStore;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteFeed, SqliteOptions, SqliteStore};

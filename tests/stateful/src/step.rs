//! What may happen to keys: the steps of a case, and how they are written down.

use std::fmt;

/// One of the two processes that share a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    One,
    Two,
}

/// How a case is set up.
#[derive(Clone, Debug)]
pub struct Setting {
    /// How many keys each cache holds.
    pub capacity: usize,
    /// How many unknown tokens each cache remembers.
    pub negative_capacity: usize,
    /// In milliseconds.
    pub fresh_ttl: u64,
    /// In milliseconds.
    pub negative_ttl: u64,
    /// In milliseconds; what stands in for a store that fails.
    pub stale_if_error: u64,
}

impl Setting {
    /// One with room for all keys.
    pub const ROOMY: Self = Self {
        capacity: 64,
        negative_capacity: 64,
        fresh_ttl: 10_000,
        negative_ttl: 5_000,
        stale_if_error: 0,
    };
}

/// What happens before the next look at every token: one or a few actions, written
/// `step([..])`.
#[derive(Clone)]
pub struct Step(pub Vec<Action>);

/// A step of these actions.
pub fn step<const N: usize>(actions: [Action; N]) -> Step {
    Step(actions.into())
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // On one line, whatever the list around it does.
        write!(f, "step({:?})", self.0)
    }
}

/// One thing that happens. Keys, tokens and owners are named by a number, taken modulo how many
/// there are: so a case still makes sense when a step is left out of it.
#[derive(Clone, Debug)]
pub enum Action {
    /// A manager is asked for a change, whose answer may be lost.
    Manage(Process, Order, Fate),
    /// Somebody writes to the store behind both managers' backs.
    Raw(RawWrite),
    /// The public way to outdate what was read.
    Outdate(Process, Outdated),
    /// A decision that must not rest on the cache.
    Authoritative { on: Process, token: u8 },
    /// A key that was admitted earlier is judged again.
    Recheck { on: Process, token: u8 },
    /// A request that is given up at once.
    Abandon { on: Process, token: u8 },
    /// A token that no key ever has.
    Junk { on: Process, number: u8 },
    /// A request of which the next read that begins has looked, but does not answer yet.
    Hold { on: Process, token: u8, authoritative: bool },
    /// The read that was held first answers.
    Release { on: Process },
    /// Time passes.
    Advance { millis: u64 },
    /// The calendar alone moves, as a time server or a suspended machine moves it.
    StepWall { seconds: i64 },
    /// The store can't be reached from here any more.
    Down { on: Process },
    /// It can again.
    Up { on: Process },
    /// A commit whose answer was lost arrives at last.
    Land,
    /// Nothing is heard here any more of changes; and nobody notices, or somebody does.
    Cut { on: Process, silently: bool },
    /// It is again.
    Mend { on: Process },
}

/// A change that a manager is asked for.
#[derive(Clone, Debug)]
pub enum Order {
    Create {
        owner: u8,
        expires_in: Option<u32>,
        scopes: u8,
        active: bool,
    },
    Import {
        token: u8,
        owner: u8,
        expires_in: Option<i32>,
        active: bool,
    },
    Activate {
        key: u8,
    },
    Deactivate {
        key: u8,
    },
    Toggle {
        key: u8,
    },
    /// Of the expiry: leave it, take it away, or set it so many seconds from now.
    Update {
        key: u8,
        expires_in: Option<Option<i32>>,
        scopes: Option<u8>,
    },
    Rotate {
        key: u8,
        grace: u32,
        expires_in: Option<u32>,
    },
    Delete {
        key: u8,
    },
    Accessed {
        key: u8,
    },
    RevokeToken {
        token: u8,
    },
    RevokeAll {
        owner: u8,
    },
    DeleteExpired,
    SetOwner {
        owner: u8,
        active: Option<bool>,
        staff: Option<bool>,
    },
}

/// A change that no manager makes.
#[derive(Clone, Debug)]
pub enum RawWrite {
    Switch { key: u8, active: bool },
    Expire { key: u8 },
    Remove { key: u8 },
    SwitchOwner { owner: u8, active: bool },
}

/// What the public calls outdate.
#[derive(Clone, Debug)]
pub enum Outdated {
    Key(u8),
    Owner(u8),
    Token(u8),
    All,
}

/// What becomes of a change's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// The first write of the change is lost, and `times` in all: the others are repairs.
    Lost {
        made: Made,
        end: End,
        times: u8,
        down: bool,
    },
}

/// What becomes of a write whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Yes,
    No,
    /// It is under way, and holds the lock for which the next write waits.
    Later,
}

/// How an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An error that does not tell.
    Error,
    /// The caller gives up.
    Dropped,
    /// The store panics.
    Panic,
}

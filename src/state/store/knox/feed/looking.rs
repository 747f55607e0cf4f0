//! A feed that looks at the keys in use again: what it looks at, when, and what it answers.

use std::{sync::Arc, time::Duration};

use super::{seen::Seen, together::together, wake::Wake};
use crate::{
    state::store::{
        error::StoreError,
        feed::Heard,
        knox::{KnoxStore, dialect::Dialect},
        sql::hearing::deaf,
    },
    value::digest::{DigestAlgorithm, TokenDigest},
};

/// How often it looks by default: a SQLite file whether it was written to, which costs next to nothing;
/// a server at all keys that were used lately.
const EVERY_OF_A_FILE: Duration = Duration::from_millis(100);
const EVERY_OF_A_SERVER: Duration = Duration::from_secs(1);
/// The longest fresh TTL it can serve.
pub(super) const FRESH_TTL: Duration = Duration::from_secs(10);
/// For how long a key is looked at that is not found again: half as long again as it can be cached.
const MEMORY: Duration = Duration::from_secs(15);
/// How many keys are read in one query.
const AT_ONCE: usize = 256;
/// How many queries are under way at a time; half of the pool's connections, as it is by default.
const TOGETHER: usize = 4;

pub(super) struct Looking {
    seen: Arc<Seen>,
    pub(super) every: Duration,
    pub(super) is_listening: bool,
    wake: Option<Wake>,
    /// The probe to be answered by the look that begins next.
    pub(super) asked: Option<u64>,
    look: Option<Look>,
}

/// A look under way. It is kept here, so that whoever stops hearing loses nothing.
struct Look {
    todo: Vec<TokenDigest>,
    answers: Option<u64>,
}

impl Looking {
    pub(super) fn of(store: &KnoxStore) -> Self {
        let every = match store.pool.dialect() {
            Dialect::Sqlite => EVERY_OF_A_FILE,
            Dialect::Postgres | Dialect::MySql => EVERY_OF_A_SERVER,
        };
        Self {
            seen: Arc::new(Seen::new(looks(every))),
            every,
            is_listening: false,
            wake: None,
            asked: None,
            look: None,
        }
    }

    pub(super) fn look_every(&mut self, span: Duration) {
        self.every = span.clamp(Duration::from_millis(10), Duration::from_secs(2));
        self.seen = Arc::new(Seen::new(looks(self.every)));
    }

    pub(super) async fn listen(&mut self, store: &KnoxStore) -> Result<(), StoreError> {
        self.is_listening = false;
        (self.look, self.asked) = (None, None);
        // What is found from here on is noted; all that was read before is outdated.
        self.seen.forget();
        store.watchers.add(&self.seen);
        self.wake = Wake::of(&store.pool).await?;
        // One that nobody has: whether it can look at all.
        let nobody = TokenDigest::of(DigestAlgorithm::Sha512, "");
        store.find_again(&[nobody]).await?;
        self.is_listening = true;
        Ok(())
    }

    pub(super) async fn next(&mut self, store: &KnoxStore) -> Result<Heard, StoreError> {
        if !self.is_listening {
            return Err(deaf());
        }
        loop {
            if let Some(heard) = self.seen.changed() {
                return Ok(heard);
            }
            let Some(look) = &mut self.look else {
                if self.asked.is_none() {
                    tokio::time::sleep(self.every).await;
                }
                self.look = Some(self.begin().await?);
                continue;
            };
            let together_now = at_a_time(store.pool.size());
            let left = look.todo.len().saturating_sub(together_now * AT_ONCE);
            let part = &look.todo[left..];
            if part.is_empty() {
                let answers = look.answers;
                self.look = None;
                match answers {
                    Some(nonce) => return Ok(Heard::Alive(nonce)),
                    None => continue,
                }
            }
            let reads = part.chunks(AT_ONCE).map(|part| store.find_again(part));
            let found = together(reads).await?;
            self.seen.compare(part, &found);
            look.todo.truncate(left);
        }
    }

    pub(super) fn rest(&mut self) {
        (self.look, self.wake) = (None, None);
        self.is_listening = false;
    }

    async fn begin(&mut self) -> Result<Look, StoreError> {
        let has_changed = match &mut self.wake {
            Some(wake) => wake.has_changed().await?,
            None => true,
        };
        // No await behind the question: a look that was dropped would have taken its answer along.
        Ok(Look { todo: self.seen.begin(has_changed), answers: self.asked.take() })
    }
}

/// How many queries are made at a time: half of the connections are left to lookups.
fn at_a_time(connections: u32) -> usize {
    TOGETHER.min(connections as usize / 2).max(1)
}

/// How many looks there are in the time for which a key is looked at, with those that probes ask for.
fn looks(every: Duration) -> u64 {
    u64::try_from(2 * MEMORY.as_millis() / every.as_millis().max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to fail without the half.
    #[test]
    fn half_of_the_connections_are_left_to_lookups() {
        let at_a_time = [1, 2, 4, 7, 8, 100].map(at_a_time);
        assert_eq!(at_a_time, [1, 1, 2, 3, 4, 4]);
    }
}

//! Waiting until nothing goes on any more without a timer or the test itself.

use std::{
    pin::{Pin, pin},
    task::Poll,
};

use tokio::task::yield_now;

use super::World;
use crate::backend::Backend;

/// How often other tasks get their turn before nothing is taken to go on: more than the longest
/// chain of tasks that wake each other.
const TURNS: usize = 8;

impl<B: Backend> World<B> {
    /// Lets background work go on until it can't.
    pub(super) async fn rest(&self) {
        loop {
            let begun = self.common.begun();
            self.common.rest().await;
            for _ in 0..TURNS {
                yield_now().await;
            }
            if !self.common.is_busy() && self.common.begun() == begun {
                return;
            }
        }
    }

    /// Lets a read that a decision began in the background come to its end: until then it may be the
    /// one that tries whether the store is back, while others are turned away.
    pub(super) async fn rest_of_reads(&self) {
        yield_now().await;
        self.common.rest().await;
    }

    /// Runs a future until it is ready; `None` if it waits for what only the test can do.
    pub(super) async fn drive<F: Future + ?Sized>(
        &self,
        mut future: Pin<&mut F>,
    ) -> Option<F::Output> {
        let mut turns = 0;
        loop {
            let mut rest = pin!(self.common.rest());
            let polled = std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => rest.as_mut().poll(cx).map(|()| None),
            });
            if let Some(output) = polled.await {
                return Some(output);
            }
            if turns == TURNS {
                return None;
            }
            let begun = self.common.begun();
            yield_now().await;
            turns = if self.common.begun() == begun { turns + 1 } else { 0 };
        }
    }
}

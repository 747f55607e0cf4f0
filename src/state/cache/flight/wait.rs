//! Waiting for a flight to land.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{Flight, Landing, State};
use crate::state::cache::sync::lock;

/// Resolves when the flight has landed, however that went. May be dropped at any time.
pub(in crate::state::cache) struct Wait {
    flight: Arc<Flight>,
    /// Where this waiter's waker stands while the flight is under way.
    place: Option<usize>,
}

impl Wait {
    pub(in crate::state::cache) fn new(flight: Arc<Flight>) -> Self {
        Self { flight, place: None }
    }
}

impl Future for Wait {
    type Output = Landing;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Landing> {
        let this = &mut *self;
        let mut state = lock(&this.flight.state);
        match &mut *state {
            State::Landed(landing) => Poll::Ready(landing.clone()),
            State::Flying(waiting) => {
                match this.place {
                    Some(place) => waiting[place].clone_from(cx.waker()),
                    None => this.place = Some(waiting.insert(cx.waker().clone())),
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && let State::Flying(waiting) = &mut *lock(&self.flight.state)
        {
            waiting.remove(place);
        }
    }
}

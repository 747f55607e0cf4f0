//! Awaits some reads at a time, on as many connections.

use std::{
    future::{Future, poll_fn},
    mem,
    task::Poll,
};

/// What all of them found, or the first error. Dropped, it drops them all.
pub(super) async fn together<T, E, F>(reads: impl Iterator<Item = F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<Vec<T>, E>>,
{
    let mut reads: Vec<_> = reads.map(|read| Some(Box::pin(read))).collect();
    let mut found = Vec::new();
    poll_fn(|cx| {
        for place in &mut reads {
            let Some(read) = place else { continue };
            match read.as_mut().poll(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(more)) => {
                    found.extend(more);
                    *place = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        match reads.iter().all(Option::is_none) {
            true => Poll::Ready(Ok(mem::take(&mut found))),
            false => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::ready};

    use super::*;

    /// Seen to fail with one polled behind the end of another.
    #[tokio::test]
    async fn all_are_under_way_at_once_and_one_error_ends_them() {
        let (begun, all) = (Cell::new(0), 3);
        let read = |found: Result<i32, &'static str>| {
            let begun = &begun;
            async move {
                begun.set(begun.get() + 1);
                // None goes on before the last one has begun.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                assert!(begun.get() >= all, "they wait for each other");
                ready(found.map(|one| vec![one])).await
            }
        };
        let mut found = together([Ok(1), Ok(2), Ok(3)].map(read).into_iter()).await.unwrap();
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3]);
        let failed = together([Ok(1), Err("no"), Ok(3)].map(read).into_iter()).await;
        assert_eq!(failed, Err("no"));
    }
}

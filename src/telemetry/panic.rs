//! What is to go on after a panic.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

/// Does a piece of background work; `None` if it panicked, which is logged: one such piece must not end all that are to come.
/// What it held is dropped, as of a handler that panics; the stores keep their invariants by atomic commits alone.
pub fn outlive<T>(task: &str, work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
    // On the heap: such pieces are large.
    let work = AssertUnwindSafe(Box::pin(work)).catch_unwind();
    async move {
        let done = work.await.ok();
        if done.is_none() {
            tracing::error!(task, "a background task panicked");
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_panics_ends_alone() {
        assert_eq!(outlive("test", async { 7 }).await, Some(7));
        assert_eq!(outlive("test", async { assert_eq!(1 + 1, 3, "on purpose") }).await, None);
        assert_eq!(outlive("test", async { 8 }).await, Some(8));
    }
}

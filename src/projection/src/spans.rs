//! Spans: what is said on another thread or task belongs to the same shard as who sent it there.

use tokio::task::{self, JoinHandle};
use tracing::Span;

/// The same as that of tokio, within the span that is entered now.
pub(crate) fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let span = Span::current();
    task::spawn_blocking(move || span.in_scope(work))
}

//! Resets one HTTP/2 stream that its reader does not read, without ending its connection.
//!
//! hyper sends a body's bytes when the reader's window has room, and does not look at the body until
//! then. So a body cannot end its stream by itself. Each stream is a task of its own; ending the task
//! resets the stream and frees what it holds.

use std::future::Future;

use tokio_util::sync::CancellationToken;

tokio::task_local! {
    static STREAM: CancellationToken;
}

/// Runs one stream of a connection until it ends or is reset.
pub async fn resettable(stream: impl Future<Output = ()> + Send) {
    let reset = CancellationToken::new();
    let stream = STREAM.scope(reset.clone(), stream);
    reset.run_until_cancelled_owned(stream).await;
}

/// What resets the stream whose call this task answers. `None` outside of HTTP/2.
pub(super) fn current() -> Option<CancellationToken> {
    STREAM.try_with(Clone::clone).ok()
}

//! Resets one HTTP/2 stream that its reader does not read, without closing its connection.
//!
//! hyper sends a body's bytes when the reader's window has capacity, and does not poll the body until then. So a body
//! cannot end its stream by itself. Each stream is a separate task; ending the task resets the stream and frees its
//! resources.

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

/// The token that resets the current task's stream. `None` outside of HTTP/2.
pub(super) fn current_reset_token() -> Option<CancellationToken> {
    STREAM.try_with(Clone::clone).ok()
}

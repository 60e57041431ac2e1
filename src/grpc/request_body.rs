//! Bodies of requests that fail before their end: those that arrive too slowly, and those of uploads whose turn is
//! needed for another caller.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http_body::{Body as HttpBody, Frame};
use tokio::time::sleep;
use tonic::{Status, body::Body};

use super::admission::too_slow;
use crate::upload::{UploadError, UploadTurn};

/// The same body, which is whole within this time, or fails: what a request holds, it holds no longer because
/// its sender is slow.
pub(super) fn in_time(body: Body, timeout: Duration) -> Body {
    failing_after(body, sleep(timeout).map(move |()| too_slow(timeout)))
}

/// The same body, which ends with an error once the turn of its upload is revoked: what it holds is needed for
/// another caller. GetUpload says where its own continues.
pub(super) fn revocable(body: Body, turn: &UploadTurn) -> Body {
    let revoked = turn.revocation().revoked().map(|()| {
        let reason = "its turn was needed for another caller, since yours have more than their share of all \
                      (MAX_CONCURRENT_UPLOADS)"
            .to_owned();
        UploadError::BrokeOff { reason }.into()
    });
    failing_after(body, revoked)
}

/// The same body, which fails with this status as soon as there is one.
fn failing_after(body: Body, failure: impl Future<Output = Status> + Send + 'static) -> Body {
    Body::new(FailingBody { body, failure: Some(failure.boxed()) })
}

struct FailingBody {
    body: Body,
    /// Absent once it has failed.
    failure: Option<BoxFuture<'static, Status>>,
}

impl HttpBody for FailingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(failure) = &mut this.failure else { return Poll::Ready(None) };
        // Polled first: a body without an end must end too.
        if let Poll::Ready(status) = failure.poll_unpin(context) {
            this.failure = None;
            return Poll::Ready(Some(Err(status)));
        }
        Pin::new(&mut this.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

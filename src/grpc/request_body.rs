//! Request bodies that fail early: if they arrive too slowly, or if the permit of their upload is revoked for another
//! caller.

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

use super::{admission::refusals::too_slow, failures::upload_failed};
use crate::upload::{UploadError, UploadPermit};

/// Returns the same body, which fails if it is not complete within the timeout, so that a slow sender does not hold
/// resources.
pub(super) fn with_timeout(body: Body, timeout: Duration) -> Body {
    failing_after(body, sleep(timeout).map(move |()| too_slow(timeout)))
}

/// Returns the same body, which fails once the permit of its upload is revoked for another caller. GetUpload returns
/// where the upload continues.
pub(super) fn revocable(body: Body, permit: &UploadPermit) -> Body {
    let revoked = permit.revocation().revoked().map(|()| {
        let reason = "its permit was revoked for another caller, because your uploads exceed their fair share \
                      (MAX_CONCURRENT_UPLOADS)"
            .to_owned();
        upload_failed(UploadError::Interrupted { reason })
    });
    failing_after(body, revoked)
}

/// Returns the same body, which fails with this status once there is one.
fn failing_after(body: Body, failure: impl Future<Output = Status> + Send + 'static) -> Body {
    Body::new(FailingBody { body, failure: Some(failure.boxed()) })
}

struct FailingBody {
    body: Body,
    /// `None` once it has failed.
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
        // Polled first, so that an endless body fails too.
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

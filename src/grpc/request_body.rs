//! A bound on the time that a request's body takes to arrive.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Sleep, sleep};
use tonic::{Status, body::Body};

use super::admission::too_slow;
use crate::upload::{UploadError, UploadTurn};

/// The same body, which is whole within this time, or fails: what a request holds, it holds no longer because
/// its sender is slow.
pub(super) fn in_time(body: Body, timeout: Duration) -> Body {
    Body::new(TimedBody { body, timeout, end: Box::pin(sleep(timeout)) })
}

/// The same body, which ends with an error once the turn of its upload is revoked: what it holds is needed for
/// another caller. GetUpload says where its own continues.
pub(super) fn revocable(body: Body, turn: &UploadTurn) -> Body {
    let revoked = turn.revocation().revoked().boxed();
    Body::new(RevocableBody { body, revoked })
}

struct RevocableBody {
    body: Body,
    revoked: BoxFuture<'static, ()>,
}

impl HttpBody for RevocableBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.revoked.poll_unpin(context).is_ready() {
            let reason = "its turn was needed for another caller, since yours have more than their share of all \
                          (MAX_CONCURRENT_UPLOADS)"
                .to_owned();
            let error = UploadError::BrokeOff { reason };
            return Poll::Ready(Some(Err(error.into())));
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

struct TimedBody {
    body: Body,
    timeout: Duration,
    end: Pin<Box<Sleep>>,
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        // Asked first: a body without an end must end too.
        if this.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(too_slow(this.timeout))));
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

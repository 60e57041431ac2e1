//! Bounds on a request's body while it is read: its size, and the time that it takes.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status, body::Body};

use super::status::{REQUEST_TOO_LARGE, REQUEST_TOO_SLOW, status};
use crate::upload::{UploadError, UploadTurn};

/// The same body, of at most so many bytes.
pub(super) fn limited(body: Body, limit_bytes: usize) -> Body {
    Body::new(Limited::new(body, limit_bytes).map_err(
        move |error: Box<dyn std::error::Error + Send + Sync>| {
            if error.is::<LengthLimitError>() {
                let message = format!("requests of this method have at most {limit_bytes} bytes");
                status(Code::ResourceExhausted, REQUEST_TOO_LARGE, message)
            } else {
                Status::from_error(error)
            }
        },
    ))
}

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
            let message = format!(
                "the request did not arrive within {:?} (REQUEST_TIMEOUT): upload its large documents first \
                 (CreateUpload)",
                this.timeout
            );
            return Poll::Ready(Some(Err(status(
                Code::DeadlineExceeded,
                REQUEST_TOO_SLOW,
                message,
            ))));
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

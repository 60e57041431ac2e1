//! Ends long answers before something in front of the server cuts them.
//!
//! App Runner and some proxies give a request so many seconds altogether. A caller who is cut off can't tell
//! that from a failure; one whose stream ends with UNAVAILABLE, STREAM_ENDED_EARLY goes on at once.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::body::Body;

use super::status::stream_ended_early;

/// The same response, with an end at this time at the latest. Below whatever makes gRPC-Web of it.
pub fn end_at<B>(response: http::Response<B>, until: Instant) -> http::Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    response.map(|body| {
        let body = Some(Box::pin(body));
        Body::new(LimitedBody { body, end: Box::pin(sleep_until(until)) })
    })
}

struct LimitedBody<B> {
    /// Absent once it has ended.
    body: Option<Pin<Box<B>>>,
    end: Pin<Box<Sleep>>,
}

impl<B: HttpBody<Data = Bytes>> HttpBody for LimitedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        // Asked first: a download that always has bytes ready must end too. Whole messages were sent so far,
        // since tonic makes no frame of less.
        if this.end.as_mut().poll(context).is_ready() {
            this.body = None;
            return Poll::Ready(Some(Ok(Frame::trailers(ended_early()))));
        }
        let polled = body.as_mut().poll_frame(context);
        let has_ended = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        if has_ended {
            this.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }
}

fn ended_early() -> HeaderMap {
    let status = stream_ended_early(
        "this server's answers have an end (MAX_STREAM_TIME): watch the export again, or go on with the download \
         where it was",
    );
    let mut trailers = HeaderMap::new();
    // Fails on texts that are no headers only, and these are ours.
    if status.add_header(&mut trailers).is_err() {
        trailers.insert(tonic::Status::GRPC_STATUS, http::HeaderValue::from_static("14"));
    }
    trailers
}

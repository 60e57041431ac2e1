//! The body of an upload: hands its bytes to the connection in pieces, and counts them.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut,
    },
    error::BoxError,
    primitives::SdkBody,
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::super::{Payload, Segments};

/// How much the connection takes at once. Small enough that progress is smooth on a slow line, and
/// that hyper, which stops asking beyond some 400 KB, really lets the line set the pace.
const PIECE_BYTES: usize = 64 * 1024;

/// Payloads below this are sent too quickly for anybody to watch.
const PROGRESS_FROM_BYTES: usize = 256 * 1024;

/// How many bytes of an upload the connection has taken.
pub(super) type SentBytes = Arc<AtomicU64>;

/// Sends one payload: signs it by the digest that is known already, and lets its bytes be counted
/// on their way.
///
/// Both happen as an interceptor because the SDK would otherwise hash the body for its signature
/// (a body in memory) or not sign it at all (a stream).
pub(super) struct PayloadInterceptor {
    payload: Payload,
    sent_bytes: SentBytes,
}

impl PayloadInterceptor {
    pub(super) fn new(payload: Payload, sent_bytes: SentBytes) -> Self {
        Self { payload, sent_bytes }
    }
}

impl fmt::Debug for PayloadInterceptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("PayloadInterceptor").field(&self.payload).finish()
    }
}

impl Intercept for PayloadInterceptor {
    fn name(&self) -> &'static str {
        "PayloadInterceptor"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _runtime_components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let digest = PayloadSigningOverride::Precomputed(self.payload.sha256.to_string());
        config.interceptor_state().store_put(digest);
        Ok(())
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _runtime_components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = PiecewiseBody::new(&self.payload, self.sent_bytes.clone());
        *context.request_mut().body_mut() = SdkBody::from_body_1_x(body);
        Ok(())
    }
}

/// A body that is counted on its way.
pub(super) struct PiecewiseBody {
    segments: Segments,
    next_segment: usize,
    /// What is left of the segment before that one.
    rest: Bytes,
    remaining_bytes: u64,
    sent_bytes: SentBytes,
    progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl PiecewiseBody {
    fn new(payload: &Payload, sent_bytes: SentBytes) -> Self {
        let progress =
            payload.progress.clone().filter(|_| payload.bytes.len() >= PROGRESS_FROM_BYTES);
        Self::of_segments(payload.bytes.clone().into(), sent_bytes, progress)
    }

    pub(super) fn of_segments(
        segments: Segments,
        sent_bytes: SentBytes,
        progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
    ) -> Self {
        let remaining_bytes = segments.size_bytes();
        Self {
            segments,
            next_segment: 0,
            rest: Bytes::new(),
            remaining_bytes,
            sent_bytes,
            progress,
        }
    }
}

impl http_body::Body for PiecewiseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while self.rest.is_empty() {
            let Some(segment) = self.segments.pieces().get(self.next_segment).cloned() else {
                return Poll::Ready(None);
            };
            self.next_segment += 1;
            self.rest = segment;
        }
        let piece_bytes = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(piece_bytes);
        self.remaining_bytes -= piece_bytes as u64;
        let taken =
            self.sent_bytes.fetch_add(piece_bytes as u64, Ordering::Relaxed) + piece_bytes as u64;
        if let Some(progress) = &self.progress {
            progress(taken);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Mutex;

    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::digest::Sha256;

    fn payload(size_bytes: usize, seen: &Arc<Mutex<Vec<u64>>>) -> Payload {
        let bytes: Vec<u8> = (0..size_bytes).map(|at| at as u8).collect();
        let seen = seen.clone();
        let sha256 = Sha256::of(&bytes);
        Payload {
            progress: Some(Arc::new(move |sent| seen.lock().unwrap().push(sent))),
            ..Payload::new(bytes.into(), sha256, "text/plain")
        }
    }

    #[tokio::test]
    async fn all_bytes_go_in_pieces_and_are_counted() {
        for (size_bytes, reports) in
            [(0, 0), (1, 0), (PROGRESS_FROM_BYTES - 1, 0), (PROGRESS_FROM_BYTES + 1, 5)]
        {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let payload = payload(size_bytes, &seen);
            let sent_bytes = SentBytes::default();
            let mut body = PiecewiseBody::new(&payload, sent_bytes.clone());
            assert_eq!(body.size_hint().exact(), Some(size_bytes as u64));
            assert_eq!(body.is_end_stream(), size_bytes == 0);
            let mut received = Vec::new();
            while let Some(frame) = body.frame().await {
                let piece = frame.unwrap().into_data().unwrap();
                assert!(piece.len() <= PIECE_BYTES);
                received.extend_from_slice(&piece);
                assert_eq!(body.size_hint().exact(), Some((size_bytes - received.len()) as u64));
            }
            assert_eq!(received, payload.bytes);
            assert_eq!(sent_bytes.load(Ordering::Relaxed), size_bytes as u64);
            let seen = seen.lock().unwrap();
            assert_eq!(seen.len(), reports);
            assert!(seen.is_sorted() && seen.last().is_none_or(|last| *last == size_bytes as u64));
        }
    }
}

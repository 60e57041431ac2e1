//! The body of an upload: sends its bytes in pieces and counts them.

use std::{
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
    primitives::{ByteStream, SdkBody},
};
use aws_smithy_runtime_api::client::{interceptors::dyn_dispatch_hint, orchestrator::Metadata};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    super::{Payload, Segments},
    read::object_digest,
};

/// The maximum piece size. Small enough for smooth progress on a slow connection, and for backpressure to work:
/// hyper stops polling when it has buffered about 400 KB.
const PIECE_BYTES: usize = 64 * 1024;

/// The minimum size of payloads that report progress; smaller ones are sent too quickly.
const MIN_PROGRESS_BYTES: usize = 256 * 1024;

/// The checksum of a request's body, in base64.
const SHA256_HEADER: &str = "x-amz-checksum-sha256";

/// The number of bytes of an upload that the connection has accepted.
pub(super) type SentBytes = Arc<AtomicU64>;

/// An interceptor of the client that signs a put with the digest that it sends as checksum.
///
/// Without it, the SDK would not sign the body, because it is a stream.
#[derive(Debug)]
pub(super) struct SignedDigest;

#[dyn_dispatch_hint]
impl Intercept for SignedDigest {
    fn name(&self) -> &'static str {
        "SignedDigest"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _runtime_components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // In other operations, the checksum may be that of an object, and not of the request's body.
        if config.load::<Metadata>().map(Metadata::name) != Some("PutObject") {
            return Ok(());
        }
        let checksum = context.request().headers().get(SHA256_HEADER);
        if let Some(digest) = object_digest(checksum, None) {
            let digest = PayloadSigningOverride::Precomputed(digest.to_string());
            config.interceptor_state().store_put(digest);
        }
        Ok(())
    }
}

/// A body that counts its bytes while they are sent.
pub(super) struct PiecewiseBody {
    segments: Segments,
    next_segment: usize,
    /// The unsent rest of the previous segment.
    rest: Bytes,
    remaining_bytes: u64,
    sent_bytes: SentBytes,
    progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl PiecewiseBody {
    pub(super) fn new(payload: &Payload, sent_bytes: SentBytes) -> Self {
        let progress =
            payload.progress.clone().filter(|_| payload.bytes.len() >= MIN_PROGRESS_BYTES);
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

impl From<PiecewiseBody> for ByteStream {
    fn from(body: PiecewiseBody) -> Self {
        Self::new(SdkBody::from_body_1_x(body))
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
        let sent_bytes =
            self.sent_bytes.fetch_add(piece_bytes as u64, Ordering::Relaxed) + piece_bytes as u64;
        if let Some(progress) = &self.progress {
            progress(sent_bytes);
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
    use tara_export_digest::Sha256;

    use super::*;

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
    async fn body_is_sent_in_counted_pieces() {
        for (size_bytes, reports) in
            [(0, 0), (1, 0), (MIN_PROGRESS_BYTES - 1, 0), (MIN_PROGRESS_BYTES + 1, 5)]
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

//! Compresses the messages of responses for callers that accept it (gRPC, "Compression").

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tara_export_limits::Pool;
use tonic::Status;

use super::{
    compression::{ACCEPT_HEADER, ACCEPTED, ENCODING_HEADER, Encoding},
    frames::HEADER_BYTES,
};

/// Shorter messages are sent as they are: they fit into one packet.
pub(super) const MIN_BYTES: usize = 1024;
/// Messages up to this size are compressed inline, longer ones in the background.
pub(super) const INLINE_BYTES: usize = 128 * 1024;
/// The frame of a compressed message has this flag.
const COMPRESSED: u8 = 1;

/// Returns the same response with compressed messages, if the caller accepts an encoding. A message becomes smaller by
/// an eighth at least, or is sent as it is, as are all following ones. Each message is sent as soon as it is complete.
pub(super) fn compressed(
    mut response: Response,
    encoding: Option<Encoding>,
    computing: &Pool,
) -> Response {
    let headers = response.headers_mut();
    if !has_messages(headers) {
        return response;
    }
    headers.insert(ACCEPT_HEADER, HeaderValue::from_static(ACCEPTED));
    let Some(encoding) = encoding else { return response };
    headers.insert(ENCODING_HEADER, HeaderValue::from_static(encoding.name()));
    let computing = computing.clone();
    response.map(|body| {
        let messages =
            Messages { encoding: Some(encoding), ..Messages::uncompressed(body, &computing) };
        Body::new(StreamBody::new(messages.stream()))
    })
}

/// Whether a response of gRPC may have messages.
pub(super) fn has_messages(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
        && !headers.contains_key(Status::GRPC_STATUS)
        && !headers.contains_key(ENCODING_HEADER)
}

/// The messages of a response's body.
pub(super) struct Messages {
    body: Body,
    /// Bytes that are not complete messages.
    buffered: Bytes,
    trailers: Option<HeaderMap>,
    /// `None` after a message that did not become smaller, because the following ones are of the same kind.
    encoding: Option<Encoding>,
    computing: Pool,
}

impl Messages {
    /// The messages as they are.
    pub(super) fn uncompressed(body: Body, computing: &Pool) -> Self {
        Self {
            body,
            buffered: Bytes::new(),
            trailers: None,
            encoding: None,
            computing: computing.clone(),
        }
    }

    fn stream(self) -> impl Stream<Item = Result<Frame<Bytes>, axum::Error>> + Send {
        stream::try_unfold(self, async |mut messages| {
            Ok(messages.next().await?.map(|frame| (frame, messages)))
        })
    }

    /// The next message with its header, or the trailers.
    pub(super) async fn next(&mut self) -> Result<Option<Frame<Bytes>>, axum::Error> {
        loop {
            if let Some(message) = self.take_message() {
                return Ok(Some(Frame::data(self.compressed(message).await)));
            }
            if let Some(trailers) = self.trailers.take() {
                return Ok(Some(Frame::trailers(trailers)));
            }
            match self.body.frame().await.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) if self.buffered.is_empty() => self.buffered = data,
                Some(Ok(data)) => {
                    let mut joined = BytesMut::from(std::mem::take(&mut self.buffered));
                    joined.extend_from_slice(&data);
                    self.buffered = joined.freeze();
                }
                Some(Err(frame)) => self.trailers = frame.into_trailers().ok(),
                None => return Ok(None),
            }
        }
    }

    /// The next complete message with its header.
    fn take_message(&mut self) -> Option<Bytes> {
        let [_, length @ ..] = self.buffered.first_chunk::<HEADER_BYTES>()?;
        let end = HEADER_BYTES.checked_add(u32::from_be_bytes(*length) as usize)?;
        (self.buffered.len() >= end).then(|| self.buffered.split_to(end))
    }

    /// A message with its header, compressed if it becomes smaller.
    async fn compressed(&mut self, message: Bytes) -> Bytes {
        let Some(encoding) = self.encoding else { return message };
        let size_bytes = message.len() - HEADER_BYTES;
        if size_bytes < MIN_BYTES || message[0] == COMPRESSED {
            return message;
        }
        let compressed = if size_bytes <= INLINE_BYTES {
            frame(encoding, &message)
        } else {
            let message = message.clone();
            let compressing = self.computing.run(move || frame(encoding, &message));
            compressing.await.unwrap_or_else(|error| {
                tracing::error!(%error, "compressing a response panicked");
                None
            })
        };
        compressed.unwrap_or_else(|| {
            self.encoding = None;
            message
        })
    }
}

/// The frame of a compressed message. `None` if it does not become smaller.
pub(super) fn frame(encoding: Encoding, message: &[u8]) -> Option<Bytes> {
    let (_, content) = message.split_at_checked(HEADER_BYTES)?;
    let limit = HEADER_BYTES + content.len() - content.len() / 8;
    // The usual size of a compressed text.
    let mut frame = Vec::with_capacity(HEADER_BYTES + content.len() / 4);
    frame.extend([0; HEADER_BYTES]);
    if !encoding.compress(content, &mut frame, limit) {
        return None;
    }
    let length = u32::try_from(frame.len() - HEADER_BYTES).ok()?;
    frame[0] = COMPRESSED;
    frame[1..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    Some(Bytes::from(frame))
}

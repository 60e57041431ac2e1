//! Messages of a request's body, frame by frame (gRPC, "gRPC over HTTP2"), read no further than admitted.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{body::Body, response::Response};
use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Stream, TryStreamExt as _, stream};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tonic::{Code, Status};

use super::{
    compression::{DecompressError, Encoding},
    refusals::{message_too_large, not_decompressed, undecodable},
};
use crate::grpc::status::status;

/// Bytes in front of a message.
pub(super) const HEADER_BYTES: usize = 5;

/// What is in front of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// How the message is compressed.
    pub(super) encoding: Option<Encoding>,
    /// Its bytes as they travel.
    pub(super) length: usize,
}

/// Reads a body's messages.
#[derive(Debug)]
pub(super) struct Frames {
    body: Body,
    /// What arrived and was not read.
    rest: Bytes,
    encoding: Option<Encoding>,
}

impl Frames {
    pub(super) fn new(body: Body, encoding: Option<Encoding>) -> Self {
        Self { body, rest: Bytes::new(), encoding }
    }

    /// The next message's header. `None` at the body's end.
    pub(super) async fn header(&mut self) -> Result<Option<Header>, Status> {
        let mut header = [0; HEADER_BYTES];
        let mut filled = 0;
        while filled < HEADER_BYTES {
            let Some(piece) = self.piece(HEADER_BYTES - filled).await? else {
                return if filled == 0 { Ok(None) } else { Err(cut()) };
            };
            header[filled..filled + piece.len()].copy_from_slice(&piece);
            filled += piece.len();
        }
        let [flag, length @ ..] = header;
        let encoding = match (flag, self.encoding) {
            (0, _) => None,
            (1, Some(encoding)) => Some(encoding),
            (1, None) => return Err(compressed_without_encoding()),
            _ => return Err(undecodable()),
        };
        Ok(Some(Header { encoding, length: u32::from_be_bytes(length) as usize }))
    }

    /// The next bytes of a message, at most this many and at least one. `None` at the body's end.
    pub(super) async fn piece(&mut self, limit: usize) -> Result<Option<Bytes>, Status> {
        while self.rest.is_empty() {
            match self.body.frame().await {
                // Trailers of a request mean nothing.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(Status::from_error(error.into())),
                None => return Ok(None),
            }
        }
        let length = limit.min(self.rest.len());
        Ok(Some(self.rest.split_to(length)))
    }

    /// Sees to it that nothing follows.
    pub(super) async fn end(&mut self) -> Result<(), Status> {
        match self.piece(1).await? {
            None => Ok(()),
            Some(_) => Err(more_than_one()),
        }
    }
}

/// The same messages, uncompressed, each within the limit; one alone, or any number. What arrives is passed
/// on at once, so that nothing but a compressed message is ever held.
pub(super) fn checked(frames: Frames, limit: usize, is_one: bool) -> Body {
    let checked = Checked { frames, limit, is_one, has_begun: false, left: 0 };
    Body::from_stream(checked.stream())
}

/// The same for a service that ends its answer as if nothing was wrong where its requests end with an error:
/// what that was goes into the slot.
pub(super) fn checked_noting(frames: Frames, limit: usize, slot: RequestError) -> Body {
    let checked = Checked { frames, limit, is_one: false, has_begun: false, left: 0 };
    Body::from_stream(checked.stream().inspect_err(move |status| slot.set(status)))
}

/// Why a stream of requests ended early, if it did.
#[derive(Debug, Clone, Default)]
pub(super) struct RequestError(Arc<Mutex<Option<Status>>>);

impl RequestError {
    fn set(&self, status: &Status) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status.clone());
    }

    /// The answer, which ends with this error if there is one.
    pub(super) fn end(self, response: Response) -> Response {
        response.map(|body| {
            Body::new(body.map_frame(move |frame| match frame.into_trailers() {
                Ok(trailers) => Frame::trailers(self.trailers(trailers)),
                Err(frame) => frame,
            }))
        })
    }

    fn trailers(&self, ended: HeaderMap) -> HeaderMap {
        let error = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(error) = error else { return ended };
        let mut trailers = HeaderMap::new();
        // Fails on texts that are no headers only, and these are ours.
        if error.add_header(&mut trailers).is_ok() { trailers } else { ended }
    }
}

struct Checked {
    frames: Frames,
    limit: usize,
    is_one: bool,
    has_begun: bool,
    /// Bytes of the message that were not read yet.
    left: usize,
}

impl Checked {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Status>> + Send {
        stream::try_unfold(self, async |mut checked| {
            let next = checked.next().await?;
            Ok(next.map(|bytes| (bytes, checked)))
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.left > 0 {
            let piece = self.frames.piece(self.left).await?.ok_or_else(cut)?;
            self.left -= piece.len();
            return Ok(Some(piece));
        }
        if self.is_one && self.has_begun {
            self.frames.end().await?;
            return Ok(None);
        }
        self.has_begun = true;
        let Some(Header { encoding, length }) = self.frames.header().await? else {
            return Ok(None);
        };
        if length > self.limit {
            return Err(message_too_large(self.limit));
        }
        let Some(encoding) = encoding else {
            self.left = length;
            return Ok(Some(header_of(length)));
        };
        let mut compressed = BytesMut::new();
        while compressed.len() < length {
            let piece = self.frames.piece(length - compressed.len()).await?.ok_or_else(cut)?;
            compressed.extend_from_slice(&piece);
        }
        let message = match encoding.decompress_within(&compressed, self.limit) {
            Ok(message) => Bytes::from(message),
            Err(DecompressError::TooLarge) => {
                return Err(message_too_large(self.limit));
            }
            Err(error) => return Err(not_decompressed(&error)),
        };
        let length = message.len();
        Ok(Some(header_of(length).chain(message).copy_to_bytes(HEADER_BYTES + length)))
    }
}

/// The header of an uncompressed message.
fn header_of(length: usize) -> Bytes {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    Bytes::from([&[0], length.as_slice()].concat())
}

/// The body of an uncompressed empty message.
pub(super) fn empty_message() -> Body {
    Body::from(header_of(0))
}

/// The body ended within a message.
pub(super) fn cut() -> Status {
    status(Code::InvalidArgument, "INVALID_REQUEST", "the request ends within a message")
}

fn more_than_one() -> Status {
    let message = "this method takes one message, and bytes follow it";
    status(Code::InvalidArgument, "INVALID_REQUEST", message)
}

/// gRPC's specification of compression asks for INTERNAL; here that code is for the server's own faults.
fn compressed_without_encoding() -> Status {
    let message =
        "a message is marked as compressed, and the header grpc-encoding does not say how";
    status(Code::InvalidArgument, "INVALID_REQUEST", message)
}

//! Reads the messages of a request's body frame by frame (gRPC, "gRPC over HTTP2"), and only as far as admitted.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use http_body_util::BodyExt as _;
use tara_export_limits::Pool;
use tonic::{Code, Status};

use super::{
    compression::{DecompressError, Encoding},
    methods::SMALL_MESSAGE_BYTES,
    plain::{Conversion, Refusal},
    refusals::{message_too_large, not_decompressed, undecodable},
};
use crate::grpc::status::{internal_error, status};

/// The size of a message's header.
pub(super) const HEADER_BYTES: usize = 5;

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The message's compression.
    pub(super) encoding: Option<Encoding>,
    /// Its size as sent. `None` if it is the rest of the body.
    pub(super) length: Option<usize>,
}

/// Reads a body's messages.
#[derive(Debug)]
pub(super) struct Frames {
    body: Body,
    /// Bytes that arrived and were not read yet.
    buffered: Bytes,
    encoding: Option<Encoding>,
    conversion: Conversion,
}

impl Frames {
    pub(super) fn new(body: Body, encoding: Option<Encoding>, conversion: Conversion) -> Self {
        Self { body, buffered: Bytes::new(), encoding, conversion }
    }

    /// How a message becomes one of gRPC after it has been read.
    pub(super) fn conversion(&self) -> &Conversion {
        &self.conversion
    }

    /// Reads the next message's header. `None` at the end of the body.
    pub(super) async fn header(&mut self) -> Result<Option<Header>, Status> {
        if self.conversion.is_whole {
            return Ok(Some(Header { encoding: self.encoding, length: None }));
        }
        let mut header = [0; HEADER_BYTES];
        let mut filled = 0;
        while filled < HEADER_BYTES {
            let Some(piece) = self.piece(HEADER_BYTES - filled).await? else {
                return if filled == 0 { Ok(None) } else { Err(truncated()) };
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
        Ok(Some(Header { encoding, length: Some(u32::from_be_bytes(length) as usize) }))
    }

    /// Reads the next bytes of a message: at least one, and at most `limit`. `None` at the end of the body.
    pub(super) async fn piece(&mut self, limit: usize) -> Result<Option<Bytes>, Status> {
        while self.buffered.is_empty() {
            match self.body.frame().await {
                // Trailers of a request are ignored.
                Some(Ok(frame)) => self.buffered = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(Status::from_error(error.into())),
                None => return Ok(None),
            }
        }
        let length = limit.min(self.buffered.len());
        Ok(Some(self.buffered.split_to(length)))
    }

    /// Fails if more bytes follow.
    pub(super) async fn end(&mut self) -> Result<(), Status> {
        match self.piece(1).await? {
            None => Ok(()),
            Some(_) => Err(bytes_after_message()),
        }
    }
}

/// Returns the same messages, uncompressed and each within the limit: a single one, or any number. Bytes are passed on
/// as they arrive; only a compressed message is buffered.
pub(super) fn checked(frames: Frames, limit: usize, is_single: bool, computing: &Pool) -> Body {
    let checked = Checked {
        frames,
        limit,
        is_single,
        has_started: false,
        remaining_bytes: 0,
        message: None,
        computing: computing.clone(),
    };
    Body::from_stream(checked.stream())
}

struct Checked {
    frames: Frames,
    limit: usize,
    is_single: bool,
    has_started: bool,
    /// Bytes of the message that are not read yet.
    remaining_bytes: usize,
    /// The message after its header, if it was compressed.
    message: Option<Bytes>,
    computing: Pool,
}

impl Checked {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Status>> + Send {
        stream::try_unfold(self, async |mut checked| {
            let next = checked.next().await?;
            Ok(next.map(|bytes| (bytes, checked)))
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.remaining_bytes > 0 {
            let piece = self.frames.piece(self.remaining_bytes).await?.ok_or_else(truncated)?;
            self.remaining_bytes -= piece.len();
            return Ok(Some(piece));
        }
        if let Some(message) = self.message.take() {
            return Ok(Some(message));
        }
        if self.is_single && self.has_started {
            self.frames.end().await?;
            return Ok(None);
        }
        self.has_started = true;
        let Some(Header { encoding, length }) = self.frames.header().await? else {
            return Ok(None);
        };
        if length.is_some_and(|length| length > self.limit) {
            return Err(message_too_large(self.limit));
        }
        if let (None, Some(length), true) = (encoding, length, self.frames.conversion.is_none()) {
            self.remaining_bytes = length;
            return Ok(Some(header_of(length)));
        }
        let sent = self.complete(length).await?;
        let message = match encoding {
            // An empty body is not compressed.
            Some(encoding) if !(sent.is_empty() && self.frames.conversion.is_whole) => {
                match self.decompressed(encoding, sent).await? {
                    Ok(message) => Bytes::from(message),
                    Err(DecompressError::TooLarge) => {
                        return Err(message_too_large(self.limit));
                    }
                    Err(error) => return Err(not_decompressed(&error)),
                }
            }
            _ => sent,
        };
        let message = self.converted(message).await?;
        let header = header_of(message.len());
        self.message = Some(message).filter(|message| !message.is_empty());
        Ok(Some(header))
    }
}

impl Checked {
    /// Reads a complete message: of this length, or the rest of the body.
    async fn complete(&mut self, length: Option<usize>) -> Result<Bytes, Status> {
        let mut message = BytesMut::new();
        loop {
            // One more than the limit shows that a body is too large.
            let rest = length.unwrap_or(self.limit + 1) - message.len();
            if rest == 0 {
                break;
            }
            match self.frames.piece(rest).await? {
                Some(piece) => message.extend_from_slice(&piece),
                None if length.is_some() => return Err(truncated()),
                None => break,
            }
        }
        if message.len() > self.limit {
            Err(message_too_large(self.limit))
        } else {
            Ok(message.freeze())
        }
    }

    /// Converts a message of plain HTTP, in the background if it may be large.
    async fn converted(&mut self, message: Bytes) -> Result<Bytes, Status> {
        let conversion = self.frames.conversion.clone();
        if conversion.json.is_none() {
            return Ok(message);
        }
        let limit = self.limit;
        let converted = if message.len() <= SMALL_MESSAGE_BYTES {
            conversion.converted(message, limit)
        } else {
            let converting = self.computing.run(move || conversion.converted(message, limit));
            converting.await.map_err(|error| {
                tracing::error!(%error, "converting a request panicked");
                internal_error()
            })?
        };
        converted.map_err(|refusal| match refusal {
            Refusal::TooLarge => message_too_large(limit),
            Refusal::Invalid(status) => *status,
        })
    }

    /// Decompresses a message, in the background if it may become large.
    async fn decompressed(
        &mut self,
        encoding: Encoding,
        compressed: Bytes,
    ) -> Result<Result<Vec<u8>, DecompressError>, Status> {
        let limit = self.limit;
        if limit <= SMALL_MESSAGE_BYTES {
            return Ok(encoding.decompress_within(&compressed, limit));
        }
        let decompressing =
            self.computing.run(move || encoding.decompress_within(&compressed, limit));
        decompressing.await.map_err(|error| {
            tracing::error!(%error, "decompressing a request panicked");
            internal_error()
        })
    }
}

/// The header of an uncompressed message.
pub(super) fn header_of(length: usize) -> Bytes {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    Bytes::from([&[0], length.as_slice()].concat())
}

/// The body of an uncompressed empty message.
pub(super) fn empty_message() -> Body {
    Body::from(header_of(0))
}

/// The body ended within a message.
pub(super) fn truncated() -> Status {
    status(Code::InvalidArgument, "INVALID_REQUEST", "the request ends within a message")
}

fn bytes_after_message() -> Status {
    let message = "this method accepts one message, but more bytes follow it";
    status(Code::InvalidArgument, "INVALID_REQUEST", message)
}

/// gRPC's specification of compression requires INTERNAL; this service reserves that code for its own errors.
fn compressed_without_encoding() -> Status {
    let message =
        "a message is marked as compressed, but the header grpc-encoding names no compression";
    status(Code::InvalidArgument, "INVALID_REQUEST", message)
}

//! Messages of plain HTTP: bodies that are one message, and JSON.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::{Stream, stream};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use prost_reflect::MessageDescriptor;
use tara_export_limits::Pool;
use tonic::Status;

use super::{
    compression::{ACCEPT_HEADER, ACCEPTED, ENCODING_HEADER, Encoding},
    frames::{HEADER_BYTES, header_of},
    refuse,
    responses::{INLINE_BYTES, MIN_BYTES, Messages, compressed, frame, has_messages},
};
use crate::grpc::{
    plain_http::{Codec, Framing, JsonError, JsonText, PlainCall, message_from_json},
    status::{internal_error, invalid_at},
};

/// A text that is this long at most is compressed. A longer one is, if it is at most twice as long as its message.
const COMPRESSED_BYTES: usize = 256 * 1024;

/// How the messages of a request become those of gRPC.
#[derive(Debug, Clone, Default)]
pub(super) struct Conversion {
    /// The body is one message without a header.
    pub(super) is_whole: bool,
    /// The type of messages that are JSON.
    pub(super) json: Option<MessageDescriptor>,
}

impl Conversion {
    /// The conversion of a call's requests: none for gRPC.
    pub(super) fn of(call: Option<&PlainCall>) -> Self {
        let Some(call) = call else { return Self::default() };
        Self {
            is_whole: call.framing != Framing::Envelopes,
            json: (call.codec == Codec::Json).then(|| call.method.input()),
        }
    }

    /// Whether messages pass as they are.
    pub(super) fn is_none(&self) -> bool {
        !self.is_whole && self.json.is_none()
    }

    /// Converts a complete message, which was decompressed.
    ///
    /// # Errors
    /// If it is not valid JSON of its type, or larger than the limit.
    pub(super) fn converted(&self, message: Bytes, limit: usize) -> Result<Bytes, Refusal> {
        match &self.json {
            Some(message_type) => {
                let converted = message_from_json(message_type, &message, limit);
                converted.map(Bytes::from).map_err(Refusal::from)
            }
            None => Ok(message),
        }
    }
}

/// Why JSON was not converted.
pub(super) enum Refusal {
    TooLarge,
    Invalid(Box<Status>),
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::TooLarge => Self::TooLarge,
            JsonError::Invalid { field, fault, line, column } => {
                Self::Invalid(Box::new(invalid_at(&field, &fault, line, column)))
            }
        }
    }
}

/// The memory of a conversion besides the text and the message: the longest text with escapes, in a buffer that grows
/// twofold.
pub(in crate::grpc) fn scratch_bytes(text: &[u8]) -> usize {
    if text.contains(&b'\\') { 2 * text.len() } else { 0 }
}

/// Returns the same response with the messages of plain HTTP. The headers stay those of gRPC.
pub(super) async fn converted(
    response: Response,
    call: &PlainCall,
    accepted: Option<Encoding>,
    computing: &Pool,
) -> Response {
    if !has_messages(response.headers()) {
        return response;
    }
    match (call.framing, call.codec) {
        (Framing::Envelopes, Codec::Proto) => compressed(response, accepted, computing),
        (Framing::Unary, _) => whole(response, call, accepted, computing).await,
        (Framing::Envelopes | Framing::Lines, _) => {
            let (mut head, body) = response.into_parts();
            if call.framing == Framing::Envelopes {
                set_encoding(&mut head.headers, accepted);
            }
            let texts = Texts {
                messages: Messages::uncompressed(body, computing),
                text: None,
                call: call.clone(),
                encoding: accepted,
                computing: computing.clone(),
            };
            Response::from_parts(head, Body::new(StreamBody::new(texts.stream())))
        }
    }
}

fn set_encoding(headers: &mut HeaderMap, encoding: Option<Encoding>) {
    headers.insert(ACCEPT_HEADER, HeaderValue::from_static(ACCEPTED));
    if let Some(encoding) = encoding {
        headers.insert(ENCODING_HEADER, HeaderValue::from_static(encoding.name()));
    }
}

/// A response that is one message without its header.
async fn whole(
    response: Response,
    call: &PlainCall,
    accepted: Option<Encoding>,
    computing: &Pool,
) -> Response {
    let (mut head, body) = response.into_parts();
    let mut messages = Messages::uncompressed(body, computing);
    let message = match messages.next().await.map(|frame| frame.map(Frame::into_data)) {
        Ok(Some(Ok(message))) => message.slice(HEADER_BYTES..),
        Ok(Some(Err(frame))) => {
            // The call failed: the status belongs into the headers, as for every error without a message.
            head.headers.extend(frame.into_trailers().unwrap_or_default());
            return Response::from_parts(head, Body::empty());
        }
        Ok(None) | Err(_) => return refuse(internal_error()),
    };
    let mut content = match Content::of(call, message, computing).await {
        Ok(content) => content,
        Err(status) => return refuse(status),
    };
    set_encoding(&mut head.headers, None);
    if let Some(encoding) = accepted
        && let Some(compressed) = content.compressed(encoding, computing).await
    {
        set_encoding(&mut head.headers, accepted);
        content = Content::Bytes(compressed.slice(HEADER_BYTES..));
    }
    let body = stream::try_unfold((content, messages), async |(mut content, mut messages)| {
        if let Some(piece) = content.next()? {
            return Ok::<_, axum::Error>(Some((Frame::data(piece), (content, messages))));
        }
        Ok(messages.next().await?.map(|frame| (frame, (content, messages))))
    });
    Response::from_parts(head, Body::new(StreamBody::new(body)))
}

/// A message as it is sent, without its header.
enum Content {
    Bytes(Bytes),
    Json { text: JsonText, length: usize, message_bytes: usize },
}

impl Content {
    async fn of(call: &PlainCall, message: Bytes, computing: &Pool) -> Result<Self, Status> {
        if call.codec == Codec::Proto {
            return Ok(Self::Bytes(message));
        }
        let message_bytes = message.len();
        let text = JsonText::new(&call.method.output(), message);
        let counted = if message_bytes <= INLINE_BYTES {
            text.length()
        } else {
            let text = text.clone();
            computing.run(move || text.length()).await.map_err(|error| {
                tracing::error!(%error, "converting a response panicked");
                internal_error()
            })?
        };
        let length = counted.map_err(|_| {
            tracing::error!(
                method = call.method.full_name(),
                "a response cannot be converted to JSON"
            );
            internal_error()
        })?;
        Ok(Self::Json { text, length, message_bytes })
    }

    fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Json { length, .. } => *length,
        }
    }

    /// The next bytes. `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>, axum::Error> {
        match self {
            Self::Bytes(bytes) => Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            Self::Json { text, .. } => {
                let piece = text.next_piece().map_err(|_| axum::Error::new(internal_error()))?;
                Ok(piece.map(Bytes::from))
            }
        }
    }

    /// The compressed frame, with a header. `None` if it is too small, too large, or does not become smaller.
    async fn compressed(&self, encoding: Encoding, computing: &Pool) -> Option<Bytes> {
        let length = self.length();
        let message_bytes = match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Json { message_bytes, .. } => *message_bytes,
        };
        if length < MIN_BYTES || length > COMPRESSED_BYTES.max(2 * message_bytes) {
            return None;
        }
        let content = match self {
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Self::Json { text, length, message_bytes } => {
                Self::Json { text: text.clone(), length: *length, message_bytes: *message_bytes }
            }
        };
        let compress = move || {
            let mut content = content;
            let mut message = Vec::with_capacity(HEADER_BYTES + length);
            message.extend([0; HEADER_BYTES]);
            while let Some(piece) = content.next().ok()? {
                message.extend_from_slice(&piece);
            }
            frame(encoding, &message)
        };
        if length <= INLINE_BYTES {
            return compress();
        }
        computing.run(compress).await.unwrap_or_else(|error| {
            tracing::error!(%error, "compressing a response panicked");
            None
        })
    }
}

/// The messages of a stream as JSON.
struct Texts {
    messages: Messages,
    /// The message that is being sent.
    text: Option<Content>,
    call: PlainCall,
    encoding: Option<Encoding>,
    computing: Pool,
}

impl Texts {
    fn stream(self) -> impl Stream<Item = Result<Frame<Bytes>, axum::Error>> + Send {
        stream::try_unfold(self, async |mut texts| {
            Ok(texts.next().await?.map(|frame| (frame, texts)))
        })
    }

    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, axum::Error> {
        let is_line = self.call.framing == Framing::Lines;
        if let Some(text) = &mut self.text {
            if let Some(piece) = text.next()? {
                return Ok(Some(Frame::data(piece)));
            }
            self.text = None;
            if is_line {
                return Ok(Some(Frame::data(Bytes::from_static(b"\n"))));
            }
        }
        let message = match self.messages.next().await?.map(Frame::into_data) {
            Some(Ok(message)) => message.slice(HEADER_BYTES..),
            Some(Err(frame)) => return Ok(Some(frame)),
            None => return Ok(None),
        };
        let mut content = match Content::of(&self.call, message, &self.computing).await {
            Ok(content) => content,
            Err(status) => return Ok(Some(Frame::trailers(trailers_of(&status)))),
        };
        if is_line {
            return self.line(content).map(Some);
        }
        if let Some(encoding) = self.encoding
            && let Some(compressed) = content.compressed(encoding, &self.computing).await
        {
            return Ok(Some(Frame::data(compressed)));
        }
        let header = header_of(content.length());
        let first = content.next()?.unwrap_or_default();
        self.text = Some(content);
        Ok(Some(Frame::data([header, first].concat().into())))
    }

    /// The first bytes of a line: all of it, if it is short.
    fn line(&mut self, mut content: Content) -> Result<Frame<Bytes>, axum::Error> {
        let length = content.length();
        let first = content.next()?.unwrap_or_default();
        if first.len() < length {
            self.text = Some(content);
            return Ok(Frame::data(first));
        }
        Ok(Frame::data([first, Bytes::from_static(b"\n")].concat().into()))
    }
}

fn trailers_of(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("13"));
    }
    trailers
}

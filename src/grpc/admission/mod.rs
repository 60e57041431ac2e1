//! Admits the requests of every method and protocol: checks their size, compression, arrival time and memory. Compresses
//! the responses.
//!
//! A request with a review is read here in pieces, and memory is reserved for each piece. It is scanned before it is
//! decoded ([`wire_scan`](super::wire_scan)), reserves the memory that the scan returns, and is passed to its handler
//! as bytes, so that its documents are never copied and decoding does not block other calls. Messages of other methods
//! are small, and are passed on as they arrive.

mod compression;
mod frames;
mod methods;
mod plain;
pub(super) mod refusals;
mod responses;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use tara_export_limits::{CallerKey, Revocation};
use tokio::time;
use tonic::{Status, body::Body as GrpcBody};

pub(super) use self::plain::scratch_bytes;
use self::{
    compression::{DecompressError, ENCODING_HEADER, Encoding, first_capacity, next_capacity},
    frames::{Frames, Header, checked, empty_message, truncated},
    methods::{Rule, is_compressible, rule},
    plain::{Conversion, Refusal, converted},
    refusals::{not_decompressed, request_too_large, too_slow, undecodable, unknown_encoding},
    responses::compressed,
};
use super::{
    admitted::{Admitted, AdmittedReview},
    caller,
    decoding::{estimated_memory_bytes, in_background},
    failures::upload_failed,
    plain_http::PlainCall,
    request_body::{revocable, with_timeout},
    wire_scan::{BATCH_REQUEST, scan, scan_batch},
};
use crate::export::{Engine, RequestMemory};

/// Memory that is reserved when the first bytes of a message arrive. It doubles as more arrive, so that bytes that
/// are announced and never sent cost nothing.
const FIRST_STEP_BYTES: usize = 64 * 1024;
/// Once this much of a message has been admitted, its buffer gets the announced size: a buffer that grows is copied and
/// needs the memory of both copies. Pages that are not written yet take no memory, only addresses.
const WHOLE_BUFFER_AFTER_BYTES: usize = 1024 * 1024;

/// Admits requests within the limits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RequestAdmission {
    engine: Engine,
    limits: RequestLimits,
}

/// Limits of one request.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// The largest size (`MAX_REQUEST_SIZE`).
    pub size_bytes: u64,
    /// How long a request may take to arrive completely (`REQUEST_TIMEOUT`).
    pub timeout: Duration,
}

impl RequestAdmission {
    /// Admits requests to this engine within these limits.
    pub fn new(engine: Engine, limits: RequestLimits) -> Self {
        Self { engine, limits }
    }
}

/// A layer for [`axum::middleware::from_fn_with_state`], directly around the services.
pub async fn admit(
    State(admission): State<RequestAdmission>,
    mut request: Request,
    next: Next,
) -> Response {
    let plain = request.extensions_mut().remove::<PlainCall>();
    let Ok(encoding) = Encoding::of(request.headers()) else { return unknown_encoding() };
    let accepted =
        Encoding::accepted_by(request.headers()).filter(|_| is_compressible(request.uri().path()));
    // Messages are passed on uncompressed.
    request.headers_mut().remove(ENCODING_HEADER);
    match admission.admitted(request, encoding, Conversion::of(plain.as_ref())).await {
        Ok(request) => {
            let response = next.run(request).await;
            let computing = admission.engine.computing();
            match &plain {
                _ if is_undecodable(&response) => refuse(undecodable()),
                Some(call) => converted(response, call, accepted, computing).await,
                None => compressed(response, accepted, computing),
            }
        }
        Err(status) => refuse(status),
    }
}

fn refuse(status: Status) -> Response {
    status.into_http::<GrpcBody>().into_response()
}

/// Whether this is tonic's response to bytes that it cannot decode. Unlike it, this service's own statuses have
/// details.
fn is_undecodable(response: &Response) -> bool {
    let headers = response.headers();
    headers.get(Status::GRPC_STATUS).is_some_and(|code| code == "13")
        && !headers.contains_key(Status::GRPC_STATUS_DETAILS)
}

impl RequestAdmission {
    /// Returns the request to pass to its service.
    async fn admitted(
        &self,
        mut request: Request,
        encoding: Option<Encoding>,
        conversion: Conversion,
    ) -> Result<Request, Status> {
        let rule = rule(request.uri().path());
        let caller = caller::key(request.extensions());
        let body = std::mem::take(request.body_mut());
        let frames = |body| Frames::new(body, encoding, conversion);
        let computing = self.engine.computing();
        let timed = |body| Body::new(with_timeout(GrpcBody::new(body), self.limits.timeout));
        *request.body_mut() = match rule {
            Rule::Review(message_type) => {
                let revocation = Arc::new(Revocation::default());
                let read_request = self.read_review(&caller, frames(body), &revocation);
                let (message, memory) = tokio::select! {
                    read = time::timeout(self.limits.timeout, read_request) => {
                        read.map_err(|_| too_slow(self.limits.timeout))??
                    }
                    // The sender is slow, and another caller needs the memory.
                    () = revocation.clone().revoked() => {
                        return Err(self.engine.admission().revoked().into());
                    }
                };
                let review = self.scanned(message_type, message, memory).await?;
                request.extensions_mut().insert(Admitted::new(review));
                empty_message()
            }
            Rule::One(limit) => checked(frames(timed(body)), limit, true, computing),
            Rule::Many(limit) => checked(frames(body), limit, false, computing),
            Rule::Chunk(limit) | Rule::Document(limit) => {
                let is_chunk = matches!(rule, Rule::Chunk(_));
                let permit =
                    self.engine.uploads().permit(&caller, is_chunk).await.map_err(upload_failed)?;
                let body = if is_chunk { timed(body) } else { body };
                let body = Body::new(revocable(GrpcBody::new(body), &permit));
                request.extensions_mut().insert(Admitted::new(permit));
                checked(frames(body), limit, is_chunk, computing)
            }
        };
        Ok(request)
    }

    /// Reads the single message of a request, reserves memory for it as it arrives, and decompresses it.
    async fn read_review(
        &self,
        caller: &CallerKey,
        mut frames: Frames,
        revocation: &Arc<Revocation>,
    ) -> Result<(Bytes, RequestMemory), Status> {
        let limit = usize::try_from(self.limits.size_bytes).unwrap_or(usize::MAX);
        let Header { encoding, length } = frames.header().await?.ok_or_else(undecodable)?;
        if length.is_some_and(|length| length > limit) {
            return Err(request_too_large(self.limits.size_bytes));
        }
        // Without a length the message is the rest of the body. One more byte shows that it is too large.
        let end = length.unwrap_or(limit.saturating_add(1));
        let mut memory = self.engine.admission().request_memory(caller);
        let holder: Weak<Revocation> = Arc::downgrade(revocation);
        memory.make_revocable(holder);
        let (mut message, mut admitted_bytes) = (Vec::new(), 0);
        while message.len() < end {
            let piece = match frames.piece(end - message.len()).await? {
                Some(piece) => piece,
                None if length.is_some() => return Err(truncated()),
                None => break,
            };
            let needed = message.len() + piece.len();
            if needed > admitted_bytes {
                let doubled = (2 * admitted_bytes).max(FIRST_STEP_BYTES);
                admitted_bytes = doubled.max(needed).min(end);
                memory.grow_to(admitted_bytes as u64).await?;
                let capacity = match length {
                    Some(length) if admitted_bytes >= WHOLE_BUFFER_AFTER_BYTES => length,
                    _ => admitted_bytes,
                };
                message.reserve_exact(capacity - message.len());
            }
            message.extend_from_slice(&piece);
        }
        if message.len() > limit {
            return Err(request_too_large(self.limits.size_bytes));
        }
        frames.end().await?;
        memory.make_irrevocable()?;
        let conversion = frames.conversion();
        let message = match encoding {
            // An empty body is not compressed.
            Some(encoding) if !(message.is_empty() && conversion.is_whole) => {
                decompressed(&self.engine, encoding, Bytes::from(message), limit, &mut memory)
                    .await?
            }
            _ => message,
        };
        let message =
            from_json(&self.engine, conversion, message.into(), limit, &mut memory).await?;
        Ok((message, memory))
    }

    /// Reserves the memory for the decoded message, and a permit to export.
    async fn scanned(
        &self,
        message_type: &'static str,
        message: Bytes,
        mut memory: RequestMemory,
    ) -> Result<AdmittedReview, Status> {
        let scanned = message.clone();
        let scan = move || request_memory_bytes(message_type, &scanned);
        let bytes =
            in_background(&self.engine, estimated_memory_bytes(message.len()), scan).await?;
        memory.grow_to(bytes).await?;
        memory.shrink_to(bytes);
        let permit = memory.into_permit().await?;
        Ok(AdmittedReview { message, permit })
    }
}

/// The memory that a message of this type (its full name in the proto) needs until the response: its bytes, the
/// decoded message, and what is rendered from it.
///
/// # Errors
/// INVALID_ARGUMENT if the bytes are not such a message, or exceed a limit.
pub fn request_memory_bytes(message_type: &str, message: &[u8]) -> Result<u64, Status> {
    let scan = match message_type {
        BATCH_REQUEST => scan_batch(message)?,
        _ => scan(message_type, message)?,
    };
    Ok((message.len() as u64)
        .saturating_add(scan.decoded_bytes)
        .saturating_add(scan.rendered_bytes))
}

/// Converts a message of JSON. Its size is unknown in advance: memory is reserved for a message that is as large as its
/// text, and for larger ones until it fits.
async fn from_json(
    engine: &Engine,
    conversion: &Conversion,
    text: Bytes,
    limit: usize,
    memory: &mut RequestMemory,
) -> Result<Bytes, Status> {
    if conversion.json.is_none() {
        return Ok(text);
    }
    let used_bytes = text.len() + scratch_bytes(&text);
    let mut capacity = text.len().max(FIRST_STEP_BYTES).min(limit);
    loop {
        memory.grow_to((used_bytes + capacity) as u64).await?;
        let (input, conversion) = (text.clone(), conversion.clone());
        let convert = move || Ok(conversion.converted(input, capacity));
        let output = in_background(engine, estimated_memory_bytes(text.len()), convert).await?;
        match output {
            Ok(message) => return Ok(message),
            Err(Refusal::TooLarge) if capacity < limit => {
                capacity = next_capacity(capacity, limit);
            }
            Err(Refusal::TooLarge) => return Err(request_too_large(limit as u64)),
            Err(Refusal::Invalid(status)) => return Err(*status),
        }
    }
}

/// Decompresses a message. Its size is unknown in advance, so the buffer grows until the message fits, and memory is
/// reserved for each size.
async fn decompressed(
    engine: &Engine,
    encoding: Encoding,
    compressed: Bytes,
    limit: usize,
    memory: &mut RequestMemory,
) -> Result<Vec<u8>, Status> {
    let mut capacity = first_capacity(compressed.len(), limit);
    loop {
        memory.grow_to((compressed.len() + capacity) as u64).await?;
        let input = compressed.clone();
        let decompress = move || Ok(encoding.decompress(&input, capacity));
        let output = in_background(engine, estimated_memory_bytes(capacity), decompress).await?;
        match output {
            Ok(mut message) => {
                message.shrink_to_fit();
                return Ok(message);
            }
            Err(DecompressError::TooLarge) if capacity < limit => {
                capacity = next_capacity(capacity, limit);
            }
            Err(DecompressError::TooLarge) => return Err(request_too_large(limit as u64)),
            Err(error) => return Err(not_decompressed(&error)),
        }
    }
}

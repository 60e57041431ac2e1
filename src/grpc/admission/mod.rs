//! Admits the requests of every method, in whatever protocol they come: their sizes, how they are compressed,
//! the time that they take to arrive, and the memory that they become.
//!
//! A request with a review is read here, piece by piece as memory is taken for it. It is scanned before it
//! is decoded ([`wire_scan`](super::wire_scan)), takes the memory that the scan says, and goes to its handler
//! as bytes, so that its documents are never copied and no decoding holds up a thread that serves others.
//! Messages of other methods are small, and are passed on as they arrive.

mod compression;
mod frames;
mod methods;
mod refusals;

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
use tokio::time;
use tonic::{Status, body::Body as GrpcBody};

pub(super) use self::refusals::{too_slow, undecodable};
use self::{
    compression::{DecompressError, ENCODING_HEADER, Encoding, first_capacity, next_capacity},
    frames::{Frames, Header, RequestError, checked, checked_noting, cut, empty_message},
    methods::{Rule, rule},
    refusals::{not_decompressed, request_too_large, unknown_encoding},
};
use super::{
    admitted::Admitted,
    caller,
    request_body::{in_time, revocable},
    service::{ExportApi, in_background},
    wire_scan::scan,
};
use crate::{
    export::{Engine, Permit, Room},
    limits::{CallerKey, Revocation},
};

/// Memory that is taken for a message whose first bytes arrived; it doubles as more arrive, so that a length
/// that is announced and never sent costs nothing.
const FIRST_STEP_BYTES: usize = 64 * 1024;
/// Messages that are scanned where they are read: longer ones take a while.
const SCANNED_AT_ONCE_BYTES: usize = 64 * 1024;

/// Admits what this API's engine has room for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RequestAdmission {
    engine: Engine,
    limits: RequestLimits,
}

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Bytes of the largest (`MAX_REQUEST_SIZE`).
    pub size_bytes: u64,
    /// How long one may take to arrive whole (`REQUEST_TIMEOUT`).
    pub timeout: Duration,
}

/// A request with a review, read and scanned, with what it needs.
#[derive(Debug)]
pub(super) struct AdmittedReview {
    /// The message, to be decoded.
    pub(super) message: Bytes,
    /// Its place among the exports, and its memory.
    pub(super) permit: Permit,
}

impl RequestAdmission {
    /// Admits what this API's engine has room for.
    pub fn new(api: &ExportApi, limits: RequestLimits) -> Self {
        Self { engine: api.engine().clone(), limits }
    }
}

/// A layer for [`axum::middleware::from_fn_with_state`], around the services alone.
pub async fn admit(
    State(admission): State<RequestAdmission>,
    mut request: Request,
    next: Next,
) -> Response {
    let Ok(encoding) = Encoding::of(request.headers()) else { return unknown_encoding() };
    // What is passed on is not compressed.
    request.headers_mut().remove(ENCODING_HEADER);
    let request_error = RequestError::default();
    match admission.admitted(request, encoding, &request_error).await {
        Ok(request) => {
            let response = next.run(request).await;
            if is_undecodable(&response) {
                refuse(undecodable())
            } else {
                request_error.end(response)
            }
        }
        Err(status) => refuse(status),
    }
}

fn refuse(status: Status) -> Response {
    status.into_http::<GrpcBody>().into_response()
}

/// tonic's answer to bytes that are no such message. This service's own statuses have details.
fn is_undecodable(response: &Response) -> bool {
    let headers = response.headers();
    headers.get(Status::GRPC_STATUS).is_some_and(|code| code == "13")
        && !headers.contains_key(Status::GRPC_STATUS_DETAILS)
}

impl RequestAdmission {
    /// The request as its service gets it.
    async fn admitted(
        &self,
        mut request: Request,
        encoding: Option<Encoding>,
        request_error: &RequestError,
    ) -> Result<Request, Status> {
        let rule = rule(request.uri().path());
        let caller = caller::key(request.extensions());
        let body = std::mem::take(request.body_mut());
        let frames = |body| Frames::new(body, encoding);
        let timed = |body| Body::new(in_time(GrpcBody::new(body), self.limits.timeout));
        *request.body_mut() = match rule {
            Rule::Review(message_type) => {
                let revocation = Arc::new(Revocation::default());
                let reading = self.read_review(&caller, frames(body), &revocation);
                let (message, room) = tokio::select! {
                    read = time::timeout(self.limits.timeout, reading) => {
                        read.map_err(|_| too_slow(self.limits.timeout))??
                    }
                    // Its sender takes its time, and others need what it holds.
                    () = revocation.clone().revoked() => {
                        return Err(self.engine.admission().revoked().into());
                    }
                };
                let review = self.scanned(message_type, message, room).await?;
                request.extensions_mut().insert(Admitted::new(review));
                empty_message()
            }
            Rule::One(limit) => checked(frames(timed(body)), limit, true),
            Rule::Many(limit) => checked_noting(frames(body), limit, request_error.clone()),
            Rule::Chunk(limit) | Rule::Document(limit) => {
                let is_chunk = matches!(rule, Rule::Chunk(_));
                let turn = self.engine.uploads().turn(&caller, is_chunk).await?;
                let body = if is_chunk { timed(body) } else { body };
                let body = Body::new(revocable(GrpcBody::new(body), &turn));
                request.extensions_mut().insert(Admitted::new(turn));
                checked(frames(body), limit, is_chunk)
            }
        };
        Ok(request)
    }

    /// Reads the one message of a request, uncompressed, and takes memory for it as it arrives.
    async fn read_review(
        &self,
        caller: &CallerKey,
        mut frames: Frames,
        revocation: &Arc<Revocation>,
    ) -> Result<(Bytes, Room), Status> {
        let limit = usize::try_from(self.limits.size_bytes).unwrap_or(usize::MAX);
        let Header { encoding, length } = frames.header().await?.ok_or_else(undecodable)?;
        if length > limit {
            return Err(request_too_large(self.limits.size_bytes));
        }
        let mut room = self.engine.admission().room(caller);
        let holder: Weak<Revocation> = Arc::downgrade(revocation);
        room.make_revocable(holder);
        let mut message = Vec::new();
        while message.len() < length {
            let piece = frames.piece(length - message.len()).await?.ok_or_else(cut)?;
            let needed = message.len() + piece.len();
            if needed > message.capacity() {
                let doubled = (2 * message.capacity()).max(FIRST_STEP_BYTES);
                let step = doubled.max(needed).min(length);
                room.grow_to(step as u64).await?;
                message.reserve_exact(step - message.len());
            }
            message.extend_from_slice(&piece);
        }
        frames.end().await?;
        room.make_irrevocable()?;
        let message = match encoding {
            None => message,
            Some(encoding) => {
                decompressed(&self.engine, encoding, Bytes::from(message), limit, &mut room).await?
            }
        };
        Ok((Bytes::from(message), room))
    }

    /// Takes the memory that a message becomes, and its place among the exports.
    async fn scanned(
        &self,
        message_type: &'static str,
        message: Bytes,
        mut room: Room,
    ) -> Result<AdmittedReview, Status> {
        let bytes = if message.len() <= SCANNED_AT_ONCE_BYTES {
            request_memory_bytes(message_type, &message)?
        } else {
            let message = message.clone();
            in_background(&self.engine, move || request_memory_bytes(message_type, &message))
                .await?
        };
        room.grow_to(bytes).await?;
        room.shrink_to(bytes);
        let permit = room.into_permit().await?;
        Ok(AdmittedReview { message, permit })
    }
}

/// Memory that a message of this type (its full name in the proto) takes until its request is answered: its
/// own bytes, what they are decoded to, and what is made of that.
///
/// # Errors
/// INVALID_ARGUMENT where it is no such message, or has more of something than the limits allow.
pub fn request_memory_bytes(message_type: &str, message: &[u8]) -> Result<u64, Status> {
    let scan = scan(message_type, message)?;
    Ok((message.len() as u64)
        .saturating_add(scan.decoded_bytes)
        .saturating_add(scan.rendered_bytes))
}

/// A message decompressed. How large it becomes shows only then, so the buffer grows until it fits, and
/// memory is taken for each.
async fn decompressed(
    engine: &Engine,
    encoding: Encoding,
    compressed: Bytes,
    limit: usize,
    room: &mut Room,
) -> Result<Vec<u8>, Status> {
    let mut capacity = first_capacity(compressed.len(), limit);
    loop {
        room.grow_to((compressed.len() + capacity) as u64).await?;
        let input = compressed.clone();
        let output =
            in_background(engine, move || Ok(encoding.decompress(&input, capacity))).await?;
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

//! Lets requests in before their bodies are read, so that memory is bounded by count times size.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use tonic::{Code, Status, body::Body, server::NamedService};
use tower::Service;

use super::{
    admitted::Admitted,
    request_body::{in_time, limited, revocable},
    service::ExportApi,
    status::{REQUEST_TOO_LARGE, status},
    upload::MESSAGE_BYTES,
};
use crate::{
    export::Engine,
    limits::CallerKey,
    proto::export_service_server::{ExportServiceServer, SERVICE_NAME},
    upload::CHUNK_BYTES,
};

/// Methods whose requests carry a review. All others have small requests.
const LARGE: [&str; 2] =
    ["/tara.export.v1.ExportService/StartExport", "/tara.export.v1.ExportService/PreviewExport"];
/// Methods that bring documents: in a stream without an end, and in chunks.
const UPLOAD_DOCUMENT: &str = "/tara.export.v1.ExportService/UploadDocument";
const UPLOAD_CHUNK: &str = "/tara.export.v1.ExportService/UploadChunk";
/// What a request of any other method may have, and a chunk beyond its data.
const SMALL_REQUEST_BYTES: usize = 64 * 1024;
/// What a chunk's request may have.
const CHUNK_REQUEST_BYTES: usize = CHUNK_BYTES as usize + SMALL_REQUEST_BYTES;

/// The export service behind its admission: waits for room before it passes a large request on, and cuts
/// all others short.
#[derive(Debug, Clone)]
pub struct AdmissionService {
    /// For each of the sizes that messages may have, since the generated server has one limit.
    exports: ExportServiceServer<ExportApi>,
    streams: ExportServiceServer<ExportApi>,
    chunks: ExportServiceServer<ExportApi>,
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

impl AdmissionService {
    /// Admits what this API's engine has room for.
    pub fn new(api: &ExportApi, limits: RequestLimits) -> Self {
        let limited =
            |bytes| ExportServiceServer::new(api.clone()).max_decoding_message_size(bytes);
        Self {
            exports: limited(usize::try_from(limits.size_bytes).unwrap_or(usize::MAX)),
            streams: limited(MESSAGE_BYTES + SMALL_REQUEST_BYTES),
            chunks: limited(CHUNK_REQUEST_BYTES),
            engine: api.engine().clone(),
            limits,
        }
    }
}

impl NamedService for AdmissionService {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for AdmissionService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The generated servers are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let Self { exports, streams, chunks, engine, limits } = self.clone();
        Box::pin(async move {
            let mut inner = exports;
            let path = request.uri().path();
            let is_chunk = path == UPLOAD_CHUNK;
            let is_stream = path == UPLOAD_DOCUMENT;
            if LARGE.contains(&path) {
                match engine.admission().admit().await {
                    Ok(permit) => drop(request.extensions_mut().insert(Admitted::new(permit))),
                    Err(overloaded) => return Ok(Status::from(overloaded).into_http()),
                }
            } else if is_chunk || is_stream {
                let caller = request.extensions().get::<CallerKey>().cloned();
                let caller = caller.unwrap_or_else(CallerKey::server);
                match engine.uploads().turn(&caller, is_chunk).await {
                    Ok(turn) => {
                        request = request.map(|body| revocable(body, &turn));
                        request.extensions_mut().insert(Admitted::new(turn));
                    }
                    Err(overloaded) => return Ok(Status::from(overloaded).into_http()),
                }
                inner = if is_chunk { chunks } else { streams };
                if is_chunk {
                    request = request.map(|body| limited(body, CHUNK_REQUEST_BYTES));
                }
            } else {
                request = request.map(|body| limited(body, SMALL_REQUEST_BYTES));
            }
            if !is_stream {
                request = request.map(|body| in_time(body, limits.timeout));
            }
            let response = inner.call(request).await?;
            Ok(if is_out_of_range(&response) {
                request_too_large(limits.size_bytes).into_http()
            } else if is_undecodable(&response) {
                undecodable().into_http()
            } else {
                response
            })
        })
    }
}

/// tonic's answer to a message above its limit. No method of this service gives that code.
fn is_out_of_range(response: &http::Response<Body>) -> bool {
    response.headers().get(Status::GRPC_STATUS).is_some_and(|code| code == "11")
}

/// tonic's answer to bytes that are no such message. This service's own statuses have details.
fn is_undecodable(response: &http::Response<Body>) -> bool {
    let headers = response.headers();
    headers.get(Status::GRPC_STATUS).is_some_and(|code| code == "13")
        && !headers.contains_key(Status::GRPC_STATUS_DETAILS)
}

fn undecodable() -> Status {
    let message = "the request can't be decoded: it is no message of this method, or its free fields are nested \
                   deeper than 30 levels";
    status(Code::InvalidArgument, "INVALID_REQUEST", message)
}

fn request_too_large(request_size_bytes: u64) -> Status {
    let message = format!(
        "the request is larger than the {request_size_bytes} bytes this server takes (MAX_REQUEST_SIZE): \
         upload its large documents first (CreateUpload), or raise the setting"
    );
    status(Code::ResourceExhausted, REQUEST_TOO_LARGE, message)
}

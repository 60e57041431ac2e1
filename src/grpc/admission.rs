//! Lets requests in before their bodies are read, so that memory is bounded by count times size.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tonic::{Code, Status, body::Body, server::NamedService};
use tower::{Layer, Service};

use super::status::status;
use crate::export::{Engine, Permit};

/// Methods whose requests carry a review. All others have small requests.
const LARGE: [&str; 2] =
    ["/tara.export.v1.ExportService/StartExport", "/tara.export.v1.ExportService/PreviewExport"];
/// What a request of any other method may have.
const SMALL_REQUEST_BYTES: usize = 64 * 1024;

/// The permit of an admitted request, for its handler to take.
#[derive(Debug, Clone)]
pub(super) struct Admitted(Arc<Mutex<Option<Permit>>>);

impl Admitted {
    /// Takes the permit of this request.
    pub(super) fn take<T>(request: &tonic::Request<T>) -> Option<Permit> {
        let slot = request.extensions().get::<Self>()?;
        slot.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Wraps the export service in [`AdmissionService`].
#[derive(Debug, Clone)]
pub struct AdmissionLayer {
    engine: Engine,
    request_size_bytes: u64,
}

impl AdmissionLayer {
    /// Admits what this engine has room for.
    pub fn new(engine: Engine, request_size_bytes: u64) -> Self {
        Self { engine, request_size_bytes }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = AdmissionService<S>;

    fn layer(&self, inner: S) -> AdmissionService<S> {
        AdmissionService { inner, layer: self.clone() }
    }
}

/// Waits for room before it passes a large request on, and cuts all others short.
#[derive(Debug, Clone)]
pub struct AdmissionService<S> {
    inner: S,
    layer: AdmissionLayer,
}

impl<S: NamedService> NamedService for AdmissionService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for AdmissionService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let AdmissionLayer { engine, request_size_bytes } = self.layer.clone();
        // The service that was polled ready is the one to call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            if LARGE.contains(&request.uri().path()) {
                match engine.admission().admit().await {
                    Ok(permit) => {
                        request
                            .extensions_mut()
                            .insert(Admitted(Arc::new(Mutex::new(Some(permit)))));
                    }
                    Err(overloaded) => return Ok(Status::from(overloaded).into_http()),
                }
            } else {
                request = request.map(|body| {
                    Body::new(Limited::new(body, SMALL_REQUEST_BYTES).map_err(too_large))
                });
            }
            let response = inner.call(request).await?;
            Ok(if is_out_of_range(&response) {
                request_too_large(request_size_bytes).into_http()
            } else if is_undecodable(&response) {
                undecodable().into_http()
            } else {
                response
            })
        })
    }
}

fn too_large(error: Box<dyn std::error::Error + Send + Sync>) -> Status {
    if error.is::<LengthLimitError>() {
        let message = format!("requests of this method have at most {SMALL_REQUEST_BYTES} bytes");
        status(Code::ResourceExhausted, "REQUEST_TOO_LARGE", message)
    } else {
        Status::from_error(error)
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
         send smaller documents, or raise the setting"
    );
    status(Code::ResourceExhausted, "REQUEST_TOO_LARGE", message)
}

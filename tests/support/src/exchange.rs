//! One HTTP request and its response: recording, clock, latency and faults around the S3 service.

use std::{future::Future, io, str::FromStr, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use s3s::{Body, S3Error, S3ErrorCode, StdError, service::S3Service};

use crate::{
    connection::ResetSwitch,
    faults::{Fault, Hit},
    operation::Target,
    state::Shared,
};

/// Handles the requests of one connection.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) service: S3Service,
    pub(crate) connection: u64,
    pub(crate) reset: ResetSwitch,
}

impl Exchange {
    /// Handles a request. An error ends the connection without a response.
    pub(crate) async fn respond(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, StdError> {
        let target = Target::of(request.method(), request.uri(), request.headers());
        let in_flight = self.shared.recorder.begin(&request, &target, self.connection);
        let number = in_flight.number();
        let result = self.handle(request, &target).await;
        in_flight.finish(result.as_ref().ok().map(Response::status));
        let mut response = result?;
        self.shared.clock.stamp(response.headers_mut());
        if let Ok(id) = HeaderValue::from_str(&format!("{number:016X}")) {
            response.headers_mut().insert("x-amz-request-id", id);
        }
        Ok(response)
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        target: &Target,
    ) -> Result<Response<Body>, StdError> {
        // A response before the complete body has arrived may reach the client or be lost in a
        // reset. An incomplete request is never applied.
        let request = buffered(request).await?;
        let latency = self.shared.latency();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if let Some(hit) = self.shared.faults.match_request(target) {
            return self.fail(request, hit).await;
        }
        self.apply(request).await
    }

    async fn fail(&self, request: Request<Body>, hit: Hit) -> Result<Response<Body>, StdError> {
        match hit.fault.clone() {
            Fault::Respond { status, code } => error_response(StatusCode::from_u16(status)?, code),
            Fault::OkWithError { code } => error_response(StatusCode::OK, code),
            Fault::Delay(duration) => self.apply_after(request, tokio::time::sleep(duration)).await,
            Fault::Stall => self.apply_after(request, hit.cleared()).await,
            Fault::StallResponse => {
                let response = self.apply(request).await;
                hit.cleared().await;
                response
            }
            Fault::ResetBefore => Err(self.reset()),
            Fault::ResetAfter => {
                self.apply(request).await?;
                Err(self.reset())
            }
            Fault::TruncateResponse => {
                let (parts, body) = self.apply(request).await?.into_parts();
                let bytes = BodyExt::collect(body).await?.to_bytes();
                if bytes.is_empty() {
                    return Err(self.reset());
                }
                Ok(truncated(parts, bytes))
            }
        }
    }

    async fn apply(&self, request: Request<Body>) -> Result<Response<Body>, StdError> {
        if self.shared.clock.is_too_skewed(request.uri(), request.headers()) {
            return error_response(StatusCode::FORBIDDEN, "RequestTimeTooSkewed");
        }
        Ok(self.service.call(request).await?)
    }

    /// Applies a request later in a separate task, even if the client disconnects.
    async fn apply_after(
        &self,
        request: Request<Body>,
        wait: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Response<Body>, StdError> {
        let exchange = self.clone();
        let task = async move {
            wait.await;
            exchange.apply(request).await
        };
        tokio::spawn(task).await?
    }

    fn reset(&self) -> StdError {
        self.reset.set();
        io::Error::from(io::ErrorKind::ConnectionReset).into()
    }
}

async fn buffered(request: Request<Incoming>) -> Result<Request<Body>, StdError> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn error_response(status: StatusCode, code: &str) -> Result<Response<Body>, StdError> {
    // Unknown codes are accepted, so this never fails.
    let code = S3ErrorCode::from_str(code)?;
    let mut error =
        S3Error::with_message(code, "A fault rule of the test server fails this request.");
    error.set_status_code(status);
    Ok(error.to_http_response()?)
}

/// The first half of a body with the Content-Length of the complete body.
fn truncated(mut parts: http::response::Parts, bytes: Bytes) -> Response<Body> {
    parts.headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let half = stream::iter([Ok(Frame::data(bytes.slice(..bytes.len() / 2)))]);
    let end = stream::once(async {
        // If a body fails, hyper drops unsent data. Yielding once makes it send the half first.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    });
    let body = StreamBody::new(half.chain(end));
    Response::from_parts(parts, Body::http_body_unsync(body))
}

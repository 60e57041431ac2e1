//! What answers at the port: gRPC, gRPC-Web, `/healthz` and `/livez`, and what each call passes on its way.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::IntoResponse as _,
    routing::get,
};
use http::{HeaderName, HeaderValue, Method, Response};
use tokio::time;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes};
use tonic_web::GrpcWebLayer;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
};

use super::{ListenError, Service, connections::track_call, health::HealthProbes};
use crate::{
    auth::Authenticator,
    config::ListenSettings,
    grpc::{
        AnswerLimits, RequestAdmission, TrustedProxies, admit, authenticate, end_at_deadline,
        guard, internal_fault, limit_calls, locate, observe,
    },
    proto::{self, export_service_server::ExportServiceServer},
};

/// Everything that is served, and what tells its health.
///
/// # Errors
/// Where the API can't be described.
pub(super) async fn routes(
    service: &Service,
    settings: &ListenSettings,
    authenticator: Option<Arc<Authenticator>>,
    draining: CancellationToken,
) -> Result<(HealthProbes, Routes), ListenError> {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let probes = HealthProbes::start(reporter, service.health.clone(), draining).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // grpcurl prints the details of errors with it.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let (longest, idle_timeout) = (settings.max_stream_time.limit(), settings.read_idle_timeout);
    let guard_answer = middleware::from_fn(move |request: Request, next: Next| async move {
        let limits = AnswerLimits {
            idle_timeout,
            // Counted from the request's first bytes on, as platforms do.
            until: longest.map(|longest| time::Instant::now() + longest),
            unsent: request.extensions().get().cloned(),
        };
        guard(next.run(request).await, limits).into_response()
    });
    // Sizes are the admission layer's matter.
    let exports =
        ExportServiceServer::new(service.api.clone()).max_decoding_message_size(usize::MAX);
    let admission = RequestAdmission::new(&service.api, service.request_limits);
    let proxies = TrustedProxies::new(&settings.trusted_proxies);
    let grpc = Routes::new(exports)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .into_axum_router()
        .layer(middleware::from_fn_with_state(admission, admit))
        .layer(CatchPanicLayer::custom(panic_response))
        // Outside of what runs the call, so that its place is returned also when that panics or ends early.
        .layer(middleware::from_fn_with_state(service.call_limits.clone(), limit_calls))
        .layer(guard_answer);
    let grpc = match authenticator {
        Some(authenticator) => {
            grpc.layer(middleware::from_fn_with_state(authenticator, authenticate))
        }
        None => grpc,
    };
    let grpc = grpc
        .layer(middleware::from_fn(end_at_deadline))
        .layer(middleware::from_fn(observe))
        .layer(middleware::from_fn_with_state(proxies, locate))
        // Not around /healthz and /livez: it answers plain HTTP/1.1 with 400.
        .layer(GrpcWebLayer::new())
        .layer(cors(&settings.cors_allowed_origins));
    let (readiness, liveness) = (probes.clone(), probes.clone());
    let healthz = get(move || async move { readiness.readiness() });
    let livez = get(move || async move { liveness.liveness() });
    let router = Router::new()
        .route("/healthz", healthz)
        .route("/livez", livez)
        .merge(grpc)
        // Outermost: a connection is idle if nothing of a call is left.
        .layer(middleware::from_fn(track_call));
    Ok((probes, Routes::from(router)))
}

/// What web pages of these origins may do.
fn cors(origins: &[String]) -> CorsLayer {
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let names = |names: &[&'static str]| -> Vec<HeaderName> {
        names.iter().map(|name| HeaderName::from_static(name)).collect()
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::POST])
        .allow_headers(names(&[
            "content-type",
            "x-grpc-web",
            "x-user-agent",
            "grpc-timeout",
            "authorization",
            "traceparent",
            "tracestate",
        ]))
        // gRPC-Web reads the status from these where an answer has headers only.
        .expose_headers(names(&["grpc-status", "grpc-message", "grpc-status-details-bin"]))
        .max_age(Duration::from_secs(3600))
}

/// A panic in one call is that call's INTERNAL.
fn panic_response(_: Box<dyn Any + Send + 'static>) -> Response<Body> {
    tracing::error!("a call panicked");
    internal_fault().into_http()
}

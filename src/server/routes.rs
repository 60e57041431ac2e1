//! Routes of the server's port (gRPC, gRPC-Web, plain HTTP, `/healthz` and `/livez`) and the layers around each call.

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::IntoResponse as _,
    routing::get,
};
use http::Response;
use tara_export_auth::Authenticator;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes};
use tonic_reflection::pb::{v1, v1alpha};
use tonic_web::GrpcWebLayer;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    ListenError, Service, connections::track_call, cors::cors, health::HealthProbes,
    intermediaries::disable_buffering,
};
use crate::{
    config::{ListenSettings, TrustedProxy, value, values},
    grpc::{
        AllowedHosts, OPENAPI_PATH, PAGE_PATH, PlainHttp, Reflection, RequestAdmission,
        ResponseLimits, TrustedProxies, WELCOME_PATH, admit, authenticate, check_host,
        enforce_deadline, guard, identify_client, internal_error, limit_calls, limit_errors,
        log_access, observe, openapi, page, plain_http, refuse_host, welcome,
    },
    proto::{
        self, automation_service_server::AutomationServiceServer,
        export_service_server::ExportServiceServer,
    },
};

/// Returns all routes, and the health that they report.
///
/// # Errors
/// If the API's descriptors cannot be read for reflection.
pub(super) async fn routes(
    service: &Service,
    settings: &ListenSettings,
    authenticator: Option<Arc<Authenticator>>,
    draining: CancellationToken,
) -> Result<(HealthProbes, Routes), ListenError> {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let probes = HealthProbes::start(reporter, service.health.clone(), draining).await;
    let descriptors = [
        proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        v1::FILE_DESCRIPTOR_SET,
        v1alpha::FILE_DESCRIPTOR_SET,
        // Clients need it to print error details.
        tonic_types::pb::FILE_DESCRIPTOR_SET,
    ];
    let reflection = Reflection::new(&descriptors, service.api.readers())?;
    let plain = PlainHttp::new(&descriptors)?;
    let (max_time, idle_timeout) = (settings.max_stream_time.limit(), settings.read_idle_timeout);
    let guard_response = middleware::from_fn(move |request: Request, next: Next| async move {
        let limits = ResponseLimits {
            idle_timeout,
            // Measured from the request's first bytes, as platforms do.
            deadline: max_time.map(|max_time| time::Instant::now() + max_time),
            unsent: request.extensions().get().cloned(),
        };
        guard(next.run(request).await, limits).into_response()
    });
    // The admission layer limits sizes.
    let api = service.api.clone().with_authenticator(authenticator.clone());
    let automation =
        AutomationServiceServer::new(api.automation()).max_decoding_message_size(usize::MAX);
    let exports = ExportServiceServer::new(api).max_decoding_message_size(usize::MAX);
    let admission = RequestAdmission::new(service.api.engine().clone(), service.request_limits);
    let proxies = trusted_proxies(&values(&settings.trusted_proxies));
    let grpc = Routes::new(exports)
        .add_service(automation)
        .add_service(health_service)
        .add_service(v1::server_reflection_server::ServerReflectionServer::new(reflection.clone()))
        .add_service(v1alpha::server_reflection_server::ServerReflectionServer::new(reflection))
        .into_axum_router()
        .route(WELCOME_PATH, get(welcome))
        .route(OPENAPI_PATH, get(openapi).with_state(plain.clone()))
        .route(PAGE_PATH, get(page).with_state(plain.clone()))
        .layer(middleware::from_fn_with_state(admission, admit))
        .layer(CatchPanicLayer::custom(panic_response))
        // Outside of the layer that catches panics, so that a call that panics or ends early returns its permit.
        .layer(middleware::from_fn_with_state(service.call_limits.clone(), limit_calls))
        .layer(guard_response)
        // Inside of authentication, which logs what it refuses.
        .layer(middleware::from_fn(log_access));
    let grpc = match authenticator {
        Some(authenticator) => {
            grpc.layer(middleware::from_fn_with_state(authenticator, authenticate))
        }
        None => grpc,
    };
    let grpc = grpc
        .layer(middleware::from_fn(enforce_deadline))
        .layer(middleware::from_fn(refuse_host))
        .layer(middleware::from_fn(observe))
        // Outside of every layer that returns an error.
        .layer(middleware::from_fn(limit_errors))
        // Not around /healthz and /livez: this layer responds to plain HTTP/1.1 with 400.
        .layer(GrpcWebLayer::new())
        .layer(middleware::from_fn_with_state(plain, plain_http))
        .layer(cors(
            &values(&settings.cors_allowed_origins),
            &values(&settings.cors_allowed_headers),
        ));
    // A browser cannot connect to a Unix socket.
    let is_unix = value(&settings.unix_socket).is_some();
    let hosts = settings.security.host_check().filter(|hosts| !is_unix || !hosts.is_empty());
    let hosts = hosts.map(|hosts| AllowedHosts::new(settings.bind_address, hosts));
    let grpc = match hosts {
        Some(hosts) => grpc.layer(middleware::from_fn_with_state(hosts, check_host)),
        None => grpc,
    };
    let grpc = grpc
        .layer(middleware::from_fn_with_state(proxies, identify_client))
        .layer(middleware::from_fn(disable_buffering));
    let (readiness, liveness) = (probes.clone(), probes.clone());
    let healthz = get(move || async move { readiness.readiness() });
    let livez = get(move || async move { liveness.liveness() });
    let router = Router::new()
        .route("/healthz", healthz)
        .route("/livez", livez)
        .merge(grpc)
        // Outermost, so that a connection counts as idle only after its calls have ended completely.
        .layer(middleware::from_fn(track_call));
    Ok((probes, Routes::from(router)))
}

fn trusted_proxies(proxies: &[TrustedProxy]) -> TrustedProxies {
    let network = |proxy: &TrustedProxy| match proxy {
        TrustedProxy::Network(network) => Some(*network),
        TrustedProxy::Unix => None,
    };
    let networks: Vec<_> = proxies.iter().filter_map(network).collect();
    TrustedProxies::new(&networks, proxies.contains(&TrustedProxy::Unix))
}

/// Ends a call that panicked with INTERNAL.
fn panic_response(_: Box<dyn Any + Send + 'static>) -> Response<Body> {
    tracing::error!("a call panicked");
    internal_error().into_http()
}

//! `/metrics` for Prometheus, on an address of its own: the API's callers have no business there, and
//! Prometheus has none with the API.

use std::net::SocketAddr;

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::TelemetryError;

/// The text format that Prometheus reads (Prometheus documentation, "Exposition formats").
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A listener that shows the metrics.
#[derive(Debug)]
pub(super) struct Endpoint {
    address: SocketAddr,
}

impl Endpoint {
    pub(super) async fn start(
        address: SocketAddr,
        metrics: PrometheusHandle,
        stopping: CancellationToken,
    ) -> Result<Self, TelemetryError> {
        let failed = |source| TelemetryError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let show = move || {
            let metrics = metrics.clone();
            async move { ([(CONTENT_TYPE, TEXT_FORMAT)], metrics.render()) }
        };
        let router = Router::new().route("/metrics", get(show));
        let serving = axum::serve(listener, router);
        tokio::spawn(async move {
            let stopped = stopping.cancelled_owned();
            if let Err(error) = serving.with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the metrics are not served any more");
            }
        });
        Ok(Self { address: bound })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

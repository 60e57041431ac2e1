//! Exports the metrics, logs and traces of a server. Modules record metrics with `tara_export_telemetry` and log with
//! `tracing`.

mod emf;
mod endpoint;
mod logs;
mod recorder;
mod traces;

use std::{io, net::SocketAddr, time::Duration};

use tara_export_outbound::{Environment, Proxies};
use tokio::time;
use tokio_util::sync::CancellationToken;

use self::{emf::Emf, endpoint::Endpoint, traces::Traces};
use crate::config::{LogSettings, TelemetrySettings, value};

/// How often metrics are written in Embedded Metric Format: CloudWatch's own resolution.
const EMF_INTERVAL: Duration = Duration::from_secs(60);
/// How often distributions are aggregated, which bounds their memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Time limit for sending the last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address cannot be bound.
    #[error("cannot listen on {address} (METRICS_LISTEN_ADDR): {source}")]
    Bind {
        /// `METRICS_LISTEN_ADDR`.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The trace exporter cannot be built.
    #[error("cannot send traces to {url} (TRACE_OTLP_ENDPOINT): {message}")]
    Traces {
        /// `TRACE_OTLP_ENDPOINT`.
        url: String,
        /// The cause.
        message: String,
    },
}

/// Starts sending the logs of a command to standard error.
pub fn start_logging(settings: &LogSettings) {
    logs::start(settings, logs::Logger::Command, None);
}

/// The telemetry of a running server.
#[derive(Debug)]
pub struct Telemetry {
    endpoint: Option<Endpoint>,
    emf: Option<Emf>,
    traces: Option<Traces>,
    stopping: CancellationToken,
}

impl Telemetry {
    /// Starts logging, and metrics and traces as configured. Must be called once per process, within the async
    /// runtime.
    ///
    /// # Errors
    /// If the address for metrics cannot be bound, or the trace endpoint is invalid.
    pub async fn start(
        log: &LogSettings,
        settings: &TelemetrySettings,
    ) -> Result<Self, TelemetryError> {
        let traces = value(&settings.trace_otlp_endpoint)
            .map(|url| Traces::start(url, settings.trace_sample_ratio))
            .transpose()?;
        logs::start(log, logs::Logger::Server, traces.as_ref());
        if traces.is_some() {
            for warning in Proxies::of(&Environment::of_process()).warnings() {
                tracing::warn!("{warning}");
            }
        }
        let (prometheus, emf) = recorder::install(
            value(&settings.metrics_listen_addr).is_some(),
            value(&settings.metrics_emf_namespace),
        );
        let stopping = CancellationToken::new();
        let endpoint = match (value(&settings.metrics_listen_addr), prometheus) {
            (Some(address), Some(prometheus)) => {
                let upkeep = prometheus.clone();
                tokio::spawn(stopping.clone().run_until_cancelled_owned(async move {
                    loop {
                        time::sleep(UPKEEP_INTERVAL).await;
                        upkeep.run_upkeep();
                    }
                }));
                Some(Endpoint::start(address, prometheus, stopping.clone()).await?)
            }
            _ => None,
        };
        if let Some(emf) = emf.clone() {
            tokio::spawn(stopping.clone().run_until_cancelled_owned(async move {
                loop {
                    time::sleep(EMF_INTERVAL).await;
                    emf.flush();
                }
            }));
        }
        Ok(Self { endpoint, emf, traces, stopping })
    }

    /// The address of `/metrics`. `None` if it is not served.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().map(Endpoint::address)
    }

    /// Sends the remaining metrics and spans, within the timeout.
    pub async fn shut_down(self, timeout: Duration) {
        self.stopping.cancel();
        if let Some(emf) = &self.emf {
            emf.flush();
        }
        if let Some(traces) = self.traces {
            traces.shut_down(FLUSH_TIMEOUT.min(timeout)).await;
        }
    }
}

//! What others can see of a server while it runs: metrics, logs and traces, each through one facade.
//!
//! Rooms record with the constants of [`names`], log with `tracing`, and open spans with [`spans`]. Where it
//! all goes is decided here, and nowhere else.

mod emf;
mod endpoint;
mod logs;
pub mod names;
pub mod prices;
mod recorder;
pub mod spans;
mod traces;

use std::{io, net::SocketAddr, time::Duration};

use tokio::time;
use tokio_util::sync::CancellationToken;

use self::{emf::Emf, endpoint::Endpoint, traces::Traces};
use crate::config::{LogSettings, TelemetrySettings, value};

/// How often what was recorded is written as Embedded Metric Format: CloudWatch's own resolution.
const EMF_INTERVAL: Duration = Duration::from_secs(60);
/// How often distributions are folded, which bounds what they hold in memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long the last spans may take on their way.
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);

/// Why telemetry can't start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address can't be listened on.
    #[error("can't listen on {address} (METRICS_LISTEN_ADDR): {source}")]
    Bind {
        /// `METRICS_LISTEN_ADDR`.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No spans can be sent there.
    #[error("no traces can be sent to {url} (TRACE_OTLP_ENDPOINT): {message}")]
    Traces {
        /// `TRACE_OTLP_ENDPOINT`.
        url: String,
        /// Why.
        message: String,
    },
}

/// Sends the logs of a command to standard error, from here on.
pub fn start_logging(settings: &LogSettings) {
    logs::start(settings, logs::Logger::Command, None);
}

/// The telemetry of a server that runs.
#[derive(Debug)]
pub struct Telemetry {
    endpoint: Option<Endpoint>,
    emf: Option<Emf>,
    traces: Option<Traces>,
    stopping: CancellationToken,
}

impl Telemetry {
    /// Starts what the settings ask for: logs, and whatever else is set. Once in a process, and within the
    /// async runtime.
    ///
    /// # Errors
    /// Where the address of the metrics can't be listened on, or no spans can be sent to such an endpoint.
    pub async fn start(
        log: &LogSettings,
        settings: &TelemetrySettings,
    ) -> Result<Self, TelemetryError> {
        let traces = value(&settings.trace_otlp_endpoint)
            .map(|url| Traces::start(url, settings.trace_sample_ratio))
            .transpose()?;
        logs::start(log, logs::Logger::Server, traces.as_ref());
        let (prometheus, emf) = recorder::install(
            value(&settings.metrics_listen_addr).is_some(),
            value(&settings.metrics_emf_namespace),
        );
        let stopping = CancellationToken::new();
        let endpoint = match (value(&settings.metrics_listen_addr), prometheus) {
            (Some(address), Some(prometheus)) => {
                let folded = prometheus.clone();
                tokio::spawn(stopping.clone().run_until_cancelled_owned(async move {
                    loop {
                        time::sleep(UPKEEP_INTERVAL).await;
                        folded.run_upkeep();
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

    /// Where `/metrics` is, if it is anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().map(Endpoint::address)
    }

    /// Sends what was not sent yet, if that is done within this time.
    pub async fn shut_down(self, patience: Duration) {
        self.stopping.cancel();
        if let Some(emf) = &self.emf {
            emf.flush();
        }
        if let Some(traces) = self.traces {
            traces.shut_down(FLUSH_PATIENCE.min(patience)).await;
        }
    }
}

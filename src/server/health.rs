//! Reports a server's health over `grpc.health.v1` and plain HTTP.
//!
//! | name | `/` | NOT_SERVING means |
//! |---|---|---|
//! | empty, and the export service's | `/healthz` | the server is shutting down: send it no more calls |
//! | `liveness` | `/livez` | the server makes no progress: restart it |
//! | `accepting` | | the server accepts no exports: it is shutting down, or an operator must act |

use http::StatusCode;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{health::Health, proto::export_service_server::SERVICE_NAME};

/// The health name whose NOT_SERVING requires a restart.
pub const LIVENESS: &str = "liveness";
/// The health name that reports whether exports are accepted.
pub const ACCEPTING: &str = "accepting";

/// The health names that report whether the server accepts calls.
const READINESS: [&str; 2] = ["", SERVICE_NAME];

/// Health as probes see it.
#[derive(Debug, Clone)]
pub(super) struct HealthProbes {
    reporter: HealthReporter,
    health: Health,
    draining: CancellationToken,
}

impl HealthProbes {
    /// Reports the initial status of all names.
    pub(super) async fn start(
        reporter: HealthReporter,
        health: Health,
        draining: CancellationToken,
    ) -> Self {
        let probes = Self { reporter, health, draining };
        for name in READINESS {
            probes.report(name, true).await;
        }
        probes.report_current().await;
        probes
    }

    /// Reports each change until the future is dropped.
    pub(super) async fn report_changes(self) {
        let mut stalls = self.health.stalls.subscribe();
        let mut refusals = self.health.acceptance.subscribe();
        loop {
            self.report_current().await;
            let has_ended = tokio::select! {
                changed = stalls.changed() => changed.is_err(),
                changed = refusals.changed() => changed.is_err(),
                () = self.draining.cancelled() => true,
            };
            if has_ended {
                break;
            }
        }
        self.report_current().await;
        // Liveness is reported until the process ends.
        while stalls.changed().await.is_ok() {
            self.report_current().await;
        }
    }

    /// Reports that the server accepts no more calls.
    pub(super) async fn report_draining(&self) {
        for name in READINESS {
            self.report(name, false).await;
        }
        self.report_current().await;
    }

    /// The response of `/healthz`.
    pub(super) fn readiness(&self) -> (StatusCode, String) {
        if self.draining.is_cancelled() {
            (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".to_owned())
        } else {
            (StatusCode::OK, "ok\n".to_owned())
        }
    }

    /// The response of `/livez`.
    pub(super) fn liveness(&self) -> (StatusCode, String) {
        let stalls = self.health.stalls.now();
        if stalls.is_empty() {
            return (StatusCode::OK, "ok\n".to_owned());
        }
        let lines = stalls.iter().map(|stall| format!("{stall}\n"));
        (StatusCode::SERVICE_UNAVAILABLE, lines.collect())
    }

    async fn report_current(&self) {
        self.report(LIVENESS, self.health.stalls.now().is_empty()).await;
        let accepts = self.health.acceptance.refusal().is_none();
        self.report(ACCEPTING, accepts && !self.draining.is_cancelled()).await;
    }

    async fn report(&self, name: &str, is_serving: bool) {
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(name, status).await;
    }
}

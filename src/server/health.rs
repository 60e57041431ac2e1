//! What others are told of a server's health: over `grpc.health.v1` and over plain HTTP.
//!
//! | name | `/` | NOT_SERVING means |
//! |---|---|---|
//! | empty, and the export service's | `/healthz` | it stops: send it nothing more |
//! | `liveness` | `/livez` | it makes no progress: restart it |
//! | `accepting` | | it would accept no export: an operator must act, or it stops |

use http::StatusCode;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{health::Health, proto::export_service_server::SERVICE_NAME};

/// The health name whose NOT_SERVING a restart cures.
pub const LIVENESS: &str = "liveness";
/// The health name that says whether exports are accepted.
pub const ACCEPTING: &str = "accepting";

/// Names that are about taking calls.
const READINESS: [&str; 2] = ["", SERVICE_NAME];

/// Health as probes see it.
#[derive(Debug, Clone)]
pub(super) struct HealthProbes {
    reporter: HealthReporter,
    health: Health,
    draining: CancellationToken,
}

impl HealthProbes {
    /// All names answer from here on.
    pub(super) async fn start(
        reporter: HealthReporter,
        health: Health,
        draining: CancellationToken,
    ) -> Self {
        let probes = Self { reporter, health, draining };
        for name in READINESS {
            probes.report(name, true).await;
        }
        probes.report_changing().await;
        probes
    }

    /// Reports each change, until it is dropped with its runtime or told to stop.
    pub(super) async fn follow(self) {
        let mut stalls = self.health.stalls.subscribe();
        let mut refusals = self.health.acceptance.subscribe();
        loop {
            self.report_changing().await;
            let is_over = tokio::select! {
                changed = stalls.changed() => changed.is_err(),
                changed = refusals.changed() => changed.is_err(),
                () = self.draining.cancelled() => true,
            };
            if is_over {
                break;
            }
        }
        self.report_changing().await;
        // Liveness counts to the end.
        while stalls.changed().await.is_ok() {
            self.report_changing().await;
        }
    }

    /// From now on no call is to be sent here.
    pub(super) async fn drain(&self) {
        for name in READINESS {
            self.report(name, false).await;
        }
        self.report_changing().await;
    }

    /// What `/healthz` answers.
    pub(super) fn readiness(&self) -> (StatusCode, String) {
        if self.draining.is_cancelled() {
            (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".to_owned())
        } else {
            (StatusCode::OK, "ok\n".to_owned())
        }
    }

    /// What `/livez` answers.
    pub(super) fn liveness(&self) -> (StatusCode, String) {
        let stalls = self.health.stalls.now();
        if stalls.is_empty() {
            return (StatusCode::OK, "ok\n".to_owned());
        }
        let lines = stalls.iter().map(|stall| format!("{stall}\n"));
        (StatusCode::SERVICE_UNAVAILABLE, lines.collect())
    }

    async fn report_changing(&self) {
        self.report(LIVENESS, self.health.stalls.now().is_empty()).await;
        let accepts = self.health.acceptance.refusal().is_none();
        self.report(ACCEPTING, accepts && !self.draining.is_cancelled()).await;
    }

    async fn report(&self, name: &str, is_serving: bool) {
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(name, status).await;
    }
}

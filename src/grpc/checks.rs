//! CheckStorage: checks the stores, the backlog and the server's health.

use std::time::Duration;

use futures::future::join_all;
use tara_export_store::{ProbeResult, ProbeStatus, StoreKind};

use super::{backlog_checks, convert::check_message, health_checks, queries::Queries};
use crate::{health::Health, proto};

/// The memory that is reserved for the checks.
pub(super) const CHECKS_BYTES: u64 = 256 * 1024;

/// Runs all checks.
pub(super) async fn run(queries: &Queries, health: &Health) -> Vec<proto::StorageCheck> {
    let mut results = Vec::new();
    if queries.catalog.store(StoreKind::S3).is_none() {
        results.push(ProbeResult {
            check: "s3.configured",
            status: ProbeStatus::Warning,
            message: "no S3 bucket is set: bundles stay on this server's disk".to_owned(),
            hint: "set S3_BUCKET_NAME and AWS_REGION to store bundles in S3".to_owned(),
            duration: Duration::ZERO,
        });
    }
    let probes = join_all(queries.catalog.stores().iter().map(|store| store.probe())).await;
    results.extend(probes.into_iter().flatten());
    if let Some(status) = queries.engine.status().await {
        results.extend(backlog_checks::rows(&status));
        results.extend(health_checks::rows(health));
    }
    results.into_iter().map(check_message).collect()
}

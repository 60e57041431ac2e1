//! CheckStorage: checks the stores, the backlog and the server's health.

use std::time::Duration;

use futures::future::join_all;
use tara_export_auth::KeysState;
use tara_export_store::{ProbeResult, ProbeStatus, StoreKind};

use super::{
    automation::Automation, backlog_checks, batch_checks, convert::check_message, health_checks,
    job_checks, notification_checks, queries::Queries,
};
use crate::{batch::Batches, health::Health, proto};

/// The memory that is reserved for the checks.
pub(super) const CHECKS_BYTES: u64 = 256 * 1024;

/// Runs all checks. `keys` is the state of the issuer's keys if the server accepts JWTs.
pub(super) async fn run(
    queries: &Queries,
    health: &Health,
    keys: Option<KeysState>,
    automation: &Automation,
    batches: &Batches,
) -> Vec<proto::StorageCheck> {
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
    results.extend(queries.engine.left().map(backlog_checks::left));
    results.extend(batch_checks::row(batches.status(), queries.clock.now()));
    results.extend(keys.map(issuer_keys));
    if let Some(notifications) = &automation.notifications {
        let s3 = queries.catalog.store(StoreKind::S3).cloned();
        let now = queries.clock.now();
        results.extend(notification_checks::rows(notifications, s3, now).await);
    }
    if let Some(jobs) = &automation.jobs {
        results.extend(job_checks::rows(jobs).await);
    }
    results.into_iter().map(check_message).collect()
}

/// The row for the keys that verify JWTs.
fn issuer_keys(state: KeysState) -> ProbeResult {
    let KeysState { source, keys, age, error } = state;
    let age = age.map(|age| format!(", fetched {} s ago", age.as_secs())).unwrap_or_default();
    let (status, message) = match (keys, error) {
        (0, error) => {
            let error = error.unwrap_or_default();
            (ProbeStatus::Failed, format!("no keys of the issuer, so JWTs are refused: {error}"))
        }
        (keys, None) => (ProbeStatus::Passed, format!("{keys} keys of {source}{age}")),
        (keys, Some(error)) => {
            (ProbeStatus::Warning, format!("{keys} keys{age} stay in use: {error}"))
        }
    };
    let hint = match status {
        ProbeStatus::Passed => String::new(),
        _ => format!("check {source}; docs/identity-providers.md describes where the keys are"),
    };
    ProbeResult { check: "server.issuer_keys", status, message, hint, duration: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_of_the_keys_has_their_state() {
        let row = |keys, error: Option<&str>| {
            let source = "JWT_ISSUER https://id.example/".to_owned();
            let (age, error) = (Some(Duration::from_secs(70)), error.map(str::to_owned));
            let row = issuer_keys(KeysState { source, keys, age, error });
            (row.status, row.message, row.hint.contains("https://id.example/"))
        };
        let known = "2 keys of JWT_ISSUER https://id.example/, fetched 70 s ago".to_owned();
        assert_eq!(row(2, None), (ProbeStatus::Passed, known, false));
        let stale = "2 keys, fetched 70 s ago stay in use: HTTP 503".to_owned();
        assert_eq!(row(2, Some("HTTP 503")), (ProbeStatus::Warning, stale, true));
        let missing = "no keys of the issuer, so JWTs are refused: HTTP 503".to_owned();
        assert_eq!(row(0, Some("HTTP 503")), (ProbeStatus::Failed, missing, true));
    }
}

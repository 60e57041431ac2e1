//! Helpers for the probes of all backends.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use tara_export_digest::Sha256;
use tokio::time::Instant;

use super::{ObjectKey, Payload, ProbeResult, ProbeStatus, PutOutcome, Store, StoreError};

/// The probe object's bytes. Fixed, so that repeated probes leave one object.
const PROBE_BYTES: &[u8] = b"tara-export wrote this to try whether it can store exports here.\n";

/// The key of a probe object.
pub(super) fn probe_key(name: &str) -> ObjectKey {
    #[allow(clippy::expect_used, reason = "callers pass constants, all of them tested by probing")]
    ObjectKey::new(format!(".tara-export/probe/{name}"))
        .expect("a probe's name is one valid part of a key")
}

/// The content of probe objects.
pub(super) fn probe_payload() -> Payload {
    Payload::new(
        Bytes::from_static(PROBE_BYTES),
        Sha256::of(PROBE_BYTES),
        "text/plain; charset=utf-8",
    )
}

/// Whether the store refuses to replace an object. With a store that ignores the condition, two exports could
/// overwrite each other, so exports to it are not allowed. Writes only a fixed probe object.
///
/// # Errors
/// If the store does not respond, or refuses all puts.
pub async fn honours_conditional_put(store: &dyn Store) -> Result<bool, StoreError> {
    let key = probe_key("conditional-put");
    // Only a store that honours the condition reports that the object exists.
    if store.put_if_absent(&key, probe_payload()).await? == PutOutcome::Exists {
        return Ok(true);
    }
    Ok(store.put_if_absent(&key, probe_payload()).await? == PutOutcome::Exists)
}

/// The finding of a check.
pub(super) struct Finding {
    pub(super) status: ProbeStatus,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Finding {
    pub(super) fn passed(message: impl Into<String>) -> Self {
        Self { status: ProbeStatus::Passed, message: message.into(), hint: String::new() }
    }

    pub(super) fn warning(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: ProbeStatus::Warning, message: message.into(), hint: hint.into() }
    }

    pub(super) fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: ProbeStatus::Failed, message: message.into(), hint: hint.into() }
    }
}

/// The results of a probe, in the order of the checks.
#[derive(Default)]
pub(super) struct CheckResults(Vec<ProbeResult>);

impl CheckResults {
    /// Runs a check. Returns false if it failed.
    pub(super) async fn check(
        &mut self,
        check: &'static str,
        finding: impl Future<Output = Finding>,
    ) -> bool {
        let started = Instant::now();
        let Finding { status, message, hint } = finding.await;
        self.0.push(ProbeResult { check, status, message, hint, duration: started.elapsed() });
        status != ProbeStatus::Failed
    }

    /// Adds checks that are skipped because another one failed.
    pub(super) fn skip(&mut self, checks: &[&'static str], failed: &str) {
        self.0.extend(checks.iter().map(|check| ProbeResult {
            check,
            status: ProbeStatus::Skipped,
            message: format!("skipped, because {failed} failed"),
            hint: String::new(),
            duration: Duration::ZERO,
        }));
    }

    pub(super) fn into_results(self) -> Vec<ProbeResult> {
        self.0
    }
}

//! The counters of exports exist from the start, so that the first failure is an increase.

use tara_export_store::FailureCause;
use tara_export_telemetry::names::{self, NONE};

use super::failure::FailureReason;

/// Registers the counters of exports with all values that their labels can have.
pub fn register_counters() {
    for counter in [names::STARTED, names::SYNCED, names::TAKEOVERS, names::QUARANTINED] {
        counter.register(NONE);
    }
    for outcome in [
        ["committed", "s3", "s3"],
        ["committed", "local", "local"],
        ["fell_back", "s3", "local"],
        ["failed", "s3", "none"],
        ["failed", "local", "none"],
    ] {
        names::EXPORTS.register(outcome);
    }
    for reason in FailureReason::ALL.map(FailureReason::as_str) {
        for counter in [names::FAILURES, names::FALLBACKS, names::POSTPONED, names::SYNC_FAILURES] {
            counter.register([reason]);
        }
    }
    for cause in FailureCause::ALL.map(FailureCause::as_str) {
        names::RETRIES.register([cause]);
    }
}

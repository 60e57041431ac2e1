//! The counters of calls exist from the start, so that the first refusal and the first data loss are increases.

use tara_export_telemetry::names::{self, NONE};

use super::{
    permissions::{ApiMethod, api_methods},
    readers::EndReason,
    status::OVERLOADED,
};

/// Registers the counters that alarms use, and those whose labels have few values. Calls by code and other refusals
/// appear with their first one: their labels have hundreds of combinations.
pub fn register_counters() {
    names::DATA_LOSS.register(NONE);
    names::DAMAGED_UPLOADS.register(NONE);
    for ApiMethod { method, .. } in api_methods() {
        names::REJECTED.register([method, OVERLOADED]);
    }
    for reason in EndReason::ALL.map(EndReason::as_str) {
        names::RESPONSES_ENDED_EARLY.register([reason]);
    }
}

//! Metrics of batches.

use chrono::{DateTime, Utc};
use tara_export_telemetry::names::{self, NONE};

use super::{BatchStatus, item::ItemState};

/// Lets the counters exist before the first item ends.
pub fn register_counters() {
    for state in [ItemState::Committed, ItemState::FellBack, ItemState::Refused, ItemState::Failed]
    {
        names::BATCH_ITEMS.register([state.as_str()]);
    }
}

/// An item ended.
pub(super) fn item_ended(state: ItemState) {
    names::BATCH_ITEMS.add(1, [state.as_str()]);
}

/// The batches that have not ended.
pub(super) fn report(status: BatchStatus, now: DateTime<Utc>) {
    let BatchStatus { active, incomplete, unreported, oldest } = status;
    let running = active.saturating_sub(incomplete + unreported);
    for (state, count) in
        [("incomplete", incomplete), ("running", running), ("unreported", unreported)]
    {
        names::BATCHES.set(count as f64, [state]);
    }
    let age = oldest.map(|oldest| (now - oldest).to_std().unwrap_or_default());
    names::BATCH_OLDEST_AGE.set(age.unwrap_or_default().as_secs_f64(), NONE);
}

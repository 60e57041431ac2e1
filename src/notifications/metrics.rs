//! Metrics of notifications.

use chrono::{DateTime, Utc};
use tara_export_events::Event;
use tara_export_telemetry::names::{self, NONE};

use super::queue::{Ended, Name, Queue};

/// A target took these events.
pub(super) fn delivered(target: &Name, events: &[Event], now: DateTime<Utc>) {
    for event in events {
        let delay = (now - event.time).to_std().unwrap_or_default();
        names::NOTIFICATION_DELAY.record(delay.as_secs_f64(), [target.clone()]);
        count(target, event.event_type.as_str(), "delivered");
    }
}

/// A target did not take these events.
pub(super) fn failed(target: &Name, events: &[Event]) {
    for event in events {
        count(target, event.event_type.as_str(), "failed");
    }
}

/// Deliveries of an event were given up.
pub(super) fn given_up(ended: &Ended) {
    for dead in &ended.dead {
        count(&dead.target, ended.event_type.as_str(), "dead");
    }
}

/// Another machine delivers an event that this one has as well.
pub(super) fn left_to_other(event_type: &'static str) {
    count("", event_type, "duplicate");
}

fn count(target: &str, event_type: &'static str, result: &'static str) {
    names::NOTIFICATIONS.add(1, [target.to_owned(), event_type.to_owned(), result.to_owned()]);
}

/// The state of all queues.
pub(super) fn report_queue(queue: &Queue, dead_letters: usize, now: DateTime<Utc>) {
    for (target, (count, oldest)) in queue.backlogs() {
        let age = oldest.map(|oldest| (now - oldest).to_std().unwrap_or_default());
        names::NOTIFICATIONS_PENDING.set(count as f64, [target.clone()]);
        names::NOTIFICATION_OLDEST_AGE.set(age.unwrap_or_default().as_secs_f64(), [target.clone()]);
    }
    names::NOTIFICATION_DEAD_LETTERS.set(dead_letters as f64, NONE);
}

/// Whether the current `NOTIFY_FILE` has faults, so that an older one is in force.
pub(super) fn file_error(has_faults: bool) {
    names::NOTIFY_FILE_ERROR.set(f64::from(u8::from(has_faults)), NONE);
}

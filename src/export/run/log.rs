//! The event log of one run.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::events::{Event, EventKind, Progress};

/// The events that can be replayed, and the latest artifact progress, which cannot.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    events: Vec<Arc<Event>>,
    /// The latest artifact progress and its number.
    live: Option<(u64, Arc<Event>)>,
}

impl EventLog {
    /// The number of events that can be replayed.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// The event after the first `seen` events.
    pub(super) fn after(&self, seen: usize) -> Option<Arc<Event>> {
        self.events.get(seen).cloned()
    }

    /// The latest artifact progress, if its number is greater than `seen`.
    pub(super) fn live_after(&self, seen: u64) -> Option<(u64, Arc<Event>)> {
        self.live.clone().filter(|(number, _)| *number > seen)
    }

    /// The number of the latest artifact progress.
    pub(super) fn live_number(&self) -> u64 {
        self.live.as_ref().map_or(0, |(number, _)| *number)
    }

    /// Appends an event.
    pub(super) fn push(&mut self, time: DateTime<Utc>, progress: Progress, kind: EventKind) {
        let sequence = self.events.len() as u64 + 1;
        self.events.push(Arc::new(Event { sequence, time, progress, kind }));
    }

    /// Sets the latest artifact progress, which only current subscribers receive.
    pub(super) fn set_live(&mut self, time: DateTime<Utc>, progress: Progress, kind: EventKind) {
        let event = self.transient(time, progress, kind);
        self.live = Some((self.live_number() + 1, Arc::new(event)));
    }

    /// Creates an event outside the log, with the sequence number of the last event.
    pub(super) fn transient(
        &self,
        time: DateTime<Utc>,
        progress: Progress,
        kind: EventKind,
    ) -> Event {
        Event { sequence: self.events.len() as u64, time, progress, kind }
    }
}

//! Removes delivered events and dead letters by age and number.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tara_export_bundle::ExportId;
use tara_export_disk::{DiskError, batch};

use super::{EventFiles, EventFolder, MAX_DEAD};

/// Files that one call removes at most.
const MAX_REMOVED_PER_CALL: usize = 1_000;

/// How long events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRetention {
    /// Delivered events; the setting `RECEIPT_RETENTION`.
    pub delivered: Duration,
    /// Maximum number of delivered events; the setting `MAX_RECEIPTS`.
    pub max_delivered: usize,
    /// Dead letters.
    pub dead: Duration,
}

/// The number of removed files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemovedEvents {
    /// Removed delivered events.
    pub delivered: u64,
    /// Removed dead letters.
    pub dead: u64,
    /// Whether more files may have expired.
    pub more: bool,
}

impl EventFiles {
    /// Removes expired events, a limited number. An event whose export `is_unfinished` stays, because a resumed export
    /// would notify again.
    ///
    /// # Errors
    /// If a folder cannot be listed or a file cannot be removed.
    pub fn remove_expired(
        &self,
        retention: EventRetention,
        now: DateTime<Utc>,
        is_unfinished: impl Fn(ExportId) -> bool,
    ) -> Result<RemovedEvents, DiskError> {
        let mut removed = RemovedEvents::default();
        let EventRetention { delivered, max_delivered, dead } = retention;
        for (folder, age, limit) in [
            (EventFolder::Delivered, delivered, max_delivered),
            (EventFolder::Dead, dead, MAX_DEAD),
        ] {
            let mut events = self.list_with_times(folder)?;
            events.sort_unstable();
            let surplus = events.len().saturating_sub(limit);
            let before = TimeDelta::from_std(age).ok().and_then(|age| now.checked_sub_signed(age));
            let expired = events.iter().enumerate().take_while(|(number, (time, _))| {
                *number < surplus || before.is_some_and(|before| *time < before)
            });
            let expired: Vec<_> = expired.map(|(_, (_, event_id))| *event_id).collect();
            removed.more |= expired.len() > MAX_REMOVED_PER_CALL;
            let mut count = 0;
            batch(|removals| {
                for event_id in expired.into_iter().take(MAX_REMOVED_PER_CALL) {
                    let stored = self.read(folder, event_id)?;
                    if stored.is_some_and(|stored| {
                        stored.event.export().is_some_and(|export| is_unfinished(export.export_id))
                    }) {
                        continue;
                    }
                    count += u64::from(self.remove(folder, event_id, removals)?);
                }
                Ok::<(), DiskError>(())
            })?;
            match folder {
                EventFolder::Dead => removed.dead = count,
                _ => removed.delivered = count,
            }
        }
        Ok(removed)
    }
}

//! Measures how long this process has known each entry of the store's journal, with the monotonic clock.
//!
//! The age of an entry is the difference between the store's clock and this machine's clock. A machine whose clock is
//! one day slow would wait one day before it takes over the exports of a lost replica.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tara_export_bundle::ExportId;
use tara_export_digest::Sha256;
use tokio::time::Instant;

/// Maximum number of tracked entries, about 100 bytes each. For further entries, only the clocks decide.
const MAX_TRACKED: usize = 50_000;

/// Entries of the store's journal and when a scan first found them.
#[derive(Debug, Default)]
pub(super) struct FirstSeen(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    scan: u64,
    seen: HashMap<(ExportId, Sha256), Seen>,
}

#[derive(Debug)]
struct Seen {
    first: Instant,
    /// The last scan that found the entry.
    scan: u64,
}

impl FirstSeen {
    pub(super) fn begin_scan(&self) {
        self.with(|inner| inner.scan += 1);
    }

    /// Removes the entries that the completed scan did not find.
    pub(super) fn end_scan(&self) {
        self.with(|inner| {
            let scan = inner.scan;
            inner.seen.retain(|_, seen| seen.scan == scan);
        });
    }

    /// The time since a scan first found this entry. Zero for a new entry, which is added.
    pub(super) fn age(&self, entry: (ExportId, Sha256)) -> Duration {
        self.with(|inner| {
            let (scan, is_full) = (inner.scan, inner.seen.len() >= MAX_TRACKED);
            if let Some(seen) = inner.seen.get_mut(&entry) {
                seen.scan = scan;
                return seen.first.elapsed();
            }
            if !is_full {
                inner.seen.insert(entry, Seen { first: Instant::now(), scan });
            }
            Duration::ZERO
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        // Each change leaves the state consistent, even if a panic interrupts it.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;
    use uuid::Uuid;

    use super::*;

    fn entry(number: usize) -> (ExportId, Sha256) {
        (ExportId::new(Uuid::from_u128(number as u128)), Sha256::of(b"content"))
    }

    #[tokio::test(start_paused = true)]
    async fn age_grows_until_a_scan_misses_the_entry() {
        let first_seen = FirstSeen::default();
        first_seen.begin_scan();
        assert_eq!(first_seen.age(entry(1)), Duration::ZERO);
        first_seen.end_scan();
        time::advance(Duration::from_secs(60)).await;
        first_seen.begin_scan();
        assert_eq!(first_seen.age(entry(1)).as_secs(), 60);
        first_seen.end_scan();
        // The entry disappears and is found again.
        first_seen.begin_scan();
        first_seen.end_scan();
        assert_eq!(first_seen.age(entry(1)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn number_of_tracked_entries_is_limited() {
        let first_seen = FirstSeen::default();
        (0..MAX_TRACKED + 10).for_each(|number| {
            first_seen.age(entry(number));
        });
        assert_eq!(first_seen.with(|inner| inner.seen.len()), MAX_TRACKED);
    }
}

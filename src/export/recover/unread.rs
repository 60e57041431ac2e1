//! Journal entries that are not in memory: their number, and which of them are read next.
//!
//! Memory contains the headers of a window of entries, oldest acceptance first, followed by a queue of keys from one
//! scan of the journal, so its size does not depend on the size of the journal. The window is refilled from the queue,
//! and the queue by the next scan.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tara_export_bundle::AcceptedTime;
use tokio::sync::Notify;

use crate::export::journal::{EntryKey, Scanned};

/// Limits of the entries in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Number of headers that are read into memory. A header and the run of its export take about 4 kB.
    pub window: usize,
    /// The window is refilled when at most this many headers are left.
    pub window_low: usize,
    /// The newest entries are evicted when the window has more headers than this, including exports that this process
    /// accepted.
    pub window_high: usize,
    /// Number of keys that a scan of the journal keeps. A key takes 64 bytes.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { window: 1_000, window_low: 500, window_high: 2_000, queue: 100_000 }
    }
}

/// Tracks the entries that are not in memory.
#[derive(Debug, Default)]
pub(in crate::export) struct Unread {
    pub(super) limits: Limits,
    inner: Mutex<Inner>,
    /// Notified when the window may have too few or too many entries.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    count: u64,
    queue: VecDeque<EntryKey>,
    /// The last key of the queue. The next scan continues after it.
    after: Option<EntryKey>,
    /// Entries up to this one stay in the journal for another process.
    left: Option<EntryKey>,
    /// Whether the journal has entries that are in neither the window nor the queue.
    has_more: bool,
    /// Whether an entry could not be loaded. Another scan is due after a pause.
    has_failed: bool,
    /// Whether entries were evicted so that newer ones could be read.
    has_rotated: bool,
    /// The oldest entry that the current scan found or that was evicted.
    oldest: Option<AcceptedTime>,
}

impl Unread {
    /// Number of entries. Includes unreadable files until the first scan is complete.
    pub(in crate::export) fn count(&self) -> u64 {
        self.lock().count
    }

    /// The oldest acceptance time, as far as known.
    pub(in crate::export) fn oldest(&self) -> Option<AcceptedTime> {
        let inner = self.lock();
        let next = inner.queue.front().map(|key| key.accepted_time);
        [next, inner.oldest].into_iter().flatten().min()
    }

    /// Sets the number of entries at startup.
    pub(in crate::export) fn start(&self, count: u64) {
        let mut inner = self.lock();
        inner.count = count;
        inner.has_more = count > 0;
    }

    /// Leaves the entries up to this one to another process.
    pub(in crate::export) fn leave(&self, last: EntryKey) {
        self.lock().left = Some(last);
    }

    /// The last entry that is left to another process.
    pub(super) fn last_left(&self) -> Option<EntryKey> {
        self.lock().left
    }

    /// Records that all entries of this process are in memory.
    pub(super) fn set_complete(&self) {
        self.lock().has_more = false;
    }

    /// Counts an entry that was loaded into memory.
    pub(in crate::export) fn loaded(&self) {
        self.subtract(1);
    }

    pub(super) fn subtract(&self, entries: u64) {
        let mut inner = self.lock();
        inner.count = inner.count.saturating_sub(entries);
    }

    /// Requests a check of the window size.
    pub(in crate::export) fn request_refill(&self) {
        self.changed.notify_one();
    }

    /// Starts again with the oldest entries after the end of an outage.
    pub(in crate::export) fn restart(&self) {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.has_rotated) {
            inner.queue.clear();
            inner.after = None;
            inner.has_more = inner.count > 0;
        }
        drop(inner);
        self.request_refill();
    }

    /// Records that an entry could not be loaded, so that another scan looks for it.
    pub(in crate::export) fn mark_failed(&self) {
        self.lock().has_failed = true;
    }

    pub(super) fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// Requests another scan if an entry could not be loaded.
    pub(super) fn retry_failed(&self) {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.has_failed) {
            inner.has_more = true;
        }
    }

    pub(super) fn evicted(&self, key: EntryKey) {
        let mut inner = self.lock();
        inner.count += 1;
        inner.has_more = true;
        let oldest = inner.oldest.map_or(key.accepted_time, |oldest| oldest.min(key.accepted_time));
        inner.oldest = Some(oldest);
    }

    pub(super) fn next_keys(&self, limit: usize) -> Vec<EntryKey> {
        let mut inner = self.lock();
        let limit = limit.min(inner.queue.len());
        inner.queue.drain(..limit).collect()
    }

    /// The entry after which the next scan starts. `None` if no scan is necessary.
    pub(super) fn next_scan(&self) -> Option<Option<EntryKey>> {
        let inner = self.lock();
        (inner.queue.is_empty() && inner.has_more).then_some(inner.after.max(inner.left))
    }

    /// Replaces the queue with the keys that a scan found after `after`.
    pub(super) fn set_scanned(&self, scanned: Scanned, after: Option<EntryKey>) {
        let Scanned { keys, count, others: _ } = scanned;
        let mut inner = self.lock();
        inner.count = count;
        inner.has_more = count > keys.len() as u64;
        inner.after = keys.last().copied();
        if after.is_none() {
            // The scan started with the oldest entry of the journal.
            inner.oldest = None;
        }
        inner.queue = keys.into();
    }

    /// Sets the oldest entry that the current scan has found so far.
    pub(super) fn set_oldest(&self, oldest: Option<AcceptedTime>) {
        self.lock().oldest = oldest;
    }

    /// Records that entries are evicted so that newer ones can be read.
    pub(super) fn mark_rotated(&self) {
        self.lock().has_rotated = true;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change leaves the state consistent, even if a panic interrupts it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The backlog: journaled exports without a bundle, with a bundle that fell back, or with local data to clean up.
//! Memory contains only their headers, and only a window of them if the journal is large (`unread.rs`).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tara_export_bundle::{AcceptedTime, ExportId};
use tara_export_digest::Sha256;
use tokio::{sync::Notify, time::Instant};

use crate::export::{
    failure::{Failure, FailureReason},
    journal::{EntryKey, JournalEntry},
};

/// The remaining work on an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum Task {
    /// Write its bundle.
    Export,
    /// Send its bundle from the local store to S3.
    Sync,
    /// Remove its local data. Its bundle is committed in the requested destination.
    CleanUp,
}

impl Task {
    /// Whether the export has a bundle and its run has ended.
    pub(in crate::export) fn has_bundle(self) -> bool {
        self != Self::Export
    }
}

/// An export in the backlog.
#[derive(Debug, Clone)]
pub(in crate::export) struct WaitingExport {
    pub entry: JournalEntry,
    pub task: Task,
    /// The failure of the last attempt.
    pub last_failure: Option<Failure>,
}

/// The waiting exports, oldest acceptance first.
#[derive(Debug, Default)]
pub(in crate::export) struct Backlog {
    inner: Mutex<Inner>,
    /// Notified when an export is added or may be due.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    items: BTreeMap<Key, Item>,
    /// The keys of each export id, oldest first. One id has several keys if the journal has several contents under it.
    keys: HashMap<ExportId, Vec<Key>>,
}

/// Identifies an entry and defines the order of entries.
type Key = (AcceptedTime, ExportId, Sha256);

#[derive(Debug)]
struct Item {
    waiting: WaitingExport,
    not_before: Instant,
    pauses: ExponentialBackoff,
    is_in_progress: bool,
    /// When the store that the export was accepted for first reported a document as gone. Cleared if an attempt ends
    /// differently.
    lost_since: Option<Instant>,
}

/// The result of [`Backlog::record_loss`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum Loss {
    /// The document was already gone long enough ago. The export remains in progress.
    Confirmed,
    /// This is the first check, or the second check is too early. The export is returned to the backlog.
    Unconfirmed,
}

/// The result of [`Backlog::take_next`].
#[derive(Debug)]
pub(in crate::export) enum NextTask {
    /// A due entry. It remains in the backlog but is not returned again until [`Backlog::postpone`] or
    /// [`Backlog::remove`].
    Due(Box<JournalEntry>, Task),
    /// The time when the next entry is due.
    At(Instant),
    /// No entry becomes due by itself.
    Nothing,
}

impl Backlog {
    /// Adds an export that is due after `pause`. Replaces the task of an existing export.
    pub(in crate::export) fn push(&self, entry: JournalEntry, task: Task, pause: Duration) {
        self.lock().insert(entry, task).not_before = Instant::now() + pause;
        self.changed.notify_one();
    }

    /// Adds an entry that was found on disk. Returns `false` and changes nothing if the backlog already has the entry.
    pub(in crate::export) fn push_if_absent(&self, entry: JournalEntry, task: Task) -> bool {
        let mut inner = self.lock();
        if inner.get_mut(&entry).is_some() {
            return false;
        }
        inner.insert(entry, task);
        drop(inner);
        self.changed.notify_one();
        true
    }

    /// Number of exports.
    pub(in crate::export) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether no entry can be processed now: all have failed, or wait for S3.
    pub(in crate::export) fn is_blocked(&self, is_breaker_open: bool) -> bool {
        let inner = self.lock();
        !inner.items.is_empty()
            && inner.items.values().all(|item| {
                let waits_for_s3 = is_breaker_open && item.waiting.task == Task::Sync;
                !item.is_in_progress && (item.waiting.last_failure.is_some() || waits_for_s3)
            })
    }

    /// Removes the newest exports that are not in progress and that `can_evict` accepts, until `keep` exports are left.
    pub(in crate::export) fn evict(
        &self,
        keep: usize,
        can_evict: impl Fn(&WaitingExport) -> bool,
    ) -> Vec<(EntryKey, Task)> {
        let mut inner = self.lock();
        let excess = inner.items.len().saturating_sub(keep);
        // `lost_since` exists only in memory.
        let is_idle = |item: &Item| !item.is_in_progress && item.lost_since.is_none();
        let idle = inner.items.iter().rev().filter(|(_, item)| is_idle(item));
        let chosen = idle.filter(|(_, item)| can_evict(&item.waiting)).take(excess);
        let evicted: Vec<(Key, EntryKey, Task)> =
            chosen.map(|(key, item)| (*key, item.waiting.entry.key(), item.waiting.task)).collect();
        evicted.iter().for_each(|((_, export_id, digest), ..)| inner.remove(*export_id, *digest));
        evicted.into_iter().map(|(_, key, task)| (key, task)).collect()
    }

    /// Takes the oldest due entry. [`Task::Sync`] waits until the circuit breaker allows S3 again.
    ///
    /// `crash_count` returns the number of crashes of a suspect, an entry that may crash the process. A suspect is
    /// taken only if no other entry is due or in progress, the suspect with the fewest crashes first. Several entries
    /// of one id claim the same record, so only one of them is in progress at a time.
    pub(in crate::export) fn take_next(
        &self,
        breaker_open_until: Option<Instant>,
        crash_count: impl Fn(&JournalEntry) -> Option<u32>,
    ) -> NextTask {
        let now = Instant::now();
        let mut inner = self.lock();
        let mut next_due: Option<Instant> = None;
        let mut suspect: Option<(u32, Key)> = None;
        let mut due_now: Option<Key> = None;
        let mut is_busy = false;
        for (key, item) in &inner.items {
            let crashes = crash_count(&item.waiting.entry);
            if item.is_in_progress {
                if crashes.is_some() {
                    // The waiting worker is notified when the entry ends.
                    return NextTask::Nothing;
                }
                is_busy = true;
                continue;
            }
            // The waiting worker is notified when the sibling ends.
            if inner.has_sibling_in_progress(key) {
                continue;
            }
            let due = match (item.waiting.task, breaker_open_until) {
                (Task::Sync, Some(until)) => item.not_before.max(until),
                _ => item.not_before,
            };
            match crashes {
                Some(crashes) if due <= now => {
                    if suspect.is_none_or(|(fewest, _)| crashes < fewest) {
                        suspect = Some((crashes, *key));
                    }
                }
                None if due <= now => {
                    due_now = Some(*key);
                    break;
                }
                _ => next_due = Some(next_due.map_or(due, |next_due| next_due.min(due))),
            }
        }
        let suspect = suspect.filter(|_| !is_busy).map(|(_, key)| key);
        if let Some(key) = due_now.or(suspect)
            && let Some(item) = inner.items.get_mut(&key)
        {
            item.is_in_progress = true;
            return NextTask::Due(Box::new(item.waiting.entry.clone()), item.waiting.task);
        }
        next_due.map_or(NextTask::Nothing, NextTask::At)
    }

    /// Notifies the waiting worker that some work ended.
    pub(in crate::export) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until an export is added or may be due.
    pub(in crate::export) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns a failed export to the backlog with a growing pause. Adds it with this task if it is not in the backlog.
    pub(in crate::export) fn postpone(&self, entry: &JournalEntry, task: Task, failure: Failure) {
        {
            let mut inner = self.lock();
            if inner.get_mut(entry).is_none() {
                inner.insert(entry.clone(), task);
            }
            let Some(item) = inner.get_mut(entry) else { return };
            let pause = item.pauses.next().unwrap_or(MAX_PAUSE);
            item.not_before = Instant::now() + pause;
            item.is_in_progress = false;
            item.waiting.last_failure = Some(failure);
            item.lost_since = None;
        }
        self.changed.notify_one();
    }

    /// Records that the store that an export was accepted for does not have a document of it. Returns the export to
    /// the backlog, due after `wait`, unless the first loss was recorded at least `wait` ago.
    pub(in crate::export) fn record_loss(
        &self,
        entry: &JournalEntry,
        wait: Duration,
        failure: Failure,
    ) -> Loss {
        {
            let mut inner = self.lock();
            if inner.get_mut(entry).is_none() {
                inner.insert(entry.clone(), Task::Export);
            }
            let Some(item) = inner.get_mut(entry) else { return Loss::Unconfirmed };
            let first = *item.lost_since.get_or_insert_with(Instant::now);
            item.waiting.last_failure = Some(failure);
            if first.elapsed() >= wait {
                return Loss::Confirmed;
            }
            item.not_before = first + wait;
            item.is_in_progress = false;
        }
        self.changed.notify_one();
        Loss::Unconfirmed
    }

    /// Returns an entry that needs this much memory to the backlog, due now.
    pub(in crate::export) fn reserve_more(&self, entry: &JournalEntry, memory_bytes: u64) {
        if let Some(item) = self.lock().get_mut(entry) {
            item.waiting.entry.memory_bytes = memory_bytes;
            item.not_before = Instant::now();
            item.is_in_progress = false;
        }
        self.changed.notify_one();
    }

    /// Makes all entries that failed because of the outage due now.
    pub(in crate::export) fn end_outage(&self) {
        for item in self.lock().items.values_mut() {
            let reason = item.waiting.last_failure.as_ref().map(|failure| failure.reason);
            if reason == Some(FailureReason::StoreUnavailable) {
                item.not_before = Instant::now();
                item.pauses = pauses();
            }
        }
        self.changed.notify_one();
    }

    /// Removes the finished entry of this content.
    pub(in crate::export) fn remove(&self, export_id: ExportId, content_digest: Sha256) {
        self.lock().remove(export_id, content_digest);
        // Another entry of this id may be due now.
        self.changed.notify_one();
    }

    #[cfg(test)]
    pub(in crate::export) fn get(&self, entry: &JournalEntry) -> Option<WaitingExport> {
        self.lock().get_mut(entry).map(|item| item.waiting.clone())
    }

    /// Whether the backlog has the entry of this content, waiting or in progress.
    pub(in crate::export) fn has_entry(&self, export_id: ExportId, content_digest: Sha256) -> bool {
        let inner = self.lock();
        let mut keys = inner.keys.get(&export_id).into_iter().flatten();
        keys.any(|(_, _, digest)| *digest == content_digest)
    }

    /// Whether the backlog has an entry with this id.
    pub(in crate::export) fn has(&self, export_id: ExportId) -> bool {
        self.lock().keys.contains_key(&export_id)
    }

    /// The entry with this id that already has a bundle.
    pub(in crate::export) fn find_with_bundle(&self, export_id: ExportId) -> Option<WaitingExport> {
        let inner = self.lock();
        let keys = inner.keys.get(&export_id)?.iter();
        let mut waiting = keys.filter_map(|key| inner.items.get(key)).map(|item| &item.waiting);
        waiting.find(|waiting| waiting.task.has_bundle()).cloned()
    }

    /// The oldest acceptance time.
    pub(in crate::export) fn oldest(&self) -> Option<AcceptedTime> {
        self.lock().items.first_key_value().map(|((time, ..), _)| *time)
    }

    /// Exports whose last attempt failed, oldest first, up to `limit`.
    pub(in crate::export) fn failed(&self, limit: usize) -> Vec<WaitingExport> {
        let inner = self.lock();
        let waiting = inner.items.values().map(|item| &item.waiting);
        waiting.filter(|waiting| waiting.last_failure.is_some()).take(limit).cloned().collect()
    }

    /// Number of exports that match the predicate.
    pub(in crate::export) fn count(&self, predicate: impl Fn(&WaitingExport) -> bool) -> u64 {
        self.lock().items.values().filter(|item| predicate(&item.waiting)).count() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics in the middle of a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(&mut self, entry: JournalEntry, task: Task) -> &mut Item {
        let header = &entry.header;
        let key = (header.accepted_time, header.export_id, header.content_digest);
        // Replace the entry of the same content, even if its acceptance time differs.
        self.remove(header.export_id, header.content_digest);
        let keys = self.keys.entry(header.export_id).or_default();
        keys.push(key);
        keys.sort_unstable();
        let waiting = WaitingExport { entry, task, last_failure: None };
        let item = Item {
            waiting,
            not_before: Instant::now(),
            pauses: pauses(),
            is_in_progress: false,
            lost_since: None,
        };
        self.items.entry(key).insert_entry(item).into_mut()
    }

    fn remove(&mut self, export_id: ExportId, content_digest: Sha256) {
        let Some(keys) = self.keys.get_mut(&export_id) else { return };
        for key in keys.extract_if(.., |(_, _, digest)| *digest == content_digest) {
            self.items.remove(&key);
        }
        if keys.is_empty() {
            self.keys.remove(&export_id);
        }
    }

    fn get_mut(&mut self, entry: &JournalEntry) -> Option<&mut Item> {
        let digest = entry.header.content_digest;
        let keys = self.keys.get(&entry.header.export_id)?;
        let key = keys.iter().find(|(_, _, other)| *other == digest)?;
        self.items.get_mut(key)
    }

    fn has_sibling_in_progress(&self, key: &Key) -> bool {
        let siblings = self.keys.get(&key.1).into_iter().flatten().filter(|other| *other != key);
        siblings.filter_map(|other| self.items.get(other)).any(|item| item.is_in_progress)
    }
}

/// The longest pause between two attempts of one export. Jitter at most doubles it.
const MAX_PAUSE: Duration = Duration::from_secs(300);

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(MAX_PAUSE)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

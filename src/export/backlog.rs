//! The journaled exports that nobody works on at the moment: those without a bundle, and those whose
//! bundle lies in the local store while S3 was asked for or is not tidied up after. Of each, memory holds
//! the header only.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::{sync::Notify, time::Instant};

use super::{FailureReason, breaker::Outage, journal::JournalEntry};
use crate::bundle::{AcceptedTime, ContentDigest, ExportId};

/// What is left to do for an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Make its bundle.
    Carry,
    /// Send its bundle, which is whole in the local store, to S3.
    Drain,
    /// Its bundle is committed where it was asked for: remove what else this machine has of it.
    Tidy,
}

impl Task {
    /// Whether its export has a bundle, and its run has ended.
    pub(super) fn has_bundle(self) -> bool {
        self != Self::Carry
    }
}

/// An export as the backlog knows it.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub entry: JournalEntry,
    pub task: Task,
    /// Why the last attempt came to nothing.
    pub setback: Option<Outage>,
}

/// What waits, oldest acceptance first.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    inner: Mutex<Inner>,
    /// There is something new to do.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    items: BTreeMap<(AcceptedTime, ExportId), Item>,
    times: HashMap<ExportId, AcceptedTime>,
}

#[derive(Debug)]
struct Item {
    waiting: Waiting,
    not_before: Instant,
    pauses: ExponentialBackoff,
    is_in_work: bool,
}

/// What [`Backlog::take`] found.
#[derive(Debug)]
pub(super) enum Taken {
    /// Something to do now. It stays in the backlog, and nobody else gets it, until
    /// [`Backlog::postpone`] or [`Backlog::remove`].
    Now(JournalEntry, Task),
    /// Nothing before this time.
    At(Instant),
    /// Nothing at all.
    Nothing,
}

impl Backlog {
    /// Something to do, after this pause. An export that is there already gets the new task.
    pub(super) fn push(&self, entry: JournalEntry, task: Task, pause: Duration) {
        self.lock().insert(entry, task).not_before = Instant::now() + pause;
        self.changed.notify_one();
    }

    /// The oldest that is due. While S3 is closed, nothing that is only for S3.
    ///
    /// Entries against which deaths of a process may count are taken one at a time, with nothing else in
    /// work, and only while no other entry is due: the one with the fewest deaths first.
    pub(super) fn take(
        &self,
        s3_closed_until: Option<Instant>,
        deaths: impl Fn(&JournalEntry) -> Option<u32>,
    ) -> Taken {
        let now = Instant::now();
        let mut inner = self.lock();
        let mut earliest: Option<Instant> = None;
        let mut suspect: Option<(u32, (AcceptedTime, ExportId))> = None;
        let mut is_busy = false;
        for (key, item) in &mut inner.items {
            let suspicion = deaths(&item.waiting.entry);
            if item.is_in_work {
                if suspicion.is_some() {
                    // Its end wakes whoever waits.
                    return Taken::Nothing;
                }
                is_busy = true;
                continue;
            }
            let due = match (item.waiting.task, s3_closed_until) {
                (Task::Drain, Some(until)) => item.not_before.max(until),
                _ => item.not_before,
            };
            match suspicion {
                Some(deaths) if due <= now => {
                    if suspect.is_none_or(|(fewest, _)| deaths < fewest) {
                        suspect = Some((deaths, *key));
                    }
                }
                None if due <= now => {
                    item.is_in_work = true;
                    return Taken::Now(item.waiting.entry.clone(), item.waiting.task);
                }
                _ => earliest = Some(earliest.map_or(due, |earliest| earliest.min(due))),
            }
        }
        if let Some((_, key)) = suspect.filter(|_| !is_busy)
            && let Some(item) = inner.items.get_mut(&key)
        {
            item.is_in_work = true;
            return Taken::Now(item.waiting.entry.clone(), item.waiting.task);
        }
        earliest.map_or(Taken::Nothing, Taken::At)
    }

    /// Some work ended: what waited for that may be taken.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until something new came.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Gives back what could not be done now: the others go first. Each time the pause is longer.
    /// An export that is new here comes with this task.
    pub(super) fn postpone(&self, entry: &JournalEntry, task: Task, setback: Outage) {
        {
            let mut inner = self.lock();
            if inner.get_mut(entry.header.export_id).is_none() {
                inner.insert(entry.clone(), task);
            }
            let Some(item) = inner.get_mut(entry.header.export_id) else { return };
            let pause = item.pauses.next().unwrap_or(LONGEST_PAUSE);
            item.not_before = Instant::now() + pause;
            item.is_in_work = false;
            item.waiting.setback = Some(setback);
        }
        self.changed.notify_one();
    }

    /// Gives back an entry that takes this much memory, to be taken again at once.
    pub(super) fn reserve_more(&self, export_id: ExportId, memory_bytes: u64) {
        if let Some(item) = self.lock().get_mut(export_id) {
            item.waiting.entry.memory_bytes = memory_bytes;
            item.not_before = Instant::now();
            item.is_in_work = false;
        }
        self.changed.notify_one();
    }

    /// S3 is back: what waited for it waits no longer.
    pub(super) fn end_outage(&self) {
        for item in self.lock().items.values_mut() {
            let reason = item.waiting.setback.as_ref().map(|setback| setback.reason);
            if reason == Some(FailureReason::StoreUnavailable) {
                item.not_before = Instant::now();
                item.pauses = pauses();
            }
        }
        self.changed.notify_one();
    }

    /// Everything is done.
    pub(super) fn remove(&self, export_id: ExportId) {
        let mut inner = self.lock();
        if let Some(time) = inner.times.remove(&export_id) {
            inner.items.remove(&(time, export_id));
        }
    }

    pub(super) fn get(&self, export_id: ExportId) -> Option<Waiting> {
        self.lock().get_mut(export_id).map(|item| item.waiting.clone())
    }

    /// What waits of an export that has a bundle, and the digest under which it was accepted.
    pub(super) fn with_bundle(&self, export_id: ExportId) -> Option<(Task, ContentDigest)> {
        let waiting = self.get(export_id).filter(|waiting| waiting.task.has_bundle())?;
        Some((waiting.task, waiting.entry.header.digest()))
    }

    /// The oldest acceptance of what waits.
    pub(super) fn oldest(&self) -> Option<AcceptedTime> {
        self.lock().items.first_key_value().map(|((time, _), _)| *time)
    }

    /// Those that were tried and could not be finished, oldest first, at most so many.
    pub(super) fn set_back(&self, limit: usize) -> Vec<Waiting> {
        let inner = self.lock();
        let waiting = inner.items.values().map(|item| &item.waiting);
        waiting.filter(|waiting| waiting.setback.is_some()).take(limit).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics in the middle of a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(&mut self, entry: JournalEntry, task: Task) -> &mut Item {
        let key = (entry.header.accepted_time, entry.header.export_id);
        self.times.insert(key.1, key.0);
        let waiting = Waiting { entry, task, setback: None };
        let item =
            Item { waiting, not_before: Instant::now(), pauses: pauses(), is_in_work: false };
        self.items.entry(key).insert_entry(item).into_mut()
    }

    fn get_mut(&mut self, export_id: ExportId) -> Option<&mut Item> {
        let time = *self.times.get(&export_id)?;
        self.items.get_mut(&(time, export_id))
    }
}

/// The longest pause between two attempts at one export; jitter makes it at most twice as long.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(LONGEST_PAUSE)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

//! The runs of this process: the living, and the last of those that ended.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::events::Run;
use crate::bundle::{AcceptedTime, ExportId};

/// Runs by export, at most one each.
#[derive(Debug)]
pub(super) struct Registry {
    inner: Mutex<Inner>,
    /// Ended runs to keep, so that their events can be replayed.
    keep_ended: usize,
}

#[derive(Debug, Default)]
struct Inner {
    runs: HashMap<ExportId, Arc<Run>>,
    /// Ended runs, the oldest first.
    ended: VecDeque<ExportId>,
}

impl Registry {
    pub(super) fn new(keep_ended: usize) -> Self {
        Self { inner: Mutex::default(), keep_ended }
    }

    /// The run of this export, or a new one: then `true`.
    pub(super) fn get_or_insert(
        &self,
        export_id: ExportId,
        new: impl FnOnce() -> Run,
    ) -> (Arc<Run>, bool) {
        match self.lock().runs.entry(export_id) {
            Entry::Occupied(entry) => (entry.get().clone(), false),
            Entry::Vacant(entry) => (entry.insert(Arc::new(new())).clone(), true),
        }
    }

    pub(super) fn get(&self, export_id: ExportId) -> Option<Arc<Run>> {
        self.lock().runs.get(&export_id).cloned()
    }

    /// All runs.
    pub(super) fn all(&self) -> Vec<Arc<Run>> {
        self.lock().runs.values().cloned().collect()
    }

    /// The oldest acceptance of what is being worked on.
    pub(super) fn oldest_unfinished(&self) -> Option<AcceptedTime> {
        self.lock().runs.values().filter_map(|run| run.unfinished_since()).min()
    }

    /// Keeps an ended run for a while.
    pub(super) fn keep(&self, export_id: ExportId) {
        let mut inner = self.lock();
        inner.ended.push_back(export_id);
        while inner.ended.len() > self.keep_ended {
            if let Some(oldest) = inner.ended.pop_front() {
                inner.runs.remove(&oldest);
            }
        }
    }

    /// Forgets a run that was refused: its id is free. Another's run of that id stays.
    pub(super) fn forget_run(&self, run: &Arc<Run>) {
        if let Entry::Occupied(entry) = self.lock().runs.entry(run.export_id())
            && Arc::ptr_eq(entry.get(), run)
        {
            entry.remove();
        }
    }

    /// Forgets the run of an export that no longer says how it is: the stores tell.
    pub(super) fn forget(&self, export_id: ExportId) {
        let mut inner = self.lock();
        inner.runs.remove(&export_id);
        inner.ended.retain(|ended| *ended != export_id);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change leaves the maps whole, also when a panic interrupts it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

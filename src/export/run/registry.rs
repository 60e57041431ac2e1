//! The runs of this process: active and recently finished.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tara_export_bundle::{AcceptedTime, ContentDigest, ExportId, Replacement};
use tara_export_digest::Sha256;

use crate::export::run::Run;

/// Limit of the replacements of all finished runs in memory.
const KEPT_REPLACEMENT_BYTES: usize = 4 * 1024 * 1024;

/// Runs by export id, at most one per export.
#[derive(Debug)]
pub(in crate::export) struct Registry {
    inner: Mutex<Inner>,
    /// Maximum number of finished runs to keep for replay.
    keep_ended: usize,
}

#[derive(Debug, Default)]
struct Inner {
    runs: HashMap<ExportId, Arc<Run>>,
    /// Finished runs, oldest first.
    ended: VecDeque<EndedRun>,
    /// Bytes of the replacements of all finished runs.
    replacement_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct EndedRun {
    export_id: ExportId,
    /// Bytes of the run's replacements. One run can have 128 KiB of them.
    replacement_bytes: usize,
}

impl Registry {
    pub(in crate::export) fn new(keep_ended: usize) -> Self {
        Self { inner: Mutex::default(), keep_ended }
    }

    /// The run of this export, and whether it was created by this call.
    pub(in crate::export) fn get_or_insert(
        &self,
        export_id: ExportId,
        new: impl FnOnce() -> Run,
    ) -> (Arc<Run>, bool) {
        match self.lock().runs.entry(export_id) {
            Entry::Occupied(entry) => (entry.get().clone(), false),
            Entry::Vacant(entry) => (entry.insert(Arc::new(new())).clone(), true),
        }
    }

    pub(in crate::export) fn get(&self, export_id: ExportId) -> Option<Arc<Run>> {
        self.lock().runs.get(&export_id).cloned()
    }

    pub(in crate::export) fn all(&self) -> Vec<Arc<Run>> {
        self.lock().runs.values().cloned().collect()
    }

    /// The earliest acceptance time of a running or pending export.
    pub(in crate::export) fn oldest_unfinished(&self) -> Option<AcceptedTime> {
        self.lock().runs.values().filter_map(|run| run.unfinished_since()).min()
    }

    /// Keeps a finished run for replay, if it is still registered under its id.
    pub(in crate::export) fn keep(&self, run: &Arc<Run>) {
        let mut inner = self.lock();
        if !inner.has(run) {
            return;
        }
        let replacements = run.export().replacements;
        let replacement_bytes = replacements.iter().map(Replacement::text_bytes).sum();
        inner.replacement_bytes += replacement_bytes;
        inner.ended.push_back(EndedRun { export_id: run.export_id(), replacement_bytes });
        while inner.ended.len() > self.keep_ended
            || inner.replacement_bytes > KEPT_REPLACEMENT_BYTES
        {
            let Some(oldest) = inner.ended.pop_front() else { break };
            inner.replacement_bytes -= oldest.replacement_bytes;
            inner.runs.remove(&oldest.export_id);
        }
    }

    /// Removes a refused run, so that its id is free. Another run of that id stays.
    pub(in crate::export) fn forget_run(&self, run: &Arc<Run>) {
        let mut inner = self.lock();
        if inner.has(run) {
            inner.remove(run.export_id());
        }
    }

    /// The content digest of the export's run, if the run has not ended or is still in use.
    pub(in crate::export) fn active(&self, export_id: ExportId) -> Option<Sha256> {
        let inner = self.lock();
        // Tasks that work on a run hold a reference to it.
        let active = |run: &&Arc<Run>| Arc::strong_count(run) > 1 || !run.has_ended();
        inner.runs.get(&export_id).filter(active).map(|run| run.content_digest().sha256)
    }

    /// Removes a run that has ended.
    pub(in crate::export) fn forget_ended(&self, export_id: ExportId) {
        let mut inner = self.lock();
        if inner.runs.get(&export_id).is_some_and(|run| run.has_ended()) {
            inner.remove(export_id);
        }
    }

    /// Removes the run with this content unless a subscriber or a task uses it. Returns whether no such run is left. A
    /// run of the same id with other content stays.
    pub(in crate::export) fn forget_unused(
        &self,
        export_id: ExportId,
        content_digest: ContentDigest,
    ) -> bool {
        let mut inner = self.lock();
        match inner.runs.get(&export_id) {
            Some(run) if run.content_digest() != content_digest => true,
            // New references are created only under this lock.
            Some(run) if Arc::strong_count(run) > 1 => false,
            _ => {
                inner.runs.remove(&export_id);
                true
            }
        }
    }

    /// Removes the run of an export whose state must be read from the stores from now on. A run of the same id with
    /// other content stays.
    pub(in crate::export) fn forget(&self, export_id: ExportId, content_digest: ContentDigest) {
        let mut inner = self.lock();
        if inner.runs.get(&export_id).is_some_and(|run| run.content_digest() == content_digest) {
            inner.remove(export_id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change leaves the maps consistent, even if a panic interrupts it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn has(&self, run: &Arc<Run>) -> bool {
        self.runs.get(&run.export_id()).is_some_and(|own| Arc::ptr_eq(own, run))
    }

    fn remove(&mut self, export_id: ExportId) {
        self.runs.remove(&export_id);
        self.ended.retain(|ended| {
            let stays = ended.export_id != export_id;
            if !stays {
                self.replacement_bytes -= ended.replacement_bytes;
            }
            stays
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "registry_tests.rs"]
mod tests;

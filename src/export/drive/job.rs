//! Work on an export with a run.

use std::sync::{Arc, atomic::AtomicBool};

use tara_export_catalog::{Export, ExportState};

use crate::export::{
    accept::admission::Permit,
    drive::work::Work,
    journal::JournalEntry,
    run::{Run, events::Durability},
    shared::Shared,
};

/// Work on an export whose run has subscribers and counts in metrics.
pub(in crate::export) struct Job {
    pub work: Work,
    pub run: Arc<Run>,
    /// Set after this process recorded the export in the journal.
    pub is_journaled: Arc<AtomicBool>,
}

impl Job {
    pub(in crate::export) fn new(shared: Arc<Shared>, run: Arc<Run>, permit: Permit) -> Self {
        let (export_id, content_digest) = (run.export_id(), run.content_digest());
        let work = Work::new(shared, export_id, content_digest, run.clone(), permit);
        Self { work, run, is_journaled: Arc::default() }
    }

    pub(in crate::export) fn shared(&self) -> &Arc<Shared> {
        &self.work.shared
    }
}

/// The run of an entry in the registry. `None` also if the run of its id has other content.
pub(in crate::export) fn find_run(shared: &Shared, entry: &JournalEntry) -> Option<Arc<Run>> {
    let run = shared.registry.get(entry.header.export_id)?;
    (run.content_digest() == entry.header.digest()).then_some(run)
}

/// Creates the run of an export that a previous process accepted, counted as pending. The run is not registered while
/// the registry has an unfinished run of other content under the same id.
pub(in crate::export) fn pending_run(shared: &Shared, entry: &JournalEntry) -> Arc<Run> {
    let header = &entry.header;
    let new = || {
        let mut export = Export::running(header);
        export.state = ExportState::Pending;
        Run::new(export, header.digest(), shared.clock.clone(), shared.tally.clone())
    };
    let run = loop {
        let (run, _) = shared.registry.get_or_insert(header.export_id, new);
        if run.content_digest() == header.digest() {
            break run;
        }
        if !run.has_ended() {
            break Arc::new(new());
        }
        shared.registry.forget_run(&run);
    };
    run.resume(header.accepted_time, Durability::LocalDisk);
    run
}

//! What work on an export needs.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    Durability, Permit,
    events::Run,
    journal::{Attempt, JournalEntry},
    shared::{Counted, Shared},
};
use crate::{
    bundle::{AcceptedHeader, ExportId},
    catalog::{Export, ExportState},
    digest::Sha256,
};

/// One export and everything its run needs.
pub(super) struct Job {
    pub shared: Arc<Shared>,
    pub run: Arc<Run>,
    /// The right to hold the request in memory, as long as this is.
    pub permit: Permit,
    /// The note of its entry, if that was loaded from the journal.
    pub attempt: Option<Attempt>,
    pub counted: Counted,
}

impl Job {
    pub(super) fn new(shared: Arc<Shared>, run: Arc<Run>, permit: Permit) -> Self {
        let counted = shared.in_progress.count();
        Self { shared, run, permit, attempt: None, counted }
    }
}

/// The run of an export that an earlier process accepted.
pub(super) fn pending_run(shared: &Shared, entry: &JournalEntry) -> Arc<Run> {
    let header = &entry.header;
    let (run, _) = shared.registry.get_or_insert(header.export_id, || {
        let mut export = running_export(header);
        export.state = ExportState::Pending;
        Run::new(export, header.digest(), shared.clock.clone(), shared.tally.clone())
    });
    run.resume(header.accepted_time, Durability::LocalDisk);
    run
}

/// An export that is being worked on.
pub(super) fn running_export(header: &AcceptedHeader) -> Export {
    Export {
        export_id: header.export_id,
        state: ExportState::Running,
        state_reason: String::new(),
        document_name: header.document_name.clone(),
        session_id: header.session_id.clone(),
        reviewer: header.reviewer.clone(),
        requested_by: header.requested_by.clone(),
        requested_destination: header.destination,
        stored_in: None,
        folder_name: None,
        location: String::new(),
        artifacts: Vec::new(),
        manifest_sha256: None,
        accepted_time: header.accepted_time,
        committed_time: None,
        adopted: false,
    }
}

/// The id under which content is kept whose own id is another's.
pub(super) fn derived_id(export_id: ExportId, digest: Sha256) -> ExportId {
    ExportId::new(Uuid::new_v5(&export_id.as_uuid(), digest.as_bytes()))
}

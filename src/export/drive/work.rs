//! The context of all work on an export, with or without a run.

use std::sync::Arc;

use tara_export_bundle::{ContentDigest, ExportId};
use tara_export_digest::Sha256;
use uuid::Uuid;

use crate::export::{
    accept::admission::Permit,
    drive::observer::Observer,
    journal::Attempt,
    shared::{InProgressGuard, Shared},
};

/// Work on one export.
pub(in crate::export) struct Work {
    pub shared: Arc<Shared>,
    /// The id under which this machine accepted the export. The journal stores its documents under it.
    pub export_id: ExportId,
    pub content_digest: ContentDigest,
    pub observer: Arc<dyn Observer>,
    /// Reserves memory for the request until the work is dropped.
    pub permit: Permit,
    /// The attempt marker of the journal entry, if the export was loaded from the journal.
    pub attempt_marker: Option<Attempt>,
    pub counted: InProgressGuard,
    pub origin: WorkOrigin,
}

/// Location of an export's journal entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum WorkOrigin {
    /// In this machine's journal. The entry names the store that it was accepted for.
    Machine,
    /// In the store's journal, and so in the store that it was accepted for.
    StoreJournal,
}

impl Work {
    /// Work on an export in this machine's journal.
    pub(in crate::export) fn new(
        shared: Arc<Shared>,
        export_id: ExportId,
        content_digest: ContentDigest,
        observer: Arc<dyn Observer>,
        permit: Permit,
    ) -> Self {
        let counted = shared.in_progress.count();
        Self {
            shared,
            export_id,
            content_digest,
            observer,
            permit,
            attempt_marker: None,
            counted,
            origin: WorkOrigin::Machine,
        }
    }
}

/// The derived id of content whose request id belongs to other content.
pub(in crate::export) fn derived_id(export_id: ExportId, digest: Sha256) -> ExportId {
    ExportId::new(Uuid::new_v5(&export_id.as_uuid(), digest.as_bytes()))
}

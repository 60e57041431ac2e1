//! An export as the API and the commands show it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tara_export_bundle::{
    AcceptedHeader, AcceptedTime, Destination, ExportId, FolderName, Replacement,
};
use tara_export_digest::Sha256;
use tara_export_store::StoreKind;

/// The state of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExportState {
    /// This process works on it.
    Running,
    /// Accepted but not committed; retried automatically.
    Pending,
    /// Complete in the local store, although S3 was requested.
    FellBack,
    /// Complete at the requested destination.
    Committed,
    /// Ended without a bundle.
    Failed,
    /// Its manifest is damaged or cannot be read: an operator must act.
    Quarantined,
}

impl ExportState {
    /// The state of a committed bundle: it fell back if it was requested in S3 and is in the local store.
    pub fn of_bundle(requested: Destination, stored_in: StoreKind) -> Self {
        match (requested, stored_in) {
            (Destination::S3, StoreKind::Local) => Self::FellBack,
            _ => Self::Committed,
        }
    }
}

/// The destination of a store kind.
pub fn destination_of(kind: StoreKind) -> Destination {
    match kind {
        StoreKind::S3 => Destination::S3,
        StoreKind::Local => Destination::Local,
    }
}

/// One export: running, waiting, ended, or a committed bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// Its id.
    pub export_id: ExportId,
    /// Whether the objects that have its id cannot be read. `export_id` is then derived from the folder, and only
    /// orders the export in lists.
    pub is_id_unknown: bool,
    /// Its state.
    pub state: ExportState,
    /// The reason for the state in UPPER_SNAKE_CASE; empty if the state needs no reason.
    pub state_reason: String,
    /// The document's name as the caller sent it.
    pub document_name: String,
    /// The review application's session id.
    pub session_id: String,
    /// The document's reviewer.
    pub reviewer: String,
    /// The authenticated caller; empty if the server does not authenticate callers.
    pub requested_by: String,
    /// The requested destination.
    pub requested_destination: Destination,
    /// The store that has its manifest.
    pub stored_in: Option<StoreKind>,
    /// Its folder, once claimed.
    pub folder_name: Option<FolderName>,
    /// The human-readable location of the folder.
    pub location: String,
    /// Its known files, in path order.
    pub artifacts: Vec<ExportArtifact>,
    /// The manifest's digest, once committed.
    pub manifest_sha256: Option<Sha256>,
    /// When it was accepted.
    pub accepted_time: AcceptedTime,
    /// When its manifest was stored, by the store's clock.
    pub committed_time: Option<DateTime<Utc>>,
    /// Whether the review application wrote its files before this service existed.
    pub adopted: bool,
    /// The values of the review that the client replaced, once committed; empty in lists.
    pub replacements: Arc<[Replacement]>,
}

impl Export {
    /// An accepted export in state [`ExportState::Running`], without a bundle.
    pub fn running(header: &AcceptedHeader) -> Self {
        Self {
            export_id: header.export_id,
            is_id_unknown: false,
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
            replacements: Arc::default(),
        }
    }

    /// Bytes of all artifacts.
    pub fn size_bytes(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.size_bytes).sum()
    }
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportArtifact {
    /// Its path within the folder.
    pub path: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
    /// Its media type.
    pub media_type: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_bundle_requested_in_s3_and_stored_locally_fell_back() {
        for (requested, stored_in, state) in [
            (Destination::S3, StoreKind::Local, ExportState::FellBack),
            (Destination::S3, StoreKind::S3, ExportState::Committed),
            (Destination::Local, StoreKind::Local, ExportState::Committed),
            (Destination::Local, StoreKind::S3, ExportState::Committed),
        ] {
            assert_eq!(ExportState::of_bundle(requested, stored_in), state);
        }
    }
}

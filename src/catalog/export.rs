//! An export as people and programs see it.

use chrono::{DateTime, Utc};

use crate::{
    bundle::{AcceptedTime, Destination, ExportId, FolderName},
    digest::Sha256,
    store::StoreKind,
};

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExportState {
    /// This process works on it.
    Running,
    /// Accepted, committed nowhere yet, tried again by itself.
    Pending,
    /// Whole in the local store, while S3 was asked for.
    FellBack,
    /// Whole, where it was asked for.
    Committed,
    /// Ended without a bundle.
    Failed,
    /// Its manifest can't be believed: an operator must look.
    Quarantined,
}

/// One export: a running one, or a committed bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// Its id.
    pub export_id: ExportId,
    /// How far it is.
    pub state: ExportState,
    /// Why, as an UPPER_SNAKE word; empty where the state says all.
    pub state_reason: String,
    /// The document's name as the caller sent it.
    pub document_name: String,
    /// The review application's session id.
    pub session_id: String,
    /// Who reviewed the document.
    pub reviewer: String,
    /// The authenticated caller, if the server asks for one.
    pub requested_by: String,
    /// Where it was asked for.
    pub requested_destination: Destination,
    /// Where its manifest is.
    pub stored_in: Option<StoreKind>,
    /// Its folder, once claimed.
    pub folder_name: Option<FolderName>,
    /// Where the folder lies, for people.
    pub location: String,
    /// Its files in path order, as far as known.
    pub artifacts: Vec<ExportArtifact>,
    /// The manifest's digest, once committed.
    pub manifest_sha256: Option<Sha256>,
    /// When it was accepted.
    pub accepted_time: AcceptedTime,
    /// When its manifest was stored, by the store's clock.
    pub committed_time: Option<DateTime<Utc>>,
    /// Whether the review application wrote its files before this service existed.
    pub adopted: bool,
}

impl Export {
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

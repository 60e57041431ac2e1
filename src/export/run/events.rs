//! The events of a run, as subscribers receive them.

use chrono::{DateTime, Utc};
use tara_export_bundle::{AcceptedTime, ExportId};
use tara_export_catalog::Export;
use tara_export_digest::Sha256;

use crate::export::failure::Failure;

/// One event of a run.
#[derive(Debug, Clone)]
pub struct Event {
    /// Consecutive from 1 within a run; artifact progress and heartbeats repeat the last number.
    pub sequence: u64,
    /// Time of the event.
    pub time: DateTime<Utc>,
    /// Progress of the export at that time.
    pub progress: Progress,
    /// Kind and details.
    pub kind: EventKind,
}

/// Kind and details of an event.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// The request was accepted; always the first event.
    Accepted {
        /// Acceptance time.
        accepted_time: AcceptedTime,
        /// Whether a previous run accepted it.
        resumed: bool,
        /// What the accepted request survives.
        durability: Durability,
    },
    /// The first byte of an artifact is about to be sent.
    ArtifactStarted(ArtifactUpdate),
    /// More bytes of the artifact were sent. Not logged for replay.
    ArtifactProgress(ArtifactUpdate),
    /// An attempt to send the artifact failed and is retried.
    ArtifactRetrying(ArtifactUpdate),
    /// The store confirmed the artifact.
    ArtifactStored(ArtifactUpdate),
    /// The whole bundle is written to the local store instead of S3.
    FellBack(Failure),
    /// No other event within the heartbeat interval. Not logged for replay.
    Heartbeat,
    /// The bundle is committed; terminal.
    Completed(Box<Export>),
    /// There will be no bundle under this id; terminal.
    Failed {
        /// The reason, with a human-readable description.
        failure: Failure,
        /// The derived id under which the content is stored.
        stored_under: Option<ExportId>,
    },
}

/// What an accepted request survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of this process: the request is in the journal on this machine's disk.
    LocalDisk,
    /// The loss of this machine: the request is in the store's journal.
    Store,
}

/// The state of one artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactUpdate {
    /// Path within the folder.
    pub path: String,
    /// Bytes sent in this attempt.
    pub bytes_done: u64,
    /// Size of the artifact.
    pub size_bytes: u64,
    /// Digest, once stored.
    pub sha256: Option<Sha256>,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Why the previous attempt failed.
    pub reason: String,
}

/// Progress of an export in the store that it is being written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Confirmed files, including the manifest.
    pub artifacts_done: u32,
    /// All files, including the manifest.
    pub artifacts_total: u32,
    /// Bytes of confirmed artifacts.
    pub bytes_done: u64,
    /// Bytes of all artifacts, without the manifest.
    pub bytes_total: u64,
}

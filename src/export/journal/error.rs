//! Errors of the journal.

use tara_export_auth::logged_name;
use tara_export_bundle::{ExportId, UndecodableExport};
use tara_export_digest::Sha256;
use tara_export_disk::{DiskError, DiskErrorKind};

use super::JournalEntry;

/// How to handle an error of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JournalErrorKind {
    /// The disk is full, or not usable as configured: an operator must act. The journal then recovers without a
    /// restart.
    Full,
    /// Possibly transient: retry after a pause.
    Unavailable,
    /// A conflicting file exists.
    Conflict,
    /// A stored file cannot be read: an operator must act.
    Unreadable,
}

/// A failed operation of the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The entry would exceed the size limit of the journal.
    #[error(
        "the journal has {held_bytes} bytes of accepted exports that wait for their store, and with \
         {requested_bytes} more it would exceed its limit of {max_bytes}: wait until some are stored, \
         or raise MAX_JOURNAL_BYTES"
    )]
    Full {
        /// Total size of all entries, including those being written.
        held_bytes: u64,
        /// Size of the new entry.
        requested_bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// The caller's failure records use up its share.
    #[error(
        "{count} exports of this caller ({}) failed without a bundle, and this server keeps at most {share} of \
         {limit} failure records per caller for FAILURE_RETENTION: use FALLBACK_LOCAL and send documents inline, wait \
         until the oldest expire, or raise MAX_FAILURE_RECORDS",
        logged_name(.caller)
    )]
    TooManyFailures {
        /// The caller; empty for unauthenticated callers.
        caller: String,
        /// Number of the caller's failure records.
        count: usize,
        /// The caller's share of the limit.
        share: usize,
        /// The limit for all callers.
        limit: usize,
    },
    /// The disk failed.
    #[error("the journal: {0}")]
    Disk(#[from] DiskError),
    /// The same content was accepted before under this id and is in the journal, with its original acceptance time.
    #[error(
        "the journal already has export {}, accepted at {}",
        .0.header.export_id, .0.header.accepted_time
    )]
    RecordedBefore(Box<JournalEntry>),
    /// The journal has this export in the encoding of a later release.
    #[error("export {export_id} is in the journal: {source}")]
    LaterRelease {
        /// The export.
        export_id: ExportId,
        /// The decoding error.
        source: UndecodableExport,
    },
    /// The export failed before, with other content.
    #[error("export {export_id} failed before with other content, whose digest is {first}")]
    FailedBefore {
        /// The export.
        export_id: ExportId,
        /// The digest of the failed content.
        first: Sha256,
    },
    /// A failure record cannot be read.
    #[error("cannot read failure record {path}: {reason}; remove the file to free the id")]
    UnreadableFailure {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A later release wrote the file of known stores.
    #[error("a later release wrote {path}: run that release again, or move the file away")]
    UnreadableStores {
        /// The file.
        path: String,
    },
    /// The id belongs to an accepted export whose entry this process cannot process.
    #[error(
        "exports/{export_id} was accepted before, and its entry stays unfinished in the journal: {reason}"
    )]
    Unprocessable {
        /// The export.
        export_id: ExportId,
        /// Why.
        reason: String,
        /// Whether this process may be able to read it later.
        is_transient: bool,
    },
    /// The thread ended before the work was complete.
    #[error("work on the journal was interrupted; the service may be shutting down")]
    Interrupted,
}

impl JournalError {
    /// How to handle the error.
    pub fn kind(&self) -> JournalErrorKind {
        match self {
            Self::Full { .. } | Self::TooManyFailures { .. } => JournalErrorKind::Full,
            Self::Disk(error) => match error.kind() {
                // Missing files are not errors here: this is a file in place of a folder.
                DiskErrorKind::NotFound
                | DiskErrorKind::Full
                | DiskErrorKind::Misconfigured
                | DiskErrorKind::Denied => JournalErrorKind::Full,
                DiskErrorKind::Unavailable => JournalErrorKind::Unavailable,
            },
            Self::RecordedBefore(_) | Self::FailedBefore { .. } => JournalErrorKind::Conflict,
            Self::LaterRelease { .. }
            | Self::UnreadableFailure { .. }
            | Self::UnreadableStores { .. }
            | Self::Unprocessable { is_transient: false, .. } => JournalErrorKind::Unreadable,
            Self::Unprocessable { is_transient: true, .. } | Self::Interrupted => {
                JournalErrorKind::Unavailable
            }
        }
    }
}

/// Why an entry could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The entry was removed: its export has ended.
    #[error("the entry is no longer in the journal")]
    Gone,
    /// The entry is damaged. It was moved to quarantine, unless the log reports an error.
    #[error("{reason}")]
    Damaged {
        /// Human-readable description.
        reason: String,
    },
    /// A later release wrote the entry; it stays in the journal.
    #[error(transparent)]
    LaterRelease(UndecodableExport),
    /// The entry needs more memory than the caller reserved; it stays in the journal.
    #[error("it takes more than {budget_bytes} bytes of memory")]
    OverBudget {
        /// The caller's reservation.
        budget_bytes: u64,
    },
    /// The disk failed; the entry is not necessarily damaged. Retry later.
    #[error("the journal: {0}")]
    Disk(#[from] DiskError),
    /// The thread ended before the work was complete.
    #[error("work on the journal was interrupted; the service may be shutting down")]
    Interrupted,
}

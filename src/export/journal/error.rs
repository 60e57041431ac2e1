//! Why the journal could not do what it was asked.

use super::JournalEntry;
use crate::{
    bundle::{ExportId, UndecodableExport},
    digest::Sha256,
    disk::{DiskError, DiskErrorKind},
};

/// What to do about a failure of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JournalErrorKind {
    /// There is no room, or the disk can't be used as it is: an operator must act. It goes on by
    /// itself as soon as that is done.
    Full,
    /// It may pass by itself: try again, with a pause.
    Unavailable,
    /// Something else lies where this was to go.
    Conflict,
    /// What lies there can't be read: an operator must look.
    Unreadable,
}

/// A failed operation of the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The entries would be larger together than they may.
    #[error(
        "the journal has {held_bytes} bytes of accepted exports that wait for their store, and with \
         {wanted_bytes} more it would exceed its {max_bytes}: wait until some are stored, or raise \
         MAX_JOURNAL_BYTES"
    )]
    Full {
        /// Bytes of all entries, those being written too.
        held_bytes: u64,
        /// Bytes of the new one.
        wanted_bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// The disk failed.
    #[error("the journal: {0}")]
    Disk(#[from] DiskError),
    /// The same content was accepted before under this id, and is in the journal as it was then.
    #[error(
        "the journal has export {} as it was accepted at {}",
        .0.header.export_id, .0.header.accepted_time
    )]
    RecordedBefore(Box<JournalEntry>),
    /// A later release has this very export in the journal.
    #[error("export {export_id} is in the journal: {source}")]
    LaterRelease {
        /// The export.
        export_id: ExportId,
        /// What it wrote.
        source: UndecodableExport,
    },
    /// The export has failed before, with other content.
    #[error("export {export_id} failed before with other content, whose digest is {first}")]
    FailedBefore {
        /// The export.
        export_id: ExportId,
        /// The digest of what failed.
        first: Sha256,
    },
    /// What was written of a failed export can't be read.
    #[error("{path} can't be read: {reason}; move it away if the export is to be forgotten")]
    UnreadableFailure {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The work's thread ended with the process.
    #[error("work on the journal broke off; the service may be shutting down")]
    BrokeOff,
}

impl JournalError {
    /// What to do about it.
    pub fn kind(&self) -> JournalErrorKind {
        match self {
            Self::Full { .. } => JournalErrorKind::Full,
            Self::Disk(error) => match error.kind() {
                // What is missing is no failure here; this is something in a folder's place.
                DiskErrorKind::NotFound
                | DiskErrorKind::Full
                | DiskErrorKind::Misconfigured
                | DiskErrorKind::Denied => JournalErrorKind::Full,
                DiskErrorKind::Unavailable => JournalErrorKind::Unavailable,
            },
            Self::RecordedBefore(_) | Self::FailedBefore { .. } => JournalErrorKind::Conflict,
            Self::LaterRelease { .. } | Self::UnreadableFailure { .. } => {
                JournalErrorKind::Unreadable
            }
            Self::BrokeOff => JournalErrorKind::Unavailable,
        }
    }
}

/// Why an entry could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is no longer there: its export has ended.
    #[error("the journal no longer has it")]
    Gone,
    /// It is not what was written. It was moved to quarantine, unless the log says otherwise.
    #[error("{reason}")]
    Damaged {
        /// What is wrong, for a person.
        reason: String,
    },
    /// A later release wrote it: it stays where it is.
    #[error(transparent)]
    LaterRelease(UndecodableExport),
    /// It takes more memory than the caller reserved; it stays where it is.
    #[error("it takes more than {budget_bytes} bytes of memory")]
    OverBudget {
        /// The caller's reservation.
        budget_bytes: u64,
    },
    /// The disk failed, which says nothing about the entry: try again later.
    #[error("the journal: {0}")]
    Disk(#[from] DiskError),
    /// The work's thread ended with the process.
    #[error("work on the journal broke off; the service may be shutting down")]
    BrokeOff,
}

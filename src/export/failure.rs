//! Failures of exports: one type from a store's error to the caller's status.
//!
//! A [`StoreError`] describes a failed store operation; a [`Failure`] describes what it means for an export, as a
//! reason code and a human-readable message. Attempts, events, failure records and the circuit breaker use it
//! (docs/adr/0024-failure-types.md).

use std::fmt;

use tara_export_bundle::UndecodableExport;
use tara_export_digest::Sha256;
use tara_export_store::{FailureCause, StoreError, StoreErrorKind};

/// Why an export has no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Machine-readable reason.
    pub reason: FailureReason,
    /// Human-readable description.
    pub message: String,
}

/// A machine-readable reason, as in events and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The store is slow, overloaded or unreachable.
    StoreUnavailable,
    /// The store rejects the service's credentials or permissions.
    StoreDenied,
    /// The bucket or a setting is wrong.
    StoreMisconfigured,
    /// An object is archived and must be restored before it can be read.
    Archived,
    /// The store ignores conditions on writes, so that bundles could overwrite each other.
    StoreUnsafe,
    /// The local disk is full or not writable.
    LocalStoreFull,
    /// Stored data differs from what was written.
    DataLoss,
    /// The id belongs to an export of other content.
    RequestIdReused,
    /// The export was accepted for a store other than the configured one.
    StoreChanged,
    /// A document that the request named is gone, or its content has changed.
    SourceLost,
    /// An internal error.
    Internal,
}

/// Why an attempt did not write a bundle.
#[derive(Debug)]
pub(super) enum AttemptError {
    /// The id belongs to an export of other content. Contains the digest of this export's content, encoded in the
    /// format version of that export's record: every replica reads the same record and thus derives the same id.
    Reused(Sha256),
    /// The store failed permanently, or for longer than the retry budget.
    Failed(Failure),
}

impl FailureReason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::StoreUnavailable,
        Self::StoreDenied,
        Self::StoreMisconfigured,
        Self::Archived,
        Self::StoreUnsafe,
        Self::LocalStoreFull,
        Self::DataLoss,
        Self::RequestIdReused,
        Self::StoreChanged,
        Self::SourceLost,
        Self::Internal,
    ];

    /// The reason in UPPER_SNAKE_CASE.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::StoreDenied => "STORE_DENIED",
            Self::StoreMisconfigured => "STORE_MISCONFIGURED",
            Self::Archived => "ARCHIVED",
            Self::StoreUnsafe => "STORE_UNSAFE",
            Self::LocalStoreFull => "LOCAL_STORE_FULL",
            Self::DataLoss => "DATA_LOSS",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::StoreChanged => "STORE_CHANGED",
            Self::SourceLost => "SOURCE_LOST",
            Self::Internal => "INTERNAL",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Failure {
    /// An internal error of this program or its machine.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self { reason: FailureReason::Internal, message: message.into() }
    }

    /// The caller requested S3, and the server no longer has a bucket.
    pub(super) fn no_bucket() -> Self {
        let message = "this server has no S3 bucket now: start it with S3_BUCKET_NAME".to_owned();
        Self { reason: FailureReason::StoreMisconfigured, message }
    }

    /// Every folder name is taken. Retrying does not help.
    pub(super) fn no_folder_left(first: &str) -> Self {
        let message =
            format!("every folder name from {first} on is taken: give the document another name");
        Self { reason: FailureReason::StoreMisconfigured, message }
    }

    /// Whether the export waits for another store than the configured one.
    pub(super) fn is_of_another_store(&self) -> bool {
        self.reason == FailureReason::StoreChanged
    }

    /// Whether the store is slow, overloaded or unreachable, which is independent of the export.
    pub(super) fn is_outage(&self) -> bool {
        self.reason == FailureReason::StoreUnavailable
    }

    /// The export was accepted for a store other than the one last seen at the configured location, and the identity
    /// of the configured store cannot be read now.
    pub(super) fn of_unknown_store(failure: Self) -> Self {
        let message = format!(
            "the export was accepted for another store than the one last seen at the configured location, and the \
             identity of the configured store cannot be read: {}",
            failure.message
        );
        Self { reason: FailureReason::StoreChanged, message }
    }

    /// The id belongs to an export of other content, and this content is stored under another id.
    pub(super) fn stored_under_other_id(location: &str) -> Self {
        let message = format!(
            "the id belongs to an export of other content, sent while S3 did not respond; this content is stored in \
             {location}"
        );
        Self { reason: FailureReason::RequestIdReused, message }
    }

    /// The bundle cannot fall back, because the local store has other content under the id.
    pub(super) fn of_reused_fallback() -> Self {
        let message = "the local store has other content under this id, so the bundle waits for S3"
            .to_owned();
        Self { reason: FailureReason::RequestIdReused, message }
    }

    /// S3 failed recently, and the circuit breaker is open.
    pub(super) fn of_known_outage(outage: Self) -> Self {
        let message = format!("S3 failed recently and is skipped for now: {}", outage.message);
        Self { reason: outage.reason, message }
    }

    /// The work panicked.
    pub(super) fn of_panic() -> Self {
        Self::internal("internal error: see the server's log")
    }

    /// The work made no progress.
    pub(super) fn of_stall() -> Self {
        Self::internal("the export made no progress and is restarted: see the server's log")
    }
}

impl From<&StoreError> for FailureReason {
    fn from(error: &StoreError) -> Self {
        match error.kind() {
            // It must not look like an outage of S3, which would open the circuit breaker for other exports.
            StoreErrorKind::Unavailable if error.cause() == FailureCause::Disk => Self::Internal,
            StoreErrorKind::Unavailable => Self::StoreUnavailable,
            StoreErrorKind::Denied => Self::StoreDenied,
            StoreErrorKind::Misconfigured => Self::StoreMisconfigured,
            StoreErrorKind::Archived => Self::Archived,
            StoreErrorKind::Full => Self::LocalStoreFull,
            StoreErrorKind::Changed => Self::SourceLost,
            StoreErrorKind::NotFound | StoreErrorKind::Corrupt => Self::DataLoss,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { reason: FailureReason::from(&error), message: error.to_string() }
    }
}

impl From<UndecodableExport> for Failure {
    fn from(error: UndecodableExport) -> Self {
        Self::internal(format!("cannot read the journal entry: {error}"))
    }
}

impl From<Failure> for AttemptError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for AttemptError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

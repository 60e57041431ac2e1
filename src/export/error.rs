//! Why an export was not accepted, or ended without a bundle.

use std::fmt;

use super::{JournalError, JournalErrorKind, Overloaded};
use crate::{
    bundle::ExportId,
    digest::Sha256,
    store::{StoreError, StoreErrorKind},
    upload::UploadError,
};

/// Why a request was not accepted. Nothing of it was kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// The id names an export of other content.
    #[error(
        "request_id {first} was used before for other content: it stays the name of that export; \
         send this review under a new request_id"
    )]
    RequestIdReused {
        /// The first export.
        first: ExportId,
    },
    /// S3 was asked for, and the server has no bucket.
    #[error(
        "this server has no S3 bucket: ask for DESTINATION_LOCAL, or start it with S3_BUCKET_NAME"
    )]
    NoBucket,
    /// Too much at once.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The process has no journal, because another has the data directory.
    #[error("this server only reads: send the review to the one that has the data directory")]
    ReadOnly,
    /// The request can't be kept on this machine's disk, without which nothing is accepted.
    #[error("the request can't be kept on this server's disk, so it is not accepted: {message}")]
    Journal {
        /// What to do about it.
        kind: JournalErrorKind,
        /// What went wrong, for a person.
        message: String,
    },
    /// The request was accepted before, and its bundle can't be shown right now.
    #[error(
        "this export was accepted before, and its bundle is being moved to S3: send the request \
         again in a moment to hear where it is"
    )]
    Moving,
    /// The server is going down.
    #[error("this server is shutting down: send the same request to another, or again in a moment")]
    ShuttingDown,
    /// The store that has to take the bundle can't.
    #[error("{message}")]
    Store {
        /// What kind of failure.
        reason: FailureReason,
        /// For a person.
        message: String,
    },
    /// A document that the request names can't be used.
    #[error("documents[{number}]: {problem}")]
    Document {
        /// Its place among the request's documents.
        number: usize,
        /// Why.
        problem: DocumentProblem,
    },
    /// A fault of this program.
    #[error("the export failed for a reason that is this server's fault; its log says more")]
    Internal,
}

impl From<JournalError> for StartError {
    fn from(error: JournalError) -> Self {
        Self::Journal { kind: error.kind(), message: error.to_string() }
    }
}

/// Why a document that a request names can't be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DocumentProblem {
    /// The upload can't be used.
    #[error(transparent)]
    Upload(UploadError),
    /// The object's place is not among those that may be read from.
    #[error("{uri} is not in a place that this server may copy documents from (S3_SOURCES)")]
    NotAllowed {
        /// Where it lies.
        uri: String,
    },
    /// There is no such object.
    #[error("there is no object {uri}")]
    NotFound {
        /// Where it should lie.
        uri: String,
    },
    /// The document has another digest than the request says.
    #[error("its SHA-256 is {actual}, not the one that the request says")]
    OtherDigest {
        /// The one it has.
        actual: Sha256,
    },
    /// The object is larger than documents may be.
    #[error(
        "it has {size_bytes} bytes, and documents have at most {limit_bytes} (MAX_DOCUMENT_SIZE)"
    )]
    TooLarge {
        /// The field that has it.
        field: &'static str,
        /// Its size.
        size_bytes: u64,
        /// The largest.
        limit_bytes: u64,
    },
}

/// A reason in one word, as events and errors name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The store is slow, overloaded or unreachable.
    StoreUnavailable,
    /// The store refuses the service's credentials or rights.
    StoreDenied,
    /// The bucket or a setting is wrong.
    StoreMisconfigured,
    /// The store ignores conditions on writes, so that it can't keep bundles apart.
    StoreUnsafe,
    /// No room on the local disk, or it can't be written.
    LocalStoreFull,
    /// What is stored is not what was written.
    DataLoss,
    /// The id names an export of other content.
    RequestIdReused,
    /// A document that the request only named is gone, or has other content than it had.
    SourceLost,
    /// A fault of this program.
    Internal,
}

impl FailureReason {
    /// The UPPER_SNAKE word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::StoreDenied => "STORE_DENIED",
            Self::StoreMisconfigured => "STORE_MISCONFIGURED",
            Self::StoreUnsafe => "STORE_UNSAFE",
            Self::LocalStoreFull => "LOCAL_STORE_FULL",
            Self::DataLoss => "DATA_LOSS",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
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

impl From<&StoreError> for FailureReason {
    fn from(error: &StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Unavailable => Self::StoreUnavailable,
            StoreErrorKind::Denied => Self::StoreDenied,
            StoreErrorKind::Misconfigured => Self::StoreMisconfigured,
            StoreErrorKind::Full => Self::LocalStoreFull,
            StoreErrorKind::Changed => Self::SourceLost,
            StoreErrorKind::NotFound | StoreErrorKind::Corrupt => Self::DataLoss,
        }
    }
}

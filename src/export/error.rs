//! Errors of accepting a request.

use tara_export_bundle::ExportId;
use tara_export_digest::Sha256;

use crate::{
    export::{
        accept::admission::Overloaded,
        failure::{Failure, FailureReason},
        journal::{JournalError, JournalErrorKind},
    },
    upload::UploadError,
};

/// Why a request was not accepted. Nothing was stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// The id belongs to an export of other content.
    #[error(
        "request_id {first} is already used by an export of other content: send this review under a \
         new request_id"
    )]
    RequestIdReused {
        /// The export that owns the id.
        first: ExportId,
    },
    /// The caller requested S3, and the server has no bucket.
    #[error(
        "this server has no S3 bucket: request DESTINATION_LOCAL, or start it with S3_BUCKET_NAME"
    )]
    NoBucket,
    /// A limit of admission is reached.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The process has no journal, because another process uses the data directory.
    #[error("this server is read-only: send the review to the server that uses the data directory")]
    ReadOnly,
    /// The request cannot be written to the journal.
    #[error(
        "the request was not accepted, because it cannot be stored on this server's disk: {message}"
    )]
    Journal {
        /// How to handle it.
        kind: JournalErrorKind,
        /// Human-readable cause.
        message: String,
    },
    /// The request was accepted before, and its bundle is being synced, so that its location is not known.
    #[error(
        "this export was accepted before, and its bundle is being moved to S3: send the request \
         again in a moment to get its location"
    )]
    Syncing,
    /// The request names recipients, and their addresses could not be erased from the bucket.
    #[error(
        "must not be set: with JOURNAL=store, addresses are stored in the bucket, whose default Object Lock retention \
         keeps them"
    )]
    RecipientsKept,
    /// The server is shutting down.
    #[error("this server is shutting down: send the same request to another, or again in a moment")]
    ShuttingDown,
    /// The destination cannot store the bundle.
    #[error(transparent)]
    Store(Failure),
    /// A document that the request names cannot be used.
    #[error("documents[{number}]: {problem}")]
    Document {
        /// Its index in the request.
        number: usize,
        /// Why.
        problem: DocumentProblem,
    },
    /// An internal error.
    #[error("the export failed because of an internal error: see the server's log")]
    Internal,
}

impl Failure {
    /// The failure of an export whose journal operation failed.
    pub(super) fn of_journal(error: &StartError) -> Self {
        let reason = match error {
            StartError::Journal { kind: JournalErrorKind::Full, .. } => {
                FailureReason::LocalStoreFull
            }
            _ => FailureReason::Internal,
        };
        Self { reason, message: error.to_string() }
    }
}

impl From<JournalError> for StartError {
    fn from(error: JournalError) -> Self {
        Self::Journal { kind: error.kind(), message: error.to_string() }
    }
}

/// Why a document that a request names cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DocumentProblem {
    /// The upload cannot be used.
    #[error(transparent)]
    Upload(UploadError),
    /// The object's location is not among the allowed sources.
    #[error("this server may not copy documents from {uri}: S3_SOURCES does not allow it")]
    NotAllowed {
        /// The location.
        uri: String,
    },
    /// There is no such object.
    #[error("there is no object {uri}")]
    NotFound {
        /// The location.
        uri: String,
    },
    /// The document's digest differs from the one in the request.
    #[error("its SHA-256 is {actual}, which differs from the one in the request")]
    DigestMismatch {
        /// The document's digest.
        actual: Sha256,
    },
    /// The document exceeds the size limit.
    #[error("it has {size_bytes} bytes, more than the limit of {limit_bytes} (MAX_DOCUMENT_SIZE)")]
    TooLarge {
        /// The request field that holds the document.
        field: &'static str,
        /// Its size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
}

//! Errors of uploads.

use tara_export_digest::Sha256;
use tara_export_store::{StoreError, StoreErrorKind};
use uuid::Uuid;

/// Why an upload cannot be created, continued or used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UploadError {
    /// The document exceeds the size limit.
    #[error(
        "the document has {size_bytes} bytes, and the limit is {limit_bytes} bytes (MAX_DOCUMENT_SIZE)"
    )]
    TooLarge {
        /// The size of the document.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The uploads on this disk would exceed their total limit.
    #[error(
        "the uploads on this server's disk have a total limit of {limit_bytes} bytes (MAX_LOCAL_UPLOADS), and each \
         counts as at least 256 KiB"
    )]
    DiskFull {
        /// The limit.
        limit_bytes: u64,
    },
    /// The request id belongs to another upload.
    #[error("uploads/{upload_id} has another size or digest: use a new request_id")]
    IdReused {
        /// The upload.
        upload_id: Uuid,
    },
    /// The upload does not exist or has expired, or is unfinished and belongs to another caller.
    #[error(
        "uploads/{upload_id} was not found: it expired, was aborted, belongs to another caller, or is on another \
         replica's disk; create a new upload with CreateUpload"
    )]
    NotFound {
        /// The upload.
        upload_id: Uuid,
    },
    /// The upload is incomplete.
    #[error(
        "uploads/{upload_id} is not finished: {committed_size_bytes} of {size_bytes} bytes were received"
    )]
    NotFinished {
        /// The upload.
        upload_id: Uuid,
        /// The number of committed bytes.
        committed_size_bytes: u64,
        /// The size of the document.
        size_bytes: u64,
    },
    /// The bytes do not start at the committed size.
    #[error("the next bytes must start at {committed_size_bytes}, not at {offset}")]
    WrongOffset {
        /// The offset of the bytes.
        offset: u64,
        /// The expected offset.
        committed_size_bytes: u64,
    },
    /// A chunk has the wrong size.
    #[error(
        "a chunk at {offset} must have from {min_bytes} to {max_bytes} bytes, not {size_bytes}"
    )]
    WrongChunk {
        /// The offset of the chunk.
        offset: u64,
        /// The size of the chunk.
        size_bytes: u64,
        /// The smallest valid size.
        min_bytes: u64,
        /// The largest valid size.
        max_bytes: u64,
    },
    /// The document has more or fewer bytes than announced.
    #[error(
        "the document was announced with {size_bytes} bytes, and {received_bytes} were received"
    )]
    WrongSize {
        /// The announced size.
        size_bytes: u64,
        /// The received size.
        received_bytes: u64,
    },
    /// The document does not have the announced digest.
    #[error(
        "the document was announced with the SHA-256 {announced} and received with {received}: the upload is aborted"
    )]
    DigestMismatch {
        /// The announced digest.
        announced: Sha256,
        /// The received digest.
        received: Sha256,
    },
    /// Two callers sent different bytes to one upload.
    #[error(
        "different bytes were sent to this upload at {offset}: create a new upload with CreateUpload"
    )]
    ConflictingBytes {
        /// The offset of the bytes.
        offset: u64,
    },
    /// Bytes of a chunk that the store had are missing or damaged.
    #[error(
        "the store lost bytes of this upload before {offset}: create a new upload with CreateUpload"
    )]
    LostBytes {
        /// The offset after the lost bytes.
        offset: u64,
    },
    /// The client was idle for too long, or its connection broke.
    #[error("the upload was interrupted: {reason}; GetUpload returns the offset to continue at")]
    Interrupted {
        /// The cause.
        reason: String,
    },
    /// There are too many concurrent uploads.
    #[error(
        "the server is at its limit of {limit} concurrent uploads (MAX_CONCURRENT_UPLOADS): try again in a moment"
    )]
    Overloaded {
        /// The limit.
        limit: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(std::sync::Arc<StoreError>),
}

impl UploadError {
    /// Whether a record of this upload is damaged. Other uploads are not affected.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind() == StoreErrorKind::Corrupt)
    }
}

impl From<StoreError> for UploadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

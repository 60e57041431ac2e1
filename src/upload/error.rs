//! Why an upload can't be made, gone on with or used.

use uuid::Uuid;

use crate::{
    digest::Sha256,
    store::{StoreError, StoreErrorKind},
};

/// Why an upload can't be made, gone on with or used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UploadError {
    /// The document is larger than documents may be.
    #[error(
        "documents have at most {limit_bytes} bytes (MAX_DOCUMENT_SIZE), and this one {size_bytes}"
    )]
    TooLarge {
        /// Its size.
        size_bytes: u64,
        /// The largest.
        limit_bytes: u64,
    },
    /// All uploads of this disk together would be larger than they may be.
    #[error(
        "uploads on this server's disk have at most {limit_bytes} bytes together (MAX_LOCAL_UPLOADS), each \
         counted as 256 KiB at least"
    )]
    DiskFull {
        /// The most they may have.
        limit_bytes: u64,
    },
    /// The id is another upload's.
    #[error("uploads/{upload_id} is an upload of another size or digest: use a new request_id")]
    IdReused {
        /// The upload.
        upload_id: Uuid,
    },
    /// There is none, or none any more.
    #[error(
        "uploads/{upload_id} is not here: it expired, was given up, or lies on another replica's disk; \
         make a new one with CreateUpload"
    )]
    NotFound {
        /// The upload.
        upload_id: Uuid,
    },
    /// Not all of it is there.
    #[error(
        "uploads/{upload_id} is not finished: {committed_size_bytes} of {size_bytes} bytes are there"
    )]
    NotFinished {
        /// The upload.
        upload_id: Uuid,
        /// What is there.
        committed_size_bytes: u64,
        /// What should be.
        size_bytes: u64,
    },
    /// The bytes do not follow what is there.
    #[error("the next bytes begin at {committed_size_bytes}, not at {offset}")]
    WrongOffset {
        /// Where they were said to begin.
        offset: u64,
        /// Where they have to.
        committed_size_bytes: u64,
    },
    /// A chunk has not the size that chunks have.
    #[error("a chunk at {offset} has {wanted_bytes} bytes, not {size_bytes}")]
    WrongChunk {
        /// Where it begins.
        offset: u64,
        /// What it has.
        size_bytes: u64,
        /// What it should have.
        wanted_bytes: u64,
    },
    /// More or fewer bytes came than were announced.
    #[error("the document was announced with {size_bytes} bytes, and {received_bytes} came")]
    WrongSize {
        /// What was announced.
        size_bytes: u64,
        /// What came.
        received_bytes: u64,
    },
    /// The document is not the one that was announced.
    #[error(
        "the document was announced with the SHA-256 {announced}, and {received} came: the upload is given up"
    )]
    OtherDigest {
        /// What was announced.
        announced: Sha256,
        /// What came.
        received: Sha256,
    },
    /// Two callers send different bytes to one upload.
    #[error("other bytes were sent to this upload at {offset}: make a new one with CreateUpload")]
    OtherBytes {
        /// Where.
        offset: u64,
    },
    /// The client sent nothing for too long, or its connection broke.
    #[error("the stream broke off: {reason}; GetUpload says where to go on")]
    BrokeOff {
        /// How.
        reason: String,
    },
    /// Too many at once.
    #[error(
        "the server takes {limit} uploads at once (MAX_CONCURRENT_UPLOADS): try again in a moment"
    )]
    Overloaded {
        /// How many it takes.
        limit: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(std::sync::Arc<StoreError>),
}

impl UploadError {
    /// Whether other uploads are none the worse for it: this one is gone, or what is written down of it is
    /// damaged.
    pub(super) fn is_of_this_upload(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Store(error) => error.kind() == StoreErrorKind::Corrupt,
            _ => false,
        }
    }
}

impl From<StoreError> for UploadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

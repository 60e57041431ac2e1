//! The progress of an upload.

use super::FinishedUpload;

/// The progress of an upload in the store or on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// The document is complete and verified.
    Finished(FinishedUpload),
    /// The document is incomplete.
    Unfinished {
        /// The number of durable bytes.
        committed_size_bytes: u64,
    },
}

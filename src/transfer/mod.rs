//! Transfers of content that is too large to hold in memory: in parts into S3, inside S3, and from S3 or disk into the
//! local store. Memory is bounded regardless of the size and number of transfers.
//!
//! Invariant: an object becomes visible only if its size and whole-object checksum match those that were computed in
//! one pass with the content's SHA-256, or if it was read again and matches.

mod bounded_budget;
mod copy;
mod part_memory;
mod part_reader;
mod part_upload_records;
mod put;
mod retry;
mod source;
mod verify;

use std::sync::{Arc, atomic::AtomicBool};

use tara_export_limits::Pool;

pub use self::{
    part_memory::PartMemory,
    part_reader::{PartReader, ReadPart},
    part_upload_records::PartUploadRecords,
    put::LargeContent,
    retry::RetryBudget,
    source::{ContentSource, checksums_of},
    verify::{has_expected_content, is_copy_by_etag},
};

/// Size of every part except the last. With S3's limit of 10,000 parts, objects have at most 78 GiB.
pub const PART_BYTES: u64 = 8 * 1024 * 1024;
/// Larger content in memory is sent to S3 in parts, so that less has to be repeated on an unreliable link.
const MULTIPART_THRESHOLD_BYTES: u64 = 2 * PART_BYTES;

/// Limits of concurrent transfers.
#[derive(Debug, Clone, Copy)]
pub struct TransferLimits {
    /// Total memory for parts in flight.
    pub memory_bytes: u64,
    /// Parts of one object that are sent or copied in parallel.
    pub parallel_parts: usize,
}

/// The shared state of all transfers of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Transfers {
    limits: TransferLimits,
    part_memory: PartMemory,
    /// Records of multipart uploads. `None` in a process that only reads.
    part_upload_records: Option<PartUploadRecords>,
    /// Whether a copy has shown that the store computes no checksums of copies.
    copies_lack_checksum: Arc<AtomicBool>,
    /// Threads that read local files.
    files: Pool,
}

impl Transfers {
    /// Transfers within these limits. Local files are read on the threads of `files`.
    pub fn new(
        limits: TransferLimits,
        part_upload_records: Option<PartUploadRecords>,
        files: Pool,
    ) -> Self {
        Self {
            limits,
            part_memory: PartMemory::new((limits.memory_bytes / PART_BYTES).max(1)),
            part_upload_records,
            copies_lack_checksum: Arc::default(),
            files,
        }
    }

    /// Memory for parts.
    pub fn part_memory(&self) -> &PartMemory {
        &self.part_memory
    }

    /// Parts of one object that are sent in parallel.
    pub fn parallel_parts(&self) -> usize {
        self.limits.parallel_parts
    }

    /// Threads that read local files.
    pub fn files(&self) -> &Pool {
        &self.files
    }

    /// The records of multipart uploads.
    pub fn part_upload_records(&self) -> Option<&PartUploadRecords> {
        self.part_upload_records.as_ref()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod store_tests;

//! Moving content that is too large to hold in memory: in parts into S3, inside S3, from S3 and from disk
//! into the local store. Memory is bounded whatever the content's size and however much moves at once.
//!
//! Invariant: an object becomes visible only where it has the size and a whole-object checksum that were
//! taken in one pass with the content's SHA-256, or was read once more.

mod copy;
mod headway;
mod notes;
mod part_memory;
mod part_reader;
mod proof;
mod put;
mod retry;
mod source;

use std::sync::{Arc, atomic::AtomicBool};

pub use self::{
    notes::PartNotes,
    part_memory::PartMemory,
    part_reader::{PartReader, ReadPart},
    proof::{is_content, is_copy},
    put::LargeContent,
    retry::RetryBudget,
    source::{ContentSource, checksums_of},
};
use crate::limits::Pool;

/// Bytes of every part but the last. With S3's ten thousand parts, objects have at most 78 GiB.
pub const PART_BYTES: u64 = 8 * 1024 * 1024;
/// Content in memory that is larger goes to S3 in parts: on a line that breaks now and then, less has to be
/// sent again.
const IN_PARTS_FROM_BYTES: u64 = 2 * PART_BYTES;

/// How much moves at once.
#[derive(Debug, Clone, Copy)]
pub struct TransferLimits {
    /// Memory for parts on their way, of everything together.
    pub memory_bytes: u64,
    /// Parts of one object that are sent or copied side by side.
    pub parallel_parts: usize,
}

/// What all transfers of a process share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Transfers {
    limits: TransferLimits,
    part_memory: PartMemory,
    /// Where unfinished objects are noted; nowhere in a process that only reads.
    notes: Option<PartNotes>,
    /// Found out by the first copy: this server computes no checksum of what it copies.
    copies_keep_no_checksum: Arc<AtomicBool>,
    /// Reads files of this machine.
    files: Pool,
}

impl Transfers {
    /// Transfers within these limits. These threads read files of this machine.
    pub fn new(limits: TransferLimits, notes: Option<PartNotes>, files: Pool) -> Self {
        Self {
            limits,
            part_memory: PartMemory::new((limits.memory_bytes / PART_BYTES).max(1)),
            notes,
            copies_keep_no_checksum: Arc::default(),
            files,
        }
    }

    /// Memory for parts.
    pub fn part_memory(&self) -> &PartMemory {
        &self.part_memory
    }

    /// Parts of one object that are sent side by side.
    pub fn parallel_parts(&self) -> usize {
        self.limits.parallel_parts
    }

    /// Threads that read files of this machine.
    pub fn files(&self) -> &Pool {
        &self.files
    }

    /// The notes of unfinished objects.
    pub fn notes(&self) -> Option<&PartNotes> {
        self.notes.as_ref()
    }
}

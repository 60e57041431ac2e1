//! Journal entries, and reading their headers.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use tara_export_bundle::{
    AcceptedHeader, AcceptedTime, ExportId, UndecodableExport,
    encoding::{EncodedHeader, header_end},
};
use tara_export_digest::Sha256;
use tara_export_disk::{DiskError, plain_names};
use tara_export_failpoint::failpoint;

use super::{EntryName, Files, JournalError, Quarantined, names::export_id_of};

/// Size of the first read of an entry: covers most headers.
const FIRST_READ_BYTES: u64 = 4096;

/// An accepted export in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The export.
    pub header: AcceptedHeader,
    /// Size of the entry's file.
    pub size_bytes: u64,
    /// Memory to reserve before loading it.
    pub memory_bytes: u64,
}

impl JournalEntry {
    pub(super) fn name(&self) -> EntryName {
        EntryName { export_id: self.header.export_id, content_digest: self.header.content_digest }
    }

    /// The id and the content digest in the entry's file name.
    pub fn key(&self) -> EntryKey {
        EntryKey { accepted_time: self.header.accepted_time, name: self.name() }
    }
}

/// Identifies an entry without its header, in about 64 bytes. Ordered by acceptance time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKey {
    /// Acceptance time of the export.
    pub accepted_time: AcceptedTime,
    pub(super) name: EntryName,
}

impl EntryKey {
    /// The last possible key of an export that was accepted at this time.
    pub fn last_at(accepted_time: AcceptedTime) -> Self {
        let export_id = ExportId::new(uuid::Uuid::max());
        let content_digest = Sha256::from_bytes([u8::MAX; 32]);
        Self { accepted_time, name: EntryName { export_id, content_digest } }
    }
}

/// Files of the journal, classified.
#[derive(Debug, Default)]
pub struct JournalListing {
    /// Entries that can be processed, in the order of the requested keys.
    pub entries: Vec<JournalEntry>,
    /// All other files.
    pub others: OtherFiles,
}

/// Files of the journal that cannot be processed now. Each list has at most [`MAX_OTHER_FILES_LISTED`].
#[derive(Debug, Default)]
pub struct OtherFiles {
    /// Damaged files that were just moved to quarantine.
    pub quarantined: Vec<Quarantined>,
    /// Entries of a later release, which stay in the journal.
    pub later: Vec<LaterEntry>,
    /// Files that could not be read or moved to quarantine. They stay in the journal and are retried.
    pub unread: Vec<UnreadEntry>,
}

/// Maximum number of files per list in [`OtherFiles`]: each of them is logged.
pub const MAX_OTHER_FILES_LISTED: usize = 1_000;

/// An entry of a later release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterEntry {
    /// The file's name.
    pub name: String,
    /// The export, if the name starts with an id.
    pub export_id: Option<ExportId>,
    /// The part that this release does not support.
    pub unknown: UndecodableExport,
}

/// An entry that could not be read because the disk failed.
#[derive(Debug)]
pub struct UnreadEntry {
    /// The file's name.
    pub name: String,
    /// The export, if the name starts with an id.
    pub export_id: Option<ExportId>,
    /// The disk error.
    pub error: DiskError,
}

/// The classification of a file in the journal.
pub(super) enum Found {
    Entry(JournalEntry),
    Damaged(String),
    Later(UndecodableExport),
    Unread(DiskError),
    /// The file was removed in the meantime.
    Gone,
}

impl Files {
    /// Reads these entries' headers.
    pub(super) fn read_headers(&self, keys: &[EntryKey], listing: &mut JournalListing) {
        for key in keys {
            let path = self.journal.join(key.name.to_string());
            listing.entries.extend(self.classify(&path, examine(&path), &mut listing.others));
        }
    }

    pub(super) fn find(&self, export_id: ExportId) -> Result<JournalListing, JournalError> {
        let mut listing = JournalListing::default();
        for name in plain_names(&self.journal)? {
            let path = self.journal.join(name?);
            if export_id_of(&path) == Some(export_id) {
                listing.entries.extend(self.classify(&path, examine(&path), &mut listing.others));
            }
        }
        Ok(listing)
    }

    /// Returns the entry if the file can be processed. Otherwise adds the file to `others`, and moves it to quarantine
    /// if it is damaged.
    pub(super) fn classify(
        &self,
        path: &Path,
        found: Found,
        others: &mut OtherFiles,
    ) -> Option<JournalEntry> {
        let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let export_id = export_id_of(path);
        let unread = |error| UnreadEntry { name: name(), export_id, error };
        match found {
            Found::Entry(entry) => return Some(entry),
            Found::Gone => {}
            Found::Later(unknown) => {
                push(&mut others.later, LaterEntry { name: name(), export_id, unknown });
            }
            Found::Unread(error) => push(&mut others.unread, unread(error)),
            Found::Damaged(reason) => match self.quarantine(path, &reason) {
                Ok(quarantined) => push(&mut others.quarantined, quarantined),
                Err(error) => push(&mut others.unread, unread(error)),
            },
        }
        None
    }
}

fn push<T>(list: &mut Vec<T>, value: T) {
    if list.len() < MAX_OTHER_FILES_LISTED {
        list.push(value);
    }
}

/// Reads a file's header and size.
pub(super) fn examine(path: &Path) -> Found {
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Found::Gone,
        _ => Found::Unread(DiskError::of_read("read", path, error)),
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Found::Damaged("it is not a regular file".to_owned()),
        Err(error) => return unread(error),
    }
    let read_file = || {
        let mut file = File::open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok((read_header(&mut file, size_bytes)?, size_bytes))
    };
    let read = failpoint!("disk.file.read", path, read_file());
    let (header, size_bytes) = match read {
        Ok((Ok(encoded), size_bytes)) => (encoded, size_bytes),
        Ok((Err(UndecodableExport::Damaged { reason }), _)) => return Found::Damaged(reason),
        // `OverBudget` cannot occur: reading a header has no budget.
        Ok((Err(later), _)) => return Found::Later(later),
        Err(error) => return unread(error),
    };
    if header.size_bytes != size_bytes {
        let expected = header.size_bytes;
        return Found::Damaged(format!("it has {size_bytes} bytes and should have {expected}"));
    }
    let memory_bytes = header.memory_bytes;
    let entry = JournalEntry { header: header.header, size_bytes, memory_bytes };
    let name = path.file_name().map(|name| name.to_string_lossy());
    if name.is_none_or(|name| name != entry.name().to_string()) {
        return Found::Damaged(format!("its name should be {}", entry.name()));
    }
    Found::Entry(entry)
}

/// Reads a header, and at most a few bytes after it. The outer error is a disk error and does not mean that the entry
/// is damaged.
pub(super) fn read_header(
    file: &mut impl Read,
    size_bytes: u64,
) -> io::Result<Result<EncodedHeader, UndecodableExport>> {
    let mut first = Vec::new();
    file.by_ref().take(FIRST_READ_BYTES).read_to_end(&mut first)?;
    match header_end(&first) {
        Ok(end) => {
            let missing_bytes = end.min(size_bytes).saturating_sub(first.len() as u64);
            file.take(missing_bytes).read_to_end(&mut first)?;
            Ok(EncodedHeader::decode(&first))
        }
        Err(error) => Ok(Err(error)),
    }
}

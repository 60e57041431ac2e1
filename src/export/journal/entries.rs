//! Listing entries by their headers.

use std::{
    collections::BinaryHeap,
    ffi::OsString,
    fs::{self, File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{EntryName, Files, JournalError, Quarantined, names::leading_export_id};
use crate::{
    bundle::{
        AcceptedHeader, AcceptedTime, ExportId, UndecodableExport,
        encoding::{EncodedHeader, header_end},
    },
    disk::DiskError,
};

/// Read of each entry at first: more than most headers have.
const FIRST_READ_BYTES: u64 = 4096;

/// An accepted export in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The export.
    pub header: AcceptedHeader,
    /// Bytes of the whole entry.
    pub size_bytes: u64,
    /// Bytes of memory to reserve before it is loaded.
    pub memory_bytes: u64,
}

impl JournalEntry {
    pub(super) fn name(&self) -> EntryName {
        EntryName { export_id: self.header.export_id, content_digest: self.header.content_digest }
    }

    fn age(&self) -> (AcceptedTime, ExportId) {
        (self.header.accepted_time, self.header.export_id)
    }
}

/// What a look through the journal found. Each list has at most as many as were asked for.
#[derive(Debug, Default)]
pub struct JournalListing {
    /// What can be carried on, oldest acceptance first.
    pub entries: Vec<JournalEntry>,
    /// Whether there are younger ones beyond the limit.
    pub more: bool,
    /// What could not be read, and was moved to quarantine just now.
    pub quarantined: Vec<Quarantined>,
    /// What a later release wrote, and stays for it.
    pub later: Vec<LaterEntry>,
    /// What the disk did not let us read, or move to quarantine: it stays, to be tried again.
    pub unread: Vec<UnreadEntry>,
}

/// An entry of a later release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterEntry {
    /// The file's name.
    pub name: String,
    /// The export, as far as the name tells.
    pub export_id: Option<ExportId>,
    /// What this release does not know.
    pub unknown: UndecodableExport,
}

/// An entry that the disk keeps back.
#[derive(Debug)]
pub struct UnreadEntry {
    /// The file's name.
    pub name: String,
    /// The export, as far as the name tells.
    pub export_id: Option<ExportId>,
    /// What the disk said.
    pub error: DiskError,
}

/// What a file of the journal turned out to be.
pub(super) enum Found {
    Entry(JournalEntry),
    Damaged(String),
    Later(UndecodableExport),
    Unread(DiskError),
    /// Removed meanwhile.
    Gone,
}

impl Files {
    pub(super) fn entries(&self, limit: usize) -> Result<JournalListing, JournalError> {
        self.recount()?;
        let mut listing = JournalListing {
            quarantined: self.attempts.take_quarantined(),
            ..JournalListing::default()
        };
        let mut oldest = Oldest { limit, heap: BinaryHeap::new(), more: false };
        for file in plain_files(&self.journal)? {
            let PlainFile { path, name, .. } = file?;
            let name = name.to_string_lossy().into_owned();
            let export_id = leading_export_id(&name);
            match examine(&path) {
                Found::Entry(entry) => oldest.push(entry),
                Found::Gone => {}
                Found::Later(unknown) => {
                    push(&mut listing.later, limit, LaterEntry { name, export_id, unknown });
                }
                Found::Unread(error) => {
                    push(&mut listing.unread, limit, UnreadEntry { name, export_id, error });
                }
                Found::Damaged(reason) => match self.quarantine(&path, &reason) {
                    Ok(quarantined) => push(&mut listing.quarantined, limit, quarantined),
                    Err(error) => {
                        push(&mut listing.unread, limit, UnreadEntry { name, export_id, error });
                    }
                },
            }
        }
        (listing.entries, listing.more) = (oldest.heap.into_sorted_vec(), oldest.more);
        Ok(listing)
    }
}

fn push<T>(list: &mut Vec<T>, limit: usize, value: T) {
    if list.len() < limit {
        list.push(value);
    }
}

/// Looks at a file's header and size.
pub(super) fn examine(path: &Path) -> Found {
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Found::Gone,
        _ => Found::Unread(DiskError::of_read("read", path, error)),
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Found::Damaged("it is no plain file".to_owned()),
        Err(error) => return unread(error),
    }
    let read = File::open(path).and_then(|mut file| {
        let size_bytes = file.metadata()?.len();
        Ok((read_header(&mut file, size_bytes)?, size_bytes))
    });
    let (header, size_bytes) = match read {
        Ok((Ok(encoded), size_bytes)) => (encoded, size_bytes),
        Ok((Err(UndecodableExport::Damaged { reason }), _)) => return Found::Damaged(reason),
        // A header alone has no budget.
        Ok((Err(later), _)) => return Found::Later(later),
        Err(error) => return unread(error),
    };
    if header.size_bytes != size_bytes {
        let should = header.size_bytes;
        return Found::Damaged(format!("it has {size_bytes} bytes and should have {should}"));
    }
    let memory_bytes = header.memory_bytes;
    let entry = JournalEntry { header: header.header, size_bytes, memory_bytes };
    let name = path.file_name().map(|name| name.to_string_lossy());
    if name.is_none_or(|name| name != entry.name().to_string()) {
        return Found::Damaged(format!("its name should be {}", entry.name()));
    }
    Found::Entry(entry)
}

/// Reads a header and no more than a little beyond. An error is the disk's, and says nothing about
/// the entry.
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

/// Keeps the entries that were accepted first.
struct Oldest {
    limit: usize,
    heap: BinaryHeap<JournalEntry>,
    more: bool,
}

impl Oldest {
    fn push(&mut self, entry: JournalEntry) {
        self.heap.push(entry);
        if self.heap.len() > self.limit {
            self.heap.pop();
            self.more = true;
        }
    }
}

impl Ord for JournalEntry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let digests = || self.header.content_digest.cmp(&other.header.content_digest);
        self.age().cmp(&other.age()).then_with(digests)
    }
}

impl PartialOrd for JournalEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A file of a folder, or whatever is there that is no folder.
pub(super) struct PlainFile {
    pub path: PathBuf,
    pub name: OsString,
    pub metadata: Metadata,
}

/// What lies in a folder, its folders aside. A missing folder is empty. A failure ends it.
pub(super) fn plain_files(
    folder: &Path,
) -> Result<impl Iterator<Item = Result<PlainFile, DiskError>> + '_, DiskError> {
    let failed = move |error| DiskError::of_read("look through", folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    Ok(entries.into_iter().flatten().filter_map(move |entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(failed(error))),
        };
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => None,
            Ok(metadata) => {
                Some(Ok(PlainFile { path: entry.path(), name: entry.file_name(), metadata }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(failed(error))),
        }
    }))
}

//! Loads complete entries.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use bytes::Bytes;
use tara_export_bundle::{AcceptedExport, UndecodableExport};
use tara_export_disk::DiskError;
use tara_export_failpoint::failpoint;

use super::{
    EntryName, Files, JournalEntry, LoadError,
    entries::{Found, examine},
};

impl Files {
    /// Loads an entry within a memory budget. Does not trust the sizes that the entry states.
    pub(super) fn load(
        &self,
        name: EntryName,
        budget_bytes: u64,
    ) -> Result<AcceptedExport, LoadError> {
        let path = self.journal.join(name.to_string());
        let entry = match examine(&path) {
            Found::Entry(entry) => entry,
            Found::Damaged(reason) => return Err(self.damaged(&path, reason)),
            Found::Later(later) => return Err(LoadError::LaterRelease(later)),
            Found::Unread(error) => return Err(error.into()),
            Found::Gone => return Err(LoadError::Gone),
        };
        if entry.size_bytes > budget_bytes {
            return Err(LoadError::OverBudget { budget_bytes });
        }
        let bytes = match read_bytes(&path, &entry) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LoadError::Gone),
            Err(error) => return Err(DiskError::of_read("read", &path, error).into()),
        };
        match AcceptedExport::decode_within(bytes, budget_bytes) {
            Ok(export) => Ok(export),
            Err(later @ UndecodableExport::LaterRelease { .. }) => {
                Err(LoadError::LaterRelease(later))
            }
            Err(UndecodableExport::OverBudget { budget_bytes }) => {
                Err(LoadError::OverBudget { budget_bytes })
            }
            Err(UndecodableExport::Damaged { reason }) => Err(self.damaged(&path, reason)),
        }
    }

    fn damaged(&self, path: &Path, reason: String) -> LoadError {
        if let Err(error) = self.quarantine(path, &reason) {
            tracing::error!(%error, reason, "cannot move a damaged journal entry to quarantine");
        }
        LoadError::Damaged { reason }
    }
}

/// Reads an entry, but not more bytes than it had when it was examined.
fn read_bytes(path: &Path, entry: &JournalEntry) -> io::Result<Bytes> {
    let size = usize::try_from(entry.size_bytes).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(io::Error::other)?;
    let file = failpoint!("journal.load", path, File::open(path))?;
    failpoint!("disk.file.read", path, file.take(entry.size_bytes).read_to_end(&mut bytes))?;
    Ok(bytes.into())
}

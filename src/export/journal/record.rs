//! Keeping an entry, and forgetting it.

use std::{fs, io, path::Path};

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::{EntryName, Files, JournalEntry, JournalError, usage::Reservation};
use crate::{
    bundle::{AcceptedExport, UndecodableExport},
    disk::{DiskError, Published, sync_directory, sync_file, write_bytes},
};

impl Files {
    pub(super) fn record(&self, export: &AcceptedExport) -> Result<JournalEntry, JournalError> {
        let name = EntryName { export_id: export.export_id, content_digest: export.content_digest };
        let path = self.journal.join(name.to_string());
        let pieces = export.encode();
        let size_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let entry = JournalEntry { header: export.header(), size_bytes };
        if self.is_recorded(&path, name, &pieces)? {
            return Ok(entry);
        }
        let reservation = self.usage.reserve(size_bytes, self.limits.max_bytes)?;
        let file = self.disk.create_unnamed()?;
        for piece in &pieces {
            write_bytes(file.as_file(), piece, &path)?;
        }
        failpoint!("journal.written");
        sync_file(file.as_file(), &path)?;
        failpoint!("journal.synced");
        match self.publish(file, &path, &reservation)? {
            Published::Created => {
                failpoint!("journal.published");
            }
            // Two at once: the other was first.
            Published::Taken if self.is_recorded(&path, name, &pieces)? => return Ok(entry),
            Published::Taken => {
                let error = io::Error::other("something was in the way and is gone");
                return Err(DiskError::of_write("publish", &path, error).into());
            }
        }
        if let Err(error) = sync_directory(&self.journal) {
            // The caller is told that nothing was accepted, so nothing must come of it later.
            if let Err(error) = self.unlink(&path) {
                tracing::warn!(%error, "an export that was not accepted stays in the journal");
            }
            return Err(error.into());
        }
        Ok(entry)
    }

    /// Whether the journal has this very entry, durably. What is damaged there is moved aside.
    fn is_recorded(
        &self,
        path: &Path,
        name: EntryName,
        pieces: &[Bytes],
    ) -> Result<bool, JournalError> {
        if !self.disk.has_file(path)? {
            return Ok(false);
        }
        let bytes = match fs::read(path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(DiskError::of_read("read", path, error).into()),
        };
        if bytes == pieces.concat() {
            return Ok(true);
        }
        match AcceptedExport::decode(bytes) {
            Ok(earlier) => Err(JournalError::RecordedBefore(Box::new(earlier.header()))),
            Err(source @ UndecodableExport::LaterRelease { .. }) => {
                Err(JournalError::LaterRelease { export_id: name.export_id, source })
            }
            Err(UndecodableExport::Damaged { reason }) => {
                self.quarantine(path, &reason)?;
                Ok(false)
            }
        }
    }

    /// Gives an entry its name. Its reserved bytes become held ones in the same step.
    fn publish(
        &self,
        file: NamedTempFile,
        path: &Path,
        reservation: &Reservation<'_>,
    ) -> Result<Published, DiskError> {
        let mut numbers = self.usage.lock();
        let published = self.disk.publish(file, path)?;
        if published == Published::Created {
            numbers.add(reservation.size_bytes());
        }
        Ok(published)
    }

    pub(super) fn remove(&self, name: EntryName) -> Result<(), JournalError> {
        self.remove_attachments(name)?;
        self.unlink(&self.journal.join(name.to_string()))?;
        failpoint!("journal.unlinked");
        // Also where it was gone: whoever unlinked it may have died before this.
        self.sync_journal()?;
        Ok(())
    }

    /// Takes an entry's name away, if it has one.
    pub(super) fn unlink(&self, path: &Path) -> Result<(), DiskError> {
        let mut numbers = self.usage.lock();
        let size_bytes = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(DiskError::of_write("remove", path, error)),
        };
        if self.disk.remove(path)? {
            numbers.subtract(size_bytes);
        }
        Ok(())
    }

    /// Makes removals durable. A folder that isn't there has none.
    pub(super) fn sync_journal(&self) -> Result<(), DiskError> {
        match fs::symlink_metadata(&self.journal) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => sync_directory(&self.journal),
        }
    }
}

//! Keeping an entry, and forgetting it.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::{
    EntryName, Files, JournalEntry, JournalError,
    entries::{Found, examine, read_header},
    usage::Reservation,
};
use crate::{
    bundle::AcceptedExport,
    digest::Sha256Hasher,
    disk::{DiskError, Published, sync_directory, sync_file, write_bytes},
};

impl Files {
    pub(super) fn record(&self, export: &AcceptedExport) -> Result<JournalEntry, JournalError> {
        let name = EntryName { export_id: export.export_id, content_digest: export.content_digest };
        let path = self.journal.join(name.to_string());
        self.share_attempts();
        let pieces = export.encode();
        let size_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let memory_bytes = export.content.footprint_bytes();
        let entry = JournalEntry { header: export.header(), size_bytes, memory_bytes };
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

    /// Whether the journal has this very entry, durably. What is damaged there is moved aside. Neither
    /// is read whole into memory.
    fn is_recorded(
        &self,
        path: &Path,
        name: EntryName,
        pieces: &[Bytes],
    ) -> Result<bool, JournalError> {
        if !self.disk.has_file(path)? {
            return Ok(false);
        }
        let failed = |error: io::Error| DiskError::of_read("read", path, error);
        match has_pieces(path, pieces) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error).into()),
        }
        let reason = match examine(path) {
            Found::Entry(entry) => match has_its_body(path).map_err(failed)? {
                true => return Err(JournalError::RecordedBefore(Box::new(entry))),
                false => "its body hasn't the digest it should have".to_owned(),
            },
            Found::Later(source) => {
                return Err(JournalError::LaterRelease { export_id: name.export_id, source });
            }
            Found::Unread(error) => return Err(error.into()),
            Found::Gone => return Ok(false),
            Found::Damaged(reason) => reason,
        };
        self.quarantine(path, &reason)?;
        Ok(false)
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
        self.forget_suspect(name);
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

/// Read of a file at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Whether a file consists of these pieces.
fn has_pieces(path: &Path, pieces: &[Bytes]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let size_bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
    if file.metadata()?.len() != size_bytes {
        return Ok(false);
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    for piece in pieces {
        for expected in piece.chunks(BUFFER_BYTES) {
            let read = &mut buffer[..expected.len()];
            match file.read_exact(read) {
                Ok(()) if read == expected => {}
                Ok(()) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(true)
}

/// Whether an entry's body has the digest that its header has of it.
fn has_its_body(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let size_bytes = file.metadata()?.len();
    let Ok(header) = read_header(&mut file, size_bytes)? else { return Ok(false) };
    let mut file = File::open(path)?;
    io::copy(&mut file.by_ref().take(header.body_start()), &mut io::sink())?;
    let mut hasher = Sha256Hasher::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish() == header.body_sha256()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

//! Records, replaces and removes entries: step 2 of docs/design/commit-protocol.md.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;
use tara_export_bundle::{AcceptedExport, ExportId};
use tara_export_digest::Sha256Hasher;
use tara_export_disk::{DiskError, Published, Unsynced, sync_file, write_bytes};
use tara_export_failpoint::failpoint;
use tempfile::NamedTempFile;

use super::{
    EntryName, Files, JournalEntry, JournalError,
    entries::{Found, examine, read_header},
    names::export_id_of,
    usage::Reservation,
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
        let unsynced = match self.publish(file, &path, name.export_id, &reservation)? {
            Published::Created(unsynced) => {
                failpoint!("journal.published");
                unsynced
            }
            // A concurrent call recorded the same entry first.
            Published::Taken if self.is_recorded(&path, name, &pieces)? => return Ok(entry),
            Published::Taken => {
                let error =
                    io::Error::other("a conflicting file existed and was removed meanwhile");
                return Err(DiskError::of_write("publish", &path, error).into());
            }
        };
        if let Err(error) = unsynced.sync() {
            // The request is refused, so the entry must not be processed later. The removal stays unsynced, because the
            // folder cannot be synced.
            if let Err(error) = self.unlink(&path).map(Unsynced::leave_unsynced) {
                tracing::warn!(%error, "cannot remove the journal entry of a refused request");
            }
            return Err(error.into());
        }
        Ok(entry)
    }

    /// Whether the journal already has this exact entry, durably. A damaged entry is moved to quarantine. Does not read
    /// the entry into memory.
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
        match failpoint!("disk.file.read", path, has_pieces(path, pieces)) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error).into()),
        }
        let reason = match examine(path) {
            Found::Entry(entry) => match has_valid_body(path).map_err(failed)? {
                true => return Err(JournalError::RecordedBefore(Box::new(entry))),
                false => "its body does not match its digest".to_owned(),
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

    /// Publishes an entry under its name, and converts its reservation to used bytes in the same step.
    fn publish(
        &self,
        file: NamedTempFile,
        path: &Path,
        export_id: ExportId,
        reservation: &Reservation<'_>,
    ) -> Result<Published, DiskError> {
        let mut counters = self.usage.lock();
        let published = self.disk.publish(file, path)?;
        if matches!(published, Published::Created(_)) {
            counters.add(Some(export_id), reservation.size_bytes());
        }
        Ok(published)
    }

    /// Replaces an entry by the same export with other document locations or another store. A crash leaves one of the
    /// two complete entries.
    pub(super) fn replace(&self, export: &AcceptedExport) -> Result<(), JournalError> {
        let name = EntryName { export_id: export.export_id, content_digest: export.content_digest };
        let path = self.journal.join(name.to_string());
        self.disk.write(&path, export.encode())?.sync()?;
        self.recount()
    }

    pub(super) fn remove(&self, name: EntryName) -> Result<(), JournalError> {
        self.remove_attachments(name)?;
        self.remove_recipients(name)?;
        let removal = self.unlink(&self.journal.join(name.to_string()))?;
        failpoint!("journal.unlinked");
        // Also if the entry was already removed: the previous removal may have crashed before the sync.
        removal.sync()?;
        self.forget_suspect(name);
        Ok(())
    }

    /// Removes an entry's file, if it exists.
    pub(super) fn unlink(&self, path: &Path) -> Result<Unsynced<bool>, DiskError> {
        let mut counters = self.usage.lock();
        let size_bytes = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(self.disk.already_removed(path));
            }
            Err(error) => return Err(DiskError::of_write("remove", path, error)),
        };
        let removal = self.disk.remove(path)?;
        if *removal.value() {
            counters.subtract(export_id_of(path), size_bytes);
        }
        Ok(removal)
    }
}

const BUFFER_BYTES: usize = 64 * 1024;

/// Whether a file consists of exactly these pieces.
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

/// Whether an entry's body matches the digest in its header.
fn has_valid_body(path: &Path) -> io::Result<bool> {
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

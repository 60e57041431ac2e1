//! Attachments: documents that an entry names instead of containing, stored as files until the entry is removed.
//!
//! An attachment is a hard link to the file of an upload on this disk: it needs no copy and outlives the upload.

use std::path::{Path, PathBuf};

use tara_export_bundle::DocumentKind;
use tara_export_disk::{DiskError, Published, plain_names};
use tara_export_failpoint::failpoint;

use super::{EntryName, Files, JournalError};

impl Files {
    /// The path of an entry's document.
    pub(super) fn attachment_path(&self, name: EntryName, kind: DocumentKind) -> PathBuf {
        self.attachments.join(format!("{name}.{}", kind.as_str()))
    }

    /// Links a finished file durably as a document of an entry that will be recorded. Idempotent.
    pub(super) fn attach(
        &self,
        name: EntryName,
        kind: DocumentKind,
        file: &Path,
    ) -> Result<(), JournalError> {
        self.disk.ensure_directory(&self.attachments)?;
        let path = self.attachment_path(name, kind);
        match self.disk.link(file, &path, "keep")? {
            Published::Created(unsynced) => unsynced.sync()?,
            Published::Taken => self.disk.sync_name(&path)?,
        }
        failpoint!("journal.attached");
        Ok(())
    }

    /// Removes the documents of an entry, before the entry itself is removed. If a power cut restores them, the next
    /// start removes them.
    pub(super) fn remove_attachments(&self, name: EntryName) -> Result<(), DiskError> {
        for kind in DocumentKind::ALL {
            self.disk.remove(&self.attachment_path(name, kind))?.leave_unsynced();
        }
        Ok(())
    }

    /// Removes the documents and recipients of an entry, unless the entry was recorded.
    pub(super) fn detach(&self, name: EntryName) -> Result<(), DiskError> {
        if self.has_entry(name)? {
            return Ok(());
        }
        self.remove_recipients(name)?;
        self.remove_attachments(name)
    }

    /// Whether an entry is in the journal, in quarantine or to be retried.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub(super) fn has_entry(&self, name: EntryName) -> Result<bool, DiskError> {
        let name = name.to_string();
        for folder in [&self.journal, &self.quarantine, &self.retry] {
            if self.disk.has_name(&folder.join(&name))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes attachments without an entry, which a crash before the entry was recorded or after it was removed
    /// leaves. Attachments of quarantined entries stay.
    pub(super) fn remove_orphaned_attachments(&self) -> Result<(), JournalError> {
        for name in plain_names(&self.attachments)? {
            let name = name?;
            let text = name.to_string_lossy();
            let entry = text.rsplit_once('.').and_then(|(entry, _)| entry.parse().ok());
            let Some(entry) = entry else { continue };
            if !self.has_entry(entry)? {
                self.disk.remove(&self.attachments.join(&name))?.leave_unsynced();
            }
        }
        Ok(())
    }
}

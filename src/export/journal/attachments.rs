//! Documents that an entry names and does not hold: files beside it, which live as long as it does.
//!
//! An attachment is a second name of a file that an upload left on this disk, so that it costs no copy and
//! outlives the upload.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{EntryName, Files, JournalError, entries::plain_files};
use crate::{
    bundle::DocumentKind,
    disk::{DiskError, sync_directory},
};

impl Files {
    /// Where an entry's document lies.
    pub(super) fn attachment_path(&self, name: EntryName, kind: DocumentKind) -> PathBuf {
        self.attachments.join(format!("{name}.{}", kind.as_str()))
    }

    /// Gives a finished file a second name beside the entry that is to name it, durably. The same one
    /// there already is as good.
    pub(super) fn attach(
        &self,
        name: EntryName,
        kind: DocumentKind,
        file: &Path,
    ) -> Result<(), JournalError> {
        self.disk.ensure_directory(&self.attachments)?;
        let path = self.attachment_path(name, kind);
        match failpoint!("disk.file.link", &path, fs::hard_link(file, &path)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(DiskError::of_write("keep", &path, error).into()),
        }
        sync_directory(&self.attachments)?;
        failpoint!("journal.attached");
        Ok(())
    }

    /// Removes what an entry names, before the entry itself goes.
    pub(super) fn remove_attachments(&self, name: EntryName) -> Result<(), DiskError> {
        for kind in DocumentKind::ALL {
            self.disk.remove(&self.attachment_path(name, kind))?;
        }
        Ok(())
    }

    /// Removes attachments that no entry names: whoever put them there died before the entry came, or
    /// after it went. Those of entries in quarantine stay with them.
    pub(super) fn remove_stray_attachments(&self) -> Result<(), JournalError> {
        for file in plain_files(&self.attachments)? {
            let file = file?;
            let text = file.name.to_string_lossy();
            let Some((entry, _)) = text.rsplit_once('.') else { continue };
            if entry.parse::<EntryName>().is_err() {
                continue;
            }
            let folders = [&self.journal, &self.quarantine, &self.retry];
            let is_named = folders.iter().any(|folder| folder.join(entry).exists());
            if !is_named {
                self.disk.remove(&file.path)?;
            }
        }
        Ok(())
    }
}

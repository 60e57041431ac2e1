//! `tara-export journal retry`: moves entries out of quarantine.
//!
//! The command only moves a file from `quarantine/` to `retry/`, so that it works with and without a running server.
//! The process that uses the data directory then moves the file into the journal.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tara_export_bundle::ExportId;
use tara_export_disk::{DiskError, Published, plain_files, plain_names};
use tara_export_failpoint::failpoint;

use super::{
    EntryName, Files, JournalEntry, JournalError, JournalLimits, MAX_QUARANTINED_LISTED,
    entries::{Found, examine},
    names::{TAKEOVER_EXTENSION, export_id_of},
    quarantine::reason_path,
};

/// An entry that was taken out of quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried {
    /// The entry's name.
    pub name: String,
    /// Why it was in quarantine.
    pub reason: String,
}

/// Why an entry cannot be retried. No file was moved.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The export is neither in quarantine nor in the journal.
    #[error("exports/{0} is not in the journal of this data directory: check the id and DATA_DIR")]
    Unknown(ExportId),
    /// The export is in the journal and not in quarantine.
    #[error("exports/{0} is not in quarantine: the server processes it without a retry")]
    NotQuarantined(ExportId),
    /// The export has several files in quarantine.
    #[error(
        "exports/{export_id} has several files in quarantine: {}; move all but one of them out of {}",
        names.join(", "), folder.display()
    )]
    Several {
        /// The export.
        export_id: ExportId,
        /// The files' names.
        names: Vec<String>,
        /// The folder.
        folder: PathBuf,
    },
    /// The file does not have the name of an entry.
    #[error("{name} in quarantine is not a journal entry: restore it from a backup")]
    NoEntry {
        /// The file's name.
        name: String,
    },
    /// The disk failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Moves an export's entry out of quarantine durably. A running server processes it within seconds, otherwise the next
/// start does. Blocks; needs no lock.
///
/// # Errors
/// [`RetryError`].
pub fn retry(data_dir: &Path, export_id: ExportId) -> Result<Retried, RetryError> {
    let files =
        Files::new(data_dir.to_owned(), JournalLimits::NONE, None).map_err(JournalError::from)?;
    files.retry(export_id)
}

impl Files {
    fn retry(&self, export_id: ExportId) -> Result<Retried, RetryError> {
        let quarantined = self.quarantined_of(export_id)?;
        let (name, path) = match &quarantined[..] {
            [] if self.has_entry_of(export_id)? => {
                return Err(RetryError::NotQuarantined(export_id));
            }
            [] => return Err(RetryError::Unknown(export_id)),
            [(name, path)] => (name, path),
            several => {
                let names = several.iter().map(|(name, _)| name.clone()).collect();
                let folder = self.quarantine.clone();
                return Err(RetryError::Several { export_id, names, folder });
            }
        };
        if name.ends_with(TAKEOVER_EXTENSION) {
            let reason = super::quarantine::read_reason(path);
            self.release_takeover(path).map_err(JournalError::from)?;
            return Ok(Retried { name: name.clone(), reason });
        }
        let entry = entry_name(name).ok_or_else(|| RetryError::NoEntry { name: name.clone() })?;
        let reason = super::quarantine::read_reason(path);
        let target = self.retry.join(entry.to_string());
        self.move_out(path, &target).map_err(JournalError::from)?;
        Ok(Retried { name: entry.to_string(), reason })
    }

    /// Allows this machine to take over an entry of the store's journal again. A running server does so with its next
    /// scan of that journal.
    fn release_takeover(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.remove(path)?.sync()?;
        self.disk.remove(&reason_path(path))?.leave_unsynced();
        Ok(())
    }

    /// Moves a file out of quarantine durably, and then removes its reason.
    fn move_out(&self, path: &Path, target: &Path) -> Result<(), DiskError> {
        self.disk.ensure_directory(&self.retry)?;
        self.disk.rename(path, target, "move out of quarantine")?.sync()?;
        self.disk.remove(&reason_path(path))?.leave_unsynced();
        Ok(())
    }

    fn quarantined_of(&self, export_id: ExportId) -> Result<Vec<(String, PathBuf)>, JournalError> {
        let mut found = Vec::new();
        for file in plain_files(&self.quarantine)? {
            let file = file?;
            let name = file.name.to_string_lossy().into_owned();
            let has_id = super::names::leading_export_id(&name) == Some(export_id);
            if has_id && !super::quarantine::is_reason(&name) {
                found.push((name, file.path));
            }
            if found.len() == MAX_QUARANTINED_LISTED {
                break;
            }
        }
        found.sort();
        Ok(found)
    }

    fn has_entry_of(&self, export_id: ExportId) -> Result<bool, JournalError> {
        for folder in [&self.journal, &self.retry] {
            for name in plain_names(folder)? {
                let name = name?;
                if super::names::leading_export_id(&name.to_string_lossy()) == Some(export_id) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Moves the files in `retry/` back into the journal. A damaged entry, or one whose name is taken in the journal,
    /// is quarantined again.
    pub(super) fn take_retried(&self) -> Result<Vec<JournalEntry>, JournalError> {
        let mut entries = Vec::new();
        for file in plain_files(&self.retry)? {
            let file = file?;
            let found = match examine(&file.path) {
                Found::Entry(entry) => Ok(entry),
                Found::Damaged(reason) => Err(reason),
                Found::Gone => continue,
                Found::Later(error) => {
                    tracing::warn!(
                        file = %file.path.display(), %error, "this release cannot retry a journal entry"
                    );
                    continue;
                }
                Found::Unread(error) => return Err(error.into()),
            };
            let moved = match found {
                Ok(entry) => self.publish_retried(&file.path, &entry)?.then_some(entry),
                Err(reason) => {
                    self.quarantine_retried(&file.path, &reason)?;
                    None
                }
            };
            entries.extend(moved);
        }
        Ok(entries)
    }

    /// Publishes a retried entry under its name in the journal. Returns whether the name was free.
    fn publish_retried(&self, path: &Path, entry: &JournalEntry) -> Result<bool, JournalError> {
        let name = entry.name();
        let target = self.journal.join(name.to_string());
        let published = {
            let mut counters = self.usage.lock();
            let published = self.disk.link(path, &target, "move into the journal")?;
            if matches!(published, Published::Created(_)) {
                counters.add(Some(name.export_id), entry.size_bytes);
            }
            published
        };
        let Published::Created(unsynced) = published else {
            let reason =
                "the journal already has an entry of this name: the export was accepted again";
            self.quarantine_retried(path, reason)?;
            return Ok(false);
        };
        unsynced.sync()?;
        failpoint!("retry.published");
        self.disk.remove(path)?.sync()?;
        self.forget_suspect(name);
        tracing::info!(export_id = %name.export_id, "retrying a quarantined journal entry");
        Ok(true)
    }

    fn quarantine_retried(&self, path: &Path, reason: &str) -> Result<(), DiskError> {
        let size_bytes = fs::symlink_metadata(path).map_or(0, |metadata| metadata.len());
        // Files in `retry/` are not counted, but quarantining a file subtracts its size.
        self.usage.lock().add(export_id_of(path), size_bytes);
        self.quarantine(path, reason).map(drop)
    }
}

/// The name that a quarantined file had in the journal, without the number that made it unique in quarantine.
fn entry_name(name: &str) -> Option<EntryName> {
    let end = name.find(EXTENSION)? + EXTENSION.len();
    let number = name[end..].strip_prefix('.');
    let is_numbered = number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    (name.len() == end || is_numbered).then(|| name[..end].parse().ok())?
}

const EXTENSION: &str = ".export";

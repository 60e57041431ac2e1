//! Entries that come back from quarantine: `tara-export journal retry`.
//!
//! The command only moves a file, from `quarantine/` to `retry/`, so that it works beside a server
//! and without one. The process that holds the data directory takes it from there.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    EntryName, Files, JournalEntry, JournalError, JournalLimits, MAX_QUARANTINED_LISTED,
    entries::{Found, examine, plain_files},
    quarantine::reason_path,
};
use crate::{
    bundle::ExportId,
    disk::{DiskError, sync_directory},
};

/// An entry that was taken out of quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried {
    /// The entry's name.
    pub name: String,
    /// Why it was in quarantine.
    pub reason: String,
}

/// Why an entry can't be retried. Nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The export has no file in quarantine, nor anywhere else in the journal.
    #[error("exports/{0} is not in the journal of this data directory: check the id and DATA_DIR")]
    Unknown(ExportId),
    /// The export is in the journal and not in quarantine.
    #[error("exports/{0} is not in quarantine: the server works on it without a retry")]
    NotQuarantined(ExportId),
    /// Files of several contents.
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
    /// The file has no entry's name.
    #[error("{name} in quarantine is no entry of the journal: restore it from a backup")]
    NoEntry {
        /// The file's name.
        name: String,
    },
    /// The disk failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Takes an export's entry out of quarantine, durably. A server that runs takes it within seconds,
/// another one when it starts. Blocks; needs no lock.
///
/// # Errors
/// [`RetryError`].
pub fn retry(data_dir: &Path, export_id: ExportId) -> Result<Retried, RetryError> {
    let files = Files::new(data_dir.to_owned(), JournalLimits { max_bytes: u64::MAX })
        .map_err(JournalError::from)?;
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
        let entry = entry_name(name).ok_or_else(|| RetryError::NoEntry { name: name.clone() })?;
        let reason = super::quarantine::read_reason(path);
        let target = self.retry.join(entry.to_string());
        self.move_back(path, &target).map_err(JournalError::from)?;
        Ok(Retried { name: entry.to_string(), reason })
    }

    /// Moves a file of the quarantine, durably, and then its reason away.
    fn move_back(&self, path: &Path, target: &Path) -> Result<(), DiskError> {
        self.disk.ensure_directory(&self.retry)?;
        let failed = |error| DiskError::of_write("move out of quarantine", path, error);
        fs::rename(path, target).map_err(failed)?;
        sync_directory(&self.retry)?;
        sync_directory(&self.quarantine)?;
        self.disk.remove(&reason_path(path))?;
        Ok(())
    }

    fn quarantined_of(&self, export_id: ExportId) -> Result<Vec<(String, PathBuf)>, JournalError> {
        let mut found = Vec::new();
        for file in plain_files(&self.quarantine)? {
            let file = file?;
            let name = file.name.to_string_lossy().into_owned();
            let is_meant = super::names::leading_export_id(&name) == Some(export_id);
            if is_meant && !super::quarantine::is_reason(&name) {
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
            for file in plain_files(folder)? {
                let name = file?.name;
                if super::names::leading_export_id(&name.to_string_lossy()) == Some(export_id) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Moves what is in `retry/` back into the journal. An entry that is damaged, and one whose name
    /// the journal has again, goes back to quarantine.
    pub(super) fn take_retried(&self) -> Result<Vec<JournalEntry>, JournalError> {
        let mut entries = Vec::new();
        for file in plain_files(&self.retry)? {
            let file = file?;
            let found = match examine(&file.path) {
                Found::Entry(entry) => Ok(entry),
                Found::Damaged(reason) => Err(reason),
                Found::Gone => continue,
                Found::Later(error) => {
                    tracing::warn!(file = %file.path.display(), %error, "an entry is not retried by this release");
                    continue;
                }
                Found::Unread(error) => return Err(error.into()),
            };
            let moved = match found {
                Ok(entry) => self.publish_retried(&file.path, &entry)?.then_some(entry),
                Err(reason) => {
                    self.quarantine_of_retry(&file.path, &reason)?;
                    None
                }
            };
            entries.extend(moved);
        }
        Ok(entries)
    }

    /// Gives a retried entry its name in the journal. Whether it was free.
    fn publish_retried(&self, path: &Path, entry: &JournalEntry) -> Result<bool, JournalError> {
        let name = entry.name();
        let target = self.journal.join(name.to_string());
        let failed = |error| DiskError::of_write("move into the journal", path, error);
        {
            let mut numbers = self.usage.lock();
            match fs::hard_link(path, &target) {
                Ok(()) => numbers.add(entry.size_bytes),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    drop(numbers);
                    let reason =
                        "the journal has an entry of this name: the export was accepted again";
                    self.quarantine_of_retry(path, reason)?;
                    return Ok(false);
                }
                Err(error) => return Err(failed(error).into()),
            }
        }
        sync_directory(&self.journal)?;
        failpoint!("retry.published");
        self.disk.remove(path)?;
        sync_directory(&self.retry)?;
        self.forget_suspect(name);
        tracing::info!(export_id = %name.export_id, "an entry of the journal is retried");
        Ok(true)
    }

    fn quarantine_of_retry(&self, path: &Path, reason: &str) -> Result<(), DiskError> {
        let size_bytes = fs::symlink_metadata(path).map_or(0, |metadata| metadata.len());
        // It does not count as held while it is not in the journal; a quarantine subtracts it.
        self.usage.lock().add(size_bytes);
        self.quarantine(path, reason)?;
        sync_directory(&self.retry)
    }
}

/// The name that a file in quarantine had in the journal: without the number that made it free there.
fn entry_name(name: &str) -> Option<EntryName> {
    let end = name.find(EXTENSION)? + EXTENSION.len();
    let number = name[end..].strip_prefix('.');
    let is_numbered = number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    (name.len() == end || is_numbered).then(|| name[..end].parse().ok())?
}

const EXTENSION: &str = ".export";

//! Quarantine: entries that cannot be processed, each with its reason, which are never deleted.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use tara_export_bundle::ExportId;
use tara_export_disk::{DiskError, plain_files};
use tara_export_failpoint::failpoint;

use super::{
    EntryName, Files, JournalError, LoadError,
    names::{Subject, leading_export_id},
};

/// Maximum number of listed files in quarantine.
pub const MAX_QUARANTINED_LISTED: usize = 1_000;

const REASON_SUFFIX: &str = ".reason.txt";
/// Maximum number of bytes to read of a reason, which has a few hundred bytes.
const REASON_LIMIT_BYTES: u64 = 4096;
/// Maximum length of a file name in quarantine; leaves space for a number and the reason's suffix within 255 bytes.
const NAME_LIMIT_BYTES: usize = 200;

/// The content of the quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quarantine {
    /// Number of files.
    pub count: u64,
    /// The first files by name.
    pub files: Vec<Quarantined>,
}

/// A file in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// File name in quarantine.
    pub name: String,
    /// Why it was quarantined.
    pub reason: String,
    /// The export, if the name starts with an id.
    pub export_id: Option<ExportId>,
    /// Size of the file.
    pub size_bytes: u64,
}

impl Files {
    /// Moves a file of the journal to quarantine. Writes the reason first, so that every file has one. If the reason
    /// cannot be written, for example on a full disk, the file is moved without it.
    pub(super) fn quarantine(&self, path: &Path, reason: &str) -> Result<Quarantined, DiskError> {
        self.disk.ensure_directory(&self.quarantine)?;
        // Only this process moves files here, one at a time: a free name stays free.
        let mut counters = self.usage.lock();
        let original = path.file_name().unwrap_or_default().to_string_lossy();
        let (name, target) = self.free_name(&original)?;
        if let Err(error) = self.write_reason(&target, &original, reason) {
            tracing::warn!(%error, name, reason, "cannot write the reason of a quarantined entry");
        }
        failpoint!("quarantine.reason");
        let failed = |error| DiskError::of_write("move to quarantine", path, error);
        let size_bytes = fs::symlink_metadata(path).map_err(failed)?.len();
        let moved = self.disk.rename(path, &target, "move to quarantine")?;
        failpoint!("quarantine.moved");
        counters.subtract(leading_export_id(&original), size_bytes);
        drop(counters);
        moved.sync()?;
        tracing::error!(
            name,
            reason,
            folder = %self.quarantine.display(),
            "a journal entry was moved to quarantine: its export does not continue until an operator acts"
        );
        let export_id = leading_export_id(&name);
        let quarantined = Quarantined { name, reason: reason.to_owned(), export_id, size_bytes };
        self.add_quarantined(&quarantined, &target);
        Ok(quarantined)
    }

    /// Quarantines the takeover of an entry of the store's journal: creates an empty file with its reason, so that this
    /// machine does not take the entry over.
    pub(super) fn quarantine_takeover(
        &self,
        takeover: Subject,
        reason: &str,
    ) -> Result<Quarantined, DiskError> {
        self.disk.ensure_directory(&self.quarantine)?;
        let name = takeover.to_string();
        let target = self.quarantine.join(&name);
        self.write_reason(&target, &name, reason)?;
        let failed = |error| DiskError::of_write("write", &target, error);
        File::create(&target).map_err(failed)?;
        self.disk.sync_name(&target)?;
        tracing::error!(
            name,
            reason,
            "this machine no longer takes over an entry of the store's journal"
        );
        let export_id = leading_export_id(&name);
        let quarantined = Quarantined { name, reason: reason.to_owned(), export_id, size_bytes: 0 };
        self.add_quarantined(&quarantined, &target);
        Ok(quarantined)
    }

    pub(super) fn is_quarantined(&self, takeover: Subject) -> bool {
        self.quarantine.join(takeover.to_string()).exists()
    }

    /// Moves an entry to quarantine by its name.
    pub(super) fn quarantine_entry(&self, name: EntryName, reason: &str) -> Result<(), LoadError> {
        match self.quarantine(&self.journal.join(name.to_string()), reason) {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Err(LoadError::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// A free name in quarantine, as similar to the original as possible.
    ///
    /// # Errors
    /// If it cannot be determined whether a name is free: moving the file could then overwrite another one.
    fn free_name(&self, original: &str) -> Result<(String, PathBuf), DiskError> {
        let mut name: String =
            original.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
        name.truncate(name.floor_char_boundary(NAME_LIMIT_BYTES));
        if name.ends_with(REASON_SUFFIX) {
            name.push_str(".file");
        }
        let mut free = name.clone();
        let mut number = 2_u64;
        // Terminates: there are more numbers than files.
        while self.disk.has_name(&self.quarantine.join(&free))? {
            free = format!("{name}.{number}");
            number += 1;
        }
        let path = self.quarantine.join(&free);
        Ok((free, path))
    }

    /// Writes a reason. It becomes durable when the folder is synced for the quarantined file.
    fn write_reason(&self, target: &Path, original: &str, reason: &str) -> Result<(), DiskError> {
        let path = reason_path(target);
        let text = format!("{reason}\n\nThe file was {original:?} in the journal.\n");
        self.disk.write(&path, [text])?.leave_unsynced();
        Ok(())
    }

    pub(super) fn quarantined(&self) -> Result<Quarantine, JournalError> {
        let mut count = 0;
        let mut first = BTreeSet::new();
        for file in plain_files(&self.quarantine)? {
            let file = file?;
            let name = file.name.to_string_lossy().into_owned();
            if is_reason(&name) {
                continue;
            }
            count += 1;
            first.insert((name, file.path, file.metadata.len()));
            if first.len() > MAX_QUARANTINED_LISTED {
                first.pop_last();
            }
        }
        let files = first.into_iter().map(|(name, path, size_bytes)| Quarantined {
            reason: read_reason(&path),
            export_id: leading_export_id(&name),
            size_bytes,
            name,
        });
        Ok(Quarantine { count, files: files.collect() })
    }
}

/// Whether a file in quarantine is the reason of another.
pub(super) fn is_reason(name: &str) -> bool {
    name.ends_with(REASON_SUFFIX)
}

pub(super) fn reason_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(REASON_SUFFIX);
    path.into()
}

/// The first line of a quarantined file's reason.
pub(super) fn read_reason(file: &Path) -> String {
    let mut text = Vec::new();
    let read = File::open(reason_path(file))
        .and_then(|reason| reason.take(REASON_LIMIT_BYTES).read_to_end(&mut text));
    match read {
        Ok(_) => String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned(),
        Err(error) => format!("cannot read its reason: {error}"),
    }
}

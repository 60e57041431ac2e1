//! Entries that can't be read: moved aside, with the reason, and never deleted.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{
    EntryName, Files, JournalError, LoadError, entries::plain_files, names::leading_export_id,
};
use crate::{
    bundle::ExportId,
    disk::{DiskError, sync_directory, sync_file, write_bytes},
};

/// The most files of the quarantine that are listed.
pub const MAX_QUARANTINED_LISTED: usize = 1_000;

const REASON_SUFFIX: &str = ".reason.txt";
/// A reason has some hundred bytes; more is not read.
const REASON_LIMIT_BYTES: u64 = 4096;
/// Longest name taken over; leaves room for a number and the reason's ending within 255 bytes.
const NAME_LIMIT_BYTES: usize = 200;

/// What lies in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quarantine {
    /// How many files there are.
    pub count: u64,
    /// The first of them, by name.
    pub files: Vec<Quarantined>,
}

/// A file in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its name there.
    pub name: String,
    /// Why it is there.
    pub reason: String,
    /// The export, as far as its name tells.
    pub export_id: Option<ExportId>,
    /// Its bytes.
    pub size_bytes: u64,
}

impl Files {
    /// Moves a file of the journal aside. The reason goes first, so that no file is there without
    /// one; without it, on a full disk say, the file is moved all the same.
    pub(super) fn quarantine(&self, path: &Path, reason: &str) -> Result<Quarantined, DiskError> {
        self.disk.ensure_directory(&self.quarantine)?;
        // One process moves files here, and one at a time: a name that is free stays free.
        let mut numbers = self.usage.lock();
        let original = path.file_name().unwrap_or_default().to_string_lossy();
        let (name, target) = self.free_name(&original);
        if let Err(error) = self.write_reason(&target, &original, reason) {
            tracing::warn!(%error, name, reason, "the reason of a quarantine can't be written");
        }
        failpoint!("quarantine.reason");
        let failed = |error| DiskError::of_write("move to quarantine", path, error);
        let size_bytes = fs::symlink_metadata(path).map_err(failed)?.len();
        failpoint!("disk.file.move", path, fs::rename(path, &target)).map_err(failed)?;
        failpoint!("quarantine.moved");
        numbers.subtract(size_bytes);
        drop(numbers);
        sync_directory(&self.quarantine)?;
        sync_directory(&self.journal)?;
        tracing::error!(
            name,
            reason,
            folder = %self.quarantine.display(),
            "an entry of the journal was moved to quarantine: an accepted export is lost without it"
        );
        let export_id = leading_export_id(&name);
        Ok(Quarantined { name, reason: reason.to_owned(), export_id, size_bytes })
    }

    /// Moves an entry aside by its name.
    pub(super) fn set_aside(&self, name: EntryName, reason: &str) -> Result<(), LoadError> {
        match self.quarantine(&self.journal.join(name.to_string()), reason) {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Err(LoadError::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// A name in quarantine that nothing has, as like the file's own as can be.
    fn free_name(&self, original: &str) -> (String, PathBuf) {
        let mut name: String =
            original.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
        name.truncate(name.floor_char_boundary(NAME_LIMIT_BYTES));
        if name.ends_with(REASON_SUFFIX) {
            name.push_str(".file");
        }
        let names = std::iter::once(name.clone()).chain((2_u64..).map(|n| format!("{name}.{n}")));
        let free = names
            .map(|name| (self.quarantine.join(&name), name))
            .find(|(path, _)| fs::symlink_metadata(path).is_err());
        // There are more numbers than files.
        let (path, name) = free.unwrap_or_else(|| (self.quarantine.join(&name), name));
        (name, path)
    }

    fn write_reason(&self, target: &Path, original: &str, reason: &str) -> Result<(), DiskError> {
        let path = reason_path(target);
        let file = self.disk.create_unnamed()?;
        let text = format!("{reason}\n\nThe file was {original:?} in the journal.\n");
        write_bytes(file.as_file(), text.as_bytes(), &path)?;
        sync_file(file.as_file(), &path)?;
        self.disk.replace(file, &path)
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

/// The first line beside a file.
pub(super) fn read_reason(file: &Path) -> String {
    let mut text = Vec::new();
    let read = File::open(reason_path(file))
        .and_then(|reason| reason.take(REASON_LIMIT_BYTES).read_to_end(&mut text));
    match read {
        Ok(_) => String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned(),
        Err(error) => format!("its reason can't be read ({error})"),
    }
}

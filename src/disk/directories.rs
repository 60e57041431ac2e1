//! Folders that survive a power cut.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{DiskError, sync_directory};

/// How many folders are remembered; beyond that the memory starts afresh, which costs a few more
/// fsyncs and nothing else.
const REMEMBERED: usize = 4096;

/// Makes folders, and removes empty ones. Knows which ones are durable: each new folder's entry in
/// its parent is fsynced.
///
/// Invariant: a folder that was made through this value is durable before any other write through it
/// can see it, for both happen under one lock. So a remembered folder that was removed and made
/// again is durable too. Several values over one folder each make durable what they use; folders
/// that one of them removes are no other's.
#[derive(Debug)]
pub struct Directories {
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl Directories {
    /// Folders at and below this absolute path.
    pub fn new(root: PathBuf) -> Self {
        Self { root, durable: Mutex::default() }
    }

    /// Makes the folder and what is missing above it, durably.
    pub fn ensure(&self, folder: &Path) -> Result<(), DiskError> {
        self.ensure_and(folder, || ())
    }

    /// The same, and then works in the folder before anybody can remove it. Everybody else waits
    /// for the work, so it is no more than giving a file its name.
    pub fn ensure_and<T>(&self, folder: &Path, work: impl FnOnce() -> T) -> Result<T, DiskError> {
        let mut durable = self.lock();
        self.make_missing(folder, &mut durable)?;
        Ok(work())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        // A panic while it was held leaves at most a folder out that is durable.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_missing(&self, folder: &Path, durable: &mut HashSet<PathBuf>) -> Result<(), DiskError> {
        if durable.contains(folder) && is_directory(folder, folder == self.root) {
            return Ok(());
        }
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        let missing_above_root: Vec<&Path> =
            self.root.ancestors().skip(1).take_while(|ancestor| !ancestor.exists()).collect();
        for ancestor in missing_above_root.into_iter().rev() {
            make(ancestor, true)?;
        }
        let below_root: Vec<&Path> =
            folder.ancestors().take_while(|ancestor| ancestor.starts_with(&self.root)).collect();
        for level in below_root.into_iter().rev() {
            let is_root = level == self.root;
            if durable.contains(level) && is_directory(level, is_root) {
                continue;
            }
            make(level, is_root)?;
            durable.insert(level.to_owned());
        }
        Ok(())
    }

    /// Removes a folder below the root if it is empty. Whether it is gone, by this or before. Not
    /// durable before the folder above is synced.
    pub fn remove_if_empty(&self, folder: &Path) -> Result<bool, DiskError> {
        let mut durable = self.lock();
        let is_gone = match failpoint!("disk.directory.remove", folder, fs::remove_dir(folder)) {
            Ok(()) => true,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => true,
                // Not empty (POSIX lets a system say either), a mount point, or in a folder that the
                // operator keeps for himself. An empty folder is in nobody's way.
                io::ErrorKind::DirectoryNotEmpty
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::ResourceBusy
                | io::ErrorKind::PermissionDenied => false,
                _ => return Err(DiskError::of_write("remove the folder", folder, error)),
            },
        };
        if is_gone {
            durable.remove(folder);
        }
        Ok(is_gone)
    }

    /// Makes all entries on the way from the root to this existing object durable. They may be the
    /// work of a process that crashed before it did that.
    pub fn sync_way_to(&self, object: &Path) -> Result<(), DiskError> {
        let Some(folder) = object.parent() else {
            return Ok(());
        };
        self.ensure(folder)?;
        sync_directory(folder)
    }
}

/// Makes one folder if it is missing, and its entry in its parent durable.
fn make(folder: &Path, may_be_link: bool) -> Result<(), DiskError> {
    let made = match failpoint!("disk.directory.make", folder, fs::create_dir(folder)) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(DiskError::of_write("make the folder", folder, error)),
    };
    if !made && !is_directory(folder, may_be_link) {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(DiskError::of_write("make the folder", folder, error));
    }
    let Some(parent) = folder.parent() else {
        return Ok(());
    };
    match sync_directory(parent) {
        Ok(()) => Ok(()),
        // A folder that was there before, in a parent this user may not read, such as a mount point
        // below `/`: the operator's own, and nothing of ours to make durable.
        Err(error) if !made && error.is_permission_denied() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether this is a folder; a symbolic link to one counts only where an operator may have put it,
/// at the root and above. Below, a link could lead out of the store.
fn is_directory(path: &Path, may_be_link: bool) -> bool {
    let metadata = if may_be_link { fs::metadata(path) } else { fs::symlink_metadata(path) };
    metadata.is_ok_and(|metadata| metadata.is_dir())
}

//! Durable folders.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tara_export_failpoint::failpoint;

use super::{DiskError, sync::sync_directory};

/// Maximum number of remembered folders; beyond that the list is cleared, which costs only a few more
/// fsyncs.
const MAX_REMEMBERED: usize = 4096;

/// Creates folders and removes empty ones. Remembers which ones are durable: the entry of a new folder in
/// its parent is fsynced.
///
/// Invariant: a folder that was created through this value is durable before another write through it
/// can see it, because both hold the same lock. So a remembered folder that was removed and created
/// again is durable too. Several values for one root each sync the folders that they use; no value
/// uses folders that another one removes.
#[derive(Debug)]
pub struct Directories {
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl Directories {
    /// Manages the folders at and below this absolute path.
    pub fn new(root: PathBuf) -> Self {
        Self { root, durable: Mutex::default() }
    }

    /// Creates the folder and its missing parents durably.
    pub fn ensure(&self, folder: &Path) -> Result<(), DiskError> {
        self.ensure_and(folder, || ())
    }

    /// Like [`ensure`](Self::ensure), and then runs `work` before the folder can be removed. Other calls
    /// wait for it, so `work` should only rename a file.
    pub fn ensure_and<T>(&self, folder: &Path, work: impl FnOnce() -> T) -> Result<T, DiskError> {
        let mut durable = self.lock();
        self.create_missing(folder, &mut durable)?;
        Ok(work())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        // After a panic under the lock, at most one durable folder is not remembered.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create_missing(
        &self,
        folder: &Path,
        durable: &mut HashSet<PathBuf>,
    ) -> Result<(), DiskError> {
        if durable.contains(folder) && is_directory(folder, folder == self.root) {
            return Ok(());
        }
        if durable.len() >= MAX_REMEMBERED {
            durable.clear();
        }
        let missing_above_root: Vec<&Path> =
            self.root.ancestors().skip(1).take_while(|ancestor| !ancestor.exists()).collect();
        for ancestor in missing_above_root.into_iter().rev() {
            create(ancestor, true)?;
        }
        let below_root: Vec<&Path> =
            folder.ancestors().take_while(|ancestor| ancestor.starts_with(&self.root)).collect();
        for level in below_root.into_iter().rev() {
            let is_root = level == self.root;
            if durable.contains(level) && is_directory(level, is_root) {
                continue;
            }
            create(level, is_root)?;
            durable.insert(level.to_owned());
        }
        Ok(())
    }

    /// Removes a folder below the root if it is empty. Returns whether it does not exist any more. Durable
    /// once the parent is synced.
    pub fn remove_if_empty(&self, folder: &Path) -> Result<bool, DiskError> {
        let mut durable = self.lock();
        let is_removed = match failpoint!("disk.directory.remove", folder, fs::remove_dir(folder)) {
            Ok(()) => true,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => true,
                // Not empty (POSIX allows either error), a mount point, or in a folder that the operator
                // protects. An empty folder does no harm.
                io::ErrorKind::DirectoryNotEmpty
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::ResourceBusy
                | io::ErrorKind::PermissionDenied => false,
                _ => return Err(DiskError::of_write("remove the folder", folder, error)),
            },
        };
        if is_removed {
            durable.remove(folder);
        }
        Ok(is_removed)
    }

    /// Makes all entries of the path from the root to this existing object durable. A process that crashed
    /// may have created them without syncing.
    pub fn sync_path_to(&self, object: &Path) -> Result<(), DiskError> {
        let Some(folder) = object.parent() else {
            return Ok(());
        };
        self.ensure(folder)?;
        sync_directory(folder)
    }
}

/// Creates one folder if it is missing, and makes its entry in its parent durable.
fn create(folder: &Path, may_be_link: bool) -> Result<(), DiskError> {
    let is_new = match failpoint!("disk.directory.make", folder, fs::create_dir(folder)) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(DiskError::of_write("create the folder", folder, error)),
    };
    if !is_new && !is_directory(folder, may_be_link) {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(DiskError::of_write("create the folder", folder, error));
    }
    let Some(parent) = folder.parent() else {
        return Ok(());
    };
    match sync_directory(parent) {
        Ok(()) => Ok(()),
        // A folder that already existed in a parent that this user may not read, such as a mount point
        // below `/`: the operator created it, so this process does not have to sync it.
        Err(error) if !is_new && error.is_permission_denied() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether this is a folder. A symbolic link to a folder counts only at the root and above, where an operator
/// may have created it. Below the root, a link could point out of the store.
fn is_directory(path: &Path, may_be_link: bool) -> bool {
    let metadata = if may_be_link { fs::metadata(path) } else { fs::symlink_metadata(path) };
    metadata.is_ok_and(|metadata| metadata.is_dir())
}

//! Durable files: written to a temporary file, fsynced, and renamed atomically.
//!
//! Every function blocks its thread and is one step: the caller decides on their order.
//!
//! Never depends on an async runtime or on the content of the files.

mod directories;
mod error;
mod listing;
pub mod small_file;
mod sync;
mod unsynced;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use tara_export_failpoint::{failpoint, persistent_failpoint};
use tempfile::NamedTempFile;

use self::sync::sync_directory;

#[cfg(any(test, feature = "testing"))]
pub use self::sync::counts;
pub use self::{
    directories::Directories,
    error::{DiskError, DiskErrorKind},
    listing::{PlainFile, plain_files, plain_name, plain_names},
    sync::{sync_file, write_bytes},
    unsynced::{Batch, Unsynced, batch},
};

/// Bytes of a write check: one block of most file systems.
const PROBE_BYTES: usize = 4096;

/// The files below one folder of this machine. One process at a time writes there; any number can
/// read.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    /// The folder of unfinished files. On the root's file system, so that a finished file can be
    /// renamed.
    temporary: PathBuf,
    directories: Directories,
}

/// The result of publishing a file.
#[derive(Debug)]
#[must_use = "a power cut can undo this change until its folder is synced"]
pub enum Published {
    /// The file has its name.
    Created(Unsynced),
    /// Another file has the name.
    Taken,
}

impl Disk {
    /// Manages the files below this absolute path, with unfinished files in its subfolder `temporary`.
    /// Creates nothing.
    pub fn new(root: PathBuf, temporary: &str) -> Self {
        Self { temporary: root.join(temporary), directories: Directories::new(root.clone()), root }
    }

    /// The folder of all files.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates a folder below the root and its missing parents durably.
    pub fn ensure_directory(&self, folder: &Path) -> Result<(), DiskError> {
        self.directories.ensure(folder)
    }

    /// Whether a regular file has this name. If so, makes the name durable: the process that published it may
    /// have died before the folder's fsync.
    ///
    /// # Errors
    /// [`DiskErrorKind::Misconfigured`] if the name is not that of a regular file.
    pub fn has_file(&self, path: &Path) -> Result<bool, DiskError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                self.directories.sync_path_to(path)?;
                Ok(true)
            }
            Ok(_) => Err(DiskError::of_write("write", path, not_a_regular_file())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(DiskError::of_write("check", path, error)),
        }
    }

    /// Whether this name exists. A failing disk is an error and does not mean that the name is missing.
    pub fn has_name(&self, path: &Path) -> Result<bool, DiskError> {
        match failpoint!("disk.file.read", path, fs::symlink_metadata(path)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(DiskError::of_read("check", path, error)),
        }
    }

    /// Creates an empty file without its final name. Dropping it removes it.
    pub fn create_unnamed(&self) -> Result<NamedTempFile, DiskError> {
        self.directories.ensure(&self.temporary)?;
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            // Default permissions within the operator's umask; the crate's default is owner only.
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        failpoint!("disk.file.create", &self.temporary, builder.tempfile_in(&self.temporary))
            .map_err(|error| DiskError::of_write("create a file in", &self.temporary, error))
    }

    /// Checks that a file can be created, written and fsynced in the folder of unfinished files. Creates no
    /// folder: if that one is missing, uses the nearest existing parent below the root. The file has no
    /// name, so that nothing remains of it.
    pub fn check_writable(&self) -> Result<(), DiskError> {
        let own = self.temporary.ancestors().take_while(|folder| *folder != self.root);
        let Some(folder) = own.into_iter().find(|folder| folder.exists()) else { return Ok(()) };
        let failed = |action, error| DiskError::of_write(action, folder, error);
        let file = persistent_failpoint!("disk.file.create", folder, tempfile::tempfile_in(folder))
            .map_err(|error| failed("create a file in", error))?;
        persistent_failpoint!("disk.file.write", folder, (&file).write_all(&[b'.'; PROBE_BYTES]))
            .map_err(|error| failed("write a file in", error))?;
        persistent_failpoint!("disk.file.sync", folder, file.sync_all())
            .map_err(|error| failed("sync a file in", error))
    }

    /// Checks, without writing, that this service's user may create files in the folder of this path, or in its nearest
    /// existing parent, and that finished files can be moved there: only within one file system.
    pub fn check_publishable(&self, path: &Path) -> Result<(), DiskError> {
        let failed = |error| DiskError::of_write("create", path, error);
        let Some(folder) = path.ancestors().skip(1).find(|folder| folder.exists()) else {
            return Ok(());
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;

            use rustix::fs::{Access, access};
            let device = |folder| fs::metadata(folder).map(|metadata| metadata.dev());
            if folder.starts_with(&self.root)
                && device(folder).map_err(failed)? != device(&self.root).map_err(failed)?
            {
                return Err(failed(io::ErrorKind::CrossesDevices.into()));
            }
            access(folder, Access::WRITE_OK | Access::EXEC_OK)
                .map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }

    /// Gives a file its name unless the name is taken. Of several concurrent calls, one succeeds.
    pub fn publish(&self, file: NamedTempFile, path: &Path) -> Result<Published, DiskError> {
        failpoint!("disk.file.publish", path, Ok(()))
            .map_err(|error| DiskError::of_write("publish", path, error))?;
        let name = || file.persist_noclobber(path);
        let folder = self.folder_of(path);
        match self.directories.ensure_and(folder, name)? {
            Ok(_) => Ok(Published::Created(Unsynced::created((), &[folder]))),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Published::Taken)
            }
            Err(error) => Err(DiskError::of_write("publish", path, error.error)),
        }
    }

    /// Gives a file its name atomically and replaces any file that had it.
    pub fn replace(&self, file: NamedTempFile, path: &Path) -> Result<Unsynced, DiskError> {
        let replace = || {
            let persist = || file.persist(path).map_err(|error| error.error);
            failpoint!("disk.file.replace", path, persist())
        };
        let folder = self.folder_of(path);
        match self.directories.ensure_and(folder, replace)? {
            Ok(_) => Ok(Unsynced::created((), &[folder])),
            Err(error) => Err(DiskError::of_write("publish", path, error)),
        }
    }

    /// Writes a file with these pieces, syncs it, and gives it its name atomically. Replaces any file that had it.
    pub fn write<P: AsRef<[u8]>>(
        &self,
        path: &Path,
        pieces: impl IntoIterator<Item = P>,
    ) -> Result<Unsynced, DiskError> {
        let file = self.create_unnamed()?;
        for piece in pieces {
            write_bytes(file.as_file(), piece.as_ref(), path)?;
        }
        sync_file(file.as_file(), path)?;
        self.replace(file, path)
    }

    /// Gives a file a second name unless the name is taken. `action` is for messages, as in [`DiskError::of_write`].
    pub fn link(&self, file: &Path, path: &Path, action: &str) -> Result<Published, DiskError> {
        match failpoint!("disk.file.link", path, fs::hard_link(file, path)) {
            Ok(()) => Ok(Published::Created(Unsynced::created((), &[self.folder_of(path)]))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Published::Taken),
            Err(error) => Err(DiskError::of_write(action, path, error)),
        }
    }

    /// Renames a file and replaces any file with the new name. `action` is for messages.
    pub fn rename(&self, path: &Path, target: &Path, action: &str) -> Result<Unsynced, DiskError> {
        failpoint!("disk.file.move", path, fs::rename(path, target))
            .map_err(|error| DiskError::of_write(action, path, error))?;
        // The new name first: a power cut between the two syncs leaves two names instead of none.
        let folders = [self.folder_of(target), self.folder_of(path)];
        let is_same_folder = folders[0] == folders[1];
        Ok(Unsynced::created((), if is_same_folder { &folders[..1] } else { &folders }))
    }

    /// Renames a file, if it exists, into a folder that is created if it is missing. Replaces any file with the new name.
    /// Returns whether the file existed.
    pub fn move_file(&self, path: &Path, target: &Path) -> Result<Unsynced<bool>, DiskError> {
        let rename = || failpoint!("disk.file.move", path, fs::rename(path, target));
        let folder = self.folder_of(target);
        let existed = match self.directories.ensure_and(folder, rename)? {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(DiskError::of_write("move", path, error)),
        };
        Ok(Unsynced::created(existed, &[folder, self.folder_of(path)]))
    }

    /// Removes a folder below the root if it is empty. Returns whether it does not exist any more. A power cut can undo
    /// the removal.
    pub fn remove_empty_directory(&self, folder: &Path) -> Result<bool, DiskError> {
        self.directories.remove_if_empty(folder)
    }

    /// Removes the file with this name. Returns whether it existed.
    pub fn remove(&self, path: &Path) -> Result<Unsynced<bool>, DiskError> {
        let existed = match failpoint!("disk.file.remove", path, fs::remove_file(path)) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(DiskError::of_write("remove", path, error)),
        };
        Ok(Unsynced::removed(existed, self.folder_of(path)))
    }

    /// The removal of a missing name: the process that removed it may have died before the sync.
    pub fn already_removed(&self, path: &Path) -> Unsynced<bool> {
        Unsynced::removed(false, self.folder_of(path))
    }

    /// Makes a name durable that another process may have created without a sync, or that was not created through
    /// this value.
    pub fn sync_name(&self, path: &Path) -> Result<(), DiskError> {
        sync_directory(self.folder_of(path))
    }

    /// Removes a regular file and its empty parents up to the folder `keep`, which remains. Durable when
    /// this returns, even if the file was already missing: the process that removed it may have died before
    /// the folder's fsync.
    ///
    /// # Errors
    /// [`DiskErrorKind::Misconfigured`] if the name is not that of a regular file.
    pub fn remove_durably(&self, path: &Path, keep: &Path) -> Result<(), DiskError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                // Synced below.
                self.remove(path)?.leave_unsynced();
            }
            Ok(_) => return Err(DiskError::of_write("remove", path, not_a_regular_file())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A parent is a file, so the path does not exist.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
            Err(error) => return Err(DiskError::of_write("check", path, error)),
        }
        // Syncing the lowest remaining folder makes all removals below it durable.
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(keep)) {
            let is_removed = folder != keep && self.directories.remove_if_empty(folder)?;
            if is_removed {
                continue;
            }
            match sync_directory(folder) {
                Ok(()) => break,
                // Another call removed the folder, or it never existed.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes unfinished files of a crashed process. Only for the process that writes here, and only before
    /// it writes: otherwise this would remove files in use.
    ///
    /// # Errors
    /// If a file cannot be removed. Other files may have been removed.
    pub fn clean_temporary_files(&self) -> Result<(), DiskError> {
        let failed = |error| DiskError::of_write("list", &self.temporary, error);
        let entries = match fs::read_dir(&self.temporary) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let entries: Vec<fs::DirEntry> = entries.collect::<Result<_, _>>().map_err(failed)?;
        for entry in entries {
            // This service creates no folders here; `lost+found` and `.snapshot` are those of a file system.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            match self.remove(&entry.path()) {
                Ok(removed) => {
                    let _existed = removed.leave_unsynced();
                }
                // A file of another user. New files have other names.
                Err(error) if error.is_permission_denied() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The folder of a path below the root.
    fn folder_of<'a>(&'a self, path: &'a Path) -> &'a Path {
        path.parent().unwrap_or(&self.root)
    }
}

fn not_a_regular_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the path exists but is not a regular file")
}

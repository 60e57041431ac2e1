//! Files that survive a power cut: written aside, fsynced, and given their name in one step.
//!
//! Every function blocks its thread, and is one step: whoever calls them decides on their order.

mod directories;
mod error;
mod sync;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

#[cfg(test)]
pub(crate) use self::sync::counts;
pub use self::{
    directories::Directories,
    error::{DiskError, DiskErrorKind},
    sync::{sync_directory, sync_file, write_bytes},
};

/// The files below one folder of this machine. One process writes there at a time; any number may
/// read.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    /// Where unfinished files are written. On the root's own file system, so that a finished file
    /// can be moved into place.
    temporary: PathBuf,
    directories: Directories,
}

/// How often a file is given its name while others remove its empty folder.
const PUBLISH_ATTEMPTS: u32 = 100;

/// What became of a file that was to get its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It has it.
    Created,
    /// Another file has it.
    Taken,
}

impl Disk {
    /// The files below this absolute path; unfinished ones lie in the folder `temporary` below it.
    /// Creates nothing.
    pub fn new(root: PathBuf, temporary: &str) -> Self {
        Self { temporary: root.join(temporary), directories: Directories::new(root.clone()), root }
    }

    /// The folder that all files lie in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a folder below the root and what is missing above it, durably.
    pub fn ensure_directory(&self, folder: &Path) -> Result<(), DiskError> {
        self.directories.ensure(folder)
    }

    /// Whether a plain file has this name. It is durable then: whoever published it may have died
    /// before the folder's fsync.
    ///
    /// # Errors
    /// [`DiskErrorKind::Misconfigured`] where something else has the name.
    pub fn has_file(&self, path: &Path) -> Result<bool, DiskError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                self.directories.sync_way_to(path)?;
                Ok(true)
            }
            Ok(_) => {
                let error = io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "something is in the way that is no plain file",
                );
                Err(DiskError::of_write("write", path, error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(DiskError::of_write("look for", path, error)),
        }
    }

    /// A new empty file without a name of its own yet. Dropping it removes it.
    pub fn create_unnamed(&self) -> Result<NamedTempFile, DiskError> {
        self.directories.ensure(&self.temporary)?;
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            // As any new file, within the operator's umask; the crate's own default is the owner alone.
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        failpoint!("disk.file.create", &self.temporary, builder.tempfile_in(&self.temporary))
            .map_err(|error| DiskError::of_write("make a file in", &self.temporary, error))
    }

    /// Gives a file its name unless the name is taken. Of several at once, one wins. Not durable
    /// before its folder is synced.
    pub fn publish(&self, mut file: NamedTempFile, path: &Path) -> Result<Published, DiskError> {
        failpoint!("disk.file.publish", path, Ok(()))
            .map_err(|error| DiskError::of_write("publish", path, error))?;
        for attempt in 1.. {
            self.directories.ensure(self.folder_of(path))?;
            match file.persist_noclobber(path) {
                Ok(_) => break,
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    return Ok(Published::Taken);
                }
                // The folder was empty and was just removed.
                Err(error)
                    if error.error.kind() == io::ErrorKind::NotFound
                        && attempt < PUBLISH_ATTEMPTS =>
                {
                    file = error.file;
                }
                Err(error) => return Err(DiskError::of_write("publish", path, error.error)),
            }
        }
        Ok(Published::Created)
    }

    /// Gives a file its name, in one step, whatever had it before. Not durable before its folder is
    /// synced.
    pub fn replace(&self, file: NamedTempFile, path: &Path) -> Result<(), DiskError> {
        self.directories.ensure(self.folder_of(path))?;
        let replace = || file.persist(path).map_err(|error| error.error);
        match failpoint!("disk.file.replace", path, replace()) {
            Ok(_) => Ok(()),
            Err(error) => Err(DiskError::of_write("publish", path, error)),
        }
    }

    /// Removes what has this name. Whether anything had. Not durable before its folder is synced.
    pub fn remove(&self, path: &Path) -> Result<bool, DiskError> {
        match failpoint!("disk.file.remove", path, fs::remove_file(path)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(DiskError::of_write("remove", path, error)),
        }
    }

    /// Removes a plain file and the folders above it that are empty then, up to the folder `keep`.
    /// Durable when this returns, also where the file is gone already.
    ///
    /// # Errors
    /// [`DiskErrorKind::Misconfigured`] where something else has the name.
    pub fn remove_durably(&self, path: &Path, keep: &Path) -> Result<(), DiskError> {
        if self.has_file(path)? {
            self.remove(path)?;
        }
        for folder in path.ancestors().skip(1) {
            if folder == keep || !folder.starts_with(keep) {
                break;
            }
            match self.directories.remove_if_empty(folder) {
                Ok(true) => {}
                Ok(false) => return sync_directory(folder),
                Err(error) => return Err(error),
            }
        }
        match keep.exists() {
            true => sync_directory(keep),
            false => Ok(()),
        }
    }

    /// Removes unfinished files, which a crash left behind. Only for the process that writes here,
    /// and before it does: it would take away another's.
    ///
    /// # Errors
    /// When a file can't be removed; the others may be gone.
    pub fn clean_temporary_files(&self) -> Result<(), DiskError> {
        let failed = |error| DiskError::of_write("look through", &self.temporary, error);
        let entries = match fs::read_dir(&self.temporary) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let files: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        for file in files {
            self.remove(&file)?;
        }
        Ok(())
    }

    /// The folder of a path below the root.
    fn folder_of<'a>(&'a self, path: &'a Path) -> &'a Path {
        path.parent().unwrap_or(&self.root)
    }
}

//! Files that survive a power cut: written aside, fsynced, and given their name in one step.
//!
//! Every function blocks its thread, and is one step: whoever calls them decides on their order.

mod directories;
mod error;
mod sync;

use std::{
    fs,
    io::{self, Write as _},
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

/// What is written to see whether a disk can be written: a block of most file systems.
const PROBE_BYTES: usize = 4096;

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
            Ok(_) => Err(DiskError::of_write("write", path, no_plain_file())),
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

    /// Whether a file can be made, written and fsynced where unfinished files are written. Makes no
    /// folder: where that one is missing, the next above it that exists stands for it, up to the
    /// service's own. The file has no name, so that nothing is left of it.
    pub fn check_writable(&self) -> Result<(), DiskError> {
        let own = self.temporary.ancestors().take_while(|folder| *folder != self.root);
        let Some(folder) = own.into_iter().find(|folder| folder.exists()) else { return Ok(()) };
        let failed = |action, error| DiskError::of_write(action, folder, error);
        let file = standing_failpoint!("disk.file.create", folder, tempfile::tempfile_in(folder))
            .map_err(|error| failed("make a file in", error))?;
        standing_failpoint!("disk.file.write", folder, (&file).write_all(&[b'.'; PROBE_BYTES]))
            .map_err(|error| failed("write in", error))?;
        standing_failpoint!("disk.file.sync", folder, file.sync_all())
            .map_err(|error| failed("sync a file in", error))
    }

    /// Gives a file its name unless the name is taken. Of several at once, one wins. Not durable
    /// before its folder is synced.
    pub fn publish(&self, file: NamedTempFile, path: &Path) -> Result<Published, DiskError> {
        failpoint!("disk.file.publish", path, Ok(()))
            .map_err(|error| DiskError::of_write("publish", path, error))?;
        let name = || file.persist_noclobber(path);
        match self.directories.ensure_and(self.folder_of(path), name)? {
            Ok(_) => Ok(Published::Created),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Published::Taken)
            }
            Err(error) => Err(DiskError::of_write("publish", path, error.error)),
        }
    }

    /// Gives a file its name, in one step, whatever had it before. Not durable before its folder is
    /// synced.
    pub fn replace(&self, file: NamedTempFile, path: &Path) -> Result<(), DiskError> {
        let replace = || {
            let persist = || file.persist(path).map_err(|error| error.error);
            failpoint!("disk.file.replace", path, persist())
        };
        match self.directories.ensure_and(self.folder_of(path), replace)? {
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

    /// Removes a plain file, and the folders above it that are empty then, up to the folder `keep`,
    /// which stays. Durable when this returns, also where the file was gone before: whoever removed
    /// it may have died before the folder's fsync.
    ///
    /// # Errors
    /// [`DiskErrorKind::Misconfigured`] where something else has the name.
    pub fn remove_durably(&self, path: &Path, keep: &Path) -> Result<(), DiskError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                self.remove(path)?;
            }
            Ok(_) => return Err(DiskError::of_write("remove", path, no_plain_file())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A file has the name of a folder above, so nothing is below.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
            Err(error) => return Err(DiskError::of_write("look for", path, error)),
        }
        // The lowest folder that stays tells of all that is gone below it: one fsync is enough.
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(keep)) {
            let is_gone = folder != keep && self.directories.remove_if_empty(folder)?;
            if is_gone {
                continue;
            }
            match sync_directory(folder) {
                Ok(()) => break,
                // Another removal took it away since, or nothing was ever written.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
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

fn no_plain_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "something is in the way that is no plain file")
}

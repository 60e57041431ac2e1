//! The data directory's lock: one process writes to it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

/// What a holder writes about itself has some fifty bytes; more is not read.
const HOLDER_LIMIT_BYTES: u64 = 1024;

/// Holds the lock of a data directory until dropped, or until the process ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error(
        "the data directory {path} belongs to another process ({holder}): stop that one, or give this one another \
         with DATA_DIR"
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// It can't be made or written.
    #[error("the data directory {path} can't be used: {source}; give another with DATA_DIR")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DataDirLock {
    /// Holds the lock until the process ends: a thread that hangs on the disk may write until then.
    pub fn hold_until_exit(self) {
        std::mem::forget(self);
    }

    /// Takes the lock, making the directory where it is missing.
    pub fn acquire(data_dir: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable { path: data_dir.to_owned(), source };
        let own = data_dir.join(".tara-export");
        std::fs::create_dir_all(&own).map_err(unusable)?;
        // Not truncated on opening: the content is the holder's until the lock is ours.
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(own.join("lock"))
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.take(HOLDER_LIMIT_BYTES).read_to_string(&mut holder);
                return Err(DataDirError::Held {
                    path: data_dir.to_owned(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let holder = format!(
            "process {} on {}\n",
            std::process::id(),
            gethostname::gethostname().to_string_lossy()
        );
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(holder.as_bytes()))
            .map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let lock = DataDirLock::acquire(folder.path()).unwrap();
        let error = DataDirLock::acquire(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(lock);
        DataDirLock::acquire(folder.path()).unwrap();
    }
}

//! Writing, and syncing of files and folders.

use std::{fs::File, io::Write as _, path::Path};

use tara_export_failpoint::failpoint;

use super::DiskError;

/// Appends to a file. `path` is its future path, for messages.
pub fn write_bytes(mut file: &File, content: &[u8], path: &Path) -> Result<(), DiskError> {
    failpoint!("disk.file.write", path, file.write_all(content))
        .map_err(|error| DiskError::of_write("write", path, error))
}

/// Makes a file's content durable. `path` is its future path, for messages.
pub fn sync_file(file: &File, path: &Path) -> Result<(), DiskError> {
    #[cfg(any(test, feature = "testing"))]
    counts::FILES.set(counts::FILES.get() + 1);
    failpoint!("disk.file.sync", path, file.sync_all())
        .map_err(|error| DiskError::of_write("sync", path, error))
}

/// Makes a folder's entries durable: published or removed files, and new folders.
pub(super) fn sync_directory(folder: &Path) -> Result<(), DiskError> {
    let sync = || File::open(folder)?.sync_all();
    failpoint!("disk.directory.sync", folder, sync())
        .map_err(|error| DiskError::of_write("sync the folder", folder, error))?;
    #[cfg(any(test, feature = "testing"))]
    counts::DIRECTORIES.set(counts::DIRECTORIES.get() + 1);
    Ok(())
}

/// Numbers of syncs of this thread, for tests that bound them.
#[cfg(any(test, feature = "testing"))]
pub mod counts {
    use std::cell::Cell;

    thread_local! {
        /// Syncs of files.
        pub static FILES: Cell<u32> = const { Cell::new(0) };
        /// Syncs of folders.
        pub static DIRECTORIES: Cell<u32> = const { Cell::new(0) };
    }
}

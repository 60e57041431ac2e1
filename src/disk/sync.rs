//! Writing, and the two ways to make something durable.

use std::{fs::File, io::Write as _, path::Path};

use super::DiskError;

/// Writes to the end of a file. `path` is what it is to become, for messages.
pub fn write_bytes(mut file: &File, content: &[u8], path: &Path) -> Result<(), DiskError> {
    failpoint!("disk.file.write", path, file.write_all(content))
        .map_err(|error| DiskError::of_write("write", path, error))
}

/// Makes a file's content durable. `path` is what it is to become, for messages.
pub fn sync_file(file: &File, path: &Path) -> Result<(), DiskError> {
    #[cfg(test)]
    counts::FILES.set(counts::FILES.get() + 1);
    failpoint!("disk.file.sync", path, file.sync_all())
        .map_err(|error| DiskError::of_write("sync", path, error))
}

/// Makes a folder's entries durable: files published there or removed, folders made there.
pub fn sync_directory(folder: &Path) -> Result<(), DiskError> {
    let sync = || File::open(folder)?.sync_all();
    failpoint!("disk.directory.sync", folder, sync())
        .map_err(|error| DiskError::of_write("sync the folder", folder, error))?;
    #[cfg(test)]
    counts::DIRECTORIES.set(counts::DIRECTORIES.get() + 1);
    Ok(())
}

/// How often this thread synced, for tests that bound it.
#[cfg(test)]
pub(crate) mod counts {
    use std::cell::Cell;

    thread_local! {
        pub(crate) static FILES: Cell<u32> = const { Cell::new(0) };
        pub(crate) static DIRECTORIES: Cell<u32> = const { Cell::new(0) };
    }
}

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
    counts::file(path);
    failpoint!("disk.file.sync", path, file.sync_all())
        .map_err(|error| DiskError::of_write("sync", path, error))
}

/// Makes a folder's entries durable: published or removed files, and new folders.
pub(super) fn sync_directory(folder: &Path) -> Result<(), DiskError> {
    let sync = || File::open(folder)?.sync_all();
    failpoint!("disk.directory.sync", folder, sync())
        .map_err(|error| DiskError::of_write("sync the folder", folder, error))?;
    #[cfg(any(test, feature = "testing"))]
    counts::directory(folder);
    Ok(())
}

/// Numbers of syncs, for tests that bound them.
#[cfg(any(test, feature = "testing"))]
pub mod counts {
    use std::{
        cell::Cell,
        path::{Path, PathBuf},
        sync::{
            Arc, Mutex, PoisonError,
            atomic::{AtomicU32, Ordering},
        },
    };

    thread_local! {
        /// Syncs of files by this thread.
        pub static FILES: Cell<u32> = const { Cell::new(0) };
        /// Syncs of folders by this thread.
        pub static DIRECTORIES: Cell<u32> = const { Cell::new(0) };
    }

    static COUNTED: Mutex<Vec<Arc<Counted>>> = Mutex::new(Vec::new());

    /// The syncs below one folder, by all threads.
    #[derive(Debug)]
    struct Counted {
        root: PathBuf,
        files: AtomicU32,
        directories: AtomicU32,
    }

    /// Counts the syncs below one folder until it is dropped.
    #[derive(Debug)]
    pub struct SyncCounter(Arc<Counted>);

    impl SyncCounter {
        /// Starts counting.
        pub fn below(root: &Path) -> Self {
            let counted = Counted {
                root: root.to_owned(),
                files: AtomicU32::new(0),
                directories: AtomicU32::new(0),
            };
            let counted = Arc::new(counted);
            COUNTED.lock().unwrap_or_else(PoisonError::into_inner).push(counted.clone());
            Self(counted)
        }

        /// The number of syncs of files and of folders so far.
        pub fn files_and_directories(&self) -> (u32, u32) {
            let load = |count: &AtomicU32| count.load(Ordering::Relaxed);
            (load(&self.0.files), load(&self.0.directories))
        }
    }

    impl Drop for SyncCounter {
        fn drop(&mut self) {
            let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
            counted.retain(|other| !Arc::ptr_eq(other, &self.0));
        }
    }

    pub(super) fn file(path: &Path) {
        FILES.set(FILES.get() + 1);
        add(path, |counted| &counted.files);
    }

    pub(super) fn directory(path: &Path) {
        DIRECTORIES.set(DIRECTORIES.get() + 1);
        add(path, |counted| &counted.directories);
    }

    fn add(path: &Path, count: impl Fn(&Counted) -> &AtomicU32) {
        for counted in COUNTED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if path.starts_with(&counted.root) {
                count(counted).fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

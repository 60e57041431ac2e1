//! Objects as files below a folder on this machine.
//!
//! An object's key is its path below the root, except that of an index entry (`shards.rs`). Media types are not stored:
//! they follow from the name's extension and the bundle's manifest.

mod delete;
mod folder;
mod in_flight;
mod list;
mod probe;
mod read;
mod shards;
mod shards_move;
mod write;

#[cfg(test)]
mod delete_tests;
#[cfg(test)]
mod shards_tests;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use tara_export_disk::Disk;
use tara_export_limits::{Pool, Pools};

use self::{folder::Windows, in_flight::InFlightWrites, shards::Shards, shards_move::MovedEntries};
use super::{
    ListRequest, Listing, Object, ObjectInfo, ObjectKey, Payload, ProbeResult, PutOutcome, Store,
    StoreError, StoreErrorKind, StoreKind, StreamedPayload,
};

/// The folder of unfinished files, below the root. On the same file system as the root, so that a finished
/// file can be moved into place.
const TEMPORARY: &str = ".tara-export/tmp";
/// The number of threads for reading, and again for writing: enough to saturate a disk or a network file
/// system. The pools are separate so that downloads from a slow disk never block an export.
const THREADS: usize = 16;
/// The service's own folder, below the root.
const OWN: &str = ".tara-export";

/// Objects as files below a folder. One process at a time writes to a folder (enforced by the service's lock
/// file); any number may read.
#[derive(Debug, Clone)]
pub struct LocalStore {
    disk: Arc<Disk>,
    writes: Arc<InFlightWrites>,
    windows: Arc<Windows>,
    shards: Arc<Shards>,
    readers: Pool,
    writers: Pool,
}

impl LocalStore {
    /// Opens the store in this folder. Does not create the folder: the first write does, and until then the store
    /// is empty.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] if the path is not a folder or cannot be one.
    pub fn open(root: PathBuf) -> Result<Self, StoreError> {
        let absolute = std::path::absolute(&root).map_err(|error| {
            StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("cannot use {} as the store's folder: {error}", root.display()),
            )
            .with_source(error)
        })?;
        match fs::metadata(&absolute) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(StoreError::new(
                    StoreErrorKind::Misconfigured,
                    format!(
                        "cannot use {} as the store's folder: it is a file",
                        absolute.display()
                    ),
                ));
            }
            // Other problems are reported on use and may be fixed by then.
            _ => {}
        }
        let pool = |name| {
            Pool::new(name, THREADS).map_err(|error| {
                let message = format!("cannot start threads for {}: {error}", root.display());
                StoreError::new(StoreErrorKind::Unavailable, message).with_source(error)
            })
        };
        let (readers, writers) = (pool("local-reads")?, pool("local-writes")?);
        let disk = Arc::new(Disk::new(absolute, TEMPORARY));
        let (writes, windows, shards) = (Arc::default(), Arc::default(), Arc::default());
        Ok(Self { disk, writes, windows, shards, readers, writers })
    }

    /// The store's folder, as an absolute path.
    pub fn root(&self) -> &Path {
        self.disk.root()
    }

    /// Removes unfinished files of writes that a crash interrupted. Only for the process that holds the store's
    /// lock, before its first write: it would remove another process's unfinished files.
    ///
    /// # Errors
    /// If a file cannot be removed; the others may have been removed.
    pub async fn clean_temporary_files(&self) -> Result<(), StoreError> {
        let disk = self.disk.clone();
        blocking(&self.writers, move || Ok(disk.clean_temporary_files()?)).await
    }

    /// Waits for all in-flight writes. Writes continue after their callers are dropped, and the next process to
    /// use this folder would see their files appear.
    pub async fn finish(&self) {
        self.writes.wait_all().await;
    }

    /// The path of an object. Index entries can be in other places, too ([`shards::places`]).
    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root().join(shards::first_place(key.as_str()))
    }
}

#[async_trait]
impl Store for LocalStore {
    fn kind(&self) -> StoreKind {
        StoreKind::Local
    }

    fn location(&self, key: &str) -> String {
        self.root().join(shards::first_place(key)).display().to_string()
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        let (store, key) = (self.clone(), key.clone());
        let guard = self.writes.begin(&key);
        blocking(&self.writers, move || {
            let _guard = guard;
            store.write(&key, &payload)
        })
        .await
    }

    async fn put_stream_if_absent(
        &self,
        key: &ObjectKey,
        payload: StreamedPayload,
    ) -> Result<PutOutcome, StoreError> {
        self.write_stream(key, payload).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        let (store, key) = (self.clone(), key.clone());
        blocking(&self.readers, move || store.look_up(&key).map(|(info, _)| info)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        self.read(key).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing, StoreError> {
        let store = self.clone();
        blocking(&self.readers, move || list::list(store.root(), &store.windows, &request)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.writes.wait(key).await;
        let (store, key) = (self.clone(), key.clone());
        blocking(&self.writers, move || store.remove(&key)).await
    }

    async fn check_put(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let (store, path) = (self.clone(), self.path(key));
        blocking(&self.readers, move || {
            store.require_folder()?;
            Ok(store.disk.check_publishable(&path)?)
        })
        .await
    }

    async fn probe(&self) -> Vec<ProbeResult> {
        probe::probe(self).await
    }

    async fn move_old_files(&self) -> Result<u64, StoreError> {
        let mut total = 0;
        // On some file systems, a pass over a folder that changes omits entries.
        loop {
            let mut moved = MovedEntries::default();
            loop {
                let (store, guard) = (self.clone(), self.writes.begin(&shards::index_folder()));
                moved = blocking(&self.writers, move || {
                    let _guard = guard;
                    store.move_entries(moved)
                })
                .await?;
                if moved.has_ended() {
                    break;
                }
            }
            total += moved.count();
            if moved.count() == 0 {
                return Ok(total);
            }
        }
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        let store = self.clone();
        blocking(&self.writers, move || {
            store.require_folder()?;
            Ok(store.disk.check_writable()?)
        })
        .await
    }

    fn pools(&self) -> Pools {
        Pools { writing: vec![self.writers.clone()], other: vec![self.readers.clone()] }
    }
}

/// Whether a key, or everything below a prefix ending with `/`, is reserved for the service's own files:
/// unfinished files, the lock, the journal, its receipts and failure records, uploads, its records of multipart
/// uploads, and the shards of the index, whose keys are below `index/`. They are in the store's folder but their paths
/// are not keys.
fn is_reserved(key: &str) -> bool {
    let Some(rest) = key.strip_prefix(".tara-export/") else {
        return false;
    };
    let name = rest.split('/').next().unwrap_or_default();
    matches!(name, "tmp" | "lock" | "failed" | "receipts" | "uploads" | "parts" | "index-shards")
        || name.starts_with("journal")
}

/// Runs blocking work to completion, even if the caller's future is dropped.
async fn blocking<T: Send + 'static>(
    pool: &Pool,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match pool.run(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::new(
            StoreErrorKind::Unavailable,
            "an operation on the local store was interrupted; the service may be shutting down",
        )
        .with_source(error)),
    }
}

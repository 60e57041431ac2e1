//! Objects as files below a folder of this machine.
//!
//! An object's key is its path below the root. Media types aren't kept: the name's extension and the
//! bundle's manifest tell them.

mod delete;
mod folder;
mod list;
mod probe;
mod read;
mod under_way;
mod write;

#[cfg(test)]
mod delete_tests;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;

use self::{folder::Windows, under_way::WritesUnderWay};
use super::{
    ListRequest, Listing, Object, ObjectInfo, ObjectKey, Payload, ProbeResult, PutOutcome, Store,
    StoreError, StoreErrorKind, StoreKind, StreamedPayload,
};
use crate::{
    disk::Disk,
    limits::{Pool, Pools},
};

/// Where unfinished files are written, below the root. On the root's own file system, so that a
/// finished file can be moved into place.
const TEMPORARY: &str = ".tara-export/tmp";
/// Threads for reading, and as many for writing: enough to keep a disk or a network file system busy. They
/// are apart, so that downloads from a slow disk never hold up an export.
const THREADS: usize = 16;
/// The service's own folder, below the root.
const OWN: &str = ".tara-export";

/// Objects as files below a folder. One process writes to a folder at a time (the service's lock
/// file sees to that); any number may read.
#[derive(Debug, Clone)]
pub struct LocalStore {
    disk: Arc<Disk>,
    writes: Arc<WritesUnderWay>,
    windows: Arc<Windows>,
    readers: Pool,
    writers: Pool,
}

impl LocalStore {
    /// The store in this folder. Creates nothing: the folder comes with the first write, and reading
    /// one that isn't there finds it empty.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] when the path is no folder or can't be one.
    pub fn open(root: PathBuf) -> Result<Self, StoreError> {
        let absolute = std::path::absolute(&root).map_err(|error| {
            StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("{} can't be the store's folder ({error})", root.display()),
            )
            .with_source(error)
        })?;
        match fs::metadata(&absolute) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(StoreError::new(
                    StoreErrorKind::Misconfigured,
                    format!("{} can't be the store's folder: it is a file", absolute.display()),
                ));
            }
            // Whatever else is wrong shows when it is used, and by then may be mended.
            _ => {}
        }
        let pool = |name| {
            Pool::new(name, THREADS).map_err(|error| {
                let message = format!("could not start threads for {} ({error})", root.display());
                StoreError::new(StoreErrorKind::Unavailable, message).with_source(error)
            })
        };
        let (readers, writers) = (pool("local-reads")?, pool("local-writes")?);
        let disk = Arc::new(Disk::new(absolute, TEMPORARY));
        Ok(Self { disk, writes: Arc::default(), windows: Arc::default(), readers, writers })
    }

    /// The store's folder, as an absolute path.
    pub fn root(&self) -> &Path {
        self.disk.root()
    }

    /// Removes what writes that were cut off by a crash left behind. Only for the process that holds
    /// the store's lock, before it writes: it would take away another's unfinished files.
    ///
    /// # Errors
    /// When a file can't be removed; the others may be gone.
    pub async fn clean_temporary_files(&self) -> Result<(), StoreError> {
        let disk = self.disk.clone();
        blocking(&self.writers, move || Ok(disk.clean_temporary_files()?)).await
    }

    /// Waits until no write is under way: they go on when their callers are gone, and whoever comes
    /// next to this folder would see their files appear.
    pub async fn finish(&self) {
        self.writes.all_ended().await;
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root().join(key.as_str())
    }
}

#[async_trait]
impl Store for LocalStore {
    fn kind(&self) -> StoreKind {
        StoreKind::Local
    }

    fn location(&self, key: &str) -> String {
        self.root().join(key).display().to_string()
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        let (store, key) = (self.clone(), key.clone());
        let under_way = self.writes.begin(&key);
        blocking(&self.writers, move || {
            let _under_way = under_way;
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
        self.writes.ended(key).await;
        let (store, key) = (self.clone(), key.clone());
        blocking(&self.writers, move || store.remove(&key)).await
    }

    async fn probe(&self) -> Vec<ProbeResult> {
        probe::probe(self).await
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

/// Whether this key, or everything below this prefix ending with `/`, belongs to the service's own
/// process: unfinished files, its lock, its journal and what the journal knows of ended exports,
/// uploads and what it notes of objects in the making. They lie in the store's folder and are no objects.
fn is_reserved(key: &str) -> bool {
    let Some(rest) = key.strip_prefix(".tara-export/") else {
        return false;
    };
    let name = rest.split('/').next().unwrap_or_default();
    matches!(name, "tmp" | "lock" | "failed" | "receipts" | "uploads" | "parts")
        || name.starts_with("journal")
}

/// Runs blocking work to its end, even where the caller's future is dropped meanwhile.
async fn blocking<T: Send + 'static>(
    pool: &Pool,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match pool.run(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::new(
            StoreErrorKind::Unavailable,
            "work on the local store broke off; the service may be shutting down",
        )
        .with_source(error)),
    }
}

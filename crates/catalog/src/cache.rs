//! A bounded in-memory cache of recently read bundles.
//!
//! Committed bundles never change, so an entry is valid while the bundle exists in its location. In S3,
//! where this service removes no bundle, that is assumed for [`MAX_AGE`]. In the local store it is
//! checked on each use, because a sync to S3 removes the local copy.
//!
//! Invariant: every entry was verified against its manifest when it was read.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;
use tara_export_bundle::{ArtifactPath, ExportId, FolderName};
use tara_export_clock::Clock;
use tara_export_store::StoreKind;
use tokio::time::Instant;

use super::StoredBundle;

/// How long an entry is valid: bounds how long damage to objects in S3, or their removal by an
/// operator, remains unnoticed by callers that do not download.
const MAX_AGE: TimeDelta = TimeDelta::minutes(10);
/// Larger files are not cached.
pub(super) const MAX_FILE_BYTES: u64 = 256 * 1024;
/// Memory of an entry besides its content: its key and the cache's bookkeeping.
const OVERHEAD_BYTES: u64 = 512;

/// Bundles and their small files.
#[derive(Clone)]
pub(super) struct BundleCache {
    entries: Cache<Key, Entry>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Folder(StoreKind, ExportId),
    Bundle(StoreKind, FolderName),
    File(StoreKind, FolderName, ArtifactPath),
}

#[derive(Debug, Clone)]
struct Entry {
    read_time: DateTime<Utc>,
    /// The same by the monotonic clock: the system clock can be set back by less than the entry's age.
    read_at: Instant,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Folder(FolderName),
    Bundle(Arc<StoredBundle>),
    File(CachedFile),
}

/// A complete file of a bundle whose digest matched its manifest.
#[derive(Debug, Clone)]
pub(super) struct CachedFile {
    pub(super) bytes: Bytes,
    /// When it was last written, by the store's clock.
    pub(super) modified_time: Option<DateTime<Utc>>,
}

impl BundleCache {
    /// A cache of about `size_bytes` of memory; 0 disables it.
    pub(super) fn new(size_bytes: u64, clock: Arc<dyn Clock>) -> Self {
        let entries = Cache::builder()
            .max_capacity(size_bytes)
            .weigher(|_, entry: &Entry| entry.content.size_bytes().try_into().unwrap_or(u32::MAX))
            .build();
        Self { entries, clock }
    }

    /// The folder of an export's bundle.
    pub(super) fn folder(&self, kind: StoreKind, export_id: ExportId) -> Option<FolderName> {
        match self.get(&Key::Folder(kind, export_id))? {
            Content::Folder(folder) => Some(folder),
            _ => None,
        }
    }

    /// The bundle in a folder.
    pub(super) fn bundle(&self, kind: StoreKind, folder: &FolderName) -> Option<Arc<StoredBundle>> {
        match self.get(&Key::Bundle(kind, folder.clone()))? {
            Content::Bundle(bundle) => Some(bundle),
            _ => None,
        }
    }

    /// A file of a bundle.
    pub(super) fn file(&self, bundle: &StoredBundle, path: &ArtifactPath) -> Option<CachedFile> {
        match self.get(&file_key(bundle, path))? {
            Content::File(file) => Some(file),
            _ => None,
        }
    }

    /// Adds a bundle that was just read.
    pub(super) fn insert_bundle(&self, bundle: StoredBundle) -> Arc<StoredBundle> {
        let bundle = Arc::new(bundle);
        let (kind, folder, manifest) =
            (bundle.store_kind(), bundle.folder().clone(), bundle.manifest());
        // A copy of a bundle in another folder is not the folder of its export.
        if manifest.folder_name == folder {
            self.insert(Key::Folder(kind, manifest.export_id), Content::Folder(folder.clone()));
        }
        self.insert(Key::Bundle(kind, folder), Content::Bundle(Arc::clone(&bundle)));
        bundle
    }

    /// Adds a file that was just read and verified, unless it is large.
    pub(super) fn insert_file(&self, bundle: &StoredBundle, path: &ArtifactPath, file: CachedFile) {
        if file.bytes.len() as u64 <= MAX_FILE_BYTES {
            self.insert(file_key(bundle, path), Content::File(file));
        }
    }

    /// Removes the bundle of an export, its folder and its files.
    pub(super) fn remove(&self, kind: StoreKind, export_id: ExportId) {
        if let Some(folder) = self.folder(kind, export_id) {
            for path in [ArtifactPath::comprehensive_report(), ArtifactPath::readable_report()] {
                self.entries.invalidate(&Key::File(kind, folder.clone(), path));
            }
            self.entries.invalidate(&Key::Bundle(kind, folder));
            self.entries.invalidate(&Key::Folder(kind, export_id));
        }
    }

    fn get(&self, key: &Key) -> Option<Content> {
        let entry = self.entries.get(key)?;
        let age = self.clock.now() - entry.read_time;
        // A negative age means that the clock was set back.
        let is_young = (TimeDelta::zero()..MAX_AGE).contains(&age)
            && entry.read_at.elapsed().as_secs() < MAX_AGE.num_seconds().unsigned_abs();
        is_young.then_some(entry.content)
    }

    fn insert(&self, key: Key, content: Content) {
        let (read_time, read_at) = (self.clock.now(), Instant::now());
        self.entries.insert(key, Entry { read_time, read_at, content });
    }
}

fn file_key(bundle: &StoredBundle, path: &ArtifactPath) -> Key {
    Key::File(bundle.store_kind(), bundle.folder().clone(), path.clone())
}

impl Content {
    /// An upper estimate of its memory.
    fn size_bytes(&self) -> u64 {
        OVERHEAD_BYTES
            + match self {
                Self::Folder(folder) => folder.as_str().len() as u64,
                // Its lists have spare capacity, and each text is a separate allocation: short texts use
                // up to three times the size of their JSON (`tests/memory`).
                Self::Bundle(bundle) => bundle.manifest_artifact().size_bytes * 3,
                Self::File(file) => file.bytes.len() as u64,
            }
    }
}

impl fmt::Debug for BundleCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BundleCache")
            .field("size_bytes", &self.entries.weighted_size())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tara_export_clock::SystemClock;

    use super::*;

    /// A clock that does not advance.
    #[derive(Debug)]
    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH
        }

        fn new_id(&self) -> uuid::Uuid {
            uuid::Uuid::nil()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn entries_expire_while_the_system_clock_stands_still() {
        let cache = BundleCache::new(64 * 1024, Arc::new(Stopped));
        let export_id = ExportId::new(uuid::Uuid::from_u128(1));
        let folder = "20261122_183700_a".parse::<FolderName>().unwrap();
        cache.insert(Key::Folder(StoreKind::S3, export_id), Content::Folder(folder.clone()));
        tokio::time::advance(std::time::Duration::from_secs(599)).await;
        assert_eq!(cache.folder(StoreKind::S3, export_id), Some(folder));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(cache.folder(StoreKind::S3, export_id), None);
    }

    #[test]
    fn cache_stays_within_its_size() {
        const SIZE_BYTES: u64 = 64 * 1024;
        let cache = BundleCache::new(SIZE_BYTES, Arc::new(SystemClock));
        for number in 0..1_000_u32 {
            let export_id = ExportId::new(uuid::Uuid::from_u128(number.into()));
            let folder = "20261122_183700_a".parse::<FolderName>().unwrap();
            cache.insert(Key::Folder(StoreKind::S3, export_id), Content::Folder(folder));
        }
        // The cache evicts with a delay of a few inserts.
        cache.entries.run_pending_tasks();
        let kept_bytes = cache.entries.weighted_size();
        assert!((SIZE_BYTES / 2..=SIZE_BYTES).contains(&kept_bytes), "{kept_bytes}");
        let disabled = BundleCache::new(0, Arc::new(SystemClock));
        let export_id = ExportId::new(uuid::Uuid::from_u128(1));
        let folder = "20261122_183700_a".parse::<FolderName>().unwrap();
        disabled.insert(Key::Folder(StoreKind::S3, export_id), Content::Folder(folder));
        disabled.entries.run_pending_tasks();
        assert_eq!(disabled.folder(StoreKind::S3, export_id), None);
    }
}

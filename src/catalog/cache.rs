//! What was read of bundles lately, in memory, within a bound.
//!
//! Bundles never change once they are committed, so what is kept here is right for as long as the
//! bundle is where it was: for S3, where nobody of this service removes anything, that is believed
//! for [`MAX_AGE`]; what the local store has is looked at each time, since it goes when it moved to
//! S3.
//!
//! Invariant: nothing gets in that was not held against its manifest when it was read.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;

use super::StoredBundle;
use crate::{
    bundle::{ArtifactPath, ExportId, FolderName},
    clock::Clock,
    store::StoreKind,
};

/// How long what was read is believed: bounds how long damage done to S3's objects from outside, or
/// their removal by an operator, goes unnoticed by who does not download.
const MAX_AGE: TimeDelta = TimeDelta::minutes(10);
/// Larger files are read from the store each time.
pub(super) const LARGEST_FILE_BYTES: u64 = 256 * 1024;
/// What an entry takes besides its content: its key, and the cache's own records of it.
const OVERHEAD_BYTES: u64 = 512;

/// Bundles and small files of theirs.
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
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Folder(FolderName),
    Bundle(Arc<StoredBundle>),
    File(CachedFile),
}

/// A file of a bundle that was read whole and had the digest that its manifest says.
#[derive(Debug, Clone)]
pub(super) struct CachedFile {
    pub(super) bytes: Bytes,
    /// When it was last written, by the store's clock.
    pub(super) modified_time: Option<DateTime<Utc>>,
}

impl BundleCache {
    /// A cache that takes about so many bytes of memory; 0: nothing is kept.
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

    /// Keeps a bundle that was just read.
    pub(super) fn keep_bundle(&self, bundle: StoredBundle) -> Arc<StoredBundle> {
        let bundle = Arc::new(bundle);
        let (kind, folder, manifest) =
            (bundle.store_kind(), bundle.folder().clone(), bundle.manifest());
        // A copy of a bundle under another name is not where its export is.
        if manifest.folder_name == folder {
            self.put(Key::Folder(kind, manifest.export_id), Content::Folder(folder.clone()));
        }
        self.put(Key::Bundle(kind, folder), Content::Bundle(Arc::clone(&bundle)));
        bundle
    }

    /// Keeps a file that was just read and verified, unless it is large.
    pub(super) fn keep_file(&self, bundle: &StoredBundle, path: &ArtifactPath, file: CachedFile) {
        if file.bytes.len() as u64 <= LARGEST_FILE_BYTES {
            self.put(file_key(bundle, path), Content::File(file));
        }
    }

    /// Forgets where an export's bundle was, and what it was.
    pub(super) fn forget(&self, kind: StoreKind, export_id: ExportId) {
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
        // A clock that was set back says nothing of the age.
        (TimeDelta::zero()..MAX_AGE).contains(&age).then_some(entry.content)
    }

    fn put(&self, key: Key, content: Content) {
        self.entries.insert(key, Entry { read_time: self.clock.now(), content });
    }
}

fn file_key(bundle: &StoredBundle, path: &ArtifactPath) -> Key {
    Key::File(bundle.store_kind(), bundle.folder().clone(), path.clone())
}

impl Content {
    /// The memory it takes, estimated from above.
    fn size_bytes(&self) -> u64 {
        OVERHEAD_BYTES
            + match self {
                Self::Folder(folder) => folder.as_str().len() as u64,
                // Its lists have room to spare, and its texts are allocations of their own: short ones take
                // up to three times their JSON (`tests/memory`).
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
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn it_keeps_no_more_than_it_has_room_for() {
        const SIZE_BYTES: u64 = 64 * 1024;
        let cache = BundleCache::new(SIZE_BYTES, Arc::new(SystemClock));
        for number in 0..1_000_u32 {
            let export_id = ExportId::new(uuid::Uuid::from_u128(number.into()));
            let folder = "20261122_183700_a".parse::<FolderName>().unwrap();
            cache.put(Key::Folder(StoreKind::S3, export_id), Content::Folder(folder));
        }
        // It puts its records in order some inserts behind.
        cache.entries.run_pending_tasks();
        let kept_bytes = cache.entries.weighted_size();
        assert!((SIZE_BYTES / 2..=SIZE_BYTES).contains(&kept_bytes), "{kept_bytes}");
        let none = BundleCache::new(0, Arc::new(SystemClock));
        let export_id = ExportId::new(uuid::Uuid::from_u128(1));
        let folder = "20261122_183700_a".parse::<FolderName>().unwrap();
        none.put(Key::Folder(StoreKind::S3, export_id), Content::Folder(folder));
        none.entries.run_pending_tasks();
        assert_eq!(none.folder(StoreKind::S3, export_id), None);
    }
}

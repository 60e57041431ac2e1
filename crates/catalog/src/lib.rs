//! The object layout of a store, and reading from it: one export, a page of exports, their files.
//!
//! Invariants: a bundle without a manifest does not exist, and this module returns no byte that
//! differs from its manifest.
//!
//! Never depends on gRPC, settings, or the engine that writes bundles: other tools use it to read stores.

mod archive;
mod bundle;
mod cache;
mod export;
mod filter;
mod index;
pub mod layout;
mod link;
mod list;
mod page;
mod read;
pub mod records;
pub mod summary;
mod unreadable;

use std::sync::Arc;

use bytes::Bytes;
use tara_export_bundle::{AcceptedTime, ArtifactPath, ExportId, FolderName};
use tara_export_clock::Clock;
use tara_export_store::{Store, StoreError, StoreKind};

use self::cache::{BundleCache, CachedFile};
pub use self::{
    archive::Archive,
    bundle::{
        FolderOwner, MANIFEST_LIMIT_BYTES, StoredBundle, StoredManifest, claimed_folders,
        folder_owner, folders_of,
    },
    export::{Export, ExportArtifact, ExportState, destination_of},
    filter::{Filter, InvalidFilter},
    link::LinkError,
    list::{ListQuery, Page},
    page::{InvalidPageToken, PagePosition},
    read::{ReadError, VerifiedArtifact},
};

/// The committed bundles of this server's stores. Clones share a bounded in-memory cache of recently
/// read bundles and files.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// In order of precedence: S3 before the local store.
    stores: Vec<Arc<dyn Store>>,
    cache: BundleCache,
}

/// Whether a cached bundle is sufficient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    /// From the cache, if the bundle still exists.
    Cached,
    /// Read from the store.
    Current,
}

impl Catalog {
    /// The bundles of the local store and, if configured, of S3. The cache uses about
    /// `cache_size_bytes` of memory.
    pub fn new(
        s3: Option<Arc<dyn Store>>,
        local: Arc<dyn Store>,
        cache_size_bytes: u64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let cache = BundleCache::new(cache_size_bytes, clock);
        Self { stores: s3.into_iter().chain([local]).collect(), cache }
    }

    /// Finds the bundle of an export in any store; `None` if no store has its manifest. A cached
    /// bundle is not read again.
    ///
    /// # Errors
    /// If a store does not respond and no other store has the bundle.
    pub async fn find(&self, export_id: ExportId) -> Result<Option<Arc<StoredBundle>>, ReadError> {
        self.find_as(export_id, Freshness::Cached).await
    }

    /// Like [`find`](Self::find), but always reads from the store: for callers that verify what is stored.
    pub async fn find_uncached(
        &self,
        export_id: ExportId,
    ) -> Result<Option<Arc<StoredBundle>>, ReadError> {
        self.find_as(export_id, Freshness::Current).await
    }

    async fn find_as(
        &self,
        export_id: ExportId,
        freshness: Freshness,
    ) -> Result<Option<Arc<StoredBundle>>, ReadError> {
        let mut failure = None;
        // A bundle that moves from the local store to S3 during the lookup may be missed in both: so
        // S3 is checked once more.
        let again = self.stores.first().filter(|_| self.stores.len() > 1);
        for store in self.stores.iter().chain(again) {
            match self.find_in(store, export_id, freshness).await {
                Ok(Some(bundle)) => return Ok(Some(bundle)),
                Ok(None) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(None), Err)
    }

    async fn find_in(
        &self,
        store: &Arc<dyn Store>,
        export_id: ExportId,
        freshness: Freshness,
    ) -> Result<Option<Arc<StoredBundle>>, ReadError> {
        let kind = store.kind();
        if freshness == Freshness::Cached
            && let Some(folder) = self.cache.folder(kind, export_id)
        {
            if let Some(bundle) = self.cache.bundle(kind, &folder)
                && bundle.still_exists().await
            {
                return Ok(Some(bundle));
            }
            // If the folder has a problem, the full lookup below reports it.
            if kind == StoreKind::S3
                && let Ok(Some(bundle)) =
                    StoredBundle::from_known_folder(store, folder, export_id).await
            {
                return Ok(Some(self.cache.insert_bundle(bundle)));
            }
        }
        let found = StoredBundle::find(store, export_id).await;
        match &found {
            Ok(Some(_)) => {}
            Err(error) if !error.is_data_loss() => {}
            _ => self.cache.remove(kind, export_id),
        }
        Ok(found?.map(|bundle| self.cache.insert_bundle(bundle)))
    }

    /// The bundle of a folder that the index names; `None` if the folder has no such bundle.
    async fn bundle_of_index_entry(
        &self,
        store: &Arc<dyn Store>,
        time: AcceptedTime,
        folder: FolderName,
    ) -> Result<Option<Arc<StoredBundle>>, ReadError> {
        if let Some(bundle) = self.cache.bundle(store.kind(), &folder)
            && bundle.still_exists().await
        {
            return Ok((bundle.manifest().accepted_time == time).then_some(bundle));
        }
        let bundle = StoredBundle::from_index_entry(store, time, folder).await?;
        Ok(bundle.map(|bundle| self.cache.insert_bundle(bundle)))
    }

    /// A complete file of a bundle, and its entry in the manifest. The caller has checked its size.
    /// A cached small file is not read again.
    ///
    /// # Errors
    /// [`ReadError::DataLoss`] if the file differs from the bundle's manifest, even after the manifest
    /// was read again.
    pub async fn read_file(
        &self,
        bundle: &StoredBundle,
        path: &ArtifactPath,
    ) -> Result<(ExportArtifact, Bytes), ReadError> {
        if let Some(file) = self.cache.file(bundle, path)
            && bundle.has_unchanged_file(path, file.bytes.len() as u64, file.modified_time).await
        {
            return Ok((bundle.artifact(path)?, file.bytes));
        }
        match self.read_file_from_store(bundle, path).await {
            Err(error) if error.is_data_loss() => {
                // The cached manifest may be of a bundle that was removed since.
                match self.find_uncached(bundle.manifest().export_id).await? {
                    Some(bundle) => self.read_file_from_store(&bundle, path).await,
                    None => Err(error),
                }
            }
            read => read,
        }
    }

    async fn read_file_from_store(
        &self,
        bundle: &StoredBundle,
        path: &ArtifactPath,
    ) -> Result<(ExportArtifact, Bytes), ReadError> {
        let file = bundle.open(path).await?;
        let (artifact, modified_time) = (file.artifact().clone(), file.modified_time());
        let bytes = file.read_all().await?;
        self.cache.insert_file(bundle, path, CachedFile { bytes: bytes.clone(), modified_time });
        Ok((artifact, bytes))
    }

    /// Whether a store has a record of the export, which means that a replica accepted it.
    pub async fn is_recorded(&self, export_id: ExportId) -> Result<bool, StoreError> {
        for store in &self.stores {
            if records::read_record(store.as_ref(), export_id).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The store of this kind, if the server has one.
    pub fn store(&self, kind: StoreKind) -> Option<&Arc<dyn Store>> {
        self.stores.iter().find(|store| store.kind() == kind)
    }

    /// Every store, in order of precedence.
    pub fn stores(&self) -> &[Arc<dyn Store>] {
        &self.stores
    }
}

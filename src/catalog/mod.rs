//! What lies where in a store, and reading it back: one export, a page of them, their files.
//!
//! Invariant: a bundle without a manifest does not exist here, and no byte leaves this room that
//! differs from its manifest.

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

use std::sync::Arc;

use bytes::Bytes;

use self::cache::{BundleCache, CachedFile};
pub use self::{
    archive::zip,
    bundle::{
        FolderOwner, MANIFEST_LIMIT_BYTES, StoredBundle, StoredManifest, claimed_folders,
        folder_owner, folders_of,
    },
    export::{Export, ExportArtifact, ExportState},
    filter::{Filter, InvalidFilter},
    link::LinkError,
    list::{ListQuery, Page},
    page::{InvalidPageToken, PagePosition},
    read::{ReadError, VerifiedArtifact},
};
use crate::{
    bundle::{AcceptedTime, ArtifactPath, ExportId, FolderName},
    clock::Clock,
    store::{Store, StoreError, StoreKind},
};

/// The committed bundles of this server's stores. What was read of them lately is kept in memory,
/// within a bound, and shared by the clones of a catalog.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// In the order in which they are believed: S3 before the local store.
    stores: Vec<Arc<dyn Store>>,
    cache: BundleCache,
}

/// Whether what was read before will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    /// Read lately, and still there.
    Lately,
    /// Read from the store now.
    Now,
}

impl Catalog {
    /// The bundles of the local store and, where there is one, of S3. Takes about `cache_size_bytes`
    /// of memory for what it has read.
    pub fn new(
        s3: Option<Arc<dyn Store>>,
        local: Arc<dyn Store>,
        cache_size_bytes: u64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let cache = BundleCache::new(cache_size_bytes, clock);
        Self { stores: s3.into_iter().chain([local]).collect(), cache }
    }

    /// The bundle of an export, wherever it is; none where no store has its manifest. One that was
    /// read lately is not read again.
    ///
    /// # Errors
    /// Where a store does not answer and no other has the bundle.
    pub async fn find(&self, export_id: ExportId) -> Result<Option<Arc<StoredBundle>>, ReadError> {
        self.find_as(export_id, Freshness::Lately).await
    }

    /// The same, read from the store whatever was read before: for who proves what is there.
    pub async fn find_now(
        &self,
        export_id: ExportId,
    ) -> Result<Option<Arc<StoredBundle>>, ReadError> {
        self.find_as(export_id, Freshness::Now).await
    }

    async fn find_as(
        &self,
        export_id: ExportId,
        freshness: Freshness,
    ) -> Result<Option<Arc<StoredBundle>>, ReadError> {
        let mut failure = None;
        // What moves from the local store to S3 meanwhile is in neither when it is looked for: so S3
        // is asked once more.
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
        if freshness == Freshness::Lately
            && let Some(folder) = self.cache.folder(kind, export_id)
        {
            if let Some(bundle) = self.cache.bundle(kind, &folder)
                && bundle.is_there().await
            {
                return Ok(Some(bundle));
            }
            // Whatever is wrong with the folder, the whole way tells.
            if kind == StoreKind::S3
                && let Ok(Some(bundle)) =
                    StoredBundle::of_known_folder(store, folder, export_id).await
            {
                return Ok(Some(self.cache.keep_bundle(bundle)));
            }
        }
        let found = StoredBundle::find(store, export_id).await;
        match &found {
            Ok(Some(_)) => {}
            Err(error) if !error.is_data_loss() => {}
            _ => self.cache.forget(kind, export_id),
        }
        Ok(found?.map(|bundle| self.cache.keep_bundle(bundle)))
    }

    /// The bundle of a folder that the index names; none where the entry leads nowhere.
    async fn of_index_entry(
        &self,
        store: &Arc<dyn Store>,
        time: AcceptedTime,
        folder: FolderName,
    ) -> Result<Option<Arc<StoredBundle>>, ReadError> {
        if let Some(bundle) = self.cache.bundle(store.kind(), &folder)
            && bundle.is_there().await
        {
            return Ok((bundle.manifest().accepted_time == time).then_some(bundle));
        }
        let bundle = StoredBundle::of_index_entry(store, time, folder).await?;
        Ok(bundle.map(|bundle| self.cache.keep_bundle(bundle)))
    }

    /// A file of a bundle whole, and how its manifest describes it: the caller has looked at its size.
    /// A small one that was read lately is not read again.
    ///
    /// # Errors
    /// [`ReadError::DataLoss`] where the file is not what the bundle's manifest says, also when that
    /// is read once more.
    pub async fn read_file(
        &self,
        bundle: &StoredBundle,
        path: &ArtifactPath,
    ) -> Result<(ExportArtifact, Bytes), ReadError> {
        if let Some(file) = self.cache.file(bundle, path)
            && bundle.has_file(path, file.bytes.len() as u64, file.modified_time).await
        {
            return Ok((bundle.artifact(path)?, file.bytes));
        }
        match self.read_file_now(bundle, path).await {
            Err(error) if error.is_data_loss() => {
                // The manifest may be one that was read before the bundle was removed.
                match self.find_now(bundle.manifest().export_id).await? {
                    Some(bundle) => self.read_file_now(&bundle, path).await,
                    None => Err(error),
                }
            }
            read => read,
        }
    }

    async fn read_file_now(
        &self,
        bundle: &StoredBundle,
        path: &ArtifactPath,
    ) -> Result<(ExportArtifact, Bytes), ReadError> {
        let file = bundle.open(path).await?;
        let (artifact, modified_time) = (file.artifact().clone(), file.modified_time());
        let bytes = file.read_all().await?;
        self.cache.keep_file(bundle, path, CachedFile { bytes: bytes.clone(), modified_time });
        Ok((artifact, bytes))
    }

    /// Whether some store has a record of the export, so that somebody accepted it.
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

    /// Every store, in the order in which they are believed.
    pub fn stores(&self) -> &[Arc<dyn Store>] {
        &self.stores
    }
}

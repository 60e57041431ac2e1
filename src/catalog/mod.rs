//! What lies where in a store, and reading it back: one export, a page of them, their files.
//!
//! Invariant: a bundle without a manifest does not exist here, and no byte leaves this room that
//! differs from its manifest.

mod archive;
mod bundle;
mod export;
mod filter;
pub mod layout;
mod link;
mod list;
mod page;
mod read;
pub mod records;

use std::sync::Arc;

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
    bundle::ExportId,
    store::{Store, StoreError, StoreKind},
};

/// The committed bundles of this server's stores.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// In the order in which they are believed: S3 before the local store.
    stores: Vec<Arc<dyn Store>>,
}

impl Catalog {
    /// The bundles of the local store and, where there is one, of S3.
    pub fn new(s3: Option<Arc<dyn Store>>, local: Arc<dyn Store>) -> Self {
        Self { stores: s3.into_iter().chain([local]).collect() }
    }

    /// The bundle of an export, wherever it is; none where no store has its manifest.
    ///
    /// # Errors
    /// Where a store does not answer and no other has the bundle.
    pub async fn find(&self, export_id: ExportId) -> Result<Option<StoredBundle>, ReadError> {
        let mut failure = None;
        // What moves from the local store to S3 meanwhile is in neither when it is looked for: so S3
        // is asked once more.
        let again = self.stores.first().filter(|_| self.stores.len() > 1);
        for store in self.stores.iter().chain(again) {
            match StoredBundle::find(store, export_id).await {
                Ok(Some(bundle)) => return Ok(Some(bundle)),
                Ok(None) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(None), Err)
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

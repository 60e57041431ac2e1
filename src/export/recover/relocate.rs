//! `tara-export backlog move`: moves exports that wait for a store that is no longer configured.
//!
//! An export is assigned to the configured store if that store contains every document that the export names,
//! unchanged since acceptance. Requires exclusive use of the data directory: no server may work on its journal.

use std::sync::Arc;

use tara_export_bundle::{AcceptedExport, Content, Document, ExportId, Reference, StoreId};
use tara_export_catalog::layout;
use tara_export_clock::Clock;
use tara_export_digest::ContentChecksums;
use tara_export_store::{
    SourceLocation, SourceObject, Store, StoreError, StoreErrorKind, parts_of,
};

use crate::{
    export::{
        drive::identity::{BucketIdentity, Freshness},
        failure::Failure,
        journal::{EntryKey, Journal, JournalEntry, JournalError, LoadError, Scanned},
        settings::Stores,
    },
    transfer::{RetryBudget, has_expected_content},
};

/// Maximum number of keys that one scan of the journal returns. A key takes 64 bytes.
const KEYS_PER_SCAN: usize = 100_000;
/// Maximum number of headers in memory.
const HEADERS_PER_READ: usize = 500;

/// Assigns exports that wait for other stores to the configured store.
#[derive(Debug)]
pub struct Relocation {
    journal: Journal,
    s3: Arc<dyn Store>,
    identity: BucketIdentity,
    settings: RelocationSettings,
}

/// Settings of a relocation.
#[derive(Debug, Clone, Copy)]
pub struct RelocationSettings {
    /// Retry budget of each store operation.
    pub retry_budget: std::time::Duration,
    /// Maximum memory for one export.
    pub memory_bytes: u64,
    /// Check only, without changes.
    pub dry_run: bool,
}

/// The result for one export that waits for another store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocated {
    /// The export.
    pub export_id: ExportId,
    /// Why the export was not moved. `None` if it was moved.
    pub not_moved_reason: Option<String>,
}

/// Why no export can be moved.
#[derive(Debug, thiserror::Error)]
pub enum RelocationError {
    /// No bucket is configured.
    #[error("no bucket is configured: set S3_BUCKET_NAME")]
    NoBucket,
    /// The identity of the configured store cannot be read.
    #[error("cannot read the identity of the configured store: {0}")]
    Store(String),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Why one export was not moved.
#[derive(Debug, thiserror::Error)]
enum NotMoved {
    #[error(
        "{0} is missing in the configured store or differs from the accepted document: copy it there first"
    )]
    Missing(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Relocation {
    /// Moves exports of `journal` to the bucket of `stores`.
    ///
    /// # Errors
    /// [`RelocationError::NoBucket`].
    pub fn new(
        journal: Journal,
        stores: &Stores,
        clock: Arc<dyn Clock>,
        settings: RelocationSettings,
    ) -> Result<Self, RelocationError> {
        let s3 = stores.s3.clone().ok_or(RelocationError::NoBucket)?;
        Ok(Self { journal, s3, identity: BucketIdentity::new(stores, clock), settings })
    }

    /// The store to which exports are moved.
    pub fn target(&self) -> String {
        self.s3.site()
    }

    /// Moves all exports that wait for another store, or only the export `only`. Calls `report` after each of them.
    ///
    /// # Errors
    /// [`RelocationError`]. Reported exports are already moved.
    pub async fn run(
        &self,
        only: Option<ExportId>,
        mut report: impl FnMut(Relocated),
    ) -> Result<(), RelocationError> {
        let fetched = self.identity.fetch(&self.journal, Freshness::Current, &self.budget()).await;
        let target = fetched.map_err(|Failure { message, .. }| RelocationError::Store(message))?;
        if let Some(only) = only {
            let entries = self.journal.find(only).await?.entries;
            self.relocate_all(entries, target, &mut report).await;
            return Ok(());
        }
        let mut after = None;
        loop {
            let keys = self.keys(after).await?;
            let Some(last) = keys.last() else { return Ok(()) };
            after = Some(*last);
            for chunk in keys.chunks(HEADERS_PER_READ) {
                let entries = self.journal.read(chunk.to_vec()).await?.entries;
                self.relocate_all(entries, target, &mut report).await;
            }
        }
    }

    /// The keys of the oldest entries after `after`.
    async fn keys(&self, after: Option<EntryKey>) -> Result<Vec<EntryKey>, JournalError> {
        let mut scan = self.journal.scan(after, KEYS_PER_SCAN, Arc::new(|_, _| false)).await?;
        loop {
            if let Some(Scanned { keys, .. }) = scan.advance().await? {
                return Ok(keys);
            }
        }
    }

    async fn relocate_all(
        &self,
        entries: Vec<JournalEntry>,
        target: StoreId,
        report: &mut impl FnMut(Relocated),
    ) {
        for entry in entries {
            if !self.identity.is_for_other_store(entry.header.store_id) {
                continue;
            }
            let not_moved = self.relocate(&entry, target).await.err();
            let not_moved_reason = not_moved.map(|error| error.to_string());
            report(Relocated { export_id: entry.header.export_id, not_moved_reason });
        }
    }

    async fn relocate(&self, entry: &JournalEntry, target: StoreId) -> Result<(), NotMoved> {
        let export = self.journal.load(entry, self.settings.memory_bytes).await?;
        let mut content = export.content.as_ref().clone();
        for document in &mut content.documents {
            self.find(document).await?;
        }
        if self.settings.dry_run {
            return Ok(());
        }
        let moved = AcceptedExport { content: Arc::new(content), store_id: Some(target), ..export };
        Ok(self.journal.replace(&moved).await?)
    }

    /// Finds a document in the configured store and updates its reference.
    async fn find(&self, document: &mut Document) -> Result<(), NotMoved> {
        let sha256 = document.sha256;
        let Content::Referenced { size_bytes, reference } = &mut document.content else {
            return Ok(());
        };
        let parts = parts_of(self.s3.as_ref())?;
        match reference {
            // Attachments are on this machine's disk.
            Reference::Attachment { .. } => Ok(()),
            Reference::Upload { upload_id, e_tag, crc64nvme } => {
                let key = layout::upload_document(*upload_id);
                let found = self.look_up(&parts.source_location(&key)).await?;
                let missing = || NotMoved::Missing(self.s3.location(key.as_str()));
                let (found, sha256) = found.zip(sha256).ok_or_else(missing)?;
                let (size_bytes, crc64nvme) = (*size_bytes, *crc64nvme);
                let expected = ContentChecksums { size_bytes, sha256, crc64nvme };
                if !has_expected_content(parts, &found, &expected, &self.budget()).await? {
                    return Err(missing());
                }
                *e_tag = found.e_tag;
                Ok(())
            }
            Reference::Object { bucket, key, version_id, e_tag, .. } => {
                let (bucket, key) = (bucket.clone(), key.clone());
                let location = SourceLocation { bucket, key, version_id: version_id.clone() };
                match self.look_up(&location).await? {
                    Some(found) if found.e_tag == *e_tag => Ok(()),
                    _ => Err(NotMoved::Missing(location.to_string())),
                }
            }
        }
    }

    async fn look_up(&self, location: &SourceLocation) -> Result<Option<SourceObject>, NotMoved> {
        let look_up = || async { parts_of(self.s3.as_ref())?.look_up_source(location).await };
        match self.budget().run(look_up, |_, _| {}).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn budget(&self) -> RetryBudget {
        RetryBudget::new(self.settings.retry_budget)
    }
}

//! One committed bundle of a store.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    Export, ExportArtifact, ExportState, layout,
    read::{self, ReadError, VerifiedArtifact},
    records::{self, ExportRecord},
};
use crate::{
    bundle::{
        AcceptedTime, ArtifactPath, Destination, ExportId, FolderBase, FolderName, Manifest,
        ManifestArtifact,
    },
    digest::Sha256,
    store::{ListRequest, Store, StoreError, StoreErrorKind, StoreKind, read_small},
};

/// A manifest has a few kilobytes plus the document's name; more is not ours.
pub const MANIFEST_LIMIT_BYTES: u64 = 1024 * 1024;
/// Claims asked of the store at once.
const LISTED_AT_ONCE: usize = 1_000;
/// No more folders of one name and second are tried, or looked through.
const MAX_SUFFIX: u32 = 10_000;

/// A committed bundle: its manifest was read and belongs to it.
#[derive(Debug, Clone)]
pub struct StoredBundle {
    store: Arc<dyn Store>,
    folder: FolderName,
    manifest: Manifest,
    manifest_sha256: Sha256,
    manifest_size_bytes: u64,
    committed_time: Option<DateTime<Utc>>,
    requested_destination: Destination,
}

impl StoredBundle {
    /// Finds an export's bundle by its record, then the folders from its base name on.
    pub async fn find(
        store: &Arc<dyn Store>,
        export_id: ExportId,
    ) -> Result<Option<Self>, ReadError> {
        let Some(record) = records::read_record(store.as_ref(), export_id).await? else {
            return Ok(None);
        };
        if store.kind() == StoreKind::Local {
            return Self::find_local(store, export_id, record).await;
        }
        let mut unreadable = None;
        for folder in folders_of(&record.folder_base) {
            let (claim, manifest) = futures::join!(
                records::read_claim(store.as_ref(), &folder),
                read_manifest(store.as_ref(), &folder)
            );
            let claim = claim?;
            match manifest {
                Ok(Some(manifest)) if manifest.manifest.export_id == export_id => {
                    return Ok(Some(Self::new(
                        store,
                        folder,
                        manifest,
                        record.requested_destination,
                    )));
                }
                Ok(_) => {}
                // A stranger's file of that name; or ours, damaged, if no other folder has ours.
                Err(error @ ReadError::DataLoss { .. }) => unreadable = unreadable.or(Some(error)),
                Err(error) => return Err(error),
            }
            // Whoever passes a folder by has claimed it or seen another's claim on it, so behind a
            // folder without a claim there is nothing.
            if claim.is_none() {
                break;
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    /// In the local store, claims go with their bundles, so that one may be missing before another's:
    /// all claims of the base are looked through. The first folder is tried before that, since it
    /// nearly always is the one.
    async fn find_local(
        store: &Arc<dyn Store>,
        export_id: ExportId,
        record: ExportRecord,
    ) -> Result<Option<Self>, ReadError> {
        let base = &record.folder_base;
        let first = FolderName::new(base, 1);
        if let Ok(Some(manifest)) = read_manifest(store.as_ref(), &first).await
            && manifest.manifest.export_id == export_id
        {
            return Ok(Some(Self::new(store, first, manifest, record.requested_destination)));
        }
        let folders = claimed_folders(store.as_ref(), base, export_id).await?;
        for folder in folders.into_iter().rev() {
            match read_manifest(store.as_ref(), &folder).await? {
                Some(manifest) if manifest.manifest.export_id == export_id => {
                    let destination = record.requested_destination;
                    return Ok(Some(Self::new(store, folder, manifest, destination)));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Reads the bundle of a folder that the index names; none where the entry leads nowhere: the
    /// export ended between entry and manifest, or took another folder.
    pub async fn of_index_entry(
        store: &Arc<dyn Store>,
        time: AcceptedTime,
        folder: FolderName,
    ) -> Result<Option<Self>, ReadError> {
        let Some(manifest) = read_manifest(store.as_ref(), &folder).await? else { return Ok(None) };
        if manifest.manifest.accepted_time != time {
            return Ok(None);
        }
        // What lies in S3 was asked for in S3; what lies here may have been asked for there.
        let requested_destination = match store.kind() {
            StoreKind::S3 => Destination::S3,
            StoreKind::Local => records::read_record(store.as_ref(), manifest.manifest.export_id)
                .await?
                .map_or(Destination::Local, |record: ExportRecord| record.requested_destination),
        };
        Ok(Some(Self::new(store, folder, manifest, requested_destination)))
    }

    /// Reads the bundle of an export from the folder in S3 where it was before; none where the folder
    /// has it no more.
    pub(super) async fn of_known_folder(
        store: &Arc<dyn Store>,
        folder: FolderName,
        export_id: ExportId,
    ) -> Result<Option<Self>, ReadError> {
        let manifest = read_manifest(store.as_ref(), &folder).await?;
        let manifest = manifest.filter(|manifest| manifest.manifest.export_id == export_id);
        Ok(manifest.map(|manifest| Self::new(store, folder, manifest, Destination::S3)))
    }

    fn new(
        store: &Arc<dyn Store>,
        folder: FolderName,
        manifest: ReadManifest,
        requested_destination: Destination,
    ) -> Self {
        Self {
            store: store.clone(),
            folder,
            manifest: manifest.manifest,
            manifest_sha256: manifest.sha256,
            manifest_size_bytes: manifest.size_bytes,
            committed_time: manifest.modified_time,
            requested_destination,
        }
    }

    /// The kind of store that has the bundle.
    pub fn store_kind(&self) -> StoreKind {
        self.store.kind()
    }

    /// The bundle's folder.
    pub fn folder(&self) -> &FolderName {
        &self.folder
    }

    /// The bundle's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The export whose bundle this is.
    pub fn export(&self) -> Export {
        let stored_in = self.store.kind();
        let state = match (self.requested_destination, stored_in) {
            (Destination::S3, StoreKind::Local) => ExportState::FellBack,
            _ => ExportState::Committed,
        };
        Export {
            export_id: self.manifest.export_id,
            state,
            state_reason: String::new(),
            document_name: self.manifest.document_name.clone(),
            session_id: self.manifest.session_id.clone(),
            reviewer: self.manifest.reviewer.clone(),
            requested_by: self.manifest.requested_by.clone(),
            requested_destination: self.requested_destination,
            stored_in: Some(stored_in),
            location: self.store.location(&format!("{}/", self.folder)),
            folder_name: Some(self.folder.clone()),
            artifacts: self.artifacts(),
            manifest_sha256: Some(self.manifest_sha256),
            accepted_time: self.manifest.accepted_time,
            committed_time: self.committed_time,
            adopted: self.manifest.adopted,
        }
    }

    /// The bundle's files without its manifest, in path order.
    pub fn artifacts(&self) -> Vec<ExportArtifact> {
        self.manifest.artifacts.iter().map(export_artifact).collect()
    }

    /// The manifest as one of the bundle's files.
    pub fn manifest_artifact(&self) -> ExportArtifact {
        ExportArtifact {
            path: ArtifactPath::manifest().to_string(),
            size_bytes: self.manifest_size_bytes,
            sha256: self.manifest_sha256,
            media_type: "application/json".to_owned(),
        }
    }

    /// One of the bundle's files, or its manifest, as the manifest has it.
    ///
    /// # Errors
    /// [`ReadError::NoSuchArtifact`] where the manifest doesn't list the path.
    pub fn artifact(&self, path: &ArtifactPath) -> Result<ExportArtifact, ReadError> {
        if *path == ArtifactPath::manifest() {
            return Ok(self.manifest_artifact());
        }
        let listed = self.manifest.artifacts.iter().find(|artifact| artifact.path == *path);
        listed.map(export_artifact).ok_or_else(|| ReadError::NoSuchArtifact {
            path: path.to_string(),
            folder: self.folder.to_string(),
        })
    }

    /// Opens one of the bundle's files, or its manifest.
    ///
    /// # Errors
    /// [`ReadError::NoSuchArtifact`] where the manifest doesn't list the path, and
    /// [`ReadError::DataLoss`] where it does and the file is gone.
    pub async fn open(&self, path: &ArtifactPath) -> Result<VerifiedArtifact, ReadError> {
        let expected = self.artifact(path)?;
        let key = layout::artifact(&self.folder, path);
        match VerifiedArtifact::open(self.store.as_ref(), &key, expected).await {
            Err(ReadError::DataLoss { .. }) if self.is_gone().await => {
                let place = self.store.location(&format!("{}/", self.folder));
                let message = format!("{place} went to S3 while it was read: read it again");
                Err(StoreError::new(StoreErrorKind::Unavailable, message).into())
            }
            opened => opened,
        }
    }

    /// Whether the bundle is still there as it was read. In S3, where the service removes no bundle, it
    /// is; in the local store, what moved to S3 goes: its record last, and where its files are kept,
    /// nothing else that can be missed.
    pub(super) async fn is_there(&self) -> bool {
        if self.store.kind() == StoreKind::S3 {
            return true;
        }
        let record = layout::record(self.manifest.export_id);
        let manifest = ArtifactPath::manifest();
        let (record, has_manifest) = futures::join!(
            self.store.head(&record),
            self.has_file(&manifest, self.manifest_size_bytes, self.committed_time)
        );
        record.is_ok() && has_manifest
    }

    /// Whether a file that was read is still there as it was, as far as that shows without reading it.
    pub(super) async fn has_file(
        &self,
        path: &ArtifactPath,
        size_bytes: u64,
        modified_time: Option<DateTime<Utc>>,
    ) -> bool {
        if self.store.kind() == StoreKind::S3 {
            return true;
        }
        let info = self.store.head(&layout::artifact(&self.folder, path)).await;
        info.is_ok_and(|info| {
            info.size_bytes == size_bytes
                && info.modified_time.is_some()
                && info.modified_time == modified_time
        })
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Whether the whole bundle went: it fell back, and is in S3 now.
    async fn is_gone(&self) -> bool {
        self.store.kind() == StoreKind::Local
            && matches!(read_manifest(self.store.as_ref(), &self.folder).await, Ok(None))
    }
}

fn export_artifact(artifact: &ManifestArtifact) -> ExportArtifact {
    ExportArtifact {
        path: artifact.path.to_string(),
        size_bytes: artifact.size_bytes,
        sha256: artifact.sha256,
        media_type: artifact.media_type.clone(),
    }
}

struct ReadManifest {
    manifest: Manifest,
    sha256: Sha256,
    size_bytes: u64,
    modified_time: Option<DateTime<Utc>>,
}

/// What identifies a manifest that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its digest.
    pub sha256: Sha256,
    /// When it was stored, by the store's clock.
    pub stored_time: Option<DateTime<Utc>>,
}

/// Whose manifest a folder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderOwner {
    /// Nobody's: there is none.
    Nobody,
    /// This export's.
    Export(ExportId, StoredManifest),
    /// Somebody's, in a form this service does not write.
    Stranger,
}

/// Looks whose manifest a folder has.
pub async fn folder_owner(
    store: &dyn Store,
    folder: &FolderName,
) -> Result<FolderOwner, StoreError> {
    match read_manifest(store, folder).await {
        Ok(Some(ReadManifest { manifest, sha256, modified_time, .. })) => Ok(FolderOwner::Export(
            manifest.export_id,
            StoredManifest { sha256, stored_time: modified_time },
        )),
        Ok(None) => Ok(FolderOwner::Nobody),
        Err(ReadError::Store(error)) if error.kind() != StoreErrorKind::Corrupt => Err(error),
        Err(_) => Ok(FolderOwner::Stranger),
    }
}

async fn read_manifest(
    store: &dyn Store,
    folder: &FolderName,
) -> Result<Option<ReadManifest>, ReadError> {
    let key = layout::manifest(folder);
    let (info, bytes) = match read_small(store, &key, MANIFEST_LIMIT_BYTES).await {
        Ok(read) => read,
        Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let manifest =
        Manifest::parse(&bytes).map_err(|error| read::data_loss(store, &key, error.to_string()))?;
    Ok(Some(ReadManifest {
        manifest,
        sha256: Sha256::of(&bytes),
        size_bytes: bytes.len() as u64,
        modified_time: info.modified_time,
    }))
}

/// The folder names a base can take, in the order in which they are tried.
pub fn folders_of(base: &FolderBase) -> impl Iterator<Item = FolderName> + '_ {
    (1..=MAX_SUFFIX).map(|suffix| FolderName::new(base, suffix))
}

/// The folders of a base that an export has claimed, in the order of their suffixes: by looking
/// through all claims of the base, whichever of them are missing. The last one is the export's own
/// (`tests/model`, mechanism `local_folders_by_scan`).
pub async fn claimed_folders(
    store: &dyn Store,
    base: &FolderBase,
    export_id: ExportId,
) -> Result<Vec<FolderName>, StoreError> {
    let mut claimed = Vec::new();
    let mut start_after = layout::before_claims_of(base);
    'pages: loop {
        let request = ListRequest {
            prefix: layout::claims_prefix(),
            start_after: Some(start_after),
            delimited: false,
            limit: LISTED_AT_ONCE,
        };
        let listing = store.list(request).await?;
        for key in &listing.keys {
            if !layout::may_be_claim_of(key, base) {
                break 'pages;
            }
            let Some(suffix) = layout::claimed_suffix(key, base) else { continue };
            let folder = FolderName::new(base, suffix);
            match records::read_claim(store, &folder).await? {
                Some(claim) if claim.export_id == export_id => claimed.push((suffix, folder)),
                _ => {}
            }
        }
        match listing.keys.last() {
            Some(last) if listing.more => start_after = last.clone(),
            _ => break,
        }
    }
    claimed.sort_unstable_by_key(|(suffix, _)| *suffix);
    Ok(claimed.into_iter().map(|(_, folder)| folder).collect())
}

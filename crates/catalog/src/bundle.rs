//! A committed bundle of a store, and how it is found: step 12 of docs/design/commit-protocol.md.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tara_export_bundle::{
    AcceptedTime, ArtifactPath, Destination, ExportId, FolderBase, FolderName, Manifest,
    ManifestArtifact,
};
use tara_export_digest::Sha256;
use tara_export_store::{ListRequest, Store, StoreError, StoreErrorKind, StoreKind, read_small};

use super::{
    Export, ExportArtifact, ExportState, layout,
    read::{self, ReadError, VerifiedArtifact},
    records::{self, ExportRecord},
};

/// A manifest has a few kilobytes plus the document's name; a larger object is not a manifest.
pub const MANIFEST_LIMIT_BYTES: u64 = 1024 * 1024;
/// Claims per listing.
const CLAIMS_PER_LISTING: usize = 1_000;
/// The most folders with unreadable objects that are passed over in the search for a bundle.
const MAX_UNREADABLE: usize = 16;
/// The most folders of one name and second that are tried or searched.
const MAX_SUFFIX: u32 = 10_000;

/// A committed bundle whose manifest was read and verified to belong to it.
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
    /// Finds an export's bundle through its record and the folders of its base name.
    pub async fn find(
        store: &Arc<dyn Store>,
        export_id: ExportId,
    ) -> Result<Option<Self>, ReadError> {
        match records::read_record(store.as_ref(), export_id).await? {
            Some(record) => Self::find_recorded(store, export_id, record).await,
            None => Ok(None),
        }
    }

    /// Finds the bundle of an export whose record was read.
    pub async fn find_recorded(
        store: &Arc<dyn Store>,
        export_id: ExportId,
        record: ExportRecord,
    ) -> Result<Option<Self>, ReadError> {
        if store.kind() == StoreKind::Local {
            return Self::find_local(store, export_id, record).await;
        }
        let (mut unreadable, mut unreadable_count) = (None, 0);
        for folder in folders_of(&record.folder_base) {
            let (claim, manifest) = futures::join!(
                records::read_claim(store.as_ref(), &folder),
                read_manifest(store.as_ref(), &folder)
            );
            let is_of_other = matches!(&claim, Ok(Some(claim)) if claim.export_id != export_id);
            let is_own = matches!(&claim, Ok(Some(claim)) if claim.export_id == export_id);
            let mut is_used = matches!(claim, Ok(Some(_)));
            let error = match manifest {
                Ok(Some(manifest)) if manifest.manifest.export_id == export_id => {
                    return Ok(Some(Self::new(
                        store,
                        folder,
                        manifest,
                        record.requested_destination,
                    )));
                }
                // The claim of another export's folder was removed, for example by a lifecycle rule.
                Ok(Some(_)) => {
                    is_used = true;
                    None
                }
                Ok(None) => claim.err().map(ReadError::from),
                Err(_) if is_of_other => None,
                Err(error) => Some(error),
            };
            if let Some(error) = error {
                let is_undecided = !is_own || error.is_data_loss();
                // A foreign object; or an object of this export that is damaged or cannot be read, if no other
                // folder has its manifest.
                unreadable_count += 1;
                if !is_undecided || error.is_transient() || unreadable_count > MAX_UNREADABLE {
                    return Err(error);
                }
                unreadable = unreadable.or(Some(error));
                is_used = true;
            }
            // A replica tries the next folder only if this one has a claim or a manifest. So after a
            // folder without either there is no bundle.
            if !is_used {
                break;
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    /// Finds a bundle in the local store. There, claims are removed with their bundles, so a claim can
    /// be missing before that of a later folder: all claims of the base are searched. The first folder is
    /// tried before that, because it is nearly always the right one.
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

    /// Reads the bundle of a folder that the index names; `None` if the folder has no such bundle: the
    /// export ended between index entry and manifest, or used another folder.
    pub async fn from_index_entry(
        store: &Arc<dyn Store>,
        time: AcceptedTime,
        folder: FolderName,
    ) -> Result<Option<Self>, ReadError> {
        let Some(manifest) = read_manifest(store.as_ref(), &folder).await? else { return Ok(None) };
        if manifest.manifest.accepted_time != time {
            return Ok(None);
        }
        // A bundle in S3 was requested there. A bundle in the local store may have been requested in S3.
        let requested_destination = match store.kind() {
            StoreKind::S3 => Destination::S3,
            StoreKind::Local => records::read_record(store.as_ref(), manifest.manifest.export_id)
                .await?
                .map_or(Destination::Local, |record: ExportRecord| record.requested_destination),
        };
        Ok(Some(Self::new(store, folder, manifest, requested_destination)))
    }

    /// Reads the bundle of an export from the folder in S3 where it was last found; `None` if it is not
    /// there any more.
    pub(super) async fn from_known_folder(
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

    /// The bundle's export.
    pub fn export(&self) -> Export {
        let stored_in = self.store.kind();
        Export {
            export_id: self.manifest.export_id,
            is_id_unknown: false,
            state: ExportState::of_bundle(self.requested_destination, stored_in),
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
            replacements: self.manifest.replacements.as_slice().into(),
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

    /// The entry of one of the bundle's files, or of its manifest.
    ///
    /// # Errors
    /// [`ReadError::NoSuchArtifact`] if the manifest does not list the path.
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
    /// [`ReadError::NoSuchArtifact`] if the manifest does not list the path, and
    /// [`ReadError::DataLoss`] if it does and the file is missing.
    pub async fn open(&self, path: &ArtifactPath) -> Result<VerifiedArtifact, ReadError> {
        let expected = self.artifact(path)?;
        let key = layout::artifact(&self.folder, path);
        match VerifiedArtifact::open(self.store.as_ref(), &key, expected).await {
            Err(ReadError::DataLoss { .. }) if self.was_removed().await => {
                let location = self.store.location(&format!("{}/", self.folder));
                let message =
                    format!("{location} was moved to S3 while it was read: read it again");
                Err(StoreError::new(StoreErrorKind::Unavailable, message).into())
            }
            opened => opened,
        }
    }

    /// Whether the bundle still exists as it was read. In S3 it does, because the service removes no
    /// bundle there. In the local store a synced bundle is removed: its record last, and while its files
    /// exist, only the record and the manifest can be missing.
    pub(super) async fn still_exists(&self) -> bool {
        if self.store.kind() == StoreKind::S3 {
            return true;
        }
        let record = layout::record(self.manifest.export_id);
        let manifest = ArtifactPath::manifest();
        let (record, has_manifest) = futures::join!(
            self.store.head(&record),
            self.has_unchanged_file(&manifest, self.manifest_size_bytes, self.committed_time)
        );
        record.is_ok() && has_manifest
    }

    /// Whether a file still has the same size and modification time. Does not read it.
    pub(super) async fn has_unchanged_file(
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

    /// Whether the complete bundle was removed from the local store: it was synced to S3.
    async fn was_removed(&self) -> bool {
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

/// The identity of a stored manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its digest.
    pub sha256: Sha256,
    /// When it was stored, by the store's clock.
    pub stored_time: Option<DateTime<Utc>>,
}

/// The owner of a folder, according to its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderOwner {
    /// The folder has no manifest.
    Unclaimed,
    /// The folder has the manifest of this export.
    Export(ExportId, StoredManifest),
    /// The folder has a manifest that this service did not write.
    Foreign,
}

/// Determines the owner of a folder.
pub async fn folder_owner(
    store: &dyn Store,
    folder: &FolderName,
) -> Result<FolderOwner, StoreError> {
    match read_manifest(store, folder).await {
        Ok(Some(ReadManifest { manifest, sha256, modified_time, .. })) => Ok(FolderOwner::Export(
            manifest.export_id,
            StoredManifest { sha256, stored_time: modified_time },
        )),
        Ok(None) => Ok(FolderOwner::Unclaimed),
        Err(ReadError::Store(error)) if error.kind() != StoreErrorKind::Corrupt => Err(error),
        Err(_) => Ok(FolderOwner::Foreign),
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

/// The folder names of a base, in the order in which they are tried.
pub fn folders_of(base: &FolderBase) -> impl Iterator<Item = FolderName> + '_ {
    (1..=MAX_SUFFIX).map(|suffix| FolderName::new(base, suffix))
}

/// The folders of a base that an export has claimed, in the order of their suffixes. Scans all claims of
/// the base, because some may be missing. The last folder is the one that the export uses
/// (`tests/model`, mechanism `local_folders_by_scan`).
pub async fn claimed_folders(
    store: &dyn Store,
    base: &FolderBase,
    export_id: ExportId,
) -> Result<Vec<FolderName>, StoreError> {
    let mut claimed = Vec::new();
    let mut start_after = layout::claims_start(base);
    'pages: loop {
        let request = ListRequest {
            prefix: layout::claims_prefix(),
            start_after: Some(start_after),
            delimited: false,
            limit: CLAIMS_PER_LISTING,
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

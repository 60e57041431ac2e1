//! The commit protocol against one store (design, section 3, steps 3, 6 and 7).
//!
//! Everybody who holds the same accepted export writes the same bytes, so nobody needs a lock: a
//! name is taken by whoever writes it first, and writing it twice does no harm.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, future, stream};

use super::{
    ArtifactUpdate, EventKind, FailureReason, account,
    documents::Documents,
    events::Run,
    failure::{AttemptError, Failure},
    journal::Attempt,
};
use crate::{
    bundle::{AcceptedExport, Artifact, Bundle, FolderName, FormatVersion, Manifest},
    catalog::{
        FolderOwner, StoredManifest, claimed_folders, folder_owner, folders_of, layout,
        records::{self, ExportRecord, FolderClaim, IndexEntry},
    },
    digest::{Sha256, Sha256Hasher},
    store::{ObjectKey, Payload, PutOutcome, Store, StoreError, StoreErrorKind, StoreKind},
    transfer::{LargeContent, RetryBudget, Transfers},
};

/// Work on one export in one store.
pub(super) struct Commit<'a> {
    pub store: &'a dyn Store,
    pub run: &'a Arc<Run>,
    pub budget: Arc<RetryBudget>,
    /// Objects sent side by side.
    pub parallel_puts: usize,
    /// Set before the manifest is first sent: from then on the bundle may exist.
    pub manifest_sent: &'a AtomicBool,
    /// Where the content of documents comes from, and how it is moved.
    pub documents: Documents<'a>,
    pub transfers: &'a Transfers,
    /// The note of the journal's entry, if the export was loaded from there.
    pub attempt: Option<&'a Attempt>,
}

/// A folder that belongs to an export.
#[derive(Debug)]
pub(super) struct Claim {
    /// The export as its first acceptance pinned it, which may be another replica's.
    pub export: AcceptedExport,
    pub folder: FolderName,
    /// The manifest, where the bundle is there already.
    pub committed: Option<StoredManifest>,
}

/// A bundle whose manifest is stored.
#[derive(Debug)]
pub(super) struct Committed {
    pub folder: FolderName,
    pub manifest_sha256: Sha256,
    /// When, by the store's clock; none where it was just now.
    pub committed_time: Option<DateTime<Utc>>,
}

impl Committed {
    /// A bundle that was there before, perhaps of a put whose answer was lost.
    fn earlier(folder: FolderName, manifest: StoredManifest) -> Self {
        let StoredManifest { sha256, stored_time } = manifest;
        Self { folder, manifest_sha256: sha256, committed_time: stored_time }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    /// The store failed for longer than the budget, or for good.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record under this id has another digest.
    #[error("the id names an export of other content")]
    RequestIdReused {
        /// This export's digest, in the encoding of that record: everybody sees the record alike, so
        /// that everybody derives the same id from it.
        digest: Sha256,
    },
    /// Every folder name is taken. Waiting does not help, and nothing is lost by it.
    #[error("every folder name from {0} on is taken")]
    NoFolderLeft(String),
}

impl From<CommitError> for AttemptError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::RequestIdReused { digest } => Self::Reused(digest),
            CommitError::Store(error) => Self::Failed(error.into()),
            CommitError::NoFolderLeft(_) => {
                let message = format!("{error}: give the document another name");
                Self::Failed(Failure { reason: FailureReason::StoreMisconfigured, message })
            }
        }
    }
}

/// Whether a folder is free for an export.
enum FolderState {
    Ours,
    Committed(StoredManifest),
    Taken,
}

impl Commit<'_> {
    /// Step 3: the record and a folder, in one round trip where nobody else wants them.
    pub(super) async fn claim(&self, export: &AcceptedExport) -> Result<Claim, CommitError> {
        if self.store.kind() == StoreKind::Local {
            return self.claim_local(export).await;
        }
        let first = FolderName::new(&export.folder_base, 1);
        let (record, first_state) =
            futures::join!(self.claim_record(export), self.claim_folder(export, &first));
        let (adopted, _) = record?;
        if adopted.folder_base == export.folder_base {
            match first_state? {
                FolderState::Ours => {
                    return Ok(Claim { export: adopted, folder: first, committed: None });
                }
                FolderState::Committed(manifest) => {
                    return Ok(Claim { export: adopted, folder: first, committed: Some(manifest) });
                }
                FolderState::Taken => return self.claim_next_folder(adopted, &first).await,
            }
        }
        // A folder claimed under our own base name stays unused, which does no harm.
        self.claim_folder_from(adopted, 0).await
    }

    /// In the local store, where claims go with their bundles: a folder may be free again that was
    /// another's when the export passed it by, and the export stays with the one it took.
    async fn claim_local(&self, export: &AcceptedExport) -> Result<Claim, CommitError> {
        let (adopted, is_new) = self.claim_record(export).await?;
        // The record comes before the first claim, and goes after the last.
        if is_new {
            return self.claim_folder_from(adopted, 0).await;
        }
        let base = &adopted.folder_base;
        let own = self.retrying(|| claimed_folders(self.store, base, adopted.export_id)).await?;
        let skip = match own.last() {
            Some(last) => folders_of(base).take_while(|folder| folder != last).count(),
            None => 0,
        };
        self.claim_folder_from(adopted, skip).await
    }

    /// Step 6: the folder turned out to be a stranger's.
    pub(super) async fn claim_next_folder(
        &self,
        export: AcceptedExport,
        taken: &FolderName,
    ) -> Result<Claim, CommitError> {
        let skip = folders_of(&export.folder_base).take_while(|folder| folder != taken).count() + 1;
        self.claim_folder_from(export, skip).await
    }

    async fn claim_folder_from(
        &self,
        export: AcceptedExport,
        skip: usize,
    ) -> Result<Claim, CommitError> {
        let base = export.folder_base.clone();
        for folder in folders_of(&base).skip(skip) {
            match self.claim_folder(&export, &folder).await? {
                FolderState::Ours => return Ok(Claim { export, folder, committed: None }),
                FolderState::Committed(manifest) => {
                    return Ok(Claim { export, folder, committed: Some(manifest) });
                }
                FolderState::Taken => {}
            }
        }
        Err(CommitError::NoFolderLeft(base.to_string()))
    }

    /// Puts the record, or adopts the one that is there. Whether it is new.
    async fn claim_record(
        &self,
        export: &AcceptedExport,
    ) -> Result<(AcceptedExport, bool), CommitError> {
        let key = layout::record(export.export_id);
        let ours = ExportRecord::new(export);
        let outcome = self.put(&key, records::payload(&ours)).await?;
        failpoint!("record.put");
        if outcome == PutOutcome::Created {
            return Ok((export.clone(), true));
        }
        let read = || records::read_record(self.store, export.export_id);
        let theirs = self.retrying(read).await?.ok_or_else(|| self.vanished(&key))?;
        if theirs.format_version == Manifest::NOT_RENDERED {
            // An adopted bundle's, which is nobody's request. Every release derives the same id.
            let digest = export.digest_in(FormatVersion::V1);
            return Err(CommitError::RequestIdReused { digest });
        }
        let format_version = FormatVersion::try_from(theirs.format_version).map_err(|error| {
            StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("{}: {error}", self.store.location(key.as_str())),
            )
        })?;
        // In the encoding of the release that wrote the record: another's digest of the same content
        // differs.
        let content_digest = export.digest_in(format_version);
        if theirs.content_digest != content_digest {
            return Err(CommitError::RequestIdReused { digest: content_digest });
        }
        let adopted = AcceptedExport {
            accepted_time: theirs.accepted_time,
            folder_base: theirs.folder_base,
            format_version,
            content_digest,
            requested_by: theirs.requested_by,
            ..export.clone()
        };
        Ok((adopted, false))
    }

    /// Puts a claim on a folder, and looks for a manifest there that nobody claimed.
    async fn claim_folder(
        &self,
        export: &AcceptedExport,
        folder: &FolderName,
    ) -> Result<FolderState, StoreError> {
        let key = layout::folder_claim(folder);
        let claim = async {
            let ours = FolderClaim { export_id: export.export_id };
            let outcome = self.put(&key, records::payload(&ours)).await?;
            failpoint!("folder.put");
            if outcome == PutOutcome::Created {
                return Ok(true);
            }
            let theirs = self.retrying(|| records::read_claim(self.store, folder)).await?;
            Ok(theirs.ok_or_else(|| self.vanished(&key))? == ours)
        };
        let owner = self.retrying(|| folder_owner(self.store, folder));
        let (is_ours, owner) = futures::try_join!(claim, owner)?;
        Ok(match owner {
            FolderOwner::Export(owner, manifest) if owner == export.export_id => {
                FolderState::Committed(manifest)
            }
            FolderOwner::Nobody if is_ours => FolderState::Ours,
            _ => FolderState::Taken,
        })
    }

    /// Steps 6 and 7: artifacts and index entry side by side, then the manifest.
    pub(super) async fn write(
        &self,
        mut claim: Claim,
        bundle: &Bundle,
    ) -> Result<Committed, CommitError> {
        let total = u32::try_from(bundle.artifacts.len() + 1).unwrap_or(u32::MAX);
        loop {
            self.run.update(|export| export.folder_name = Some(claim.folder.clone()));
            self.run.reset_progress(total, bundle.size_bytes());
            if let Some(manifest) = claim.committed {
                return Ok(Committed::earlier(claim.folder, manifest));
            }
            if self.write_artifacts(&claim, bundle).await?
                && let Some(committed) = self.write_manifest(&claim, bundle).await?
            {
                return Ok(committed);
            }
            claim = self.claim_next_folder(claim.export, &claim.folder).await?;
        }
    }

    /// Whether every artifact is stored; else the folder is a stranger's.
    async fn write_artifacts(&self, claim: &Claim, bundle: &Bundle) -> Result<bool, StoreError> {
        let index_key = layout::index_entry(claim.export.accepted_time, &claim.folder);
        let index_payload = records::payload(&IndexEntry { export_id: claim.export.export_id });
        let index = async {
            failpoint!("index.to_put");
            self.put(&index_key, index_payload).await?;
            failpoint!("index.put");
            Ok(true)
        };
        let puts: Vec<_> =
            bundle.artifacts.iter().map(|artifact| self.write_artifact(claim, artifact)).collect();
        let artifacts = stream::iter(puts)
            .buffer_unordered(self.parallel_puts)
            .try_fold(true, |all, stored| future::ready(Ok(all && stored)));
        let (index, artifacts) = futures::try_join!(index, artifacts)?;
        Ok(index && artifacts)
    }

    async fn write_artifact(&self, claim: &Claim, artifact: &Artifact) -> Result<bool, StoreError> {
        let key = layout::artifact(&claim.folder, &artifact.path);
        failpoint!("artifact.to_put");
        let stored = match self.put_artifact(&key, artifact).await? {
            PutOutcome::Created => true,
            PutOutcome::Exists => self.retrying(|| holds(self.store, &key, artifact)).await?,
        };
        failpoint!("artifact.put");
        if stored {
            self.attempt.inspect(|attempt| attempt.progress());
            self.run.stored(self.update(artifact), artifact.size_bytes());
        }
        Ok(stored)
    }

    /// The bundle once its manifest is stored; none where the folder is another's.
    async fn write_manifest(
        &self,
        claim: &Claim,
        bundle: &Bundle,
    ) -> Result<Option<Committed>, StoreError> {
        let manifest = bundle.manifest(&claim.export, &claim.folder);
        let key = layout::artifact(&claim.folder, &manifest.path);
        failpoint!("manifest.to_put");
        self.manifest_sent.store(true, Ordering::Relaxed);
        let committed = match self.put_artifact(&key, &manifest).await? {
            PutOutcome::Created => Committed {
                folder: claim.folder.clone(),
                manifest_sha256: manifest.sha256,
                committed_time: None,
            },
            PutOutcome::Exists => {
                let owner = self.retrying(|| folder_owner(self.store, &claim.folder)).await?;
                match owner {
                    FolderOwner::Export(owner, manifest) if owner == claim.export.export_id => {
                        Committed::earlier(claim.folder.clone(), manifest)
                    }
                    _ => return Ok(None),
                }
            }
        };
        failpoint!("manifest.put");
        let sha256 = Some(committed.manifest_sha256);
        self.run.stored(ArtifactUpdate { sha256, ..self.update(&manifest) }, 0);
        Ok(Some(committed))
    }

    /// Puts one of the bundle's files, telling each step.
    async fn put_artifact(
        &self,
        key: &ObjectKey,
        artifact: &Artifact,
    ) -> Result<PutOutcome, StoreError> {
        let update = ArtifactUpdate { sha256: None, bytes_done: 0, ..self.update(artifact) };
        self.run.publish(EventKind::ArtifactStarted(update.clone()));
        let (run, progress) = (self.run.clone(), update.clone());
        let (retried, retried_key) = (self.run.clone(), key.clone());
        let content = LargeContent {
            key: key.clone(),
            expected: artifact.checksums().ok_or_else(|| undigested(key))?,
            media_type: artifact.media_type.clone(),
            source: self.documents.source(&artifact.content)?,
            budget: self.budget.clone(),
            progress: Arc::new(move |bytes_done| {
                run.publish_progress(ArtifactUpdate { bytes_done, ..progress.clone() });
            }),
            failed: Arc::new(move |attempt, error| {
                let export_id = retried.export_id();
                tracing::info!(%export_id, key = %retried_key, attempt, %error, "retrying");
                account::retried(error);
                retried.count_retry();
                let reason = error.to_string();
                let update = ArtifactUpdate { attempt: attempt + 1, reason, ..update.clone() };
                retried.publish(EventKind::ArtifactRetrying(update));
            }),
        };
        self.transfers.put(self.store, &content).await
    }

    pub(super) async fn put(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        self.retrying(|| self.store.put_if_absent(key, payload.clone())).await
    }

    pub(super) async fn retrying<T, F>(&self, operation: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let failed = |attempt, error: &StoreError| {
            tracing::info!(export_id = %self.run.export_id(), attempt, %error, "retrying");
            account::retried(error);
            self.run.count_retry();
        };
        self.budget.run(operation, failed).await
    }

    fn update(&self, artifact: &Artifact) -> ArtifactUpdate {
        let size_bytes = artifact.size_bytes();
        ArtifactUpdate {
            path: artifact.path.to_string(),
            bytes_done: size_bytes,
            size_bytes,
            sha256: Some(artifact.sha256),
            attempt: 1,
            reason: String::new(),
        }
    }

    /// A record that was there a moment ago and never goes: the store is not consistent yet.
    fn vanished(&self, key: &ObjectKey) -> StoreError {
        let place = self.store.location(key.as_str());
        StoreError::new(StoreErrorKind::Unavailable, format!("{place} was there and is gone"))
    }
}

/// What is rendered was digested before; so this is a fault of this program.
fn undigested(key: &ObjectKey) -> StoreError {
    let message = format!("the document for {key} was not read before its bundle was made");
    StoreError::new(StoreErrorKind::Misconfigured, message)
}

/// Whether an object has this artifact's bytes.
pub(super) async fn holds(
    store: &dyn Store,
    key: &ObjectKey,
    artifact: &Artifact,
) -> Result<bool, StoreError> {
    let info = match store.head(key).await {
        Ok(info) => info,
        // Something is in the way that is no object, such as a folder of that name on disk.
        Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if info.size_bytes != artifact.size_bytes() {
        return Ok(false);
    }
    if let Some(sha256) = info.sha256 {
        return Ok(sha256 == artifact.sha256);
    }
    if let (Some(stored), Some(expected)) = (info.crc64nvme, artifact.checksums()) {
        return Ok(stored == expected.crc64nvme);
    }
    let mut body = store.get(key).await?.body;
    let mut hasher = Sha256Hasher::default();
    while let Some(piece) = body.try_next().await? {
        hasher.update(&piece);
    }
    Ok(hasher.finish() == artifact.sha256)
}

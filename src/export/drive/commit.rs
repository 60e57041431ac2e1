//! The commit protocol against one store: steps 3, 6 and 7 of docs/design/commit-protocol.md.
//!
//! All replicas render the same bytes from the same accepted export, so the protocol needs no locks: the first
//! conditional write of a name wins, and repeated writes are harmless.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use tara_export_bundle::{
    AcceptedExport, Artifact, Bundle, ExportId, FolderName, FormatVersion, Manifest, StoreId,
};
use tara_export_catalog::{
    FolderOwner, StoredManifest, claimed_folders, folder_owner, folders_of, layout,
    records::{self, ExportRecord, FolderClaim, IndexEntry},
};
use tara_export_digest::{Sha256, Sha256Hasher};
use tara_export_failpoint::failpoint;
use tara_export_store::{
    ObjectKey, Payload, PutOutcome, Store, StoreError, StoreErrorKind, StoreKind,
};

use crate::{
    export::{
        drive::{
            documents::Documents,
            identity::{BucketIdentity, Freshness},
            observer::Observer,
        },
        failure::{AttemptError, Failure},
        journal::{Attempt, Journal},
        run::{events::ArtifactUpdate, outcome},
    },
    transfer::{LargeContent, RetryBudget, Transfers},
};

/// The commit of one export to one store.
pub(in crate::export) struct Commit<'a> {
    pub store: &'a dyn Store,
    /// The id under which this machine accepted the export, for the log.
    pub export_id: ExportId,
    pub observer: Arc<dyn Observer>,
    /// Number of failed operations that were retried.
    pub retries: Arc<AtomicU32>,
    pub budget: Arc<RetryBudget>,
    /// Maximum number of objects that are uploaded in parallel.
    pub parallel_puts: usize,
    /// Set before the manifest is first sent. The bundle may exist from then on.
    pub manifest_sent: &'a AtomicBool,
    /// The sources of documents, and how their content is transferred.
    pub documents: Documents<'a>,
    pub transfers: &'a Transfers,
    /// The attempt marker of the journal entry, if the export was loaded from the journal.
    pub attempt_marker: Option<&'a Attempt>,
    /// The check that the export was accepted for this store. `None` for the local store.
    pub own_store: Option<OwnStore<'a>>,
}

/// Checks whether the store is the one that the export was accepted for.
pub(in crate::export) struct OwnStore<'a> {
    pub identity: &'a BucketIdentity,
    pub journal: &'a Journal,
    pub proof: OwnStoreProof,
    /// Retry budget of one check.
    pub retry_budget: Duration,
    /// Number of retries at the time of the last check.
    retries: AtomicU32,
}

impl<'a> OwnStore<'a> {
    pub(in crate::export) fn new(
        identity: &'a BucketIdentity,
        journal: &'a Journal,
        proof: OwnStoreProof,
        retry_budget: Duration,
    ) -> Self {
        Self { identity, journal, proof, retry_budget, retries: AtomicU32::new(0) }
    }
}

/// How a store proves that an export was accepted for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum OwnStoreProof {
    /// By the identity that the export was accepted for. `None`: the first store that this machine knew.
    Identity(Option<StoreId>),
    /// The store contains the journal entry of the export, so any identity is sufficient.
    HasEntry,
}

/// A folder that belongs to an export.
#[derive(Debug)]
pub(in crate::export) struct Claim {
    /// The export with the values that its first acceptance pinned, possibly on another replica.
    pub export: AcceptedExport,
    pub folder: FolderName,
    /// The manifest, if the bundle already exists.
    pub committed: Option<StoredManifest>,
}

/// A bundle whose manifest is stored.
#[derive(Debug)]
pub(in crate::export) struct Committed {
    pub folder: FolderName,
    pub manifest_sha256: Sha256,
    /// The commit time by the store's clock. `None` if the bundle was just committed.
    pub committed_time: Option<DateTime<Utc>>,
}

impl Committed {
    /// A bundle that already exists, possibly from a put whose response was lost.
    fn existing(folder: FolderName, manifest: StoredManifest) -> Self {
        let StoredManifest { sha256, stored_time } = manifest;
        Self { folder, manifest_sha256: sha256, committed_time: stored_time }
    }
}

/// The state of a folder for an export.
enum FolderState {
    Ours,
    Committed(StoredManifest),
    Taken,
}

impl Commit<'_> {
    /// Succeeds if this is the store that the export was accepted for. Reads the identity again if an operation failed
    /// since the last check.
    pub(in crate::export) async fn require_own_store(&self) -> Result<(), AttemptError> {
        let Some(own) = &self.own_store else { return Ok(()) };
        let retries = self.retries.load(Ordering::Relaxed);
        if own.retries.swap(retries, Ordering::Relaxed) != retries {
            own.identity.invalidate();
        }
        let (freshness, budget) = (Freshness::Cached, RetryBudget::new(own.retry_budget));
        let required = match own.proof {
            OwnStoreProof::Identity(accepted_for) => {
                own.identity.require(own.journal, accepted_for, freshness, &budget).await
            }
            OwnStoreProof::HasEntry => {
                own.identity.fetch(own.journal, freshness, &budget).await.map(drop)
            }
        };
        required.map_err(AttemptError::Failed)
    }

    /// Step 3: claims the record and a folder, in one round trip if there is no conflict.
    pub(in crate::export) async fn claim(
        &self,
        export: &AcceptedExport,
    ) -> Result<Claim, AttemptError> {
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
        // A folder that was claimed under this export's own base name remains unused, which is harmless.
        self.claim_folder_from(adopted, 0).await
    }

    /// The local store removes claims together with their bundles. A folder that was taken when this export chose a
    /// later one may be free again, but the export keeps the folder that it claimed.
    async fn claim_local(&self, export: &AcceptedExport) -> Result<Claim, AttemptError> {
        let (adopted, is_new) = self.claim_record(export).await?;
        // The record is written before the first claim and removed after the last one.
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

    /// Step 6: claims the next folder because `taken` belongs to another export.
    pub(in crate::export) async fn claim_next_folder(
        &self,
        export: AcceptedExport,
        taken: &FolderName,
    ) -> Result<Claim, AttemptError> {
        let skip = folders_of(&export.folder_base).take_while(|folder| folder != taken).count() + 1;
        self.claim_folder_from(export, skip).await
    }

    async fn claim_folder_from(
        &self,
        export: AcceptedExport,
        skip: usize,
    ) -> Result<Claim, AttemptError> {
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
        Err(Failure::no_folder_left(&base.to_string()).into())
    }

    /// Puts the record, or adopts the existing one. The flag is `true` if the record is new.
    async fn claim_record(
        &self,
        export: &AcceptedExport,
    ) -> Result<(AcceptedExport, bool), AttemptError> {
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
            // The record of an adopted bundle, which has no request. Every release derives the same id.
            let digest = export.digest_in(FormatVersion::V1);
            return Err(AttemptError::Reused(digest));
        }
        let format_version = FormatVersion::try_from(theirs.format_version).map_err(|error| {
            StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("{}: {error}", self.store.location(key.as_str())),
            )
        })?;
        // Use the encoding of the release that wrote the record, because the digest depends on the encoding.
        let content_digest = export.digest_in(format_version);
        if theirs.content_digest != content_digest {
            return Err(AttemptError::Reused(content_digest));
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

    /// Puts a claim on a folder, and checks whether it contains a manifest.
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
            FolderOwner::Unclaimed if is_ours => FolderState::Ours,
            _ => FolderState::Taken,
        })
    }

    /// Steps 6 and 7: writes the artifacts and the index entry in parallel, then the manifest.
    pub(in crate::export) async fn write(
        &self,
        mut claim: Claim,
        bundle: &Bundle,
    ) -> Result<Committed, AttemptError> {
        let total = u32::try_from(bundle.artifacts.len() + 1).unwrap_or(u32::MAX);
        loop {
            self.observer.writing(&claim.folder, total, bundle.size_bytes());
            if let Some(manifest) = claim.committed {
                return Ok(Committed::existing(claim.folder, manifest));
            }
            if self.write_artifacts(&claim, bundle).await?
                && let Some(committed) = self.write_manifest(&claim, bundle).await?
            {
                return Ok(committed);
            }
            claim = self.claim_next_folder(claim.export, &claim.folder).await?;
        }
    }

    /// Returns whether every artifact is stored. If not, the folder contains foreign objects.
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
        let stored = match self.put_artifact(&key, artifact).await {
            Ok(PutOutcome::Created) => true,
            Ok(PutOutcome::Exists) => {
                self.retrying(|| has_artifact(self.store, &key, artifact)).await?
            }
            // The source is gone, but a previous attempt may have copied it and may already have sent the manifest.
            Err(error) if error.kind() == StoreErrorKind::Changed => {
                if !self.retrying(|| has_artifact(self.store, &key, artifact)).await? {
                    return Err(error);
                }
                true
            }
            Err(error) => return Err(error),
        };
        failpoint!("artifact.put");
        if stored {
            self.attempt_marker.inspect(|marker| marker.progress());
            self.observer.stored(self.update(artifact), artifact.size_bytes());
        }
        Ok(stored)
    }

    /// Puts the manifest. Returns `None` if the folder belongs to another export.
    async fn write_manifest(
        &self,
        claim: &Claim,
        bundle: &Bundle,
    ) -> Result<Option<Committed>, AttemptError> {
        if self.store.kind() == StoreKind::S3 {
            self.require_own_store().await?;
        }
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
                        Committed::existing(claim.folder.clone(), manifest)
                    }
                    _ => return Ok(None),
                }
            }
        };
        failpoint!("manifest.put");
        let sha256 = Some(committed.manifest_sha256);
        self.observer.stored(ArtifactUpdate { sha256, ..self.update(&manifest) }, 0);
        Ok(Some(committed))
    }

    /// Puts one file of the bundle and reports each step to the observer.
    async fn put_artifact(
        &self,
        key: &ObjectKey,
        artifact: &Artifact,
    ) -> Result<PutOutcome, StoreError> {
        let update = ArtifactUpdate { sha256: None, bytes_done: 0, ..self.update(artifact) };
        self.observer.started(update.clone());
        let (observer, progress) = (self.observer.clone(), update.clone());
        let (count_retry, retried_key, export_id) =
            (self.retry_counter(), key.clone(), self.export_id);
        let retry_observer = self.observer.clone();
        let content = LargeContent {
            key: key.clone(),
            expected: artifact.checksums().ok_or_else(|| undigested(key))?,
            media_type: artifact.media_type.clone(),
            source: self.documents.source(&artifact.content)?,
            budget: self.budget.clone(),
            progress: Arc::new(move |bytes_done| {
                observer.progressed(ArtifactUpdate { bytes_done, ..progress.clone() });
            }),
            failed: Arc::new(move |attempt, error| {
                tracing::info!(%export_id, key = %retried_key, attempt, %error, "retrying");
                count_retry(error);
                let reason = error.to_string();
                let update = ArtifactUpdate { attempt: attempt + 1, reason, ..update.clone() };
                retry_observer.retrying(update);
            }),
        };
        self.transfers.put(self.store, &content).await
    }

    pub(in crate::export) async fn put(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        self.retrying(|| self.store.put_if_absent(key, payload.clone())).await
    }

    pub(in crate::export) async fn retrying<T, F>(
        &self,
        operation: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let count_retry = self.retry_counter();
        let failed = |attempt, error: &StoreError| {
            tracing::info!(export_id = %self.export_id, attempt, %error, "retrying");
            count_retry(error);
        };
        self.budget.run(operation, failed).await
    }

    /// A callback that counts a failed operation that is retried.
    fn retry_counter(&self) -> impl Fn(&StoreError) + Send + Sync + use<> {
        let (observer, retries) = (self.observer.clone(), self.retries.clone());
        move |error| {
            outcome::retried(error);
            retries.fetch_add(1, Ordering::Relaxed);
            observer.retried();
        }
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

    /// The error for an object that existed a moment ago and is never removed: the store is not consistent yet.
    fn vanished(&self, key: &ObjectKey) -> StoreError {
        let location = self.store.location(key.as_str());
        let message = format!("{location} existed but cannot be found");
        StoreError::new(StoreErrorKind::Unavailable, message)
    }
}

/// A bug in this program: rendering requires the digests of all documents.
fn undigested(key: &ObjectKey) -> StoreError {
    let message = format!("the document for {key} was not read before the bundle was rendered");
    StoreError::new(StoreErrorKind::Misconfigured, message)
}

/// Whether an object has the bytes of this artifact.
pub(in crate::export) async fn has_artifact(
    store: &dyn Store,
    key: &ObjectKey,
    artifact: &Artifact,
) -> Result<bool, StoreError> {
    let info = match store.head(key).await {
        Ok(info) => info,
        // The path may exist but not be an object, such as a folder on disk.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "commit_tests.rs"]
mod tests;

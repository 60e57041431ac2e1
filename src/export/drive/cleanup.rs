//! Cleanup after a commit: removes the data of the export from this machine. Step 10 of docs/design/commit-protocol.md.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tara_export_bundle::{AcceptedExport, Artifact, Bundle, FolderName};
use tara_export_catalog::{claimed_folders, layout};
use tara_export_failpoint::failpoint;
use tara_export_store::{ObjectKey, Store, StoreError, StoreKind, exists};

use crate::{
    export::{
        drive::{
            attempt::{CommittedExport, render_in_background},
            commit::has_artifact,
            events::{EntryOf, settle_committed},
            store_journal,
        },
        error::StartError,
        failure::{Failure, FailureReason},
        journal::{FailedExport, Receipt},
        run::outcome,
        shared::Shared,
    },
    transfer::RetryBudget,
};

/// Whether the local store may contain objects of an export that is committed in S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum LocalCopy {
    /// Nothing was written to the local store.
    None,
    /// The local store may contain the complete bundle or a part of it.
    Maybe,
}

/// Removes an export's data from this machine after its bundle was committed in the requested destination. Removes the
/// local copy after checking every object in S3, writes the settled note, and removes the journal entry last.
///
/// `accepted` is the export as this machine accepted it. `failed` is the failure record if the content is stored under
/// a derived id.
pub(in crate::export) async fn clean_up(
    shared: &Arc<Shared>,
    committed: &CommittedExport,
    accepted: &AcceptedExport,
    local_copy: LocalCopy,
    failed: Option<FailedExport>,
) -> Result<(), Failure> {
    let journal = shared.journal().map_err(|error| Failure::of_journal(&error))?;
    if committed.export.stored_in == Some(StoreKind::S3) {
        if local_copy == LocalCopy::Maybe {
            verify(shared, committed).await?;
            failpoint!("sync.verified");
            // As this machine accepted it, with the digests that were computed while its documents were read.
            let read_digests = committed.accepted.read_digests.clone();
            let accepted = AcceptedExport { read_digests, ..accepted.clone() };
            remove_local_copy(shared, &accepted).await?;
        }
        let now = shared.clock.now();
        let receipt = Receipt::new(committed.export.clone(), accepted.digest(), now)
            .with_store_id(accepted.store_id);
        if let Err(error) = journal.write_receipt(&receipt).await {
            // The receipt only saves requests to S3, which has the same information.
            tracing::warn!(export_id = %accepted.export_id, %error, "cannot write the receipt");
        }
        failpoint!("receipt.written");
    }
    settle_committed(shared, EntryOf::export(accepted), &committed.export).await?;
    if committed.export.stored_in == Some(StoreKind::S3) {
        store_journal::end_committed(shared, accepted).await;
    }
    let removed = match failed {
        Some(failed) => journal.set_failed(&failed).await,
        None => journal.remove(accepted.export_id, accepted.content_digest).await,
    };
    removed.map_err(|error| Failure::of_journal(&StartError::from(error)))?;
    failpoint!("journal.removed");
    shared.backlog.remove(accepted.export_id, accepted.content_digest);
    shared.unread.request_refill();
    Ok(())
}

/// Checks size and digest of every object of a bundle in S3, including the manifest.
async fn verify(shared: &Shared, committed: &CommittedExport) -> Result<(), Failure> {
    let (Some(s3), Some(folder)) = (&shared.stores.s3, &committed.export.folder_name) else {
        return Err(Failure::no_bucket());
    };
    let budget = RetryBudget::new(shared.settings.retry_budget);
    let manifest = committed.bundle.manifest(&committed.accepted, folder);
    let checks = committed.bundle.artifacts.iter().chain([&manifest]).map(|artifact| {
        let (key, budget) = (layout::artifact(folder, &artifact.path), &budget);
        async move {
            let failed = |attempt, error: &StoreError| {
                let export_id = committed.accepted.export_id;
                tracing::info!(%export_id, attempt, %error, "retrying");
                outcome::retried(error);
            };
            match budget.run(|| has_artifact(s3.as_ref(), &key, artifact), failed).await? {
                true => Ok(()),
                false => Err(mismatch(s3.as_ref(), &key)),
            }
        }
    });
    stream::iter(checks.collect::<Vec<_>>())
        .buffer_unordered(shared.settings.parallel_puts)
        .try_collect()
        .await
}

fn mismatch(store: &dyn Store, key: &ObjectKey) -> Failure {
    let message = format!(
        "{} differs from the uploaded object, so the local copy is not removed: find out what changed the object",
        store.location(key.as_str())
    );
    Failure { reason: FailureReason::DataLoss, message }
}

/// Removes an export's bundle, or the remaining part of it, from the local store. Readers no longer see
/// the bundle after the first deletion, and the record is removed last, so that the remaining objects can be found after
/// a crash.
async fn remove_local_copy(shared: &Shared, accepted: &AcceptedExport) -> Result<(), Failure> {
    let local = shared.stores.local.as_ref();
    let bundle = render_in_background(&shared.computing, accepted.clone()).await?;
    let folders = claimed_folders(local, &accepted.folder_base, accepted.export_id).await?;
    for folder in folders {
        if !shared.settings.keep_local_copies {
            remove_files(local, accepted, &bundle, &folder).await?;
        }
        local.delete(&layout::index_entry(accepted.accepted_time, &folder)).await?;
        failpoint!("local.index.removed");
        local.delete(&layout::folder_claim(&folder)).await?;
        failpoint!("local.claim.removed");
    }
    local.delete(&layout::record(accepted.export_id)).await?;
    failpoint!("local.record.removed");
    Ok(())
}

/// Removes the files of the bundle. Foreign files with the same names are not removed.
async fn remove_files(
    local: &dyn Store,
    accepted: &AcceptedExport,
    bundle: &Bundle,
    folder: &FolderName,
) -> Result<(), StoreError> {
    let manifest = bundle.manifest(accepted, folder);
    remove_artifact(local, folder, &manifest).await?;
    failpoint!("local.manifest.removed");
    for artifact in &bundle.artifacts {
        remove_artifact(local, folder, artifact).await?;
        failpoint!("local.artifact.removed");
    }
    Ok(())
}

async fn remove_artifact(
    local: &dyn Store,
    folder: &FolderName,
    artifact: &Artifact,
) -> Result<(), StoreError> {
    let key = layout::artifact(folder, &artifact.path);
    let is_gone = !exists(local, &key).await?;
    // A crash may have interrupted a previous deletion before the fsync of the folder. Deleting again does the fsync.
    if is_gone || has_artifact(local, &key, artifact).await? {
        local.delete(&key).await?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "cleanup_tests.rs"]
mod tests;

//! What follows a commit: nothing of the export needs to stay on this machine.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    FailureReason, JournalPlace, StartError, account,
    attempt::{Made, render_in_background},
    commit::holds,
    failure::Failure,
    journal::{FailedExport, Receipt},
    shared::Shared,
    store_journal,
};
use crate::{
    bundle::{AcceptedExport, Artifact, Bundle, FolderName},
    catalog::{claimed_folders, layout},
    store::{ObjectKey, Store, StoreError, StoreErrorKind, StoreKind},
    transfer::RetryBudget,
};

/// Whether the local store may have something of an export that is committed in S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LocalCopy {
    /// Nothing was written there.
    None,
    /// A whole bundle, parts of one, or what is left of one.
    Maybe,
}

/// Removes what this machine has of an export whose bundle is committed where it was asked for: the
/// local copy, once every object in S3 was checked; last of all the journal's entry.
///
/// `accepted` is the export as this machine accepted it; `failed` says where its content is kept if
/// that is under another id.
pub(super) async fn settle(
    shared: &Arc<Shared>,
    made: &Made,
    accepted: &AcceptedExport,
    local_copy: LocalCopy,
    failed: Option<FailedExport>,
) -> Result<(), Failure> {
    let journal = shared.journal().map_err(|error| Failure::of_journal(&error))?;
    if made.export.stored_in == Some(StoreKind::S3) {
        if local_copy == LocalCopy::Maybe {
            verify(shared, made).await?;
            failpoint!("drain.verified");
            // As this machine accepted it, with what reading its documents told since.
            let read_digests = made.accepted.read_digests.clone();
            let accepted = AcceptedExport { read_digests, ..accepted.clone() };
            remove_local_copy(shared, &accepted).await?;
        }
        let now = shared.clock.now();
        let receipt = Receipt::new(made.export.clone(), accepted.digest(), now);
        if let Err(error) = journal.write_receipt(&receipt).await {
            // It only saves a way to S3, which knows it all.
            tracing::warn!(export_id = %accepted.export_id, %error, "no receipt is kept");
        }
        failpoint!("receipt.written");
        if let (JournalPlace::Store, Some(s3)) = (shared.settings.journal, &shared.stores.s3) {
            store_journal::forget(s3.as_ref(), accepted.export_id, accepted.content_digest).await;
        }
    }
    let removed = match failed {
        Some(failed) => journal.set_failed(&failed).await,
        None => journal.remove(accepted.export_id, accepted.content_digest).await,
    };
    removed.map_err(|error| Failure::of_journal(&StartError::from(error)))?;
    failpoint!("journal.removed");
    shared.backlog.remove(accepted.export_id);
    Ok(())
}

/// Checks size and digest of every object of a bundle in S3, the manifest's too.
async fn verify(shared: &Shared, made: &Made) -> Result<(), Failure> {
    let (Some(s3), Some(folder)) = (&shared.stores.s3, &made.export.folder_name) else {
        return Err(Failure::no_bucket());
    };
    let budget = RetryBudget::new(shared.settings.retry_budget);
    let manifest = made.bundle.manifest(&made.accepted, folder);
    let checks = made.bundle.artifacts.iter().chain([&manifest]).map(|artifact| {
        let (key, budget) = (layout::artifact(folder, &artifact.path), &budget);
        async move {
            let failed = |attempt, error: &StoreError| {
                tracing::info!(export_id = %made.accepted.export_id, attempt, %error, "retrying");
                account::retried(error);
            };
            match budget.run(|| holds(s3.as_ref(), &key, artifact), failed).await? {
                true => Ok(()),
                false => Err(not_whole(s3.as_ref(), &key)),
            }
        }
    });
    stream::iter(checks.collect::<Vec<_>>())
        .buffer_unordered(shared.settings.parallel_puts)
        .try_collect()
        .await
}

fn not_whole(store: &dyn Store, key: &ObjectKey) -> Failure {
    let message = format!(
        "{} is not what was sent there, so the local copy stays: look who changed it",
        store.location(key.as_str())
    );
    Failure { reason: FailureReason::DataLoss, message }
}

/// Removes an export's bundle, or what there is of it, from the local store. The order is that of
/// design, section 3, step 10: readers lose sight of it at once, and a crash in between leaves the
/// record, by which the rest is found again.
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

/// Removes the bundle's own files. A stranger's of the same name stays.
async fn remove_files(
    local: &dyn Store,
    accepted: &AcceptedExport,
    bundle: &Bundle,
    folder: &FolderName,
) -> Result<(), StoreError> {
    let manifest = bundle.manifest(accepted, folder);
    remove_own(local, folder, &manifest).await?;
    failpoint!("local.manifest.removed");
    for artifact in &bundle.artifacts {
        remove_own(local, folder, artifact).await?;
        failpoint!("local.artifact.removed");
    }
    Ok(())
}

async fn remove_own(
    local: &dyn Store,
    folder: &FolderName,
    artifact: &Artifact,
) -> Result<(), StoreError> {
    let key = layout::artifact(folder, &artifact.path);
    let is_gone = match local.head(&key).await {
        Ok(_) => false,
        Err(error) if error.kind() == StoreErrorKind::NotFound => true,
        Err(error) => return Err(error),
    };
    // Where it is gone, a crash may have come between that and its folder's fsync, which deleting
    // again does.
    if is_gone || holds(local, &key, artifact).await? {
        local.delete(&key).await?;
    }
    Ok(())
}

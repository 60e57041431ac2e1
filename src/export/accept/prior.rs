//! Looks up the prior export of a request id on this machine and in the other store.

use std::sync::Arc;

use tara_export_bundle::{AcceptedExport, Destination, ExportId, FormatVersion};
use tara_export_catalog::{Export, StoredBundle, records::read_record};
use tara_export_store::Store;
use tokio::time;

use crate::export::{
    failure::FailureReason,
    journal::{FailedExport, JournalError, PastOutcome},
    recover::{
        backlog::Task,
        resume::{find as find_entries, recall},
    },
    shared::Shared,
};

/// The prior export with the id of a request.
pub(in crate::export) enum PriorExport {
    /// There is none here. The destination may have one.
    NotFound,
    /// Its content differs.
    OtherContent,
    /// Its content is the same, and it ended without a bundle.
    Failed(Box<FailedExport>),
    /// Its content is the same, and it has a bundle.
    Completed(Box<Export>),
    /// Its content is the same, and its bundle is being synced from the local store to S3.
    Syncing,
}

/// Looks the id up in the journal, the failure records, the receipts, and the store that is not the destination. The
/// destination itself is checked when the export is claimed.
///
/// # Errors
/// If it cannot be determined whether the export failed or was accepted before.
pub(in crate::export) async fn find_prior_export(
    shared: &Arc<Shared>,
    export: &AcceptedExport,
) -> Result<PriorExport, JournalError> {
    let export_id = export.export_id;
    // Includes entries that are not in memory.
    let mut entries = find_entries(shared, export_id).await?;
    if let Some(same) = entries.iter().position(|entry| export.has(entry.header.digest())) {
        // If it has no bundle, recording this content fails with `JournalError::RecordedBefore`.
        recall(shared, entries.swap_remove(same), true).await;
    } else if !entries.is_empty() {
        return Ok(PriorExport::OtherContent);
    }
    if let Some(waiting) = shared.backlog.find_with_bundle(export_id) {
        let task = waiting.task;
        if !export.has(waiting.entry.header.digest()) {
            return Ok(PriorExport::OtherContent);
        }
        // If the first store does not have the bundle, a sync has just moved it. The sync has not finished with the
        // journal yet and must stay the only task that works on the entry.
        let (local, s3) = (Some(&shared.stores.local), shared.stores.s3.as_ref());
        let (first_store, second_store) = match (task, export.destination) {
            (Task::CleanUp, Destination::S3) => (s3, local),
            _ => (local, s3),
        };
        let found = match find(shared, first_store, export_id).await {
            Some(bundle) => Some(bundle),
            None => find(shared, second_store, export_id).await,
        };
        return Ok(match found {
            Some(bundle) if is_of(&bundle, export) => {
                PriorExport::Completed(Box::new(bundle.export()))
            }
            _ => PriorExport::Syncing,
        });
    }
    if let Ok(journal) = shared.journal() {
        // The entry cannot be read, so its content cannot be compared.
        if let Some(error) = journal.why_unprocessable(export_id) {
            return Err(error);
        }
        let PastOutcome { failure, receipt } = journal.past_outcome(export_id).await?;
        match failure {
            Some(failed) if export.has(failed.content_digest()) => {
                return Ok(PriorExport::Failed(Box::new(failed)));
            }
            // The id belongs to other content, which is in the store.
            Some(failed) if failed.stored_under_id().is_some() => {}
            Some(_) => return Ok(PriorExport::OtherContent),
            None => {}
        }
        match receipt {
            Some(receipt) if export.has(receipt.content_digest()) => {
                let mut completed = receipt.export().clone();
                if shared.identity.is_for_other_store(receipt.store_id()) {
                    completed.state_reason = FailureReason::StoreChanged.to_string();
                } else if let Some(bundle) =
                    find(shared, shared.stores.s3.as_ref(), export_id).await
                {
                    completed = bundle.export();
                }
                return Ok(PriorExport::Completed(Box::new(completed)));
            }
            Some(_) => return Ok(PriorExport::OtherContent),
            None => {}
        }
    }
    // Claiming the id would detect this too, but only after this content is in the journal, where the next process
    // would treat it as accepted.
    if export.destination == Destination::Local
        && let Ok(Some(record)) = read_record(shared.stores.local.as_ref(), export_id).await
        && let Ok(version) = FormatVersion::try_from(record.format_version)
        && record.content_digest != export.digest_in(version)
    {
        return Ok(PriorExport::OtherContent);
    }
    // The export may have fallen back before this service had a journal, or may have had another destination.
    let other = match export.destination {
        Destination::S3 => Some(&shared.stores.local),
        Destination::Local => shared.stores.s3.as_ref(),
    };
    Ok(match find(shared, other, export_id).await {
        None => PriorExport::NotFound,
        Some(bundle) if is_of(&bundle, export) => PriorExport::Completed(Box::new(bundle.export())),
        Some(_) => PriorExport::OtherContent,
    })
}

/// Whether a bundle has this export's content. `false` for bundles of later releases, which cannot be compared.
fn is_of(bundle: &StoredBundle, export: &AcceptedExport) -> bool {
    let manifest = bundle.manifest();
    FormatVersion::try_from(manifest.format_version)
        .is_ok_and(|version| export.digest_in(version) == manifest.content_digest)
}

/// The bundle, if the store returns it within the accept timeout.
pub(in crate::export) async fn find(
    shared: &Shared,
    store: Option<&Arc<dyn Store>>,
    export_id: ExportId,
) -> Option<StoredBundle> {
    let found = StoredBundle::find(store?, export_id);
    time::timeout(shared.settings.accept_timeout, found).await.ok()?.ok()?
}

//! What this machine knows of an export before it is accepted again.

use tokio::time;

use super::{
    backlog::Task,
    journal::{FailedExport, JournalError},
    shared::Shared,
};
use crate::{
    bundle::{AcceptedExport, Destination, ExportId, FormatVersion},
    catalog::{Export, StoredBundle, records::read_record},
    store::Store,
};

/// What became of an earlier request with this id.
pub(super) enum Earlier {
    /// Nothing is known of one here. The store asked for may know more.
    Nothing,
    /// It had other content.
    Reused,
    /// It had this content, and ended without a bundle.
    Failed(Box<FailedExport>),
    /// It had this content, and has a bundle.
    Ended(Box<Export>),
    /// It had this content, and its bundle goes from the local store to S3 at the moment.
    Moving,
}

/// Looks through the journal's notes, and into the store that was not asked for. The store asked for
/// is looked into when the export is claimed.
///
/// # Errors
/// Where it can't be known whether the export failed.
pub(super) async fn look_up(
    shared: &Shared,
    export: &AcceptedExport,
) -> Result<Earlier, JournalError> {
    let export_id = export.export_id;
    if let Some((task, first)) = shared.backlog.with_bundle(export_id) {
        if !export.has(first) {
            return Ok(Earlier::Reused);
        }
        // Not there any more: it is in S3 by now. Whoever sends it there is not done with the journal
        // yet, and must stay the only one at work on it.
        let (local, s3) = (Some(&shared.stores.local), shared.stores.s3.as_ref());
        let (first_store, second_store) = match (task, export.destination) {
            (Task::Tidy, Destination::S3) => (s3, local),
            _ => (local, s3),
        };
        let found = match find(shared, first_store, export_id).await {
            Some(bundle) => Some(bundle),
            None => find(shared, second_store, export_id).await,
        };
        return Ok(match found {
            Some(bundle) if is_of(&bundle, export) => Earlier::Ended(Box::new(bundle.export())),
            _ => Earlier::Moving,
        });
    }
    if let Ok(journal) = shared.journal() {
        match journal.failure(export_id).await? {
            Some(failed) if export.has(failed.content_digest()) => {
                return Ok(Earlier::Failed(Box::new(failed)));
            }
            // The id belongs to another's content, which the store has.
            Some(failed) if failed.kept().is_some() => {}
            Some(_) => return Ok(Earlier::Reused),
            None => {}
        }
        match journal.receipt(export_id).await? {
            Some(receipt) if export.has(receipt.content_digest()) => {
                let found = find(shared, shared.stores.s3.as_ref(), export_id).await;
                let ended =
                    found.map_or_else(|| receipt.export().clone(), |bundle| bundle.export());
                return Ok(Earlier::Ended(Box::new(ended)));
            }
            Some(_) => return Ok(Earlier::Reused),
            None => {}
        }
    }
    // The claim would find it too. But by then the journal has this content, and a later process that
    // finds it there must take it for accepted.
    if export.destination == Destination::Local
        && let Ok(Some(record)) = read_record(shared.stores.local.as_ref(), export_id).await
        && let Ok(version) = FormatVersion::try_from(record.format_version)
        && record.content_digest != export.digest_in(version)
    {
        return Ok(Earlier::Reused);
    }
    // One that fell back before there was a journal, or was made for another destination.
    let other = match export.destination {
        Destination::S3 => Some(&shared.stores.local),
        Destination::Local => shared.stores.s3.as_ref(),
    };
    Ok(match find(shared, other, export_id).await {
        None => Earlier::Nothing,
        Some(bundle) if is_of(&bundle, export) => Earlier::Ended(Box::new(bundle.export())),
        Some(_) => Earlier::Reused,
    })
}

/// Whether a bundle has this export's content. Of a later release's it can't be known.
fn is_of(bundle: &StoredBundle, export: &AcceptedExport) -> bool {
    let manifest = bundle.manifest();
    FormatVersion::try_from(manifest.format_version)
        .is_ok_and(|version| export.digest_in(version) == manifest.content_digest)
}

/// The bundle, if the store says soon that it has it.
pub(super) async fn find(
    shared: &Shared,
    store: Option<&std::sync::Arc<dyn Store>>,
    export_id: ExportId,
) -> Option<StoredBundle> {
    let found = StoredBundle::find(store?, export_id);
    time::timeout(shared.settings.accept_timeout, found).await.ok()?.ok()?
}

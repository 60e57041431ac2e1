//! The outcome of an export that this machine accepted, from everything that may know it.

use std::sync::Arc;

use tara_export_bundle::ExportId;
use tara_export_catalog::{Export, ExportState, StoredBundle};
use tara_export_digest::Sha256;
use tara_export_store::Store;
use tokio::time;

use crate::export::{
    failure::FailureReason,
    journal::{FailedExport, Journal},
    shared::Shared,
};

/// The outcome of an accepted export.
#[derive(Debug, Clone, PartialEq)]
pub enum ExportOutcome {
    /// It waits, runs, or cannot be looked up now.
    Unfinished,
    /// It has a bundle, in its destination or in the local store.
    Completed(Box<Export>),
    /// It ended without a bundle under its id.
    Failed {
        /// The reason in UPPER_SNAKE_CASE.
        reason: String,
        /// The human-readable reason.
        message: String,
        /// The derived id under which the content is stored.
        stored_under: Option<ExportId>,
    },
    /// Neither this machine nor the stores have it.
    Unknown,
}

/// The outcome of the export of this id and content.
pub(in crate::export) async fn outcome(
    shared: &Shared,
    export_id: ExportId,
    content_digest: Sha256,
) -> ExportOutcome {
    let Ok(journal) = shared.journal() else { return ExportOutcome::Unfinished };
    let run = shared.registry.get(export_id);
    let run = run.filter(|run| run.content_digest().sha256 == content_digest);
    if let Some(run) = run {
        if !run.has_ended() {
            return ExportOutcome::Unfinished;
        }
        let export = run.export();
        if matches!(export.state, ExportState::Committed | ExportState::FellBack) {
            return ExportOutcome::Completed(Box::new(export));
        }
        return match journal.failure(export_id).await {
            Ok(Some(failed)) if failed.content_digest().sha256 == content_digest => of(&failed),
            // Its entry is quarantined.
            _ => ExportOutcome::Failed {
                reason: export.state_reason,
                message: "the accepted export cannot be processed: an operator must act".to_owned(),
                stored_under: None,
            },
        };
    }
    match journal.failure(export_id).await {
        Ok(Some(failed)) if failed.content_digest().sha256 == content_digest => return of(&failed),
        Ok(_) => {}
        Err(_) => return ExportOutcome::Unfinished,
    }
    match journal.receipt(export_id).await {
        Ok(Some(receipt)) if receipt.content_digest().sha256 == content_digest => {
            return ExportOutcome::Completed(Box::new(receipt.export().clone()));
        }
        Ok(_) => {}
        Err(_) => return ExportOutcome::Unfinished,
    }
    let found = find(shared, Some(&shared.stores.local), export_id, content_digest).await;
    if let Some(Found::Bundle(export)) = found {
        return ExportOutcome::Completed(export);
    }
    if journal.may_have(export_id) {
        return ExportOutcome::Unfinished;
    }
    match find(shared, shared.stores.s3.as_ref(), export_id, content_digest).await {
        Some(Found::Bundle(export)) => ExportOutcome::Completed(export),
        Some(Found::NoResponse) => ExportOutcome::Unfinished,
        None if journal.why_unprocessable(export_id).is_some() => ExportOutcome::Unfinished,
        None => quarantined(journal, export_id).await,
    }
}

/// The outcome of an export whose entry may have been quarantined, perhaps by a previous process.
async fn quarantined(journal: &Journal, export_id: ExportId) -> ExportOutcome {
    match journal.quarantined().await {
        Ok(found) => {
            let mut files = found.files.into_iter();
            match files.find(|file| file.export_id == Some(export_id)) {
                Some(file) => ExportOutcome::Failed {
                    reason: FailureReason::DataLoss.to_string(),
                    message: file.reason,
                    stored_under: None,
                },
                None => ExportOutcome::Unknown,
            }
        }
        Err(_) => ExportOutcome::Unfinished,
    }
}

enum Found {
    Bundle(Box<Export>),
    NoResponse,
}

/// The bundle of this content in a store. `None` if the store does not have it.
async fn find(
    shared: &Shared,
    store: Option<&Arc<dyn Store>>,
    export_id: ExportId,
    content_digest: Sha256,
) -> Option<Found> {
    let found = StoredBundle::find(store?, export_id);
    match time::timeout(shared.settings.accept_timeout, found).await {
        Ok(Ok(Some(bundle))) if bundle.manifest().content_digest == content_digest => {
            Some(Found::Bundle(Box::new(bundle.export())))
        }
        Ok(Ok(_)) => None,
        Ok(Err(_)) | Err(_) => Some(Found::NoResponse),
    }
}

fn of(failed: &FailedExport) -> ExportOutcome {
    ExportOutcome::Failed {
        reason: failed.failure().reason.to_string(),
        message: failed.failure().message.clone(),
        stored_under: failed.stored_under_id(),
    }
}

//! Accepts a request by recording it in the journal, and then runs its export.
//!
//! Steps 1, 2 and 5 of docs/design/commit-protocol.md.

use std::sync::{Arc, atomic::Ordering};

use tara_export_bundle::{AcceptedExport, Fallback};
use tara_export_catalog::ExportState;
use tara_export_failpoint::failpoint;

use crate::export::{
    accept::{
        Beside,
        acceptance::refusal_of,
        prior::{PriorExport, find_prior_export},
    },
    drive::{documents::need_s3, execute::Origin, job::Job},
    error::StartError,
    journal::{FailedExport, Journal, JournalEntry, JournalError},
    recover::backlog::Task,
    run::{Run, events::Durability, outcome},
    shared::Shared,
};

impl Job {
    /// Accepts a request and runs its export until it ends.
    pub(in crate::export) async fn start(self, export: AcceptedExport, beside: Beside) {
        if let Some(entry) = record(self.shared(), &self.run, &export, beside).await {
            self.is_journaled.store(true, Ordering::Relaxed);
            failpoint!("journal.recorded");
            self.execute(&export, &entry, Origin::Request).await;
        }
    }
}

/// Accepts a request and leaves its export to the backlog, which returns to it in the order of acceptance.
pub(in crate::export) async fn enqueue(
    shared: Arc<Shared>,
    run: Arc<Run>,
    export: AcceptedExport,
    beside: Beside,
) {
    if let Some(entry) = record(&shared, &run, &export, beside).await {
        failpoint!("batch.item.recorded");
        run.update(|export| export.state = ExportState::Pending);
        run.accept(entry.header.accepted_time, Durability::LocalDisk);
        shared.backlog.push_if_absent(entry, Task::Export);
        shared.unread.request_refill();
    }
}

/// Records a request in the journal. `None` if it is refused, or its export was accepted before: then the run reports
/// that.
async fn record(
    shared: &Arc<Shared>,
    run: &Run,
    export: &AcceptedExport,
    beside: Beside,
) -> Option<JournalEntry> {
    match find_prior_export(shared, export).await {
        Ok(PriorExport::NotFound) => {}
        Ok(PriorExport::OtherContent) => {
            run.refuse(StartError::RequestIdReused { first: export.export_id });
            return None;
        }
        Ok(PriorExport::Failed(failed)) => {
            repeat_failure(run, &failed);
            return None;
        }
        Ok(PriorExport::Completed(prior)) => {
            run.repeat(prior.accepted_time);
            outcome::completed(shared, run, &prior);
            run.complete(*prior);
            return None;
        }
        Ok(PriorExport::Syncing) => {
            run.refuse(StartError::Syncing);
            return None;
        }
        Err(error) => {
            run.refuse(error.into());
            return None;
        }
    }
    let journal = match shared.journal() {
        Ok(journal) => journal,
        Err(error) => {
            run.refuse(error);
            return None;
        }
    };
    // Other exports always end with a bundle.
    let may_fail = export.content.fallback == Fallback::None || need_s3(&export.content.documents);
    if may_fail && let Err(error) = journal.check_failure_share(&export.requested_by) {
        tracing::warn!(export_id = %export.export_id, %error, "cannot accept an export");
        run.refuse(error.into());
        return None;
    }
    let (export_id, digest) = (export.export_id, export.content_digest);
    let Beside { attachments, recipients } = beside;
    let has_files = !attachments.is_empty() || !recipients.is_empty();
    for (kind, file) in attachments {
        if let Err(error) = journal.attach(export_id, digest, kind, file).await {
            refuse_unrecorded(shared, run, journal, export, error, true).await;
            return None;
        }
    }
    if !recipients.is_empty()
        && let Err(error) = journal.set_recipients(export_id, digest, recipients).await
    {
        refuse_unrecorded(shared, run, journal, export, error, true).await;
        return None;
    }
    match journal.record(export).await {
        Ok(entry) => {
            shared.acceptance.accepted();
            Some(entry)
        }
        // The entry is in the journal but not in memory. The backlog reserves its own memory for it.
        Err(JournalError::RecordedBefore(entry)) => {
            run.update(|export| export.state = ExportState::Pending);
            run.resume(entry.header.accepted_time, Durability::LocalDisk);
            if shared.backlog.push_if_absent(*entry, Task::Export) {
                shared.unread.loaded();
            }
            None
        }
        Err(error) => {
            refuse_unrecorded(shared, run, journal, export, error, has_files).await;
            None
        }
    }
}

/// Refuses an export that could not be recorded, and removes the files that were written beside it.
async fn refuse_unrecorded(
    shared: &Shared,
    run: &Run,
    journal: &Journal,
    export: &AcceptedExport,
    error: JournalError,
    has_files: bool,
) {
    let export_id = export.export_id;
    tracing::error!(%export_id, %error, "cannot accept an export: the journal failed");
    // It may affect all exports.
    if let Some(refusal) = refusal_of(&error) {
        shared.acceptance.set(Some(refusal));
    }
    if has_files && let Err(error) = journal.detach(export_id, export.content_digest).await {
        tracing::warn!(
            %export_id, %error,
            "cannot remove the documents of a refused export: they stay until the next start"
        );
    }
    run.refuse(error.into());
}

fn repeat_failure(run: &Run, failed: &FailedExport) {
    run.repeat(failed.export().accepted_time);
    run.fail(failed.failure().clone(), failed.stored_under_id());
}

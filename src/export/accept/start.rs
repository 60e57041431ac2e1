//! Accepts a request by recording it in the journal, and then runs its export.
//!
//! Steps 1, 2 and 5 of docs/design/commit-protocol.md.

use std::{path::PathBuf, sync::atomic::Ordering};

use tara_export_bundle::{AcceptedExport, DocumentKind, Fallback};
use tara_export_catalog::ExportState;
use tara_export_failpoint::failpoint;

use crate::export::{
    accept::{
        acceptance::refusal_of,
        prior::{PriorExport, find_prior_export},
    },
    drive::{documents::need_s3, execute::Origin, job::Job},
    error::StartError,
    journal::{FailedExport, Journal, JournalError},
    recover::backlog::Task,
    run::events::Durability,
};

impl Job {
    /// Accepts a request and runs its export until it ends.
    pub(in crate::export) async fn start(
        self,
        export: AcceptedExport,
        attachments: Vec<(DocumentKind, PathBuf)>,
    ) {
        match find_prior_export(self.shared(), &export).await {
            Ok(PriorExport::NotFound) => {}
            Ok(PriorExport::OtherContent) => {
                let first = export.export_id;
                return self.run.refuse(StartError::RequestIdReused { first });
            }
            Ok(PriorExport::Failed(failed)) => return self.repeat_failure(*failed),
            Ok(PriorExport::Completed(prior)) => {
                self.run.repeat(prior.accepted_time);
                return self.complete(*prior);
            }
            Ok(PriorExport::Syncing) => return self.run.refuse(StartError::Syncing),
            Err(error) => return self.run.refuse(error.into()),
        }
        let journal = match self.shared().journal() {
            Ok(journal) => journal,
            Err(error) => return self.run.refuse(error),
        };
        // Other exports always end with a bundle.
        let may_fail =
            export.content.fallback == Fallback::None || need_s3(&export.content.documents);
        if may_fail && let Err(error) = journal.check_failure_share(&export.requested_by) {
            tracing::warn!(export_id = %export.export_id, %error, "cannot accept an export");
            return self.run.refuse(error.into());
        }
        let (export_id, digest) = (export.export_id, export.content_digest);
        let has_attachments = !attachments.is_empty();
        for (kind, file) in attachments {
            if let Err(error) = journal.attach(export_id, digest, kind, file).await {
                return self.refuse_unrecorded(journal, &export, error, true).await;
            }
        }
        match journal.record(&export).await {
            Ok(entry) => {
                self.is_journaled.store(true, Ordering::Relaxed);
                self.shared().acceptance.accepted();
                failpoint!("journal.recorded");
                self.execute(&export, &entry, Origin::Request).await;
            }
            // The entry is in the journal but not in memory. The backlog reserves its own memory for it, so this
            // request's memory is returned.
            Err(JournalError::RecordedBefore(entry)) => {
                drop(export);
                self.run.update(|export| export.state = ExportState::Pending);
                self.run.resume(entry.header.accepted_time, Durability::LocalDisk);
                if self.shared().backlog.push_if_absent(*entry, Task::Export) {
                    self.shared().unread.loaded();
                }
            }
            Err(error) => {
                self.refuse_unrecorded(journal, &export, error, has_attachments).await;
            }
        }
    }

    /// Refuses an export that could not be recorded, and removes the documents that were attached for it.
    async fn refuse_unrecorded(
        &self,
        journal: &Journal,
        export: &AcceptedExport,
        error: JournalError,
        has_attachments: bool,
    ) {
        let export_id = export.export_id;
        tracing::error!(%export_id, %error, "cannot accept an export: the journal failed");
        self.update_acceptance(&error);
        if has_attachments
            && let Err(error) = journal.detach(export_id, export.content_digest).await
        {
            tracing::warn!(
                %export_id, %error,
                "cannot remove the documents of a refused export: they stay until the next start"
            );
        }
        self.run.refuse(error.into());
    }

    /// Reports the error as the server's acceptance state if it affects all exports.
    fn update_acceptance(&self, error: &JournalError) {
        if let Some(refusal) = refusal_of(error) {
            self.shared().acceptance.set(Some(refusal));
        }
    }

    fn repeat_failure(&self, failed: FailedExport) {
        self.run.repeat(failed.export().accepted_time);
        self.run.fail(failed.failure().clone(), failed.stored_under_id());
    }
}

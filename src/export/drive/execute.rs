//! Executes an export that is in the journal: the order in which stores are tried, and how failures are handled.
//!
//! Steps 4, 8, 11 and 14 of docs/design/commit-protocol.md.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tara_export_bundle::{AcceptedExport, Destination, ExportId, Fallback};
use tara_export_catalog::{Export, ExportState, StoredBundle};
use tara_export_failpoint::failpoint;
use tara_export_store::Store;
use tara_export_telemetry::names;

use crate::export::{
    drive::{
        attempt::CommittedExport,
        cleanup::{LocalCopy, clean_up},
        documents::need_s3,
        events::{EntryOf, add_fell_back},
        identity::Freshness,
        job::Job,
        load::NotLoaded,
        store_journal,
        work::derived_id,
    },
    error::StartError,
    failure::{AttemptError, Failure, FailureReason},
    journal::{FailedExport, JournalEntry},
    recover::backlog::{Loss, Task},
    run::{Run, events::Durability, outcome},
    shared::Shared,
};

/// How an export reached the process that executes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum Origin {
    /// From a request. The export may still be refused, or fail if the request has no fallback.
    Request,
    /// From the journal. A manifest may already have been sent, so the export is retried until it ends.
    Journal,
}

impl Job {
    /// Loads an export from the journal and executes it.
    pub(in crate::export) async fn resume(mut self, entry: JournalEntry) {
        self.run.resume(entry.header.accepted_time, Durability::LocalDisk);
        self.run.update(|export| {
            export.state = ExportState::Running;
            export.state_reason.clear();
        });
        if entry.header.destination == Destination::S3
            && let Err(failure) = self.shared().require_store_of(&entry).await
        {
            return self.postpone(&entry, failure);
        }
        match self.work.load(&entry).await {
            Ok(export) => self.execute(&export, &entry, Origin::Journal).await,
            Err(NotLoaded::NeedsMoreMemory { memory_bytes }) => {
                self.run.update(|export| export.state = ExportState::Pending);
                self.shared().backlog.reserve_more(&entry, memory_bytes);
            }
            Err(NotLoaded::Quarantined(reason)) => self.quarantine(&entry, reason).await,
            Err(NotLoaded::Retryable(failure)) => self.postpone(&entry, failure),
        }
    }

    /// Ends an export whose journal entry is quarantined. A bundle in the local store is not removed.
    async fn quarantine(&self, entry: &JournalEntry, message: String) {
        let (shared, export_id) = (self.shared(), entry.header.export_id);
        shared.backlog.remove(export_id, entry.header.content_digest);
        shared.unread.request_refill();
        match StoredBundle::find(&shared.stores.local, export_id).await {
            Ok(Some(bundle)) => self.complete(bundle.export()),
            _ => {
                self.run.fail(Failure { reason: FailureReason::DataLoss, message }, None);
                self.run.update(|export| export.state = ExportState::Quarantined);
                shared.announce_end(export_id);
            }
        }
    }

    /// Handles a document that is gone or has changed. The export fails after the store that it was accepted for has
    /// confirmed the loss twice, because no replica can write its bundle any more, and no existing bundle was found.
    /// Until then the export waits.
    async fn handle_lost_document(&self, entry: &JournalEntry, failure: Failure) {
        let shared = self.shared();
        if let Err(failure) = shared.require_store(entry, Freshness::Current).await {
            return self.postpone(entry, failure);
        }
        let wait = shared.settings.loss_confirmation;
        match shared.backlog.record_loss(entry, wait, failure.clone()) {
            Loss::Confirmed => self.fail(entry, failure, None).await,
            Loss::Unconfirmed => {
                tracing::warn!(
                    export_id = %entry.header.export_id, error = failure.message, retry_after = ?wait,
                    "a document of an accepted export is gone: checking once more before the export fails"
                );
                set_pending(&self.run, &failure);
            }
        }
    }

    /// Tries the stores and ends the run, or postpones the export.
    pub(in crate::export) async fn execute(
        &self,
        accepted: &AcceptedExport,
        entry: &JournalEntry,
        origin: Origin,
    ) {
        let manifest_sent = AtomicBool::new(false);
        let mut stored_under = None;
        let failure = loop {
            match self.try_stores(accepted, stored_under, &manifest_sent).await {
                Ok(committed) => {
                    return self.finish(committed, entry, accepted, stored_under).await;
                }
                Err(AttemptError::Reused(_)) if !self.run.is_accepted() => {
                    let refusal = StartError::RequestIdReused { first: accepted.export_id };
                    store_journal::end_refused(self.shared(), &entry.header).await;
                    return self.refuse(entry, refusal).await;
                }
                // The export was accepted while the store was unavailable and must not be lost, so its content is
                // stored under the derived id, which is the same on every replica.
                Err(AttemptError::Reused(digest)) => {
                    stored_under =
                        Some(derived_id(stored_under.unwrap_or(accepted.export_id), digest));
                }
                Err(AttemptError::Failed(failure)) => break failure,
            }
        };
        if !self.run.is_accepted() {
            tracing::warn!(
                export_id = %accepted.export_id, reason = %failure.reason, error = failure.message, "not accepted"
            );
            self.shared().acceptance.request_check();
            return self.refuse(entry, StartError::Store(failure)).await;
        }
        if failure.reason == FailureReason::SourceLost && stored_under.is_none() {
            return self.handle_lost_document(entry, failure).await;
        }
        let may_exist = origin == Origin::Journal || manifest_sent.load(Ordering::Relaxed);
        if accepted.content.fallback == Fallback::None && !may_exist && stored_under.is_none() {
            return self.fail(entry, failure, None).await;
        }
        self.postpone(entry, failure);
    }

    /// Tries the stores once, the destination first. The destination uses the derived id if there is one. The fallback
    /// always uses the id of the journal entry.
    async fn try_stores(
        &self,
        export: &AcceptedExport,
        stored_under: Option<ExportId>,
        manifest_sent: &AtomicBool,
    ) -> Result<CommittedExport, AttemptError> {
        let documents_need_s3 = need_s3(&export.content.documents);
        let mut fell_back = None;
        let mut failure = Failure::no_bucket();
        for (number, store) in self.stores_in_order(export).into_iter().enumerate() {
            let is_document_unavailable = failure.is_outage() && documents_need_s3;
            if number > 0 && (is_document_unavailable || failure.is_of_another_store()) {
                // Its documents are only in S3, or the store that it was accepted for may contain its bundle, so the
                // export waits.
                self.run.accept(export.accepted_time, Durability::LocalDisk);
                break;
            }
            if number > 0 {
                // The `accepted` event precedes the fallback event.
                self.run.accept(export.accepted_time, Durability::LocalDisk);
                self.fall_back(&failure);
                failpoint!("fallback.reported");
                fell_back = Some(failure.reason);
            }
            let is_fallback =
                ExportState::of_bundle(export.destination, store.kind()) == ExportState::FellBack;
            let export_id = match is_fallback {
                true => export.export_id,
                false => stored_under.unwrap_or(export.export_id),
            };
            let export = AcceptedExport { export_id, ..export.clone() };
            match self.work.try_store(store, &export, manifest_sent, Some(&self.run)).await {
                Ok(mut committed) => {
                    let committed_export = &mut committed.export;
                    if let (ExportState::FellBack, Some(reason)) =
                        (committed_export.state, fell_back)
                    {
                        committed_export.state_reason = reason.to_string();
                    }
                    return Ok(committed);
                }
                Err(AttemptError::Failed(error)) => failure = error,
                // The other content may not exist in S3, so the export keeps its id and waits.
                Err(AttemptError::Reused(_)) if is_fallback => {
                    failure = Failure::of_reused_fallback()
                }
                Err(reused) => return Err(reused),
            }
        }
        Err(AttemptError::Failed(failure))
    }

    /// The destination, then the fallback.
    fn stores_in_order(&self, export: &AcceptedExport) -> Vec<&Arc<dyn Store>> {
        let local = &self.shared().stores.local;
        match (export.destination, export.content.fallback) {
            (Destination::Local, _) => vec![local],
            (Destination::S3, Fallback::Local) => {
                self.shared().stores.s3.iter().chain([local]).collect()
            }
            (Destination::S3, Fallback::None) => self.shared().stores.s3.iter().collect(),
        }
    }

    fn fall_back(&self, failure: &Failure) {
        let Failure { reason, message } = failure;
        let event_failure = Failure {
            reason: *reason,
            message: format!(
                "cannot write the bundle to S3, so it is stored on this server's disk and sent to S3 later; until \
                 then, its folder, times and digests are provisional: {message}"
            ),
        };
        if self.run.fall_back(event_failure) {
            tracing::warn!(
                export_id = %self.run.export_id(), %reason, error = message,
                "cannot write the bundle to S3: storing it in the local store"
            );
            names::FALLBACKS.add(1, [reason.as_str()]);
        }
    }

    /// Ends the run after the bundle was committed, and cleans up.
    async fn finish(
        &self,
        committed: CommittedExport,
        entry: &JournalEntry,
        accepted: &AcceptedExport,
        stored_under: Option<ExportId>,
    ) {
        // A previous attempt may have left objects in the local store.
        let local_copy = match self.run.has_fallen_back() || self.run.is_resumed() {
            true => LocalCopy::Maybe,
            false => LocalCopy::None,
        };
        let has_derived_id = committed.export.export_id != accepted.export_id;
        if has_derived_id {
            let failure = Failure::stored_under_other_id(&committed.export.location);
            let failed = self.failure_record(entry, &failure, stored_under);
            let cleaned_up =
                clean_up(self.shared(), &committed, accepted, local_copy, Some(failed)).await;
            return match cleaned_up {
                Ok(()) => self.fail(entry, failure, stored_under).await,
                Err(failure) => self.postpone(entry, failure),
            };
        }
        self.complete(committed.export.clone());
        failpoint!("export.completed");
        if committed.export.state == ExportState::FellBack {
            add_fell_back(self.shared(), EntryOf::export(accepted), &committed.export).await;
            let pause = self.shared().settings.outage_pause;
            self.shared().backlog.push(entry.clone(), Task::Sync, pause);
            self.shared().unread.request_refill();
        } else if let Err(failure) =
            clean_up(self.shared(), &committed, accepted, local_copy, None).await
        {
            tracing::warn!(
                export_id = %accepted.export_id, reason = %failure.reason, error = failure.message,
                "cannot remove the local data of a committed export; retrying later"
            );
            let pause = self.shared().settings.outage_pause;
            self.shared().backlog.push(entry.clone(), Task::CleanUp, pause);
            self.shared().backlog.postpone(entry, Task::CleanUp, failure);
        }
    }

    pub(in crate::export) fn complete(&self, export: Export) {
        outcome::completed(self.shared(), &self.run, &export);
        self.run.complete(export);
        self.shared().announce_end(self.run.export_id());
    }

    /// Removes the journal entry of an export that was not accepted, and refuses the request.
    async fn refuse(&self, entry: &JournalEntry, error: StartError) {
        let header = &entry.header;
        let removed = match self.shared().journal() {
            Ok(journal) => journal.remove(header.export_id, header.content_digest).await,
            Err(error) => return self.run.refuse(error),
        };
        match removed {
            Ok(()) => {
                self.is_journaled.store(false, Ordering::Relaxed);
                self.run.refuse(error);
            }
            Err(cause) => {
                // The entry cannot be removed, so the export is accepted.
                self.run.accept(header.accepted_time, Durability::LocalDisk);
                self.postpone(entry, Failure::of_journal(&StartError::from(cause)));
            }
        }
    }

    /// Ends the export without a bundle under its own id. Reports the failure after it is durable and no other replica
    /// can take over the export.
    async fn fail(&self, entry: &JournalEntry, failure: Failure, stored_under: Option<ExportId>) {
        if stored_under.is_none()
            && let Err(error) = store_journal::end_failed(self.shared(), &entry.header).await
        {
            return self.postpone(entry, error.into());
        }
        failpoint!("failure.marked");
        let failed = self.failure_record(entry, &failure, stored_under);
        let recorded = match self.shared().journal() {
            Ok(journal) => journal.set_failed(&failed).await.map_err(StartError::from),
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            return self.postpone(entry, Failure::of_journal(&error));
        }
        failpoint!("failure.recorded");
        self.shared().backlog.remove(entry.header.export_id, entry.header.content_digest);
        self.shared().unread.request_refill();
        outcome::failed(self.shared(), &self.run, &failure);
        self.run.fail(failure, stored_under);
        self.shared().announce_end(self.run.export_id());
    }

    fn failure_record(
        &self,
        entry: &JournalEntry,
        failure: &Failure,
        stored_under: Option<ExportId>,
    ) -> FailedExport {
        let (digest, now) = (entry.header.digest(), self.shared().clock.now());
        FailedExport::new(self.run.export(), digest, failure.clone(), now)
            .stored_under(stored_under)
            .with_store_id(entry.header.store_id)
    }

    pub(in crate::export) fn postpone(&self, entry: &JournalEntry, failure: Failure) {
        postpone(self.shared(), &self.run, entry, failure);
    }
}

/// Sets the run to pending and returns the export to the backlog.
pub(in crate::export) fn postpone(
    shared: &Shared,
    run: &Run,
    entry: &JournalEntry,
    failure: Failure,
) {
    set_pending(run, &failure);
    postpone_entry(shared, entry, failure);
}

/// Returns an export that cannot be finished now to the backlog.
pub(in crate::export) fn postpone_entry(shared: &Shared, entry: &JournalEntry, failure: Failure) {
    tracing::error!(
        export_id = %entry.header.export_id, reason = %failure.reason, error = failure.message,
        "cannot finish the export now: it remains in the journal and is retried later"
    );
    names::POSTPONED.add(1, [failure.reason.as_str()]);
    shared.backlog.postpone(entry, Task::Export, failure);
    shared.unread.request_refill();
}

fn set_pending(run: &Run, failure: &Failure) {
    run.update(|export| {
        export.state = ExportState::Pending;
        export.state_reason = failure.reason.to_string();
    });
}

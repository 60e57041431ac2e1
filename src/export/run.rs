//! One export from its acceptance to its end: which store is tried, and what follows a failure.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    Durability, EventKind, FailureReason, StartError,
    acceptance::refusal_of,
    account,
    attempt::Made,
    backlog::Task,
    documents::need_s3,
    earlier::{Earlier, look_up},
    events::Run,
    failure::{AttemptError, Failure},
    job::{Job, derived_id},
    journal::{FailedExport, JournalEntry, JournalError},
    settle::{LocalCopy, settle},
    shared::Shared,
};
use crate::{
    bundle::{AcceptedExport, Destination, DocumentKind, ExportId, Fallback},
    catalog::{Export, ExportState},
    store::{Store, StoreKind},
    telemetry::names,
};

/// Who carries an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The process that accepts it: it may still be refused, or fail where that was asked for.
    Request,
    /// One that found it in the journal, where a manifest may have been sent before: it is carried
    /// to its end.
    Journal,
}

impl Job {
    /// Accepts a request and carries it to its end.
    pub(super) async fn start(
        self,
        export: AcceptedExport,
        attachments: Vec<(DocumentKind, PathBuf)>,
    ) {
        match look_up(&self.shared, &export).await {
            Ok(Earlier::Nothing) => {}
            Ok(Earlier::Reused) => {
                let first = export.export_id;
                return self.run.refuse(StartError::RequestIdReused { first });
            }
            Ok(Earlier::Failed(failed)) => return self.repeat_failure(*failed),
            Ok(Earlier::Ended(earlier)) => {
                self.run.repeat(earlier.accepted_time);
                return self.complete(*earlier);
            }
            Ok(Earlier::Moving) => return self.run.refuse(StartError::Moving),
            Err(error) => return self.run.refuse(error.into()),
        }
        let journal = match self.shared.journal() {
            Ok(journal) => journal,
            Err(error) => return self.run.refuse(error),
        };
        for (kind, file) in attachments {
            let (export_id, digest) = (export.export_id, export.content_digest);
            if let Err(error) = journal.attach(export_id, digest, kind, file).await {
                tracing::error!(%export_id, %error, "not accepted");
                self.note_refusal(&error);
                return self.run.refuse(error.into());
            }
        }
        match journal.record(&export).await {
            Ok(entry) => {
                self.shared.acceptance.accepted();
                failpoint!("journal.recorded");
                self.carry(&export, &entry, Origin::Request).await;
            }
            // It is in the journal and not in this process's memory. The backlog reserves what the
            // entry takes; this request's memory is returned.
            Err(JournalError::RecordedBefore(entry)) => {
                drop(export);
                self.run.update(|export| export.state = ExportState::Pending);
                self.run.resume(entry.header.accepted_time, Durability::LocalDisk);
                self.shared.backlog.push(*entry, Task::Carry, Duration::ZERO);
            }
            Err(error) => {
                tracing::error!(export_id = %export.export_id, %error, "not accepted");
                self.note_refusal(&error);
                self.run.refuse(error.into());
            }
        }
    }

    /// What refuses this export may refuse all.
    fn note_refusal(&self, error: &JournalError) {
        if let Some(refusal) = refusal_of(error) {
            self.shared.acceptance.set(Some(refusal));
        }
    }

    /// Carries an export of the journal to its end.
    pub(super) async fn resume(mut self, entry: JournalEntry) {
        self.run.resume(entry.header.accepted_time, Durability::LocalDisk);
        self.run.update(|export| {
            export.state = ExportState::Running;
            export.state_reason.clear();
        });
        if let Some(export) = self.load(&entry).await {
            self.carry(&export, &entry, Origin::Journal).await;
        }
    }

    fn repeat_failure(&self, failed: FailedExport) {
        self.run.repeat(failed.export().accepted_time);
        let (reason, message) = (failed.reason(), failed.message().to_owned());
        self.run.fail(reason, message, failed.kept());
    }

    async fn carry(&self, accepted: &AcceptedExport, entry: &JournalEntry, origin: Origin) {
        let manifest_sent = AtomicBool::new(false);
        let mut kept_as = None;
        let failure = loop {
            match self.round(accepted, kept_as, &manifest_sent).await {
                Ok(made) => return self.end(made, entry, accepted, kept_as).await,
                Err(AttemptError::Reused(_)) if !self.run.is_accepted() => {
                    let refusal = StartError::RequestIdReused { first: accepted.export_id };
                    return self.refuse(entry, refusal).await;
                }
                // Accepted while the store did not answer: nothing may be lost, so the content goes
                // on under an id that every replica derives alike.
                Err(AttemptError::Reused(digest)) => {
                    kept_as = Some(derived_id(kept_as.unwrap_or(accepted.export_id), digest));
                }
                Err(AttemptError::Failed(failure)) => break failure,
            }
        };
        if !self.run.is_accepted() {
            let Failure { reason, message } = failure;
            tracing::warn!(export_id = %accepted.export_id, %reason, error = message, "not accepted");
            self.shared.acceptance.check_soon();
            return self.refuse(entry, StartError::Store { reason, message }).await;
        }
        // Nobody can make this bundle any more. What was made of it before has been looked for.
        if failure.reason == FailureReason::SourceLost && kept_as.is_none() {
            return self.fail(entry, failure, None).await;
        }
        let may_exist = origin == Origin::Journal || manifest_sent.load(Ordering::Relaxed);
        if accepted.content.fallback == Fallback::None && !may_exist && kept_as.is_none() {
            return self.fail(entry, failure, None).await;
        }
        self.postpone(entry, failure);
    }

    /// Tries the stores, the one asked for first and under the id that is free there; falls back
    /// always as the journal has it.
    async fn round(
        &self,
        export: &AcceptedExport,
        kept_as: Option<ExportId>,
        manifest_sent: &AtomicBool,
    ) -> Result<Made, AttemptError> {
        let documents_need_s3 = need_s3(&export.content.documents);
        let mut fell_back = None;
        let mut failure = Failure::no_bucket();
        for (number, store) in self.stores_in_order(export).into_iter().enumerate() {
            let is_out_of_reach =
                failure.reason == FailureReason::StoreUnavailable && documents_need_s3;
            if number > 0 && is_out_of_reach {
                // The local store could have them from S3 only: the export waits.
                self.run.accept(export.accepted_time, Durability::LocalDisk);
                break;
            }
            if number > 0 {
                // `accepted` comes first, and waits no longer.
                self.run.accept(export.accepted_time, Durability::LocalDisk);
                self.fall_back(&failure);
                failpoint!("fallback.told");
                fell_back = Some(failure.reason);
            }
            let is_fallback =
                (store.kind(), export.destination) == (StoreKind::Local, Destination::S3);
            let export_id = match is_fallback {
                true => export.export_id,
                false => kept_as.unwrap_or(export.export_id),
            };
            let export = AcceptedExport { export_id, ..export.clone() };
            match self.attempt(store, &export, manifest_sent).await {
                Ok(mut made) => {
                    if let (ExportState::FellBack, Some(reason)) = (made.export.state, fell_back) {
                        made.export.state_reason = reason.to_string();
                    }
                    return Ok(made);
                }
                Err(AttemptError::Failed(error)) => failure = error,
                // S3 may know nothing of the other content, so the export keeps its id and waits.
                Err(AttemptError::Reused(_)) if is_fallback => {
                    failure = Failure::of_reused_fallback()
                }
                Err(reused) => return Err(reused),
            }
        }
        Err(AttemptError::Failed(failure))
    }

    /// The store asked for, then the one to fall back to.
    fn stores_in_order(&self, export: &AcceptedExport) -> Vec<&Arc<dyn Store>> {
        let local = &self.shared.stores.local;
        match (export.destination, export.content.fallback) {
            (Destination::Local, _) => vec![local],
            (Destination::S3, Fallback::Local) => {
                self.shared.stores.s3.iter().chain([local]).collect()
            }
            (Destination::S3, Fallback::None) => self.shared.stores.s3.iter().collect(),
        }
    }

    fn fall_back(&self, failure: &Failure) {
        if self.run.has_told_fallback() {
            return;
        }
        let Failure { reason, message } = failure;
        tracing::warn!(
            export_id = %self.run.export_id(), %reason, error = message,
            "S3 can't take the bundle: it goes to the local store"
        );
        names::FALLBACKS.add(1, [reason.as_str()]);
        self.run.publish(EventKind::FellBack {
            reason: *reason,
            message: format!(
                "S3 can't take the bundle, so it goes to this server's disk, and from there to S3 as soon as that \
                 works again; until then its folder, times and digests are provisional: {message}"
            ),
        });
    }

    /// The bundle is committed.
    async fn end(
        &self,
        made: Made,
        entry: &JournalEntry,
        accepted: &AcceptedExport,
        kept_as: Option<ExportId>,
    ) {
        // What an earlier attempt left in the local store.
        let local_copy = match self.run.has_told_fallback() || self.run.is_resumed() {
            true => LocalCopy::Maybe,
            false => LocalCopy::None,
        };
        let is_elsewhere = made.export.export_id != accepted.export_id;
        if is_elsewhere {
            let failure = Failure::kept_elsewhere(&made.export.location);
            let failed = self.failed(entry, &failure, kept_as);
            return match settle(&self.shared, &made, accepted, local_copy, Some(failed)).await {
                Ok(()) => self.fail(entry, failure, kept_as).await,
                Err(failure) => self.postpone(entry, failure),
            };
        }
        self.complete(made.export.clone());
        failpoint!("export.completed");
        if made.export.state == ExportState::FellBack {
            let pause = self.shared.settings.outage_pause;
            self.shared.backlog.push(entry.clone(), Task::Drain, pause);
        } else if let Err(failure) = settle(&self.shared, &made, accepted, local_copy, None).await {
            tracing::warn!(
                export_id = %accepted.export_id, reason = %failure.reason, error = failure.message,
                "what this machine has of a committed export can't be removed now; it is tried again"
            );
            let pause = self.shared.settings.outage_pause;
            self.shared.backlog.push(entry.clone(), Task::Tidy, pause);
            self.shared.backlog.postpone(entry, Task::Tidy, failure.into());
        }
    }

    pub(super) fn complete(&self, export: Export) {
        account::completed(&self.shared, &self.run, &export);
        let files = u32::try_from(export.artifacts.len() + 1).unwrap_or(u32::MAX);
        self.run.complete_progress(files, export.size_bytes());
        self.run.update(|current| *current = export.clone());
        self.run.publish(EventKind::Completed(Box::new(export)));
    }

    /// Nothing was accepted, so nothing may come of it later.
    async fn refuse(&self, entry: &JournalEntry, error: StartError) {
        let header = &entry.header;
        let removed = match self.shared.journal() {
            Ok(journal) => journal.remove(header.export_id, header.content_digest).await,
            Err(error) => return self.run.refuse(error),
        };
        match removed {
            Ok(()) => self.run.refuse(error),
            Err(cause) => {
                // It can't be forgotten, so it is accepted after all.
                self.run.accept(header.accepted_time, Durability::LocalDisk);
                self.postpone(entry, Failure::of_journal(&StartError::from(cause)));
            }
        }
    }

    /// Ends without a bundle of this id, which is told only once it is durable.
    async fn fail(&self, entry: &JournalEntry, failure: Failure, kept_as: Option<ExportId>) {
        let failed = self.failed(entry, &failure, kept_as);
        let noted = match self.shared.journal() {
            Ok(journal) => journal.set_failed(&failed).await.map_err(StartError::from),
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            return self.postpone(entry, Failure::of_journal(&error));
        }
        failpoint!("failure.noted");
        self.shared.backlog.remove(entry.header.export_id);
        account::failed(&self.shared, &self.run, &failure);
        let Failure { reason, message } = failure;
        self.run.fail(reason, message, kept_as);
    }

    pub(super) fn failed(
        &self,
        entry: &JournalEntry,
        failure: &Failure,
        kept_as: Option<ExportId>,
    ) -> FailedExport {
        let (digest, now) = (entry.header.digest(), self.shared.clock.now());
        let message = failure.message.clone();
        FailedExport::new(self.run.export(), digest, failure.reason, message, now).kept_as(kept_as)
    }

    pub(super) fn postpone(&self, entry: &JournalEntry, failure: Failure) {
        postpone(&self.shared, &self.run, entry, failure);
    }
}

/// No store takes it now: it waits in the journal, and not in memory.
pub(super) fn postpone(shared: &Shared, run: &Run, entry: &JournalEntry, failure: Failure) {
    tracing::error!(
        export_id = %entry.header.export_id, reason = %failure.reason, error = failure.message,
        "the export can't be finished now; it stays in the journal and is tried again"
    );
    names::POSTPONED.add(1, [failure.reason.as_str()]);
    run.update(|export| {
        export.state = ExportState::Pending;
        export.state_reason = failure.reason.to_string();
    });
    shared.backlog.postpone(entry, Task::Carry, failure.into());
}

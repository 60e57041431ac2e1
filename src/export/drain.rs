//! The outbox: sends bundles that were held back to S3, and carries on what the journal has.
//!
//! Oldest first, a few side by side. What can't be done now is set back with its reason, and the
//! others go on.

use std::sync::{Arc, atomic::AtomicBool};

use tokio::{sync::Semaphore, time};
use tracing::Instrument as _;

use super::{
    FailureReason, Permit,
    backlog::{Taken, Task},
    events::Run,
    failure::{AttemptError, Failure},
    job::{Job, derived_id, pending_run, running_export},
    journal::{JournalEntry, LoadError},
    run::postpone,
    settle::{LocalCopy, settle},
    shared::Shared,
    watchdog::{Ended, watch},
};
use crate::{
    bundle::{AcceptedExport, Destination},
    catalog::{ExportState, StoredBundle},
    telemetry::{
        names::{self, NONE},
        spans,
    },
};

/// Works on the backlog until the server stops.
pub(super) async fn work(shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(shared.settings.backlog_concurrency));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let (entry, task) = tokio::select! {
            next = next(&shared) => next,
            () = shared.draining.cancelled() => return,
        };
        let Some(permit) = shared.admission.admit_journaled(entry.memory_bytes).await else {
            return;
        };
        let worker = shared.clone();
        shared.tasks.spawn(async move {
            let _slot = slot;
            attempt(&worker, &entry, task, permit).await;
            // What waits for this to end may begin.
            worker.backlog.wake();
        });
    }
}

/// Waits for something to do.
async fn next(shared: &Shared) -> (JournalEntry, Task) {
    loop {
        let Ok(journal) = shared.journal() else { return std::future::pending().await };
        match shared.backlog.take(shared.breaker.closed_until(), journal.suspicion()) {
            Taken::Now(entry, task) => return (entry, task),
            Taken::At(time) => {
                tokio::select! {
                    () = time::sleep_until(time) => {}
                    () = shared.backlog.changed() => {}
                }
            }
            Taken::Nothing => shared.backlog.changed().await,
        }
    }
}

async fn attempt(shared: &Arc<Shared>, entry: &JournalEntry, task: Task, permit: Permit) {
    let export_id = entry.header.export_id;
    let run = match task {
        Task::Carry => shared.registry.get(export_id).unwrap_or_else(|| pending_run(shared, entry)),
        // Its own run has ended.
        Task::Drain | Task::Tidy => {
            Run::unheard(running_export(&entry.header), entry.header.digest(), &shared.clock)
        }
    };
    let mut job = Job::new(shared.clone(), run.clone(), permit);
    let work = async move {
        match task {
            Task::Carry => job.resume(entry.clone()).await,
            Task::Drain | Task::Tidy => job.finish(entry, task).await,
        }
    };
    // A trace of its own: the caller's ended long ago.
    let work = work.instrument(spans::export(export_id));
    let ended = watch(work, &run, &shared.aborting).await;
    let is_heard_of = task == Task::Carry;
    match ended {
        Ended::BrokeOff(failure) if is_heard_of && !run.has_ended() => {
            postpone(shared, &run, entry, failure);
        }
        Ended::BrokeOff(failure) => shared.backlog.postpone(entry, task, failure.into()),
        Ended::Done | Ended::Aborted => {}
    }
    if is_heard_of && run.has_ended() {
        shared.registry.keep(export_id);
    }
}

impl Job {
    /// Sends a bundle to S3 that is whole in the local store, or finds it there, and tidies up; or sets
    /// it back.
    async fn finish(&mut self, entry: &JournalEntry, task: Task) {
        let Err(failure) = self.send(entry, task).await else { return };
        let what = match task {
            Task::Tidy => "what is left of a committed export can't be removed now",
            _ => "a bundle in the local store can't be sent to S3 now",
        };
        tracing::warn!(
            export_id = %entry.header.export_id, reason = %failure.reason, error = failure.message,
            "{what}; it is tried again"
        );
        names::DRAIN_FAILURES.add(1, [failure.reason.as_str()]);
        self.shared.backlog.postpone(entry, task, failure.into());
    }

    async fn send(&mut self, entry: &JournalEntry, task: Task) -> Result<(), Failure> {
        let shared = &self.shared.clone();
        let export_id = entry.header.export_id;
        let store = match entry.header.destination {
            Destination::Local => &shared.stores.local,
            Destination::S3 => shared.stores.s3.as_ref().ok_or_else(Failure::no_bucket)?,
        };
        let Some(accepted) = self.load(entry).await else { return Ok(()) };
        let mut export = accepted.clone();
        let manifest_sent = AtomicBool::new(false);
        let made = loop {
            match self.attempt(store, &export, &manifest_sent).await {
                Ok(made) => break made,
                // Accepted in the outage under an id that is another's.
                Err(AttemptError::Reused(digest)) => {
                    export.export_id = derived_id(export.export_id, digest);
                }
                Err(AttemptError::Failed(failure)) => return Err(failure),
            }
        };
        failpoint!("drain.committed");
        let failed = (export.export_id != export_id).then(|| {
            let failure = Failure::kept_elsewhere(&made.export.location);
            self.failed(entry, &failure, Some(export.export_id))
        });
        // S3 has it: nobody is to hear of the local copy any more, also not of a run that finds it
        // there while it is being removed.
        shared.registry.forget(export_id);
        settle(shared, &made, &accepted, LocalCopy::Maybe, failed).await?;
        if task == Task::Drain {
            shared.tally.change(ExportState::FellBack, ExportState::Committed);
            names::DRAINED.add(1, NONE);
            tracing::info!(%export_id, location = made.export.location, "a bundle that had fallen back is in S3");
        }
        Ok(())
    }

    /// Reads an entry within the memory that is reserved for it. `None` if it can't be worked on now,
    /// which was noted.
    pub(super) async fn load(&mut self, entry: &JournalEntry) -> Option<AcceptedExport> {
        let export_id = entry.header.export_id;
        let journal = self.shared.journal().ok()?;
        let limit_bytes = self.shared.settings.admission.request_memory_bytes;
        let reserved_bytes = entry.memory_bytes.min(limit_bytes);
        let attempt = journal.begin_attempt(entry, self.counted.has_company()).await;
        let error = match journal.load(entry, reserved_bytes).await {
            Ok(export) => {
                failpoint!("journal.loaded");
                let memory_bytes = export.content.footprint_bytes().max(entry.size_bytes);
                if memory_bytes > reserved_bytes && reserved_bytes < limit_bytes {
                    drop(export);
                    self.reserve_more(entry, memory_bytes);
                    return None;
                }
                self.permit.shrink_to(memory_bytes.min(reserved_bytes));
                self.attempt = Some(attempt);
                return Some(export);
            }
            Err(LoadError::OverBudget { .. }) if reserved_bytes < limit_bytes => {
                self.reserve_more(entry, limit_bytes);
                return None;
            }
            Err(LoadError::OverBudget { .. }) => {
                let reason = format!(
                    "it takes more memory than the {limit_bytes} bytes of MAX_REQUEST_MEMORY: raise the setting, \
                     then retry the entry"
                );
                match journal.set_aside(entry, reason.clone()).await {
                    Ok(()) => LoadError::Damaged { reason },
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        tracing::error!(%export_id, %error, "an accepted export can't be read from the journal");
        let message = error.to_string();
        match error {
            LoadError::Gone | LoadError::Damaged { .. } => {
                self.quarantine(entry, message).await;
            }
            LoadError::LaterRelease(_)
            | LoadError::OverBudget { .. }
            | LoadError::Disk(_)
            | LoadError::BrokeOff => {
                self.postpone(entry, Failure { reason: FailureReason::Internal, message });
            }
        }
        None
    }

    /// Gives an entry back that takes more memory than its header says: the next attempt reserves
    /// this much.
    fn reserve_more(&self, entry: &JournalEntry, memory_bytes: u64) {
        tracing::warn!(
            export_id = %entry.header.export_id, memory_bytes, reserved_bytes = entry.memory_bytes,
            "an entry of the journal takes more memory than was reserved for it"
        );
        if !self.run.has_ended() {
            self.run.update(|export| export.state = ExportState::Pending);
        }
        self.shared.backlog.reserve_more(entry.header.export_id, memory_bytes);
    }

    /// Nothing more can be done for an export here. A bundle it has in the local store stays there.
    async fn quarantine(&self, entry: &JournalEntry, reason: String) {
        let export_id = entry.header.export_id;
        let task = self.shared.backlog.get(export_id).map(|waiting| waiting.task);
        self.shared.backlog.remove(export_id);
        let local = StoredBundle::find(&self.shared.stores.local, export_id).await;
        match (task, local) {
            (Some(Task::Drain), _) => {
                self.shared.tally.change(ExportState::FellBack, ExportState::Quarantined);
            }
            (Some(Task::Tidy), _) => {}
            (_, Ok(Some(bundle))) => self.complete(bundle.export()),
            _ => {
                self.run.fail(FailureReason::DataLoss, reason, None);
                self.run.update(|export| export.state = ExportState::Quarantined);
            }
        }
    }
}

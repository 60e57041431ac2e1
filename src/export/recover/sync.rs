//! Works on the backlog: syncs bundles that fell back, and finishes exports of the journal.
//!
//! Takes the oldest exports first, a few in parallel. A failed export is postponed with its reason and does not block
//! the others. Step 9 of docs/design/commit-protocol.md.

use std::sync::{Arc, atomic::AtomicBool};

use tara_export_bundle::Destination;
use tara_export_catalog::{Export, ExportState};
use tara_export_failpoint::failpoint;
use tara_export_telemetry::{
    names::{self, NONE},
    spans,
};
use tokio::{sync::Semaphore, time};
use tracing::Instrument as _;

use crate::export::{
    accept::admission::Permit,
    drive::{
        cleanup::{LocalCopy, clean_up},
        events::ensure_fell_back,
        execute::{postpone, postpone_entry},
        job::{Job, find_run, pending_run},
        load::NotLoaded,
        observer::Activity,
        work::{Work, derived_id},
    },
    failure::{AttemptError, Failure},
    journal::{FailedExport, JournalEntry},
    recover::backlog::{NextTask, Task},
    run::watchdog::{Ended, watch},
    shared::Shared,
};

/// Works on the backlog until the server stops.
pub(in crate::export) async fn work_on_backlog(shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(shared.settings.backlog_concurrency));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let (entry, task) = tokio::select! {
            next = next_task(&shared) => next,
            () = shared.draining.cancelled() => return,
        };
        let Some(permit) = shared.admission.admit_journaled(entry.memory_bytes).await else {
            return;
        };
        let worker = shared.clone();
        shared.tasks.spawn(async move {
            let _slot = slot;
            match task {
                Task::Export => execute(&worker, &entry, permit).await,
                Task::Sync | Task::CleanUp => {
                    sync_or_postpone(&worker, &entry, task, permit).await;
                }
            }
            // Entries may wait for the end of this work.
            worker.backlog.wake();
        });
    }
}

/// Waits for a due task.
async fn next_task(shared: &Shared) -> (JournalEntry, Task) {
    loop {
        let Ok(journal) = shared.journal() else { return std::future::pending().await };
        match shared.backlog.take_next(shared.breaker.open_until(), journal.suspect_deaths()) {
            NextTask::Due(entry, task) => return (*entry, task),
            NextTask::At(time) => {
                tokio::select! {
                    () = time::sleep_until(time) => {}
                    () = shared.backlog.changed() => {}
                }
            }
            NextTask::Nothing => shared.backlog.changed().await,
        }
    }
}

/// Writes the bundle of an export that has none, in the run of the export.
async fn execute(shared: &Arc<Shared>, entry: &JournalEntry, permit: Permit) {
    let run = find_run(shared, entry).unwrap_or_else(|| {
        // The export was counted when it was found. From now on its run counts it.
        shared.tally.remove(ExportState::Pending);
        pending_run(shared, entry)
    });
    let export_id = entry.header.export_id;
    let job = Job::new(shared.clone(), run.clone(), permit);
    // Starts a new trace, because the caller's trace has ended.
    let work = job.resume(entry.clone()).instrument(spans::export(export_id));
    match watch(work, export_id, run.changes(), &shared.aborting).await {
        Ended::Interrupted(failure) if !run.has_ended() => postpone(shared, &run, entry, failure),
        Ended::Interrupted(failure) => shared.backlog.postpone(entry, Task::Export, failure),
        Ended::Done | Ended::Aborted => {}
    }
    if run.has_ended() {
        shared.registry.keep(&run);
    }
}

/// Syncs a bundle that fell back and cleans up, or postpones the export. Its run has already ended.
async fn sync_or_postpone(shared: &Arc<Shared>, entry: &JournalEntry, task: Task, permit: Permit) {
    let export_id = entry.header.export_id;
    let activity = Arc::new(Activity::new());
    let changes = activity.changes();
    let mut work = Work::new(shared.clone(), export_id, entry.header.digest(), activity, permit);
    let syncing = async {
        let Err(failure) = sync(&mut work, entry, task).await else { return };
        let summary = match task {
            Task::CleanUp => "cannot remove the local data of a committed export",
            _ => "cannot send a bundle in the local store to S3",
        };
        tracing::warn!(
            %export_id, reason = %failure.reason, error = failure.message, "{summary}; retrying later"
        );
        names::SYNC_FAILURES.add(1, [failure.reason.as_str()]);
        shared.backlog.postpone(entry, task, failure);
    };
    let syncing = syncing.instrument(spans::export(export_id));
    if let Ended::Interrupted(failure) = watch(syncing, export_id, changes, &shared.aborting).await
    {
        shared.backlog.postpone(entry, task, failure);
    }
}

/// Commits the bundle in its destination, if it is not there yet, and cleans up.
async fn sync(work: &mut Work, entry: &JournalEntry, task: Task) -> Result<(), Failure> {
    let shared = &work.shared.clone();
    let export_id = entry.header.export_id;
    let store = match entry.header.destination {
        Destination::Local => &shared.stores.local,
        Destination::S3 => shared.stores.s3.as_ref().ok_or_else(Failure::no_bucket)?,
    };
    if entry.header.destination == Destination::S3 {
        shared.require_store_of(entry).await?;
    }
    let accepted = match work.load(entry).await {
        Ok(accepted) => accepted,
        Err(not_loaded) => {
            handle_not_loaded(shared, entry, task, not_loaded);
            return Ok(());
        }
    };
    if task == Task::Sync {
        ensure_fell_back(shared, &entry.header).await;
    }
    let mut export = accepted.clone();
    let manifest_sent = AtomicBool::new(false);
    let committed = loop {
        match work.try_store(store, &export, &manifest_sent, None).await {
            Ok(committed) => break committed,
            // The export was accepted during the outage, but its id belongs to other content.
            Err(AttemptError::Reused(digest)) => {
                export.export_id = derived_id(export.export_id, digest);
            }
            Err(AttemptError::Failed(failure)) => return Err(failure),
        }
    };
    failpoint!("sync.committed");
    let failed = (export.export_id != export_id).then(|| {
        let mut own = Export::running(&entry.header);
        own.folder_name.clone_from(&committed.export.folder_name);
        let failure = Failure::stored_under_other_id(&committed.export.location);
        FailedExport::new(own, entry.header.digest(), failure, shared.clock.now())
            .stored_under(Some(export.export_id))
            .with_store_id(entry.header.store_id)
    });
    // The bundle is in S3. Its run must no longer report the local copy, which is removed next.
    shared.registry.forget(export_id, accepted.digest());
    clean_up(shared, &committed, &accepted, LocalCopy::Maybe, failed).await?;
    if task == Task::Sync {
        shared.tally.change(ExportState::FellBack, ExportState::Committed);
        names::SYNCED.add(1, NONE);
        let location = &committed.export.location;
        tracing::info!(%export_id, location, "a bundle that fell back is in S3");
    }
    Ok(())
}

/// Handles an entry that could not be loaded. A bundle in the local store is not removed.
fn handle_not_loaded(shared: &Shared, entry: &JournalEntry, task: Task, not_loaded: NotLoaded) {
    match not_loaded {
        NotLoaded::NeedsMoreMemory { memory_bytes } => {
            shared.backlog.reserve_more(entry, memory_bytes)
        }
        NotLoaded::Quarantined(_) => {
            shared.backlog.remove(entry.header.export_id, entry.header.content_digest);
            shared.unread.request_refill();
            if task == Task::Sync {
                shared.tally.change(ExportState::FellBack, ExportState::Quarantined);
            }
        }
        NotLoaded::Retryable(failure) => postpone_entry(shared, entry, failure),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "sync_tests.rs"]
mod tests;

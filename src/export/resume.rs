//! What a start finds in the journal.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::time;

use super::{
    JournalPlace,
    backlog::Task,
    drain,
    job::pending_run,
    journal::{JournalEntry, JournalError, JournalListing},
    shared::Shared,
    status, takeover,
};
use crate::{
    bundle::Destination,
    catalog::{ExportState, StoredBundle},
    store::PartUpload,
    telemetry::names::{self, NONE},
};

/// Entries whose headers are in memory at once; the others follow as these end. A header has about a
/// kilobyte.
const MOST_ENTRIES: usize = 50_000;
/// Local stores' records that are read side by side.
const PARALLEL_READS: usize = 16;
/// How often the journal is looked through again while it has entries that are not in memory, or that
/// the disk did not let us read.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How often the server looks for entries that are to be retried.
const LOOK_FOR_RETRIED: Duration = Duration::from_secs(2);

/// Takes up the journal's entries, and starts working on them.
///
/// # Errors
/// Where the journal can't be looked through.
pub(super) async fn resume(shared: &Arc<Shared>) -> Result<(), JournalError> {
    let Ok(journal) = shared.journal() else { return Ok(()) };
    let listing = journal.entries(MOST_ENTRIES).await?;
    for _ in 0..journal.quarantined().await?.count {
        shared.tally.add(ExportState::Quarantined);
    }
    let is_whole = take_up(shared, listing).await;
    let keep = shared.settings.receipt_retention;
    match journal.expire_receipts(keep, shared.clock.now()).await {
        Ok(0) => {}
        Ok(expired) => tracing::debug!(expired, "receipts expired"),
        Err(error) => tracing::warn!(%error, "old receipts can't be removed"),
    }
    if let Some(notes) = shared.transfers.notes() {
        // Asked before anything begins: what this process has in the making is not left behind.
        let left = notes.left_behind().await;
        if !left.is_empty() {
            shared.tasks.spawn(abort_unfinished_parts(shared.clone(), left));
        }
    }
    shared.tasks.spawn(shared.uploads.clone().watch_expiry(shared.draining.clone()));
    shared.tasks.spawn(drain::work(shared.clone()));
    shared.tasks.spawn(status::report(shared.clone()));
    if shared.settings.journal == JournalPlace::Store {
        shared.tasks.spawn(takeover::watch(shared.clone()));
    }
    shared.tasks.spawn(take_retried(shared.clone()));
    if !is_whole {
        shared.tasks.spawn(look_again(shared.clone()));
    }
    Ok(())
}

/// Aborts what an earlier process left of objects in the making; tries again until S3 takes it.
async fn abort_unfinished_parts(shared: Arc<Shared>, mut left: Vec<PartUpload>) {
    let (Some(s3), Some(notes)) = (&shared.stores.s3, shared.transfers.notes()) else { return };
    let Some(parts) = s3.parts() else { return };
    let count = left.len();
    loop {
        let mut stays = Vec::new();
        for upload in left {
            let aborted = tokio::select! {
                aborted = notes.abort(parts, &upload) => aborted,
                () = shared.draining.cancelled() => return,
            };
            if let Err(error) = aborted {
                tracing::debug!(key = %upload.key, %error, "unfinished parts stay for now");
                stays.push(upload);
            }
        }
        left = stays;
        if left.is_empty() {
            tracing::info!(count, "uploads in parts that a crash left unfinished are aborted");
            return;
        }
        tokio::select! {
            () = time::sleep(LOOK_AGAIN) => {}
            () = shared.draining.cancelled() => return,
        }
    }
}

/// Takes up what it finds until everything is in memory.
async fn look_again(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = time::sleep(LOOK_AGAIN) => {}
            () = shared.draining.cancelled() => return,
        }
        let Ok(journal) = shared.journal() else { return };
        match journal.entries(MOST_ENTRIES).await {
            Ok(listing) => {
                if take_up(&shared, listing).await {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "the journal can't be looked through"),
        }
    }
}

/// Takes up the entries that `tara-export journal retry` took out of quarantine, until the server stops.
async fn take_retried(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = time::sleep(LOOK_FOR_RETRIED) => {}
            () = shared.draining.cancelled() => return,
        }
        let Ok(journal) = shared.journal() else { return };
        let entries = match journal.take_retried().await {
            Ok(entries) if entries.is_empty() => continue,
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, "entries that are to be retried stay where they are for now");
                continue;
            }
        };
        for entry in &entries {
            shared.registry.forget(entry.header.export_id);
            shared.tally.remove(ExportState::Quarantined);
        }
        take_up(&shared, JournalListing { entries, ..JournalListing::default() }).await;
    }
}

/// Takes up what is new. Whether nothing is left.
async fn take_up(shared: &Arc<Shared>, listing: JournalListing) -> bool {
    let JournalListing { entries, more, quarantined, later, unread } = listing;
    for entry in &quarantined {
        names::QUARANTINED.add(1, NONE);
        tracing::debug!(entry = entry.name, "in quarantine");
    }
    for entry in &later {
        tracing::error!(
            entry = entry.name, reason = %entry.unknown,
            "an accepted export was written by a later release and waits for it"
        );
    }
    for entry in &unread {
        tracing::error!(entry = entry.name, error = %entry.error, "an accepted export can't be read now");
    }
    let new = entries.into_iter().filter(|entry| {
        let export_id = entry.header.export_id;
        shared.registry.get(export_id).is_none() && shared.backlog.get(export_id).is_none()
    });
    let mut resumed = 0_u64;
    let mut tasks = stream::iter(new)
        .map(|entry| async { (task_of(shared, &entry).await, entry) })
        .buffer_unordered(PARALLEL_READS);
    while let Some((task, entry)) = tasks.next().await {
        resumed += 1;
        match task {
            Task::Carry => {
                pending_run(shared, &entry);
            }
            Task::Drain | Task::Tidy => shared.tally.add(ExportState::FellBack),
        }
        shared.backlog.push(entry, task, Duration::ZERO);
    }
    if resumed > 0 {
        tracing::info!(resumed, "accepted exports of an earlier process go on");
    }
    !more && unread.is_empty()
}

/// What is left to do for an entry.
async fn task_of(shared: &Shared, entry: &JournalEntry) -> Task {
    let header = &entry.header;
    if header.destination == Destination::Local {
        return Task::Carry;
    }
    match StoredBundle::find(&shared.stores.local, header.export_id).await {
        Ok(Some(bundle)) if bundle.manifest().content_digest == header.content_digest => {
            Task::Drain
        }
        // To carry it finds whatever there is.
        _ => Task::Carry,
    }
}

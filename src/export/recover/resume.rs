//! Resumes the exports in the journal at startup.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use tara_export_bundle::{AcceptedTime, Destination, ExportId};
use tara_export_catalog::{ExportState, StoredBundle, layout::JournalLocation};
use tara_export_telemetry::names::{self, NONE};
use tokio::time;

use crate::export::{
    drive::{
        events::ensure_fell_back,
        job::{find_run, pending_run},
    },
    journal::{EntryKey, JournalEntry, JournalError, JournalListing, OtherFiles},
    recover::{backlog::Task, old_files, refill, retention, status, sync, takeover},
    shared::Shared,
};

/// A journal with up to this many entries is read before the server is ready. A larger journal is read in the
/// background after the entry names are listed.
const MAX_READ_AT_START: u64 = 10_000;
/// Records of the local store that are read in parallel.
const PARALLEL_READS: usize = 16;

/// Interval between checks for entries that an operator released for retry.
const RETRY_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// What a process does with the exports that previous processes accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It finishes them.
    Resume,
    /// It leaves them in the journal to another process, except those that a caller requests.
    Leave,
}

/// Adds the journal's entries to the backlog, unless they are left, and starts the background tasks.
///
/// # Errors
/// The journal cannot be read.
pub(in crate::export) async fn resume(
    shared: &Arc<Shared>,
    accepted: Accepted,
) -> Result<(), JournalError> {
    let Ok(journal) = shared.journal() else { return Ok(()) };
    if let Err(error) = shared.identity.open(journal).await {
        match error {
            JournalError::UnreadableStores { .. } => return Err(error),
            // Later writes to this disk report their own errors.
            error => tracing::warn!(%error, "cannot write the known stores to disk"),
        }
    }
    for _ in 0..journal.quarantined().await?.count {
        shared.tally.add(ExportState::Quarantined);
    }
    for entry in journal.quarantined_at_start() {
        names::QUARANTINED.add(1, NONE);
        tracing::debug!(entry = entry.name, "in quarantine");
    }
    match accepted {
        Accepted::Resume => read_entries(shared, journal.size().count).await?,
        Accepted::Leave => {
            let now = AcceptedTime::new(shared.clock.now());
            shared.unread.leave(EntryKey::last_at(now));
        }
    }
    shared.tasks.spawn(refill::refill(shared.clone()));
    // Must precede all writes to the uploads folder.
    if let Err(error) = shared.uploads.clean_temporary_files().await {
        tracing::warn!(%error, "cannot remove temporary files of unfinished uploads");
    }
    shared.tasks.spawn(retention::watch(shared.clone()));
    shared.tasks.spawn(sync::work_on_backlog(shared.clone()));
    shared.tasks.spawn(status::report(shared.clone()));
    if shared.settings.journal == JournalLocation::Store && accepted == Accepted::Resume {
        shared.tasks.spawn(takeover::watch(shared.clone()));
    }
    if accepted == Accepted::Resume {
        shared.tasks.spawn(take_retried(shared.clone()));
        shared.tasks.spawn(old_files::move_all(shared.clone()));
    }
    Ok(())
}

/// Reads the journal: at once if it is small, else in the background.
async fn read_entries(shared: &Arc<Shared>, count: u64) -> Result<(), JournalError> {
    shared.unread.start(count);
    if count <= MAX_READ_AT_START {
        return refill::fill(shared).await;
    }
    tracing::info!(count, "reading the journal in the background");
    shared.unread.request_refill();
    Ok(())
}

/// Adds entries that `tara-export journal retry` released from quarantine to the backlog, until the server stops.
async fn take_retried(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = time::sleep(RETRY_CHECK_INTERVAL) => {}
            () = shared.draining.cancelled() => return,
        }
        let Ok(journal) = shared.journal() else { return };
        let entries = match journal.take_retried().await {
            Ok(entries) if entries.is_empty() => continue,
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, "cannot take released entries now; retrying later");
                continue;
            }
        };
        for entry in &entries {
            shared.registry.forget(entry.header.export_id, entry.header.digest());
            shared.tally.remove(ExportState::Quarantined);
        }
        let listing = JournalListing { entries, ..JournalListing::default() };
        add_to_backlog(&shared, listing, || {}).await;
    }
}

/// Reports the files of a listing that cannot be processed.
pub(in crate::export) fn report(shared: &Shared, others: &OtherFiles) {
    let OtherFiles { quarantined, later, unread } = others;
    for entry in quarantined {
        names::QUARANTINED.add(1, NONE);
        shared.tally.add(ExportState::Quarantined);
        tracing::debug!(entry = entry.name, "in quarantine");
    }
    for entry in later {
        tracing::error!(
            entry = entry.name, reason = %entry.unknown,
            "an accepted export was written by a later release and requires it"
        );
    }
    for entry in unread {
        tracing::error!(entry = entry.name, error = %entry.error, "cannot read an accepted export now");
    }
    if let Ok(journal) = shared.journal() {
        journal.add_unprocessable(others);
    }
    if !unread.is_empty() {
        shared.unread.mark_failed();
    }
}

/// Adds the new entries of a listing to the backlog. Calls `added` for each of them, and returns their number.
pub(in crate::export) async fn add_to_backlog(
    shared: &Arc<Shared>,
    listing: JournalListing,
    added: impl Fn(),
) -> u64 {
    let JournalListing { entries, others } = listing;
    report(shared, &others);
    let new = entries
        .into_iter()
        .filter(|entry| !shared.has_entry(entry.header.export_id, entry.header.content_digest));
    let mut resumed = 0_u64;
    let mut tasks = stream::iter(new)
        .map(|entry| async {
            let task = remaining_task(shared, &entry).await;
            if task == Task::Sync {
                ensure_fell_back(shared, &entry.header).await;
            }
            (task, entry)
        })
        .buffer_unordered(PARALLEL_READS);
    while let Some((task, entry)) = tasks.next().await {
        match push(shared, entry, task) {
            true => {
                added();
                resumed += 1;
            }
            false => shared.unread.mark_failed(),
        }
    }
    if resumed > 0 {
        tracing::info!(resumed, "resumed accepted exports of a previous process");
    }
    resumed
}

/// Adds an entry to the backlog. Returns `false` if the backlog already has it.
fn push(shared: &Shared, entry: JournalEntry, task: Task) -> bool {
    let export_id = entry.header.export_id;
    if shared.backlog.has_entry(export_id, entry.header.content_digest) {
        return false;
    }
    if task == Task::Export {
        // The result of a previous run is obsolete.
        shared.registry.forget_ended(export_id);
        // Create the run first: a worker that finds no run assumes that the export is already counted.
        pending_run(shared, &entry);
        let is_new = shared.backlog.push_if_absent(entry.clone(), task);
        if !is_new && find_run(shared, &entry).is_none() {
            // The registered run has other content, so this export was counted twice.
            shared.tally.remove(ExportState::Pending);
        }
        return is_new;
    }
    // Count the export first: a worker may finish it at once.
    shared.tally.add(ExportState::FellBack);
    let is_new = shared.backlog.push_if_absent(entry, task);
    if !is_new {
        shared.tally.remove(ExportState::FellBack);
    }
    is_new
}

/// Finds the journal entries of an export that is not in memory. Returns no entries if the backlog has this id.
///
/// # Errors
/// The journal cannot be read.
pub(in crate::export) async fn find(
    shared: &Arc<Shared>,
    export_id: ExportId,
) -> Result<Vec<JournalEntry>, JournalError> {
    let Ok(journal) = shared.journal() else { return Ok(Vec::new()) };
    if !journal.may_have(export_id) || shared.backlog.has(export_id) {
        return Ok(Vec::new());
    }
    let JournalListing { entries, others } = journal.find(export_id).await?;
    report(shared, &others);
    Ok(entries)
}

/// Adds an entry to the backlog out of order. With `with_bundle_only`, only if the export has a bundle.
pub(in crate::export) async fn recall(
    shared: &Shared,
    entry: JournalEntry,
    with_bundle_only: bool,
) {
    let task = remaining_task(shared, &entry).await;
    if (task.has_bundle() || !with_bundle_only) && push(shared, entry, task) {
        shared.unread.loaded();
    }
}

/// The remaining work on an entry.
async fn remaining_task(shared: &Shared, entry: &JournalEntry) -> Task {
    let header = &entry.header;
    if header.destination == Destination::Local {
        return Task::Export;
    }
    match StoredBundle::find(&shared.stores.local, header.export_id).await {
        Ok(Some(bundle)) if bundle.manifest().content_digest == header.content_digest => Task::Sync,
        // This task finds existing objects by itself.
        _ => Task::Export,
    }
}

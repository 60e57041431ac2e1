//! Refills the window of entries in memory, oldest acceptance first.

use std::{sync::Arc, time::Duration};

use tara_export_catalog::ExportState;
use tokio::time;

use crate::export::{
    journal::{EntryKey, JournalError, UnprocessableEntries},
    recover::{
        backlog::Task,
        resume::{add_to_backlog, report},
    },
    shared::Shared,
};

/// Interval between checks whether all entries in memory are blocked and others must be read. Also the longest pause
/// between scans of a journal with entries that could not be read.
const RESCAN_INTERVAL: Duration = Duration::from_secs(60);
/// The first pause between such scans. Doubles up to [`RESCAN_INTERVAL`].
const FIRST_RESCAN_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the window filled until the server stops.
pub(in crate::export) async fn refill(shared: Arc<Shared>) {
    // The ticks do not depend on other wake-ups.
    let mut ticks = time::interval_at(time::Instant::now() + RESCAN_INTERVAL, RESCAN_INTERVAL);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let (mut pause, mut rescan_time) = (FIRST_RESCAN_PAUSE, None);
    loop {
        if !shared.unread.has_failed() {
            (pause, rescan_time) = (FIRST_RESCAN_PAUSE, None);
        }
        let rescan_at = *rescan_time.get_or_insert_with(|| time::Instant::now() + pause);
        tokio::select! {
            () = shared.unread.changed.notified() => {}
            _ = ticks.tick() => rotate(&shared),
            () = time::sleep_until(rescan_at), if shared.unread.has_failed() => {
                (pause, rescan_time) = ((pause * 2).min(RESCAN_INTERVAL), None);
                shared.unread.retry_failed();
            }
            () = shared.draining.cancelled() => return,
        }
        let filling = tokio::select! {
            filling = fill(&shared) => filling,
            () = shared.draining.cancelled() => return,
        };
        if let Err(error) = filling {
            tracing::warn!(%error, "cannot read the journal");
            shared.unread.mark_failed();
        }
    }
}

/// Brings the window to its size: evicts the newest entries if it has too many, and reads the oldest ones if it has too
/// few.
///
/// # Errors
/// The journal cannot be read.
pub(in crate::export) async fn fill(shared: &Arc<Shared>) -> Result<(), JournalError> {
    let Ok(journal) = shared.journal() else { return Ok(()) };
    let limits = shared.unread.limits;
    if shared.backlog.len() > limits.window_high {
        evict(shared, limits.window);
    }
    while shared.backlog.len() <= limits.window_low {
        let keys = shared.unread.next_keys(limits.window.saturating_sub(shared.backlog.len()));
        if !keys.is_empty() {
            let count = keys.len() as u64;
            let listing = journal.read(keys).await?;
            let added = add_to_backlog(shared, listing, || shared.unread.loaded()).await;
            // The other entries are gone, quarantined, or already in memory.
            shared.unread.subtract(count - added);
            continue;
        }
        match shared.unread.next_scan() {
            Some(after) => scan(shared, after).await?,
            None => break,
        }
    }
    Ok(())
}

/// Scans the journal for the next keys.
async fn scan(shared: &Arc<Shared>, after: Option<EntryKey>) -> Result<(), JournalError> {
    let journal = shared.journal().map_err(|_| JournalError::Interrupted)?;
    let known = shared.clone();
    let is_known = Arc::new(move |export_id, digest| known.has_entry(export_id, digest));
    let mut scan = journal.scan(after, shared.unread.limits.queue, is_known).await?;
    let mut unprocessable = UnprocessableEntries::default();
    let scanned = loop {
        if let Some(scanned) = scan.advance().await? {
            break scanned;
        }
        let others = scan.take_others();
        unprocessable.add(&others);
        report(shared, &others);
        if after.is_none() {
            shared.unread.set_oldest(scan.oldest());
        }
    };
    unprocessable.add(&scanned.others);
    report(shared, &scanned.others);
    // This scan found the unprocessable entries again, so they replace those of the previous scan.
    journal.set_unprocessable(unprocessable);
    if scanned.keys.is_empty() && after.is_some() {
        // The newest entries were read. The remaining ones are older and were evicted, so the next scan starts with
        // the oldest entry.
        shared.unread.set_scanned(scanned, None);
        // There is no older entry that this process works on.
        if after == shared.unread.last_left() {
            shared.unread.set_complete();
        }
    } else {
        shared.unread.set_scanned(scanned, after);
    }
    Ok(())
}

/// Evicts entries if no entry in the window can be processed now and the journal has others.
fn rotate(shared: &Shared) {
    let has_others = shared.unread.count() > 0;
    let is_breaker_open = shared.breaker.open_until().is_some();
    if has_others && shared.backlog.is_blocked(is_breaker_open) {
        shared.unread.mark_rotated();
        evict(shared, shared.unread.limits.window_low);
    }
}

/// Evicts the newest entries from memory until `keep` are left. They remain in the journal.
fn evict(shared: &Shared, keep: usize) {
    let evicted = shared.backlog.evict(keep, |waiting| match waiting.task {
        Task::Export => {
            let header = &waiting.entry.header;
            shared.registry.forget_unused(header.export_id, header.digest())
        }
        Task::Sync => true,
        // Only memory records that the bundle is committed.
        Task::CleanUp => false,
    });
    for (key, task) in evicted {
        let state = match task {
            Task::Export => ExportState::Pending,
            Task::Sync | Task::CleanUp => ExportState::FellBack,
        };
        shared.tally.remove(state);
        shared.unread.evicted(key);
    }
}

#[cfg(test)]
#[path = "refill_tests.rs"]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

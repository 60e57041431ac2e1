//! Ends a batch: its results on disk, the report in the store, the event, and its note among the ended ones.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tara_export_events::{BatchCounts, EndedBatch, Event};
use tara_export_failpoint::failpoint;
use tokio::time;

use super::{
    BatchError, Shared, report,
    state::{Batch, Counts},
};

/// The pause after the first failure; it doubles up to the longest one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Ends a batch in the background, if every item has ended.
pub(super) fn finish_if_complete(shared: &Arc<Shared>, batch: &Arc<Batch>) {
    if batch.end_if_complete(shared.clock.now())
        && !batch.is_finishing.swap(true, Ordering::Relaxed)
    {
        shared.tasks.spawn(finish(shared.clone(), batch.clone()));
    }
}

/// Tries until it succeeds or the server stops: the next start continues.
async fn finish(shared: Arc<Shared>, batch: Arc<Batch>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let finished = tokio::select! {
            finished = try_finish(&shared, &batch) => finished,
            () = shared.draining.cancelled() => return,
        };
        let Err(error) = finished else { return };
        tracing::warn!(
            batch_id = %batch.batch_id, %error, retry_after = ?pause, "cannot end a batch now; retrying later"
        );
        tokio::select! {
            () = time::sleep(pause) => {}
            () = shared.draining.cancelled() => return,
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

async fn try_finish(shared: &Shared, batch: &Batch) -> Result<(), BatchError> {
    // Receipts and failure records expire.
    shared.write(batch.note()).await?;
    failpoint!("batch.ended");
    if batch.note().report_location.is_empty() {
        let location = report::put(shared.store.as_ref(), &batch.note()).await?;
        batch.set_report_location(location);
        failpoint!("batch.reported");
    }
    let note = batch.note();
    let counts = Counts::of(&note.items);
    if let Some(outbox) = shared.outbox.clone() {
        let ended_time = note.ended_time.unwrap_or(note.accepted_time);
        let ended_counts = BatchCounts {
            total: counts.total,
            committed: counts.committed,
            fell_back: counts.fell_back,
            refused: counts.refused,
            failed: counts.failed,
        };
        let batch = EndedBatch {
            batch_id: note.batch_id,
            accepted_time: note.accepted_time,
            counts: ended_counts,
            report_location: note.report_location.clone(),
        };
        let event = Event::batch_ended(note.digest, batch, ended_time);
        shared.pool.run(move || outbox.add(&event)).await??;
        failpoint!("batch.event.added");
    }
    let (files, ended) = (shared.files.clone(), note.clone());
    shared.pool.run(move || files.end(ended)).await??;
    shared.active().remove(&note.batch_id);
    tracing::info!(
        batch_id = %note.batch_id, items = counts.total, committed = counts.committed,
        fell_back = counts.fell_back, refused = counts.refused, failed = counts.failed,
        report = note.report_location, caller = note.requested_by, "a batch has ended"
    );
    Ok(())
}

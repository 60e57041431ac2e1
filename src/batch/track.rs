//! Follows the exports of batches, and notes which items have ended.

use std::{sync::Arc, time::Duration};

use tara_export_bundle::ExportId;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{self, Instant},
};
use uuid::Uuid;

use super::{
    Shared,
    finish::finish_if_complete,
    item::{Item, ItemState},
    metrics,
    state::Batch,
};
use crate::export::ExportOutcome;

/// How often one batch is checked completely, in turn: other replicas may end its exports, and announcements of ends
/// may be missed.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Follows all batches until the server stops.
pub(super) async fn watch(shared: Arc<Shared>, mut ended: broadcast::Receiver<ExportId>) {
    let mut last = Uuid::nil();
    let batches: Vec<Arc<Batch>> = shared.active().values().cloned().collect();
    for batch in batches {
        resolve_pending(&shared, &batch).await;
        finish_if_complete(&shared, &batch);
    }
    metrics::report(shared.status(), shared.clock.now());
    let mut next_check = Instant::now() + CHECK_INTERVAL;
    loop {
        tokio::select! {
            announced = ended.recv() => match announced {
                Ok(export_id) => resolve(&shared, export_id).await,
                // The checks find them.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            () = time::sleep_until(next_check) => {
                if let Some(batch) = next_batch(&shared, last) {
                    last = batch.batch_id;
                    check(&shared, &batch).await;
                }
                metrics::report(shared.status(), shared.clock.now());
                next_check = Instant::now() + CHECK_INTERVAL;
            }
            () = shared.draining.cancelled() => return,
        }
    }
}

/// The batch that is checked after this one.
fn next_batch(shared: &Shared, last: Uuid) -> Option<Arc<Batch>> {
    let active = shared.active();
    let next = active.keys().filter(|batch_id| **batch_id > last).min();
    active.get(next.or_else(|| active.keys().min())?).cloned()
}

/// Notes the end of an export in all batches that have it.
async fn resolve(shared: &Arc<Shared>, export_id: ExportId) {
    let batches: Vec<Arc<Batch>> = shared.active().values().cloned().collect();
    for batch in batches {
        if let Some((index, item)) = batch.pending(export_id) {
            resolve_item(shared, &batch, index, &item).await;
            finish_if_complete(shared, &batch);
        }
    }
}

/// Notes the ends of all pending items of a batch.
pub(super) async fn resolve_pending(shared: &Shared, batch: &Batch) {
    for (index, item) in batch.items_in(ItemState::Pending) {
        if shared.draining.is_cancelled() {
            return;
        }
        resolve_item(shared, batch, index, &item).await;
    }
}

async fn resolve_item(shared: &Shared, batch: &Batch, index: usize, item: &Item) -> bool {
    let Some(content_digest) = item.content_digest else { return false };
    let outcome = shared.engine.outcome(item.export_id, content_digest).await;
    let is_unknown = outcome == ExportOutcome::Unknown;
    batch.update(index, |item| {
        if item.set_outcome(outcome) {
            metrics::item_ended(item.state);
        }
    });
    is_unknown
}

/// Checks every item of a batch, and ends those that have waited for too long.
async fn check(shared: &Arc<Shared>, batch: &Arc<Batch>) {
    let age = shared.clock.now() - batch.accepted_time();
    let is_late = age.to_std().is_ok_and(|age| age > shared.settings.resend_timeout);
    for (index, item) in batch.items_in(ItemState::Pending) {
        if shared.draining.is_cancelled() {
            return;
        }
        let is_unknown = resolve_item(shared, batch, index, &item).await;
        if is_unknown && is_late {
            let message = "the accepted export is neither on this server nor in the stores";
            batch.update(index, |item| {
                item.set(ItemState::Failed, "EXPORT_NOT_FOUND".to_owned(), message.to_owned());
                metrics::item_ended(item.state);
            });
        }
    }
    // Not while the batch is being sent again.
    if is_late && let Ok(_accepting) = batch.accepting.try_lock() {
        for (index, _) in batch.items_in(ItemState::NotAccepted) {
            let message = "the server did not accept this item, and the batch was not sent again in time: send it in \
                           a new batch";
            batch.update(index, |item| {
                item.set(ItemState::Refused, "BATCH_NOT_SENT_AGAIN".to_owned(), message.to_owned());
                metrics::item_ended(item.state);
            });
        }
    }
    finish_if_complete(shared, batch);
}

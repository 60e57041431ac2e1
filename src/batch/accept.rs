//! Accepts a batch: first its note, then each item.

use std::{collections::hash_map::Entry, sync::Arc};

use futures::{StreamExt as _, stream};
use tara_export_bundle::ExportId;
use tara_export_digest::Sha256;
use tara_export_failpoint::failpoint;
use tokio::time;

use super::{
    BatchError, BatchRequest, Note, Shared, digest, finish,
    item::{Item, ItemState},
    metrics, report,
    state::Batch,
    track,
};
use crate::{
    export::{DocumentProblem, Permit, RequestedContent, StartError},
    upload::UploadError,
};

/// Items that are recorded in parallel. Most of the time they wait for an fsync, and the journal has as many threads.
const PARALLEL_ITEMS: usize = 8;

/// A request with its digest.
struct Digested {
    export_id: ExportId,
    digest: Sha256,
    content: RequestedContent,
}

pub(super) async fn submit(
    shared: Arc<Shared>,
    request: BatchRequest,
    permit: Permit,
) -> Result<Note, BatchError> {
    // Reserved until every item is in the journal.
    let _permit = permit;
    if !shared.is_writable {
        return Err(BatchError::ReadOnly(StartError::ReadOnly));
    }
    let BatchRequest { batch_id, requests, requested_by, caller, describe } = request;
    let digesting = shared.engine.computing().run(move || {
        let digested = requests.into_iter().map(|(request_id, content)| {
            let (digest, content) = digest::of_request(content);
            Digested { export_id: ExportId::new(request_id), digest, content }
        });
        digested.collect::<Vec<_>>()
    });
    let digested = digesting.await?;
    let digest = digest::of_batch(digested.iter().map(|item| (item.export_id, item.digest)));
    let note = Note {
        batch_id,
        digest,
        requested_by: requested_by.clone(),
        accepted_time: shared.clock.now(),
        items: digested.iter().map(|item| Item::new(item.export_id, item.digest)).collect(),
        ended_time: None,
        report_location: String::new(),
    };
    let batch = match find_or_add(&shared, note, caller).await? {
        Known::Active(batch) => batch,
        Known::Ended(note) => return same(note, digest),
    };
    if batch.digest != digest {
        return Err(BatchError::IdReused(batch_id));
    }
    let _accepting = batch.accepting.lock().await;
    let missing = batch.items_in(ItemState::NotAccepted);
    if missing.is_empty() {
        return Ok(batch.note());
    }
    // Another call may have added it and failed to write its note.
    shared.active().entry(batch_id).or_insert_with(|| batch.clone());
    if let Err(error) = shared.write(batch.note()).await {
        // Without a note and without items, there is no batch.
        if missing.len() == batch.counts().total as usize {
            shared.active().remove(&batch_id);
        }
        return Err(error);
    }
    failpoint!("batch.noted");
    let mut digested: Vec<Option<Digested>> = digested.into_iter().map(Some).collect();
    let missing = missing.into_iter().filter_map(|(index, _)| {
        let Digested { export_id, content, .. } = digested.get_mut(index)?.take()?;
        Some((index, export_id, content))
    });
    let missing: Vec<_> = missing.collect();
    let accepting = stream::iter(missing).map(|(index, export_id, content)| {
        let (shared, batch, requested_by) = (&shared, &batch, requested_by.clone());
        async move {
            let accepted = shared.engine.enqueue(export_id.as_uuid(), content, requested_by).await;
            batch.update(index, |item| match accepted {
                Ok(content_digest) => item.set_accepted(content_digest),
                Err(error) => {
                    let state = match is_final(&error) {
                        true => ItemState::Refused,
                        false => ItemState::NotAccepted,
                    };
                    let (reason, message) = describe(error);
                    item.set(state, reason, message);
                    if state == ItemState::Refused {
                        metrics::item_ended(state);
                    }
                }
            });
        }
    });
    accepting.buffer_unordered(PARALLEL_ITEMS).for_each(|()| async {}).await;
    failpoint!("batch.accepted");
    shared.write(batch.note()).await?;
    failpoint!("batch.answered");
    tracing::info!(
        %batch_id, items = batch.counts().total, not_accepted = batch.counts().not_accepted,
        refused = batch.counts().refused, caller = requested_by, "received a batch"
    );
    // Some exports may have ended before their items were pending.
    track::resolve_pending(&shared, &batch).await;
    finish::finish_if_complete(&shared, &batch);
    Ok(batch.note())
}

/// A batch that was sent before, or this one.
enum Known {
    Active(Arc<Batch>),
    Ended(Note),
}

/// Finds the batch of this id, or adds it within the limits.
async fn find_or_add(
    shared: &Shared,
    note: Note,
    caller: tara_export_limits::CallerKey,
) -> Result<Known, BatchError> {
    let batch_id = note.batch_id;
    if let Some(batch) = shared.get(batch_id) {
        return Ok(Known::Active(batch));
    }
    if let Some(note) = shared.read_ended(batch_id).await? {
        return Ok(Known::Ended(note));
    }
    // Another replica may have ended it. If the store does not respond, the items find their exports.
    let reading = report::read(shared.store.as_ref(), batch_id);
    if let Ok(Ok(Some(note))) = time::timeout(shared.settings.store_timeout, reading).await {
        return Ok(Known::Ended(note));
    }
    let mut active = shared.active();
    let (total, own) = (
        active.len(),
        active.values().filter(|batch| batch.caller.as_ref() == Some(&caller)).count(),
    );
    match active.entry(batch_id) {
        Entry::Occupied(entry) => Ok(Known::Active(entry.get().clone())),
        Entry::Vacant(entry) => {
            let settings = &shared.settings;
            if own >= settings.max_batches_per_caller {
                let (count, whose) = (settings.max_batches_per_caller, "of this caller");
                return Err(BatchError::TooMany {
                    count,
                    whose,
                    setting: "MAX_BATCHES_PER_CALLER",
                });
            }
            if total >= settings.max_batches {
                let (count, whose) = (settings.max_batches, "on this server");
                return Err(BatchError::TooMany { count, whose, setting: "MAX_BATCHES" });
            }
            let batch = Arc::new(Batch::new(note, shared.clock.new_id(), Some(caller)));
            Ok(Known::Active(entry.insert(batch).clone()))
        }
    }
}

/// The ended batch, if it is the same.
fn same(note: Note, digest: Sha256) -> Result<Note, BatchError> {
    if note.digest == digest { Ok(note) } else { Err(BatchError::IdReused(note.batch_id)) }
}

/// Whether sending the request again cannot succeed: the caller has to change it.
fn is_final(error: &StartError) -> bool {
    match error {
        StartError::RequestIdReused { .. }
        | StartError::NoBucket
        | StartError::RecipientsKept
        | StartError::Document {
            problem:
                DocumentProblem::NotAllowed { .. }
                | DocumentProblem::NotFound { .. }
                | DocumentProblem::DigestMismatch { .. }
                | DocumentProblem::TooLarge { .. }
                | DocumentProblem::Upload(UploadError::NotFound { .. } | UploadError::NotFinished { .. }),
            ..
        } => true,
        StartError::Document { .. }
        | StartError::Overloaded(_)
        | StartError::ReadOnly
        | StartError::Journal { .. }
        | StartError::Syncing
        | StartError::ShuttingDown
        | StartError::Store(_)
        | StartError::Internal => false,
    }
}

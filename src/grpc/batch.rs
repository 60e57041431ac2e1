//! Batches: starts them, returns them, and streams their results.

use futures::stream;
use tara_export_notify::AllowedRecipients;
use tonic::{Request, Response, Status};

use super::{
    access::record_access,
    admitted::AdmittedReview,
    authentication::caller,
    caller,
    convert::{
        ConvertedBatch, batch_id, batch_message, batch_request, batch_summary, counts_message,
        item_message,
    },
    decoding::{admitted, decode, in_background},
    download::ResponseStream,
    readers::Readers,
    response_memory::{response_under, response_with},
    status::{batch_not_here, batch_status, describe, invalid, stream_ended_early},
};
use crate::{
    batch::{BatchRequest, Batches, Step, Watch},
    export::Engine,
    proto::{self, watch_batch_response::Event},
};

/// The memory that a stream of results needs for its messages.
const STEP_BYTES: u64 = 16 * 1024;
/// The memory that is reserved for a batch with all its items.
const BATCH_BYTES: u64 = 2 * 1024 * 1024;

pub(super) async fn start(
    engine: &Engine,
    batches: &Batches,
    allowed: AllowedRecipients,
    new_id: uuid::Uuid,
    request: Request<proto::BatchStartExportsRequest>,
) -> Result<Response<proto::BatchStartExportsResponse>, Status> {
    let AdmittedReview { message, permit } = admitted(&request)?;
    let (caller, key) = (caller(&request), caller::key(request.extensions()));
    let convert = move || batch_request(decode(message)?, &allowed, new_id);
    let converting = in_background(engine, permit.bytes(), convert);
    let ConvertedBatch { batch_id, requests } = converting.await?;
    let request = BatchRequest {
        batch_id,
        requests,
        requested_by: caller.to_string(),
        caller: key,
        describe,
    };
    let note = batches.submit(request, permit).await.map_err(batch_status)?;
    record_access(&format!("batches/{batch_id}"), "");
    Ok(Response::new(proto::BatchStartExportsResponse { batch: Some(batch_message(&note)) }))
}

pub(super) async fn get(
    batches: &Batches,
    readers: &Readers,
    request: Request<proto::GetBatchRequest>,
) -> Result<Response<proto::GetBatchResponse>, Status> {
    let key = caller::key(request.extensions());
    let name = request.into_inner().name;
    record_access(&name, "");
    let batch_id = batch_id(&name)?;
    let permit = readers.reserve_response(&key, BATCH_BYTES).await?;
    let found = batches.find(batch_id).await.map_err(batch_status)?;
    let note = found.ok_or_else(|| batch_not_here(batch_id))?;
    Ok(response_with(permit, proto::GetBatchResponse { batch: Some(batch_message(&note)) }))
}

pub(super) async fn watch(
    batches: &Batches,
    readers: &Readers,
    request: Request<proto::WatchBatchRequest>,
) -> Result<Response<ResponseStream<proto::WatchBatchResponse>>, Status> {
    let key = caller::key(request.extensions());
    let proto::WatchBatchRequest { name, run_id, after_sequence } = request.into_inner();
    record_access(&name, "");
    let batch_id = batch_id(&name)?;
    let Ok(seen) = usize::try_from(after_sequence) else {
        return Err(invalid("after_sequence", "must be 0 or greater"));
    };
    // A batch that has ended is read from disk for this stream.
    let mut permit = readers.reserve_response(&key, BATCH_BYTES).await?;
    let found = batches.watch(batch_id, &run_id, seen).await.map_err(batch_status)?;
    let watch = found.ok_or_else(|| batch_not_here(batch_id))?;
    if watch.is_shared() {
        permit.shrink_to(STEP_BYTES);
    }
    Ok(response_under(permit, results(watch)))
}

fn results(watch: Watch) -> ResponseStream<proto::WatchBatchResponse> {
    Box::pin(stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        let (step, counts) = watch.next().await;
        let event = match &step {
            Step::Item(index, item) => Event::Item(item_message(*index, item)),
            Step::Heartbeat => Event::Heartbeat(proto::Heartbeat {}),
            Step::Ended(note) => Event::Ended(batch_summary(note)),
            Step::EndedEarly => {
                let message = "the server is shutting down: watch the batch again";
                return Some((Err(stream_ended_early(message)), None));
            }
        };
        let message = proto::WatchBatchResponse {
            run_id: watch.run_id(),
            sequence: i64::try_from(watch.sequence()).unwrap_or(i64::MAX),
            counts: Some(counts_message(counts)),
            event: Some(event),
        };
        let has_ended = matches!(step, Step::Ended(_));
        Some((Ok(message), (!has_ended).then_some(watch)))
    }))
}

//! One page as a batch: submitted until every request is accepted or refused, and followed to its end.

use std::time::Duration;

use tara_export_digest::Sha256Hasher;
use tara_export_limits::CallerKey;
use tokio::time;
use uuid::Uuid;

use super::{
    ConvertedRequest, ConvertedRequests, Pulled, PulledRequest, Run, namespace, requested_by,
};
use crate::{
    batch::{BatchError, BatchRequest, Item, ItemState, Note, Step},
    export::RequestMemory,
};

/// Pause before a batch is sent again that was not accepted completely.
const PAUSE: Duration = Duration::from_secs(5);

/// A batch whose items are accepted, refused, or were so before.
pub(super) struct Batch {
    batch_id: Uuid,
    /// By the index in the batch: the index on the page, and the session.
    sources: Vec<(usize, String)>,
}

impl Batch {
    /// Submits the requests of a page. `None` if none of them is valid.
    ///
    /// The id of the batch is that of its content: a page that was sent before is the same batch, without another
    /// report and event. If something of it was refused then, this run sends it again as another batch: the cause may
    /// be gone.
    ///
    /// # Errors
    /// If the server does not accept the batch.
    pub(super) async fn submit(
        run: &Run<'_>,
        requests: Vec<PulledRequest>,
        memory: RequestMemory,
        pulled: &mut Pulled,
    ) -> Result<Option<Self>, String> {
        let context = &run.shared.context;
        let (namespace, caller) = (namespace(run), CallerKey::named(&requested_by(run)));
        let mut batch_id = None;
        let mut memory = Some(memory);
        let mut is_first = true;
        loop {
            let memory = match memory.take() {
                Some(memory) => memory,
                None => {
                    let mut memory = context.engine.admission().request_memory(&caller);
                    let size: usize = requests.iter().map(|request| request.json.len()).sum();
                    memory.grow_to(size as u64).await.map_err(|error| error.to_string())?;
                    memory
                }
            };
            let converted = context.requests.convert(requests.clone(), namespace, memory).await?;
            let ConvertedRequests { valid, invalid, permit } = converted;
            if std::mem::take(&mut is_first) {
                for (_, fault) in &invalid {
                    pulled.refused += 1;
                    pulled.add_fault(fault);
                }
            }
            if valid.is_empty() {
                return Ok(None);
            }
            let id = *batch_id.get_or_insert_with(|| id_of(namespace, &requests, &valid));
            let sources =
                valid.iter().map(|request| (request.index, request.session_id.clone())).collect();
            let request = BatchRequest {
                batch_id: id,
                requests: valid.into_iter().map(ConvertedRequest::into_parts).collect(),
                requested_by: requested_by(run),
                caller: caller.clone(),
                describe: context.requests.describe(),
            };
            let waiting = match context.batches.submit(request, permit).await {
                Ok(note) if was_refused(&note, run) => {
                    batch_id = Some(Uuid::new_v5(&id, run.number.to_string().as_bytes()));
                    continue;
                }
                Ok(note) => match note.items.iter().find(|item| is_missing(item)) {
                    None => return Ok(Some(Self { batch_id: id, sources })),
                    Some(item) => format!("{}: {}", item.reason, item.message),
                },
                Err(BatchError::IdReused(_)) => {
                    // Another release converts the same texts to other content.
                    batch_id = Some(Uuid::new_v5(&id, run.number.to_string().as_bytes()));
                    continue;
                }
                Err(error @ BatchError::TooMany { .. }) => error.to_string(),
                Err(error) => return Err(format!("cannot start the batch: {error}")),
            };
            run.set_progress(format!("{}; waits: {waiting}", pulled.summary()));
            time::sleep(PAUSE).await;
        }
    }

    /// Waits until every export of the batch has ended.
    ///
    /// # Errors
    /// If the server stops.
    pub(super) async fn follow(self, run: &Run<'_>, pulled: &mut Pulled) -> Result<(), String> {
        let failed = |error: BatchError| format!("cannot follow the batch: {error}");
        let watch = run.shared.context.batches.watch(self.batch_id, "", 0).await.map_err(failed)?;
        let mut watch = watch.ok_or("the batch is gone")?;
        loop {
            match watch.next().await.0 {
                Step::Item(index, item) => self.count(index, &item, pulled),
                Step::Heartbeat => run.set_progress(pulled.summary()),
                Step::Ended(_) => return Ok(()),
                Step::EndedEarly => return Err("the server is shutting down".to_owned()),
            }
        }
    }

    fn count(&self, index: usize, item: &Item, pulled: &mut Pulled) {
        let counter = match item.state {
            ItemState::Committed => return pulled.stored += 1,
            ItemState::FellBack => return pulled.fell_back += 1,
            ItemState::NotAccepted | ItemState::Pending => return,
            ItemState::Refused => &mut pulled.refused,
            ItemState::Failed => &mut pulled.failed,
        };
        *counter += 1;
        let (index, session_id) = self.sources.get(index).cloned().unwrap_or_default();
        let session_id: String = session_id.chars().take(80).collect();
        pulled.add_fault(&format!(
            "requests[{index}] (session {session_id:?}, exports/{}): {}: {}",
            item.export_id, item.reason, item.message
        ));
    }
}

impl ConvertedRequest {
    fn into_parts(self) -> (Uuid, crate::export::RequestedContent) {
        (self.request_id, self.content)
    }
}

/// The id of a batch of these requests.
fn id_of(namespace: Uuid, requests: &[PulledRequest], valid: &[ConvertedRequest]) -> Uuid {
    let mut digest = Sha256Hasher::default();
    for request in valid {
        digest.update(request.request_id.as_bytes());
        if let Some(source) = requests.get(request.index) {
            digest.update(&source.json);
        }
    }
    Uuid::new_v5(&namespace, digest.finish().to_string().as_bytes())
}

/// Whether the batch ended before this run, and refused something.
fn was_refused(note: &Note, run: &Run<'_>) -> bool {
    note.ended_time.is_some_and(|ended| ended < run.started)
        && note.items.iter().any(|item| item.state == ItemState::Refused)
}

fn is_missing(item: &Item) -> bool {
    item.state == ItemState::NotAccepted
}

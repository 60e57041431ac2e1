//! Batches: starts many exports with one call and follows them until all have ended.

use std::{
    collections::HashSet,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use backon::ExponentialBackoff;
use futures::{Stream, StreamExt as _, stream, stream::BoxStream};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Streaming};
use uuid::Uuid;

use super::{
    Client, ClientError, MAX_MESSAGE_BYTES, Rejection, connect::ApiClient, follow::FollowPolicy,
    follow::delays, names, service::Service,
};
use crate::proto::{
    Batch, BatchStartExportsRequest, GetBatchRequest, WatchBatchRequest, WatchBatchResponse,
    batch_item::State, watch_batch_response::Event,
};

/// The slowest supported upload: BatchStartExports may take longer than the timeout by the time that its requests take
/// at this rate.
const MIN_UPLOAD_BYTES_PER_SECOND: usize = 32 * 1024;
/// The time that a server may take to accept a batch, for each request.
const ACCEPT_TIME: Duration = Duration::from_millis(200);

/// The results of a batch; see [`Client::export_batch`].
pub struct BatchStream {
    name: String,
    results: BoxStream<'static, Result<WatchBatchResponse, ClientError>>,
}

impl Client {
    /// Exports many reviews and follows them until all have ended. Generates the batch id if it is empty.
    ///
    /// The stream survives lost connections and server restarts: it sends the same batch again if the server does not
    /// know it or did not accept every item, and never yields the result of an item twice. Its last item is `ended` or
    /// an error. The exports continue if the stream is dropped.
    pub fn export_batch(&self, request: BatchStartExportsRequest) -> BatchStream {
        let mut request = request;
        if request.batch_id.is_empty() {
            request.batch_id = Uuid::new_v4().to_string();
        }
        let name = format!("batches/{}", request.batch_id);
        BatchStream::new(self, name, Some(request))
    }

    /// Follows a batch that was started earlier: `name` is batches/{batch_id}. The stream is like that of
    /// [`Client::export_batch`], and does not send the batch again.
    pub fn watch_batch(&self, name: impl Into<String>) -> BatchStream {
        BatchStream::new(self, name.into(), None)
    }

    /// Reads a batch with its items.
    ///
    /// # Errors
    /// The server's rejection, such as NOT_FOUND with the reason BATCH_NOT_HERE.
    pub async fn get_batch(&self, name: impl Into<String>) -> Result<Batch, ClientError> {
        let name = name.into();
        let request = GetBatchRequest { name: name.clone() };
        let call =
            |mut service: ApiClient, request| async move { service.get_batch(request).await };
        let response = self.call(request, call).await?;
        let missing = ClientError::Protocol("GetBatch response without a batch");
        let batch = response.batch.ok_or(missing)?;
        names::check_batch(&batch, &name)?;
        Ok(batch)
    }
}

impl BatchStream {
    fn new(client: &Client, name: String, request: Option<BatchStartExportsRequest>) -> Self {
        let source = if request.is_some() { Source::Start } else { Source::Watch };
        let follower = Follower {
            service: client.service.clone(),
            policy: client.follow_policy,
            name: name.clone(),
            request,
            source,
            run_id: String::new(),
            sequence: 0,
            seen: HashSet::new(),
            missing: i32::MAX,
            delays: delays(&client.follow_policy),
            last_progress: Instant::now(),
        };
        let results = stream::unfold(Some(follower), async |follower| {
            let mut follower = follower?;
            match follower.next().await {
                Ok(message) => {
                    let has_ended = matches!(message.event, Some(Event::Ended(_)));
                    Some((Ok(message), (!has_ended).then_some(follower)))
                }
                Err(error) => Some((Err(error), None)),
            }
        });
        Self { name, results: results.boxed() }
    }

    /// The batch's name, batches/{batch_id}.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Stream for BatchStream {
    type Item = Result<WatchBatchResponse, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.results.poll_next_unpin(context)
    }
}

impl std::fmt::Debug for BatchStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BatchStream").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How to get the next result.
enum Source {
    /// Send BatchStartExports.
    Start,
    /// Send WatchBatch.
    Watch,
    /// Read the open stream.
    Open(Box<Streaming<WatchBatchResponse>>),
}

struct Follower {
    service: Service,
    policy: FollowPolicy,
    name: String,
    /// Sent again if the server does not know the batch. `None` when only watching.
    request: Option<BatchStartExportsRequest>,
    source: Source,
    /// The position in the server's list of results.
    run_id: String,
    sequence: i64,
    /// The indexes of the results that were yielded.
    seen: HashSet<i32>,
    /// The number of items that the server has not accepted yet.
    missing: i32,
    delays: ExponentialBackoff,
    /// The time of the last new result, or of the start.
    last_progress: Instant,
}

impl Follower {
    async fn next(&mut self) -> Result<WatchBatchResponse, ClientError> {
        loop {
            match self.step().await {
                Ok(Some(message)) => {
                    names::check_batch_step(&message, &self.name)?;
                    if self.is_new(&message) {
                        return Ok(message);
                    }
                }
                Ok(None) => {}
                Err(StepError::Final(error)) => return Err(error),
                Err(StepError::Lost(rejection, source)) => {
                    self.wait_after(rejection).await?;
                    self.source = source;
                }
            }
        }
    }

    /// Whether a message has something new. Remembers the position.
    fn is_new(&mut self, message: &WatchBatchResponse) -> bool {
        self.run_id.clone_from(&message.run_id);
        self.sequence = message.sequence;
        let is_new = match &message.event {
            Some(Event::Item(item)) => self.seen.insert(item.index),
            Some(Event::Ended(_) | Event::Heartbeat(_)) => true,
            // Of a later server.
            None => false,
        };
        // A server that sends heartbeats works on the batch, which may take as long as it takes.
        if is_new {
            self.progressed();
        }
        is_new
    }

    fn progressed(&mut self) {
        self.last_progress = Instant::now();
        self.delays = delays(&self.policy);
    }

    async fn step(&mut self) -> Result<Option<WatchBatchResponse>, StepError> {
        match &mut self.source {
            Source::Open(stream) => match timeout(self.policy.idle_timeout, stream.message()).await
            {
                Ok(Ok(Some(message))) => Ok(Some(message)),
                Ok(Ok(None)) => Err(lost("the stream ended before the batch")),
                Ok(Err(status)) => Err(StepError::of(Rejection::from(status), Source::Watch)),
                Err(_) => Err(lost("no message from the server within the idle timeout")),
            },
            Source::Watch => {
                match self.open_watch().await {
                    Ok(stream) => self.source = Source::Open(Box::new(stream)),
                    Err(StepError::Final(error))
                        if self.request.is_some() && is_unknown_batch(&error) =>
                    {
                        self.source = Source::Start;
                    }
                    Err(error) => return Err(error),
                }
                Ok(None)
            }
            Source::Start => {
                let batch = self.start().await?;
                names::check_batch(&batch, &self.name).map_err(StepError::Final)?;
                let missing = batch.items.iter().find(|item| item.state() == State::NotAccepted);
                let Some(missing) = missing else {
                    self.source = Source::Watch;
                    return Ok(None);
                };
                let count = batch.counts.unwrap_or_default().not_accepted;
                if count < self.missing {
                    self.missing = count;
                    self.progressed();
                }
                let (reason, message) = (missing.state_reason.clone(), missing.message.clone());
                let message = format!("{count} items were not accepted, one because {message}");
                let mut rejection = Rejection::connection_lost(message);
                rejection.reason = (!reason.is_empty()).then_some(reason);
                Err(StepError::Lost(rejection, Source::Start))
            }
        }
    }

    async fn start(&mut self) -> Result<Batch, StepError> {
        let request = self.request.clone().unwrap_or_default();
        let size_bytes = prost::Message::encoded_len(&request);
        if size_bytes > MAX_MESSAGE_BYTES {
            let limit_bytes = MAX_MESSAGE_BYTES;
            return Err(StepError::Final(ClientError::RequestTooLarge { size_bytes, limit_bytes }));
        }
        let upload_seconds = size_bytes / MIN_UPLOAD_BYTES_PER_SECOND;
        let count = u32::try_from(request.requests.len()).unwrap_or(u32::MAX);
        let limit = self.policy.idle_timeout
            + Duration::from_secs(upload_seconds as u64)
            + ACCEPT_TIME * count;
        let starting = self.service.call(|mut service: ApiClient| {
            let request = request.clone();
            async move { service.batch_start_exports(request).await }
        });
        match timeout(limit, starting).await {
            Ok(Ok(response)) => {
                let missing = ClientError::Protocol("BatchStartExports response without a batch");
                response.into_inner().batch.ok_or(StepError::Final(missing))
            }
            Ok(Err(error)) => Err(StepError::of_error(error, Source::Start)),
            Err(_) => {
                let message = "no response to BatchStartExports within the timeout";
                Err(StepError::Lost(Rejection::connection_lost(message), Source::Start))
            }
        }
    }

    async fn open_watch(&mut self) -> Result<Streaming<WatchBatchResponse>, StepError> {
        let (name, run_id) = (self.name.clone(), self.run_id.clone());
        let request = WatchBatchRequest { name, run_id, after_sequence: self.sequence };
        let watching = self.service.call(|mut service: ApiClient| {
            let request = request.clone();
            async move { service.watch_batch(request).await }
        });
        match timeout(self.policy.idle_timeout, watching).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(error)) => Err(StepError::of_error(error, Source::Watch)),
            Err(_) => Err(lost("no response to WatchBatch within the timeout")),
        }
    }

    /// Waits before the next attempt. Fails if the progress timeout would end before that.
    async fn wait_after(&mut self, rejection: Rejection) -> Result<(), ClientError> {
        let delay = self.delays.next().unwrap_or(self.policy.max_delay);
        let delay = delay.max(rejection.retry_delay.unwrap_or_default());
        let waited = self.last_progress.elapsed();
        if waited + delay > self.policy.progress_timeout {
            let (name, last) = (self.name.clone(), Box::new(rejection));
            return Err(ClientError::LostContact { name, waited, last });
        }
        sleep(delay).await;
        Ok(())
    }
}

/// A failed step.
enum StepError {
    /// The call was lost: continue with this.
    Lost(Rejection, Source),
    /// A retry cannot help.
    Final(ClientError),
}

impl StepError {
    fn of(rejection: Rejection, source: Source) -> Self {
        match rejection.is_unavailable() {
            true => Self::Lost(rejection, source),
            false => Self::Final(ClientError::Rejected(Box::new(rejection))),
        }
    }

    fn of_error(error: ClientError, source: Source) -> Self {
        match error {
            ClientError::Rejected(rejection) => Self::of(*rejection, source),
            error => Self::Final(error),
        }
    }
}

fn lost(message: &str) -> StepError {
    StepError::Lost(Rejection::connection_lost(message), Source::Watch)
}

fn is_unknown_batch(error: &ClientError) -> bool {
    error.code() == Some(Code::NotFound) && error.reason() == Some("BATCH_NOT_HERE")
}

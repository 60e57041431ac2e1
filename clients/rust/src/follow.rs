//! Follows an export until it ends, over one or more streams.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures::{Stream, StreamExt as _, stream, stream::BoxStream};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Streaming};
use uuid::Uuid;

use super::{ClientError, Rejection, check_size, connect::ApiClient, names, service::Service};
use crate::proto::{ExportEvent, StartExportRequest, WatchExportRequest, export_event::Event};

/// Timeouts and retry delays for lost streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowPolicy {
    /// The client stops following after this time without a new event of a run. Default: 2 minutes.
    pub progress_timeout: Duration,
    /// A stream without a message for this time counts as lost; servers send a heartbeat at least
    /// every 15 s. Default: 45 s.
    pub idle_timeout: Duration,
    /// The first delay before a reconnect. The delay doubles with each attempt. Default: 200 ms.
    pub min_delay: Duration,
    /// The longest delay before a reconnect. Default: 10 s.
    pub max_delay: Duration,
}

impl Default for FollowPolicy {
    fn default() -> Self {
        Self {
            progress_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(45),
            min_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(10),
        }
    }
}

/// A lost stream that the client opens again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconnect {
    /// Why the stream was lost, human-readable.
    pub message: String,
    /// The pause before the next attempt.
    pub delay: Duration,
}

/// Receives each [`Reconnect`] of a client's streams; see [`super::Client::on_reconnect`].
#[derive(Clone, Default)]
pub(super) struct Observer(pub(super) Option<Arc<dyn Fn(Reconnect) + Send + Sync>>);

impl std::fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}

/// The slowest supported upload: StartExport may take longer than the timeout by the time that its request
/// takes at this rate.
const MIN_UPLOAD_BYTES_PER_SECOND: usize = 32 * 1024;

/// The events of one export; see [`super::Client::export`].
pub struct EventStream {
    name: String,
    events: BoxStream<'static, Result<ExportEvent, ClientError>>,
}

impl EventStream {
    pub(super) fn start(
        service: Service,
        policy: FollowPolicy,
        observer: Observer,
        mut request: StartExportRequest,
    ) -> Self {
        if request.request_id.is_empty() {
            request.request_id = Uuid::new_v4().to_string();
        }
        let name = format!("exports/{}", request.request_id);
        Self::new(Follower::new(service, policy, observer, name, Some(request)))
    }

    pub(super) fn watch(
        service: Service,
        policy: FollowPolicy,
        observer: Observer,
        name: String,
    ) -> Self {
        Self::new(Follower::new(service, policy, observer, name, None))
    }

    fn new(follower: Follower) -> Self {
        let name = follower.name.clone();
        let events = stream::unfold(Some(follower), async |follower| {
            let mut follower = follower?;
            match follower.next().await {
                Ok(event) => {
                    let next = (!is_terminal(&event)).then_some(follower);
                    Some((Ok(event), next))
                }
                Err(error) => Some((Err(error), None)),
            }
        });
        Self { name, events: events.boxed() }
    }

    /// The export's name, exports/{export_id}.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Stream for EventStream {
    type Item = Result<ExportEvent, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(context)
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EventStream").field("name", &self.name).finish_non_exhaustive()
    }
}

fn is_terminal(event: &ExportEvent) -> bool {
    matches!(event.event, Some(Event::Completed(_) | Event::Failed(_)))
}

/// Whether the event belongs to a run or ends the export. A heartbeat without a run only shows that
/// the server is alive and polls the store for the bundle.
fn is_run_event(event: &ExportEvent) -> bool {
    !event.run_id.is_empty() || is_terminal(event)
}

/// How to get the next event.
enum Source {
    /// Send StartExport.
    Start,
    /// Send WatchExport.
    Watch,
    /// Read the open stream.
    Open(Box<Streaming<ExportEvent>>),
}

struct Follower {
    service: Service,
    policy: FollowPolicy,
    observer: Observer,
    name: String,
    /// Sent if the server does not know the export. `None` when only watching.
    request: Option<StartExportRequest>,
    source: Source,
    seen: SeenEvents,
    delays: ExponentialBackoff,
    /// The time of the last new event of a run, or of the start.
    last_progress: Instant,
    /// Whether the request was already sent again because the export seemed abandoned. This happens once.
    has_resent_request: bool,
}

impl Follower {
    fn new(
        service: Service,
        policy: FollowPolicy,
        observer: Observer,
        name: String,
        request: Option<StartExportRequest>,
    ) -> Self {
        let source = if request.is_some() { Source::Start } else { Source::Watch };
        let seen = SeenEvents::default();
        let (delays, last_progress) = (delays(&policy), Instant::now());
        Self {
            service,
            policy,
            observer,
            name,
            request,
            source,
            seen,
            delays,
            last_progress,
            has_resent_request: false,
        }
    }

    async fn next(&mut self) -> Result<ExportEvent, ClientError> {
        loop {
            let step = self.step().await;
            if let Ok(Some(event)) = &step {
                names::check_event(event, &self.name)?;
            }
            match step {
                Ok(Some(event)) if self.seen.is_new(&event) => {
                    if is_run_event(&event) {
                        self.last_progress = Instant::now();
                        self.delays = delays(&self.policy);
                    } else {
                        self.resend_request_if_abandoned();
                    }
                    return Ok(event);
                }
                Ok(_) => {}
                Err(StepError::Final(error)) => return Err(error),
                Err(StepError::Lost(rejection)) => {
                    self.wait_after(rejection).await?;
                    self.source = Source::Watch;
                }
            }
        }
    }

    /// The server follows the export through the store and cannot see whether another replica is
    /// working on it. Sends the request again after the progress timeout, so that this server
    /// finishes the export.
    fn resend_request_if_abandoned(&mut self) {
        let is_abandoned = self.last_progress.elapsed() > self.policy.progress_timeout;
        if is_abandoned && self.request.is_some() && !self.has_resent_request {
            self.has_resent_request = true;
            self.last_progress = Instant::now();
            self.source = Source::Start;
        }
    }

    /// Opens a stream, or reads an event of the open stream.
    async fn step(&mut self) -> Result<Option<ExportEvent>, StepError> {
        match &mut self.source {
            Source::Open(stream) => match timeout(self.policy.idle_timeout, stream.message()).await
            {
                Ok(Ok(Some(event))) => Ok(Some(event)),
                Ok(Ok(None)) => Err(connection_lost("the stream ended before the export")),
                Ok(Err(status)) => Err(Rejection::from(status).into()),
                Err(_) => {
                    Err(connection_lost("no message from the server within the idle timeout"))
                }
            },
            Source::Watch => {
                match self.open_watch().await {
                    Ok(stream) => self.source = Source::Open(Box::new(stream)),
                    Err(StepError::Final(error))
                        if self.request.is_some() && is_unknown_export(&error) =>
                    {
                        self.source = Source::Start;
                    }
                    Err(error) => return Err(error),
                }
                Ok(None)
            }
            Source::Start => {
                self.source = Source::Open(Box::new(self.open_start().await?));
                Ok(None)
            }
        }
    }

    async fn open_start(&mut self) -> Result<Streaming<ExportEvent>, StepError> {
        let request = self.request.clone().unwrap_or_default();
        check_size(&request).map_err(StepError::Final)?;
        let size_bytes = prost::Message::encoded_len(&request);
        let upload_seconds = size_bytes / MIN_UPLOAD_BYTES_PER_SECOND;
        let limit = self.policy.progress_timeout.max(self.policy.idle_timeout)
            + Duration::from_secs(upload_seconds as u64);
        let starting = self.service.call(|mut service: ApiClient| {
            let request = request.clone();
            async move { service.start_export(request).await }
        });
        match timeout(limit, starting).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            // Not accepted: the store is down, and the caller allowed no fallback.
            Ok(Err(error)) if error.reason() == Some("STORE_UNAVAILABLE") => {
                Err(StepError::Final(error))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(connection_lost("no response to StartExport within the timeout")),
        }
    }

    async fn open_watch(&mut self) -> Result<Streaming<ExportEvent>, StepError> {
        let (run_id, after_sequence) = self.seen.position();
        let request = WatchExportRequest { name: self.name.clone(), run_id, after_sequence };
        let watching = self.service.call(|mut service: ApiClient| {
            let request = request.clone();
            async move { service.watch_export(request).await }
        });
        match timeout(self.policy.idle_timeout, watching).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(connection_lost("no response to WatchExport within the timeout")),
        }
    }

    /// Waits before the next attempt. Fails if the progress timeout would end before that.
    async fn wait_after(&mut self, rejection: Rejection) -> Result<(), ClientError> {
        let delay = self.delays.next().unwrap_or(self.policy.max_delay);
        let delay = delay.max(rejection.retry_delay.unwrap_or_default());
        let waited = self.last_progress.elapsed();
        if waited + delay > self.policy.progress_timeout {
            return Err(ClientError::LostContact {
                name: self.name.clone(),
                waited,
                last: Box::new(rejection),
            });
        }
        if let Some(observe) = &self.observer.0 {
            observe(Reconnect { message: rejection.to_string(), delay });
        }
        sleep(delay).await;
        Ok(())
    }
}

/// A failed step.
enum StepError {
    /// The call was lost: reconnect.
    Lost(Rejection),
    /// A retry cannot help.
    Final(ClientError),
}

impl From<ClientError> for StepError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Rejected(rejection) => (*rejection).into(),
            error => Self::Final(error),
        }
    }
}

impl From<Rejection> for StepError {
    fn from(rejection: Rejection) -> Self {
        if rejection.is_unavailable() {
            Self::Lost(rejection)
        } else {
            Self::Final(ClientError::Rejected(Box::new(rejection)))
        }
    }
}

fn connection_lost(message: &str) -> StepError {
    StepError::Lost(Rejection::connection_lost(message))
}

fn is_unknown_export(error: &ClientError) -> bool {
    error.code() == Some(Code::NotFound) && error.reason() == Some("EXPORT_NOT_HERE")
}

pub(super) fn delays(policy: &FollowPolicy) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(policy.min_delay)
        .with_max_delay(policy.max_delay)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Tracks the events that were seen, so that none is yielded twice.
#[derive(Default)]
struct SeenEvents {
    /// The run of the last numbered event.
    run_id: String,
    /// The highest sequence number per run: a server may return to an older run.
    last_by_run: HashMap<String, i64>,
}

impl SeenEvents {
    /// Whether the event is new. Marks it as seen.
    fn is_new(&mut self, event: &ExportEvent) -> bool {
        if is_terminal(event) {
            // It ends the stream, so it cannot repeat. If the export ended before the call, it
            // belongs to no run.
            return true;
        }
        if matches!(event.event, Some(Event::ArtifactProgress(_) | Event::Heartbeat(_))) {
            // These repeat the last sequence number.
            let last = self.last_by_run.get(&event.run_id).copied().unwrap_or_default();
            return event.sequence >= last;
        }
        self.run_id.clone_from(&event.run_id);
        let last = self.last_by_run.entry(event.run_id.clone()).or_default();
        let is_new = event.sequence > *last;
        *last = event.sequence.max(*last);
        is_new
    }

    /// The run to resume, and its last seen event.
    fn position(&self) -> (String, i64) {
        let last = self.last_by_run.get(&self.run_id).copied().unwrap_or_default();
        (self.run_id.clone(), last)
    }
}

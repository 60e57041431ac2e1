//! Following an export to its end, over as many streams as that takes.

use std::{
    collections::HashMap,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures::{Stream, StreamExt as _, stream, stream::BoxStream};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Streaming};
use uuid::Uuid;

use super::{ClientError, Rejection, check_size, connect::ApiClient, names};
use crate::proto::{ExportEvent, StartExportRequest, WatchExportRequest, export_event::Event};

/// How patiently an export is followed when its stream is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowPolicy {
    /// Give up after this long without a new event of a run. Default: 2 minutes.
    pub patience: Duration,
    /// Take a stream for lost when it says nothing for this long; servers send a heartbeat at least
    /// every 15 s. Default: 45 s.
    pub silence: Duration,
    /// The first wait before attaching again; each further one is about twice as long. Default:
    /// 200 ms.
    pub min_delay: Duration,
    /// The longest such wait. Default: 10 s.
    pub max_delay: Duration,
}

impl Default for FollowPolicy {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(120),
            silence: Duration::from_secs(45),
            min_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(10),
        }
    }
}

/// The slowest upload that is waited for: beyond the patience for a lost stream, a request may take a
/// second for each of these bytes until the server answers.
const SLOWEST_UPLOAD_BYTES_PER_SECOND: usize = 32 * 1024;

/// The events of one export; see [`super::Client::export`].
pub struct EventStream {
    name: String,
    events: BoxStream<'static, Result<ExportEvent, ClientError>>,
}

impl EventStream {
    pub(super) fn start(
        service: ApiClient,
        policy: FollowPolicy,
        mut request: StartExportRequest,
    ) -> Self {
        if request.request_id.is_empty() {
            request.request_id = Uuid::new_v4().to_string();
        }
        let name = format!("exports/{}", request.request_id);
        Self::new(Follower::new(service, policy, name, Some(request)))
    }

    pub(super) fn watch(service: ApiClient, policy: FollowPolicy, name: String) -> Self {
        Self::new(Follower::new(service, policy, name, None))
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

/// Whether a run sent the event, or ended. A heartbeat without a run only says that the server,
/// which looks for the bundle in the store, is alive.
fn is_of_a_run(event: &ExportEvent) -> bool {
    !event.run_id.is_empty() || is_terminal(event)
}

/// What to do to get the next event.
enum Link {
    /// Send the request.
    Start,
    /// Attach to what the server knows.
    Watch,
    /// Read on.
    Open(Box<Streaming<ExportEvent>>),
}

struct Follower {
    service: ApiClient,
    policy: FollowPolicy,
    name: String,
    /// What to send where nothing is known of the export; absent when only watching.
    request: Option<StartExportRequest>,
    link: Link,
    seen: SeenEvents,
    delays: ExponentialBackoff,
    /// When the last new event came, or following began.
    last_progress: Instant,
    /// Whether the request was sent again because nobody seemed to work on it. Once is enough.
    has_started_again: bool,
}

impl Follower {
    fn new(
        service: ApiClient,
        policy: FollowPolicy,
        name: String,
        request: Option<StartExportRequest>,
    ) -> Self {
        let link = if request.is_some() { Link::Start } else { Link::Watch };
        let seen = SeenEvents::default();
        let (delays, last_progress) = (delays(&policy), Instant::now());
        Self {
            service,
            policy,
            name,
            request,
            link,
            seen,
            delays,
            last_progress,
            has_started_again: false,
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
                    if is_of_a_run(&event) {
                        self.last_progress = Instant::now();
                        self.delays = delays(&self.policy);
                    } else {
                        self.start_again_if_abandoned();
                    }
                    return Ok(event);
                }
                Ok(_) => {}
                Err(StepError::Final(error)) => return Err(error),
                Err(StepError::Lost(rejection)) => {
                    self.wait_after(rejection).await?;
                    self.link = Link::Watch;
                }
            }
        }
    }

    /// The server follows the export through the store and can't see whether anybody works on it.
    /// When nobody finishes it for so long, sending the request again lets this server finish it.
    fn start_again_if_abandoned(&mut self) {
        let is_abandoned = self.last_progress.elapsed() > self.policy.patience;
        if is_abandoned && self.request.is_some() && !self.has_started_again {
            self.has_started_again = true;
            self.last_progress = Instant::now();
            self.link = Link::Start;
        }
    }

    /// Opens a stream or reads an event of the open one.
    async fn step(&mut self) -> Result<Option<ExportEvent>, StepError> {
        match &mut self.link {
            Link::Open(stream) => match timeout(self.policy.silence, stream.message()).await {
                Ok(Ok(Some(event))) => Ok(Some(event)),
                Ok(Ok(None)) => Err(lost("the stream ended before the export did")),
                Ok(Err(status)) => Err(Rejection::from(status).into()),
                Err(_) => Err(lost("the server said nothing for too long")),
            },
            Link::Watch => {
                match self.open_watch().await {
                    Ok(stream) => self.link = Link::Open(Box::new(stream)),
                    Err(StepError::Final(error))
                        if self.request.is_some() && is_not_here(&error) =>
                    {
                        self.link = Link::Start;
                    }
                    Err(error) => return Err(error),
                }
                Ok(None)
            }
            Link::Start => {
                self.link = Link::Open(Box::new(self.open_start().await?));
                Ok(None)
            }
        }
    }

    async fn open_start(&mut self) -> Result<Streaming<ExportEvent>, StepError> {
        let request = self.request.clone().unwrap_or_default();
        check_size(&request).map_err(StepError::Final)?;
        let size_bytes = prost::Message::encoded_len(&request);
        let upload_seconds = size_bytes / SLOWEST_UPLOAD_BYTES_PER_SECOND;
        let limit = self.policy.patience.max(self.policy.silence)
            + Duration::from_secs(upload_seconds as u64);
        match timeout(limit, self.service.start_export(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(match Rejection::from(status) {
                // Not accepted: the store is down, and the caller did not want another.
                rejection if rejection.reason.as_deref() == Some("STORE_UNAVAILABLE") => {
                    StepError::Final(ClientError::Rejected(Box::new(rejection)))
                }
                rejection => rejection.into(),
            }),
            Err(_) => Err(lost("the server did not answer StartExport")),
        }
    }

    async fn open_watch(&mut self) -> Result<Streaming<ExportEvent>, StepError> {
        let (run_id, after_sequence) = self.seen.position();
        let request = WatchExportRequest { name: self.name.clone(), run_id, after_sequence };
        match timeout(self.policy.silence, self.service.watch_export(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Rejection::from(status).into()),
            Err(_) => Err(lost("the server did not answer WatchExport")),
        }
    }

    /// Waits before the next attempt, or gives up when patience ends before that.
    async fn wait_after(&mut self, rejection: Rejection) -> Result<(), ClientError> {
        let delay = self.delays.next().unwrap_or(self.policy.max_delay);
        let delay = delay.max(rejection.retry_delay.unwrap_or_default());
        let waited = self.last_progress.elapsed();
        if waited + delay > self.policy.patience {
            return Err(ClientError::LostContact {
                name: self.name.clone(),
                waited,
                last: Box::new(rejection),
            });
        }
        sleep(delay).await;
        Ok(())
    }
}

/// Why a step gave no event.
enum StepError {
    /// The call was lost: attach again.
    Lost(Rejection),
    /// Trying again would not help.
    Final(ClientError),
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

fn lost(message: &str) -> StepError {
    StepError::Lost(Rejection::lost(message))
}

fn is_not_here(error: &ClientError) -> bool {
    error.code() == Some(Code::NotFound) && error.reason() == Some("EXPORT_NOT_HERE")
}

fn delays(policy: &FollowPolicy) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(policy.min_delay)
        .with_max_delay(policy.max_delay)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Which events were seen, so that none is yielded twice.
#[derive(Default)]
struct SeenEvents {
    /// The run of the last numbered event.
    run_id: String,
    /// The highest number seen, by run: a server may go back to an older run.
    last_by_run: HashMap<String, i64>,
}

impl SeenEvents {
    /// Whether the event was not seen before; from then on it was.
    fn is_new(&mut self, event: &ExportEvent) -> bool {
        if is_terminal(event) {
            // Ends the stream, so it can't come twice. Of an export that had ended before the call
            // it belongs to no run.
            return true;
        }
        if matches!(event.event, Some(Event::ArtifactProgress(_) | Event::Heartbeat(_))) {
            // These repeat the last number.
            let last = self.last_by_run.get(&event.run_id).copied().unwrap_or_default();
            return event.sequence >= last;
        }
        self.run_id.clone_from(&event.run_id);
        let last = self.last_by_run.entry(event.run_id.clone()).or_default();
        let is_new = event.sequence > *last;
        *last = event.sequence.max(*last);
        is_new
    }

    /// The run to attach to, and its last event seen.
    fn position(&self) -> (String, i64) {
        let last = self.last_by_run.get(&self.run_id).copied().unwrap_or_default();
        (self.run_id.clone(), last)
    }
}

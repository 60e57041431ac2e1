//! Streams an export's events: from a run in this process, or by polling the store.

use std::{pin::pin, sync::Arc, time::Duration};

use chrono::Utc;
use futures::stream;
use tara_export_bundle::ExportId;
use tara_export_catalog::{Catalog, ReadError};
use tara_export_clock::Clock;
use tokio::time::{self, Instant};
use tonic::Status;

use super::{
    convert::{completed_event, event_message, failed_event},
    download::ResponseStream,
    failures::read_failed,
    status::{failure_status, stream_ended_early},
};
use crate::{
    export::{Engine, EventKind, Next, Subscription, journal::FailedExport},
    proto::{self, ExportEvent},
};

/// Interval of checks in the store.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How long an export is followed through the store. It is possible that no replica works on it.
const POLL_LIMIT: Duration = Duration::from_secs(600);

/// Streams the events of a run of this process until it ends.
pub(super) fn run_stream(
    subscription: Subscription,
    replica: Arc<str>,
) -> ResponseStream<ExportEvent> {
    enum State {
        Subscribed(Box<Subscription>),
        Failing(Status),
        Done,
    }
    let states = stream::unfold(State::Subscribed(Box::new(subscription)), move |state| {
        let replica = replica.clone();
        async move {
            let mut subscription = match state {
                State::Subscribed(subscription) => subscription,
                State::Failing(status) => return Some((Err(status), State::Done)),
                State::Done => return None,
            };
            match subscription.next().await {
                Next::Event(event) => {
                    let run = subscription.run();
                    let message = event_message(run.export_id(), run.run_id(), &event, &replica);
                    let state = match &event.kind {
                        // A failure is reported both as an event and as the stream's status.
                        EventKind::Failed { failure, .. } => {
                            State::Failing(failure_status(failure.reason, &failure.message))
                        }
                        EventKind::Completed(_) => State::Done,
                        _ => State::Subscribed(subscription),
                    };
                    Some((Ok(message), state))
                }
                Next::Ended => None,
                Next::EndedEarly => Some((
                    Err(stream_ended_early("the server is shutting down: watch the export again")),
                    State::Done,
                )),
            }
        }
    });
    Box::pin(states)
}

/// Streams the only event of an export that ended before the call.
pub(super) fn ended_stream(message: ExportEvent) -> ResponseStream<ExportEvent> {
    Box::pin(stream::iter([Ok(message)]))
}

/// Streams the failure of an export that failed before the call.
pub(super) fn failed_stream(failure: &FailedExport, replica: &str) -> ResponseStream<ExportEvent> {
    let message = failed_event(failure, replica);
    let status = failure_status(failure.failure().reason, &failure.failure().message);
    Box::pin(stream::iter([Ok(message), Err(status)]))
}

/// Follows an export by polling the store.
pub(super) struct StoreFollower {
    pub export_id: ExportId,
    pub catalog: Catalog,
    pub engine: Engine,
    pub clock: Arc<dyn Clock>,
    pub replica: Arc<str>,
}

impl StoreFollower {
    /// Streams heartbeats until the bundle is committed.
    pub(super) fn stream(self) -> ResponseStream<ExportEvent> {
        let deadline = Instant::now() + POLL_LIMIT;
        let states = stream::unfold((Some(self), deadline), |(follower, deadline)| async move {
            let follower = follower?;
            let next = follower.next(deadline).await;
            let continues = matches!(&next, Ok(message) if is_heartbeat(message));
            Some((next, (continues.then_some(follower), deadline)))
        });
        Box::pin(states)
    }

    async fn next(&self, deadline: Instant) -> Result<ExportEvent, Status> {
        let shutdown = self.engine.ending();
        let mut heartbeat = pin!(time::sleep(self.engine.heartbeat_interval()));
        loop {
            if let Some(bundle) =
                self.catalog.find(self.export_id).await.or_else(retry_if_unavailable)?
            {
                return Ok(completed_event(&bundle.export(), self.clock.now(), &self.replica));
            }
            if Instant::now() >= deadline {
                let message = "the export is not finished yet: watch it again, or send StartExport again with the \
                               same request_id";
                return Err(stream_ended_early(message));
            }
            tokio::select! {
                () = time::sleep(POLL_INTERVAL) => {}
                () = &mut heartbeat => return Ok(self.heartbeat()),
                () = shutdown.cancelled() => {
                    return Err(stream_ended_early("the server is shutting down: watch the export again"));
                }
            }
        }
    }

    fn heartbeat(&self) -> ExportEvent {
        let now: chrono::DateTime<Utc> = self.clock.now();
        ExportEvent {
            name: format!("exports/{}", self.export_id),
            run_id: String::new(),
            sequence: 0,
            event_time: Some(prost_types::Timestamp { seconds: now.timestamp(), nanos: 0 }),
            progress: None,
            event: Some(proto::export_event::Event::Heartbeat(proto::Heartbeat {})),
        }
    }
}

/// `None` if the store is temporarily unavailable, so that the follower keeps polling.
fn retry_if_unavailable<T>(error: ReadError) -> Result<Option<T>, Status> {
    match error {
        ReadError::Store(error) if error.is_transient() => Ok(None),
        error => Err(read_failed(error)),
    }
}

fn is_heartbeat(message: &ExportEvent) -> bool {
    matches!(message.event, Some(proto::export_event::Event::Heartbeat(_)))
}

//! Streams of an export's events: of a run in this process, or through the store.

use std::{pin::pin, sync::Arc, time::Duration};

use chrono::Utc;
use futures::stream;
use tokio::time::{self, Instant};
use tonic::Status;

use super::{
    convert::{completed_event, event_message, failed_event},
    download::ResponseStream,
    status::{failed, stream_ended_early},
};
use crate::{
    bundle::ExportId,
    catalog::{Catalog, ReadError},
    clock::Clock,
    export::{Engine, EventKind, Next, Subscription, journal::FailedExport},
    proto::{self, ExportEvent},
};

/// Pause between two looks into the store.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How long an export is followed through the store that nobody may be working on.
const POLL_LIMIT: Duration = Duration::from_secs(600);

/// The events of a run of this process, to its end.
pub(super) fn run_stream(
    subscription: Subscription,
    replica: Arc<str>,
) -> ResponseStream<ExportEvent> {
    enum State {
        Listening(Box<Subscription>),
        Failing(Status),
        Done,
    }
    let states = stream::unfold(State::Listening(Box::new(subscription)), move |state| {
        let replica = replica.clone();
        async move {
            let mut subscription = match state {
                State::Listening(subscription) => subscription,
                State::Failing(status) => return Some((Err(status), State::Done)),
                State::Done => return None,
            };
            match subscription.next().await {
                Next::Event(event) => {
                    let run = subscription.run();
                    let message = event_message(run.export_id(), run.run_id(), &event, &replica);
                    let state = match &event.kind {
                        // A failure is told twice: as an event, and as the stream's status.
                        EventKind::Failed { reason, message, .. } => {
                            State::Failing(failed(*reason, message))
                        }
                        EventKind::Completed(_) => State::Done,
                        _ => State::Listening(subscription),
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

/// The only event of an export that ended before the call.
pub(super) fn ended_stream(message: ExportEvent) -> ResponseStream<ExportEvent> {
    Box::pin(stream::iter([Ok(message)]))
}

/// The end of an export that failed before the call.
pub(super) fn failed_stream(failure: &FailedExport, replica: &str) -> ResponseStream<ExportEvent> {
    let message = failed_event(failure, replica);
    let status = failed(failure.reason(), failure.message());
    Box::pin(stream::iter([Ok(message), Err(status)]))
}

/// What somebody needs who follows an export through the store.
pub(super) struct StoreFollower {
    pub export_id: ExportId,
    pub catalog: Catalog,
    pub engine: Engine,
    pub clock: Arc<dyn Clock>,
    pub replica: Arc<str>,
}

impl StoreFollower {
    /// Heartbeats until the bundle's manifest is there.
    pub(super) fn stream(self) -> ResponseStream<ExportEvent> {
        let until = Instant::now() + POLL_LIMIT;
        let states = stream::unfold((Some(self), until), |(follower, until)| async move {
            let follower = follower?;
            let next = follower.next(until).await;
            let goes_on = matches!(&next, Ok(message) if is_heartbeat(message));
            Some((next, (goes_on.then_some(follower), until)))
        });
        Box::pin(states)
    }

    async fn next(&self, until: Instant) -> Result<ExportEvent, Status> {
        let ending = self.engine.ending();
        let mut heartbeat = pin!(time::sleep(self.engine.heartbeat_interval()));
        loop {
            if let Some(bundle) = self.catalog.find(self.export_id).await.or_else(unless_down)? {
                return Ok(completed_event(&bundle.export(), self.clock.now(), &self.replica));
            }
            if Instant::now() >= until {
                let message = "no replica has finished this export yet: watch it again, or send StartExport again \
                               with the same request_id";
                return Err(stream_ended_early(message));
            }
            tokio::select! {
                () = time::sleep(POLL_INTERVAL) => {}
                () = &mut heartbeat => return Ok(self.heartbeat()),
                () = ending.cancelled() => {
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

/// While a store does not answer, the follower waits.
fn unless_down<T>(error: ReadError) -> Result<Option<T>, Status> {
    match error {
        ReadError::Store(error) if error.is_transient() => Ok(None),
        error => Err(error.into()),
    }
}

fn is_heartbeat(message: &ExportEvent) -> bool {
    matches!(message.event, Some(proto::export_event::Event::Heartbeat(_)))
}

//! Subscriptions: read a run's events from any position, at any speed.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    Run,
    events::{Event, EventKind},
};

/// Progress is collected for this long before subscribers are woken again: a small export has dozens of events within
/// milliseconds, and each delivery costs a system call and two wake-ups. Milestones are delivered at once.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(20);

/// A subscriber's position in a run's event log.
#[derive(Debug)]
pub struct Subscription {
    run: Arc<Run>,
    /// Number of events that the subscriber has received.
    seen: usize,
    /// Number of the last artifact progress that the subscriber has received.
    seen_live: u64,
    changes: watch::Receiver<Instant>,
    milestones: watch::Receiver<()>,
    /// Until then, only milestones wake the subscriber.
    collecting_until: Instant,
    heartbeat_interval: Duration,
    ending: CancellationToken,
}

/// The next item of a subscription.
#[derive(Debug)]
pub enum Next {
    /// An event.
    Event(Arc<Event>),
    /// The run has ended, and the subscriber has received all events.
    Ended,
    /// The server ends the subscription before the run ends: the client must watch again.
    EndedEarly,
}

impl Subscription {
    /// A subscription to the events after the first `seen`.
    pub(in crate::export) fn new(
        run: Arc<Run>,
        seen: u64,
        heartbeat_interval: Duration,
        ending: CancellationToken,
    ) -> Self {
        let (changes, milestones) = (run.changes.subscribe(), run.milestones.subscribe());
        let (seen, seen_live) = {
            let state = run.lock();
            // A number beyond the last event must not skip future events. A subscriber that has received
            // everything receives the terminal event again, because it contains the outcome.
            let last = state.log.len() - usize::from(state.end().is_some());
            let seen = usize::try_from(seen).unwrap_or(usize::MAX).min(last);
            (seen, state.log.live_number())
        };
        Self {
            run,
            seen,
            seen_live,
            changes,
            milestones,
            collecting_until: Instant::now(),
            heartbeat_interval,
            ending,
        }
    }

    /// The run whose events the subscription receives.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Waits for the next event. Returns a heartbeat if there is none within the heartbeat interval.
    pub async fn next(&mut self) -> Next {
        let heartbeat_at = Instant::now() + self.heartbeat_interval;
        loop {
            self.changes.mark_unchanged();
            self.milestones.mark_unchanged();
            if let Some(next) = self.ready() {
                return next;
            }
            let changed = async {
                time::sleep_until(self.collecting_until).await;
                // Fails never: the run owns the sender.
                let _ = self.changes.changed().await;
            };
            tokio::select! {
                _ = self.milestones.changed() => {}
                () = changed => self.collecting_until = Instant::now() + PROGRESS_INTERVAL,
                () = self.ending.cancelled() => return Next::EndedEarly,
                () = time::sleep_until(heartbeat_at) => return self.heartbeat(),
            }
        }
    }

    fn ready(&mut self) -> Option<Next> {
        let state = self.run.lock();
        if let Some(event) = state.log.after(self.seen) {
            self.seen += 1;
            return Some(Next::Event(event));
        }
        if state.has_ended() {
            return Some(Next::Ended);
        }
        let (number, event) = state.log.live_after(self.seen_live)?;
        self.seen_live = number;
        // Progress from before the last received event would arrive out of order.
        let is_in_order = event.sequence >= self.seen as u64;
        is_in_order.then_some(Next::Event(event))
    }

    fn heartbeat(&self) -> Next {
        let state = self.run.lock();
        let heartbeat =
            state.log.transient(self.run.clock.now(), state.progress, EventKind::Heartbeat);
        Next::Event(Arc::new(heartbeat))
    }
}

//! What happens in one run of an export, kept for everybody who listens now or later.
//!
//! There is one log a run, and a listener is a place in it: a slow one costs nothing, and nobody
//! misses an event.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{FailureReason, StartError, tally::Tally};
use crate::{
    bundle::{AcceptedTime, ContentDigest, ExportId},
    catalog::{Export, ExportState},
    clock::Clock,
    digest::Sha256,
};

/// Something that happened to an export.
#[derive(Debug, Clone)]
pub struct Event {
    /// Gapless from 1 within a run; artifact progress and heartbeats repeat the last number.
    pub sequence: u64,
    /// When.
    pub time: DateTime<Utc>,
    /// How far the export was then.
    pub progress: Progress,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// The request was accepted; always the first.
    Accepted {
        /// When.
        accepted_time: AcceptedTime,
        /// Whether an earlier run had accepted it.
        resumed: bool,
        /// What the accepted request survives.
        durability: Durability,
    },
    /// An artifact's first byte is about to be sent.
    ArtifactStarted(ArtifactUpdate),
    /// More of it was sent. Not kept.
    ArtifactProgress(ArtifactUpdate),
    /// An attempt failed and will be repeated.
    ArtifactRetrying(ArtifactUpdate),
    /// The store confirmed it.
    ArtifactStored(ArtifactUpdate),
    /// The bundle goes to the local store, whole.
    FellBack {
        /// Why, in one word.
        reason: FailureReason,
        /// Why, for a person.
        message: String,
    },
    /// Nothing happened. Not kept.
    Heartbeat,
    /// The bundle is committed; terminal.
    Completed(Box<Export>),
    /// There will be no bundle under this id; terminal.
    Failed {
        /// Why, in one word.
        reason: FailureReason,
        /// Why, for a person, and what to do.
        message: String,
        /// The export under which the content was kept.
        kept_as: Option<ExportId>,
    },
}

impl EventKind {
    /// Whether this ends a run.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed(_) | Self::Failed { .. })
    }
}

/// What an accepted request survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of this process: the request is in its journal.
    LocalDisk,
    /// The loss of this machine: the request is in the store.
    Store,
}

/// News of one artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactUpdate {
    /// Its path within the folder.
    pub path: String,
    /// Bytes sent in this attempt.
    pub bytes_done: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its digest, once stored.
    pub sha256: Option<Sha256>,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Why the attempt before failed.
    pub reason: String,
}

/// How far an export is in the store it is being written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Files the store confirmed, the manifest included.
    pub artifacts_done: u32,
    /// Files there will be, the manifest included.
    pub artifacts_total: u32,
    /// Bytes of confirmed artifacts.
    pub bytes_done: u64,
    /// Bytes of all artifacts, the manifest not counted.
    pub bytes_total: u64,
}

/// One process's work on one export, as others see it.
pub struct Run {
    export_id: ExportId,
    run_id: Uuid,
    content_digest: ContentDigest,
    clock: Arc<dyn Clock>,
    /// Where it is counted, from its acceptance on.
    tally: Arc<Tally>,
    state: Mutex<State>,
    /// Store operations that failed and were repeated.
    retries: AtomicU32,
    /// Counts changes of the state, for those who wait.
    changes: watch::Sender<u64>,
}

struct State {
    export: Export,
    events: Vec<Arc<Event>>,
    progress: Progress,
    /// The newest artifact progress, with a number that tells it from older ones.
    live: Option<(u64, Arc<Event>)>,
    acceptance: Acceptance,
    /// Whether the tally has it.
    is_counted: bool,
}

enum Acceptance {
    Open,
    Accepted,
    Refused(StartError),
}

impl Run {
    pub(super) fn new(
        export: Export,
        content_digest: ContentDigest,
        clock: Arc<dyn Clock>,
        tally: Arc<Tally>,
    ) -> Self {
        let run_id = clock.new_id();
        let state = State {
            export,
            events: Vec::new(),
            progress: Progress::default(),
            live: None,
            acceptance: Acceptance::Open,
            is_counted: false,
        };
        Self {
            export_id: state.export.export_id,
            run_id,
            content_digest,
            clock,
            tally,
            state: Mutex::new(state),
            retries: AtomicU32::new(0),
            changes: watch::Sender::new(0),
        }
    }

    /// A run that nobody hears of and that counts nowhere, for work on an export whose own run has
    /// ended.
    pub(super) fn unheard(
        export: Export,
        content_digest: ContentDigest,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Self> {
        let accepted_time = export.accepted_time;
        let run = Self::new(export, content_digest, clock.clone(), Arc::default());
        run.resume(accepted_time, Durability::LocalDisk);
        Arc::new(run)
    }

    /// The export.
    pub fn export_id(&self) -> ExportId {
        self.export_id
    }

    /// This run's id.
    pub fn run_id(&self) -> Uuid {
        self.run_id
    }

    /// The digest of what was asked for.
    pub fn content_digest(&self) -> ContentDigest {
        self.content_digest
    }

    /// The export as it is now.
    pub fn export(&self) -> Export {
        self.lock().export.clone()
    }

    /// The export as it is now, if it was accepted and no store has its bundle.
    pub fn export_without_bundle(&self) -> Option<Export> {
        let state = self.lock();
        let accepted = matches!(state.acceptance, Acceptance::Accepted);
        (accepted && state.export.stored_in.is_none()).then(|| state.export.clone())
    }

    /// Since when it is not where it was asked for, while that is being worked on.
    pub(super) fn unfinished_since(&self) -> Option<AcceptedTime> {
        let state = self.lock();
        let is_unfinished = matches!(state.acceptance, Acceptance::Accepted)
            && matches!(state.export.state, ExportState::Running | ExportState::Pending);
        is_unfinished.then_some(state.export.accepted_time)
    }

    /// Tells of everything that happens.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether the run has ended.
    pub fn has_ended(&self) -> bool {
        let state = self.lock();
        matches!(state.acceptance, Acceptance::Refused(_)) || state.last_is_terminal()
    }

    /// Whether it ended with its content kept under another id, since its own is another export's.
    pub(super) fn is_kept_elsewhere(&self) -> bool {
        let state = self.lock();
        let last = state.events.last().map(|event| &event.kind);
        matches!(last, Some(EventKind::Failed { kept_as: Some(_), .. }))
    }

    /// Waits until the request was accepted or refused.
    pub(super) async fn acceptance(&self) -> Result<(), StartError> {
        let mut changes = self.changes.subscribe();
        loop {
            match &self.lock().acceptance {
                Acceptance::Accepted => return Ok(()),
                Acceptance::Refused(error) => return Err(error.clone()),
                Acceptance::Open => {}
            }
            // The sender lives in self.
            let _ = changes.changed().await;
        }
    }

    /// Whether `accepted` was sent.
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self.lock().acceptance, Acceptance::Accepted)
    }

    /// Says that the request is accepted, unless that was said.
    pub(super) fn accept(&self, accepted_time: AcceptedTime, durability: Durability) {
        self.accept_as(accepted_time, durability, false, true);
    }

    /// Says that an earlier process accepted the request.
    pub(super) fn resume(&self, accepted_time: AcceptedTime, durability: Durability) {
        self.accept_as(accepted_time, durability, true, true);
    }

    /// Says that the request was accepted and has ended before: it counts no second time.
    pub(super) fn repeat(&self, accepted_time: AcceptedTime) {
        self.accept_as(accepted_time, Durability::LocalDisk, false, false);
    }

    fn accept_as(
        &self,
        accepted_time: AcceptedTime,
        durability: Durability,
        resumed: bool,
        counts: bool,
    ) {
        {
            let mut state = self.lock();
            if !matches!(state.acceptance, Acceptance::Open) {
                return;
            }
            state.acceptance = Acceptance::Accepted;
            state.is_counted = counts;
            if counts {
                self.tally.add(state.export.state);
            }
        }
        self.publish(EventKind::Accepted { accepted_time, resumed, durability });
    }

    pub(super) fn refuse(&self, error: StartError) {
        self.lock().acceptance = Acceptance::Refused(error);
        self.notify();
    }

    /// Ends the run without a bundle.
    pub(super) fn fail(&self, reason: FailureReason, message: String, kept_as: Option<ExportId>) {
        self.update(|export| {
            export.state = ExportState::Failed;
            export.state_reason = reason.to_string();
        });
        self.publish(EventKind::Failed { reason, message, kept_as });
    }

    /// Changes the export as others see it.
    pub(super) fn update(&self, change: impl FnOnce(&mut Export)) {
        let mut state = self.lock();
        let before = state.export.state;
        change(&mut state.export);
        if state.is_counted && before != state.export.state {
            self.tally.change(before, state.export.state);
        }
    }

    /// Whether an earlier process accepted the export.
    pub(super) fn is_resumed(&self) -> bool {
        let state = self.lock();
        let first = state.events.first().map(|event| &event.kind);
        matches!(first, Some(EventKind::Accepted { resumed: true, .. }))
    }

    /// Whether it is counted: not where it repeats how an earlier one ended.
    pub(super) fn counts(&self) -> bool {
        self.lock().is_counted
    }

    /// A store operation failed and is repeated.
    pub(super) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// How many did so far.
    pub(super) fn retries(&self) -> u32 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Whether the fallback was told.
    pub(super) fn has_told_fallback(&self) -> bool {
        let state = self.lock();
        state.events.iter().any(|event| matches!(event.kind, EventKind::FellBack { .. }))
    }

    /// Starts counting anew, for the store that is written to now.
    pub(super) fn reset_progress(&self, artifacts_total: u32, bytes_total: u64) {
        self.lock().progress = Progress { artifacts_total, bytes_total, ..Progress::default() };
    }

    /// Counts everything as stored, whichever run stored it.
    pub(super) fn complete_progress(&self, artifacts_total: u32, bytes_total: u64) {
        self.lock().progress = Progress {
            artifacts_done: artifacts_total,
            artifacts_total,
            bytes_done: bytes_total,
            bytes_total,
        };
    }

    pub(super) fn stored(&self, update: ArtifactUpdate, counted_bytes: u64) {
        {
            let mut state = self.lock();
            state.progress.artifacts_done += 1;
            state.progress.bytes_done += counted_bytes;
        }
        self.publish(EventKind::ArtifactStored(update));
    }

    /// Publishes artifact progress, which only those see who listen at the moment.
    pub(super) fn publish_progress(&self, update: ArtifactUpdate) {
        let mut state = self.lock();
        let event = self.event(&state, state.events.len(), EventKind::ArtifactProgress(update));
        let number = state.live.as_ref().map_or(1, |(number, _)| number + 1);
        state.live = Some((number, Arc::new(event)));
        drop(state);
        self.notify();
    }

    pub(super) fn publish(&self, kind: EventKind) {
        let mut state = self.lock();
        if state.last_is_terminal() {
            return; // One terminal event ends a run.
        }
        let event = self.event(&state, state.events.len() + 1, kind);
        state.events.push(Arc::new(event));
        drop(state);
        self.notify();
    }

    fn event(&self, state: &State, sequence: usize, kind: EventKind) -> Event {
        Event { sequence: sequence as u64, time: self.clock.now(), progress: state.progress, kind }
    }

    fn notify(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic between lock and unlock leaves whole values behind: each change is one assignment
        // or push.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn last_is_terminal(&self) -> bool {
        self.events.last().is_some_and(|event| event.kind.is_terminal())
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Run")
            .field("export_id", &self.export_id)
            .field("run_id", &self.run_id)
            .finish_non_exhaustive()
    }
}

/// A listener's place in a run.
#[derive(Debug)]
pub struct Subscription {
    run: Arc<Run>,
    /// Events the listener has.
    seen: usize,
    seen_live: u64,
    changes: watch::Receiver<u64>,
    heartbeat_interval: Duration,
    ending: CancellationToken,
}

/// What a listener gets next.
#[derive(Debug)]
pub enum Next {
    /// Something happened.
    Event(Arc<Event>),
    /// The run has ended, and the listener has all of it.
    Ended,
    /// The server stops listening before the run ends: watch again, here or elsewhere.
    EndedEarly,
}

impl Subscription {
    /// A place behind `seen` events of a run.
    pub(super) fn new(
        run: Arc<Run>,
        seen: u64,
        heartbeat_interval: Duration,
        ending: CancellationToken,
    ) -> Self {
        let changes = run.changes.subscribe();
        let (seen, seen_live) = {
            let state = run.lock();
            // A number beyond the last hides nothing that is to come. And whoever has it all hears
            // the end again, since how a stream ends tells how the export did.
            let last = state.events.len() - usize::from(state.last_is_terminal());
            let seen = usize::try_from(seen).unwrap_or(usize::MAX).min(last);
            (seen, state.live.as_ref().map_or(0, |(number, _)| *number))
        };
        Self { run, seen, seen_live, changes, heartbeat_interval, ending }
    }

    /// The run listened to.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Waits for what comes next; a heartbeat when that takes long.
    pub async fn next(&mut self) -> Next {
        let heartbeat_at = Instant::now() + self.heartbeat_interval;
        loop {
            self.changes.mark_unchanged();
            if let Some(next) = self.ready() {
                return next;
            }
            tokio::select! {
                _ = self.changes.changed() => {}
                () = self.ending.cancelled() => return Next::EndedEarly,
                () = tokio::time::sleep_until(heartbeat_at) => return self.heartbeat(),
            }
        }
    }

    fn ready(&mut self) -> Option<Next> {
        let state = self.run.lock();
        if let Some(event) = state.events.get(self.seen) {
            self.seen += 1;
            return Some(Next::Event(event.clone()));
        }
        if state.last_is_terminal() || matches!(state.acceptance, Acceptance::Refused(_)) {
            return Some(Next::Ended);
        }
        match &state.live {
            Some((number, event)) if *number > self.seen_live => {
                self.seen_live = *number;
                // One from before the last kept event would go back behind it.
                let is_news = event.sequence >= self.seen as u64;
                is_news.then(|| Next::Event(event.clone()))
            }
            _ => None,
        }
    }

    fn heartbeat(&self) -> Next {
        let state = self.run.lock();
        Next::Event(Arc::new(self.run.event(&state, state.events.len(), EventKind::Heartbeat)))
    }
}

//! Runs: the state, events, subscriptions and counts of one process's work on one export.
//!
//! Each run has one event log, and a subscription is a position in it: a slow subscriber needs no extra memory, and no
//! subscriber misses an event. Only subscriptions read the log; the run's own state is in `State`.

pub(in crate::export) mod events;
mod log;
pub(in crate::export) mod outcome;
pub(in crate::export) mod registry;
pub(in crate::export) mod subscription;
pub(in crate::export) mod tally;
pub(in crate::export) mod watchdog;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tara_export_bundle::{AcceptedTime, ContentDigest, ExportId, FolderName};
use tara_export_catalog::{Export, ExportState};
use tara_export_clock::Clock;
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use self::{
    events::{ArtifactUpdate, Durability, EventKind, Progress},
    log::EventLog,
    tally::Tally,
};
use crate::export::{drive::observer::Observer, error::StartError, failure::Failure};

/// One process's work on one export.
pub struct Run {
    export_id: ExportId,
    run_id: Uuid,
    content_digest: ContentDigest,
    clock: Arc<dyn Clock>,
    /// Counts the run once it is accepted.
    tally: Arc<Tally>,
    state: Mutex<State>,
    /// Failed store operations that were retried.
    retries: AtomicU32,
    /// When the state changed last.
    changes: watch::Sender<Instant>,
    /// Notified of the changes that callers must see at once: accepted, refused, fell back, ended.
    milestones: watch::Sender<()>,
}

struct State {
    export: Export,
    phase: Phase,
    progress: Progress,
    log: EventLog,
}

/// The phase of a run.
enum Phase {
    /// Not decided yet whether the request is accepted.
    Open,
    Refused(StartError),
    Accepted(Accepted),
}

/// State of an accepted run.
struct Accepted {
    by: AcceptedBy,
    /// Whether the tally includes it; `false` if it repeats the outcome of a previous run.
    is_counted: bool,
    /// Whether the fallback event was published.
    has_fallen_back: bool,
    end: Option<End>,
}

/// Which process accepted an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AcceptedBy {
    ThisProcess,
    PriorProcess,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Completed,
    Failed {
        /// The derived id under which the content is stored.
        stored_under: Option<ExportId>,
    },
}

impl Run {
    pub(in crate::export) fn new(
        export: Export,
        content_digest: ContentDigest,
        clock: Arc<dyn Clock>,
        tally: Arc<Tally>,
    ) -> Self {
        let run_id = clock.new_id();
        let export_id = export.export_id;
        let (progress, log) = (Progress::default(), EventLog::default());
        let state = State { export, phase: Phase::Open, progress, log };
        Self {
            export_id,
            run_id,
            content_digest,
            clock,
            tally,
            state: Mutex::new(state),
            retries: AtomicU32::new(0),
            changes: watch::Sender::new(Instant::now()),
            milestones: watch::Sender::new(()),
        }
    }

    pub fn export_id(&self) -> ExportId {
        self.export_id
    }

    pub fn run_id(&self) -> Uuid {
        self.run_id
    }

    /// The content digest of the request.
    pub fn content_digest(&self) -> ContentDigest {
        self.content_digest
    }

    /// The current state of the export.
    pub fn export(&self) -> Export {
        self.lock().export.clone()
    }

    /// The current state of the export, if it was accepted and no store has its bundle.
    pub fn export_without_bundle(&self) -> Option<Export> {
        let state = self.lock();
        let is_without_bundle = state.accepted().is_some() && state.export.stored_in.is_none();
        is_without_bundle.then(|| state.export.clone())
    }

    /// The acceptance time, while the export is running or pending.
    pub(in crate::export) fn unfinished_since(&self) -> Option<AcceptedTime> {
        let state = self.lock();
        let is_unfinished = state.accepted().is_some()
            && matches!(state.export.state, ExportState::Running | ExportState::Pending);
        is_unfinished.then_some(state.export.accepted_time)
    }

    /// When the state changed last.
    pub(in crate::export) fn changes(&self) -> watch::Receiver<Instant> {
        self.changes.subscribe()
    }

    pub fn has_ended(&self) -> bool {
        self.lock().has_ended()
    }

    /// Whether it ended with its content stored under another id, because its own belongs to another export.
    pub(in crate::export) fn is_stored_under_other_id(&self) -> bool {
        matches!(self.lock().end(), Some(End::Failed { stored_under: Some(_) }))
    }

    /// Waits until the request is accepted or refused.
    pub(in crate::export) async fn acceptance(&self) -> Result<(), StartError> {
        let mut milestones = self.milestones.subscribe();
        loop {
            match &self.lock().phase {
                Phase::Accepted(_) => return Ok(()),
                Phase::Refused(error) => return Err(error.clone()),
                Phase::Open => {}
            }
            // Cannot fail: `self` owns the sender.
            let _ = milestones.changed().await;
        }
    }

    pub(in crate::export) fn is_accepted(&self) -> bool {
        self.lock().accepted().is_some()
    }

    /// Whether a previous process accepted the export.
    pub(in crate::export) fn is_resumed(&self) -> bool {
        let state = self.lock();
        state.accepted().is_some_and(|accepted| accepted.by == AcceptedBy::PriorProcess)
    }

    /// Whether the run is counted; `false` if it repeats the outcome of a previous run.
    pub(in crate::export) fn is_counted(&self) -> bool {
        self.lock().accepted().is_some_and(|accepted| accepted.is_counted)
    }

    /// Whether the fallback event was published.
    pub(in crate::export) fn has_fallen_back(&self) -> bool {
        self.lock().accepted().is_some_and(|accepted| accepted.has_fallen_back)
    }

    /// The number of failed store operations that were retried.
    pub(in crate::export) fn retries(&self) -> u32 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Publishes that this process accepted the request. Only the first acceptance has an effect.
    pub(in crate::export) fn accept(&self, accepted_time: AcceptedTime, durability: Durability) {
        self.accept_as(accepted_time, durability, AcceptedBy::ThisProcess, true);
    }

    /// Publishes that a previous process accepted the request.
    pub(in crate::export) fn resume(&self, accepted_time: AcceptedTime, durability: Durability) {
        self.accept_as(accepted_time, durability, AcceptedBy::PriorProcess, true);
    }

    /// Publishes that the request was accepted and its export has already ended. The run is not counted again.
    pub(in crate::export) fn repeat(&self, accepted_time: AcceptedTime) {
        self.accept_as(accepted_time, Durability::LocalDisk, AcceptedBy::ThisProcess, false);
    }

    fn accept_as(
        &self,
        accepted_time: AcceptedTime,
        durability: Durability,
        by: AcceptedBy,
        is_counted: bool,
    ) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Open) {
            return;
        }
        let accepted = Accepted { by, is_counted, has_fallen_back: false, end: None };
        state.phase = Phase::Accepted(accepted);
        if is_counted {
            self.tally.add(state.export.state);
        }
        let resumed = by == AcceptedBy::PriorProcess;
        self.log(state, EventKind::Accepted { accepted_time, resumed, durability });
        self.reach_milestone();
    }

    pub(in crate::export) fn refuse(&self, error: StartError) {
        self.lock().phase = Phase::Refused(error);
        self.notify();
        self.reach_milestone();
    }

    /// Publishes the fallback event once. Returns whether this call published it; a run that has ended publishes
    /// nothing.
    pub(in crate::export) fn fall_back(&self, failure: Failure) -> bool {
        let mut state = self.lock();
        let is_published = match &mut state.phase {
            Phase::Accepted(accepted) if !accepted.has_fallen_back => {
                accepted.has_fallen_back = true;
                accepted.end.is_none()
            }
            _ => false,
        };
        if is_published {
            self.log(state, EventKind::FellBack(failure));
            self.reach_milestone();
        }
        is_published
    }

    /// Ends the run: the bundle is committed.
    pub(in crate::export) fn complete(&self, export: Export) {
        let artifacts_total = u32::try_from(export.artifacts.len() + 1).unwrap_or(u32::MAX);
        let bytes_total = export.size_bytes();
        self.update(|current| *current = export.clone());
        let mut state = self.lock();
        // The bundle is complete, whichever run wrote it.
        state.progress = Progress {
            artifacts_done: artifacts_total,
            artifacts_total,
            bytes_done: bytes_total,
            bytes_total,
        };
        self.end(state, End::Completed, EventKind::Completed(Box::new(export)));
    }

    /// Ends the run without a bundle.
    pub(in crate::export) fn fail(&self, failure: Failure, stored_under: Option<ExportId>) {
        self.update(|export| {
            export.state = ExportState::Failed;
            export.state_reason = failure.reason.to_string();
        });
        let kind = EventKind::Failed { failure, stored_under };
        self.end(self.lock(), End::Failed { stored_under }, kind);
    }

    /// Ends the run, if it was accepted and has not ended yet.
    fn end(&self, mut state: MutexGuard<'_, State>, end: End, kind: EventKind) {
        match &mut state.phase {
            Phase::Accepted(accepted) if accepted.end.is_none() => accepted.end = Some(end),
            _ => return,
        }
        let (time, progress) = (self.clock.now(), state.progress);
        state.log.push(time, progress, kind);
        drop(state);
        self.notify();
        self.reach_milestone();
    }

    /// Updates the export's visible state.
    pub(in crate::export) fn update(&self, change: impl FnOnce(&mut Export)) {
        let mut state = self.lock();
        let previous = state.export.state;
        change(&mut state.export);
        let is_counted = state.accepted().is_some_and(|accepted| accepted.is_counted);
        if is_counted && previous != state.export.state {
            self.tally.change(previous, state.export.state);
        }
    }

    /// Publishes an event, unless the run has ended.
    fn publish(&self, kind: EventKind) {
        self.log(self.lock(), kind);
    }

    fn log(&self, mut state: MutexGuard<'_, State>, kind: EventKind) {
        if state.end().is_some() {
            return;
        }
        let (time, progress) = (self.clock.now(), state.progress);
        state.log.push(time, progress, kind);
        drop(state);
        self.notify();
    }

    fn notify(&self) {
        self.changes.send_replace(Instant::now());
    }

    fn reach_milestone(&self) {
        self.milestones.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held leaves a consistent state: each change is one assignment or push.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes the progress of each artifact.
impl Observer for Run {
    fn writing(&self, folder: &FolderName, artifacts_total: u32, bytes_total: u64) {
        self.update(|export| export.folder_name = Some(folder.clone()));
        // Progress restarts for each store.
        self.lock().progress = Progress { artifacts_total, bytes_total, ..Progress::default() };
    }

    fn started(&self, update: ArtifactUpdate) {
        self.publish(EventKind::ArtifactStarted(update));
    }

    fn progressed(&self, update: ArtifactUpdate) {
        let mut state = self.lock();
        let (time, progress) = (self.clock.now(), state.progress);
        state.log.set_live(time, progress, EventKind::ArtifactProgress(update));
        drop(state);
        self.notify();
    }

    fn retrying(&self, update: ArtifactUpdate) {
        self.publish(EventKind::ArtifactRetrying(update));
    }

    fn stored(&self, update: ArtifactUpdate, counted_bytes: u64) {
        let mut state = self.lock();
        state.progress.artifacts_done += 1;
        state.progress.bytes_done += counted_bytes;
        self.log(state, EventKind::ArtifactStored(update));
    }

    fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

impl State {
    fn accepted(&self) -> Option<&Accepted> {
        match &self.phase {
            Phase::Accepted(accepted) => Some(accepted),
            Phase::Open | Phase::Refused(_) => None,
        }
    }

    fn end(&self) -> Option<End> {
        self.accepted().and_then(|accepted| accepted.end)
    }

    fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Refused(_)) || self.end().is_some()
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "run_tests.rs"]
mod tests;

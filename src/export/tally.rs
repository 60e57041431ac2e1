//! How many exports there are, by state.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::catalog::ExportState;

/// The exports of this process, and those it found in the journal when it started.
///
/// Invariant: `started` is the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Accepted.
    pub started: u64,
    /// Committed where they were asked for.
    pub completed: u64,
    /// Ended without a bundle.
    pub failed: u64,
    /// Being worked on.
    pub running: u64,
    /// Committed nowhere yet, and waiting for their turn.
    pub pending: u64,
    /// Committed in the local store, to be sent to S3.
    pub fell_back: u64,
    /// Unreadable in the journal.
    pub quarantined: u64,
}

/// Counts exports as they change their state.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

impl Tally {
    /// One more, in this state.
    pub(super) fn add(&self, state: ExportState) {
        let mut counts = self.lock();
        counts.started += 1;
        *counts.of(state) += 1;
    }

    /// One less: it is to be counted again.
    pub(super) fn remove(&self, state: ExportState) {
        let mut counts = self.lock();
        let before = counts.of(state);
        if *before > 0 {
            *before -= 1;
            counts.started -= 1;
        }
    }

    /// One that was in the one state is in the other.
    pub(super) fn change(&self, from: ExportState, to: ExportState) {
        let mut counts = self.lock();
        let before = counts.of(from);
        *before = before.saturating_sub(1);
        *counts.of(to) += 1;
    }

    pub(super) fn counts(&self) -> Counts {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing panics between lock and unlock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn of(&mut self, state: ExportState) -> &mut u64 {
        match state {
            ExportState::Running => &mut self.running,
            ExportState::Pending => &mut self.pending,
            ExportState::FellBack => &mut self.fell_back,
            ExportState::Committed => &mut self.completed,
            ExportState::Failed => &mut self.failed,
            ExportState::Quarantined => &mut self.quarantined,
        }
    }
}

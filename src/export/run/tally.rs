//! Counts exports by state.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tara_export_catalog::ExportState;

/// The exports of this process, including those that it found in the journal at startup.
///
/// Invariant: `started` is the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Accepted.
    pub started: u64,
    /// Committed in their destination.
    pub completed: u64,
    /// Ended without a bundle.
    pub failed: u64,
    /// In progress.
    pub running: u64,
    /// Not committed in any store yet, waiting in the backlog.
    pub pending: u64,
    /// Committed in the local store, not yet synced to S3.
    pub fell_back: u64,
    /// Quarantined in the journal.
    pub quarantined: u64,
}

/// Counts exports as their state changes.
#[derive(Debug, Default)]
pub(in crate::export) struct Tally(Mutex<Counts>);

impl Tally {
    /// Counts a new export in this state.
    pub(in crate::export) fn add(&self, state: ExportState) {
        let mut counts = self.lock();
        counts.started += 1;
        *counts.of(state) += 1;
    }

    /// Removes an export that will be counted again.
    pub(in crate::export) fn remove(&self, state: ExportState) {
        let mut counts = self.lock();
        let count = counts.of(state);
        if *count > 0 {
            *count -= 1;
            counts.started -= 1;
        }
    }

    /// Moves an export from one state to another.
    pub(in crate::export) fn change(&self, from: ExportState, to: ExportState) {
        let mut counts = self.lock();
        let count = counts.of(from);
        *count = count.saturating_sub(1);
        *counts.of(to) += 1;
    }

    pub(in crate::export) fn counts(&self) -> Counts {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // No code panics while the lock is held.
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

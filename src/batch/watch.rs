//! Follows a batch: the results of its items, in the order in which they end.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

use super::{
    item::Item,
    note::Note,
    state::{Batch, Counts},
};

/// A position in the results of a batch.
#[derive(Debug)]
pub struct Watch {
    batch: Arc<Batch>,
    /// Whether the batch is in memory in any case.
    is_shared: bool,
    changes: watch::Receiver<u64>,
    seen: usize,
    is_first: bool,
    heartbeat_interval: Duration,
    ending: CancellationToken,
}

/// What a follower receives next.
#[derive(Debug)]
pub enum Step {
    /// An item ended: its index and the item.
    Item(usize, Box<Item>),
    /// Nothing for a while, or at the start.
    Heartbeat,
    /// Every item has ended.
    Ended(Box<Note>),
    /// The server is shutting down.
    EndedEarly,
}

impl Watch {
    pub(super) fn new(
        batch: Arc<Batch>,
        is_shared: bool,
        seen: usize,
        heartbeat_interval: Duration,
        ending: CancellationToken,
    ) -> Self {
        let changes = batch.changes();
        Self { batch, is_shared, changes, seen, is_first: true, heartbeat_interval, ending }
    }

    /// Whether the follower needs no memory for the batch, because the server works on it.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The list of results that sequence numbers count in.
    pub fn run_id(&self) -> String {
        self.batch.run_id.to_string()
    }

    /// The number of results received so far.
    pub fn sequence(&self) -> usize {
        self.seen
    }

    /// Waits for the next step.
    pub async fn next(&mut self) -> (Step, Counts) {
        let is_first = std::mem::take(&mut self.is_first);
        loop {
            self.changes.mark_unchanged();
            let (result, counts) = self.batch.result(self.seen);
            if let Some((index, item)) = result {
                self.seen += 1;
                return (Step::Item(index, Box::new(item)), counts);
            }
            let note = self.batch.note();
            if note.ended_time.is_some() {
                return (Step::Ended(Box::new(note)), counts);
            }
            if is_first {
                return (Step::Heartbeat, counts);
            }
            tokio::select! {
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        return (Step::EndedEarly, counts);
                    }
                }
                () = time::sleep(self.heartbeat_interval) => return (Step::Heartbeat, counts),
                () = self.ending.cancelled() => return (Step::EndedEarly, counts),
            }
        }
    }
}

//! A batch in memory: its items, the order in which they ended, and who waits for changes.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use chrono::{DateTime, Utc};
use tara_export_bundle::ExportId;
use tara_export_digest::Sha256;
use tara_export_limits::CallerKey;
use tokio::sync::{Mutex as AsyncMutex, watch};
use uuid::Uuid;

use super::{
    Phase,
    item::{Item, ItemState},
    note::Note,
};

/// The number of items in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// All items.
    pub total: u32,
    /// Not accepted yet.
    pub not_accepted: u32,
    /// Accepted, and not ended.
    pub pending: u32,
    /// In their destination.
    pub committed: u32,
    /// In the local store.
    pub fell_back: u32,
    /// Not accepted.
    pub refused: u32,
    /// Without a bundle.
    pub failed: u32,
}

impl Counts {
    /// Counts these items.
    pub fn of(items: &[Item]) -> Self {
        let mut counts = Self::default();
        for item in items {
            counts.total += 1;
            *match item.state {
                ItemState::NotAccepted => &mut counts.not_accepted,
                ItemState::Pending => &mut counts.pending,
                ItemState::Committed => &mut counts.committed,
                ItemState::FellBack => &mut counts.fell_back,
                ItemState::Refused => &mut counts.refused,
                ItemState::Failed => &mut counts.failed,
            } += 1;
        }
        counts
    }
}

/// A batch that this process works on.
#[derive(Debug)]
pub(super) struct Batch {
    pub batch_id: Uuid,
    pub digest: Sha256,
    /// This process's list of results.
    pub run_id: Uuid,
    /// Held while items are accepted: the same batch sent twice at once is accepted once.
    pub accepting: AsyncMutex<()>,
    /// The caller that its limit counts for; `None` if a previous process accepted it without authentication.
    pub caller: Option<CallerKey>,
    /// Whether a task writes its report.
    pub is_finishing: AtomicBool,
    indexes: HashMap<ExportId, usize>,
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    note: Note,
    /// The indexes of the items that ended, in their order.
    order: Vec<usize>,
}

impl Batch {
    pub(super) fn new(note: Note, run_id: Uuid, caller: Option<CallerKey>) -> Self {
        let ended = note.items.iter().enumerate().filter(|(_, item)| item.state.has_ended());
        let order = ended.map(|(index, _)| index).collect();
        let indexes = note.items.iter().enumerate();
        let indexes = indexes.map(|(index, item)| (item.export_id, index)).collect();
        Self {
            batch_id: note.batch_id,
            digest: note.digest,
            run_id,
            accepting: AsyncMutex::default(),
            caller,
            is_finishing: AtomicBool::new(false),
            indexes,
            inner: Mutex::new(Inner { note, order }),
            changes: watch::Sender::new(0),
        }
    }

    /// The batch as it is now.
    pub(super) fn note(&self) -> Note {
        self.lock().note.clone()
    }

    /// The number of items in each state.
    pub(super) fn counts(&self) -> Counts {
        Counts::of(&self.lock().note.items)
    }

    /// What happens to it.
    pub(super) fn phase(&self) -> Phase {
        self.lock().note.phase()
    }

    /// When it was received first.
    pub(super) fn accepted_time(&self) -> DateTime<Utc> {
        self.lock().note.accepted_time
    }

    /// The pending item of this export.
    pub(super) fn pending(&self, export_id: ExportId) -> Option<(usize, Item)> {
        let index = *self.indexes.get(&export_id)?;
        let item = self.lock().note.items.get(index)?.clone();
        (item.state == ItemState::Pending).then_some((index, item))
    }

    /// Notified of every change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The result after the first `seen` ones, and the counts now.
    pub(super) fn result(&self, seen: usize) -> (Option<(usize, Item)>, Counts) {
        let inner = self.lock();
        let index = inner.order.get(seen).copied();
        let item = index.and_then(|index| Some((index, inner.note.items.get(index)?.clone())));
        (item, Counts::of(&inner.note.items))
    }

    /// Items in this state, with their indexes.
    pub(super) fn items_in(&self, state: ItemState) -> Vec<(usize, Item)> {
        let inner = self.lock();
        let items = inner.note.items.iter().enumerate();
        items.filter(|(_, item)| item.state == state).map(|(i, item)| (i, item.clone())).collect()
    }

    /// Changes an item that has not ended.
    pub(super) fn update(&self, index: usize, change: impl FnOnce(&mut Item)) {
        {
            let mut inner = self.lock();
            let Inner { note, order } = &mut *inner;
            let Some(item) = note.items.get_mut(index).filter(|item| !item.state.has_ended())
            else {
                return;
            };
            change(item);
            if item.state.has_ended() {
                order.push(index);
            }
        }
        self.notify();
    }

    /// Sets the time of the end, if every item has ended and it is not set. Returns whether it is set.
    pub(super) fn end_if_complete(&self, now: DateTime<Utc>) -> bool {
        let mut inner = self.lock();
        let Inner { note, order } = &mut *inner;
        if order.len() < note.items.len() {
            return false;
        }
        note.ended_time.get_or_insert(now);
        drop(inner);
        self.notify();
        true
    }

    pub(super) fn set_report_location(&self, location: String) {
        self.lock().note.report_location = location;
        self.notify();
    }

    fn notify(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is complete when the lock is released.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! An in-memory index of the files in a folder by caller and time, so that limits are checked without listing the
//! folder.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use tara_export_bundle::ExportId;

/// Files of one kind, at most one per export.
#[derive(Debug, Default)]
pub(super) struct RetentionIndex {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    files: HashMap<ExportId, (DateTime<Utc>, Arc<str>)>,
    /// The files of each caller, oldest first. No set is empty.
    callers: BTreeMap<Arc<str>, BTreeSet<(DateTime<Utc>, ExportId)>>,
}

impl RetentionIndex {
    /// Adds a file that was just written and replaces the export's previous one.
    pub(super) fn add(&self, export_id: ExportId, time: DateTime<Utc>, caller: &str) {
        let mut inner = self.lock();
        inner.remove(export_id);
        inner.add(export_id, time, caller);
    }

    /// Adds an existing file, unless the export already has one in the index.
    pub(super) fn add_found(&self, export_id: ExportId, time: DateTime<Utc>, caller: &str) {
        let mut inner = self.lock();
        if !inner.files.contains_key(&export_id) {
            inner.add(export_id, time, caller);
        }
    }

    pub(super) fn remove(&self, export_id: ExportId) {
        self.lock().remove(export_id);
    }

    pub(super) fn count(&self) -> usize {
        self.lock().files.len()
    }

    /// The number of a caller's files, and its share of `limit`, which is divided equally between this caller and all
    /// others that have files.
    pub(super) fn share_of(&self, caller: &str, limit: usize) -> (usize, usize) {
        let inner = self.lock();
        let count = inner.callers.get(caller).map_or(0, BTreeSet::len);
        let callers = inner.callers.len() + usize::from(count == 0);
        (count, limit / callers)
    }

    /// Up to `limit` files that were written before `time`.
    pub(super) fn written_before(&self, time: DateTime<Utc>, limit: usize) -> Vec<ExportId> {
        let inner = self.lock();
        let older =
            inner.callers.values().flat_map(|files| files.iter().take_while(|file| file.0 < time));
        older.take(limit).map(|(_, export_id)| *export_id).collect()
    }

    /// The next file to remove if there are more than `limit`: the oldest of the caller with the most files.
    pub(super) fn surplus(&self, limit: usize) -> Option<ExportId> {
        let inner = self.lock();
        if inner.files.len() <= limit {
            return None;
        }
        let files = inner.callers.values().max_by_key(|files| files.len())?;
        files.first().map(|(_, export_id)| *export_id)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics during a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self, export_id: ExportId, time: DateTime<Utc>, caller: &str) {
        let caller = match self.callers.get_key_value(caller) {
            Some((caller, _)) => caller.clone(),
            None => Arc::from(caller),
        };
        self.callers.entry(caller.clone()).or_default().insert((time, export_id));
        self.files.insert(export_id, (time, caller));
    }

    fn remove(&mut self, export_id: ExportId) {
        let Some((time, caller)) = self.files.remove(&export_id) else { return };
        let Some(files) = self.callers.get_mut(&caller) else { return };
        files.remove(&(time, export_id));
        if files.is_empty() {
            self.callers.remove(&caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u32) -> ExportId {
        ExportId::new(Uuid::from_u128(number.into()))
    }

    fn second(number: u32) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(number.into())
    }

    #[test]
    fn surplus_is_the_oldest_file_of_the_caller_with_most() {
        let index = RetentionIndex::default();
        index.add(id(1), second(1), "few");
        for number in 2..=5 {
            index.add(id(number), second(number), "many");
        }
        assert_eq!(index.surplus(5), None);
        let mut removed = Vec::new();
        while let Some(surplus) = index.surplus(2) {
            removed.push(surplus);
            index.remove(surplus);
        }
        assert_eq!(removed, [id(2), id(3), id(4)], "the other caller's older file must stay");
    }

    #[test]
    fn callers_have_equal_shares() {
        let index = RetentionIndex::default();
        assert_eq!(index.share_of("a", 10), (0, 10));
        for number in 0..10 {
            index.add(id(number), second(number), "a");
        }
        assert_eq!(index.share_of("a", 10), (10, 10));
        assert_eq!(index.share_of("b", 10), (0, 5));
        index.add(id(10), second(10), "b");
        assert_eq!((index.share_of("a", 10), index.share_of("b", 10)), ((10, 5), (1, 5)));
        assert_eq!(index.share_of("c", 10), (0, 3));
    }

    #[test]
    fn rewritten_file_counts_once_with_its_new_time() {
        let index = RetentionIndex::default();
        index.add(id(1), second(1), "a");
        index.add(id(1), second(9), "b");
        index.add_found(id(1), second(1), "a");
        assert_eq!((index.count(), index.share_of("a", 10)), (1, (0, 5)));
        assert_eq!(index.written_before(second(9), 9), []);
        assert_eq!(index.written_before(second(10), 9), [id(1)]);
        index.remove(id(1));
        assert_eq!((index.count(), index.share_of("a", 10)), (0, (0, 10)));
    }
}

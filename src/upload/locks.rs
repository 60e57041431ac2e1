//! Locks of uploads on disk: only one call at a time writes to an upload or removes it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

/// The locked uploads. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Locks {
    in_use: Arc<Mutex<HashSet<Uuid>>>,
}

/// The right to write to and remove uploads. Released when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    locks: Locks,
    upload_ids: Vec<Uuid>,
}

impl Locks {
    /// Locks an upload. `None` if it is in use.
    pub(super) fn take(&self, upload_id: Uuid) -> Option<Lock> {
        let is_free = self.in_use().insert(upload_id);
        is_free.then(|| Lock { locks: self.clone(), upload_ids: vec![upload_id] })
    }

    /// Chooses uploads, given those in use, and locks them in one step. `None` if `choose` returns `None`.
    pub(super) fn take_chosen(
        &self,
        choose: impl FnOnce(&HashSet<Uuid>) -> Option<Vec<Uuid>>,
    ) -> Option<Lock> {
        let mut in_use = self.in_use();
        let mut upload_ids = choose(&in_use)?;
        // Uploads that are already in use are not released with this lock.
        upload_ids.retain(|upload_id| in_use.insert(*upload_id));
        Some(Lock { locks: self.clone(), upload_ids })
    }

    fn in_use(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        // No code panics while it holds the lock.
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lock {
    /// The locked uploads.
    pub(super) fn upload_ids(&self) -> &[Uuid] {
        &self.upload_ids
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut in_use = self.locks.in_use();
        for upload_id in &self.upload_ids {
            in_use.remove(upload_id);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn upload_is_locked_until_its_lock_is_dropped() {
        let (locks, upload_id) = (Locks::default(), Uuid::from_u128(1));
        let lock = locks.take(upload_id).unwrap();
        assert!(locks.take(upload_id).is_none());
        drop(lock);
        assert!(locks.take(upload_id).is_some());
    }

    #[test]
    fn chosen_uploads_are_locked_except_those_in_use() {
        let (locks, one, two) = (Locks::default(), Uuid::from_u128(1), Uuid::from_u128(2));
        let lock = locks.take(one).unwrap();
        let chosen = locks.take_chosen(|in_use| {
            assert_eq!(in_use, &HashSet::from([one]));
            Some(vec![one, two])
        });
        assert_eq!(chosen.as_ref().unwrap().upload_ids(), [two]);
        assert!(locks.take(two).is_none());
        drop(chosen);
        assert!(locks.take(two).is_some());
        assert!(locks.take(one).is_none());
        drop(lock);
        assert!(locks.take_chosen(|_| None).is_none());
    }
}

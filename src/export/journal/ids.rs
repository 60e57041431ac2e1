//! An in-memory set of the export ids that the journal may have: about ten bytes per export.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
};

use tara_export_bundle::ExportId;

/// The ids of all entries, as fingerprints of four bytes. A false positive costs a listing of the folder: with a
/// million entries, one id in four thousand is a false positive. There are no false negatives.
#[derive(Debug, Default)]
pub(super) struct Ids {
    fingerprints: HashSet<u32>,
    /// For fingerprints that several entries have: the number of entries beyond the first.
    repeated: HashMap<u32, u32>,
    /// Randomly keyed, so that callers cannot choose ids with the same fingerprint.
    hasher: RandomState,
}

impl Ids {
    /// Adds an entry of this export.
    pub(super) fn add(&mut self, export_id: ExportId) {
        let fingerprint = self.fingerprint(export_id);
        if !self.fingerprints.insert(fingerprint) {
            *self.repeated.entry(fingerprint).or_default() += 1;
        }
    }

    /// Removes an entry of this export.
    pub(super) fn remove(&mut self, export_id: ExportId) {
        let fingerprint = self.fingerprint(export_id);
        match self.repeated.get_mut(&fingerprint) {
            Some(1) => {
                self.repeated.remove(&fingerprint);
            }
            Some(more) => *more -= 1,
            None => {
                self.fingerprints.remove(&fingerprint);
            }
        }
    }

    /// Adds an entry that a listing found, if it is not known yet.
    pub(super) fn found(&mut self, export_id: ExportId) {
        self.fingerprints.insert(self.fingerprint(export_id));
    }

    /// Whether the journal may have an entry of this export.
    pub(super) fn may_have(&self, export_id: ExportId) -> bool {
        self.fingerprints.contains(&self.fingerprint(export_id))
    }

    fn fingerprint(&self, export_id: ExportId) -> u32 {
        // Half of the hash is as random as all of it.
        self.hasher.hash_one(export_id) as u32
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn id_is_known_until_its_last_entry_is_removed() {
        let (id, other) = (ExportId::new(Uuid::from_u128(1)), ExportId::new(Uuid::from_u128(2)));
        let mut ids = Ids::default();
        for entries in 1..=3 {
            (0..entries).for_each(|_| ids.add(id));
            ids.found(id);
            for _ in 0..entries {
                assert!(ids.may_have(id) && !ids.may_have(other));
                ids.remove(id);
            }
            assert!(!ids.may_have(id));
        }
        ids.remove(other);
        ids.found(other);
        assert!(ids.may_have(other));
    }
}

//! The room that uploads have on this disk, shared between callers.
//!
//! A lone caller may use all of it. If another caller needs room that is within its fair share, the oldest uploads of
//! the caller that has most are removed, as far as they are beyond its own share.

use std::collections::{HashMap, HashSet, VecDeque};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::records::UploadRecord;
use crate::digest::Sha256;

/// What an upload counts at least: its folder and records take room too, and looking through all of them
/// takes time.
const LEAST_COUNTED_BYTES: u64 = 256 * 1024;

/// All uploads on this disk.
#[derive(Debug)]
pub(super) struct Room {
    limit_bytes: u64,
    used_bytes: u64,
    uploads: HashMap<Uuid, Counted>,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    caller: Option<Sha256>,
    bytes: u64,
    created_time: DateTime<Utc>,
}

impl Room {
    /// The room that these uploads take.
    pub(super) fn new(limit_bytes: u64, records: &[UploadRecord]) -> Self {
        let mut room = Self { limit_bytes, used_bytes: 0, uploads: HashMap::new() };
        records.iter().for_each(|record| room.add(record));
        room
    }

    pub(super) fn add(&mut self, record: &UploadRecord) {
        let counted = counted(record);
        self.used_bytes += counted.bytes;
        if let Some(earlier) = self.uploads.insert(record.upload_id, counted) {
            self.used_bytes -= earlier.bytes;
        }
    }

    pub(super) fn remove(&mut self, upload_id: Uuid) {
        if let Some(removed) = self.uploads.remove(&upload_id) {
            self.used_bytes -= removed.bytes;
        }
    }

    /// The uploads that have to go so that this one has room. `None` if it has none.
    pub(super) fn to_remove_for(
        &self,
        record: &UploadRecord,
        in_use: &HashSet<Uuid>,
    ) -> Option<Vec<Uuid>> {
        let new = counted(record);
        let with_it = self.used_bytes.saturating_add(new.bytes);
        let mut missing = with_it.saturating_sub(self.limit_bytes);
        if missing == 0 {
            return Some(Vec::new());
        }
        let mut used: HashMap<Option<Sha256>, u64> = HashMap::from([(new.caller, new.bytes)]);
        for upload in self.uploads.values() {
            *used.entry(upload.caller).or_default() += upload.bytes;
        }
        let share = self.limit_bytes / used.len() as u64;
        if used[&new.caller] > share {
            return None;
        }
        let mut uploads: Vec<(&Uuid, &Counted)> = self
            .uploads
            .iter()
            .filter(|(id, upload)| upload.caller != new.caller && !in_use.contains(id))
            .collect();
        uploads.sort_by_key(|(id, upload)| (upload.created_time, **id));
        let mut oldest: HashMap<Option<Sha256>, VecDeque<(Uuid, u64)>> = HashMap::new();
        for (id, upload) in uploads {
            oldest.entry(upload.caller).or_default().push_back((*id, upload.bytes));
        }
        let mut removed = Vec::new();
        while missing > 0 {
            let (caller, greediest) = oldest
                .iter_mut()
                .filter(|(caller, uploads)| !uploads.is_empty() && used[caller] > share)
                .max_by_key(|(caller, _)| used[caller])?;
            let (id, bytes) = greediest.pop_front()?;
            missing = missing.saturating_sub(bytes);
            *used.entry(*caller).or_default() -= bytes;
            removed.push(id);
        }
        Some(removed)
    }
}

fn counted(record: &UploadRecord) -> Counted {
    Counted {
        caller: record.caller,
        bytes: record.size_bytes.max(LEAST_COUNTED_BYTES),
        created_time: record.created_time.as_datetime(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bundle::AcceptedTime;

    const MIB: u64 = 1024 * 1024;

    fn record(number: u128, caller: &str, size_bytes: u64) -> UploadRecord {
        let created: DateTime<Utc> = "2026-11-22T18:37:00Z".parse().unwrap();
        let age = chrono::TimeDelta::seconds(i64::try_from(number).unwrap());
        UploadRecord {
            upload_id: Uuid::from_u128(number),
            size_bytes,
            sha256: None,
            created_time: AcceptedTime::new(created + age),
            part_upload_id: None,
            caller: Some(Sha256::of(caller.as_bytes())),
        }
    }

    fn to_remove(room: &Room, record: &UploadRecord, in_use: &[u128]) -> Option<Vec<u128>> {
        let in_use = in_use.iter().map(|number| Uuid::from_u128(*number)).collect();
        let removed = room.to_remove_for(record, &in_use)?;
        Some(removed.iter().map(Uuid::as_u128).collect())
    }

    #[test]
    fn lone_caller_uses_everything_and_removes_nothing_of_its_own() {
        let full: Vec<_> = (1..=4).map(|number| record(number, "a", MIB)).collect();
        let room = Room::new(4 * MIB, &full[..3]);
        assert_eq!(to_remove(&room, &full[3], &[]), Some(vec![]));
        let room = Room::new(4 * MIB, &full);
        assert_eq!(to_remove(&room, &record(5, "a", 0), &[]), None);
    }

    #[test]
    fn oldest_upload_beyond_a_fair_share_makes_room() {
        let full: Vec<_> = (1..=4).map(|number| record(number, "a", MIB)).collect();
        let room = Room::new(4 * MIB, &full);
        assert_eq!(to_remove(&room, &record(5, "b", MIB), &[]), Some(vec![1]));
        assert_eq!(to_remove(&room, &record(5, "b", 2 * MIB), &[1]), Some(vec![2, 3]));
        // More than its share; or nothing but what is being written to.
        assert_eq!(to_remove(&room, &record(5, "b", 3 * MIB), &[]), None);
        assert_eq!(to_remove(&room, &record(5, "b", MIB), &[1, 2, 3, 4]), None);
    }

    #[test]
    fn callers_within_their_shares_keep_what_they_have() {
        let both = [record(1, "a", 2 * MIB), record(2, "b", 2 * MIB)];
        let room = Room::new(4 * MIB, &both);
        assert_eq!(to_remove(&room, &record(3, "b", 0), &[]), None);
        // A third caller makes the shares smaller.
        assert_eq!(to_remove(&room, &record(3, "c", MIB), &[]).unwrap().len(), 1);
    }
}

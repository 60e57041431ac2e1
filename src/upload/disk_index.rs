//! The index of the uploads on disk: finds existing uploads for a request, and shares the capacity between callers.
//!
//! A single caller may use the whole capacity. If another caller needs space within its fair share, the oldest uploads
//! of the caller with the highest usage are evicted, but only while it exceeds its own share.

use std::collections::{HashMap, HashSet, VecDeque};

use chrono::{DateTime, Utc};
use tara_export_digest::Sha256;
use uuid::Uuid;

use super::records::UploadRecord;

/// Minimum size that an upload counts, because its folder and records need space, too, and scanning them takes time.
const MIN_COUNTED_BYTES: u64 = 256 * 1024;

/// All uploads on this disk.
#[derive(Debug)]
pub(super) struct DiskIndex {
    limit_bytes: u64,
    used_bytes: u64,
    uploads: HashMap<Uuid, IndexedUpload>,
}

#[derive(Debug, Clone, Copy)]
struct IndexedUpload {
    caller: Option<Sha256>,
    bytes: u64,
    created_time: DateTime<Utc>,
    request: Option<Sha256>,
    content: Option<(Sha256, u64)>,
    is_finished: bool,
}

impl DiskIndex {
    /// An index of these uploads.
    pub(super) fn new(limit_bytes: u64, records: &[UploadRecord]) -> Self {
        let mut index = Self { limit_bytes, used_bytes: 0, uploads: HashMap::new() };
        records.iter().for_each(|record| index.add(record));
        index
    }

    pub(super) fn add(&mut self, record: &UploadRecord) {
        let indexed = indexed(record);
        self.used_bytes += indexed.bytes;
        if let Some(previous) = self.uploads.insert(record.upload_id, indexed) {
            self.used_bytes -= previous.bytes;
        }
    }

    pub(super) fn remove(&mut self, upload_id: Uuid) {
        if let Some(removed) = self.uploads.remove(&upload_id) {
            self.used_bytes -= removed.bytes;
        }
    }

    pub(super) fn mark_finished(&mut self, upload_id: Uuid) {
        if let Some(upload) = self.uploads.get_mut(&upload_id) {
            upload.is_finished = true;
        }
    }

    /// The existing uploads for a request, best first: finished content, then uploads of the same request, each newest
    /// first.
    pub(super) fn candidates(&self, record: &UploadRecord) -> Vec<Uuid> {
        let requested = indexed(record);
        let is_finished_content =
            |upload: &IndexedUpload| upload.is_finished && upload.content == requested.content;
        let mut found: Vec<(bool, DateTime<Utc>, Uuid)> = self
            .uploads
            .iter()
            .filter_map(|(id, upload)| {
                let matches_content = requested.content.is_some() && is_finished_content(upload);
                let matches_request =
                    requested.request.is_some() && upload.request == requested.request;
                (matches_content || matches_request).then_some((
                    matches_content,
                    upload.created_time,
                    *id,
                ))
            })
            .collect();
        found.sort_by(|one, other| other.cmp(one));
        found.into_iter().map(|(_, _, id)| id).collect()
    }

    /// The uploads to evict so that this one fits. `None` if it cannot fit.
    pub(super) fn evictions_for(
        &self,
        record: &UploadRecord,
        in_use: &HashSet<Uuid>,
    ) -> Option<Vec<Uuid>> {
        let new = indexed(record);
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
        let mut uploads: Vec<(&Uuid, &IndexedUpload)> = self
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
            let (caller, largest) = oldest
                .iter_mut()
                .filter(|(caller, uploads)| !uploads.is_empty() && used[caller] > share)
                .max_by_key(|(caller, _)| used[caller])?;
            let (id, bytes) = largest.pop_front()?;
            missing = missing.saturating_sub(bytes);
            *used.entry(*caller).or_default() -= bytes;
            removed.push(id);
        }
        Some(removed)
    }
}

fn indexed(record: &UploadRecord) -> IndexedUpload {
    IndexedUpload {
        caller: record.caller,
        bytes: record.size_bytes.max(MIN_COUNTED_BYTES),
        created_time: record.created_time.as_datetime(),
        request: record.request,
        content: record.sha256.map(|sha256| (sha256, record.size_bytes)),
        is_finished: false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tara_export_bundle::AcceptedTime;

    use super::*;

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
            request: None,
            owner: None,
            caller: Some(Sha256::of(caller.as_bytes())),
        }
    }

    fn evictions(index: &DiskIndex, record: &UploadRecord, in_use: &[u128]) -> Option<Vec<u128>> {
        let in_use = in_use.iter().map(|number| Uuid::from_u128(*number)).collect();
        let removed = index.evictions_for(record, &in_use)?;
        Some(removed.iter().map(Uuid::as_u128).collect())
    }

    #[test]
    fn single_caller_uses_all_capacity_without_evictions() {
        let full: Vec<_> = (1..=4).map(|number| record(number, "a", MIB)).collect();
        let index = DiskIndex::new(4 * MIB, &full[..3]);
        assert_eq!(evictions(&index, &full[3], &[]), Some(vec![]));
        let index = DiskIndex::new(4 * MIB, &full);
        assert_eq!(evictions(&index, &record(5, "a", 0), &[]), None);
    }

    #[test]
    fn oldest_uploads_beyond_a_fair_share_are_evicted() {
        let full: Vec<_> = (1..=4).map(|number| record(number, "a", MIB)).collect();
        let index = DiskIndex::new(4 * MIB, &full);
        assert_eq!(evictions(&index, &record(5, "b", MIB), &[]), Some(vec![1]));
        assert_eq!(evictions(&index, &record(5, "b", 2 * MIB), &[1]), Some(vec![2, 3]));
        // More than the caller's share, or all other uploads are in use.
        assert_eq!(evictions(&index, &record(5, "b", 3 * MIB), &[]), None);
        assert_eq!(evictions(&index, &record(5, "b", MIB), &[1, 2, 3, 4]), None);
    }

    #[test]
    fn callers_within_their_shares_keep_their_uploads() {
        let both = [record(1, "a", 2 * MIB), record(2, "b", 2 * MIB)];
        let index = DiskIndex::new(4 * MIB, &both);
        assert_eq!(evictions(&index, &record(3, "b", 0), &[]), None);
        // A third caller makes the shares smaller.
        assert_eq!(evictions(&index, &record(3, "c", MIB), &[]).unwrap().len(), 1);
    }

    #[test]
    fn candidates_are_finished_content_then_own_uploads() {
        let (request, content) = (Some(Sha256::of(b"request")), Some(Sha256::of(b"content")));
        let of =
            |number, request, sha256| UploadRecord { request, sha256, ..record(number, "a", 7) };
        let mut index = DiskIndex::new(
            4 * MIB,
            &[
                of(1, request, content),
                of(2, None, content),
                of(3, request, content),
                of(4, None, content),
                of(5, None, None),
                of(6, None, content),
            ],
        );
        let candidates = |index: &DiskIndex, request, sha256| -> Vec<u128> {
            let found = index.candidates(&of(9, request, sha256));
            found.iter().map(Uuid::as_u128).collect()
        };
        // Unfinished uploads are only candidates for their own request.
        assert_eq!(candidates(&index, request, content), [3, 1]);
        assert!(candidates(&index, None, content).is_empty());
        assert!(candidates(&index, None, None).is_empty());
        for number in [2, 4, 5] {
            index.mark_finished(Uuid::from_u128(number));
        }
        assert_eq!(candidates(&index, request, content), [4, 2, 3, 1]);
        assert_eq!(candidates(&index, None, content), [4, 2]);
        assert_eq!(candidates(&index, request, None), [3, 1]);
        index.remove(Uuid::from_u128(4));
        assert_eq!(candidates(&index, None, content), [2]);
    }
}

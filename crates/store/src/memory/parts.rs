//! Multipart uploads in memory.

use std::{collections::BTreeMap, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;
use tara_export_digest::{ContentChecksums, Crc64Nvme, Sha256};

use super::{
    super::{
        MAX_PARTS, MIN_PART_BYTES, Object, ObjectChecksum, ObjectInfo, ObjectKey, Part, PartStore,
        PartUpload, PutOutcome, SourceLocation, SourceObject, Store as _, StoreError,
        StoreErrorKind, StoredPart,
    },
    MemoryStore, Operation, State, StoredObject, stored_crc,
};

/// An unfinished multipart upload.
pub(super) struct UnfinishedObject {
    key: ObjectKey,
    checksum: ObjectChecksum,
    parts: BTreeMap<u32, (StoredPart, Bytes)>,
}

impl UnfinishedObject {
    pub(super) fn key(&self) -> &str {
        self.key.as_str()
    }

    fn store(&mut self, number: u32, bytes: Bytes) -> Result<StoredPart, StoreError> {
        if !(1..=MAX_PARTS).contains(&number) {
            let message = format!("invalid part number {number}: use 1 to {MAX_PARTS}");
            return Err(StoreError::new(StoreErrorKind::Misconfigured, message));
        }
        let e_tag = format!("\"{}\"", Sha256::of(&bytes));
        let crc64nvme = stored_crc(&bytes, self.checksum == ObjectChecksum::Crc64Nvme);
        let stored = StoredPart { number, e_tag, crc64nvme };
        self.parts.insert(number, (stored.clone(), bytes));
        Ok(stored)
    }

    /// Assembles the object of these parts.
    fn assemble(&self, parts: &[StoredPart]) -> Result<StoredObject, StoreError> {
        let invalid = |reason: &str| {
            let message = format!("cannot complete {}: {reason}", self.key);
            StoreError::new(StoreErrorKind::Corrupt, message)
        };
        if parts.is_empty() || !parts.is_sorted_by(|a, b| a.number < b.number) {
            return Err(invalid("the parts are not in order"));
        }
        let mut bytes = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let found = self.parts.get(&part.number);
            let Some((_, stored)) = found.filter(|(stored, _)| stored.e_tag == part.e_tag) else {
                return Err(invalid("a part does not match the stored part"));
            };
            if index + 1 < parts.len() && (stored.len() as u64) < MIN_PART_BYTES {
                return Err(invalid("a part that is not the last is too small"));
            }
            bytes.extend_from_slice(stored);
        }
        let bytes = Bytes::from(bytes);
        let sha256 = Sha256::of(&bytes);
        let info = ObjectInfo {
            size_bytes: bytes.len() as u64,
            sha256: None,
            crc64nvme: stored_crc(&bytes, self.checksum == ObjectChecksum::Crc64Nvme),
            modified_time: Some(chrono::Utc::now()),
        };
        Ok(StoredObject { bytes, e_tag: format!("\"{sha256}-{}\"", parts.len()), info })
    }
}

impl MemoryStore {
    fn missing_upload(&self, key: &ObjectKey) -> StoreError {
        let message = format!("no upload of {} exists", self.location(key.as_str()));
        StoreError::new(StoreErrorKind::NotFound, message)
    }

    fn unfinished_object<'a>(
        &self,
        state: &'a mut State,
        upload: &PartUpload,
    ) -> Result<&'a mut UnfinishedObject, StoreError> {
        let found = state.unfinished.get_mut(&upload.upload_id);
        found
            .filter(|object| object.key == upload.key)
            .ok_or_else(|| self.missing_upload(&upload.key))
    }

    /// An object of this store or of another bucket.
    fn source(&self, state: &State, location: &SourceLocation) -> Option<StoredObject> {
        let is_own = location.bucket == self.name && location.version_id.is_none();
        match is_own {
            true => state.objects.get(&location.key).cloned(),
            false => state.sources.get(location).cloned(),
        }
    }

    fn pinned(&self, state: &State, source: &SourceObject) -> Result<StoredObject, StoreError> {
        self.source(state, &source.location)
            .filter(|object| object.e_tag == source.e_tag)
            .ok_or_else(|| {
                let message = format!("{} was changed or removed", source.location);
                StoreError::new(StoreErrorKind::Changed, message)
            })
    }
}

#[async_trait]
impl PartStore for MemoryStore {
    async fn begin(
        &self,
        key: &ObjectKey,
        _media_type: &str,
        checksum: ObjectChecksum,
    ) -> Result<PartUpload, StoreError> {
        self.run(Operation::Begin, key.as_str(), |state| {
            state.started_uploads += 1;
            let upload_id = format!("upload-{:06}", state.started_uploads);
            let object = UnfinishedObject { key: key.clone(), checksum, parts: BTreeMap::new() };
            state.unfinished.insert(upload_id.clone(), object);
            Ok(PartUpload { key: key.clone(), upload_id, checksum })
        })
        .await
    }

    async fn put_part(&self, upload: &PartUpload, part: Part) -> Result<StoredPart, StoreError> {
        let Part { number, content, crc64nvme, progress } = part;
        self.run(Operation::PutPart, upload.key.as_str(), |state| {
            let object = self.unfinished_object(state, upload)?;
            let bytes = Bytes::from(content.pieces().concat());
            if Crc64Nvme::of(&bytes) != crc64nvme {
                return Err(StoreError::digest_mismatch(&self.location(upload.key.as_str())));
            }
            if let Some(progress) = &progress {
                progress(bytes.len() as u64);
            }
            object.store(number, bytes)
        })
        .await
    }

    async fn copy_part(
        &self,
        upload: &PartUpload,
        number: u32,
        source: &SourceObject,
        range: Range<u64>,
    ) -> Result<StoredPart, StoreError> {
        self.run(Operation::CopyPart, upload.key.as_str(), |state| {
            let bytes = self.pinned(state, source)?.bytes;
            let ends = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
            let Some((start, end)) = ends.filter(|(start, end)| start < end && *end <= bytes.len())
            else {
                let message = format!("{} has no bytes {range:?}", source.location);
                return Err(StoreError::new(StoreErrorKind::Misconfigured, message));
            };
            self.unfinished_object(state, upload)?.store(number, bytes.slice(start..end))
        })
        .await
    }

    async fn stored_parts(&self, upload: &PartUpload) -> Result<Vec<StoredPart>, StoreError> {
        self.run(Operation::StoredParts, upload.key.as_str(), |state| {
            let object = self.unfinished_object(state, upload)?;
            Ok(object.parts.values().map(|(stored, _)| stored.clone()).collect())
        })
        .await
    }

    async fn complete_if_absent(
        &self,
        upload: &PartUpload,
        parts: &[StoredPart],
        expected: &ContentChecksums,
    ) -> Result<PutOutcome, StoreError> {
        self.run(Operation::Complete, upload.key.as_str(), |state| {
            let object = self.unfinished_object(state, upload)?.assemble(parts)?;
            let is_expected = object.info.size_bytes == expected.size_bytes
                && object.info.crc64nvme.is_none_or(|stored| stored == expected.crc64nvme);
            if !is_expected {
                return Err(StoreError::digest_mismatch(&self.location(upload.key.as_str())));
            }
            let outcome = state.put_if_absent(upload.key.as_str(), object);
            if outcome == PutOutcome::Created {
                state.unfinished.remove(&upload.upload_id);
            }
            Ok(outcome)
        })
        .await
    }

    async fn abort(&self, upload: &PartUpload) -> Result<(), StoreError> {
        self.run(Operation::Abort, upload.key.as_str(), |state| {
            state.unfinished.remove(&upload.upload_id);
            Ok(())
        })
        .await
    }

    async fn look_up_source(&self, location: &SourceLocation) -> Result<SourceObject, StoreError> {
        self.run(Operation::LookUpSource, &location.key, |state| {
            let found = self.source(state, location).ok_or_else(|| {
                StoreError::new(StoreErrorKind::NotFound, format!("{location} does not exist"))
            })?;
            let StoredObject { bytes: _, e_tag, info } = found;
            Ok(SourceObject { location: location.clone(), e_tag, info })
        })
        .await
    }

    fn source_location(&self, key: &ObjectKey) -> SourceLocation {
        let (bucket, key) = (self.name.clone(), key.to_string());
        SourceLocation { bucket, key, version_id: None }
    }

    async fn read_source(&self, source: &SourceObject) -> Result<Object, StoreError> {
        let find = |state: &State| self.pinned(state, source);
        self.run_read(Operation::ReadSource, &source.location.key, find).await
    }
}

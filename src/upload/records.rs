//! The records of an upload, the same in the store and on disk.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tara_export_bundle::AcceptedTime;
use tara_export_digest::{ContentChecksums, ContentHasher, SavedHasher, Sha256};
use tara_export_limits::CallerKey;
use tara_export_store::{ObjectChecksum, ObjectKey, PartUpload};
use uuid::Uuid;

use crate::transfer::PART_BYTES;

/// The record that creates an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UploadRecord {
    pub upload_id: Uuid,
    pub size_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    pub created_time: AcceptedTime,
    /// The store's id of the multipart upload. `None` if the document is not put in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_upload_id: Option<String>,
    /// The digest of the creating request ([`request_key`]), by which a repeated request finds the upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Sha256>,
    /// The digest of the authenticated caller that created the upload. Only this caller may write to it. `None` if
    /// callers do not authenticate, and in records of previous releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Sha256>,
    /// The digest of the caller's key; only on disk, where callers share the capacity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Sha256>,
}

impl UploadRecord {
    /// Checks that the record belongs to this upload.
    ///
    /// # Errors
    /// [`InvalidRecord`] if it belongs to another upload.
    pub(super) fn of(self, upload_id: Uuid) -> Result<Self, InvalidRecord> {
        if self.upload_id == upload_id { Ok(self) } else { Err(InvalidRecord) }
    }

    /// Whether the upload is for the requested document.
    pub(super) fn is_for(&self, requested: &Self) -> bool {
        self.size_bytes == requested.size_bytes && self.sha256 == requested.sha256
    }

    /// Whether this caller may send bytes to it.
    pub(super) fn is_writable_by(&self, caller: &CallerKey) -> bool {
        self.owner.is_none_or(|owner| owner_of(caller) == Some(owner))
    }

    pub(super) fn is_expired(&self, now: DateTime<Utc>, retention: Duration) -> bool {
        self.expire_time(retention) <= now
    }

    pub(super) fn expire_time(&self, retention: Duration) -> DateTime<Utc> {
        expire_time(self.created_time.as_datetime(), retention)
    }

    /// The multipart upload of the document.
    pub(super) fn part_upload(&self, key: ObjectKey) -> Option<PartUpload> {
        let upload_id = self.part_upload_id.clone()?;
        Some(PartUpload { key, upload_id, checksum: ObjectChecksum::Crc64Nvme })
    }
}

/// A checkpoint of an upload's progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub hasher: SavedHasher,
    /// The bytes since the start of the current part, in the store only. Empty at the start of a part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<Piece>,
}

/// The bytes of one chunk, or of its end, until their part is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub offset: u64,
    pub size_bytes: u64,
    pub sha256: Sha256,
}

impl Checkpoint {
    /// The hasher after the first `size_bytes` bytes of an upload.
    ///
    /// # Errors
    /// [`InvalidRecord`] if the hasher is invalid or at another offset.
    pub(super) fn restore_at(&self, size_bytes: u64) -> Result<ContentHasher, InvalidRecord> {
        let hasher = self.hasher.restore().map_err(|_| InvalidRecord)?;
        if hasher.size_bytes() == size_bytes { Ok(hasher) } else { Err(InvalidRecord) }
    }

    /// The pieces of the part that `size_bytes` is in. Empty at the end of the document, whose last part is complete.
    ///
    /// # Errors
    /// [`InvalidRecord`] if they are not exactly the bytes from the part's start to `size_bytes`.
    pub(super) fn pieces_to(
        &self,
        size_bytes: u64,
        document_bytes: u64,
    ) -> Result<Vec<Piece>, InvalidRecord> {
        if size_bytes == document_bytes {
            return Ok(Vec::new());
        }
        let start = size_bytes / PART_BYTES * PART_BYTES;
        let end = self.pieces.iter().try_fold(start, |end, piece| {
            (piece.offset == end).then(|| end.checked_add(piece.size_bytes)).flatten()
        });
        if end == Some(size_bytes) { Ok(self.pieces.clone()) } else { Err(InvalidRecord) }
    }
}

/// A record is readable but cannot belong to its upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is damaged or belongs to another upload")]
pub(super) struct InvalidRecord;

/// The upload of a request's attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub upload_id: Uuid,
}

/// A finished upload of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContentEntry {
    pub upload_id: Uuid,
}

/// A finished upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finished {
    pub checksums: ContentChecksums,
    /// The ETag of the object, which identifies its content; empty on disk.
    pub e_tag: String,
}

impl Finished {
    /// Checks that the record matches its upload.
    ///
    /// # Errors
    /// [`InvalidRecord`] if the size or digest is not the announced one.
    pub(super) fn of(self, record: &UploadRecord) -> Result<Self, InvalidRecord> {
        let has_size = self.checksums.size_bytes == record.size_bytes;
        let has_digest = record.sha256.is_none_or(|announced| announced == self.checksums.sha256);
        if has_size && has_digest { Ok(self) } else { Err(InvalidRecord) }
    }
}

/// An aborted upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Aborted {
    pub reason: String,
}

/// When an upload expires.
pub(super) fn expire_time(created_time: DateTime<Utc>, retention: Duration) -> DateTime<Utc> {
    let retention = TimeDelta::from_std(retention).unwrap_or(TimeDelta::MAX);
    created_time.checked_add_signed(retention).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The digest that identifies a request for an upload: of the caller, the request id and the content, if announced.
pub(super) fn request_key(
    caller: &CallerKey,
    request_id: Uuid,
    size_bytes: u64,
    sha256: Option<Sha256>,
) -> Sha256 {
    let content = sha256.map(|sha256| format!("{sha256}:{size_bytes}")).unwrap_or_default();
    // The caller is last, because its name may contain any characters.
    Sha256::of(format!("{request_id}\n{content}\n{caller}").as_bytes())
}

/// The owner of uploads that this caller creates. `None` if callers do not authenticate, because a client's address may
/// change during an upload.
pub(super) fn owner_of(caller: &CallerKey) -> Option<Sha256> {
    caller.is_named().then(|| digest_of(caller))
}

pub(super) fn digest_of(caller: &CallerKey) -> Sha256 {
    Sha256::of(caller.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_key_depends_on_caller_id_and_announced_content() {
        let key = |name: &str, id: u128, size, content: Option<&[u8]>| {
            let sha256 = content.map(Sha256::of);
            request_key(&CallerKey::named(name), Uuid::from_u128(id), size, sha256)
        };
        let first = key("ada", 1, 1, Some(b"x"));
        assert_eq!(key("ada", 1, 1, Some(b"x")), first);
        let others = [
            key("bob", 1, 1, Some(b"x")),
            key("ada", 2, 1, Some(b"x")),
            key("ada", 1, 2, Some(b"x")),
            key("ada", 1, 1, Some(b"y")),
            key("ada", 1, 1, None),
        ];
        assert!(!others.contains(&first));
        // Without a digest, the id alone identifies the upload, and another size is an error.
        assert_eq!(key("ada", 1, 1, None), key("ada", 1, 2, None));
    }

    #[test]
    fn only_the_authenticated_owner_can_write() {
        let (ada, bob) = (CallerKey::named("ada"), CallerKey::named("bob"));
        let address = CallerKey::address([192, 0, 2, 1].into());
        let record = |maker: &CallerKey| UploadRecord {
            upload_id: Uuid::nil(),
            size_bytes: 0,
            sha256: None,
            created_time: AcceptedTime::new(DateTime::UNIX_EPOCH),
            part_upload_id: None,
            request: None,
            owner: owner_of(maker),
            caller: None,
        };
        assert!(record(&ada).is_writable_by(&ada));
        assert!(!record(&ada).is_writable_by(&bob));
        assert!(!record(&ada).is_writable_by(&address));
        assert!(record(&address).is_writable_by(&CallerKey::address([192, 0, 2, 2].into())));
    }
}

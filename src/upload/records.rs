//! What is written down of an upload, in the store and on disk alike.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    bundle::AcceptedTime,
    digest::{ContentChecksums, SavedHasher, Sha256},
    store::{ObjectKey, PartUpload, WholeChecksum},
};

/// How many uploads of one content can be given up before CreateUpload with its digest fails. Each is the
/// work of a client that sent other bytes than it announced.
const MOST_ATTEMPTS: u32 = 16;
/// The namespace of the ids of uploads whose digest is known; drawn at random once.
const CONTENT_NAMESPACE: Uuid = Uuid::from_u128(0x5d0f_6f0c_9a3b_4a54_8a3e_07d2_1f6b_c9e1);

/// What is known of an upload from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UploadRecord {
    pub upload_id: Uuid,
    pub size_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    pub created_time: AcceptedTime,
    /// The store's own name of the object in the making; none where that is not put in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_upload_id: Option<String>,
    /// A digest of the caller's key, on disk: its room there is shared between callers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Sha256>,
}

impl UploadRecord {
    /// Whether an upload can take what another was to take.
    pub(super) fn is_for(&self, wanted: &Self) -> bool {
        self.size_bytes == wanted.size_bytes && self.sha256 == wanted.sha256
    }

    pub(super) fn expire_time(&self, retention: Duration) -> DateTime<Utc> {
        expire_time(self.created_time.as_datetime(), retention)
    }

    /// The object in the making.
    pub(super) fn part_upload(&self, key: ObjectKey) -> Option<PartUpload> {
        let upload_id = self.part_upload_id.clone()?;
        Some(PartUpload { key, upload_id, keeps: WholeChecksum::Crc64Nvme })
    }
}

/// How far an upload has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub hasher: SavedHasher,
}

/// A finished upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finished {
    pub checksums: ContentChecksums,
    /// What names the object's very content to the store; empty on disk.
    pub e_tag: String,
}

/// An upload that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Aborted {
    pub reason: String,
}

/// Until when an upload can be used.
pub(super) fn expire_time(created_time: DateTime<Utc>, retention: Duration) -> DateTime<Utc> {
    let retention = TimeDelta::from_std(retention).unwrap_or(TimeDelta::MAX);
    created_time.checked_add_signed(retention).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The ids that an upload may have, in the order in which they are tried. With the digest they are made of
/// the content alone, so that all uploads of one content are one.
pub(super) fn upload_ids(
    request_id: Uuid,
    size_bytes: u64,
    sha256: Option<Sha256>,
) -> impl Iterator<Item = Uuid> {
    let (attempts, name) = match sha256 {
        Some(sha256) => (MOST_ATTEMPTS, Some(format!("{sha256}:{size_bytes}"))),
        None => (1, None),
    };
    (0..attempts).map(move |attempt| match &name {
        Some(name) => Uuid::new_v5(&CONTENT_NAMESPACE, format!("{name}:{attempt}").as_bytes()),
        None => request_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_has_the_same_ids_whoever_sends_it() {
        let digest = Some(Sha256::of(b"x"));
        let ids = |request, size, digest| {
            upload_ids(Uuid::from_u128(request), size, digest).collect::<Vec<_>>()
        };
        assert_eq!(ids(1, 1, digest), ids(2, 1, digest));
        assert_eq!(ids(1, 1, digest).len(), 16);
        assert_ne!(ids(1, 1, digest)[0], ids(1, 2, digest)[0]);
        assert_ne!(ids(1, 1, digest)[0], ids(1, 1, Some(Sha256::of(b"y")))[0]);
        assert_eq!(ids(1, 1, None), [Uuid::from_u128(1)]);
    }
}

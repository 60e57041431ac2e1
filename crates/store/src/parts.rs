//! Multipart uploads: objects that are put in parts or copied from other objects, because they are too large
//! for one request.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use tara_export_digest::{ContentChecksums, Crc64Nvme};

use super::{Object, ObjectInfo, ObjectKey, PutOutcome, Store, StoreError, StoreErrorKind};

/// The largest part number (Amazon S3 User Guide, "Amazon S3 multipart upload limits").
pub const MAX_PARTS: u32 = 10_000;
/// The minimum size of every part but the last (ibidem).
pub const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// A store with multipart uploads. The parts of an object become visible together.
///
/// As with [`Store`](super::Store), no operation retries. Stored parts cost money until the upload is
/// completed or aborted: the caller must do one of the two.
#[async_trait]
pub trait PartStore: Send + Sync {
    /// Starts an upload. The key has no visible object yet.
    async fn begin(
        &self,
        key: &ObjectKey,
        media_type: &str,
        checksum: ObjectChecksum,
    ) -> Result<PartUpload, StoreError>;

    /// Stores one part. The store verifies its checksum. Storing the same number again replaces the part.
    async fn put_part(&self, upload: &PartUpload, part: Part) -> Result<StoredPart, StoreError>;

    /// Copies a range of another object into a part, inside the store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`](super::StoreErrorKind::Changed) if the source was replaced or removed, and
    /// [`StoreErrorKind::NotFound`](super::StoreErrorKind::NotFound) if the upload no longer exists.
    async fn copy_part(
        &self,
        upload: &PartUpload,
        number: u32,
        source: &SourceObject,
        range: Range<u64>,
    ) -> Result<StoredPart, StoreError>;

    /// The stored parts, ordered by number.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](super::StoreErrorKind::NotFound) if the upload was completed or aborted.
    async fn stored_parts(&self, upload: &PartUpload) -> Result<Vec<StoredPart>, StoreError>;

    /// Creates the object from these parts unless the key has one. The store verifies the checksum of the
    /// complete object if it keeps one.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](super::StoreErrorKind::NotFound) if the upload no longer exists: a previous
    /// completion whose response was lost may have created the object.
    async fn complete_if_absent(
        &self,
        upload: &PartUpload,
        parts: &[StoredPart],
        expected: &ContentChecksums,
    ) -> Result<PutOutcome, StoreError>;

    /// Discards the parts. Succeeds if the upload no longer exists.
    async fn abort(&self, upload: &PartUpload) -> Result<(), StoreError>;

    /// Looks up a foreign object, in this bucket or another, and pins its version.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](super::StoreErrorKind::NotFound) if it does not exist.
    async fn look_up_source(&self, location: &SourceLocation) -> Result<SourceObject, StoreError>;

    /// The location of an object of this store, as a source.
    fn source_location(&self, key: &ObjectKey) -> SourceLocation;

    /// Reads a pinned object.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`](super::StoreErrorKind::Changed) as in [`PartStore::copy_part`].
    async fn read_source(&self, source: &SourceObject) -> Result<Object, StoreError>;
}

/// An unfinished multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartUpload {
    /// The key of the object.
    pub key: ObjectKey,
    /// The store's id of the upload.
    pub upload_id: String,
    /// The checksum that the store computes of the complete object.
    pub checksum: ObjectChecksum,
}

/// The checksum that a store keeps of an object that is put in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectChecksum {
    /// CRC-64/NVME, of the object and of every part.
    Crc64Nvme,
    /// No checksum: not every server computes checksums of copied parts.
    None,
}

/// A part to store.
#[derive(Clone)]
pub struct Part {
    /// The part number, 1 to [`MAX_PARTS`].
    pub number: u32,
    /// Its bytes.
    pub content: Segments,
    /// Their checksum.
    pub crc64nvme: Crc64Nvme,
    /// Called with the bytes sent so far in this attempt.
    pub progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl fmt::Debug for Part {
    // Never the content.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Part")
            .field("number", &self.number)
            .field("size_bytes", &self.content.size_bytes())
            .finish_non_exhaustive()
    }
}

/// A sequence of byte pieces as received, without copying them into one buffer. Cheap to clone.
#[derive(Clone, Default)]
pub struct Segments(Arc<[Bytes]>);

impl Segments {
    /// The pieces in order.
    pub fn new(pieces: Vec<Bytes>) -> Self {
        Self(pieces.into())
    }

    /// The total size of the pieces.
    pub fn size_bytes(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }

    /// The pieces.
    pub fn pieces(&self) -> &[Bytes] {
        &self.0
    }
}

impl From<Bytes> for Segments {
    fn from(bytes: Bytes) -> Self {
        Self::new(vec![bytes])
    }
}

/// The multipart interface of a store.
///
/// # Errors
/// [`StoreErrorKind::Misconfigured`] if the store has none.
pub fn parts_of(store: &dyn Store) -> Result<&dyn PartStore, StoreError> {
    store.parts().ok_or_else(|| {
        let message = format!("{} does not support multipart uploads", store.location(""));
        StoreError::new(StoreErrorKind::Misconfigured, message)
    })
}

/// A stored part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// The part number.
    pub number: u32,
    /// The store's identifier of the part's content.
    pub e_tag: String,
    /// Its checksum, if the store returned it.
    pub crc64nvme: Option<Crc64Nvme>,
}

/// The location of an object to copy or read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceLocation {
    /// The bucket.
    pub bucket: String,
    /// The full key in the bucket.
    pub key: String,
    /// The version; `None`: the newest.
    pub version_id: Option<String>,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}/{}", self.bucket, self.key)
    }
}

/// Objects that may be used as sources: the keys of a bucket that have a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedSource {
    /// The bucket.
    pub bucket: String,
    /// The prefix of the full keys; empty, or ends with `/`.
    pub prefix: String,
}

impl AllowedSource {
    /// Whether an object is an allowed source.
    pub fn covers(&self, location: &SourceLocation) -> bool {
        // `..` in a key has no special meaning in S3.
        self.bucket == location.bucket && location.key.starts_with(&self.prefix)
    }
}

/// An object with pinned content: reads and copies fail if it has changed since the lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceObject {
    /// Its location.
    pub location: SourceLocation,
    /// The store's identifier of its content.
    pub e_tag: String,
    /// Its metadata.
    pub info: ObjectInfo,
}

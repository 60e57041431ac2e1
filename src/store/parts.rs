//! Objects that are put in parts, and copied from other objects: what is too large for one request.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Object, ObjectInfo, ObjectKey, PutOutcome, StoreError};
use crate::digest::{ContentChecksums, Crc64Nvme};

/// A part's number is at most this (Amazon S3 User Guide, "Amazon S3 multipart upload limits").
pub const MOST_PARTS: u32 = 10_000;
/// Every part but the last has at least this many bytes (ibidem).
pub const SMALLEST_PART_BYTES: u64 = 5 * 1024 * 1024;

/// A store that makes an object of parts, which become visible together or not at all.
///
/// As with [`Store`](super::Store), no operation retries by itself. Parts that lead to no object cost
/// money until they are aborted: who begins an upload sees to its end.
#[async_trait]
pub trait PartStore: Send + Sync {
    /// Begins an object. Nothing is visible under the key.
    async fn begin(
        &self,
        key: &ObjectKey,
        media_type: &str,
        keeps: WholeChecksum,
    ) -> Result<PartUpload, StoreError>;

    /// Stores one part. The store checks its checksum. The same number again replaces the part.
    async fn put_part(&self, upload: &PartUpload, part: Part) -> Result<StoredPart, StoreError>;

    /// Makes a part of a range of another object, inside the store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`](super::StoreErrorKind::Changed) where the source is not what it was, or
    /// gone, and [`StoreErrorKind::NotFound`](super::StoreErrorKind::NotFound) where the upload is.
    async fn copy_part(
        &self,
        upload: &PartUpload,
        number: u32,
        source: &SourceObject,
        range: Range<u64>,
    ) -> Result<StoredPart, StoreError>;

    /// The parts that are stored, by number.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](super::StoreErrorKind::NotFound) where the upload was completed or
    /// aborted.
    async fn stored_parts(&self, upload: &PartUpload) -> Result<Vec<StoredPart>, StoreError>;

    /// Makes the object of these parts unless the key holds one. The store checks the checksum of the
    /// whole where it keeps one.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](super::StoreErrorKind::NotFound) where the upload is there no more:
    /// an earlier completion whose answer was lost may have made the object.
    async fn complete_if_absent(
        &self,
        upload: &PartUpload,
        parts: &[StoredPart],
        whole: &ContentChecksums,
    ) -> Result<PutOutcome, StoreError>;

    /// Throws the parts away. One that is there no more is as good as aborted.
    async fn abort(&self, upload: &PartUpload) -> Result<(), StoreError>;

    /// Looks an object up that others made, in this bucket or another, and pins its version.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](super::StoreErrorKind::NotFound) where there is none.
    async fn look_up_source(&self, location: &SourceLocation) -> Result<SourceObject, StoreError>;

    /// Where an object of this store lies, as a source.
    fn source_location(&self, key: &ObjectKey) -> SourceLocation;

    /// A pinned object's bytes.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`](super::StoreErrorKind::Changed) as in [`PartStore::copy_part`].
    async fn read_source(&self, source: &SourceObject) -> Result<Object, StoreError>;
}

/// An object in the making.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartUpload {
    /// What it will be named.
    pub key: ObjectKey,
    /// The store's own name of the upload.
    pub upload_id: String,
    /// What the store computes of the whole.
    pub keeps: WholeChecksum,
}

/// What a store keeps of an object that is put in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WholeChecksum {
    /// CRC-64/NVME, and so of every part.
    Crc64Nvme,
    /// Nothing: not every server computes checksums of what it copies.
    None,
}

/// A part to be stored.
#[derive(Clone)]
pub struct Part {
    /// Its place among the parts, 1 to [`MOST_PARTS`].
    pub number: u32,
    /// Its bytes.
    pub content: Segments,
    /// Their checksum.
    pub crc64nvme: Crc64Nvme,
    /// Told how many bytes of this attempt were sent so far.
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

/// Bytes as they came, one piece behind the other, without being copied into one. Cheap to clone.
#[derive(Clone, Default)]
pub struct Segments(Arc<[Bytes]>);

impl Segments {
    /// These pieces.
    pub fn new(pieces: Vec<Bytes>) -> Self {
        Self(pieces.into())
    }

    /// How many bytes they have together.
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

/// A part that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// Its place among the parts.
    pub number: u32,
    /// What names this very content of the part to the store.
    pub e_tag: String,
    /// Its checksum, where the store said it.
    pub crc64nvme: Option<Crc64Nvme>,
}

/// Where an object lies that becomes part of another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceLocation {
    /// The bucket.
    pub bucket: String,
    /// The whole key in it.
    pub key: String,
    /// The version; none: the newest.
    pub version_id: Option<String>,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}/{}", self.bucket, self.key)
    }
}

/// An object whose content is pinned: it is read and copied as it was when it was looked up, or not
/// at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceObject {
    /// Where it lies.
    pub location: SourceLocation,
    /// What names this very content to the store.
    pub e_tag: String,
    /// What the store says of it.
    pub info: ObjectInfo,
}

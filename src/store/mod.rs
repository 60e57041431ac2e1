//! Objects under keys, in S3 or on local disk. Knows nothing of reviews and bundles.
//!
//! Invariant: an object is written once and visible whole or not at all. No operation replaces what a
//! key holds; only [`Store::delete`] removes, for the service's own second copies.

mod error;
mod key;
mod links;
mod parts;
mod probe;

pub mod local;
pub mod s3;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{TryStreamExt as _, stream::BoxStream};
use tokio::sync::Semaphore;

pub use self::{
    error::{FailureCause, StoreError, StoreErrorKind},
    key::{InvalidKey, ObjectKey},
    links::{Link, LinkObjects, LinkWish},
    parts::{
        MOST_PARTS, Part, PartStore, PartUpload, SMALLEST_PART_BYTES, Segments, SourceLocation,
        SourceObject, StoredPart, WholeChecksum,
    },
    probe::honours_conditional_put,
};
use crate::{
    digest::{ContentChecksums, ContentHasher, Crc64Nvme, Sha256},
    limits::Pools,
};

/// A place for objects. One contract suite (`tests/store_contract/`) holds for every backend.
///
/// No operation retries by itself: the caller knows how long it may take. Every operation ends
/// within the backend's own timeouts.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Which kind of store this is.
    fn kind(&self) -> StoreKind;

    /// Where the object or the prefix lies, for people: `s3://bucket/base/key` or an absolute path.
    fn location(&self, key: &str) -> String;

    /// Stores an object unless the key holds one. The object is durable when this returns. The
    /// store itself checks that what it received has the payload's digest.
    ///
    /// After an error the object may be there or not, and may still appear: ask again with the
    /// same payload.
    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError>;

    /// Stores an object whose bytes are not in memory unless the key holds one. What comes is held
    /// against the checksums before it becomes visible.
    ///
    /// Only for stores that put no objects in parts, and without an own way the object is collected in
    /// memory first.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`] where other bytes come, and what reading them gives.
    async fn put_stream_if_absent(
        &self,
        key: &ObjectKey,
        payload: StreamedPayload,
    ) -> Result<PutOutcome, StoreError> {
        let StreamedPayload { expected, media_type, mut body, progress } = payload;
        let mut hasher = ContentHasher::default();
        let mut bytes = Vec::new();
        while let Some(piece) = body.try_next().await? {
            hasher.update(&piece);
            bytes.extend_from_slice(&piece);
        }
        if hasher.finish() != expected {
            return Err(StoreError::other_bytes_came(&self.location(key.as_str())));
        }
        let payload =
            Payload { progress, ..Payload::new(bytes.into(), expected.sha256, media_type) };
        self.put_if_absent(key, payload).await
    }

    /// The way in for objects that are too large for one request, where the store has one.
    fn parts(&self) -> Option<&dyn PartStore> {
        None
    }

    /// Size, digests (where the store keeps them) and time of an object.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] when the key holds nothing.
    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError>;

    /// An object's bytes as a stream; a truncated answer ends the stream with an error.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] when the key holds nothing.
    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError>;

    /// Keys below a prefix in code-unit order of their UTF-8, at most `request.limit` of them.
    async fn list(&self, request: ListRequest) -> Result<Listing, StoreError>;

    /// Removes an object. It is gone for good when this returns; a key that holds nothing is as good
    /// as removed.
    ///
    /// Only for the service's own second copies: a local bundle whose every object was verified in
    /// S3, and the journal's entries in S3 (`journal: store`) once the bundle is committed and
    /// verified. A service that may not delete from S3 leaves those to a lifecycle rule.
    ///
    /// After an error the object may be there or not, and may still go: ask again. So a key is not
    /// put again before its deletion has succeeded. Of a put and a deletion of one key at once either
    /// may be the last, and the put may say [`StoreErrorKind::Unavailable`]; puts of other keys take
    /// no notice.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] where the key's place on disk is taken by what is no object,
    /// or the key is kept for the service's own files; [`StoreErrorKind::Denied`] where S3 lets this
    /// service not delete.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError>;

    /// Tries everything an export needs, in order, and says what to do about each failure. Writes
    /// nothing but fixed probe objects below `.tara-export/probe/`.
    async fn probe(&self) -> Vec<ProbeResult>;

    /// Whether this machine's disk takes writes, where the store is on it: one small write, durable, of
    /// which nothing stays. Cheap enough to be repeated every few seconds.
    ///
    /// # Errors
    /// As those of a put.
    async fn check_writable(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The threads that do its blocking work.
    fn pools(&self) -> Pools {
        Pools::default()
    }

    /// Links to objects, where the store can make them.
    fn links(&self) -> Option<&dyn LinkObjects> {
        None
    }
}

/// The kinds of store there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreKind {
    /// An S3 bucket.
    S3,
    /// This machine's disk.
    Local,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::S3 => "S3",
            Self::Local => "the local store",
        })
    }
}

/// What [`Store::put_if_absent`] stores. Cheap to clone.
#[derive(Clone)]
pub struct Payload {
    /// The object's bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub sha256: Sha256,
    /// Their media type.
    pub media_type: String,
    /// Told how many bytes of this attempt were sent so far; called often for large payloads,
    /// maybe never for small ones.
    pub progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl Payload {
    /// A payload whose progress nobody follows.
    pub fn new(bytes: Bytes, sha256: Sha256, media_type: impl Into<String>) -> Self {
        Self { bytes, sha256, media_type: media_type.into(), progress: None }
    }
}

impl fmt::Debug for Payload {
    // Never the content: payloads appear in debug logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Payload")
            .field("size_bytes", &self.bytes.len())
            .field("sha256", &self.sha256)
            .field("media_type", &self.media_type)
            .finish_non_exhaustive()
    }
}

/// What [`Store::put_stream_if_absent`] stores.
pub struct StreamedPayload {
    /// What the bytes must be.
    pub expected: ContentChecksums,
    /// Their media type.
    pub media_type: String,
    /// The bytes.
    pub body: BoxStream<'static, Result<Bytes, StoreError>>,
    /// Told how many bytes were taken so far.
    pub progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// This put made the object.
    Created,
    /// The key held an object before, perhaps from an earlier attempt whose answer was lost.
    Exists,
}

/// What a store knows of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub size_bytes: u64,
    /// The digest of the whole object, where the store keeps one.
    pub sha256: Option<Sha256>,
    /// The CRC-64/NVME of the whole object, where the store keeps one.
    pub crc64nvme: Option<Crc64Nvme>,
    /// When the object was made, by the store's clock.
    pub modified_time: Option<DateTime<Utc>>,
}

/// An object being read.
pub struct Object {
    /// What the store says of it.
    pub info: ObjectInfo,
    /// Its bytes, in pieces of at most 1 MiB.
    pub body: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Object").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Which keys to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// Only keys that start with this; empty or ending with `/`.
    pub prefix: String,
    /// Only keys after this one.
    pub start_after: Option<String>,
    /// Folds everything below a further `/` into one entry of [`Listing::folders`].
    pub delimited: bool,
    /// At most this many keys and folders together, 1 to 1000.
    pub limit: usize,
}

/// Part of a store's keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The keys, ascending.
    pub keys: Vec<String>,
    /// With [`ListRequest::delimited`]: what was folded, each ending with `/`, ascending.
    pub folders: Vec<String>,
    /// What lies there and can be no object here, as text: names that break the rules of
    /// [`ObjectKey`], symbolic links. Not all of many, and some may come again with the next part.
    pub passed_over: Vec<String>,
    /// Whether there is more after the last of these.
    pub more: bool,
}

/// The outcome of one check of [`Store::probe`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// The check's name, such as `s3.conditional_put`.
    pub check: &'static str,
    /// How it ended.
    pub status: ProbeStatus,
    /// What was found, for a person.
    pub message: String,
    /// What to do about it; empty when there is nothing to do.
    pub hint: String,
    /// How long it took.
    pub duration: Duration,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeStatus {
    /// All is well.
    Passed,
    /// Exports work, and somebody should look.
    Warning,
    /// Exports to this store don't work.
    Failed,
    /// Not made: an earlier check failed.
    Skipped,
}

/// Small objects that are read at the same time have at most so many bytes, whoever asks for them.
const SMALL_READS_BYTES: u32 = 32 * 1024 * 1024;
static SMALL_READS: Semaphore = Semaphore::const_new(SMALL_READS_BYTES as usize);

/// Reads a small object whole.
///
/// # Errors
/// What [`Store::get`] returns, and [`StoreErrorKind::Corrupt`] when the object is larger than
/// `limit_bytes`, which bounds the memory taken.
pub async fn read_small(
    store: &dyn Store,
    key: &ObjectKey,
    limit_bytes: u64,
) -> Result<(ObjectInfo, Bytes), StoreError> {
    let Object { info, mut body } = store.get(key).await?;
    let too_large = || {
        StoreError::new(
            StoreErrorKind::Corrupt,
            format!(
                "{} is larger than the {limit_bytes} bytes it may have",
                store.location(key.as_str())
            ),
        )
    };
    if info.size_bytes > limit_bytes {
        return Err(too_large());
    }
    // What is larger than all small objects together has a reservation of its caller's.
    let share = u32::try_from(info.size_bytes).unwrap_or(u32::MAX);
    let _share = match share {
        ..=SMALL_READS_BYTES => SMALL_READS.acquire_many(share).await.ok(),
        _ => None,
    };
    // One that grew would take up to three times as much meanwhile.
    let mut bytes = Vec::with_capacity(usize::try_from(info.size_bytes).unwrap_or_default());
    while let Some(piece) = body.try_next().await? {
        if (bytes.len() + piece.len()) as u64 > limit_bytes {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok((info, bytes.into()))
}

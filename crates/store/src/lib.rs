//! Objects under keys, in S3 or on local disk. Independent of reviews and bundles.
//!
//! Invariant: an object is written once and becomes visible atomically. No operation replaces an existing
//! object; only [`Store::delete`] removes objects, for the service's own second copies.
//!
//! Never depends on gRPC, settings, metrics or bundles. S3 is a default feature: without it, the AWS SDK is not
//! compiled.

mod error;
mod key;
mod links;
mod parts;
mod probe;

pub mod local;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod s3;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{TryStreamExt as _, stream::BoxStream};
use tara_export_digest::{ContentChecksums, Crc64Nvme, Sha256};
use tara_export_limits::Pools;
use tokio::sync::Semaphore;

pub use self::{
    error::{FailureCause, StoreError, StoreErrorKind},
    key::{InvalidKey, ObjectKey},
    links::{Link, LinkObjects, LinkRequest},
    parts::{
        AllowedSource, MAX_PARTS, MIN_PART_BYTES, ObjectChecksum, Part, PartStore, PartUpload,
        Segments, SourceLocation, SourceObject, StoredPart, parts_of,
    },
    probe::honours_conditional_put,
};

/// An object store. Every backend passes the same contract suite (`tests/contract/`).
///
/// No operation retries: the caller knows the time budget. Every operation ends within the backend's own
/// timeouts.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// The kind of store.
    fn kind(&self) -> StoreKind;

    /// The human-readable location of an object or a prefix: `s3://bucket/base/key` or an absolute path.
    fn location(&self, key: &str) -> String;

    /// The store's location as configured, in one line. Depends on the settings alone. Different settings may
    /// lead to the same store, and the same settings may lead to a different store later.
    fn site(&self) -> String {
        self.location("")
    }

    /// Stores an object unless the key has one. The object is durable when this returns. The store itself checks
    /// the received bytes against the payload's digest.
    ///
    /// After an error the object may exist, be missing, or appear later: retry with the same payload.
    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError>;

    /// Stores an object from a stream unless the key has one. The bytes are checked against the checksums
    /// before the object becomes visible.
    ///
    /// Only for stores without multipart uploads ([`Store::parts`]).
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`] if the checksums do not match, the stream's error if it fails, and
    /// [`StoreErrorKind::Misconfigured`] in a store with multipart uploads.
    async fn put_stream_if_absent(
        &self,
        key: &ObjectKey,
        payload: StreamedPayload,
    ) -> Result<PutOutcome, StoreError>;

    /// Multipart uploads, for objects that are too large for one request. `None` if the store has none.
    fn parts(&self) -> Option<&dyn PartStore> {
        None
    }

    /// Size, digests (if the store keeps them) and modification time of an object.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] if the key has no object.
    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError>;

    /// An object's bytes as a stream; a truncated response ends the stream with an error.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] if the key has no object.
    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError>;

    /// Lists at most `request.limit` keys below a prefix, sorted by their UTF-8 bytes.
    async fn list(&self, request: ListRequest) -> Result<Listing, StoreError>;

    /// Removes an object. The removal is durable when this returns. Succeeds if the key has no object.
    ///
    /// Only for the service's own second copies: a local bundle whose objects were all verified in S3, and
    /// journal entries in S3 (`journal: store`) once the bundle is committed and verified. A service without
    /// the right to delete from S3 leaves journal entries to a lifecycle rule.
    ///
    /// After an error the object may exist, be missing, or be removed later: retry. Do not put a key again
    /// before its deletion has succeeded. A concurrent put and deletion of one key take effect in either
    /// order, and the put may fail with [`StoreErrorKind::Unavailable`]; puts of other keys are not affected.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] if the path on disk is not an object, or the key is reserved for the
    /// service's own files; [`StoreErrorKind::Denied`] if the service lacks the right to delete from S3.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError>;

    /// Checks everything an export needs, in order, with a hint for each failure. Writes only fixed probe
    /// objects below `.tara-export/probe/`.
    async fn probe(&self) -> Vec<ProbeResult>;

    /// Whether objects cannot be erased for a time after they were put, by the store's own settings.
    ///
    /// # Errors
    /// If the store does not respond, or the service may not read its settings.
    async fn has_default_retention(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Checks, without writing, that a put of this key would not fail for a reason that is known before. A store that
    /// knows only after a request returns `Ok`.
    ///
    /// # Errors
    /// The error that the put would return.
    async fn check_put(&self, _key: &ObjectKey) -> Result<(), StoreError> {
        Ok(())
    }

    /// Moves the files of previous releases to the places of this one, if the store is on this machine's disk. Reads and
    /// writes are correct meanwhile, and after an interruption. Returns the number of moved files.
    ///
    /// # Errors
    /// The same as those of a put. The other files may have been moved.
    async fn move_old_files(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Loads credentials again before the next request, although the current ones may still be valid. A store without
    /// credentials does nothing.
    fn reload_credentials(&self) {}

    /// Checks that this machine's disk accepts writes, if the store is on it: writes a small file durably and
    /// removes it. Cheap enough to repeat every few seconds.
    ///
    /// # Errors
    /// The same as those of a put.
    async fn check_writable(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The thread pools for blocking work.
    fn pools(&self) -> Pools {
        Pools::default()
    }

    /// Links to objects. `None` if the store cannot create them.
    fn links(&self) -> Option<&dyn LinkObjects> {
        None
    }
}

/// The kinds of store.
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

/// The content of an object for [`Store::put_if_absent`]. Cheap to clone.
#[derive(Clone)]
pub struct Payload {
    /// The object's bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub sha256: Sha256,
    /// Their media type.
    pub media_type: String,
    /// Called with the bytes sent so far in this attempt: often for large payloads, possibly never for small
    /// ones.
    pub progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl Payload {
    /// A payload without a progress callback.
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

/// The content of an object for [`Store::put_stream_if_absent`].
pub struct StreamedPayload {
    /// The size and the checksums that the bytes must have.
    pub expected: ContentChecksums,
    /// Their media type.
    pub media_type: String,
    /// The bytes.
    pub body: BoxStream<'static, Result<Bytes, StoreError>>,
    /// Called with the bytes read so far.
    pub progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

/// The outcome of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// This put created the object.
    Created,
    /// The key already had an object, perhaps from a previous attempt whose response was lost.
    Exists,
}

/// Metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub size_bytes: u64,
    /// The digest of the complete object, if the store keeps one.
    pub sha256: Option<Sha256>,
    /// The CRC-64/NVME of the complete object, if the store keeps one.
    pub crc64nvme: Option<Crc64Nvme>,
    /// The creation time of the object, by the store's clock.
    pub modified_time: Option<DateTime<Utc>>,
}

/// An object and the stream of its bytes.
pub struct Object {
    /// The object's metadata.
    pub info: ObjectInfo,
    /// Its bytes, in pieces of at most 1 MiB.
    pub body: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Object").field("info", &self.info).finish_non_exhaustive()
    }
}

/// The keys to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// Only keys with this prefix, which is empty or ends with `/`.
    pub prefix: String,
    /// Only keys after this one.
    pub start_after: Option<String>,
    /// Groups all keys below the next `/` into one entry of [`Listing::folders`].
    pub delimited: bool,
    /// The maximum number of keys and folders together, 1 to 1000.
    pub limit: usize,
}

/// One page of a store's keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The keys, ascending.
    pub keys: Vec<String>,
    /// The creation time of each key's object, by the store's clock, in the order of the keys. Empty if the
    /// listing has no times: use [`Store::head`].
    pub modified_times: Vec<Option<DateTime<Utc>>>,
    /// With [`ListRequest::delimited`]: the grouped prefixes, each ending with `/`, ascending.
    pub folders: Vec<String>,
    /// Entries that are not valid objects, as text: names that break the rules of [`ObjectKey`], symbolic
    /// links. Limited in number, and the next page may repeat some.
    pub skipped: Vec<String>,
    /// Whether more entries follow.
    pub more: bool,
}

impl Listing {
    /// The keys, each with the creation time of its object if the listing has it.
    pub fn keys_with_times(&self) -> impl Iterator<Item = (&String, Option<DateTime<Utc>>)> {
        let times = self.modified_times.iter().copied().chain(std::iter::repeat(None));
        self.keys.iter().zip(times)
    }
}

/// The outcome of one check of [`Store::probe`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// The check's name, such as `s3.conditional_put`.
    pub check: &'static str,
    /// The status.
    pub status: ProbeStatus,
    /// The finding, human-readable.
    pub message: String,
    /// The action to take; empty if none is needed.
    pub hint: String,
    /// The duration of the check.
    pub duration: Duration,
}

/// The status of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeStatus {
    /// No problem found.
    Passed,
    /// Exports work, but an operator should act.
    Warning,
    /// Exports to this store do not work.
    Failed,
    /// Not run, because a previous check failed.
    Skipped,
}

/// The maximum total size of small objects that are read concurrently, across all callers.
const SMALL_READS_BYTES: u32 = 32 * 1024 * 1024;
static SMALL_READS: Semaphore = Semaphore::const_new(SMALL_READS_BYTES as usize);

/// The response to a request, if it arrives within this time.
///
/// # Errors
/// That of the request, or [`StoreErrorKind::Unavailable`].
pub async fn within<T>(
    timeout: Duration,
    request: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(timeout, request).await.unwrap_or_else(|_| {
        Err(StoreError::new(StoreErrorKind::Unavailable, "the store does not respond in time"))
    })
}

/// Whether the key has an object.
///
/// # Errors
/// The errors of [`Store::head`], other than [`StoreErrorKind::NotFound`].
pub async fn exists(store: &dyn Store, key: &ObjectKey) -> Result<bool, StoreError> {
    match store.head(key).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a complete small object into memory.
///
/// # Errors
/// The errors of [`Store::get`], and [`StoreErrorKind::Corrupt`] if the object is larger than `limit_bytes`,
/// which bounds the memory.
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
                "cannot read {}: the object is larger than {limit_bytes} bytes",
                store.location(key.as_str())
            ),
        )
    };
    if info.size_bytes > limit_bytes {
        return Err(too_large());
    }
    // For an object larger than the shared limit, the caller has reserved the memory.
    let share = u32::try_from(info.size_bytes).unwrap_or(u32::MAX);
    let _share = match share {
        ..=SMALL_READS_BYTES => SMALL_READS.acquire_many(share).await.ok(),
        _ => None,
    };
    // Reserves the exact size: growing the buffer would need up to three times as much.
    let mut bytes = Vec::with_capacity(usize::try_from(info.size_bytes).unwrap_or_default());
    while let Some(piece) = body.try_next().await? {
        if (bytes.len() + piece.len()) as u64 > limit_bytes {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok((info, bytes.into()))
}

//! Uploads: documents that are sent in one stream or in chunks before the request that names them.
//!
//! An upload is in the store, so that any replica can receive its bytes and run the export, or on this replica's disk
//! if there is no bucket or S3 fails. Its records are write-once: checkpoints record the progress, and `finished`
//! records the verified checksums.

mod attempts;
mod create;
mod damaged;
mod disk;
mod disk_index;
mod error;
mod expiry;
mod files;
mod location;
mod locks;
mod pieces;
mod progress;
mod records;
mod store;

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use tara_export_clock::Clock;
use tara_export_digest::ContentChecksums;
use tara_export_limits::{CallerKey, FairPermit, FairSemaphore, Pool, Revocation};
use tara_export_store::Store;
use tara_export_telemetry::names;
use tokio::time;
use uuid::Uuid;

use self::{
    disk::DiskUploads,
    location::{LocatedUpload, Location},
    progress::Progress,
    store::StoreUploads,
};
pub use self::{error::UploadError, expiry::ExpiryPosition};
use crate::transfer::{PART_BYTES, PartMemory, Transfers};

/// Largest size of one chunk.
pub const CHUNK_BYTES: u64 = PART_BYTES;
/// Smallest size of one chunk, below the limit of 1 MiB that nginx sets for requests. Only the last chunk may be
/// smaller. Bounds the number of pieces of one part.
pub const MIN_CHUNK_BYTES: u64 = 512 * 1024;
/// Bytes between two checkpoints of a stream, which may have to be sent again after an interruption.
const CHECKPOINT_BYTES: u64 = 8 * PART_BYTES;
/// Maximum number of calls that wait for each permit.
const WAITING_PER_PERMIT: usize = 16;
/// Maximum number of cached finished uploads.
const MAX_CACHED: usize = 10_000;

/// Settings of uploads.
#[derive(Debug, Clone, Copy)]
pub struct UploadSettings {
    /// Maximum size of one document.
    pub document_size_bytes: u64,
    /// Maximum number of concurrent streams and chunks.
    pub concurrent_uploads: usize,
    /// How long an upload can be used.
    pub retention: Duration,
    /// Timeout for creating an upload in S3. After it, the upload is created on this disk.
    pub store_timeout: Duration,
    /// Retry budget of one call for S3.
    pub retry_budget: Duration,
    /// Maximum idle time of a stream.
    pub idle_timeout: Duration,
    /// Timeout for acquiring a permit.
    pub permit_timeout: Duration,
    /// Maximum total size of the uploads on this disk.
    pub disk_bytes: u64,
}

/// The status of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadStatus {
    /// The upload.
    pub upload_id: Uuid,
    /// The document's size in bytes.
    pub size_bytes: u64,
    /// The number of durable bytes.
    pub committed_size_bytes: u64,
    /// When the upload expires.
    pub expire_time: DateTime<Utc>,
    /// Size and digests, if the upload is finished.
    pub finished: Option<ContentChecksums>,
    /// Whether the upload is on this replica's disk, so that other replicas cannot use it.
    pub is_on_this_disk: bool,
}

/// A finished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedUpload {
    /// The location of the document.
    pub location: UploadLocation,
    /// The size and digests of the document.
    pub checksums: ContentChecksums,
}

/// The location of a finished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadLocation {
    /// In the store.
    Store {
        /// The ETag, which identifies the content.
        e_tag: String,
    },
    /// On this machine's disk.
    Disk {
        /// The file.
        file: PathBuf,
    },
}

/// Received bytes of a document.
pub struct IncomingBytes {
    /// The offset of the bytes.
    pub offset: u64,
    /// The bytes.
    pub pieces: BoxStream<'static, Result<Bytes, UploadError>>,
    /// Whether the document ends with the stream. Valid after the end of the stream.
    pub is_finished: Arc<AtomicBool>,
    /// The size if this is a chunk.
    pub chunk_bytes: Option<u64>,
}

/// The right to send bytes. Released when dropped. It can be revoked for another caller if this caller has more than
/// its fair share of permits or memory.
#[derive(Debug)]
pub struct UploadPermit {
    caller: CallerKey,
    _permit: FairPermit,
    memory: PermitMemory,
    revocation: Arc<Revocation>,
}

/// Memory for the parts of one call.
#[derive(Debug)]
struct PermitMemory {
    /// Memory for a chunk, which is received completely before it is processed.
    first: Option<FairPermit>,
    further: PartMemory,
}

impl UploadPermit {
    /// Signals the revocation of the permit. The call then has to end, and its caller can continue the upload.
    pub fn revocation(&self) -> Arc<Revocation> {
        self.revocation.clone()
    }
}

/// All uploads of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Uploads {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: UploadSettings,
    store: Option<StoreUploads>,
    disk: DiskUploads,
    transfers: Transfers,
    clock: Arc<dyn Clock>,
    permits: FairSemaphore,
    finished: Mutex<FinishedCache>,
}

/// A cache of recently finished uploads in the store.
#[derive(Debug, Default)]
struct FinishedCache {
    uploads: HashMap<Uuid, (FinishedUpload, DateTime<Utc>)>,
    order: VecDeque<Uuid>,
}

impl Uploads {
    /// Uploads into S3, if configured, and into this data directory, whose files are read and written on the threads of
    /// `pool`.
    pub fn new(
        settings: UploadSettings,
        s3: Option<Arc<dyn Store>>,
        data_dir: PathBuf,
        transfers: Transfers,
        clock: Arc<dyn Clock>,
        pool: Pool,
    ) -> Self {
        let store = s3.map(|store| StoreUploads {
            store,
            transfers: transfers.clone(),
            clock: clock.clone(),
            retry_budget: settings.retry_budget,
            retention: settings.retention,
        });
        let disk = DiskUploads::new(data_dir, settings.disk_bytes, settings.retention, pool);
        let permits = settings.concurrent_uploads as u64;
        let permits = FairSemaphore::new(permits, WAITING_PER_PERMIT * settings.concurrent_uploads);
        let inner =
            Inner { settings, store, disk, transfers, clock, permits, finished: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The shared transfers.
    pub fn transfers(&self) -> &Transfers {
        &self.inner.transfers
    }

    /// The status of an upload.
    ///
    /// # Errors
    /// [`UploadError::NotFound`] if the upload does not exist or has expired.
    pub async fn status(&self, upload_id: Uuid) -> Result<UploadStatus, UploadError> {
        let upload = self.find(upload_id).await?;
        self.status_of(&upload).await
    }

    async fn find(&self, upload_id: Uuid) -> Result<LocatedUpload<'_>, UploadError> {
        let Inner { store, disk, clock, settings, .. } = &*self.inner;
        let (found, location) = match (disk.find(upload_id).await?, store) {
            (None, Some(store)) => (store.find(upload_id).await?, Location::Store(store)),
            (found, _) => (found, Location::Disk(disk)),
        };
        let record = found.filter(|record| !record.is_expired(clock.now(), settings.retention));
        let record = record.ok_or(UploadError::NotFound { upload_id })?;
        Ok(LocatedUpload { record, location })
    }

    async fn status_of(&self, upload: &LocatedUpload<'_>) -> Result<UploadStatus, UploadError> {
        let Inner { settings, clock, .. } = &*self.inner;
        let LocatedUpload { record, location } = upload;
        let expire_time = record.expire_time(settings.retention);
        if expire_time <= clock.now() {
            return Err(UploadError::NotFound { upload_id: record.upload_id });
        }
        let (finished, committed_size_bytes) = match upload.progress().await? {
            Progress::Finished(finished) => (Some(finished.checksums), record.size_bytes),
            Progress::Unfinished { committed_size_bytes } => (None, committed_size_bytes),
        };
        Ok(UploadStatus {
            upload_id: record.upload_id,
            size_bytes: record.size_bytes,
            committed_size_bytes,
            expire_time,
            finished,
            is_on_this_disk: matches!(location, Location::Disk(_)),
        })
    }

    /// Receives bytes at an offset, which must be the committed size. After an error, the bytes up to the last
    /// checkpoint are kept.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn receive(
        &self,
        upload_id: Uuid,
        incoming: IncomingBytes,
        permit: UploadPermit,
    ) -> Result<UploadStatus, UploadError> {
        let upload = self.find(upload_id).await?;
        let record = &upload.record;
        if !record.is_writable_by(&permit.caller) {
            // Finished content is shared by digest. An unfinished upload belongs to its owner.
            let status = self.status_of(&upload).await?;
            return match status.finished {
                Some(_) => Ok(status),
                None => Err(UploadError::NotFound { upload_id }),
            };
        }
        if let Some(size_bytes) = incoming.chunk_bytes {
            let offset = incoming.offset;
            let rest_bytes = record.size_bytes.saturating_sub(offset);
            let (min_bytes, max_bytes) =
                (rest_bytes.min(MIN_CHUNK_BYTES), rest_bytes.min(CHUNK_BYTES));
            if !(min_bytes..=max_bytes).contains(&size_bytes) {
                return Err(UploadError::WrongChunk { offset, size_bytes, min_bytes, max_bytes });
            }
        }
        let UploadPermit { _permit, memory, .. } = permit;
        if let Some(finished) = upload.receive(incoming, memory).await? {
            self.cache(&upload, finished);
        }
        self.status_of(&upload).await
    }

    /// A finished document.
    ///
    /// # Errors
    /// [`UploadError::NotFound`] and [`UploadError::NotFinished`].
    pub async fn finished(&self, upload_id: Uuid) -> Result<FinishedUpload, UploadError> {
        let Inner { clock, settings, .. } = &*self.inner;
        if let Some((finished, created_time)) = self.cached().uploads.get(&upload_id)
            && records::expire_time(*created_time, settings.retention) > clock.now()
        {
            return Ok(finished.clone());
        }
        let upload = self.find(upload_id).await?;
        match upload.progress().await? {
            Progress::Finished(finished) => {
                self.cache(&upload, finished.clone());
                Ok(finished)
            }
            Progress::Unfinished { committed_size_bytes } => {
                let size_bytes = upload.record.size_bytes;
                Err(UploadError::NotFinished { upload_id, committed_size_bytes, size_bytes })
            }
        }
    }

    /// Maximum idle time of a stream.
    pub fn idle_timeout(&self) -> Duration {
        self.inner.settings.idle_timeout
    }

    /// Acquires a permit to send bytes, including the memory for a chunk. Must be acquired before the bytes are read.
    ///
    /// # Errors
    /// [`UploadError::Overloaded`] if the timeout in the settings expires.
    pub async fn permit(
        &self,
        caller: &CallerKey,
        is_chunk: bool,
    ) -> Result<UploadPermit, UploadError> {
        const SETTING: &str = "MAX_CONCURRENT_UPLOADS";
        let Inner { settings, permits, transfers, .. } = &*self.inner;
        if permits.free() == 0 {
            names::SHARES_WAITED.add(1, [SETTING]);
        }
        let deadline = time::Instant::now() + settings.permit_timeout;
        let acquired = async {
            let mut permit =
                permits.acquire_within(caller, 1, settings.permit_timeout).await.ok()?;
            let revocation = Arc::new(Revocation::default());
            let weak: Weak<Revocation> = Arc::downgrade(&revocation);
            permit.make_revocable(weak.clone());
            let further = transfers.part_memory().for_caller(caller.clone(), weak);
            let first = match is_chunk {
                true => {
                    let timeout = deadline.saturating_duration_since(time::Instant::now());
                    Some(further.acquire_within(timeout).await.ok()?)
                }
                false => None,
            };
            let memory = PermitMemory { first, further };
            Some(UploadPermit { caller: caller.clone(), _permit: permit, memory, revocation })
        };
        acquired.await.ok_or_else(|| {
            names::SHARES_REFUSED.add(1, [SETTING]);
            UploadError::Overloaded { limit: settings.concurrent_uploads }
        })
    }

    /// Caches an upload in the store, so that an export can be accepted while S3 does not respond.
    fn cache(&self, upload: &LocatedUpload<'_>, finished: FinishedUpload) {
        let LocatedUpload { record, location: Location::Store(_) } = upload else { return };
        let (upload_id, created_time) = (record.upload_id, record.created_time.as_datetime());
        let mut cached = self.cached();
        if cached.uploads.insert(upload_id, (finished, created_time)).is_none() {
            cached.order.push_back(upload_id);
        }
        if cached.order.len() > MAX_CACHED
            && let Some(oldest) = cached.order.pop_front()
        {
            cached.uploads.remove(&oldest);
        }
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, FinishedCache> {
        // No code panics while it holds the lock.
        self.inner.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod store_tests;

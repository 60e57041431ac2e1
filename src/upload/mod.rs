//! Documents that are too large for a request: sent in parts before it, and named by it.
//!
//! An upload lies in the store itself, so that any replica takes its parts and any can run the export; or on
//! this replica's disk, where there is no bucket or S3 can't take it. It is write-once like everything else:
//! how far it came is told by checkpoints, and `finished` by a record that names what was checked.

mod disk;
mod error;
mod expiry;
mod records;
mod room;
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
use tokio::time;
use uuid::Uuid;

pub use self::error::UploadError;
use self::{disk::DiskUploads, records::UploadRecord, store::StoreUploads};
use crate::{
    bundle::AcceptedTime,
    clock::Clock,
    digest::{ContentChecksums, Sha256},
    limits::{CallerKey, FairPermit, FairSemaphore, Pool, Revocation},
    store::Store,
    telemetry::names,
    transfer::{PART_BYTES, PartMemory, Transfers},
};

/// Bytes of one chunk: every chunk but the last has exactly this many.
pub const CHUNK_BYTES: u64 = PART_BYTES;
/// Between two checkpoints of a stream: what is sent again at most after a cut.
const CHECKPOINT_BYTES: u64 = 8 * PART_BYTES;
/// Calls that wait for each turn at most.
const WAITING_FOR_EACH_TURN: usize = 16;
/// Finished uploads that are known without asking the store.
const REMEMBERED: usize = 10_000;

/// How uploads are taken.
#[derive(Debug, Clone, Copy)]
pub struct UploadSettings {
    /// Bytes of one document at most.
    pub document_size_bytes: u64,
    /// Streams and chunks that are taken at once.
    pub concurrent_uploads: usize,
    /// How long an upload can be used.
    pub retention: Duration,
    /// How long S3 may take to say that it takes an upload; then this disk does.
    pub store_patience: Duration,
    /// The time one call has for failures of S3.
    pub retry_budget: Duration,
    /// How long a stream may be silent.
    pub idle_timeout: Duration,
    /// How long a call waits for its turn.
    pub patience: Duration,
    /// Bytes of all uploads on this disk at most.
    pub disk_bytes: u64,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadStatus {
    /// The upload.
    pub upload_id: Uuid,
    /// The document's size in bytes.
    pub size_bytes: u64,
    /// How many of them are safe.
    pub committed_size_bytes: u64,
    /// Until when it can be used.
    pub expire_time: DateTime<Utc>,
    /// Size and digests, once all is there and checked.
    pub finished: Option<ContentChecksums>,
    /// Whether it lies on this replica's disk, so that no other can use it.
    pub is_on_this_disk: bool,
}

/// A document that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedUpload {
    /// Where it lies.
    pub place: UploadPlace,
    /// What it is.
    pub checksums: ContentChecksums,
}

/// Where a finished upload lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadPlace {
    /// In the store.
    Store {
        /// What names its very content there.
        e_tag: String,
    },
    /// On this machine's disk.
    Disk {
        /// The file.
        file: PathBuf,
    },
}

/// What follows an offset of a document.
pub struct IncomingBytes {
    /// Where it begins.
    pub offset: u64,
    /// The bytes.
    pub pieces: BoxStream<'static, Result<Bytes, UploadError>>,
    /// Whether the document ends with the stream; known when that ends.
    pub is_finished: Arc<AtomicBool>,
    /// Of one chunk: how many bytes it has.
    pub chunk_bytes: Option<u64>,
}

/// The right to bring bytes; given back when dropped. It can be revoked for another caller, if this one has
/// more than its fair share of turns or memory.
#[derive(Debug)]
pub struct UploadTurn {
    _turn: FairPermit,
    memory: TurnMemory,
    revocation: Arc<Revocation>,
}

/// Memory for the parts of one call.
#[derive(Debug)]
struct TurnMemory {
    /// Of a chunk, which is there whole before it is looked at.
    first: Option<FairPermit>,
    further: PartMemory,
}

impl UploadTurn {
    /// Learns when the turn is revoked: the call then has to end, and its caller can continue it.
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
    turns: FairSemaphore,
    finished: Mutex<Remembered>,
}

/// The latest finished uploads of the store.
#[derive(Debug, Default)]
struct Remembered {
    uploads: HashMap<Uuid, (FinishedUpload, DateTime<Utc>)>,
    order: VecDeque<Uuid>,
}

impl Uploads {
    /// Uploads into this store, if there is one, and below this data directory, whose files these threads
    /// read and write.
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
            retry_budget: settings.retry_budget,
        });
        let disk = DiskUploads::new(data_dir, settings.disk_bytes, pool);
        let turns = settings.concurrent_uploads as u64;
        let turns = FairSemaphore::new(turns, WAITING_FOR_EACH_TURN * settings.concurrent_uploads);
        let inner =
            Inner { settings, store, disk, transfers, clock, turns, finished: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// What moves content here and elsewhere.
    pub fn transfers(&self) -> &Transfers {
        &self.inner.transfers
    }

    /// Makes room for a document, or finds the room that was made before, maybe with the content in it.
    ///
    /// # Errors
    /// [`UploadError::TooLarge`], [`UploadError::IdReused`], and where neither store takes it.
    pub async fn create(
        &self,
        caller: &CallerKey,
        request_id: Option<Uuid>,
        size_bytes: u64,
        sha256: Option<Sha256>,
    ) -> Result<UploadStatus, UploadError> {
        let Inner { settings, clock, store, disk, .. } = &*self.inner;
        let limit_bytes = settings.document_size_bytes;
        if size_bytes > limit_bytes {
            return Err(UploadError::TooLarge { size_bytes, limit_bytes });
        }
        let created_time = AcceptedTime::new(clock.now());
        let request_id = request_id.unwrap_or_else(|| clock.new_id());
        let record = |upload_id| UploadRecord {
            upload_id,
            size_bytes,
            sha256,
            created_time,
            part_upload_id: None,
            caller: None,
        };
        let caller = Sha256::of(caller.to_string().as_bytes());
        let mut last = UploadError::IdReused { upload_id: request_id };
        for upload_id in records::upload_ids(request_id, size_bytes, sha256) {
            let record = record(upload_id);
            // One that began on this disk goes on there.
            let found = match disk.find(upload_id).await {
                Ok(Some(earlier)) => Ok((earlier, true)),
                Ok(None) => self.create_anywhere(store.as_ref(), record.clone(), caller).await,
                Err(error) => Err(error),
            };
            match found {
                Ok((earlier, is_on_this_disk)) if earlier.is_for(&record) => {
                    match self.status_of(earlier, is_on_this_disk).await {
                        // Given up or too old: the next id is as good for this content.
                        Err(error @ UploadError::NotFound { .. }) => last = error,
                        status => return status,
                    }
                }
                Ok(_) => last = UploadError::IdReused { upload_id },
                Err(error) if error.is_of_this_upload() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn create_anywhere(
        &self,
        store: Option<&StoreUploads>,
        record: UploadRecord,
        caller: Sha256,
    ) -> Result<(UploadRecord, bool), UploadError> {
        let Inner { settings, disk, .. } = &*self.inner;
        let on_disk = UploadRecord { caller: Some(caller), ..record.clone() };
        let Some(store) = store else {
            return Ok((disk.create(on_disk).await?, true));
        };
        match time::timeout(settings.store_patience, store.create(record)).await {
            Ok(Ok(record)) => Ok((record, false)),
            Ok(Err(UploadError::Store(error))) => {
                tracing::warn!(%error, "S3 can't take an upload: it goes to this machine's disk");
                Ok((disk.create(on_disk).await?, true))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                tracing::warn!("S3 does not answer, so an upload goes to this machine's disk");
                Ok((disk.create(on_disk).await?, true))
            }
        }
    }

    /// How far an upload is.
    ///
    /// # Errors
    /// [`UploadError::NotFound`] where there is none, or none any more.
    pub async fn status(&self, upload_id: Uuid) -> Result<UploadStatus, UploadError> {
        let (record, is_on_this_disk) = self.find(upload_id).await?;
        self.status_of(record, is_on_this_disk).await
    }

    async fn find(&self, upload_id: Uuid) -> Result<(UploadRecord, bool), UploadError> {
        let Inner { store, disk, clock, settings, .. } = &*self.inner;
        let found = match disk.find(upload_id).await? {
            Some(record) => Some((record, true)),
            None => match store {
                Some(store) => store.find(upload_id).await?.map(|record| (record, false)),
                None => None,
            },
        };
        let (record, is_on_this_disk) = found.ok_or(UploadError::NotFound { upload_id })?;
        if record.expire_time(settings.retention) <= clock.now() {
            return Err(UploadError::NotFound { upload_id });
        }
        Ok((record, is_on_this_disk))
    }

    async fn status_of(
        &self,
        record: UploadRecord,
        is_on_this_disk: bool,
    ) -> Result<UploadStatus, UploadError> {
        let Inner { store, disk, settings, clock, .. } = &*self.inner;
        let expire_time = record.expire_time(settings.retention);
        if expire_time <= clock.now() {
            return Err(UploadError::NotFound { upload_id: record.upload_id });
        }
        let (finished, committed_size_bytes) = match store {
            Some(store) if !is_on_this_disk => store.progress(&record).await?,
            _ => disk.progress(&record).await?,
        };
        Ok(UploadStatus {
            upload_id: record.upload_id,
            size_bytes: record.size_bytes,
            committed_size_bytes,
            expire_time,
            finished: finished.map(|finished| finished.checksums),
            is_on_this_disk,
        })
    }

    /// Takes what follows an offset, which must be the committed size. The document ends with it where
    /// that is said; what came before an error is kept as far as a checkpoint tells.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn receive(
        &self,
        upload_id: Uuid,
        incoming: IncomingBytes,
        turn: UploadTurn,
    ) -> Result<UploadStatus, UploadError> {
        let Inner { store, disk, .. } = &*self.inner;
        let (record, is_on_this_disk) = self.find(upload_id).await?;
        if let Some(size_bytes) = incoming.chunk_bytes {
            let offset = incoming.offset;
            let wanted_bytes = record.size_bytes.saturating_sub(offset).min(CHUNK_BYTES);
            if size_bytes != wanted_bytes {
                return Err(UploadError::WrongChunk { offset, size_bytes, wanted_bytes });
            }
        }
        let UploadTurn { _turn, memory, .. } = turn;
        let finished = match store {
            Some(store) if !is_on_this_disk => store.receive(&record, incoming, memory).await?,
            _ => disk.receive(&record, incoming).await?,
        };
        if let (Some(finished), false) = (finished, is_on_this_disk) {
            self.remember(upload_id, finished, record.created_time.as_datetime());
        }
        self.status_of(record, is_on_this_disk).await
    }

    /// A finished document.
    ///
    /// # Errors
    /// [`UploadError::NotFound`] and [`UploadError::NotFinished`].
    pub async fn finished(&self, upload_id: Uuid) -> Result<FinishedUpload, UploadError> {
        let Inner { store, disk, clock, settings, .. } = &*self.inner;
        if let Some((finished, created_time)) = self.remembered().uploads.get(&upload_id)
            && records::expire_time(*created_time, settings.retention) > clock.now()
        {
            return Ok(finished.clone());
        }
        let (record, is_on_this_disk) = self.find(upload_id).await?;
        let (finished, committed_size_bytes) = match store {
            Some(store) if !is_on_this_disk => store.progress(&record).await?,
            _ => disk.progress(&record).await?,
        };
        let size_bytes = record.size_bytes;
        let finished = finished.ok_or(UploadError::NotFinished {
            upload_id,
            committed_size_bytes,
            size_bytes,
        })?;
        if !is_on_this_disk {
            self.remember(upload_id, finished.clone(), record.created_time.as_datetime());
        }
        Ok(finished)
    }

    /// How long a stream may be silent.
    pub fn idle_timeout(&self) -> Duration {
        self.inner.settings.idle_timeout
    }

    /// A turn of this caller among the calls that bring bytes, to be taken before they are read; for a chunk
    /// with the memory that it takes.
    ///
    /// # Errors
    /// [`UploadError::Overloaded`] where there is none within the settings' patience.
    pub async fn turn(
        &self,
        caller: &CallerKey,
        is_chunk: bool,
    ) -> Result<UploadTurn, UploadError> {
        const SETTING: &str = "MAX_CONCURRENT_UPLOADS";
        let Inner { settings, turns, transfers, .. } = &*self.inner;
        if turns.free() == 0 {
            names::SHARES_WAITED.add(1, [SETTING]);
        }
        let until = time::Instant::now() + settings.patience;
        let taking = async {
            let mut turn = turns.acquire_within(caller, 1, settings.patience).await.ok()?;
            let revocation = Arc::new(Revocation::default());
            let weak: Weak<Revocation> = Arc::downgrade(&revocation);
            turn.make_revocable(weak.clone());
            let further = transfers.part_memory().of(caller.clone(), weak);
            let first = match is_chunk {
                true => {
                    let patience = until.saturating_duration_since(time::Instant::now());
                    Some(further.take_within(patience).await.ok()?)
                }
                false => None,
            };
            let memory = TurnMemory { first, further };
            Some(UploadTurn { _turn: turn, memory, revocation })
        };
        taking.await.ok_or_else(|| {
            names::SHARES_REFUSED.add(1, [SETTING]);
            UploadError::Overloaded { limit: settings.concurrent_uploads }
        })
    }

    /// So that an export can be accepted while S3 does not answer.
    fn remember(&self, upload_id: Uuid, finished: FinishedUpload, created_time: DateTime<Utc>) {
        let mut remembered = self.remembered();
        if remembered.uploads.insert(upload_id, (finished, created_time)).is_none() {
            remembered.order.push_back(upload_id);
        }
        if remembered.order.len() > REMEMBERED
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.uploads.remove(&oldest);
        }
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        // Nothing panics in the middle of a change.
        self.inner.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

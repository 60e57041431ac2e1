//! Batches: many exports that one call starts, and that end with one report and one event.
//!
//! The items are ordinary exports of the engine. A batch only records what became of each, first in its note on this
//! machine's disk, and at its end in the store (docs/adr/0028-batches.md).

mod accept;
mod digest;
mod expiry;
mod finish;
mod item;
mod metrics;
mod note;
mod report;
mod state;
mod track;
mod watch;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tara_export_clock::Clock;
use tara_export_disk::DiskError;
use tara_export_events::Outbox;
use tara_export_limits::{CallerKey, Pool, WorkFailed};
use tara_export_store::{Store, StoreError, within};
use tokio::time::{self, Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;
use uuid::Uuid;

pub use self::{
    item::{Item, ItemState},
    metrics::register_counters,
    note::Note,
    state::Counts,
    watch::{Step, Watch},
};
use self::{note::NoteFiles, state::Batch};
use crate::export::{Engine, Permit, RequestedContent, StartError};

/// Threads that read and write notes.
const THREADS: usize = 2;

/// Settings of batches.
#[derive(Debug, Clone)]
pub struct BatchSettings {
    /// Where the notes are.
    pub data_dir: PathBuf,
    /// Maximum number of batches that have not ended.
    pub max_batches: usize,
    /// The same for one caller.
    pub max_batches_per_caller: usize,
    /// How long a batch waits for its caller to send items again that were not accepted.
    pub resend_timeout: Duration,
    /// How long the notes of ended batches are kept.
    pub retention: Duration,
    /// How often expired notes are removed.
    pub retention_interval: Duration,
    /// How long a call waits for the store.
    pub store_timeout: Duration,
}

/// A batch as it was received.
pub struct BatchRequest {
    /// Its id.
    pub batch_id: Uuid,
    /// The requests with their ids, each id once.
    pub requests: Vec<(Uuid, RequestedContent)>,
    /// The authenticated caller; empty without authentication.
    pub requested_by: String,
    /// The caller that limits count for.
    pub caller: CallerKey,
    /// The reason of a refusal in UPPER_SNAKE_CASE, and its message.
    pub describe: fn(StartError) -> (String, String),
}

/// Why a batch is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The id belongs to a batch of other content.
    #[error(
        "batch_id {0} is already used by a batch of other content: send these requests under a new batch_id"
    )]
    IdReused(Uuid),
    /// Too many batches have not ended.
    #[error(
        "{count} batches {whose} have not ended, the limit of {setting}: send this batch again when one has ended"
    )]
    TooMany {
        /// The limit.
        count: usize,
        /// `of this caller`, or `on this server`.
        whose: &'static str,
        /// The setting that defines it.
        setting: &'static str,
    },
    /// The process cannot write.
    #[error(transparent)]
    ReadOnly(StartError),
    /// The note cannot be written.
    #[error(
        "the batch was not accepted completely, because its note cannot be stored on this server's disk: {0}"
    )]
    Disk(#[from] DiskError),
    /// The service is shutting down.
    #[error("this server is shutting down: send the same batch to another, or again in a moment")]
    Stopping,
    /// The store does not respond.
    #[error("cannot look up the batch: {0}")]
    Store(#[from] StoreError),
}

impl From<WorkFailed> for BatchError {
    fn from(_: WorkFailed) -> Self {
        Self::Stopping
    }
}

/// The batches of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batches {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: BatchSettings,
    engine: Engine,
    /// Where reports are stored.
    store: Arc<dyn Store>,
    /// `None` without notifications.
    outbox: Option<Outbox>,
    clock: Arc<dyn Clock>,
    files: Arc<NoteFiles>,
    pool: Pool,
    /// Whether this process may write.
    is_writable: bool,
    /// The batches that have not ended.
    active: Mutex<HashMap<Uuid, Arc<Batch>>>,
    draining: CancellationToken,
    tasks: TaskTracker,
}

/// What happens to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The caller has to send items again.
    Incomplete,
    /// Some exports have not ended.
    Running,
    /// Every item has ended.
    Ended,
}

impl Note {
    /// What happens to the batch.
    pub fn phase(&self) -> Phase {
        let is_missing = |item: &Item| item.state == ItemState::NotAccepted;
        match self.ended_time {
            Some(_) => Phase::Ended,
            None if self.items.iter().any(is_missing) => Phase::Incomplete,
            None => Phase::Running,
        }
    }
}

/// What batches mean for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchStatus {
    /// Batches that have not ended.
    pub active: usize,
    /// Those with items that were not accepted.
    pub incomplete: usize,
    /// Those whose report or event cannot be written.
    pub unreported: usize,
    /// When the oldest was received.
    pub oldest: Option<DateTime<Utc>>,
}

/// Batches cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BatchesError {
    /// The notes cannot be read.
    #[error("cannot read the notes of batches: {0}")]
    Disk(#[from] DiskError),
    /// The system cannot start threads.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
    /// The service is shutting down.
    #[error(transparent)]
    Stopping(#[from] WorkFailed),
}

impl Batches {
    /// Reads the notes of batches that a previous process left. A process that may not write has only those that have
    /// ended.
    ///
    /// # Errors
    /// If the notes cannot be listed.
    pub async fn open(
        settings: BatchSettings,
        engine: Engine,
        store: Arc<dyn Store>,
        outbox: Option<Outbox>,
        clock: Arc<dyn Clock>,
        is_writable: bool,
    ) -> Result<Self, BatchesError> {
        let pool = Pool::new("batches", THREADS)?;
        let files = Arc::new(NoteFiles::new(&settings.data_dir)?);
        let mut active = HashMap::new();
        if is_writable {
            let reader = files.clone();
            for note in pool.run(move || reader.load()).await?? {
                let is_named = !note.requested_by.is_empty();
                let caller = is_named.then(|| CallerKey::named(&note.requested_by));
                let batch = Batch::new(note, clock.new_id(), caller);
                active.insert(batch.batch_id, Arc::new(batch));
            }
        }
        let shared = Shared {
            settings,
            engine,
            store,
            outbox,
            clock,
            files,
            pool,
            is_writable,
            active: Mutex::new(active),
            draining: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Follows the exports of batches until [`Self::shut_down`].
    pub fn start(&self) {
        let shared = &self.shared;
        if shared.is_writable {
            shared.tasks.spawn(track::watch(shared.clone(), shared.engine.ended()));
            shared.tasks.spawn(expiry::watch(shared.clone()));
        }
    }

    /// Accepts a batch, or what is missing of one that was sent before. `permit` reserves the memory of its requests.
    /// Continues if the caller disconnects.
    ///
    /// # Errors
    /// [`BatchError`]. Items that were accepted before an error continue.
    pub async fn submit(&self, request: BatchRequest, permit: Permit) -> Result<Note, BatchError> {
        let accepting = accept::submit(self.shared.clone(), request, permit);
        let task = self.shared.tasks.spawn(accepting.in_current_span());
        task.await.unwrap_or(Err(BatchError::Stopping))
    }

    /// A batch of this server, or the report of one in the store. `None` if there is neither.
    ///
    /// # Errors
    /// If the store does not respond.
    pub async fn find(&self, batch_id: Uuid) -> Result<Option<Note>, BatchError> {
        if let Some(batch) = self.shared.get(batch_id) {
            return Ok(Some(batch.note()));
        }
        if let Some(note) = self.shared.read_ended(batch_id).await? {
            return Ok(Some(note));
        }
        let shared = &self.shared;
        let reading = report::read(shared.store.as_ref(), batch_id);
        Ok(within(shared.settings.store_timeout, reading).await?)
    }

    /// Follows a batch. If `run_id` names this process's list of results, the first `seen` are skipped. `None` if the
    /// batch is unknown.
    ///
    /// # Errors
    /// If the store does not respond.
    pub async fn watch(
        &self,
        batch_id: Uuid,
        run_id: &str,
        seen: usize,
    ) -> Result<Option<Watch>, BatchError> {
        let active = self.shared.get(batch_id);
        let is_shared = active.is_some();
        let batch = match active {
            Some(batch) => batch,
            None => match self.find(batch_id).await? {
                // Every process has the same list of an ended batch.
                Some(note) => Arc::new(Batch::new(note, batch_id, None)),
                None => return Ok(None),
            },
        };
        let seen = if run_id == batch.run_id.to_string() { seen } else { 0 };
        let (engine, ending) = (&self.shared.engine, self.shared.engine.ending());
        Ok(Some(Watch::new(batch, is_shared, seen, engine.heartbeat_interval(), ending)))
    }

    /// What batches mean for operators.
    pub fn status(&self) -> BatchStatus {
        self.shared.status()
    }

    /// The threads that read and write notes.
    pub fn pool(&self) -> Pool {
        self.shared.pool.clone()
    }

    /// Ends all tasks, and waits for them until then. The next start continues.
    pub async fn shut_down(&self, end: Instant) {
        self.shared.draining.cancel();
        self.shared.tasks.close();
        if time::timeout_at(end, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("work on batches hangs at shutdown: the next start continues it");
        }
    }
}

impl Shared {
    fn status(&self) -> BatchStatus {
        let mut status = BatchStatus::default();
        for batch in self.active().values() {
            let (phase, accepted_time) = (batch.phase(), batch.accepted_time());
            status.active += 1;
            status.incomplete += usize::from(phase == Phase::Incomplete);
            status.unreported += usize::from(phase == Phase::Ended);
            status.oldest = status.oldest.into_iter().chain([accepted_time]).min();
        }
        status
    }

    fn active(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Batch>>> {
        // Each change is one insertion or removal.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, batch_id: Uuid) -> Option<Arc<Batch>> {
        self.active().get(&batch_id).cloned()
    }

    async fn read_ended(&self, batch_id: Uuid) -> Result<Option<Note>, WorkFailed> {
        let files = self.files.clone();
        self.pool.run(move || files.read_ended(batch_id)).await
    }

    async fn write(&self, note: Note) -> Result<(), BatchError> {
        let files = self.files.clone();
        Ok(self.pool.run(move || files.write(note)).await??)
    }
}

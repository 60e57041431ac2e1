//! What the engine and all its runs share.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Admission, AdmissionLimits, AllowedSource, Journal, StartError, backlog::Backlog,
    breaker::Breaker, registry::Registry, tally::Tally,
};
use crate::{
    bundle::FormatVersion,
    clock::Clock,
    health::Acceptance,
    limits::Pool,
    store::{Store, StoreError, honours_conditional_put},
    transfer::Transfers,
    upload::Uploads,
};

/// Ended runs whose events can be replayed; later, the terminal event is made of the bundle.
const KEEP_ENDED_RUNS: usize = 1_000;

/// How the engine works.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Longest silence of a stream.
    pub heartbeat_interval: Duration,
    /// How long `accepted` waits for the store.
    pub accept_timeout: Duration,
    /// How long one export bears a store's failures.
    pub retry_budget: Duration,
    /// Objects one export sends side by side.
    pub parallel_puts: usize,
    /// How long S3 is left alone after an export could not reach it; then one tries again, and the
    /// pause doubles up to twelve times as long. Zero: every export tries it.
    pub outage_pause: Duration,
    /// Exports of the journal that are worked on at once.
    pub backlog_concurrency: usize,
    /// Leave the local copy of a bundle where it is once S3 has it.
    pub keep_local_copies: bool,
    /// How new exports are rendered.
    pub format_version: FormatVersion,
    /// Where accepted exports are kept until they are committed.
    pub journal: JournalPlace,
    /// How often the store's journal is looked through for exports that nobody finishes.
    pub takeover_interval: Duration,
    /// How old an entry of the store's journal is before another replica finishes its export.
    pub takeover_age: Duration,
    /// How long a receipt is kept of an export whose bundle is in S3.
    pub receipt_retention: Duration,
    /// Write to S3 servers that ignore conditions on writes.
    pub allow_unsafe_store: bool,
    /// What is held in memory at once.
    pub admission: AdmissionLimits,
    /// Where documents may be copied from.
    pub allowed_sources: Vec<AllowedSource>,
    /// Bytes of one document at most.
    pub document_size_bytes: u64,
}

/// Where accepted exports are kept until they are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalPlace {
    /// On this machine's disk.
    Local,
    /// There, and in the store, so that an export survives its machine.
    Store,
}

/// Where bundles go.
#[derive(Debug, Clone)]
pub struct Stores {
    /// The bucket, if there is one.
    pub s3: Option<Arc<dyn Store>>,
    /// The local store.
    pub local: Arc<dyn Store>,
}

/// Counts the exports that are worked on.
#[derive(Debug, Clone, Default)]
pub(super) struct InProgress(Arc<AtomicUsize>);

/// One export that is worked on, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(InProgress);

impl InProgress {
    pub(super) fn count(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }
}

impl Counted {
    /// Whether others are worked on, too.
    pub(super) fn has_company(&self) -> bool {
        self.0.0.load(Ordering::Relaxed) > 1
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One for each engine.
#[derive(Debug)]
pub(super) struct Shared {
    pub settings: EngineSettings,
    pub stores: Stores,
    pub clock: Arc<dyn Clock>,
    pub admission: Admission,
    pub registry: Registry,
    /// None in a process that only reads.
    journal: Option<Journal>,
    pub backlog: Backlog,
    pub breaker: Breaker,
    pub tally: Arc<Tally>,
    pub uploads: Uploads,
    pub transfers: Transfers,
    /// Threads for what computes for a while: digests, rendering, encoding.
    pub computing: Pool,
    pub acceptance: Acceptance,
    pub tasks: TaskTracker,
    /// Exports that are worked on, whatever they came from.
    pub in_progress: InProgress,
    /// No new exports.
    pub draining: CancellationToken,
    /// What still runs is left to the next process.
    pub aborting: CancellationToken,
    /// No more listeners.
    pub ending: CancellationToken,
    s3_is_safe: OnceLock<bool>,
}

impl Shared {
    pub(super) fn new(
        settings: EngineSettings,
        stores: Stores,
        journal: Option<Journal>,
        uploads: Uploads,
        computing: Pool,
        acceptance: Acceptance,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            stores,
            clock,
            admission: Admission::new(settings.admission),
            transfers: uploads.transfers().clone(),
            uploads,
            computing,
            acceptance,
            registry: Registry::new(KEEP_ENDED_RUNS),
            journal,
            backlog: Backlog::default(),
            breaker: Breaker::new(settings.outage_pause),
            tally: Arc::default(),
            tasks: TaskTracker::new(),
            in_progress: InProgress::default(),
            draining: CancellationToken::new(),
            aborting: CancellationToken::new(),
            ending: CancellationToken::new(),
            s3_is_safe: OnceLock::new(),
            settings,
        }
    }

    /// The journal.
    ///
    /// # Errors
    /// [`StartError::ReadOnly`] in a process that only reads.
    pub(super) fn journal(&self) -> Result<&Journal, StartError> {
        self.journal.as_ref().ok_or(StartError::ReadOnly)
    }

    /// Whether S3 honours conditions on writes; asked until it answers, then known.
    pub(super) async fn s3_is_safe(&self) -> Result<bool, StoreError> {
        let Some(s3) = &self.stores.s3 else { return Ok(true) };
        if let Some(is_safe) = self.s3_is_safe.get() {
            return Ok(*is_safe);
        }
        // Several may ask at once: one that waited for another would wait out its failures too.
        let is_safe = honours_conditional_put(s3.as_ref()).await?;
        Ok(*self.s3_is_safe.get_or_init(|| is_safe))
    }
}

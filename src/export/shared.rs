//! State that the engine shares with all its runs.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tara_export_bundle::ExportId;
use tara_export_clock::{Clock, jittered};
use tara_export_digest::Sha256;
use tara_export_limits::Pool;
use tara_export_store::{StoreError, honours_conditional_put};
use tokio::sync::broadcast;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    export::{
        accept::admission::Admission,
        drive::{
            breaker::Breaker,
            identity::{BucketIdentity, Freshness},
        },
        error::StartError,
        failure::Failure,
        journal::{Journal, JournalEntry},
        recover::{backlog::Backlog, left::LeftExports, unread::Unread},
        run::{registry::Registry, tally::Tally},
        settings::{EngineSettings, Stores},
    },
    health::Acceptance,
    transfer::{RetryBudget, Transfers},
    upload::Uploads,
};

/// Finished runs whose events can be replayed; afterwards, the terminal event is derived from the bundle.
const KEEP_ENDED_RUNS: usize = 1_000;

/// Ended exports that are kept for a receiver.
const ENDED_CAPACITY: usize = 4_096;

/// Counts the exports in progress.
#[derive(Debug, Clone, Default)]
pub(super) struct InProgress(Arc<AtomicUsize>);

/// Counts one export as in progress until it is dropped.
#[derive(Debug)]
pub(super) struct InProgressGuard(InProgress);

impl InProgress {
    pub(super) fn has_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    pub(super) fn count(&self) -> InProgressGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        InProgressGuard(self.clone())
    }
}

impl InProgressGuard {
    /// Whether other exports are in progress as well.
    pub(super) fn has_others(&self) -> bool {
        self.0.0.load(Ordering::Relaxed) > 1
    }
}

impl Drop for InProgressGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Shared by all runs of one engine.
#[derive(Debug)]
pub(super) struct Shared {
    pub settings: EngineSettings,
    pub stores: Stores,
    pub clock: Arc<dyn Clock>,
    pub admission: Admission,
    pub registry: Registry,
    /// `None` in a read-only process.
    journal: Option<Journal>,
    /// Accepted exports that a read-only process reports.
    pub left: OnceLock<LeftExports>,
    pub backlog: Backlog,
    /// Journal entries that are not loaded into the backlog.
    pub unread: Unread,
    pub breaker: Breaker,
    /// The store identity of S3.
    pub identity: BucketIdentity,
    pub tally: Arc<Tally>,
    pub uploads: Uploads,
    pub transfers: Transfers,
    /// Threads for CPU-bound work: digests, rendering, encoding.
    pub computing: Pool,
    pub acceptance: Acceptance,
    pub tasks: TaskTracker,
    /// Exports in progress: from requests, the backlog and takeovers.
    pub in_progress: InProgress,
    /// Cancelled when no new exports are accepted.
    pub draining: CancellationToken,
    /// Cancelled when running exports are left to the next process.
    pub aborting: CancellationToken,
    /// Cancelled when all subscriptions must end.
    pub ending: CancellationToken,
    /// The ids of exports that end. A slow receiver misses some.
    pub ended: broadcast::Sender<ExportId>,
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
            identity: BucketIdentity::new(&stores, clock.clone()),
            stores,
            clock,
            admission: Admission::new(settings.admission),
            transfers: uploads.transfers().clone(),
            uploads,
            computing,
            acceptance,
            registry: Registry::new(KEEP_ENDED_RUNS),
            journal,
            left: OnceLock::new(),
            backlog: Backlog::default(),
            unread: Unread::default(),
            breaker: Breaker::new(settings.outage_pause),
            tally: Arc::default(),
            tasks: TaskTracker::new(),
            in_progress: InProgress::default(),
            draining: CancellationToken::new(),
            aborting: CancellationToken::new(),
            ending: CancellationToken::new(),
            ended: broadcast::Sender::new(ENDED_CAPACITY),
            s3_is_safe: OnceLock::new(),
            settings,
        }
    }

    /// # Errors
    /// [`StartError::ReadOnly`] in a read-only process.
    pub(super) fn journal(&self) -> Result<&Journal, StartError> {
        self.journal.as_ref().ok_or(StartError::ReadOnly)
    }

    /// Announces that an export has ended.
    pub(super) fn announce_end(&self, export_id: ExportId) {
        // Without a receiver, there is nothing to do.
        let _ = self.ended.send(export_id);
    }

    /// Whether the entry with this content is in memory: in progress or in the backlog. The id may have entries of
    /// other content as well.
    pub(super) fn has_entry(&self, export_id: ExportId, content_digest: Sha256) -> bool {
        self.backlog.has_entry(export_id, content_digest)
            || self.registry.active(export_id).is_some_and(|digest| digest == content_digest)
    }

    /// The interval, up to a quarter shorter or longer, so that replicas that started together do not call S3 at the
    /// same time.
    pub(super) fn jittered(&self, interval: Duration) -> Duration {
        jittered(interval, self.clock.new_id().as_bytes()[0])
    }

    /// Fails early, without reading the entry's body, if the entry belongs to another store.
    pub(super) async fn require_store_of(&self, entry: &JournalEntry) -> Result<(), Failure> {
        if !self.identity.is_for_other_store(entry.header.store_id) {
            return Ok(());
        }
        match self.require_store(entry, Freshness::Cached).await {
            Err(failure) if failure.is_of_another_store() => Err(failure),
            // Without a response, it is not known whether S3 is the entry's store.
            Err(failure) => Err(Failure::of_unknown_store(failure)),
            Ok(()) => Ok(()),
        }
    }

    /// Succeeds if S3 confirms in time that it is the store that an entry was accepted for.
    pub(super) async fn require_store(
        &self,
        entry: &JournalEntry,
        freshness: Freshness,
    ) -> Result<(), Failure> {
        let journal = self.journal().map_err(|error| Failure::of_journal(&error))?;
        let budget = RetryBudget::new(self.settings.accept_timeout);
        self.identity.require(journal, entry.header.store_id, freshness, &budget).await
    }

    /// Whether S3 honours conditions on writes. The first response is cached.
    pub(super) async fn s3_is_safe(&self) -> Result<bool, StoreError> {
        let Some(s3) = &self.stores.s3 else { return Ok(true) };
        if let Some(is_safe) = self.s3_is_safe.get() {
            return Ok(*is_safe);
        }
        // Several callers may probe at the same time: a caller that waited for another would also wait for its retries.
        let is_safe = honours_conditional_put(s3.as_ref()).await?;
        Ok(*self.s3_is_safe.get_or_init(|| is_safe))
    }
}

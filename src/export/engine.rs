//! The public interface of the engine: start, watch, look up, shut down.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tara_export_bundle::{
    AcceptedExport, AcceptedTime, Destination, ExportContent, ExportId, Fallback, FolderBase,
    Review, StoreId,
};
use tara_export_catalog::{Export, ExportState, layout::JournalLocation};
use tara_export_clock::Clock;
use tara_export_digest::Sha256;
use tara_export_limits::{Pool, PoolState, Pools};
use tara_export_telemetry::spans;
use tokio::{
    sync::broadcast,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    export::{
        accept::{
            Beside, acceptance,
            admission::{Admission, Permit},
            pinning::{Pinned, RequestedDocument, pin},
            start::enqueue,
        },
        drive::{documents::need_s3, execute::postpone, identity::Freshness, job::Job},
        error::StartError,
        failure::{Failure, FailureReason},
        journal::{FailedExport, Failures, Journal, JournalEntry, JournalError},
        recover::{
            left::LeftExports,
            outcome::{self, ExportOutcome},
            resume::{self, Accepted},
            status::{self, Status},
        },
        run::{
            Run,
            events::Durability,
            subscription::Subscription,
            watchdog::{Ended, watch},
        },
        settings::{EngineSettings, Stores},
        shared::Shared,
    },
    health::{Acceptance, Refusal},
    transfer::RetryBudget,
    upload::Uploads,
};

/// The content of a request, before its documents are pinned.
#[derive(Debug, Clone)]
pub struct RequestedContent {
    /// The review.
    pub review: Review,
    /// Documents, ordered by kind, at most one of each kind.
    pub documents: Vec<RequestedDocument>,
    /// The requested store; `None` for the server's default.
    pub destination: Option<Destination>,
    /// What to do if S3 is not available.
    pub fallback: Fallback,
    /// E-mail addresses that are notified. No part of the content.
    pub recipients: Vec<String>,
}

impl RequestedContent {
    /// Total size of the inline documents.
    pub fn inline_bytes(&self) -> u64 {
        let inline = |document: &RequestedDocument| match document {
            RequestedDocument::Inline(document) => document.content.size_bytes(),
            RequestedDocument::Named(_) => 0,
        };
        self.documents.iter().map(inline).sum()
    }
}

/// A request that is ready to be recorded.
struct Prepared {
    export: AcceptedExport,
    beside: Beside,
    /// Memory of the content until its export ends.
    memory_bytes: u64,
}

/// Accepts requests and writes their bundles. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// Creates an engine over `stores`. Without a journal, the engine is read-only and refuses every request.
    /// `computing` is the pool for CPU-bound work. `acceptance` is updated whenever the engine observes whether
    /// exports can be accepted.
    pub fn new(
        settings: EngineSettings,
        stores: Stores,
        journal: Option<Journal>,
        uploads: Uploads,
        computing: Pool,
        acceptance: Acceptance,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let shared = Shared::new(settings, stores, journal, uploads, computing, acceptance, clock);
        Self { shared: Arc::new(shared) }
    }

    /// Starts the background tasks. With [`Accepted::Resume`], loads the exports that previous processes left in the
    /// journal and resumes them in the background; afterwards, lookups find these exports.
    ///
    /// # Errors
    /// If the journal cannot be scanned.
    pub async fn resume(&self, accepted: Accepted) -> Result<(), JournalError> {
        resume::resume(&self.shared, accepted).await
    }

    /// Reports these exports in lookups, lists and checks, in a process without a journal.
    pub fn report_left(&self, left: LeftExports) {
        // The first call wins; there is only one.
        let _ = self.shared.left.set(left);
    }

    /// The exports of [`Self::report_left`], if there was a call.
    pub fn left(&self) -> Option<&LeftExports> {
        self.shared.left.get()
    }

    /// Number of accepted exports whose bundle is not in its destination, in the journal of this process.
    pub fn unfinished_count(&self) -> u64 {
        self.shared.journal().map_or(0, |journal| journal.size().count)
    }

    /// Whether no accepted export makes progress: all have ended, have failed in this process, or wait for S3.
    pub fn is_idle(&self) -> bool {
        let shared = &self.shared;
        let is_breaker_open = shared.breaker.open_until().is_some();
        let is_waiting = shared.backlog.len() == 0 || shared.backlog.is_blocked(is_breaker_open);
        is_waiting && !shared.in_progress.has_any() && shared.unread.count() == 0
    }

    /// Admission control. Memory for a request must be reserved before its body is read.
    pub fn admission(&self) -> &Admission {
        &self.shared.admission
    }

    /// Documents that are uploaded before the requests that name them.
    pub fn uploads(&self) -> &Uploads {
        &self.shared.uploads
    }

    /// Reads the store identity of S3 if S3 responds in time. Call this before storing an upload in S3: exports that
    /// name the upload later can then be accepted for the same store, even during an outage.
    pub async fn refresh_store_id(&self) {
        self.read_store_id(Freshness::Cached).await;
    }

    /// The store identity of S3, if S3 returns it in time. Errors are only logged: the next call reports them again.
    async fn read_store_id(&self, freshness: Freshness) -> Option<StoreId> {
        let shared = &self.shared;
        let journal = shared.journal().ok()?;
        if shared.stores.s3.is_none() || shared.breaker.outage().is_some() {
            return None;
        }
        let timeout = shared.settings.accept_timeout;
        let budget = RetryBudget::new(timeout);
        let store_id = time::timeout(timeout, shared.identity.fetch(journal, freshness, &budget));
        store_id
            .await
            .ok()?
            .inspect_err(|Failure { message, .. }| {
                tracing::debug!(message, "cannot read the store identity of S3");
            })
            .ok()
    }

    /// Threads for CPU-bound work.
    pub fn computing(&self) -> &Pool {
        &self.shared.computing
    }

    /// Whether exports are accepted, according to the latest write or check.
    pub fn acceptance(&self) -> &Acceptance {
        &self.shared.acceptance
    }

    /// Checks whether an export would be accepted: writes a small file to the disk and uses only what is already
    /// known about S3. `None` if it would be accepted.
    pub fn check_acceptance(&self) -> impl Future<Output = Option<Refusal>> + Send + 'static {
        let shared = self.shared.clone();
        async move { acceptance::check(&shared).await }
    }

    /// All thread pools for blocking work, including those of the stores.
    pub fn pools(&self) -> Pools {
        let shared = &self.shared;
        let journal = shared.journal().ok().map(|journal| journal.pool().clone());
        let mut pools = Pools {
            writing: journal.into_iter().chain([shared.transfers.files().clone()]).collect(),
            other: vec![shared.computing.clone()],
        };
        pools.extend(shared.stores.local.pools());
        if let Some(s3) = &shared.stores.s3 {
            pools.extend(s3.pools());
        }
        pools
    }

    /// The destination of requests that do not name one.
    pub fn default_destination(&self) -> Destination {
        if self.shared.stores.s3.is_some() { Destination::S3 } else { Destination::Local }
    }

    /// Checks S3 as the first export would and logs the result.
    pub async fn check_s3(&self) {
        self.refresh_store_id().await;
        match self.shared.s3_is_safe().await {
            Ok(true) => tracing::debug!("S3 responds and honours conditional writes"),
            Ok(false) => tracing::error!(
                "the S3 server ignores If-None-Match: no bundles are stored there unless ALLOW_UNSAFE_STORE=true"
            ),
            Err(error) => {
                tracing::warn!(%error, "S3 is unavailable: bundles are stored in the local store until it recovers")
            }
        }
    }

    /// Accepts a request, or finds the export that a previous call started. Returns after acceptance.
    ///
    /// # Errors
    /// [`StartError`] if the request is not accepted; then nothing is stored.
    pub async fn start(
        &self,
        request_id: Option<Uuid>,
        requested: RequestedContent,
        requested_by: String,
        mut permit: Permit,
    ) -> Result<Subscription, StartError> {
        let prepared = self.prepare(request_id, requested, requested_by, permit.bytes()).await?;
        let Prepared { export, beside, memory_bytes } = prepared;
        permit.shrink_to(memory_bytes);
        let (run, is_new) = self.run_of(&export).await?;
        if is_new {
            let job = Job::new(self.shared.clone(), run.clone(), permit);
            self.spawn(job, export, memory_bytes, beside);
        }
        run.acceptance().await?;
        Ok(self.subscribe(run, 0))
    }

    /// Accepts a request, or finds the export that a previous call started, and leaves its work to the backlog. The
    /// caller has reserved memory for the request until this returns. Returns the digest of the accepted content.
    ///
    /// # Errors
    /// [`StartError`] if the request is not accepted; then nothing is stored.
    pub async fn enqueue(
        &self,
        request_id: Uuid,
        requested: RequestedContent,
        requested_by: String,
    ) -> Result<Sha256, StartError> {
        // Many requests follow one another, so other calls come first.
        let prepared = self.prepare(Some(request_id), requested, requested_by, u64::MAX).await?;
        let Prepared { export, beside, memory_bytes: _ } = prepared;
        let (run, is_new) = self.run_of(&export).await?;
        if is_new {
            self.spawn_acceptance(run.clone(), export, beside);
        }
        run.acceptance().await?;
        Ok(run.content_digest().sha256)
    }

    /// Pins the documents of a request and computes its digest. `reserved_bytes` is the memory of the request.
    async fn prepare(
        &self,
        request_id: Option<Uuid>,
        requested: RequestedContent,
        requested_by: String,
        reserved_bytes: u64,
    ) -> Result<Prepared, StartError> {
        let shared = &self.shared;
        if shared.draining.is_cancelled() {
            return Err(StartError::ShuttingDown);
        }
        let RequestedContent { review, documents, destination, fallback, recipients } = requested;
        let requested = destination.unwrap_or_else(|| self.default_destination());
        if requested == Destination::S3 && shared.stores.s3.is_none() {
            return Err(StartError::NoBucket);
        }
        if !recipients.is_empty() && self.keeps_recipients().await {
            return Err(StartError::RecipientsKept);
        }
        let export_id = ExportId::new(request_id.unwrap_or_else(|| shared.clock.new_id()));
        let Pinned { documents, attachments } = pin(shared, export_id, documents).await?;
        let store_id = self.accepting_store(need_s3(&documents)).await?;
        let content = ExportContent { review, documents, destination, fallback };
        let format_version = shared.settings.format_version;
        let digest = move || (content.digest(format_version), content.footprint_bytes(), content);
        let digested = shared.computing.run_sized(reserved_bytes, digest).await;
        let (content_digest, memory_bytes, content) = digested.map_err(|error| {
            tracing::error!(%error, "digesting a request panicked");
            StartError::Internal
        })?;
        let accepted_time = AcceptedTime::new(shared.clock.now());
        let export = AcceptedExport {
            export_id,
            content_digest,
            folder_base: FolderBase::new(&accepted_time, &content.review.document_name),
            content: Arc::new(content),
            accepted_time,
            format_version,
            destination: requested,
            requested_by,
            store_id,
            read_digests: BTreeMap::new(),
        };
        Ok(Prepared { export, beside: Beside { attachments, recipients }, memory_bytes })
    }

    /// The run of this content, and whether this call created it.
    async fn run_of(&self, export: &AcceptedExport) -> Result<(Arc<Run>, bool), StartError> {
        let shared = &self.shared;
        loop {
            let (run, is_new) = shared.registry.get_or_insert(export.export_id, || {
                let running = Export::running(&export.header());
                Run::new(running, export.digest(), shared.clock.clone(), shared.tally.clone())
            });
            if export.has(run.content_digest()) {
                return Ok((run, is_new));
            }
            // The id belongs to the other run only if that one is accepted: it is refused if this content
            // was accepted long ago. If the other run's content is stored under another id, the id is not its own.
            if run.acceptance().await.is_ok() && !run.is_stored_under_other_id() {
                return Err(StartError::RequestIdReused { first: run.export_id() });
            }
            shared.registry.forget_run(&run);
        }
    }

    /// Subscribes to an active or recently finished export of this process. If `run_id` names its run, events up to
    /// `after_sequence` are skipped.
    pub fn watch(
        &self,
        export_id: ExportId,
        run_id: Option<Uuid>,
        after_sequence: u64,
    ) -> Option<Subscription> {
        let run = self.shared.registry.get(export_id)?;
        let seen = if run_id == Some(run.run_id()) { after_sequence } else { 0 };
        Some(self.subscribe(run, seen))
    }

    /// An active or recently finished export of this process.
    pub fn get(&self, export_id: ExportId) -> Option<Export> {
        self.shared.registry.get(export_id).filter(|run| run.is_accepted()).map(|run| run.export())
    }

    /// An accepted export that is pending in the journal and not in memory, built from its entry's header.
    pub async fn find_pending(&self, export_id: ExportId) -> Option<Export> {
        if let Some(left) = self.find_left(export_id) {
            return Some(left.clone());
        }
        let entries = self.entries_of(export_id).await;
        let mut export = Export::running(&entries.first()?.header);
        export.state = ExportState::Pending;
        Some(export)
    }

    /// An accepted export that this read-only process reports and does not work on.
    pub fn find_left(&self, export_id: ExportId) -> Option<&Export> {
        self.left()?.find(export_id)
    }

    /// Loads such a pending export, so that it can be watched.
    pub async fn load_pending(&self, export_id: ExportId) {
        for entry in self.entries_of(export_id).await {
            resume::recall(&self.shared, entry, false).await;
        }
    }

    async fn entries_of(&self, export_id: ExportId) -> Vec<JournalEntry> {
        if self.shared.registry.get(export_id).is_some() {
            return Vec::new();
        }
        resume::find(&self.shared, export_id).await.unwrap_or_else(|error| {
            tracing::warn!(%export_id, %error, "cannot search the journal");
            Vec::new()
        })
    }

    /// The exports of this machine without a bundle whose headers are in memory: running, pending and failed.
    pub async fn exports_without_bundle(&self) -> Vec<Export> {
        let mut exports: Vec<Export> = self
            .shared
            .registry
            .all()
            .iter()
            .filter_map(|run| run.export_without_bundle())
            .collect();
        if let Ok(journal) = self.shared.journal() {
            match journal.failures().await {
                Ok(failures) => {
                    let known: HashSet<ExportId> =
                        exports.iter().map(|export| export.export_id).collect();
                    let failed = failures.newest.iter().map(|failed| failed.export().clone());
                    exports.extend(failed.filter(|export| !known.contains(&export.export_id)));
                }
                Err(error) => tracing::warn!(%error, "cannot list failed exports"),
            }
        }
        exports.extend(self.left().into_iter().flat_map(|left| left.exports().iter().cloned()));
        exports
    }

    /// The most recent failures of this machine; `None` if the process is read-only, or the disk does not respond.
    pub async fn failures(&self) -> Option<Failures> {
        let journal = self.shared.journal().ok()?;
        match journal.failures().await {
            Ok(failures) => Some(failures),
            Err(error) => {
                tracing::warn!(%error, "cannot list failed exports");
                None
            }
        }
    }

    /// The failure record of an export that a previous process of this machine accepted.
    pub async fn failure(&self, export_id: ExportId) -> Option<FailedExport> {
        let journal = self.shared.journal().ok()?;
        match journal.failure(export_id).await {
            Ok(failed) => failed,
            Err(error) => {
                tracing::warn!(%export_id, %error, "cannot read the failure record of an export");
                None
            }
        }
    }

    /// The outcome of an accepted export of this content. Looks it up on this machine first.
    pub async fn outcome(&self, export_id: ExportId, content_digest: Sha256) -> ExportOutcome {
        outcome::outcome(&self.shared, export_id, content_digest).await
    }

    /// The ids of exports that end from now on. A slow receiver misses some.
    pub fn ended(&self) -> broadcast::Receiver<ExportId> {
        self.shared.ended.subscribe()
    }

    /// Whether an export of this id may still have a journal entry. Rare false positives.
    pub fn has_entry(&self, export_id: ExportId) -> bool {
        self.shared.journal().is_ok_and(|journal| journal.may_have(export_id))
    }

    /// Why this process cannot process an export that a previous process accepted; `None` if it can.
    pub fn why_unprocessable(&self, export_id: ExportId) -> Option<StartError> {
        Some(self.shared.journal().ok()?.why_unprocessable(export_id)?.into())
    }

    /// The backlog of this machine; `None` if the process is read-only.
    pub async fn status(&self) -> Option<Status> {
        status::status(&self.shared).await
    }

    /// Why a bundle that fell back is not in S3 yet.
    pub fn sync_failure(&self, export_id: ExportId) -> Option<FailureReason> {
        Some(self.shared.backlog.find_with_bundle(export_id)?.last_failure?.reason)
    }

    /// Longest interval between two messages of a stream.
    pub fn heartbeat_interval(&self) -> Duration {
        self.shared.settings.heartbeat_interval
    }

    /// How long a call waits for a store if it can respond without it.
    pub fn accept_timeout(&self) -> Duration {
        self.shared.settings.accept_timeout
    }

    /// Cancelled when all subscriptions must end.
    pub fn ending(&self) -> CancellationToken {
        self.shared.ending.clone()
    }

    /// Announces a regular stop: from now on, the end of the process counts against no journal entry. Call this
    /// before waiting for anything.
    pub async fn announce_stop(&self) {
        if let Ok(journal) = self.shared.journal() {
            journal.close_attempts().await;
        }
    }

    /// Refuses new requests, waits until `abort_at` for running exports, aborts the rest, and ends all subscriptions.
    /// Returns whether all work on exports has ended by `end`. Call [`Self::announce_stop`] first.
    pub async fn shut_down(&self, abort_at: Instant, end: Instant) -> bool {
        let shared = &self.shared;
        shared.draining.cancel();
        shared.tasks.close();
        if time::timeout_at(abort_at, shared.tasks.wait()).await.is_err() {
            let left = shared.tasks.len();
            tracing::warn!(
                left,
                "exports are still running at shutdown: they are in the journal, and the next start resumes them"
            );
            shared.aborting.cancel();
        }
        let have_ended = time::timeout_at(end, shared.tasks.wait()).await.is_ok();
        if !have_ended {
            tracing::error!(left = shared.tasks.len(), "work on exports hangs at shutdown");
        }
        shared.ending.cancel();
        have_ended
    }

    /// Waits until all started writes to this machine's disk are complete, so that the next process does not race
    /// with them. Returns whether they were complete by `end`.
    pub async fn finish_writes(&self, end: Instant) -> bool {
        if let Ok(journal) = self.shared.journal() {
            // Includes work that is submitted only now.
            let _ = time::timeout_at(end, journal.finish()).await;
        }
        let mut have_ended = true;
        for pool in self.pools().writing {
            if time::timeout_at(end, pool.idle()).await.is_err() {
                let PoolState { running, queued, .. } = pool.state();
                tracing::error!(pool = pool.name(), running, queued, "disk work hangs at shutdown");
                have_ended = false;
            }
        }
        have_ended
    }

    fn subscribe(&self, run: Arc<Run>, seen: u64) -> Subscription {
        Subscription::new(
            run,
            seen,
            self.shared.settings.heartbeat_interval,
            self.shared.ending.clone(),
        )
    }

    /// The store that new exports are accepted for. If a document is in S3, the identity is read from S3 now.
    async fn accepting_store(
        &self,
        has_documents_in_s3: bool,
    ) -> Result<Option<StoreId>, StartError> {
        // A read-only process refuses the request later, unless it was accepted before.
        let Ok(journal) = self.shared.journal() else { return Ok(None) };
        // If S3 does not respond, it is taken to be the store in which this process found the documents.
        if has_documents_in_s3 && let Some(store_id) = self.read_store_id(Freshness::Current).await
        {
            return Ok(Some(store_id));
        }
        let store_id = self.shared.identity.for_acceptance(journal).await;
        store_id.map_err(|error| {
            tracing::error!(%error, "cannot accept an export: the journal failed");
            if let Some(refusal) = acceptance::refusal_of(&error) {
                self.shared.acceptance.set(Some(refusal));
            }
            error.into()
        })
    }

    /// Whether the addresses of recipients would be stored where nothing can erase them. If that is not known, because
    /// the store does not respond or the service may not read its settings, they are accepted.
    async fn keeps_recipients(&self) -> bool {
        let shared = &self.shared;
        let is_shared = shared.settings.journal == JournalLocation::Store;
        let Some(s3) = shared.stores.s3.as_ref().filter(|_| is_shared) else { return false };
        let asking = time::timeout(shared.settings.accept_timeout, s3.has_default_retention());
        match asking.await {
            Ok(Ok(keeps)) => keeps,
            Ok(Err(error)) => {
                tracing::info!(%error, "it is not known whether the bucket keeps the addresses of notify_emails");
                false
            }
            Err(_) => false,
        }
    }

    /// Records a request for the backlog in a task of its own: a call that ends does not interrupt it.
    fn spawn_acceptance(&self, run: Arc<Run>, export: AcceptedExport, beside: Beside) {
        let shared = self.shared.clone();
        let work = enqueue(shared.clone(), run.clone(), export, beside);
        let work = work.instrument(spans::export(run.export_id()));
        self.shared.tasks.spawn(async move {
            match watch(work, run.export_id(), run.changes(), &shared.aborting).await {
                Ended::Done => {}
                // If it is in the journal, sending the request again finds it.
                Ended::Interrupted(_) if !run.is_accepted() => run.refuse(StartError::Internal),
                Ended::Aborted if !run.is_accepted() => run.refuse(StartError::ShuttingDown),
                Ended::Interrupted(_) | Ended::Aborted => {}
            }
            if !run.is_accepted() {
                shared.registry.forget_run(&run);
            } else if run.has_ended() {
                shared.registry.keep(&run);
            }
        });
    }

    fn spawn(&self, job: Job, export: AcceptedExport, memory_bytes: u64, beside: Beside) {
        let (shared, run) = (self.shared.clone(), job.run.clone());
        let is_journaled = job.is_journaled.clone();
        let documents = export.content.documents.iter();
        let inline = documents.filter_map(|document| document.content.inline());
        let size_bytes = inline.map(|bytes| bytes.len() as u64).sum();
        let entry = JournalEntry { header: export.header(), size_bytes, memory_bytes };
        // A child span of the call that started the export.
        let work = job.start(export, beside).instrument(spans::export(run.export_id()));
        self.shared.tasks.spawn(async move {
            match watch(work, run.export_id(), run.changes(), &shared.aborting).await {
                Ended::Interrupted(failure) if !run.has_ended() => {
                    // The export is in this machine's journal, and possibly in the store's, where another replica
                    // may take it over: it is too late to refuse it.
                    if is_journaled.load(Ordering::Relaxed) {
                        run.accept(entry.header.accepted_time, Durability::LocalDisk);
                    }
                    if run.is_accepted() {
                        postpone(&shared, &run, &entry, failure);
                    } else {
                        run.refuse(StartError::Internal);
                    }
                }
                Ended::Done | Ended::Interrupted(_) => {}
                // Accepted exports are in the journal.
                Ended::Aborted => {
                    if !run.is_accepted() {
                        run.refuse(StartError::ShuttingDown);
                    }
                    return;
                }
            }
            if !run.is_accepted() {
                shared.registry.forget_run(&run);
            } else if run.has_ended() {
                // An export that waits for its store continues in this run.
                shared.registry.keep(&run);
            }
        });
    }
}

//! The engine's front: start, watch, look up, shut down.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    Admission, EngineSettings, FailureReason, Permit, RequestedDocument, StartError, Status,
    Stores, Subscription, acceptance,
    documents::{Pinned, pin},
    events::Run,
    job::{Job, running_export},
    journal::{FailedExport, Journal, JournalEntry, JournalError},
    resume,
    run::postpone,
    shared::Shared,
    status,
    watchdog::{Ended, watch},
};
use crate::{
    bundle::{
        AcceptedExport, AcceptedTime, Destination, DocumentKind, ExportContent, ExportId, Fallback,
        FolderBase, Review,
    },
    catalog::Export,
    clock::Clock,
    health::{Acceptance, Refusal},
    limits::{Pool, PoolState, Pools},
    telemetry::spans,
    upload::Uploads,
};

/// What a caller asks for, its documents as the request has them.
#[derive(Debug, Clone)]
pub struct RequestedContent {
    /// The review.
    pub review: Review,
    /// Its documents, in the order of their kinds, at most one of each.
    pub documents: Vec<RequestedDocument>,
    /// Where the bundle is to be stored; none: the server's default.
    pub destination: Option<Destination>,
    /// What happens when S3 can't take it.
    pub fallback: Fallback,
}

impl RequestedContent {
    /// Bytes of the documents that came with the request.
    pub fn inline_bytes(&self) -> u64 {
        let inline = |document: &RequestedDocument| match document {
            RequestedDocument::Here(document) => document.content.size_bytes(),
            RequestedDocument::Elsewhere(_) => 0,
        };
        self.documents.iter().map(inline).sum()
    }
}

/// Accepts requests and carries them to committed bundles. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// An engine over these stores. Without a journal it accepts nothing, and is good for reading. The
    /// pool is for work that computes for a while. What shows whether exports are accepted is noted in
    /// `acceptance`.
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

    /// Takes up what the journal has of earlier processes, and goes on with it in the background.
    /// From then on their exports are known here.
    ///
    /// # Errors
    /// Where the journal can't be looked through.
    pub async fn resume(&self) -> Result<(), JournalError> {
        resume::resume(&self.shared).await
    }

    /// Room for one request, to be taken before its body is read.
    pub fn admission(&self) -> &Admission {
        &self.shared.admission
    }

    /// Documents that come before their requests.
    pub fn uploads(&self) -> &Uploads {
        &self.shared.uploads
    }

    /// Threads for work that computes for a while.
    pub fn computing(&self) -> &Pool {
        &self.shared.computing
    }

    /// Whether exports are accepted, as the latest write or check shows.
    pub fn acceptance(&self) -> &Acceptance {
        &self.shared.acceptance
    }

    /// Checks whether an export would be accepted: with a small write to the disk, and of S3 only what is
    /// known. `None` if it would be.
    pub fn check_acceptance(&self) -> impl Future<Output = Option<Refusal>> + Send + 'static {
        let shared = self.shared.clone();
        async move { acceptance::check(&shared).await }
    }

    /// All threads for blocking work that it uses, those of its stores too.
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

    /// Where a bundle goes whose caller does not say.
    pub fn default_destination(&self) -> Destination {
        if self.shared.stores.s3.is_some() { Destination::S3 } else { Destination::Local }
    }

    /// Finds out what exports to S3 would find out first, and logs it.
    pub async fn check_s3(&self) {
        match self.shared.s3_is_safe().await {
            Ok(true) => tracing::debug!("S3 answers and honours conditional writes"),
            Ok(false) => tracing::error!(
                "the S3 server ignores If-None-Match: no bundle goes there unless ALLOW_UNSAFE_STORE=true"
            ),
            Err(error) => {
                tracing::warn!(%error, "S3 does not work now: until it does, bundles go to the local store")
            }
        }
    }

    /// Accepts a request, or finds the export that it started before. Returns once it is accepted.
    ///
    /// # Errors
    /// [`StartError`] where it is not accepted; then nothing of it is kept.
    pub async fn start(
        &self,
        request_id: Option<Uuid>,
        requested: RequestedContent,
        requested_by: String,
        mut permit: Permit,
    ) -> Result<Subscription, StartError> {
        let shared = &self.shared;
        if shared.draining.is_cancelled() {
            return Err(StartError::ShuttingDown);
        }
        let RequestedContent { review, documents, destination, fallback } = requested;
        let wanted = destination.unwrap_or_else(|| self.default_destination());
        if wanted == Destination::S3 && shared.stores.s3.is_none() {
            return Err(StartError::NoBucket);
        }
        let export_id = ExportId::new(request_id.unwrap_or_else(|| shared.clock.new_id()));
        let Pinned { documents, attachments } = pin(shared, export_id, documents).await?;
        let content = ExportContent { review, documents, destination, fallback };
        let format_version = shared.settings.format_version;
        // In the background: a large review takes a while.
        let digest = move || (content.digest(format_version), content.footprint_bytes(), content);
        let digested = shared.computing.run(digest).await;
        let (content_digest, memory_bytes, content) = digested.map_err(|error| {
            tracing::error!(%error, "digesting a request panicked");
            StartError::Internal
        })?;
        permit.shrink_to(memory_bytes);
        let accepted_time = AcceptedTime::new(shared.clock.now());
        let export = AcceptedExport {
            export_id,
            content_digest,
            folder_base: FolderBase::new(&accepted_time, &content.review.document_name),
            content: Arc::new(content),
            accepted_time,
            format_version,
            destination: wanted,
            requested_by,
            read_digests: BTreeMap::new(),
        };
        let (run, is_new) = loop {
            let (run, is_new) = shared.registry.get_or_insert(export.export_id, || {
                let running = running_export(&export.header());
                Run::new(running, export.digest(), shared.clock.clone(), shared.tally.clone())
            });
            if export.has(run.content_digest()) {
                break (run, is_new);
            }
            // Whose the id is shows when that one is accepted: it may itself be the one that is
            // refused, because this content was accepted long ago.
            // And one whose content is kept under another id has shown that this id is not its own.
            if run.acceptance().await.is_ok() && !run.is_kept_elsewhere() {
                return Err(StartError::RequestIdReused { first: run.export_id() });
            }
            shared.registry.forget_run(&run);
        };
        if is_new {
            let job = Job::new(shared.clone(), run.clone(), permit);
            self.spawn(job, export, memory_bytes, attachments);
        }
        run.acceptance().await?;
        Ok(self.subscribe(run, 0))
    }

    /// Listens to an export that this process runs or ran lately, from behind the events of the
    /// named run that the listener has.
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

    /// An export that this process runs or ran lately.
    pub fn get(&self, export_id: ExportId) -> Option<Export> {
        self.shared.registry.get(export_id).filter(|run| run.is_accepted()).map(|run| run.export())
    }

    /// The exports of this machine that have no bundle: running, pending and failed ones.
    pub async fn without_bundle(&self) -> Vec<Export> {
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
                Err(error) => tracing::warn!(%error, "failed exports can't be listed"),
            }
        }
        exports
    }

    /// How an export failed that an earlier process of this machine accepted.
    pub async fn failure(&self, export_id: ExportId) -> Option<FailedExport> {
        let journal = self.shared.journal().ok()?;
        match journal.failure(export_id).await {
            Ok(failed) => failed,
            Err(error) => {
                tracing::warn!(%export_id, %error, "it can't be read how an export failed");
                None
            }
        }
    }

    /// How much waits on this machine, and why; none in a process that only reads.
    pub async fn status(&self) -> Option<Status> {
        status::status(&self.shared).await
    }

    /// Why a bundle that fell back is not in S3 yet, in one word.
    pub fn setback(&self, export_id: ExportId) -> Option<FailureReason> {
        Some(self.shared.backlog.get(export_id)?.setback?.reason)
    }

    /// How long a stream may be silent.
    pub fn heartbeat_interval(&self) -> Duration {
        self.shared.settings.heartbeat_interval
    }

    /// How long a caller waits for a store where there is an answer without it.
    pub fn accept_timeout(&self) -> Duration {
        self.shared.settings.accept_timeout
    }

    /// Cancelled when nobody shall listen any more.
    pub fn ending(&self) -> CancellationToken {
        self.shared.ending.clone()
    }

    /// The process is about to stop: however it ends from now on, that is no death of an entry of the
    /// journal. To be called before anything is waited for.
    pub async fn announce_stop(&self) {
        if let Ok(journal) = self.shared.journal() {
            journal.close_attempts().await;
        }
    }

    /// Takes no more requests, gives running exports until `patience` to end, then lets listeners go. Whether
    /// all work on exports has ended by `end`. To be called after [`Self::announce_stop`].
    pub async fn shut_down(&self, patience: Instant, end: Instant) -> bool {
        let shared = &self.shared;
        shared.draining.cancel();
        shared.tasks.close();
        if time::timeout_at(patience, shared.tasks.wait()).await.is_err() {
            let left = shared.tasks.len();
            tracing::warn!(
                left,
                "exports still run at shutdown: the journal has them, the next start goes on"
            );
            shared.aborting.cancel();
        }
        let have_ended = time::timeout_at(end, shared.tasks.wait()).await.is_ok();
        if !have_ended {
            tracing::error!(left = shared.tasks.len(), "work on exports hangs");
        }
        shared.ending.cancel();
        have_ended
    }

    /// Waits until what was being written to this machine's disk is written, so that the next process
    /// finds it done. Whether it was by `end`.
    pub async fn finish_writes(&self, end: Instant) -> bool {
        if let Ok(journal) = self.shared.journal() {
            // Also what is to be submitted only now.
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

    fn spawn(
        &self,
        job: Job,
        export: AcceptedExport,
        memory_bytes: u64,
        attachments: Vec<(DocumentKind, PathBuf)>,
    ) {
        let (shared, run) = (self.shared.clone(), job.run.clone());
        let documents = export.content.documents.iter();
        let inline = documents.filter_map(|document| document.content.inline());
        let size_bytes = inline.map(|bytes| bytes.len() as u64).sum();
        let entry = JournalEntry { header: export.header(), size_bytes, memory_bytes };
        // Below the call that started it, whose trace it belongs to.
        let work = job.start(export, attachments).instrument(spans::export(run.export_id()));
        self.shared.tasks.spawn(async move {
            match watch(work, &run, &shared.aborting).await {
                Ended::BrokeOff(failure) if !run.has_ended() => {
                    if run.is_accepted() {
                        postpone(&shared, &run, &entry, failure);
                    } else {
                        run.refuse(StartError::Internal);
                    }
                }
                Ended::Done | Ended::BrokeOff(_) => {}
                // What was accepted, the journal has.
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
                // One that waits for its store goes on in this run.
                shared.registry.keep(run.export_id());
            }
        });
    }
}

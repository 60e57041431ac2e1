//! Helpers for unit tests: a server without a network, with two in-memory stores and a journal in a temporary
//! directory, and accepted exports.
//!
//! Tests may pause tokio's clock, except around [`watch`](crate::export::run::watchdog::watch): while a thread of the
//! journal or the computing pool works, paused time advances to the next timer, and `watch` treats the work as stalled.

#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use tara_export_bundle::{
    AcceptedExport, AcceptedTime, Destination, Document, DocumentKind, ExportContent, ExportId,
    Fallback, FolderBase, FolderName, FormatVersion, Review,
};
use tara_export_catalog::{
    Export,
    layout::{self, JournalLocation},
};
use tara_export_clock::Clock;
use tara_export_limits::Pool;
use tara_export_store::{
    Store, StoreError, StoreErrorKind, StoreKind,
    memory::{Call, MemoryStore, Operation},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    export::{
        accept::admission::AdmissionLimits,
        drive::{identity::Freshness, job::Job, observer::Observer, work::Work},
        journal::{Journal, JournalEntry, JournalLimits, JournalRetention},
        run::{
            Run,
            events::{ArtifactUpdate, Event, EventKind},
            subscription::{Next, Subscription},
        },
        settings::{EngineSettings, Stores},
        shared::Shared,
    },
    health::Health,
    transfer::{RetryBudget, TransferLimits, Transfers},
    upload::{UploadSettings, Uploads},
};

pub(in crate::export) const SECOND: Duration = Duration::from_secs(1);
pub(in crate::export) const ACCEPT_TIMEOUT: Duration = Duration::from_secs(2);
pub(in crate::export) const RETRY_BUDGET: Duration = Duration::from_secs(10);
pub(in crate::export) const OUTAGE_PAUSE: Duration = Duration::from_secs(30);
pub(in crate::export) const TAKEOVER_AGE: Duration = Duration::from_secs(600);

/// Export `number`, accepted `number` seconds after the first.
pub(in crate::export) fn export(number: u32) -> AcceptedExport {
    export_of(number, &format!("report {number}.docx"))
}

pub(in crate::export) fn export_of(number: u32, document_name: &str) -> AcceptedExport {
    let bytes = Bytes::from(format!("document {number}"));
    let document = Document::inline(DocumentKind::Before, "a.docx".into(), String::new(), bytes);
    export_with(number, document_name, document)
}

/// Export `number` with this document.
pub(in crate::export) fn export_with(
    number: u32,
    document_name: &str,
    document: Document,
) -> AcceptedExport {
    let content = ExportContent {
        review: Review {
            document_name: document_name.to_owned(),
            session_id: "session".into(),
            reviewer: "Jane Doe".into(),
            ..Review::default()
        },
        documents: vec![document],
        destination: Some(Destination::S3),
        fallback: Fallback::Local,
    };
    let accepted_time = AcceptedTime::new(seconds(number));
    AcceptedExport {
        export_id: ExportId::new(Uuid::from_u128(number.into())),
        content_digest: content.digest(FormatVersion::CURRENT),
        folder_base: FolderBase::new(&accepted_time, document_name),
        content: content.into(),
        accepted_time,
        format_version: FormatVersion::CURRENT,
        destination: Destination::S3,
        requested_by: String::new(),
        store_id: None,
        read_digests: Default::default(),
    }
}

/// `number` seconds after the first export was accepted.
pub(in crate::export) fn seconds(number: u32) -> DateTime<Utc> {
    let first: DateTime<Utc> = "2026-11-22T18:37:00Z".parse().unwrap();
    first + Duration::from_secs(number.into())
}

/// The `number`th folder name of an export, from 1.
pub(in crate::export) fn folder(export: &AcceptedExport, number: u32) -> FolderName {
    FolderName::new(&export.folder_base, number)
}

/// A store error of an outage.
pub(in crate::export) fn unavailable() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "simulated outage")
}

/// A clock that tests advance, with sequential ids.
#[derive(Debug)]
pub(in crate::export) struct TestClock {
    now: Mutex<DateTime<Utc>>,
    ids: AtomicU64,
}

impl TestClock {
    pub(in crate::export) fn new() -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(seconds(60)), ids: AtomicU64::new(0) })
    }

    pub(in crate::export) fn advance(&self, duration: Duration) {
        *lock(&self.now) += TimeDelta::from_std(duration).unwrap();
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        *lock(&self.now)
    }

    fn new_id(&self) -> Uuid {
        // Above all export ids.
        Uuid::from_u128((1 << 64) + u128::from(self.ids.fetch_add(1, Ordering::Relaxed)))
    }
}

/// A call of an observer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::export) enum ObservedCall {
    Writing(FolderName),
    Started(String),
    Retrying(String),
    Stored(String),
    Retried,
}

/// Records all observer calls except progress.
#[derive(Debug, Default)]
pub(in crate::export) struct Recorder(Mutex<Vec<ObservedCall>>);

impl Recorder {
    pub(in crate::export) fn calls(&self) -> Vec<ObservedCall> {
        lock(&self.0).clone()
    }
}

impl Observer for Recorder {
    fn writing(&self, folder: &FolderName, _: u32, _: u64) {
        lock(&self.0).push(ObservedCall::Writing(folder.clone()));
    }

    fn started(&self, update: ArtifactUpdate) {
        lock(&self.0).push(ObservedCall::Started(update.path));
    }

    fn progressed(&self, _: ArtifactUpdate) {}

    fn retrying(&self, update: ArtifactUpdate) {
        lock(&self.0).push(ObservedCall::Retrying(update.path));
    }

    fn stored(&self, update: ArtifactUpdate, _: u64) {
        lock(&self.0).push(ObservedCall::Stored(update.path));
    }

    fn retried(&self) {
        lock(&self.0).push(ObservedCall::Retried);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Settings for tests.
pub(in crate::export) fn settings() -> EngineSettings {
    EngineSettings {
        heartbeat_interval: SECOND,
        accept_timeout: ACCEPT_TIMEOUT,
        retry_budget: RETRY_BUDGET,
        parallel_puts: 2,
        outage_pause: OUTAGE_PAUSE,
        backlog_concurrency: 1,
        keep_local_copies: false,
        format_version: FormatVersion::CURRENT,
        journal: JournalLocation::Local,
        takeover_interval: SECOND,
        takeover_age: TAKEOVER_AGE,
        journal_retention: JournalRetention { receipts: SECOND, failures: SECOND },
        retention_interval: SECOND,
        loss_confirmation: SECOND,
        allow_unsafe_store: false,
        admission: AdmissionLimits {
            concurrent_exports: 4,
            request_memory_bytes: 1 << 24,
            request_size_bytes: 1 << 20,
            timeout: SECOND,
        },
        allowed_sources: Vec::new(),
        document_size_bytes: 1 << 20,
    }
}

/// The shared state of a server with this data directory and these stores, without background work.
pub(in crate::export) async fn shared(
    data_dir: &Path,
    stores: Stores,
    settings: EngineSettings,
    clock: Arc<dyn Clock>,
) -> Shared {
    let pool = Pool::new("test", 2).unwrap();
    let journal = Journal::open(data_dir.to_owned(), JournalLimits::NONE).await.unwrap();
    let transfer_limits = TransferLimits { memory_bytes: 1 << 24, parallel_parts: 1 };
    let transfers = Transfers::new(transfer_limits, None, pool.clone());
    let upload_settings = UploadSettings {
        document_size_bytes: 1,
        concurrent_uploads: 1,
        retention: SECOND,
        store_timeout: SECOND,
        retry_budget: SECOND,
        idle_timeout: SECOND,
        permit_timeout: SECOND,
        disk_bytes: 1,
    };
    let folder = data_dir.to_owned();
    let uploads =
        Uploads::new(upload_settings, None, folder, transfers, clock.clone(), pool.clone());
    let acceptance = Health::default().acceptance;
    Shared::new(settings, stores, Some(journal), uploads, pool, acceptance, clock)
}

/// A server that knows the identities of its stores, without background work.
pub(in crate::export) struct TestServer {
    pub s3: Arc<MemoryStore>,
    pub local: Arc<MemoryStore>,
    pub clock: Arc<TestClock>,
    pub shared: Arc<Shared>,
    _data_dir: TempDir,
}

impl TestServer {
    pub(in crate::export) async fn start() -> Self {
        Self::start_with(settings()).await
    }

    pub(in crate::export) async fn start_with(settings: EngineSettings) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let s3 = MemoryStore::new(StoreKind::S3, "bucket");
        let local = MemoryStore::new(StoreKind::Local, "disk");
        let stores = Stores { s3: Some(s3.clone()), local: local.clone() };
        let clock = TestClock::new();
        let shared = Arc::new(shared(data_dir.path(), stores, settings, clock.clone()).await);
        let budget = RetryBudget::new(RETRY_BUDGET);
        let journal = shared.journal().unwrap();
        // The store identity is now stored on disk, so that later calls do not wait for the disk.
        shared.identity.fetch(journal, Freshness::Current, &budget).await.unwrap();
        Self { s3, local, clock, shared, _data_dir: data_dir }
    }

    /// S3 as a trait object.
    pub(in crate::export) fn s3(&self) -> Arc<dyn Store> {
        self.s3.clone()
    }

    /// The local store as a trait object.
    pub(in crate::export) fn local(&self) -> Arc<dyn Store> {
        self.local.clone()
    }

    /// Work on an export, with this observer.
    pub(in crate::export) async fn work(
        &self,
        export: &AcceptedExport,
        observer: Arc<dyn Observer>,
    ) -> Work {
        let memory_bytes = export.content.footprint_bytes();
        let permit = self.shared.admission.admit_journaled(memory_bytes).await.unwrap();
        Work::new(self.shared.clone(), export.export_id, export.digest(), observer, permit)
    }

    /// A job with a run in the registry that is not accepted yet.
    pub(in crate::export) async fn job(&self, export: &AcceptedExport) -> Job {
        let new = || {
            let running = Export::running(&export.header());
            let (clock, tally) = (self.shared.clock.clone(), self.shared.tally.clone());
            Run::new(running, export.digest(), clock, tally)
        };
        let (run, _) = self.shared.registry.get_or_insert(export.export_id, new);
        let memory_bytes = export.content.footprint_bytes();
        let permit = self.shared.admission.admit_journaled(memory_bytes).await.unwrap();
        Job::new(self.shared.clone(), run, permit)
    }

    /// Records an export in the journal.
    pub(in crate::export) async fn record(&self, export: &AcceptedExport) -> JournalEntry {
        self.shared.journal().unwrap().record(export).await.unwrap()
    }

    /// Whether the journal has an entry of this export.
    pub(in crate::export) async fn has_entry(&self, export: &AcceptedExport) -> bool {
        let found = self.shared.journal().unwrap().find(export.export_id).await.unwrap();
        !found.entries.is_empty()
    }
}

/// Whether the store has a manifest in this folder.
pub(in crate::export) fn is_committed(store: &MemoryStore, folder: &FolderName) -> bool {
    store.bytes(layout::manifest(folder).as_str()).is_some()
}

/// The number of calls of this operation on keys that contain `part_of_key`.
pub(in crate::export) fn calls_on(
    store: &MemoryStore,
    operation: Operation,
    part_of_key: &str,
) -> usize {
    let calls = store.calls();
    let matches = |call: &&Call| call.operation == operation && call.key.contains(part_of_key);
    calls.iter().filter(matches).count()
}

/// The events that the run's log has so far.
pub(in crate::export) async fn events(run: &Arc<Run>) -> Vec<Arc<Event>> {
    let ending = CancellationToken::new();
    ending.cancel();
    let mut subscription = Subscription::new(run.clone(), 0, SECOND, ending);
    let mut events = Vec::new();
    while let Next::Event(event) = subscription.next().await {
        if !matches!(event.kind, EventKind::ArtifactProgress(_) | EventKind::Heartbeat) {
            events.push(event);
        }
    }
    events
}

//! Tests of attempts with in-memory stores.

use std::time::Duration;

use tara_export_bundle::Fallback;
use tara_export_catalog::layout::{self, JournalLocation};
use tara_export_store::{
    StoreError, StoreErrorKind,
    memory::{Call, MemoryStore, Operation},
};
use tokio::{sync::Notify, time::Instant};

use super::*;
use crate::export::{
    drive::execute::Origin,
    recover::backlog::{NextTask, Task},
    run::events::EventKind,
    settings::EngineSettings,
    testing::{
        ACCEPT_TIMEOUT, OUTAGE_PAUSE, RETRY_BUDGET, Recorder, TestServer, calls_on, events, export,
        folder, is_committed, settings,
    },
};

const PROBE: &str = ".tara-export/probe/conditional-put";

/// An attempt without a run.
async fn attempt(
    server: &TestServer,
    store: &Arc<dyn Store>,
    export: &AcceptedExport,
) -> Result<CommittedExport, AttemptError> {
    let work = server.work(export, Arc::<Recorder>::default()).await;
    work.try_store(store, export, &AtomicBool::new(false), None).await
}

fn failure(result: Result<CommittedExport, AttemptError>) -> Failure {
    match result {
        Err(AttemptError::Failed(failure)) => failure,
        Err(AttemptError::Reused(digest)) => panic!("reused: {digest}"),
        Ok(committed) => panic!("committed: {:?}", committed.export),
    }
}

#[tokio::test(start_paused = true)]
async fn bundle_falls_back_when_s3_exceeds_the_retry_budget() {
    let server = TestServer::start().await;
    let (shared, export) = (&server.shared, export(1));
    let entry = server.record(&export).await;
    server.s3.set_unavailable(true);
    let (job, started) = (server.job(&export).await, Instant::now());
    job.execute(&export, &entry, Origin::Request).await;
    assert!(started.elapsed() > ACCEPT_TIMEOUT && started.elapsed() <= RETRY_BUDGET);

    let ended = job.run.export();
    assert_eq!((ended.state, ended.stored_in), (ExportState::FellBack, Some(StoreKind::Local)));
    assert_eq!(ended.state_reason, "STORE_UNAVAILABLE");
    assert!(is_committed(&server.local, &folder(&export, 1)));
    let events = events(&job.run).await;
    assert!(matches!(events[0].kind, EventKind::Accepted { .. }), "{events:?}");
    assert!(matches!(events[1].kind, EventKind::FellBack(_)), "{events:?}");
    assert!(matches!(events.last().unwrap().kind, EventKind::Completed(_)), "{events:?}");
    assert_eq!(shared.tally.counts().fell_back, 1);
    // The bundle waits for sync, and its entry is not removed before.
    let waiting = shared.backlog.get(&entry).unwrap();
    assert_eq!(waiting.task, Task::Sync);
    assert!(server.has_entry(&export).await);
}

#[tokio::test(start_paused = true)]
async fn export_without_fallback_is_not_written_to_local_store() {
    let server = TestServer::start().await;
    let mut export = export(1);
    Arc::make_mut(&mut export.content).fallback = Fallback::None;
    export.content_digest = export.content.digest(export.format_version);
    let entry = server.record(&export).await;
    server.s3.set_unavailable(true);
    let job = server.job(&export).await;
    job.execute(&export, &entry, Origin::Request).await;
    assert_eq!(job.run.export().state, ExportState::Failed);
    assert_eq!(server.local.keys(), [""; 0]);
    let failed = server.shared.journal().unwrap().failure(export.export_id).await.unwrap();
    assert_eq!(failed.unwrap().failure().reason, FailureReason::StoreUnavailable);
    assert!(!server.has_entry(&export).await);
}

#[tokio::test(start_paused = true)]
async fn outage_skips_s3_until_it_responds() {
    let server = TestServer::start().await;
    let shared = &server.shared;
    server.s3.set_unavailable(true);
    let outage = failure(attempt(&server, &server.s3(), &export(1)).await);
    assert_eq!(outage.reason, FailureReason::StoreUnavailable);
    // The next attempt fails at once, without a request.
    let (calls, started) = (server.s3.calls().len(), Instant::now());
    let known = failure(attempt(&server, &server.s3(), &export(2)).await);
    assert!(known.is_outage() && known.message.contains(&outage.message), "{known}");
    assert_eq!((server.s3.calls().len(), started.elapsed()), (calls, Duration::ZERO));
    attempt(&server, &server.local(), &export(2)).await.unwrap();
    // An export waits for S3 much longer than the pause.
    let waiting = server.record(&export(3)).await;
    (0..8).for_each(|_| shared.backlog.postpone(&waiting, Task::Export, known.clone()));
    tokio::time::advance(OUTAGE_PAUSE).await;
    assert!(matches!(shared.backlog.take_next(None, |_| None), NextTask::At(_)));
    // A refusal is a response.
    server.s3.set_unavailable(false);
    let denied = StoreError::new(StoreErrorKind::Denied, "injected by the test");
    server.s3.fail_next(Operation::Get, denied);
    let refused = failure(attempt(&server, &server.s3(), &export(1)).await);
    assert_eq!(refused.reason, FailureReason::StoreDenied);
    assert_eq!(shared.breaker.outage(), None);
    assert!(matches!(shared.backlog.take_next(None, |_| None), NextTask::Due(..)), "still waiting");
    attempt(&server, &server.s3(), &export(1)).await.unwrap();
}

/// Delays puts of keys that contain `part_of_key` until they are released.
fn hold_puts(store: &MemoryStore, part_of_key: &'static str) -> Arc<Notify> {
    let released = Arc::new(Notify::new());
    let release = released.clone();
    store.before_each(move |Call { operation, key }| {
        let is_held = operation == Operation::Put && key.contains(part_of_key);
        let released = released.clone();
        async move {
            if is_held {
                released.notified().await;
            }
            None
        }
    });
    release
}

#[tokio::test(start_paused = true)]
async fn slow_store_delays_acceptance_until_the_timeout() {
    let server = TestServer::start().await;
    let export = export(1);
    let (job, s3, started) = (server.job(&export).await, server.s3(), Instant::now());
    let release = hold_puts(&server.s3, "/exports/");
    let (manifest_sent, run) = (AtomicBool::new(false), job.run.clone());
    let attempting = job.work.try_store(&s3, &export, &manifest_sent, Some(&run));
    let mut attempting = pin!(attempting);
    tokio::select! {
        result = &mut attempting => panic!("not accepted: {:?}", result.err()),
        accepted = run.acceptance() => accepted.unwrap(),
    }
    assert_eq!(started.elapsed().as_millis(), ACCEPT_TIMEOUT.as_millis());
    assert_eq!(server.s3.bytes(layout::record(export.export_id).as_str()), None);
    release.notify_one();
    attempting.await.unwrap();
    let accepted = events(&run).await.into_iter();
    let accepted = accepted.filter(|event| matches!(event.kind, EventKind::Accepted { .. }));
    assert_eq!(accepted.count(), 1);
    assert!(is_committed(&server.s3, &folder(&export, 1)));
}

/// The acceptance waits for the claim, which may refuse the id, and reports the durability of the request.
#[tokio::test]
async fn acceptance_follows_the_claim_and_the_entry_in_the_store() {
    for journal in [JournalLocation::Local, JournalLocation::Store] {
        let accept_timeout = Duration::from_secs(3600);
        let settings = EngineSettings { journal, accept_timeout, ..settings() };
        let server = TestServer::start_with(settings).await;
        let export = export(1);
        let job = server.job(&export).await;
        let (keys, run) = (server.s3.clone(), Arc::downgrade(&job.run));
        server.s3.before_each(move |Call { operation, key }| {
            let run = run.upgrade().unwrap();
            // The claim precedes the acceptance, and artifacts follow it.
            let is_artifact = operation == Operation::Put && key.ends_with("readable_report.txt");
            if operation == Operation::Put && key.contains("/exports/") {
                assert!(!run.is_accepted(), "{key}");
            }
            assert!(!is_artifact || run.is_accepted(), "{key}");
            async { None }
        });
        let sent = AtomicBool::new(false);
        job.work.try_store(&server.s3(), &export, &sent, Some(&job.run)).await.unwrap();
        let events = events(&job.run).await;
        let expected = match journal {
            JournalLocation::Local => Durability::LocalDisk,
            JournalLocation::Store => Durability::Store,
        };
        match events[0].kind {
            EventKind::Accepted { durability, .. } => assert_eq!(durability, expected),
            ref other => panic!("{other:?}"),
        }
        let entry = layout::journal_entry(export.export_id, export.content_digest);
        let has_entry = keys.bytes(entry.as_str()).is_some();
        assert_eq!(has_entry, journal == JournalLocation::Store);
    }
}

#[tokio::test(start_paused = true)]
async fn s3_without_conditional_writes_is_used_only_if_allowed() {
    for allow_unsafe_store in [false, true] {
        let settings = EngineSettings { allow_unsafe_store, ..settings() };
        let server = TestServer::start_with(settings).await;
        let (store, export) = (Arc::downgrade(&server.s3), export(1));
        server.s3.before_each(move |Call { operation, key }| {
            if operation == Operation::Put && key == PROBE {
                store.upgrade().unwrap().remove(PROBE);
            }
            async { None }
        });
        let result = attempt(&server, &server.s3(), &export).await;
        if allow_unsafe_store {
            result.unwrap();
            continue;
        }
        assert_eq!(failure(result).reason, FailureReason::StoreUnsafe);
        assert_eq!(server.s3.keys(), [PROBE, layout::store_identity().as_str()]);
        assert_eq!(calls_on(&server.s3, Operation::Put, PROBE), 2);
        assert_eq!(server.shared.breaker.outage(), None);
    }
}

//! Tests of a run's state, events and counts.

use tara_export_store::StoreKind;
use tokio_util::sync::CancellationToken;

use super::{
    subscription::{Next, Subscription},
    tally::Counts,
    *,
};
use crate::export::{
    failure::FailureReason,
    testing::{SECOND, TestClock, events, export, folder},
};

struct Observed {
    run: Arc<Run>,
    tally: Arc<Tally>,
}

impl Observed {
    fn new() -> Self {
        let (export, tally) = (export(1), Arc::<Tally>::default());
        let running = Export::running(&export.header());
        let run = Run::new(running, export.digest(), TestClock::new(), tally.clone());
        Self { run: Arc::new(run), tally }
    }

    fn accept(&self) {
        self.run.accept(export(1).accepted_time, Durability::LocalDisk);
    }

    /// The export, committed in this store.
    fn committed(&self, kind: StoreKind) -> Export {
        let export = self.run.export();
        let state = ExportState::of_bundle(export.requested_destination, kind);
        Export { state, stored_in: Some(kind), ..export }
    }

    async fn event_names(&self) -> Vec<&'static str> {
        events(&self.run).await.iter().map(|event| name(&event.kind)).collect()
    }

    fn counts(&self) -> Counts {
        self.tally.counts()
    }
}

fn name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Accepted { resumed: false, .. } => "accepted",
        EventKind::Accepted { resumed: true, .. } => "resumed",
        EventKind::ArtifactStarted(_) => "started",
        EventKind::ArtifactProgress(_) => "progress",
        EventKind::ArtifactRetrying(_) => "retrying",
        EventKind::ArtifactStored(_) => "stored",
        EventKind::FellBack(_) => "fell back",
        EventKind::Heartbeat => "heartbeat",
        EventKind::Completed(_) => "completed",
        EventKind::Failed { .. } => "failed",
    }
}

fn failure() -> Failure {
    Failure { reason: FailureReason::StoreUnavailable, message: "simulated outage".to_owned() }
}

fn update(path: &str) -> ArtifactUpdate {
    let (path, reason) = (path.to_owned(), String::new());
    ArtifactUpdate { path, bytes_done: 1, size_bytes: 2, sha256: None, attempt: 1, reason }
}

#[tokio::test]
async fn second_acceptance_is_ignored() {
    let observed = Observed::new();
    let run = &observed.run;
    assert!(!run.is_accepted() && run.unfinished_since().is_none());
    assert_eq!(observed.counts(), Counts::default());
    run.resume(export(1).accepted_time, Durability::LocalDisk);
    observed.accept();
    run.repeat(export(1).accepted_time);
    run.acceptance().await.unwrap();
    assert!(run.is_accepted() && run.is_resumed() && run.is_counted());
    assert_eq!(run.unfinished_since(), Some(export(1).accepted_time));
    assert_eq!(observed.event_names().await, ["resumed"]);
    assert_eq!(observed.counts(), Counts { started: 1, running: 1, ..Counts::default() });
}

#[tokio::test]
async fn fallback_is_published_once_and_only_after_acceptance() {
    let observed = Observed::new();
    assert!(!observed.run.fall_back(failure()));
    observed.accept();
    assert!(!observed.run.has_fallen_back());
    assert!(observed.run.fall_back(failure()));
    assert!(!observed.run.fall_back(failure()));
    assert!(observed.run.has_fallen_back());
    assert_eq!(observed.event_names().await, ["accepted", "fell back"]);
}

#[tokio::test]
async fn run_ends_once_and_is_counted_in_its_final_state() {
    let observed = Observed::new();
    let run = &observed.run;
    // A run that was not accepted cannot end.
    run.complete(observed.committed(StoreKind::S3));
    assert!(!run.has_ended());

    for fails_first in [true, false] {
        let observed = Observed::new();
        let run = &observed.run;
        observed.accept();
        run.writing(&folder(&export(1), 1), 3, 30);
        run.started(update("a"));
        run.stored(update("a"), 20);
        let stored_under = Some(export(2).export_id);
        match fails_first {
            true => run.fail(failure(), stored_under),
            false => run.complete(observed.committed(StoreKind::Local)),
        }
        assert!(run.has_ended());
        assert_eq!(run.is_stored_under_other_id(), fails_first);
        let (counts, ended) = (observed.counts(), run.unfinished_since());
        let expected = match fails_first {
            true => Counts { started: 1, failed: 1, ..Counts::default() },
            false => Counts { started: 1, fell_back: 1, ..Counts::default() },
        };
        assert_eq!((counts, ended), (expected, None));
        // Later changes publish nothing.
        run.fail(failure(), None);
        run.complete(observed.committed(StoreKind::Local));
        run.started(update("b"));
        run.fall_back(failure());
        let last = if fails_first { "failed" } else { "completed" };
        assert_eq!(observed.event_names().await, ["accepted", "started", "stored", last]);
        assert_eq!(run.is_stored_under_other_id(), fails_first);
        let done = events(run).await[2].progress;
        assert_eq!((done.artifacts_done, done.artifacts_total, done.bytes_done), (1, 3, 20));
    }
}

#[tokio::test]
async fn repeated_and_refused_runs_are_not_counted() {
    let observed = Observed::new();
    observed.run.repeat(export(1).accepted_time);
    assert!(observed.run.is_accepted() && !observed.run.is_counted());
    observed.run.complete(observed.committed(StoreKind::S3));
    assert_eq!(observed.counts(), Counts::default());
    assert_eq!(observed.event_names().await, ["accepted", "completed"]);

    let observed = Observed::new();
    observed.run.refuse(StartError::ShuttingDown);
    let refused = observed.run.acceptance().await;
    assert!(matches!(refused, Err(StartError::ShuttingDown)), "{refused:?}");
    observed.accept();
    assert!(observed.run.has_ended() && !observed.run.is_accepted());
    assert_eq!(observed.event_names().await, [""; 0]);
    assert_eq!(observed.counts(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn subscription_starts_at_any_position() {
    let observed = Observed::new();
    let run = &observed.run;
    let ending = CancellationToken::new();
    let subscribe = |seen| Subscription::new(run.clone(), seen, SECOND, ending.clone());
    let mut early = subscribe(0);
    observed.accept();
    run.started(update("a"));
    run.progressed(update("a"));
    // Only current subscribers receive artifact progress.
    let mut late = subscribe(1);
    run.progressed(update("a"));
    run.progressed(update("a"));
    for (subscription, expected) in [
        (
            &mut early,
            [("accepted", 1), ("started", 2), ("progress", 2), ("heartbeat", 2)].as_slice(),
        ),
        (&mut late, &[("started", 2), ("progress", 2), ("heartbeat", 2)]),
        (&mut subscribe(2), &[("heartbeat", 2)]),
        // A sequence number beyond the last event skips no later event.
        (&mut subscribe(u64::MAX), &[("heartbeat", 2)]),
    ] {
        for expected in expected {
            match subscription.next().await {
                Next::Event(event) => assert_eq!((name(&event.kind), event.sequence), *expected),
                other => panic!("{expected:?}: {other:?}"),
            }
        }
    }
    run.complete(observed.committed(StoreKind::S3));
    // A subscriber that already has the terminal event receives it again, because it contains the outcome.
    for seen in [2, 3, u64::MAX] {
        let mut subscription = subscribe(seen);
        match subscription.next().await {
            Next::Event(event) => assert_eq!((name(&event.kind), event.sequence), ("completed", 3)),
            other => panic!("{seen}: {other:?}"),
        }
        assert!(matches!(subscription.next().await, Next::Ended), "{seen}");
    }
    let open = Observed::new();
    ending.cancel();
    let mut waiting = Subscription::new(open.run.clone(), 0, SECOND, ending.clone());
    assert!(matches!(waiting.next().await, Next::EndedEarly));
}

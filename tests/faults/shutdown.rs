//! A shutdown in any phase of an export or a sync (guarantees, failure 7).

use std::time::{Duration, Instant};

use tara_export::server::{Deadline, Stopping};
use tara_export_client::proto::export::State;
use tara_export_limits::Pool;
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    following::committed,
    harness::{
        Host,
        in_s3::{check_in_s3, committed_bundles, store_with_read_timeout},
        pools::wedge,
        s3::store_of,
        waiting::{until_journal_is_empty, until_state, until_status},
        within,
    },
    requests::{name, request},
};

const AT_ONCE: &str = "--shutdown-timeout=0s";

#[tokio::test]
async fn stop_in_any_phase_of_an_export_loses_nothing() {
    for key in ["/exports/", "/folders/", ".docx", "report", "/index/", "manifest.json"] {
        let s3 = TestS3::start().await;
        let host = Host::with_s3(store_of(&s3)).flags(&[AT_ONCE, "--accept-timeout=10ms"]);
        let mut server = host.start().await;
        let held = FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains(key);
        let held = s3.fail(held);
        let _stream = server.client.start_export(request(1, "a.docx")).await.unwrap();
        until_status(&server, "the phase", |_| s3.fault_hits(held) > 0).await;
        server.stop().await;

        // Requests of the stopped process arrive late, next to those of the next process.
        let mut server = host.start().await;
        s3.clear_faults();
        let export = until_state(&mut server.client, &name(1), State::Committed).await;
        check_in_s3(&s3, &export);
        until_journal_is_empty(&host).await;
        assert_eq!(committed_bundles(&s3).len(), 1, "{key}");
    }
}

#[tokio::test]
async fn stop_in_any_phase_of_a_sync_loses_nothing() {
    let phases = [
        (Operation::PutObject, "/exports/"),
        (Operation::PutObject, ".docx"),
        (Operation::PutObject, "manifest.json"),
        (Operation::HeadObject, ".docx"),
        (Operation::HeadObject, "manifest.json"),
    ];
    for (operation, key) in phases {
        let s3 = TestS3::start().await;
        let flags = [AT_ONCE, "--s3-outage-pause=10ms"];
        let store = store_with_read_timeout(&s3, Duration::from_secs(60));
        let host = Host::with_s3(store).flags(&flags);
        let mut server = host.start().await;
        // A failure that is not retried, so the retry budget can be long enough for a busy machine.
        s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
        let local = committed(&mut server.client, request(1, "a.docx")).await;
        assert_eq!(local.state(), State::FellBack);
        s3.clear_faults();
        let held = s3.fail(FaultRule::new(Fault::Stall).on(operation).key_contains(key));
        until_status(&server, "the phase", |_| s3.fault_hits(held) > 0).await;
        server.stop().await;

        let mut server = host.start().await;
        s3.clear_faults();
        let export = until_state(&mut server.client, &name(1), State::Committed).await;
        check_in_s3(&s3, &export);
        until_journal_is_empty(&host).await;
        assert_eq!(committed_bundles(&s3).len(), 1, "{operation:?} {key}");
    }
}

/// Writes must be finished before the next process starts, if there is time. Reads and computations for
/// callers need not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_waits_for_writes_until_its_deadline_but_not_for_reads() {
    let timeout = Duration::from_secs(2);
    for name in ["journal", "documents", "local-writes", "computing", "local-reads"] {
        let host = Host::new();
        let mut server = host.start().await;
        committed(&mut server.client, request(1, "a.docx")).await;
        let pools = server.running.pools();
        let is_writing = pools.writing.iter().any(|pool| pool.name() == name);
        let pool: &Pool = pools.iter().find(|pool| pool.name() == name).unwrap();
        let release = wedge(pool);
        let started = Instant::now();
        let stopping = Stopping::default();
        let stop = server.running.shut_down_by(Deadline::from_now(timeout), &stopping);
        let in_order = within("the stop", stop).await;
        assert_eq!(in_order, !is_writing, "{name}");
        if is_writing {
            assert!(started.elapsed() >= timeout, "{name}: {:?}", started.elapsed());
        }
        drop(release);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_waits_for_a_write_that_finishes_in_time() {
    let host = Host::new();
    let server = host.start().await;
    let pools = server.running.pools();
    let (write_done, wait_for_write) = std::sync::mpsc::channel();
    let release = wedge(&pools.writing[0]);
    // Queued after the work that occupies the threads.
    drop(pools.writing[0].run(move || write_done.send(()).unwrap()));
    let stopping = Stopping::default();
    let mut stop = Box::pin(
        server.running.shut_down_by(Deadline::from_now(Duration::from_secs(60)), &stopping),
    );
    let early = tokio::time::timeout(Duration::from_millis(100), &mut stop).await;
    assert!(early.is_err(), "the stop did not wait for the write");
    drop(release);
    assert!(within("the stop", stop).await);
    wait_for_write.try_recv().unwrap();
}

//! Disk errors at every step: which requests are refused, which exports wait, and that all work
//! resumes when the disk works again.
//!
//! The server runs in this process, where failpoints can be set and removed. Failpoints are global
//! to the process, so these tests run sequentially ([`FailScenario`]).

use tara_export_client::proto::{Destination, export::State};
use tara_export_failpoint::fail::{self, FailScenario};
use tara_export_test_support::{Fault, FaultRule, Operation};
use tonic::Code;

use crate::{ledger::ExportCase, machine::Machine, process::within};

/// ENOSPC, EIO and EROFS, with the gRPC code of a request that was not accepted.
const ERRNOS: [(i32, Code); 3] =
    [(28, Code::ResourceExhausted), (5, Code::Unavailable), (30, Code::ResourceExhausted)];

/// Makes a disk operation fail on paths that contain this text.
fn refuse(point: &str, errno: i32, path: &str) {
    fail::cfg(point, &format!("return({errno} {path})")).unwrap();
}

#[tokio::test]
async fn journal_errors_refuse_requests_and_leave_nothing() {
    let _failpoints = FailScenario::setup();
    for point in [
        "disk.directory.make",
        "disk.file.create",
        "disk.file.write",
        "disk.file.sync",
        "disk.file.publish",
        "disk.directory.sync",
    ] {
        for (errno, code) in ERRNOS {
            eprintln!("{point} fails with {errno}");
            let machine = Machine::new().await;
            // The journal's folders are made once, at the start.
            let is_first = point == "disk.directory.make";
            if is_first {
                refuse(point, errno, "/.tara-export/journal");
            }
            let mut server = machine.start().await;
            if !is_first {
                server.committed(ExportCase::new(1)).await;
                refuse(point, errno, "/.tara-export/journal");
            }
            let status = server.refused(ExportCase::new(2)).await;
            assert_eq!(status.code(), code, "{status:?}");
            assert!(status.message().contains("/.tara-export/journal"), "{status:?}");
            if !is_first {
                server.assert_readable(ExportCase::new(1)).await;
            }
            machine.until_journal_is_empty().await;

            // The disk works again, without any action on the server.
            fail::remove(point);
            server.committed(ExportCase::new(3)).await;
            server.stop().await;
            let mut server = machine.start().await;
            let listed = server.listed().await;
            assert!(
                !listed.contains(&ExportCase::new(2).export_id()),
                "a refused export is listed: {listed:?}"
            );
            server.committed(ExportCase::new(2)).await;
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn local_claim_error_refuses_the_request() {
    let _failpoints = FailScenario::setup();
    for (number, (errno, code)) in (2..).zip(ERRNOS) {
        let machine = Machine::new().await;
        let mut server = machine.start().await;
        server.committed(ExportCase::new(1).local()).await;
        let case = ExportCase::new(number).local();
        refuse("disk.file.publish", errno, "/.tara-export/folders/");
        let status = server.refused(case).await;
        assert_eq!(status.code(), code, "{status:?}");
        server.assert_readable(ExportCase::new(1)).await;
        machine.until_journal_is_empty().await;
        fail::remove("disk.file.publish");
        server.committed(case).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn accepted_export_waits_for_the_disk_and_resumes() {
    let _failpoints = FailScenario::setup();
    let steps = [
        ("disk.file.create", "/.tara-export/tmp"),
        ("disk.file.write", "/.tara-export/exports/"),
        ("disk.file.write", "/documents/"),
        ("disk.file.write", "/manifest.json"),
        ("disk.file.sync", "/.tara-export/folders/"),
        ("disk.file.sync", "/manifest.json"),
        ("disk.file.publish", "/.tara-export/index-shards/"),
        ("disk.file.publish", "/feedback/"),
        ("disk.file.publish", "/manifest.json"),
        ("disk.directory.make", "/logs"),
        ("disk.directory.sync", "/documents"),
        ("disk.directory.sync", "/.tara-export/index-shards/"),
    ];
    for ((point, path), (errno, _)) in steps.into_iter().zip(ERRNOS.into_iter().cycle()) {
        eprintln!("{point} on {path} fails with {errno}");
        let machine = Machine::new().await;
        let mut server = machine.start().await;
        server.committed(ExportCase::new(1).local()).await;
        let outage = machine.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
        refuse(point, errno, path);
        let case = ExportCase::new(2);
        let mut events = server.accepted(case).await;
        let waiting = server.until_state(case, State::Pending).await;
        assert_eq!(waiting.stored_in(), Destination::Unspecified);
        server.assert_readable(ExportCase::new(1)).await;
        assert_eq!(machine.journal().len(), 1);

        fail::remove(point);
        let export = events.completed().await;
        assert_eq!(export.state(), State::FellBack);
        machine.s3.clear_fault(outage);
        server.until_state(case, State::Committed).await;
        machine.until_journal_is_empty().await;
        machine.assert_one_bundle(case, Destination::S3);
        server.stop().await;
    }
}

#[tokio::test]
async fn export_uses_s3_if_it_recovers_before_the_disk() {
    let _failpoints = FailScenario::setup();
    let machine = Machine::new().await;
    let mut server = machine.start().await;
    let outage = machine.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    refuse("disk.file.write", 28, "/documents/");
    let mut events = server.accepted(ExportCase::new(1)).await;
    server.until_state(ExportCase::new(1), State::Pending).await;
    machine.s3.clear_fault(outage);
    assert_eq!(events.completed().await.state(), State::Committed);
    machine.until_journal_is_empty().await;
    machine.assert_one_bundle(ExportCase::new(1), Destination::S3);
    fail::remove("disk.file.write");
    server.stop().await;
}

#[tokio::test]
async fn failed_removal_of_local_copy_is_retried() {
    let _failpoints = FailScenario::setup();
    let steps = [
        ("disk.file.remove", "/manifest.json"),
        ("disk.file.remove", "/documents/"),
        ("disk.directory.remove", "/documents"),
        ("disk.file.remove", "/.tara-export/index-shards/"),
        ("disk.directory.remove", "/.tara-export/index-shards/"),
        ("disk.file.remove", "/.tara-export/folders/"),
        // Empty folders are removed, so that the parent folder is synced.
        ("disk.directory.sync", "/.tara-export"),
        ("disk.file.remove", "/.tara-export/journal/"),
        ("disk.directory.sync", "/.tara-export/journal"),
    ];
    for ((point, path), (errno, _)) in steps.into_iter().zip(ERRNOS.into_iter().cycle()) {
        eprintln!("{point} on {path} fails with {errno}");
        let machine = Machine::new().await;
        let mut server = machine.start().await;
        server.read_store_identity().await;
        let outage = machine.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
        let case = ExportCase::new(1);
        assert_eq!(server.export(case).await.state(), State::FellBack);
        refuse(point, errno, path);
        machine.s3.clear_fault(outage);
        server.until_attempt_failed(case).await;
        server.until_state(case, State::Committed).await;
        server.assert_readable(case).await;

        fail::remove(point);
        machine.until_journal_is_empty().await;
        machine.assert_one_bundle(case, Destination::S3);
        machine.assert_local_store_is_empty();
        server.stop().await;
    }
}

#[tokio::test]
async fn leftover_journal_entry_is_removed_at_next_start() {
    let _failpoints = FailScenario::setup();
    for case in [ExportCase::new(1), ExportCase::new(1).local()] {
        let machine = Machine::new().await;
        let mut server = machine.start().await;
        refuse("disk.file.remove", 30, "/.tara-export/journal/");
        let first = server.committed(case).await;
        // The export may complete before the removal is tried.
        server.stop().await;
        assert_eq!(machine.journal().len(), 1);
        fail::remove("disk.file.remove");
        let mut server = machine.start().await;
        machine.until_journal_is_empty().await;
        assert_eq!(server.committed(case).await.location, first.location);
        machine.assert_one_bundle(case, first.stored_in());
        server.stop().await;
    }
}

#[tokio::test]
async fn failure_is_reported_only_after_it_is_recorded() {
    let _failpoints = FailScenario::setup();
    for (point, path) in [
        ("disk.file.write", "/failed/"),
        ("disk.file.replace", "/failed/"),
        ("disk.directory.sync", "/failed"),
    ] {
        let machine = Machine::new().await;
        let mut server = machine.start().await;
        let rule = FaultRule::new(Fault::ACCESS_DENIED).on(Operation::PutObject);
        let outage = machine.s3.fail(rule.key_contains("/feedback/"));
        refuse(point, 28, path);
        let case = ExportCase::new(1).without_fallback();
        let mut events = server.accepted(case).await;
        server.until_state(case, State::Pending).await;
        fail::remove(point);
        machine.s3.clear_fault(outage);
        // The export may now complete or fail, but only one of the two.
        let has_failed = within("the end of the export", events.end()).await.is_none();
        machine.until_journal_is_empty().await;
        server.stop().await;
        let mut server = machine.start().await;
        let state = if has_failed { State::Failed } else { State::Committed };
        server.until_state(case, state).await;
        server.stop().await;
    }
}

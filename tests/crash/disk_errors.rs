//! A disk that refuses one step after the other: what is refused then, what waits, and that all goes
//! on by itself when the disk works again.
//!
//! The server runs in this process, where a failpoint can be set and taken back. They are the whole
//! process's, so these tests run one after the other ([`FailScenario`]).

use fail::FailScenario;
use tara_export::proto::{Destination, export::State};
use tara_export_test_support::{Fault, FaultRule, Operation};
use tonic::Code;

use crate::{ledger::Wish, machine::Machine, process::within};

/// ENOSPC, EIO, EROFS: how a caller sees them who was not accepted.
const ERRNOS: [(i32, Code); 3] =
    [(28, Code::ResourceExhausted), (5, Code::Unavailable), (30, Code::ResourceExhausted)];

/// Lets the disk refuse a step, on paths that contain this text.
fn refuse(point: &str, errno: i32, path: &str) {
    fail::cfg(point, &format!("return({errno} {path})")).unwrap();
}

#[tokio::test]
async fn without_the_journal_nothing_is_accepted_and_nothing_is_left() {
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
            let mut server = machine.start().await;
            // Its folders are made once.
            let is_first = point == "disk.directory.make";
            if !is_first {
                server.committed(Wish::new(1)).await;
            }
            refuse(point, errno, "/.tara-export/journal");
            let status = server.refused(Wish::new(2)).await;
            assert_eq!(status.code(), code, "{status:?}");
            assert!(status.message().contains("/.tara-export/journal"), "{status:?}");
            if !is_first {
                server.reads(Wish::new(1)).await;
            }
            machine.until_journal_is_empty().await;

            // Mended, and nobody did anything to the server.
            fail::remove(point);
            server.committed(Wish::new(3)).await;
            server.stop().await;
            let mut server = machine.start().await;
            let listed = server.listed().await;
            assert!(!listed.contains(&Wish::new(2).export_id()), "it was refused: {listed:?}");
            server.committed(Wish::new(2)).await;
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn a_local_store_that_refuses_the_claim_accepts_nothing() {
    let _failpoints = FailScenario::setup();
    for (number, (errno, code)) in (2..).zip(ERRNOS) {
        let machine = Machine::new().await;
        let mut server = machine.start().await;
        server.committed(Wish::new(1).local()).await;
        let wish = Wish::new(number).local();
        refuse("disk.file.publish", errno, "/.tara-export/folders/");
        let status = server.refused(wish).await;
        assert_eq!(status.code(), code, "{status:?}");
        server.reads(Wish::new(1)).await;
        machine.until_journal_is_empty().await;
        fail::remove("disk.file.publish");
        server.committed(wish).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn what_was_accepted_waits_for_the_disk_and_goes_on_by_itself() {
    let _failpoints = FailScenario::setup();
    let steps = [
        ("disk.file.create", "/.tara-export/tmp"),
        ("disk.file.write", "/.tara-export/exports/"),
        ("disk.file.write", "/documents/"),
        ("disk.file.write", "/manifest.json"),
        ("disk.file.sync", "/.tara-export/folders/"),
        ("disk.file.sync", "/manifest.json"),
        ("disk.file.publish", "/.tara-export/index/"),
        ("disk.file.publish", "/feedback/"),
        ("disk.file.publish", "/manifest.json"),
        ("disk.directory.make", "/logs"),
        ("disk.directory.sync", "/documents"),
        ("disk.directory.sync", "/.tara-export/index"),
    ];
    for ((point, path), (errno, _)) in steps.into_iter().zip(ERRNOS.into_iter().cycle()) {
        eprintln!("{point} on {path} fails with {errno}");
        let machine = Machine::new().await;
        let mut server = machine.start().await;
        server.committed(Wish::new(1).local()).await;
        let outage = machine.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
        refuse(point, errno, path);
        let wish = Wish::new(2);
        let mut events = server.accepted(wish).await;
        let waiting = server.until_state(wish, State::Pending).await;
        assert_eq!(waiting.stored_in(), Destination::Unspecified);
        server.reads(Wish::new(1)).await;
        assert_eq!(machine.journal().len(), 1);

        fail::remove(point);
        let export = events.completed().await;
        assert_eq!(export.state(), State::FellBack);
        machine.s3.clear_fault(outage);
        server.until_state(wish, State::Committed).await;
        machine.until_journal_is_empty().await;
        machine.has_one_whole_bundle(wish, Destination::S3);
        server.stop().await;
    }
}

#[tokio::test]
async fn s3_is_as_good_when_it_is_back_before_the_disk() {
    let _failpoints = FailScenario::setup();
    let machine = Machine::new().await;
    let mut server = machine.start().await;
    let outage = machine.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    refuse("disk.file.write", 28, "/documents/");
    let mut events = server.accepted(Wish::new(1)).await;
    server.until_state(Wish::new(1), State::Pending).await;
    machine.s3.clear_fault(outage);
    assert_eq!(events.completed().await.state(), State::Committed);
    machine.until_journal_is_empty().await;
    machine.has_one_whole_bundle(Wish::new(1), Destination::S3);
    fail::remove("disk.file.write");
    server.stop().await;
}

#[tokio::test]
async fn a_copy_that_can_not_be_removed_is_removed_later() {
    let _failpoints = FailScenario::setup();
    let steps = [
        ("disk.file.remove", "/manifest.json"),
        ("disk.file.remove", "/documents/"),
        ("disk.directory.remove", "/documents"),
        ("disk.file.remove", "/.tara-export/index/"),
        ("disk.file.remove", "/.tara-export/folders/"),
        // Emptied folders go, so that it is the one above that is synced.
        ("disk.directory.sync", "/.tara-export"),
        ("disk.file.remove", "/.tara-export/journal/"),
        ("disk.directory.sync", "/.tara-export/journal"),
    ];
    for ((point, path), (errno, _)) in steps.into_iter().zip(ERRNOS.into_iter().cycle()) {
        eprintln!("{point} on {path} fails with {errno}");
        let machine = Machine::new().await;
        let mut server = machine.start().await;
        let outage = machine.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
        let wish = Wish::new(1);
        assert_eq!(server.export(wish).await.state(), State::FellBack);
        refuse(point, errno, path);
        machine.s3.clear_fault(outage);
        server.until_set_back(wish).await;
        server.until_state(wish, State::Committed).await;
        server.reads(wish).await;

        fail::remove(point);
        machine.until_journal_is_empty().await;
        machine.has_one_whole_bundle(wish, Destination::S3);
        machine.has_nothing_local();
        server.stop().await;
    }
}

#[tokio::test]
async fn an_entry_that_stays_behind_its_bundle_goes_at_the_next_start() {
    let _failpoints = FailScenario::setup();
    for wish in [Wish::new(1), Wish::new(1).local()] {
        let machine = Machine::new().await;
        let mut server = machine.start().await;
        refuse("disk.file.remove", 30, "/.tara-export/journal/");
        let first = server.committed(wish).await;
        // It may be told before the removal was tried.
        server.stop().await;
        assert_eq!(machine.journal().len(), 1);
        fail::remove("disk.file.remove");
        let mut server = machine.start().await;
        machine.until_journal_is_empty().await;
        assert_eq!(server.committed(wish).await.location, first.location);
        machine.has_one_whole_bundle(wish, first.stored_in());
        server.stop().await;
    }
}

#[tokio::test]
async fn a_failure_is_told_only_when_it_is_noted() {
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
        let wish = Wish::new(1).or_nothing();
        let mut events = server.accepted(wish).await;
        server.until_state(wish, State::Pending).await;
        fail::remove(point);
        machine.s3.clear_fault(outage);
        // It may end in either way now, and only in one.
        let has_failed = within("its end", events.end()).await.is_none();
        machine.until_journal_is_empty().await;
        server.stop().await;
        let mut server = machine.start().await;
        let state = if has_failed { State::Failed } else { State::Committed };
        server.until_state(wish, state).await;
        server.stop().await;
    }
}

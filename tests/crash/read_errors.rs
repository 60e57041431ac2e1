//! Read errors (EIO): nothing is treated as damaged, lost or absent, the server keeps running and
//! reports what it cannot read, and all work resumes when the disk works again.
//!
//! As in `disk_errors`, the server runs in this process.

use std::{fs, path::Path, sync::Arc};

use tara_export_client::{
    Client,
    proto::{Destination, export::State},
};
use tara_export_failpoint::fail::{self, FailScenario};
use tara_export_test_support::{Fault, FaultRule, Operation};
use tonic::Code;

use crate::{
    callers::{NO_RETRY, send, uploaded_file},
    ledger::{ExportCase, Guidelines, Ledger},
    machine::{Machine, Server},
    process::within,
    stores::Snapshot,
};

const READ: &str = "disk.file.read";
const EIO: i32 = 5;

fn refuse(point: &str, path: &str) {
    fail::cfg(point, &format!("return({EIO} {path})")).unwrap();
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address())
}

/// A machine with an export that fell back, and no running server.
async fn machine_with_fallback_bundle(case: ExportCase) -> Machine {
    let machine = Machine::new().await;
    let mut server = machine.start().await;
    let outage = machine.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    if case.guidelines == Guidelines::Uploaded {
        let ledger = Arc::<Ledger>::default();
        send(&url(&server), &ledger, case).await.unwrap();
        assert_eq!(ledger.observed()[&case].completed[0].state(), State::FellBack);
    } else {
        assert_eq!(server.export(case).await.state(), State::FellBack);
    }
    server.stop().await;
    machine.s3.clear_fault(outage);
    machine
}

#[tokio::test]
async fn unreadable_entry_at_start_is_not_quarantined() {
    let _failpoints = FailScenario::setup();
    let machine = machine_with_fallback_bundle(ExportCase::new(1)).await;
    refuse(READ, "/.tara-export/journal/");
    let mut server = machine.start().await;
    let row = server.check("exports.unreadable").await;
    assert!(row.starts_with("1 accepted exports") && row.contains("os error 5"), "{row}");
    assert_eq!(machine.journal().len(), 1);
    assert_eq!(files_in(&machine.data_dir().join(".tara-export/journal/quarantine")), 0);
    assert_eq!(server.get(ExportCase::new(1)).await.unwrap().state(), State::FellBack);
    server.committed(ExportCase::new(2)).await;

    fail::remove(READ);
    server.until_state(ExportCase::new(1), State::Committed).await;
    machine.until_journal_is_empty().await;
    machine.assert_one_bundle(ExportCase::new(1), Destination::S3);
    assert!(server.check("exports.unreadable").await.starts_with("0 accepted exports"));
    server.stop().await;
}

#[tokio::test]
async fn export_with_unreadable_entry_is_unavailable_not_absent() {
    let _failpoints = FailScenario::setup();
    let machine = Machine::new().await;
    let mut server = machine.start().await;
    let outage = machine.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    refuse("disk.file.write", "/documents/");
    let case = ExportCase::new(1);
    drop(server.accepted(case).await);
    server.until_state(case, State::Pending).await;
    server.stop().await;
    fail::remove("disk.file.write");
    machine.s3.clear_fault(outage);

    refuse(READ, "/.tara-export/journal/");
    let mut server = machine.start().await;
    let unread = server.get(case).await.unwrap_err();
    assert_eq!(unread.code(), Code::Unavailable, "{unread:?}");
    assert!(unread.message().contains("was accepted before"), "{unread:?}");
    // The same request is refused, and so is other content under its id.
    for again in [case, ExportCase { content: 2, ..case }] {
        assert_eq!(server.refused(again).await.code(), Code::Unavailable);
    }
    fail::remove(READ);
    server.until_state(case, State::Committed).await;
    machine.until_journal_is_empty().await;
    machine.assert_one_bundle(case, Destination::S3);
    server.stop().await;
}

#[tokio::test]
async fn entry_with_load_error_is_retried() {
    let _failpoints = FailScenario::setup();
    let case = ExportCase::new(1);
    let machine = machine_with_fallback_bundle(case).await;
    // The header of the entry can be read.
    refuse("journal.load", "/.tara-export/journal/");
    let mut server = machine.start().await;
    server.until_attempt_failed(case).await;
    assert_eq!(files_in(&machine.data_dir().join(".tara-export/journal/quarantine")), 0);
    fail::remove("journal.load");
    server.until_state(case, State::Committed).await;
    machine.until_journal_is_empty().await;
    machine.assert_one_bundle(case, Destination::S3);
    server.stop().await;
}

#[tokio::test]
async fn unreadable_document_is_not_an_s3_outage() {
    let _failpoints = FailScenario::setup();
    let case = ExportCase::new(1).with(Guidelines::Uploaded);
    let machine = machine_with_fallback_bundle(case).await;
    refuse(READ, "/journal/documents/");
    // An outage would last longer than the test.
    let mut server = machine.start_with(&["--s3-outage-pause=5m"]).await;
    server.until_attempt_failed(case).await;
    server.committed(ExportCase::new(2)).await;
    let files = machine.journal().into_iter().filter(|file| file.contains(&case.export_id()));
    assert!(files.count() >= 2, "the entry and its document: {:?}", machine.journal());
    server.stop().await;

    fail::remove(READ);
    let mut server = machine.start().await;
    server.until_state(case, State::Committed).await;
    machine.until_journal_is_empty().await;
    machine.assert_one_bundle(case, Destination::S3);
    server.stop().await;
}

#[tokio::test]
async fn documents_of_unreadable_entries_are_kept() {
    let _failpoints = FailScenario::setup();
    let case = ExportCase::new(1).with(Guidelines::Uploaded);
    let machine = machine_with_fallback_bundle(case).await;
    refuse(READ, "/.tara-export/journal/");
    let server = machine.start().await;
    let documents = machine.data_dir().join(".tara-export/journal/documents");
    assert_eq!(files_in(&documents), 1);
    fail::remove(READ);
    server.stop().await;
    let mut server = machine.start().await;
    server.until_state(case, State::Committed).await;
    machine.until_journal_is_empty().await;
    server.stop().await;
}

#[tokio::test]
async fn bundle_with_read_errors_is_unavailable_not_damaged() {
    let _failpoints = FailScenario::setup();
    let case = ExportCase::new(1).local();
    let machine = Machine::new().await;
    let mut server = machine.start().await;
    let export = server.committed(case).await;
    server.stop().await;
    let mut server = machine.start().await;
    refuse(READ, &format!("/{}/", export.folder_name));
    let unread = server.get(case).await.unwrap_err();
    assert_eq!(unread.code(), Code::Unavailable, "{unread:?}");
    fail::remove(READ);
    server.assert_readable(case).await;
    server.stop().await;
}

#[tokio::test]
async fn unreadable_failure_record_is_not_forgotten() {
    let _failpoints = FailScenario::setup();
    let machine = Machine::new().await;
    let mut server = machine.start().await;
    let rule = FaultRule::new(Fault::ACCESS_DENIED).key_contains("/feedback/");
    let outage = machine.s3.fail(rule);
    let case = ExportCase::new(1).without_fallback();
    let mut events = server.accepted(case).await;
    assert_eq!(events.end().await, None);
    server.stop().await;
    machine.s3.clear_fault(outage);

    let mut server = machine.start().await;
    refuse(READ, "/.tara-export/failed/");
    assert_eq!(server.refused(case).await.code(), Code::Unavailable);
    fail::remove(READ);
    server.until_state(case, State::Failed).await;
    server.stop().await;
}

#[tokio::test]
async fn upload_with_unreadable_records_is_unavailable_and_continues() {
    let _failpoints = FailScenario::setup();
    let machine = Machine::new().await;
    machine.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    let mut server = machine.start().await;
    let client = Client::connect(&url(&server)).await.unwrap();
    let uploaded = client.upload_file(&uploaded_file(ExportCase::new(1)), |_| {}).await.unwrap();
    refuse(READ, "/.tara-export/uploads/");
    let unread = server.get_upload(&uploaded.name).await.unwrap_err();
    assert_eq!(unread.code(), Code::Unavailable, "{unread:?}");
    fail::remove(READ);
    let upload = server.get_upload(&uploaded.name).await.unwrap();
    assert_eq!(upload.committed_size_bytes, upload.size_bytes);
    server.stop().await;
}

/// A failed fsync may have discarded the data (fsyncgate), and the next fsync of the file then
/// succeeds. So the file is not reused: it gets no name and is written again.
#[tokio::test]
async fn file_is_rewritten_after_failed_fsync() {
    let _failpoints = FailScenario::setup();
    for errno in [EIO, 28] {
        for (path, case) in [
            ("/.tara-export/journal/", ExportCase::new(1)),
            ("/manifest.json", ExportCase::new(1).local()),
        ] {
            let machine = Machine::new().await;
            let mut server = machine.start().await;
            fail::cfg("disk.file.sync", &format!("return({errno} {path})")).unwrap();
            let mut events = None;
            if case.is_local {
                events = Some(server.accepted(case).await);
                server.until_state(case, State::Pending).await;
            } else {
                server.refused(case).await;
            }
            let files = Snapshot::of_folder(&machine.data_dir()).0;
            let unsynced = |key: &str| {
                key.contains("/tmp/") || key.ends_with("/manifest.json") && !key.starts_with('.')
            };
            assert!(!files.keys().any(|key| unsynced(key)), "{:?}", files.keys());
            fail::remove("disk.file.sync");
            match events {
                Some(mut events) => events.completed().await,
                None => server.committed(case).await,
            };
            machine.until_journal_is_empty().await;
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn upload_resumes_at_last_synced_byte_after_failed_fsync() {
    let _failpoints = FailScenario::setup();
    for (errno, code) in [(EIO, Code::Unavailable), (28, Code::ResourceExhausted)] {
        for path in ["/document", "/checkpoint.json", "/finished.json"] {
            eprintln!("fsync of {path} fails with {errno}");
            let machine = Machine::new().await;
            machine.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
            let server = machine.start().await;
            let client = Client::connect(&url(&server)).await.unwrap();
            let without_retry = client.clone().with_follow_policy(NO_RETRY);
            let file = uploaded_file(ExportCase::new(1));
            fail::cfg("disk.file.sync", &format!("return({errno} {path})")).unwrap();
            let failed = without_retry.upload_file(&file, |_| {}).await.unwrap_err();
            assert_eq!(failed.code(), Some(code), "{failed:?}");
            fail::remove("disk.file.sync");
            let uploaded = client.upload_file(&file, |_| {}).await.unwrap();
            let name = uploaded.name.strip_prefix("uploads/").unwrap();
            let stored = machine.data_dir().join(".tara-export/uploads").join(name);
            assert_eq!(fs::read(stored.join("document")).unwrap(), fs::read(&file).unwrap());
            server.stop().await;
        }
    }
}

/// Receipts and failure records, if the disk is full only at the fsync (delayed allocation).
#[tokio::test]
async fn failed_fsync_of_receipt_or_failure_record_loses_nothing() {
    let _failpoints = FailScenario::setup();
    for errno in [EIO, 28] {
        let machine = Machine::new().await;
        let mut server = machine.start().await;
        // Without a receipt, S3 still has the result.
        fail::cfg("disk.file.sync", &format!("return({errno} /receipts/)")).unwrap();
        server.committed(ExportCase::new(1)).await;
        machine.until_journal_is_empty().await;
        server.stop().await;
        let mut server = machine.start().await;
        server.committed(ExportCase::new(1)).await;
        machine.until_journal_is_empty().await;

        // A failure is reported only after it is recorded.
        let rule = FaultRule::new(Fault::ACCESS_DENIED).on(Operation::PutObject);
        machine.s3.fail(rule.key_contains("/feedback/"));
        fail::cfg("disk.file.sync", &format!("return({errno} /failed/)")).unwrap();
        let case = ExportCase::new(2).without_fallback();
        let mut events = server.accepted(case).await;
        server.until_state(case, State::Pending).await;
        fail::remove("disk.file.sync");
        machine.s3.clear_faults();
        let has_failed = within("the end of the export", events.end()).await.is_none();
        let state = if has_failed { State::Failed } else { State::Committed };
        server.until_state(case, state).await;
        machine.until_journal_is_empty().await;
        server.stop().await;
    }
}

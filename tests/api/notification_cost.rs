//! What notifications cost an export: nothing before `completed`; one request and one file after it.

use std::net::SocketAddr;

use serde_json::json;
use tara_export_client::proto::{event::State, export::State as ExportState};
use tara_export_disk::counts::SyncCounter;
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    following::committed,
    harness::{
        Host,
        s3::store_of,
        until,
        waiting::{until_journal_is_empty, until_state},
        within,
    },
    requests::{name, request},
    webhooks::{Receiver, hook, notifying, until_events},
};

/// What an export wrote: PUT requests, and fsyncs of files and of folders.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    puts: usize,
    files: u32,
    directories: u32,
}

fn puts(s3: &TestS3) -> Vec<String> {
    let puts = s3.requests_of(Operation::PutObject).into_iter();
    puts.map(|request| request.key).collect()
}

fn written(s3: &TestS3, syncs: &SyncCounter) -> Written {
    let (files, directories) = syncs.files_and_directories();
    Written { puts: puts(s3).len(), files, directories }
}

/// Exports on a server with this receiver, or without notifications. Returns what was written when the manifest was
/// sent, which is before `completed`, and after all work of the export.
async fn export_and_count(receiver: Option<SocketAddr>) -> (Written, Written) {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let host = match receiver {
        Some(address) => notifying(host, &json!([hook("hook", address)])),
        None => host,
    };
    let mut server = host.start().await;
    let journal = SyncCounter::below(&host.data_dir().join(".tara-export/journal"));
    // The first export of a server runs the probe, and creates folders.
    committed(&mut server.client, request(1, "first.docx")).await;
    until_journal_is_empty(&host).await;
    // The entry's name, and its removal, which is the last work of the export.
    until("the journal is synced", || journal.files_and_directories().1 == 2).await;
    if receiver.is_some() {
        until_events(&server, State::Delivered, 1).await;
    }

    s3.reset_requests();
    let syncs = SyncCounter::below(&host.data_dir());
    let stalled = s3.fail(
        FaultRule::new(Fault::Stall).on(Operation::PutObject).key_ends_with("/manifest.json"),
    );
    let mut client = server.client.clone();
    let export = tokio::spawn(async move { committed(&mut client, request(2, "b.docx")).await });
    let is_manifest_sent = || puts(&s3).iter().any(|key| key.ends_with("/manifest.json"));
    until("the manifest is sent", is_manifest_sent).await;
    let before = written(&s3, &syncs);
    // The claim on the event never ends, and `completed` does not wait for it.
    let claim = s3.fail(FaultRule::new(Fault::Stall).key_contains("/.tara-export/events/"));
    s3.clear_fault(stalled);
    assert_eq!(within("the export", export).await.unwrap().state(), ExportState::Committed);
    s3.clear_fault(claim);
    until_journal_is_empty(&host).await;
    if receiver.is_some() {
        until_events(&server, State::Delivered, 2).await;
        let events = puts(&s3);
        let events = events.iter().filter(|key| key.contains("/.tara-export/events/"));
        assert_eq!(events.count(), 1);
    }
    until_state(&mut server.client, &name(2), ExportState::Committed).await;
    server.stop().await;
    (before, written(&s3, &syncs))
}

#[tokio::test]
async fn export_writes_one_note_and_one_object_after_completed() {
    let receiver = Receiver::start().await;
    let (before_without, after_without) = export_and_count(None).await;
    let (before, after) = export_and_count(Some(receiver.address)).await;
    receiver.until(2).await;
    assert_eq!(before, before_without);
    assert_eq!(after.puts, after_without.puts + 1, "{after:?} {after_without:?}");
    assert_eq!(after.files, after_without.files + 1, "{after:?} {after_without:?}");
    // Of the note's folder, and of both folders when the event is taken.
    let directories = after_without.directories + 3;
    assert!(after.directories <= directories, "{after:?} {after_without:?}");
}

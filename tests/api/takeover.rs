//! Accepted exports with a journal entry in the store: which of them another replica takes over.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, TimeDelta, Utc};
use tara_export_client::proto::{WatchExportRequest, accepted::Durability, export::State};
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{accepted, committed, follow, next, refused},
    harness::{
        Client, Host, START, receipt, until,
        waiting::{read, until_files, until_known},
    },
    requests::{id, name, request, s3_or_nothing},
    statuses::expect_status,
    store_journal::{STORE_JOURNAL, entries_of, until_no_entries},
};

#[tokio::test]
async fn accepted_export_survives_the_loss_of_its_machine() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let lost = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let mut server = lost.start().await;
    let mut stream = server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
    let first = accepted(next(&mut stream).await.event);
    assert_eq!(first.durability(), Durability::Store);
    s3.until_held(1).await;
    server.stop().await;
    // The machine and its disk are lost; another replica starts.
    drop(lost);
    s3.set(Mode::Works);
    let other = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    other.clock.advance(TimeDelta::hours(1));
    let mut server = other.start().await;
    let export = until_known(&mut server.client, &name(1)).await;
    assert_eq!(export.state(), State::Committed);
    assert_eq!(export.accepted_time, first.accepted_time);
    bundles::verify(&s3.root().join(&export.folder_name));
    until_no_entries(&s3).await;
}

#[tokio::test]
async fn replica_with_a_slow_clock_takes_over_after_its_own_waiting_time() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let lost = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let mut server = lost.start().await;
    let mut stream = server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
    accepted(next(&mut stream).await.event);
    s3.until_held(1).await;
    server.stop().await;
    drop(lost);
    s3.set(Mode::Works);
    let other = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL).flags(&["--takeover-age=300ms"]);
    // By its clock, every entry is from the future.
    other.clock.advance(TimeDelta::days(-10_000));
    let mut server = other.start().await;
    let export = until_known(&mut server.client, &name(1)).await;
    assert_eq!(export.state(), State::Committed);
}

#[tokio::test]
async fn committed_export_leaves_no_entry_in_the_store() {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL[..2]);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    until_no_entries(&s3).await;
    until_files(&host, &[receipt(1)]).await;
}

#[tokio::test]
async fn refused_exports_and_those_without_fallback_are_not_taken_over() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let mut server = host.start().await;
    // Without fallback, this server may fail the export.
    let mut stream =
        server.client.start_export(s3_or_nothing(1, "a.docx")).await.unwrap().into_inner();
    let first = accepted(next(&mut stream).await.event);
    assert_eq!(first.durability(), Durability::LocalDisk);
    let stream = server.client.start_export(request(2, "b.docx")).await.unwrap();
    // Another replica gets other content under the id: its entry may stay, because the record decides.
    let other = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let mut server_2 = other.start().await;
    let status = refused(&mut server_2.client, request(2, "c.docx")).await;
    expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
    s3.set(Mode::Works);
    let export = follow(stream.into_inner()).await.completed();
    assert_eq!(export.document_name, "b.docx");
    follow(stream_of(&mut server_2.client, &name(2)).await).await.completed();
    assert_eq!(read(&mut server_2.client, &name(2)).await.document_name, "b.docx");
}

async fn stream_of(
    client: &mut Client,
    name: &str,
) -> tonic::Streaming<tara_export_client::proto::ExportEvent> {
    let watch = WatchExportRequest { name: name.to_owned(), ..Default::default() };
    client.watch_export(watch).await.unwrap().into_inner()
}

/// Changes an export's acceptance to this many minutes before the test starts.
fn backdate(s3: &FakeS3, number: u32, minutes: u64) {
    let start: DateTime<Utc> = START.parse().unwrap();
    let time = SystemTime::from(start) - Duration::from_secs(60 * minutes);
    for path in entries_of(s3, number) {
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
}

/// Accepts exports on a machine that is then lost.
async fn accept_on_lost_machine(s3: &std::sync::Arc<FakeS3>, numbers: &[u32]) {
    let host = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let mut server = host.start().await;
    for number in numbers {
        let document = format!("{number}.docx");
        let stream = server.client.start_export(request(*number, &document)).await.unwrap();
        next(&mut stream.into_inner()).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn only_old_entries_with_a_record_are_taken_over() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    accept_on_lost_machine(&s3, &[1, 2, 3]).await;
    backdate(&s3, 1, 10);
    backdate(&s3, 2, 20);
    backdate(&s3, 3, 20);
    // Never accepted: its machine was lost before the record was stored.
    fs::remove_file(s3.root().join(format!(".tara-export/exports/{}.json", id(2)))).unwrap();
    s3.set(Mode::Works);
    let flags = [&STORE_JOURNAL[..3], &["--takeover-age=15m"]].concat();
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    // Entries are checked in the order of their ids.
    let third = until_known(&mut server.client, &name(3)).await;
    assert_eq!(bundles::folders(s3.root()), std::slice::from_ref(&third.folder_name));
    for number in 1..=2 {
        assert_eq!(entries_of(&s3, number).len(), 1);
    }
    host.clock.advance(TimeDelta::minutes(10));
    let first = until_known(&mut server.client, &name(1)).await;
    assert_eq!(bundles::folders(s3.root()), [first.folder_name, third.folder_name]);
}

#[tokio::test]
async fn refused_export_claims_nothing_in_a_takeover() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let here = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m"]);
    let mut server = here.start().await;
    let stream = server.client.start_export(request(1, "first.docx")).await.unwrap().into_inner();
    let refusing = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL[..2]);
    s3.deny_deletions();
    refused(&mut refusing.start().await.client, request(1, "refused.docx")).await;
    // As if the replica had died before it put the end marker.
    let [_, end_marker] = &entries_of(&s3, 1)[..] else { panic!("an entry and its end marker") };
    fs::remove_file(end_marker).unwrap();
    accept_on_lost_machine(&s3, &[2]).await;

    let claims = s3.root().join(".tara-export/folders");
    fs::remove_file(claims.join(claim_of(&claims, "refused"))).unwrap();
    let held = s3.held();
    let other = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let _other = other.start().await;
    // When it works on the next entry, it has checked the refused one.
    s3.until_held(held + 1).await;
    let names: Vec<String> = file_names(&claims);
    assert!(!names.iter().any(|name| name.contains("refused")), "{names:?}");
    // The entry does not need to be checked again.
    until("the end marker", || end_marker.exists()).await;
    s3.set(Mode::Works);
    assert_eq!(follow(stream).await.completed().document_name, "first.docx");
}

fn file_names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The claim that a refused request has left.
fn claim_of(claims: &std::path::Path, document: &str) -> String {
    file_names(claims).into_iter().find(|name| name.contains(document)).unwrap()
}

#[tokio::test]
async fn entry_of_a_committed_export_is_removed() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    accept_on_lost_machine(&s3, &[1]).await;
    let entry = entries_of(&s3, 1).remove(0);
    let bytes = fs::read(&entry).unwrap();
    s3.set(Mode::Works);
    let host = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let server = host.start().await;
    until_no_entries(&s3).await;
    server.stop().await;
    fs::create_dir_all(entry.parent().unwrap()).unwrap();
    fs::write(&entry, bytes).unwrap();
    let other = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let _server = other.start().await;
    until_no_entries(&s3).await;
    assert_eq!(bundles::folders(s3.root()).len(), 1);
}

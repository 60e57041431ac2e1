//! Accepted exports that lie in the store too: which of them another replica finishes.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, TimeDelta, Utc};
use tara_export::proto::{
    Export, GetExportRequest, WatchExportRequest, accepted::Durability, export::State,
};
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{FakeS3, JOURNAL_ON_DISK, Mode},
    following::{committed, follow, next, refused},
    harness::{Client, Host, START, within},
    journal::{accepted, read, receipt, until_files},
    requests::{id, name, request, s3_or_nothing},
    statuses::expect_status,
};

pub(crate) const STORE_JOURNAL: [&str; 6] = [
    "--journal=store",
    "--s3-bucket-name=bucket",
    "--takeover-interval=100ms",
    "--takeover-age=0ms",
    "--shutdown-timeout=0s",
    "--s3-retry-budget=10m",
];

#[tokio::test]
async fn an_accepted_export_survives_its_machine() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let lost = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let mut server = lost.start().await;
    let mut stream = server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
    let first = accepted(next(&mut stream).await.event);
    assert_eq!(first.durability(), Durability::Store);
    s3.until_held(1).await;
    server.stop().await;
    // The machine is gone with its disk; another replica stands by.
    drop(lost);
    s3.set(Mode::Works);
    let other = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    other.clock.advance(TimeDelta::hours(1));
    let mut server = other.start().await;
    let export = until_known(&mut server.client, &name(1)).await;
    assert_eq!(export.state(), State::Committed);
    assert_eq!(export.accepted_time, first.accepted_time);
    bundles::whole(&s3.root().join(&export.folder_name));
    until_no_entries(&s3).await;
}

#[tokio::test]
async fn a_committed_export_leaves_no_entry_in_the_store() {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL[..2]);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    until_no_entries(&s3).await;
    until_files(&host, &[receipt(1)]).await;
}

#[tokio::test]
async fn what_was_refused_or_may_fail_is_taken_over_by_nobody() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let mut server = host.start().await;
    // Without fallback, this server may say that it failed.
    let mut stream =
        server.client.start_export(s3_or_nothing(1, "a.docx")).await.unwrap().into_inner();
    let first = accepted(next(&mut stream).await.event);
    assert_eq!(first.durability(), Durability::LocalDisk);
    let stream = server.client.start_export(request(2, "b.docx")).await.unwrap();
    // Other content under the id, at another replica: its entry may stay, the record decides.
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
) -> tonic::Streaming<tara_export::proto::ExportEvent> {
    let watch = WatchExportRequest { name: name.to_owned(), ..Default::default() };
    client.watch_export(watch).await.unwrap().into_inner()
}

/// Waits until an export is known that another replica accepted.
pub(crate) async fn until_known(client: &mut Client, name: &str) -> Export {
    let waiting = async {
        loop {
            let request = GetExportRequest { name: name.to_owned() };
            if let Ok(response) = client.get_export(request).await {
                return response.into_inner().export.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    within(name, waiting).await
}

/// Waits until the journal in the store is empty.
async fn until_no_entries(s3: &FakeS3) {
    let journal = s3.root().join(JOURNAL_ON_DISK);
    let waiting = async {
        while fs::read_dir(&journal).is_ok_and(|mut entries| entries.next().is_some()) {
            tokio::task::yield_now().await;
        }
    };
    within("the store's journal to be empty", waiting).await;
}

/// The entries of an export in the store's journal.
fn entries_of(s3: &FakeS3, number: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(s3.root().join(JOURNAL_ON_DISK)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&id(number)))
        .collect()
}

/// As if an export had been accepted so long before a test starts.
fn make_older(s3: &FakeS3, number: u32, minutes: u64) {
    let start: DateTime<Utc> = START.parse().unwrap();
    let time = SystemTime::from(start) - Duration::from_secs(60 * minutes);
    for path in entries_of(s3, number) {
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
}

/// Exports that a machine accepted before it was lost.
async fn lost(s3: &std::sync::Arc<FakeS3>, numbers: &[u32]) {
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
async fn only_what_is_old_and_has_a_record_is_taken_over() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    lost(&s3, &[1, 2, 3]).await;
    make_older(&s3, 1, 10);
    make_older(&s3, 2, 20);
    make_older(&s3, 3, 20);
    // Never accepted: its machine was lost before the record came through.
    fs::remove_file(s3.root().join(format!(".tara-export/exports/{}.json", id(2)))).unwrap();
    s3.set(Mode::Works);
    let flags = [&STORE_JOURNAL[..3], &["--takeover-age=15m"]].concat();
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    // They are looked at in the order of their ids.
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
async fn what_was_refused_claims_nothing_in_a_takeover() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let here = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m"]);
    let mut server = here.start().await;
    let stream = server.client.start_export(request(1, "first.docx")).await.unwrap().into_inner();
    let refusing = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL[..2]);
    refused(&mut refusing.start().await.client, request(1, "refused.docx")).await;
    assert_eq!(entries_of(&s3, 1).len(), 1, "that of what was refused");
    lost(&s3, &[2]).await;

    let claims = s3.root().join(".tara-export/folders");
    fs::remove_file(claims.join(claim_of(&claims, "refused"))).unwrap();
    let held = s3.held();
    let other = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let _other = other.start().await;
    // It has looked at the refused one when it is at the next.
    s3.until_held(held + 1).await;
    let names: Vec<String> = file_names(&claims);
    assert!(!names.iter().any(|name| name.contains("refused")), "{names:?}");
    s3.set(Mode::Works);
    assert_eq!(follow(stream).await.completed().document_name, "first.docx");
}

fn file_names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The claim that a request leaves which is refused while it claims.
fn claim_of(claims: &std::path::Path, document: &str) -> String {
    file_names(claims).into_iter().find(|name| name.contains(document)).unwrap()
}

#[tokio::test]
async fn an_entry_that_outlived_its_export_goes() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    lost(&s3, &[1]).await;
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

//! What a restart finds, and how what was held back reaches S3.

use std::fs;

use chrono::TimeDelta;
use tara_export::proto::{
    Accepted, CheckStorageRequest, Destination, Export, GetExportRequest, StorageCheck,
    WatchExportRequest, accepted::Durability, document::Kind, export::State, export_event::Event,
    storage_check::Status as CheckStatus,
};
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{committed, export, follow, next, next_where, refused, watch},
    harness::{Client, Host, START_PREFIX, within},
    requests::{document, id, name, request, s3_or_nothing},
    statuses::expect_status,
};

pub(crate) const QUICK: [&str; 3] =
    ["--s3-retry-budget=300ms", "--s3-outage-pause=10ms", "--shutdown-timeout=0s"];

pub(crate) async fn read(client: &mut Client, name: &str) -> Export {
    let request = GetExportRequest { name: name.to_owned() };
    client.get_export(request).await.unwrap().into_inner().export.unwrap()
}

/// Waits until an export is in this state.
pub(crate) async fn until(client: &mut Client, name: &str, state: State) -> Export {
    let waiting = async {
        loop {
            let export = read(client, name).await;
            if export.state() == state {
                return export;
            }
            tokio::task::yield_now().await;
        }
    };
    within(&format!("{name} {state:?}"), waiting).await
}

/// Waits until these are all files of the data directory. What follows a commit is not told.
pub(crate) async fn until_files(host: &Host, files: &[String]) {
    let waiting = async {
        while host.files() != files {
            tokio::task::yield_now().await;
        }
    };
    within(&format!("{files:?} instead of {:?}", host.files()), waiting).await;
}

pub(crate) fn receipt(number: u32) -> String {
    format!(".tara-export/receipts/{}.json", id(number))
}

pub(crate) fn accepted(event: Option<Event>) -> Accepted {
    match event {
        Some(Event::Accepted(accepted)) => accepted,
        other => panic!("{other:?} came first"),
    }
}

pub(crate) async fn checks(client: &mut Client) -> Vec<StorageCheck> {
    client.check_storage(CheckStorageRequest {}).await.unwrap().into_inner().checks
}

pub(crate) fn check<'a>(checks: &'a [StorageCheck], name: &str) -> &'a StorageCheck {
    checks.iter().find(|check| check.check == name).unwrap()
}

#[tokio::test]
async fn what_was_accepted_is_on_disk_and_a_restart_goes_on_with_it() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let mut stream = server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
    let first = accepted(next(&mut stream).await.event);
    assert_eq!((first.resumed, first.durability()), (false, Durability::LocalDisk));
    assert_eq!(host.files().iter().filter(|file| file.ends_with(".export")).count(), 1);
    s3.until_held(1).await;
    server.stop().await;

    host.clock.advance(TimeDelta::days(3));
    s3.set(Mode::Works);
    let mut server = host.start().await;
    let watch = WatchExportRequest { name: name(1), ..Default::default() };
    let followed = follow(server.client.watch_export(watch).await.unwrap().into_inner()).await;
    let export = followed.completed();
    assert_eq!(export.state(), State::Committed);
    // As the first process would have made it.
    assert_eq!(export.accepted_time, first.accepted_time);
    bundles::whole(&s3.root().join(&export.folder_name));
    until_files(&host, &[receipt(1)]).await;
}

#[tokio::test]
async fn what_no_store_has_seen_is_made_as_the_journal_has_it() {
    for s3_or_disk in [Mode::Works, Mode::Down] {
        let s3 = FakeS3::new(Mode::HoldsAll);
        let flags = ["--accept-timeout=10ms", "--s3-retry-budget=1s", "--shutdown-timeout=0s"];
        let host = Host::with_s3(s3.clone()).flags(&flags);
        let mut server = host.start().await;
        let mut stream =
            server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
        let first = accepted(next(&mut stream).await.event);
        server.stop().await;

        // There is no record yet that would say when it was accepted.
        host.clock.advance(TimeDelta::days(3));
        s3.set(s3_or_disk);
        let mut server = host.start().await;
        let export = watch(&mut server.client, &name(1)).await.completed();
        assert_eq!(export.accepted_time, first.accepted_time, "{s3_or_disk:?}");
        assert!(export.folder_name.starts_with(START_PREFIX), "{}", export.folder_name);
    }
}

#[tokio::test]
async fn a_resumed_run_says_so() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m", "--shutdown-timeout=0s"]);
    let mut server = host.start().await;
    let stream = server.client.start_export(request(1, "a.docx")).await.unwrap();
    next(&mut stream.into_inner()).await;
    server.stop().await;

    let mut server = host.start().await;
    let stream = server.client.start_export(request(1, "a.docx")).await.unwrap();
    let again = accepted(next(&mut stream.into_inner()).await.event);
    assert!(again.resumed);
    let status = refused(&mut server.client, request(1, "other.docx")).await;
    expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
    s3.set(Mode::Works);
    until(&mut server.client, &name(1), State::Committed).await;
}

#[tokio::test]
async fn a_bundle_that_fell_back_goes_to_s3_by_itself_and_its_local_copy_goes() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(local.state(), State::FellBack);
    let before = bundles::whole(&host.folder(&local.folder_name));
    host.clock.advance(TimeDelta::days(3));
    s3.set(Mode::Works);
    let remote = until(&mut server.client, &name(1), State::Committed).await;
    assert_eq!(remote.stored_in(), Destination::S3);
    assert_eq!(bundles::whole(&s3.root().join(&remote.folder_name)), before);
    until_files(&host, &[receipt(1)]).await;
    // Whoever watches it then hears how it is then.
    let heard = async {
        while watch(&mut server.client, &name(1)).await.completed().state() != State::Committed {}
    };
    within("WatchExport to say so", heard).await;
}

#[tokio::test]
async fn what_another_replica_sent_first_stays_as_that_sent_it() {
    let s3 = FakeS3::new(Mode::Down);
    let host =
        Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=300ms", "--s3-outage-pause=5m"]);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    server.stop().await;
    s3.set(Mode::Works);
    let other = Host::with_s3(s3.clone());
    other.clock.advance(TimeDelta::days(1));
    let remote = committed(&mut other.start().await.client, request(1, "a.docx")).await;
    assert_ne!(remote.folder_name, local.folder_name);

    let mut server = host.start().await;
    let found = until(&mut server.client, &name(1), State::Committed).await;
    assert_eq!(found.accepted_time, remote.accepted_time);
    // The local copy, which has another name and time, goes all the same.
    until_files(&host, &[receipt(1)]).await;
    assert_eq!(bundles::folders(s3.root()), [remote.folder_name]);
}

#[tokio::test]
async fn what_fell_back_is_sent_by_a_later_process_too() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    for number in 1..=5 {
        committed(&mut server.client, request(number, "a.docx")).await;
    }
    server.stop().await;

    let mut server = host.start().await;
    for number in 1..=5 {
        assert_eq!(read(&mut server.client, &name(number)).await.state(), State::FellBack);
    }
    // Asking again counts no second time.
    let again = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(again.state(), State::FellBack);
    let found = checks(&mut server.client).await;
    let fell_back = check(&found, "exports.fell_back");
    assert_eq!(fell_back.status(), CheckStatus::Warning);
    assert!(fell_back.message.starts_with("5 bundles"), "{}", fell_back.message);
    s3.set(Mode::Works);
    for number in 1..=5 {
        let export = until(&mut server.client, &name(number), State::Committed).await;
        bundles::whole(&s3.root().join(&export.folder_name));
    }
    until_files(&host, &(1..=5).map(receipt).collect::<Vec<_>>()).await;
    let found = checks(&mut server.client).await;
    assert_eq!(check(&found, "exports.fell_back").status(), CheckStatus::Passed);
    let journal = &check(&found, "exports.journal").message;
    assert!(
        journal.contains("started 5: completed 5, failed 0, running 0, pending 0"),
        "{journal}"
    );
}

#[tokio::test]
async fn local_copies_stay_where_that_is_set() {
    let s3 = FakeS3::new(Mode::Down);
    let flags = [QUICK[0], QUICK[1], "--keep-local-copies"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    s3.set(Mode::Works);
    until(&mut server.client, &name(1), State::Committed).await;
    let gone = async {
        while host.files().iter().any(|file| file.ends_with(".export")) {
            tokio::task::yield_now().await;
        }
    };
    within("the journal's entry to go", gone).await;
    bundles::whole(&host.folder(&local.folder_name));
    // Its name is not given to another.
    s3.set(Mode::Down);
    let other = committed(&mut server.client, request(2, "a.docx")).await;
    assert_ne!(other.folder_name, local.folder_name);
}

#[tokio::test]
async fn the_local_copy_stays_where_s3_has_something_else() {
    the_local_copy_stays_with("readable_report.txt", |file| *file = b"something else".into()).await;
}

#[tokio::test]
async fn the_local_copy_stays_where_a_file_in_s3_has_other_bytes_of_the_same_size() {
    the_local_copy_stays_with("readable_report.txt", |file| file[0] ^= 1).await;
}

#[tokio::test]
async fn the_local_copy_stays_where_s3_has_another_manifest() {
    // It names the same export still.
    the_local_copy_stays_with("manifest.json", |file| file.push(b'\n')).await;
}

async fn the_local_copy_stays_with(path: &str, change: impl Fn(&mut Vec<u8>)) {
    let s3 = FakeS3::new(Mode::Down);
    let host =
        Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=300ms", "--s3-outage-pause=5m"]);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    server.stop().await;
    // Another replica commits the same request, and somebody changes a file of it.
    s3.set(Mode::Works);
    let other = Host::with_s3(s3.clone());
    let remote = committed(&mut other.start().await.client, request(1, "a.docx")).await;
    let file = s3.root().join(&remote.folder_name).join(path);
    let content = fs::read(&file).unwrap();
    let mut changed = content.clone();
    change(&mut changed);
    fs::write(&file, changed).unwrap();

    let mut server = host.start().await;
    let set_back = async {
        loop {
            let found = checks(&mut server.client).await;
            let row = check(&found, "exports.fell_back").message.clone();
            if row.contains("DATA_LOSS") {
                return row;
            }
            tokio::task::yield_now().await;
        }
    };
    let reason = within("the reason", set_back).await;
    assert!(reason.contains(path), "{reason}");
    bundles::whole(&host.folder(&local.folder_name));
    // Others are not held up by it.
    committed(&mut server.client, request(2, "b.docx")).await;
    // Mended, it is sent after all.
    fs::write(&file, content).unwrap();
    until_files(&host, &[receipt(1), receipt(2)]).await;
}

#[tokio::test]
async fn with_neither_store_an_export_waits_in_the_journal_and_not_in_memory() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&[QUICK[0], QUICK[1], "--max-concurrent-exports=1"]);
    let mut server = host.start().await;
    // Nothing of the local store's own can be written; the journal can.
    fs::create_dir_all(host.data_dir().join(".tara-export")).unwrap();
    fs::write(host.data_dir().join(".tara-export/exports"), "in the way").unwrap();
    let mut stream = server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
    let waiting = until(&mut server.client, &name(1), State::Pending).await;
    assert_eq!(waiting.stored_in(), Destination::Unspecified);
    // There is room for another, though only one at a time is admitted.
    let second = server.client.start_export(request(2, "b.docx")).await.unwrap().into_inner();
    until(&mut server.client, &name(2), State::Pending).await;
    drop(second);
    let found = checks(&mut server.client).await;
    assert_eq!(check(&found, "exports.pending").status(), CheckStatus::Warning);

    s3.set(Mode::Works);
    next_where(&mut stream, |event| matches!(event, Event::Completed(_))).await;
    let export = until(&mut server.client, &name(2), State::Committed).await;
    bundles::whole(&s3.root().join(&export.folder_name));
}

#[tokio::test]
async fn what_waits_keeps_no_other_from_its_turn() {
    let s3 = FakeS3::new(Mode::HoldsAll);
    let flags = [QUICK[0], QUICK[1], QUICK[2], "--accept-timeout=10ms"];
    let host = Host::with_s3(s3.clone()).flags(&flags).flags(&["--max-concurrent-exports=1"]);
    fs::create_dir_all(host.data_dir().join(".tara-export")).unwrap();
    fs::write(host.data_dir().join(".tara-export/exports"), "in the way").unwrap();
    for number in 1..=2 {
        let mut server = host.start().await;
        server.client.start_export(request(number, "a.docx")).await.unwrap();
        server.stop().await;
    }
    s3.set(Mode::Down);
    let mut server = host.start().await;
    let tried = async {
        for number in 1..=2 {
            while read(&mut server.client, &name(number)).await.state_reason.is_empty() {
                tokio::task::yield_now().await;
            }
        }
    };
    within("both to be tried", tried).await;
}

#[tokio::test]
async fn a_failure_is_remembered_by_later_processes() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let stream = server.client.start_export(s3_or_nothing(1, "a.docx")).await.unwrap();
    s3.until_held(1).await;
    s3.set(Mode::Down);
    let (failed, _) = follow(stream.into_inner()).await.failed();
    server.stop().await;

    s3.set(Mode::Works);
    let mut server = host.start().await;
    let again = export(&mut server.client, s3_or_nothing(1, "a.docx")).await;
    assert_eq!(again.failed().0, failed);
    let watch = WatchExportRequest { name: name(1), ..Default::default() };
    let followed = follow(server.client.watch_export(watch).await.unwrap().into_inner()).await;
    assert_eq!(followed.failed().0, failed);
    assert_eq!(read(&mut server.client, &name(1)).await.state(), State::Failed);
    let status = refused(&mut server.client, s3_or_nothing(1, "b.docx")).await;
    expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn without_fallback_a_later_process_carries_an_export_to_its_end() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let stream = server.client.start_export(s3_or_nothing(1, "a.docx")).await.unwrap();
    next(&mut stream.into_inner()).await;
    server.stop().await;

    s3.set(Mode::Down);
    let mut server = host.start().await;
    // A manifest may have been sent, for all this process knows.
    let waiting = until(&mut server.client, &name(1), State::Pending).await;
    assert_eq!(waiting.state_reason, "STORE_UNAVAILABLE");
    s3.set(Mode::Works);
    let export = until(&mut server.client, &name(1), State::Committed).await;
    bundles::whole(&s3.root().join(&export.folder_name));
}

#[tokio::test]
async fn an_entry_that_can_not_be_read_is_set_aside_and_the_others_go_on() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m", "--shutdown-timeout=0s"]);
    let mut server = host.start().await;
    for number in 1..=3 {
        let stream = server.client.start_export(request(number, "a.docx")).await.unwrap();
        next(&mut stream.into_inner()).await;
    }
    server.stop().await;
    let entry = |number| {
        let files = host.files();
        let file = files
            .iter()
            .find(|file| file.starts_with(&format!(".tara-export/journal/{}", id(number))));
        host.data_dir().join(file.unwrap())
    };
    // One shows at once, the other when its body is read.
    fs::write(entry(1), "not an entry").unwrap();
    let mut bytes = fs::read(entry(2)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(entry(2), bytes).unwrap();

    s3.set(Mode::Works);
    let mut server = host.start().await;
    until(&mut server.client, &name(3), State::Committed).await;
    let quarantined = async {
        loop {
            let found = checks(&mut server.client).await;
            let row = check(&found, "exports.quarantined").clone();
            if row.message.starts_with("2 journal entries") {
                return row;
            }
            tokio::task::yield_now().await;
        }
    };
    let row = within("the quarantine", quarantined).await;
    assert_eq!(row.status(), CheckStatus::Warning);
    for number in 1..=2 {
        assert!(row.message.contains(&id(number)), "{}", row.message);
    }
    let journal = &check(&checks(&mut server.client).await, "exports.journal").message.clone();
    assert!(journal.contains("started 3: completed 1"), "{journal}");
    assert!(journal.contains("quarantined 2"), "{journal}");
}

/// Waits until a row of CheckStorage has this text.
async fn until_check(client: &mut Client, row: &str, text: &str) {
    let waiting = async {
        while !check(&checks(client).await, row).message.contains(text) {
            tokio::task::yield_now().await;
        }
    };
    within(&format!("{row}: {text}"), waiting).await;
}

#[tokio::test]
async fn an_entry_that_is_gone_is_waited_for_no_longer() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    fs::remove_dir_all(host.data_dir().join(".tara-export/journal")).unwrap();
    until_check(&mut server.client, "exports.journal", "fell back 0, quarantined 1").await;
    until_check(&mut server.client, "exports.oldest_unsynced", "seconds 0").await;
    // The one copy of it that there is stays.
    bundles::whole(&host.folder(&local.folder_name));
    assert_eq!(read(&mut server.client, &name(1)).await.state(), State::FellBack);
}

#[tokio::test]
async fn an_entry_that_the_disk_does_not_give_now_is_read_later() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    let journal = host.data_dir().join(".tara-export/journal");
    let elsewhere = journal.with_extension("elsewhere");
    fs::rename(&journal, &elsewhere).unwrap();
    fs::write(&journal, "in the way").unwrap();
    until_check(&mut server.client, "exports.fell_back", "(INTERNAL)").await;
    fs::remove_file(&journal).unwrap();
    fs::rename(&elsewhere, &journal).unwrap();
    s3.set(Mode::Works);
    until(&mut server.client, &name(1), State::Committed).await;
    until_files(&host, &[receipt(1)]).await;
}

#[tokio::test]
async fn a_retry_in_a_later_outage_gets_the_same_answer() {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone());
    let mut server = host.start().await;
    let first = committed(&mut server.client, request(1, "a.docx")).await;
    until_files(&host, &[receipt(1)]).await;
    server.stop().await;

    s3.set(Mode::Down);
    let mut server = host.start().await;
    let again = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!((again.state(), again.stored_in()), (State::Committed, Destination::S3));
    assert_eq!(again.location, first.location);
    let status = refused(&mut server.client, request(1, "b.docx")).await;
    expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_known_outage_is_not_waited_out_again() {
    let s3 = FakeS3::new(Mode::HoldsAll);
    let flags = ["--s3-retry-budget=300ms", "--s3-outage-pause=5m", "--accept-timeout=10ms"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    assert_eq!(committed(&mut server.client, request(1, "a.docx")).await.state(), State::FellBack);
    let operations = s3.held();
    let second = export(&mut server.client, request(2, "a.docx")).await;
    assert_eq!(second.kinds()[1], "fell_back");
    assert_eq!(second.completed().state(), State::FellBack);
    // Looking for an earlier bundle of the id does not count: that is the local store.
    assert_eq!(s3.held(), operations, "S3 was asked again");
}

#[tokio::test]
async fn a_full_journal_takes_no_more_and_empties_by_itself() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host =
        Host::with_s3(s3.clone()).flags(&["--max-journal-bytes=1MiB", "--s3-retry-budget=10m"]);
    let mut server = host.start().await;
    let large = |number| {
        let mut request = request(number, "a.docx");
        request.documents[0] = document(Kind::Before, vec![7; 700 * 1024]);
        request
    };
    let stream = server.client.start_export(large(1)).await.unwrap().into_inner();
    let status = refused(&mut server.client, large(2)).await;
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    assert!(status.message().contains("MAX_JOURNAL_BYTES"), "{}", status.message());
    s3.set(Mode::Works);
    follow(stream).await.completed();
    until_files(&host, &[receipt(1)]).await;
    committed(&mut server.client, large(2)).await;
}

#[tokio::test]
async fn a_journal_that_can_not_be_written_accepts_nothing_and_recovers() {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone());
    let mut server = host.start().await;
    fs::create_dir_all(host.data_dir().join(".tara-export")).unwrap();
    let journal = host.data_dir().join(".tara-export/journal");
    fs::write(&journal, "in the way").unwrap();
    let status = refused(&mut server.client, request(1, "a.docx")).await;
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    assert!(bundles::folders(s3.root()).is_empty(), "something of it is in S3");
    fs::remove_file(&journal).unwrap();
    committed(&mut server.client, request(1, "a.docx")).await;
}

#[tokio::test]
async fn a_local_bundle_is_found_though_the_folder_before_it_was_given_up() {
    let s3 = FakeS3::new(Mode::Down);
    let host =
        Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=300ms", "--s3-outage-pause=5m"]);
    let mut server = host.start().await;
    let first = committed(&mut server.client, request(1, "a.docx")).await;
    let second = committed(&mut server.client, request(2, "a.docx")).await;
    assert_eq!(second.folder_name, format!("{}_2", first.folder_name));
    server.stop().await;
    // As it is when the first is in S3.
    let own = host.data_dir().join(".tara-export");
    fs::remove_dir_all(host.folder(&first.folder_name)).unwrap();
    fs::remove_file(own.join(format!("folders/{}.json", first.folder_name))).unwrap();
    fs::remove_file(own.join(format!("exports/{}.json", id(1)))).unwrap();
    let entry = host
        .files()
        .into_iter()
        .find(|file| file.starts_with(&format!(".tara-export/journal/{}", id(1))));
    fs::remove_file(host.data_dir().join(entry.unwrap())).unwrap();

    let mut server = host.start().await;
    let found = read(&mut server.client, &name(2)).await;
    assert_eq!((found.state(), &found.folder_name), (State::FellBack, &second.folder_name));
    // Sent again, it gets no second folder, though the first is free.
    let again = committed(&mut server.client, request(2, "a.docx")).await;
    assert_eq!(again.folder_name, second.folder_name);
    assert_eq!(bundles::folders(&host.data_dir()), [second.folder_name]);
}

//! The journal across restarts, and the sync of bundles that fell back.

use std::fs;

use chrono::TimeDelta;
use tara_export_client::proto::{
    Destination, WatchExportRequest, accepted::Durability, document::Kind, export::State,
    export_event::Event, storage_check::Status as CheckStatus,
};
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{accepted, committed, export, follow, next, next_where, refused, watch},
    harness::{
        Client, Host, QUICK, START_PREFIX,
        checks::{check, checks},
        receipt,
        waiting::{read, until_files, until_state},
        within,
    },
    requests::{document, id, name, request, s3_or_nothing},
    statuses::expect_status,
};

#[tokio::test]
async fn accepted_export_is_on_disk_and_resumes_after_restart() {
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
    // The bundle is the same as the first process would have made.
    assert_eq!(export.accepted_time, first.accepted_time);
    bundles::verify(&s3.root().join(&export.folder_name));
    until_files(&host, &[receipt(1)]).await;
}

#[tokio::test]
async fn export_unknown_to_stores_is_made_from_the_journal() {
    for mode in [Mode::Works, Mode::Down] {
        let s3 = FakeS3::new(Mode::HoldsAll);
        let flags = ["--accept-timeout=10ms", "--s3-retry-budget=1s", "--shutdown-timeout=0s"];
        let host = Host::with_s3(s3.clone()).flags(&flags);
        let mut server = host.start().await;
        let mut stream =
            server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
        let first = accepted(next(&mut stream).await.event);
        server.stop().await;

        // There is no record with the acceptance time yet.
        host.clock.advance(TimeDelta::days(3));
        s3.set(mode);
        let mut server = host.start().await;
        let export = watch(&mut server.client, &name(1)).await.completed();
        assert_eq!(export.accepted_time, first.accepted_time, "{mode:?}");
        assert!(export.folder_name.starts_with(START_PREFIX), "{}", export.folder_name);
    }
}

#[tokio::test]
async fn resumed_run_is_reported_as_resumed() {
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
    until_state(&mut server.client, &name(1), State::Committed).await;
}

#[tokio::test]
async fn fallback_is_synced_to_s3_and_its_local_copy_removed() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(local.state(), State::FellBack);
    let before = bundles::verify(&host.folder(&local.folder_name));
    host.clock.advance(TimeDelta::days(3));
    s3.set(Mode::Works);
    let remote = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_eq!(remote.stored_in(), Destination::S3);
    assert_eq!(bundles::verify(&s3.root().join(&remote.folder_name)), before);
    until_files(&host, &[receipt(1)]).await;
    // A new subscriber receives the new state.
    let reported = async {
        while watch(&mut server.client, &name(1)).await.completed().state() != State::Committed {}
    };
    within("WatchExport to report it", reported).await;
}

#[tokio::test]
async fn bundle_that_another_replica_sent_first_stays() {
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
    let found = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_eq!(found.accepted_time, remote.accepted_time);
    // The local copy is removed, although it has another name and time.
    until_files(&host, &[receipt(1)]).await;
    assert_eq!(bundles::folders(s3.root()), [remote.folder_name]);
}

#[tokio::test]
async fn fallback_is_synced_after_a_restart() {
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
    // A repeated request is not counted again.
    let again = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(again.state(), State::FellBack);
    let found = checks(&mut server.client).await;
    let fell_back = check(&found, "exports.fell_back");
    assert_eq!(fell_back.status(), CheckStatus::Warning);
    assert!(fell_back.message.starts_with("5 bundles"), "{}", fell_back.message);
    s3.set(Mode::Works);
    for number in 1..=5 {
        let export = until_state(&mut server.client, &name(number), State::Committed).await;
        bundles::verify(&s3.root().join(&export.folder_name));
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
async fn local_copies_stay_with_keep_local_copies() {
    let s3 = FakeS3::new(Mode::Down);
    let flags = [QUICK[0], QUICK[1], "--keep-local-copies"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    s3.set(Mode::Works);
    until_state(&mut server.client, &name(1), State::Committed).await;
    let removed = async {
        while host.files().iter().any(|file| file.ends_with(".export")) {
            tokio::task::yield_now().await;
        }
    };
    within("the journal entry to be removed", removed).await;
    bundles::verify(&host.folder(&local.folder_name));
    // Its folder name is not reused.
    s3.set(Mode::Down);
    let other = committed(&mut server.client, request(2, "a.docx")).await;
    assert_ne!(other.folder_name, local.folder_name);
}

#[tokio::test]
async fn local_copy_stays_when_s3_has_other_content() {
    assert_local_copy_stays("readable_report.txt", |file| *file = b"something else".into()).await;
}

#[tokio::test]
async fn local_copy_stays_when_s3_has_other_bytes_of_the_same_size() {
    assert_local_copy_stays("readable_report.txt", |file| file[0] ^= 1).await;
}

#[tokio::test]
async fn local_copy_stays_when_s3_has_another_manifest() {
    // It still names the same export.
    assert_local_copy_stays("manifest.json", |file| file.push(b'\n')).await;
}

async fn assert_local_copy_stays(path: &str, change: impl Fn(&mut Vec<u8>)) {
    let s3 = FakeS3::new(Mode::Down);
    let host =
        Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=300ms", "--s3-outage-pause=5m"]);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    server.stop().await;
    // Another replica commits the same request; then a file of its bundle is changed.
    s3.set(Mode::Works);
    let other = Host::with_s3(s3.clone());
    let remote = committed(&mut other.start().await.client, request(1, "a.docx")).await;
    let file = s3.root().join(&remote.folder_name).join(path);
    let content = fs::read(&file).unwrap();
    let mut changed = content.clone();
    change(&mut changed);
    fs::write(&file, changed).unwrap();

    let mut server = host.start().await;
    let data_loss = async {
        loop {
            let found = checks(&mut server.client).await;
            let row = check(&found, "exports.fell_back").message.clone();
            if row.contains("DATA_LOSS") {
                return row;
            }
            tokio::task::yield_now().await;
        }
    };
    let reason = within("the reason", data_loss).await;
    assert!(reason.contains(path), "{reason}");
    bundles::verify(&host.folder(&local.folder_name));
    // Other exports are not delayed.
    committed(&mut server.client, request(2, "b.docx")).await;
    // After the file is fixed, the bundle is synced.
    fs::write(&file, content).unwrap();
    until_files(&host, &[receipt(1), receipt(2)]).await;
}

#[tokio::test]
async fn export_without_a_store_waits_in_the_journal_not_in_memory() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&[QUICK[0], QUICK[1], "--max-concurrent-exports=1"]);
    let mut server = host.start().await;
    // The local store cannot write its own files; the journal can.
    fs::create_dir_all(host.data_dir().join(".tara-export")).unwrap();
    fs::write(host.data_dir().join(".tara-export/exports"), "a conflicting file").unwrap();
    let mut stream = server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
    let waiting = until_state(&mut server.client, &name(1), State::Pending).await;
    assert_eq!(waiting.stored_in(), Destination::Unspecified);
    // Another export is admitted, although only one may run at a time.
    let second = server.client.start_export(request(2, "b.docx")).await.unwrap().into_inner();
    until_state(&mut server.client, &name(2), State::Pending).await;
    drop(second);
    let found = checks(&mut server.client).await;
    assert_eq!(check(&found, "exports.pending").status(), CheckStatus::Warning);

    s3.set(Mode::Works);
    next_where(&mut stream, |event| matches!(event, Event::Completed(_))).await;
    let export = until_state(&mut server.client, &name(2), State::Committed).await;
    bundles::verify(&s3.root().join(&export.folder_name));
}

#[tokio::test]
async fn waiting_export_does_not_block_others() {
    let s3 = FakeS3::new(Mode::HoldsAll);
    let flags = [QUICK[0], QUICK[1], QUICK[2], "--accept-timeout=10ms"];
    let host = Host::with_s3(s3.clone()).flags(&flags).flags(&["--max-concurrent-exports=1"]);
    fs::create_dir_all(host.data_dir().join(".tara-export")).unwrap();
    fs::write(host.data_dir().join(".tara-export/exports"), "a conflicting file").unwrap();
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
async fn failure_is_reported_after_a_restart() {
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
async fn export_without_fallback_is_finished_after_a_restart() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let stream = server.client.start_export(s3_or_nothing(1, "a.docx")).await.unwrap();
    next(&mut stream.into_inner()).await;
    server.stop().await;

    s3.set(Mode::Down);
    let mut server = host.start().await;
    // This process cannot know whether a manifest was sent.
    let waiting = until_state(&mut server.client, &name(1), State::Pending).await;
    assert_eq!(waiting.state_reason, "STORE_UNAVAILABLE");
    s3.set(Mode::Works);
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    bundles::verify(&s3.root().join(&export.folder_name));
}

#[tokio::test]
async fn unreadable_entry_is_quarantined_and_others_continue() {
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
    // The first is found at startup, the second when its body is read.
    fs::write(entry(1), "not an entry").unwrap();
    let mut bytes = fs::read(entry(2)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(entry(2), bytes).unwrap();

    s3.set(Mode::Works);
    let mut server = host.start().await;
    until_state(&mut server.client, &name(3), State::Committed).await;
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

/// Waits until a row of CheckStorage contains this text.
async fn until_check(client: &mut Client, row: &str, text: &str) {
    let waiting = async {
        while !check(&checks(client).await, row).message.contains(text) {
            tokio::task::yield_now().await;
        }
    };
    within(&format!("{row}: {text}"), waiting).await;
}

#[tokio::test]
async fn removed_entry_is_no_longer_waited_for() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    fs::remove_dir_all(host.data_dir().join(".tara-export/journal")).unwrap();
    until_check(&mut server.client, "exports.journal", "fell back 0, quarantined 1").await;
    until_check(&mut server.client, "exports.oldest_unsynced", "seconds 0").await;
    // The only copy of the bundle stays.
    bundles::verify(&host.folder(&local.folder_name));
    assert_eq!(read(&mut server.client, &name(1)).await.state(), State::FellBack);
}

#[tokio::test]
async fn entry_that_cannot_be_read_now_is_read_later() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    let journal = host.data_dir().join(".tara-export/journal");
    let elsewhere = journal.with_extension("elsewhere");
    fs::rename(&journal, &elsewhere).unwrap();
    fs::write(&journal, "a conflicting file").unwrap();
    until_check(&mut server.client, "exports.fell_back", "(INTERNAL)").await;
    fs::remove_file(&journal).unwrap();
    fs::rename(&elsewhere, &journal).unwrap();
    s3.set(Mode::Works);
    until_state(&mut server.client, &name(1), State::Committed).await;
    until_files(&host, &[receipt(1)]).await;
}

#[tokio::test]
async fn retry_in_a_later_outage_gets_the_same_response() {
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
async fn next_export_skips_s3_during_a_known_outage() {
    let s3 = FakeS3::new(Mode::HoldsAll);
    let flags = ["--s3-retry-budget=300ms", "--s3-outage-pause=5m", "--accept-timeout=10ms"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    assert_eq!(committed(&mut server.client, request(1, "a.docx")).await.state(), State::FellBack);
    let operations = s3.held();
    let second = export(&mut server.client, request(2, "a.docx")).await;
    assert_eq!(second.kinds()[1], "fell_back");
    assert_eq!(second.completed().state(), State::FellBack);
    // The lookup of a previous bundle of the id reads the local store only.
    assert_eq!(s3.held(), operations, "S3 was called again");
}

#[tokio::test]
async fn full_journal_refuses_exports_until_it_empties() {
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
async fn unwritable_journal_refuses_exports_and_recovers() {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone());
    let mut server = host.start().await;
    fs::create_dir_all(host.data_dir().join(".tara-export")).unwrap();
    let journal = host.data_dir().join(".tara-export/journal");
    // The server has created the folder at startup.
    fs::remove_dir_all(&journal).unwrap();
    fs::write(&journal, "a conflicting file").unwrap();
    let status = refused(&mut server.client, request(1, "a.docx")).await;
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    assert!(bundles::folders(s3.root()).is_empty(), "part of the bundle is in S3");
    fs::remove_file(&journal).unwrap();
    committed(&mut server.client, request(1, "a.docx")).await;
}

#[tokio::test]
async fn local_bundle_is_found_when_the_first_folder_is_free() {
    let s3 = FakeS3::new(Mode::Down);
    let host =
        Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=300ms", "--s3-outage-pause=5m"]);
    let mut server = host.start().await;
    let first = committed(&mut server.client, request(1, "a.docx")).await;
    let second = committed(&mut server.client, request(2, "a.docx")).await;
    assert_eq!(second.folder_name, format!("{}_2", first.folder_name));
    server.stop().await;
    // The state after the first bundle was synced.
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
    // A repeated request gets no second folder, although the first is free.
    let again = committed(&mut server.client, request(2, "a.docx")).await;
    assert_eq!(again.folder_name, second.folder_name);
    assert_eq!(bundles::folders(&host.data_dir()), [second.folder_name]);
}

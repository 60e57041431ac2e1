//! Downgrades: journal entries of a later release stay unchanged until that release runs again and finishes them.

use std::fs;

use tara_export_client::proto::{GetExportRequest, export::State};
use tara_export_digest::Sha256;
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{committed, refused},
    harness::{
        Host, QUICK,
        checks::{check, checks},
        waiting::until_state,
    },
    requests::{name, request},
    statuses::expect_status,
};

/// Offsets in the first line of an entry: a fixed text, a version of four digits, twenty digits, a digest.
const VERSION_AT: usize = "tara-export/accepted v".len();
const DIGEST_AT: usize = VERSION_AT + 4 + 1 + 20 + 1;

/// The same entry with an unknown version, as a later release might write it.
fn with_later_version(entry: &[u8]) -> Vec<u8> {
    let mut later = entry.to_vec();
    later[VERSION_AT..VERSION_AT + 4].copy_from_slice(b"9999");
    let header_size: usize =
        std::str::from_utf8(&later[VERSION_AT + 5..DIGEST_AT - 1]).unwrap().parse().unwrap();
    let header_at = DIGEST_AT + 64 + 1;
    let digested = [&later[..DIGEST_AT], &later[header_at..header_at + header_size]].concat();
    let digest = Sha256::of(&digested).to_string();
    later[DIGEST_AT..DIGEST_AT + 64].copy_from_slice(digest.as_bytes());
    later
}

#[tokio::test]
async fn entries_of_a_later_release_are_kept_reported_and_finished_by_it() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    server.stop().await;
    let journal = host.data_dir().join(".tara-export/journal");
    let is_entry = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "export");
    let entries = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path());
    let path = entries.into_iter().find(is_entry).unwrap();
    let entry = fs::read(&path).unwrap();
    let later = with_later_version(&entry);
    // Remove its bundle, as if no store had accepted it.
    let local = fs::read_dir(host.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    local
        .filter(|path| !path.ends_with(".tara-export"))
        .for_each(|f| fs::remove_dir_all(f).unwrap());
    fs::remove_dir_all(host.data_dir().join(".tara-export/exports")).unwrap();
    fs::write(&path, &later).unwrap();

    // The previous release runs, and S3 is back.
    s3.set(Mode::Works);
    let mut server = host.start().await;
    let row = check(&checks(&mut server.client).await, "exports.unreadable").clone();
    assert!(row.message.starts_with("1 accepted exports"), "{row:?}");
    assert!(row.message.contains("encoding version 9999: run that release again"), "{row:?}");
    let get = GetExportRequest { name: name(1) };
    let status = server.client.get_export(get).await.unwrap_err();
    expect_status(&status, Code::FailedPrecondition, "JOURNAL_UNREADABLE");
    // It is not exported again, and its id is not given to other content.
    for again in [request(1, "a.docx"), request(1, "b.docx")] {
        let status = refused(&mut server.client, again).await;
        expect_status(&status, Code::FailedPrecondition, "JOURNAL_UNREADABLE");
    }
    committed(&mut server.client, request(2, "a.docx")).await;
    server.stop().await;
    assert!(fs::read(&path).unwrap() == later, "the entry was changed");

    // The later release runs again: it knows its own version.
    fs::write(&path, &entry).unwrap();
    let mut server = host.start().await;
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    bundles::verify(&s3.root().join(&export.folder_name));
    until_state(&mut server.client, &name(2), State::Committed).await;
    assert_eq!(bundles::folders(s3.root()).len(), 2);
}

//! Lists of exports: newest first, in pages, each export exactly once.

use std::{fs, path::Path, process::Command};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tara_export_bundle::{AcceptedTime, FolderBase, FolderName};
use tara_export_catalog::layout;
use tara_export_client::proto::{Export, ListExportsRequest, ListExportsResponse, export::State};
use tonic::Status;

use crate::{
    fake_s3::{FakeS3, Mode, SilentServer},
    following::{committed, export, follow},
    harness::{Client, Host, START, within},
    requests::{id, name, request, s3_or_nothing},
    statuses::expect_invalid,
};

async fn page(
    client: &mut Client,
    page_size: i32,
    page_token: &str,
    filter: &str,
) -> Result<ListExportsResponse, Status> {
    let request = ListExportsRequest {
        page_size,
        page_token: page_token.to_owned(),
        filter: filter.to_owned(),
    };
    Ok(within("the page", client.list_exports(request)).await?.into_inner())
}

/// All exports of all pages.
async fn pages(client: &mut Client, page_size: i32, filter: &str) -> Vec<Export> {
    let (mut exports, mut token) = (Vec::new(), String::new());
    loop {
        let page = page(client, page_size, &token, filter).await.unwrap();
        assert!(page.exports.len() <= page_size as usize);
        exports.extend(page.exports);
        if page.next_page_token.is_empty() {
            return exports;
        }
        token = page.next_page_token;
    }
}

fn names(exports: &[Export]) -> Vec<String> {
    exports.iter().map(|export| export.name.clone()).collect()
}

/// The names of the exports with these numbers, newest first.
fn newest_first(numbers: impl DoubleEndedIterator<Item = u32>) -> Vec<String> {
    numbers.rev().map(name).collect()
}

/// Writes a bundle's manifest and index entry, which are all that lists read.
fn write_bundle(data_dir: &Path, number: u32, time: DateTime<Utc>, document_name: &str) {
    let time = AcceptedTime::new(time);
    let folder = FolderName::new(&FolderBase::new(&time, document_name), number);
    let manifest = json!({
        "schema": "tara-export/manifest/v1",
        "export_id": id(number),
        "folder_name": folder,
        "document_name": document_name,
        "session_id": "s",
        "reviewer": "r",
        "requested_by": "",
        "accepted_time": time,
        "format_version": 1,
        "content_digest": "0".repeat(64),
        "artifacts": [],
        "omitted": [],
    });
    for (key, content) in [
        (layout::manifest(&folder), manifest.to_string()),
        (layout::index_entry(time, &folder), json!({ "export_id": id(number) }).to_string()),
    ] {
        let path = data_dir.join(key.as_str());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn start() -> DateTime<Utc> {
    START.parse().unwrap()
}

#[tokio::test]
async fn newest_export_is_listed_first() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut exports = Vec::new();
    for number in 1..=4 {
        exports.push(committed(&mut server.client, request(number, "report.docx")).await);
        host.clock.advance(TimeDelta::microseconds(1));
    }
    let listed = page(&mut server.client, 0, "", "").await.unwrap();
    assert_eq!(listed.next_page_token, "");
    exports.reverse();
    for (listed, expected) in listed.exports.iter().zip(&mut exports) {
        // Lists omit the artifacts; the commit time comes from the disk.
        expected.artifacts.clear();
        expected.committed_time = listed.committed_time;
    }
    assert_eq!(listed.exports, exports);
}

#[tokio::test]
async fn paging_returns_each_export_once_in_order() {
    let host = Host::new();
    for number in 1..=20 {
        let time = start() + TimeDelta::seconds(number.into());
        write_bundle(&host.data_dir(), number, time, "report.docx");
    }
    let mut server = host.start().await;
    for page_size in [1, 3, 7, 20, 21, 1000, i32::MAX] {
        let exports = pages(&mut server.client, page_size, "").await;
        assert_eq!(names(&exports), newest_first(1..=20), "pages of {page_size}");
    }
    let default = page(&mut server.client, 0, "", "").await.unwrap();
    assert_eq!(default.exports.len(), 20);
}

#[tokio::test]
async fn default_page_size_is_fifty() {
    let host = Host::new();
    for number in 1..=51 {
        write_bundle(
            &host.data_dir(),
            number,
            start() + TimeDelta::seconds(number.into()),
            "a.docx",
        );
    }
    let mut server = host.start().await;
    let first = page(&mut server.client, 0, "", "").await.unwrap();
    assert_eq!(names(&first.exports), newest_first(2..=51));
    let last = page(&mut server.client, 0, &first.next_page_token, "").await.unwrap();
    assert_eq!((names(&last.exports), last.next_page_token.as_str()), (vec![name(1)], ""));
}

#[tokio::test]
async fn exports_of_one_microsecond_are_all_listed() {
    let host = Host::new();
    // Ids and folders sort in opposite orders.
    for number in [9, 5, 7, 3, 1, 8, 2] {
        write_bundle(&host.data_dir(), number, start(), &format!("{}.docx", 10 - number));
    }
    write_bundle(&host.data_dir(), 4, start() + TimeDelta::seconds(1), "new.docx");
    write_bundle(&host.data_dir(), 6, start() - TimeDelta::seconds(1), "old.docx");
    let mut server = host.start().await;
    let expected = [4, 1, 2, 3, 5, 7, 8, 9, 6].map(name);
    for page_size in [1, 2, 3, 5, 100] {
        let exports = pages(&mut server.client, page_size, "").await;
        assert_eq!(names(&exports), expected, "pages of {page_size}");
    }
}

#[tokio::test]
async fn new_exports_during_paging_do_not_shift_pages() {
    let host = Host::new();
    let mut server = host.start().await;
    for number in 1..=5 {
        committed(&mut server.client, request(number, "report.docx")).await;
        host.clock.advance(TimeDelta::seconds(1));
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    for number in 6..=10 {
        let page = page(&mut server.client, 1, &token, "").await.unwrap();
        seen.extend(names(&page.exports));
        token = page.next_page_token;
        committed(&mut server.client, request(number, "report.docx")).await;
        host.clock.advance(TimeDelta::seconds(1));
    }
    assert_eq!((seen, token.as_str()), (newest_first(1..=5), ""));
    let all = pages(&mut server.client, 3, "").await;
    assert_eq!(names(&all), newest_first(1..=10));
}

#[tokio::test]
async fn index_entry_without_a_manifest_is_skipped() {
    let host = Host::new();
    for number in 1..=9 {
        let time = start() + TimeDelta::seconds(number.into());
        write_bundle(&host.data_dir(), number, time, "report.docx");
        let folder =
            FolderName::new(&FolderBase::new(&AcceptedTime::new(time), "report.docx"), number);
        if number % 3 != 0 {
            // An export that ended before its manifest was stored.
            fs::remove_dir_all(host.folder(folder.as_str())).unwrap();
        }
    }
    // An entry of an export that did not use this folder, and a foreign file.
    let folder = FolderName::new(
        &FolderBase::new(&AcceptedTime::new(start() + TimeDelta::seconds(9)), "report.docx"),
        9,
    );
    let key = layout::index_entry(AcceptedTime::new(start()), &folder);
    fs::write(host.data_dir().join(key.as_str()), "{}").unwrap();
    fs::write(host.data_dir().join(".tara-export/index/README"), "x").unwrap();
    let mut server = host.start().await;
    for page_size in [1, 2, 50] {
        let exports = pages(&mut server.client, page_size, "").await;
        assert_eq!(names(&exports), [9, 6, 3].map(name), "pages of {page_size}");
    }
}

/// Moves the files of all shards to the folder of previous releases, as docs/operations.md describes for a downgrade.
fn restore_old_index(data_dir: &Path) {
    let command = "find .tara-export/index-shards -type f -exec mv -n -t .tara-export/index {} +";
    fs::create_dir_all(data_dir.join(".tara-export/index")).unwrap();
    let status = Command::new("sh").args(["-c", command]).current_dir(data_dir).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn index_of_previous_release_is_listed_while_it_is_moved() {
    const BUNDLES: u32 = 600;
    let host = Host::new();
    for number in 1..=BUNDLES {
        write_bundle(&host.data_dir(), number, start() + TimeDelta::hours(number.into()), "a.docx");
    }
    let old_index = host.folder(".tara-export/index");
    for _ in 0..2 {
        let mut server = host.start().await;
        let listing = async {
            loop {
                let is_moved = !old_index.exists();
                for page_size in [7, 1_000] {
                    let exports = pages(&mut server.client, page_size, "").await;
                    assert_eq!(names(&exports), newest_first(1..=BUNDLES));
                }
                if is_moved {
                    break;
                }
            }
        };
        within("the index is moved", listing).await;
        server.stop().await;
        restore_old_index(&host.data_dir());
        assert_eq!(fs::read_dir(&old_index).unwrap().count(), BUNDLES as usize);
    }
}

#[tokio::test]
async fn page_ends_before_the_message_exceeds_the_client_limit() {
    let host = Host::new();
    // About 12 MiB in total; a client accepts 4 MiB.
    let mut long = vec!["字".repeat(680); 1];
    long.push(format!("{}\"\\", "x".repeat(2046)));
    for number in 1..=1000 {
        let time = start() + TimeDelta::seconds(number.into());
        write_bundle(&host.data_dir(), number, time, &long[number as usize % 2].repeat(3));
    }
    let mut server = host.start().await;
    let first = page(&mut server.client, 1000, "", "").await.unwrap();
    assert!((100..1000).contains(&first.exports.len()), "{}", first.exports.len());
    assert!(!first.next_page_token.is_empty());
    let exports = pages(&mut server.client, 1000, "").await;
    assert_eq!(names(&exports), newest_first(1..=1000));
}

#[tokio::test]
async fn running_export_is_listed_and_becomes_committed() {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m"]);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "report.docx")).await;
    host.clock.advance(TimeDelta::seconds(1));
    s3.set(Mode::HoldsArtifacts);
    let start = server.client.start_export(request(2, "report.docx"));
    let stream = start.await.unwrap().into_inner();
    host.clock.advance(TimeDelta::seconds(1));
    let exports = pages(&mut server.client, 1, "").await;
    assert_eq!(names(&exports), newest_first(1..=2));
    assert_eq!(exports[0].state(), State::Running);
    assert_eq!(exports[1].state(), State::Committed);
    let running = pages(&mut server.client, 10, "state = STATE_RUNNING").await;
    assert_eq!(names(&running), [name(2)]);

    s3.set(Mode::Works);
    follow(stream).await.completed();
    let exports = pages(&mut server.client, 1, "").await;
    assert_eq!(names(&exports), newest_first(1..=2));
    assert!(exports.iter().all(|export| export.state() == State::Committed));
}

#[tokio::test]
async fn failed_exports_are_listed_with_their_reason() {
    let silent = SilentServer::start().await;
    let flags = ["--accept-timeout=10ms", "--s3-retry-budget=100ms"];
    let host = Host::with_s3(silent.store()).flags(&flags);
    let mut server = host.start().await;
    export(&mut server.client, s3_or_nothing(1, "report.docx")).await.failed();
    let failed = pages(&mut server.client, 10, "state = STATE_FAILED").await;
    assert_eq!(names(&failed), [name(1)]);
    assert_eq!(failed[0].state(), State::Failed);
    assert_eq!(failed[0].state_reason, "STORE_UNAVAILABLE");
}

#[tokio::test]
async fn bundles_of_both_stores_are_listed_together() {
    let s3 = FakeS3::new(Mode::Works);
    // Bundles that fell back are not synced during this test.
    let flags = ["--s3-retry-budget=300ms", "--s3-outage-pause=5m"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    for number in [1, 3, 5, 2, 4, 6] {
        s3.set(if number % 2 == 0 { Mode::Down } else { Mode::Works });
        committed(&mut server.client, request(number, "report.docx")).await;
        host.clock.advance(TimeDelta::seconds(if number == 5 { -3 } else { 2 }));
    }
    s3.set(Mode::Works);
    for page_size in [1, 3, 50] {
        let exports = pages(&mut server.client, page_size, "").await;
        assert_eq!(names(&exports), newest_first(1..=6), "pages of {page_size}");
        for (export, state) in
            exports.iter().zip([State::FellBack, State::Committed].into_iter().cycle())
        {
            assert_eq!(export.state(), state);
        }
    }
    // Local bundles can be listed while S3 is down.
    s3.set(Mode::Down);
    let local = pages(&mut server.client, 2, "stored_in = DESTINATION_LOCAL").await;
    assert_eq!(names(&local), [6, 4, 2].map(name));
}

#[tokio::test]
async fn invalid_page_request_is_refused_naming_the_field() {
    let host = Host::new();
    for number in 1..=3 {
        write_bundle(
            &host.data_dir(),
            number,
            start() + TimeDelta::seconds(number.into()),
            "a.docx",
        );
    }
    let mut server = host.start().await;
    let client = &mut server.client;
    for page_size in [-1, i32::MIN] {
        let status = page(client, page_size, "", "").await.unwrap_err();
        expect_invalid(&status, "page_size");
    }
    let token = page(client, 1, "", "").await.unwrap().next_page_token;
    for bad in ["x", "=", "e30", &token[1..], &format!("{token}A"), &"A".repeat(50_000)] {
        let status = page(client, 1, bad, "").await.unwrap_err();
        expect_invalid(&status, "page_token");
    }
    let status = page(client, 1, &token, "reviewer = r").await.unwrap_err();
    assert!(expect_invalid(&status, "page_token").contains("another filter"));
    // The page size may change between pages.
    let rest = page(client, 5, &token, "").await.unwrap();
    assert_eq!(names(&rest.exports), [2, 1].map(name));
}

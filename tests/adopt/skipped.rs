//! What is left as it is, and why.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures::TryStreamExt as _;
use tara_export::adopt::{
    AdoptError, AdoptSettings, Adoption, FolderOutcome, FolderReport, SkipReason,
};
use tara_export_test_support::{Operation, TestS3};

use crate::{
    harness::s3::store_of,
    place::{FOLDER, Later, Place, adopt, adopted, old_files},
    requests::id,
};

/// Checks that the folder is skipped for this reason, in a dry run and in one that writes, and that
/// nothing is written for it. What is said.
async fn skipped(place: &Place, folder: &str, expected: SkipReason) -> String {
    let before = place.files();
    let mut said = String::new();
    for write in [false, true] {
        let outcomes = adopt(place.store(), write).await;
        let Some(FolderOutcome::Skipped { reason, message }) = outcomes.get(folder) else {
            panic!("{folder}: {outcomes:?}")
        };
        assert_eq!(*reason, expected, "{folder}: {message}");
        said = message.clone();
    }
    assert!(place.files() == before, "{folder}");
    said
}

#[tokio::test]
async fn names_that_the_application_did_not_give() {
    let long = format!("20240229_235959_{}", "x".repeat(201));
    for folder in [
        "reports",
        "20240229_235959",
        "20240229-235959_a",
        "20230229_235959_a",
        "20240229_240000_a",
        "x20240229_235959_a",
        &long,
    ] {
        for place in Place::both().await {
            place.put_folder(folder, &old_files());
            skipped(&place, folder, SkipReason::OtherName).await;
        }
    }
}

#[tokio::test]
async fn a_manifest_of_somebody_else_s() {
    for manifest in ["", "{}", r#"{"schema": "other/v1"}"#] {
        for place in Place::both().await {
            place.put_folder(FOLDER, &old_files());
            place.put(&format!("{FOLDER}/manifest.json"), manifest);
            skipped(&place, FOLDER, SkipReason::ForeignManifest).await;
        }
    }
}

#[tokio::test]
async fn a_folder_that_an_export_has_claimed() {
    let claim = format!(r#"{{"export_id": "{}"}}"#, id(1));
    let record = format!(
        r#"{{"export_id": "{}", "content_digest": "{}", "accepted_time": "2024-02-29T23:59:59Z",
            "format_version": 1, "folder_base": "{FOLDER}", "requested_destination": "s3"}}"#,
        id(1),
        "0".repeat(64)
    );
    for with_record in [false, true] {
        for place in Place::both().await {
            place.put_folder(FOLDER, &old_files());
            place.put(&format!(".tara-export/folders/{FOLDER}.json"), claim.clone());
            if with_record {
                place.put(&format!(".tara-export/exports/{}.json", id(1)), record.clone());
            }
            let message = skipped(&place, FOLDER, SkipReason::Claimed).await;
            assert!(message.contains(&id(1)), "{message}");
        }
    }
}

#[tokio::test]
async fn a_folder_with_nothing_of_the_application() {
    for place in Place::both().await {
        place.put(&format!("{FOLDER}/documents/before_a.docx"), "a document alone");
        skipped(&place, FOLDER, SkipReason::NoBundle).await;
    }
}

#[tokio::test]
async fn files_that_a_manifest_can_not_list() {
    for place in Place::both().await {
        for bad in [".DS_Store", "documents/.hidden", "documents/a\u{7f}b.docx", "documents/a\\b"] {
            let folder = format!("20240229_235959_{}", bad.len());
            place.put_folder(&folder, &old_files());
            place.put(&format!("{folder}/{bad}"), "x");
            skipped(&place, &folder, SkipReason::BadPath).await;
        }
    }
    let place = Place::s3().await;
    place.put_folder(FOLDER, &old_files());
    place.put(&format!("{FOLDER}/documents//twice.docx"), "x");
    let message = skipped(&place, FOLDER, SkipReason::BadPath).await;
    assert!(message.contains("documents//twice.docx"), "{message}");
}

#[cfg(unix)]
#[tokio::test]
async fn links_and_names_that_are_no_text() {
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

    let place = Place::local();
    let documents = place.host.data_dir().join(FOLDER).join("documents");
    place.put_folder(FOLDER, &old_files());
    let link = documents.join("link.docx");
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    let message = skipped(&place, FOLDER, SkipReason::BadPath).await;
    assert!(message.contains("link.docx"), "{message}");
    fs::remove_file(link).unwrap();
    let latin = documents.join(OsStr::from_bytes(b"caf\xe9.docx"));
    fs::write(&latin, "x").unwrap();
    let outcomes = adopt(place.store(), true).await;
    assert!(matches!(outcomes[FOLDER], FolderOutcome::Skipped { reason: SkipReason::BadPath, .. }));
    fs::remove_file(latin).unwrap();
    adopted(&adopt(place.store(), true).await);
}

#[tokio::test]
async fn what_the_console_made_is_no_file() {
    let place = Place::s3().await;
    place.put_folder(FOLDER, &old_files());
    for marker in
        ["", "20240229_235959_incident_report_0000/", "20240229_235959_incident_report_0000/logs/"]
    {
        place.put(marker, "");
    }
    adopted(&adopt(place.store(), true).await);
}

#[tokio::test]
async fn a_folder_that_may_still_be_written() {
    for place in Place::both().await {
        place.put_folder(FOLDER, &old_files());
        for (minutes, is_adopted) in [(0, false), (58, false), (62, true)] {
            let settings = AdoptSettings {
                write: false,
                min_age: Duration::from_secs(3600),
                allow_unsafe_store: false,
            };
            let clock = Arc::new(Later(TimeDelta::minutes(minutes)));
            let adoption = Adoption::new(place.store(), clock, settings).await.unwrap();
            let reports: Vec<FolderReport> = adoption.folders().try_collect().await.unwrap();
            let outcome = &reports[0].outcome;
            match outcome {
                FolderOutcome::WouldAdopt(_) => assert!(is_adopted, "{minutes}"),
                FolderOutcome::Skipped { reason: SkipReason::TooNew, .. } => assert!(!is_adopted),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn more_than_a_manifest_can_list() {
    let place = Place::local();
    place.put_folder(FOLDER, &old_files());
    for number in 0..4_000 {
        place.put(&format!("{FOLDER}/pages/page-{number:04}-{}.png", "x".repeat(200)), "");
    }
    skipped(&place, FOLDER, SkipReason::TooLarge).await;
}

#[tokio::test]
async fn a_store_that_overwrites_is_not_written_to() {
    let s3 = TestS3::builder().ignore_conditions().start().await.unwrap();
    let settings = |write, allow_unsafe_store| AdoptSettings {
        write,
        min_age: Duration::ZERO,
        allow_unsafe_store,
    };
    let clock = || Arc::new(Later(TimeDelta::zero()));
    let refused = Adoption::new(store_of(&s3), clock(), settings(true, false)).await;
    assert!(matches!(refused, Err(AdoptError::UnsafeStore { .. })), "{refused:?}");
    let puts = s3.requests_of(Operation::PutObject).len();
    for settings in [settings(false, false), settings(true, true)] {
        Adoption::new(store_of(&s3), clock(), settings).await.unwrap();
    }
    assert_eq!(s3.requests_of(Operation::PutObject).len(), puts, "a dry run tries nothing out");
}

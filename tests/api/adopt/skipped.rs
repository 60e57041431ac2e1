//! Folders that adoption skips, with the reason.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures::TryStreamExt as _;
use tara_export::adopt::{
    AdoptError, AdoptSettings, Adoption, FolderOutcome, FolderReport, SkipReason,
};
use tara_export_test_support::{Operation, TestS3};

use super::fixture::{AheadClock, FOLDER, Fixture, adopt, adopted, old_files};
use crate::{harness::s3::store_of, requests::id};

/// Checks that the folder is skipped for this reason in a dry run and in a writing run, and that nothing is written.
/// Returns the message.
async fn assert_skipped(fixture: &Fixture, folder: &str, expected: SkipReason) -> String {
    let before = fixture.files();
    let mut last_message = String::new();
    for write in [false, true] {
        let outcomes = adopt(fixture.store(), write).await;
        let Some(FolderOutcome::Skipped { reason, message }) = outcomes.get(folder) else {
            panic!("{folder}: {outcomes:?}")
        };
        assert_eq!(*reason, expected, "{folder}: {message}");
        last_message = message.clone();
    }
    assert!(fixture.files() == before, "{folder}");
    last_message
}

#[tokio::test]
async fn folder_with_a_foreign_name_is_skipped() {
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
        for fixture in Fixture::both().await {
            fixture.put_folder(folder, &old_files());
            assert_skipped(&fixture, folder, SkipReason::OtherName).await;
        }
    }
}

#[tokio::test]
async fn folder_with_a_foreign_manifest_is_skipped() {
    for manifest in ["", "{}", r#"{"schema": "other/v1"}"#] {
        for fixture in Fixture::both().await {
            fixture.put_folder(FOLDER, &old_files());
            fixture.put(&format!("{FOLDER}/manifest.json"), manifest);
            assert_skipped(&fixture, FOLDER, SkipReason::ForeignManifest).await;
        }
    }
}

#[tokio::test]
async fn claimed_folder_is_skipped() {
    let claim = format!(r#"{{"export_id": "{}"}}"#, id(1));
    let record = format!(
        r#"{{"export_id": "{}", "content_digest": "{}", "accepted_time": "2024-02-29T23:59:59Z",
            "format_version": 1, "folder_base": "{FOLDER}", "requested_destination": "s3"}}"#,
        id(1),
        "0".repeat(64)
    );
    for with_record in [false, true] {
        for fixture in Fixture::both().await {
            fixture.put_folder(FOLDER, &old_files());
            fixture.put(&format!(".tara-export/folders/{FOLDER}.json"), claim.clone());
            if with_record {
                fixture.put(&format!(".tara-export/exports/{}.json", id(1)), record.clone());
            }
            let message = assert_skipped(&fixture, FOLDER, SkipReason::Claimed).await;
            assert!(message.contains(&id(1)), "{message}");
        }
    }
}

#[tokio::test]
async fn folder_without_application_files_is_skipped() {
    for fixture in Fixture::both().await {
        fixture.put(&format!("{FOLDER}/documents/before_a.docx"), "a document alone");
        assert_skipped(&fixture, FOLDER, SkipReason::NoBundle).await;
    }
}

#[tokio::test]
async fn folder_with_unlistable_paths_is_skipped() {
    for fixture in Fixture::both().await {
        for bad in [".DS_Store", "documents/.hidden", "documents/a\u{7f}b.docx", "documents/a\\b"] {
            let folder = format!("20240229_235959_{}", bad.len());
            fixture.put_folder(&folder, &old_files());
            fixture.put(&format!("{folder}/{bad}"), "x");
            assert_skipped(&fixture, &folder, SkipReason::BadPath).await;
        }
    }
    let fixture = Fixture::s3().await;
    fixture.put_folder(FOLDER, &old_files());
    fixture.put(&format!("{FOLDER}/documents//twice.docx"), "x");
    let message = assert_skipped(&fixture, FOLDER, SkipReason::BadPath).await;
    assert!(message.contains("documents//twice.docx"), "{message}");
}

#[cfg(unix)]
#[tokio::test]
async fn folder_with_symlinks_or_non_utf8_names_is_skipped() {
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

    let fixture = Fixture::local();
    let documents = fixture.host.data_dir().join(FOLDER).join("documents");
    fixture.put_folder(FOLDER, &old_files());
    let link = documents.join("link.docx");
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    let message = assert_skipped(&fixture, FOLDER, SkipReason::BadPath).await;
    assert!(message.contains("link.docx"), "{message}");
    fs::remove_file(link).unwrap();
    let latin = documents.join(OsStr::from_bytes(b"caf\xe9.docx"));
    fs::write(&latin, "x").unwrap();
    let outcomes = adopt(fixture.store(), true).await;
    assert!(matches!(outcomes[FOLDER], FolderOutcome::Skipped { reason: SkipReason::BadPath, .. }));
    fs::remove_file(latin).unwrap();
    adopted(&adopt(fixture.store(), true).await);
}

#[tokio::test]
async fn console_folder_markers_are_ignored() {
    let fixture = Fixture::s3().await;
    fixture.put_folder(FOLDER, &old_files());
    for marker in
        ["", "20240229_235959_incident_report_0000/", "20240229_235959_incident_report_0000/logs/"]
    {
        fixture.put(marker, "");
    }
    adopted(&adopt(fixture.store(), true).await);
}

#[tokio::test]
async fn recently_written_folder_is_skipped() {
    for fixture in Fixture::both().await {
        fixture.put_folder(FOLDER, &old_files());
        for (minutes, is_adopted) in [(0, false), (58, false), (62, true)] {
            let settings = AdoptSettings {
                write: false,
                min_age: Duration::from_secs(3600),
                allow_unsafe_store: false,
            };
            let clock = Arc::new(AheadClock(TimeDelta::minutes(minutes)));
            let adoption = Adoption::new(fixture.store(), clock, settings).await.unwrap();
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
async fn folder_with_too_many_files_is_skipped() {
    let fixture = Fixture::local();
    fixture.put_folder(FOLDER, &old_files());
    for number in 0..4_000 {
        fixture.put(&format!("{FOLDER}/pages/page-{number:04}-{}.png", "x".repeat(200)), "");
    }
    assert_skipped(&fixture, FOLDER, SkipReason::TooLarge).await;
}

#[tokio::test]
async fn store_that_ignores_conditions_is_not_written_to() {
    let s3 = TestS3::builder().ignore_conditions().start().await.unwrap();
    let settings = |write, allow_unsafe_store| AdoptSettings {
        write,
        min_age: Duration::ZERO,
        allow_unsafe_store,
    };
    let clock = || Arc::new(AheadClock(TimeDelta::zero()));
    let refused = Adoption::new(store_of(&s3), clock(), settings(true, false)).await;
    assert!(matches!(refused, Err(AdoptError::UnsafeStore { .. })), "{refused:?}");
    let puts = s3.requests_of(Operation::PutObject).len();
    for settings in [settings(false, false), settings(true, true)] {
        Adoption::new(store_of(&s3), clock(), settings).await.unwrap();
    }
    assert_eq!(s3.requests_of(Operation::PutObject).len(), puts, "no probe was written");
}

#[tokio::test]
async fn folder_with_unreadable_files_is_skipped_with_the_reason() {
    let other = "20240301_000000_other_0001";
    let fixture = Fixture::s3().await;
    fixture.put_folder(FOLDER, &old_files());
    let s3 = fixture.s3.as_ref().unwrap();
    s3.archive("/documents/");
    fixture.put_folder(other, &old_files());
    let outcomes = adopt(fixture.store(), true).await;
    let FolderOutcome::Skipped { reason: SkipReason::Unreadable, message } = &outcomes[FOLDER]
    else {
        panic!("{outcomes:?}")
    };
    assert!(message.contains("archived") && message.contains("restore"), "{message}");
    assert!(matches!(outcomes[other], FolderOutcome::Adopted { .. }), "{outcomes:?}");
    s3.restore();
    let outcomes = adopt(fixture.store(), true).await;
    assert!(matches!(outcomes[FOLDER], FolderOutcome::Adopted { .. }), "{outcomes:?}");
}

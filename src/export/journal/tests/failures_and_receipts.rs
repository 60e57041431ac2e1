//! Failure records and receipts.

use tara_export_bundle::{ContentDigest, FolderName};
use tara_export_catalog::{Export, ExportArtifact, ExportState};
use tara_export_store::StoreKind;

use tara_export_state_file as state_file;

use super::{
    retention::{KEEP_FOREVER, KEEP_NOTHING},
    *,
};
use crate::export::failure::{Failure, FailureReason};

pub(super) fn running(accepted: &AcceptedExport) -> Export {
    let header = accepted.header();
    Export {
        export_id: header.export_id,
        is_id_unknown: false,
        state: ExportState::Running,
        state_reason: "anything".into(),
        document_name: header.document_name,
        session_id: header.session_id,
        reviewer: header.reviewer,
        requested_by: header.requested_by,
        requested_destination: header.destination,
        stored_in: None,
        folder_name: None,
        location: String::new(),
        artifacts: vec![],
        manifest_sha256: None,
        accepted_time: header.accepted_time,
        committed_time: None,
        adopted: false,
        replacements: Default::default(),
    }
}

pub(super) fn committed(accepted: &AcceptedExport, stored_in: StoreKind) -> Export {
    Export {
        stored_in: Some(stored_in),
        folder_name: Some(FolderName::new(&accepted.folder_base, 2)),
        location: "s3://bucket/tara/x/".into(),
        artifacts: vec![ExportArtifact {
            path: "readable_report.txt".into(),
            size_bytes: u64::MAX,
            sha256: Sha256::of(b"report"),
            media_type: "text/plain".into(),
        }],
        manifest_sha256: Some(Sha256::of(b"manifest")),
        committed_time: Some("2026-11-22T18:38:00.123456789Z".parse().unwrap()),
        ..running(accepted)
    }
}

pub(super) fn failed(number: u32, message: &str) -> FailedExport {
    let accepted = export(number);
    let failure = Failure { reason: FailureReason::StoreDenied, message: message.into() };
    FailedExport::new(running(&accepted), accepted.digest(), failure, seconds(number + 100))
}

pub(super) fn receipt(number: u32) -> Receipt {
    let accepted = export(number);
    Receipt::new(committed(&accepted, StoreKind::S3), accepted.digest(), seconds(number))
}

/// The path of the failure record (`failed`) or receipt (`receipts`) of export `number`.
pub(super) fn state_file(data_dir: &TempDir, folder: &str, number: u32) -> PathBuf {
    data_dir.path().join(format!(".tara-export/{folder}/{}.json", export(number).export_id))
}

#[tokio::test]
async fn failure_survives_restart_and_removes_entry() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.record(&export(1)).await.unwrap();
    assert_eq!(journal.failure(export(1).export_id).await.unwrap(), None);
    journal.set_failed(&failed(1, "denied: \"no\"")).await.unwrap();
    assert_eq!(journal.size().count, 0);

    let journal = open(&data_dir).await;
    assert_eq!(listed(&journal).await, []);
    let read = journal.failure(export(1).export_id).await.unwrap().unwrap();
    assert_eq!(read, failed(1, "denied: \"no\""));
    assert_eq!(read.export().state, ExportState::Failed);
    assert_eq!(read.export().state_reason, "STORE_DENIED");

    // The first failure stays.
    journal.set_failed(&failed(1, "another message")).await.unwrap();
    assert_eq!(journal.failure(export(1).export_id).await.unwrap().unwrap(), read);
    let other = FailedExport::new(
        running(&export(1)),
        ContentDigest { sha256: Sha256::of(b"other"), ..export(1).digest() },
        Failure::internal(""),
        seconds(1),
    );
    let error = journal.set_failed(&other).await.unwrap_err();
    assert_eq!(error.kind(), JournalErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn every_failure_reason_round_trips() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    let reasons = [
        FailureReason::StoreUnavailable,
        FailureReason::StoreDenied,
        FailureReason::StoreMisconfigured,
        FailureReason::StoreUnsafe,
        FailureReason::LocalStoreFull,
        FailureReason::DataLoss,
        FailureReason::RequestIdReused,
        FailureReason::Internal,
    ];
    for (number, reason) in (1..).zip(reasons) {
        let failed = FailedExport::new(
            committed(&export(number), StoreKind::Local),
            export(number).digest(),
            Failure { reason, message: "why".into() },
            seconds(number),
        );
        journal.set_failed(&failed).await.unwrap();
        assert_eq!(journal.failure(export(number).export_id).await.unwrap(), Some(failed));
        let text = fs::read_to_string(state_file(&data_dir, "failed", number)).unwrap();
        assert!(text.contains(&format!("\"{reason}\"")), "{text}");
    }
}

#[tokio::test]
async fn start_removes_entry_left_by_crash_after_failure_record() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.set_failed(&failed(1, "no")).await.unwrap();
    let other_content = export_of(1, "other.docx");
    for export in [export(1), other_content.clone(), export(2)] {
        journal.record(&export).await.unwrap();
    }
    let journal = open(&data_dir).await;
    assert_eq!(journal.size().count, 2);
    let listing = journal.entries(10).await.unwrap();
    let digests: Vec<_> = listing.entries.iter().map(|entry| entry.header.content_digest).collect();
    assert_eq!(digests, [other_content.content_digest, export(2).content_digest]);
}

#[tokio::test]
async fn newest_failures_are_listed_first_up_to_limit() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    assert_eq!(journal.failures().await.unwrap(), Failures::default());
    for number in [3, 1, 2] {
        journal.set_failed(&failed(number, "no")).await.unwrap();
    }
    fs::write(state_file(&data_dir, "failed", 4), "damaged").unwrap();
    let failures = journal.failures().await.unwrap();
    let expected: Vec<_> = [3, 2, 1].map(|number| failed(number, "no")).into();
    assert_eq!((&failures.newest, failures.count, failures.unreadable), (&expected, 4, 1));
    let two = journal.files.failures(2).unwrap();
    assert_eq!((&two.newest[..], two.count), (&expected[..2], 4));
}

#[tokio::test]
async fn damaged_failure_record_is_an_error_until_rewritten() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.record(&export(1)).await.unwrap();
    journal.set_failed(&failed(1, "no")).await.unwrap();
    let path = state_file(&data_dir, "failed", 1);
    let intact = fs::read(&path).unwrap();
    for index in 0..intact.len() {
        let mut changed = intact.clone();
        changed[index] ^= 1;
        fs::write(&path, changed).unwrap();
        let error = journal.failure(export(1).export_id).await.unwrap_err();
        assert!(error.to_string().contains("damaged"), "byte {index}: {error}");
        assert_eq!(error.kind(), JournalErrorKind::Unreadable);
    }
    // The record of another export under this name.
    journal.set_failed(&failed(2, "no")).await.unwrap();
    fs::copy(state_file(&data_dir, "failed", 2), &path).unwrap();
    assert!(journal.failure(export(1).export_id).await.is_err());
    journal.set_failed(&failed(1, "no")).await.unwrap();
    assert_eq!(journal.failure(export(1).export_id).await.unwrap(), Some(failed(1, "no")));
}

#[tokio::test]
async fn receipt_can_be_replaced() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    let local = committed(&export(1), StoreKind::Local);
    let fell_back = Receipt::new(local, export(1).digest(), seconds(1));
    assert_eq!(fell_back.export().state, ExportState::FellBack);
    journal.write_receipt(&fell_back).await.unwrap();
    assert_eq!(journal.receipt(export(1).export_id).await.unwrap(), Some(fell_back));
    journal.write_receipt(&receipt(1)).await.unwrap();
    assert_eq!(journal.receipt(export(1).export_id).await.unwrap(), Some(receipt(1)));
}

#[tokio::test]
async fn damaged_receipt_is_ignored_and_removed() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.write_receipt(&receipt(1)).await.unwrap();
    let path = state_file(&data_dir, "receipts", 1);
    let intact = fs::read(&path).unwrap();
    for length in 0..intact.len() {
        fs::write(&path, &intact[..length]).unwrap();
        assert_eq!(journal.receipt(export(1).export_id).await.unwrap(), None, "{length} bytes");
    }
    let removed = journal.remove_expired(KEEP_FOREVER, seconds(0)).await.unwrap();
    assert_eq!((removed.receipts, removed.failures), (1, 0));
    assert!(!path.exists());
}

#[tokio::test]
async fn state_files_of_later_release_stay() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    for folder in ["failed", "receipts"] {
        let path = state_file(&data_dir, folder, 1);
        let schema = format!("tara-export/{folder}/v2");
        state_file::write(&journal.files.disk, &path, &schema, &serde_json::json!({"other": 1}))
            .unwrap();
    }
    let error = journal.failure(export(1).export_id).await.unwrap_err();
    assert!(error.to_string().contains("later release"), "{error}");
    assert!(journal.set_failed(&failed(1, "no")).await.is_err());
    assert_eq!(journal.receipt(export(1).export_id).await.unwrap(), None);
    let removed = journal.remove_expired(KEEP_NOTHING, seconds(9)).await.unwrap();
    assert_eq!(removed, RemovedFiles::default());
    for folder in ["failed", "receipts"] {
        let text = fs::read_to_string(state_file(&data_dir, folder, 1)).unwrap();
        assert!(text.contains("v2"), "{text}");
    }
}

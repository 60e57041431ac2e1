//! Retention of receipts and failure records.

use tara_export_catalog::{Export, ExportState};
use tara_export_disk::batch;
use tara_export_store::StoreKind;

use super::{
    failures_and_receipts::{committed, failed, receipt, running, state_file},
    *,
};
use crate::export::failure::{Failure, FailureReason};

pub(super) const KEEP_FOREVER: JournalRetention =
    JournalRetention { receipts: Duration::MAX, failures: Duration::MAX };
pub(super) const KEEP_NOTHING: JournalRetention =
    JournalRetention { receipts: Duration::ZERO, failures: Duration::ZERO };

const MINUTE: JournalRetention =
    JournalRetention { receipts: Duration::from_secs(60), failures: Duration::from_secs(60) };

async fn open_with(data_dir: &TempDir, max_receipts: usize, max_failures: usize) -> Journal {
    let limits = JournalLimits { max_receipts, max_failures, ..NO_LIMIT };
    Journal::open(data_dir.path().to_owned(), limits).await.unwrap()
}

fn of_caller(mut accepted: AcceptedExport, caller: &str) -> AcceptedExport {
    accepted.requested_by = caller.to_owned();
    accepted
}

/// A failure of this caller at second `number`, optionally with its content stored under another id.
fn failed_by(caller: &str, number: u32, is_stored_under_other_id: bool) -> FailedExport {
    let accepted = of_caller(export(number), caller);
    let reason = FailureReason::StoreUnavailable;
    let export = Export { requested_by: caller.to_owned(), ..running(&accepted) };
    let failed = FailedExport::new(
        export,
        accepted.digest(),
        Failure { reason, message: "no".into() },
        seconds(number),
    );
    let other_id = ExportId::new(Uuid::from_u128(1_000_000 + u128::from(number)));
    failed.stored_under(is_stored_under_other_id.then_some(other_id))
}

fn receipt_of(caller: &str, number: u32) -> Receipt {
    let accepted = of_caller(export(number), caller);
    let export = Export { requested_by: caller.to_owned(), ..committed(&accepted, StoreKind::S3) };
    Receipt::new(export, accepted.digest(), seconds(number))
}

fn count(data_dir: &TempDir, folder: &str) -> usize {
    let folder = data_dir.path().join(".tara-export").join(folder);
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test]
async fn receipt_is_removed_after_its_retention() {
    for is_reopened in [false, true] {
        let data_dir = tempfile::tempdir().unwrap();
        let mut journal = open(&data_dir).await;
        let nothing = journal.remove_expired(MINUTE, seconds(0)).await.unwrap();
        assert_eq!(nothing, RemovedFiles::default());
        for number in [1, 2] {
            journal.write_receipt(&receipt(number)).await.unwrap();
        }
        if is_reopened {
            journal = open(&data_dir).await;
        }
        let read = journal.receipt(export(1).export_id).await.unwrap().unwrap();
        assert_eq!((&read, read.export().state), (&receipt(1), ExportState::Committed));
        assert_eq!(journal.receipt(export(3).export_id).await.unwrap(), None);

        // Setting the clock back removes nothing.
        for (now, left) in [(seconds(0), 2), (seconds(61), 2), (seconds(62), 1), (seconds(63), 0)] {
            journal.remove_expired(MINUTE, now).await.unwrap();
            let found = [
                journal.receipt(export(1).export_id).await.unwrap(),
                journal.receipt(export(2).export_id).await.unwrap(),
            ];
            assert_eq!(found.iter().flatten().count(), left, "at {now}");
        }
    }
}

#[tokio::test]
async fn retention_of_rewritten_receipt_starts_again() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    let first = Receipt::new(committed(&export(1), StoreKind::S3), export(1).digest(), seconds(1));
    let again = Receipt::new(committed(&export(1), StoreKind::S3), export(1).digest(), seconds(9));
    for receipt in [&first, &again] {
        journal.write_receipt(receipt).await.unwrap();
    }
    journal.remove_expired(MINUTE, seconds(65)).await.unwrap();
    assert_eq!(journal.receipt(export(1).export_id).await.unwrap(), Some(again));
}

#[tokio::test]
async fn failed_id_is_free_after_its_retention() {
    for is_reopened in [false, true] {
        let data_dir = tempfile::tempdir().unwrap();
        let mut journal = open(&data_dir).await;
        let (first, second) = (failed_by("a", 1, false), failed_by("a", 2, true));
        for failed in [&first, &second] {
            journal.set_failed(failed).await.unwrap();
        }
        if is_reopened {
            journal = open(&data_dir).await;
        }
        for (now, left) in [(seconds(0), 2), (seconds(61), 2), (seconds(62), 1), (seconds(63), 0)] {
            journal.remove_expired(MINUTE, now).await.unwrap();
            assert_eq!(journal.failures().await.unwrap().count, left, "at {now}");
        }
        assert_eq!(journal.failure(export(1).export_id).await.unwrap(), None);
        // The id can fail again.
        let later = FailedExport::new(
            running(&export(1)),
            export(1).digest(),
            Failure::internal(""),
            seconds(99),
        );
        journal.set_failed(&later).await.unwrap();
        assert_eq!(journal.failure(export(1).export_id).await.unwrap(), Some(later));
    }
}

/// The process ended, or the disk failed, between writing the failure record and removing the entry. Without the
/// record, the entry would be processed again and create a bundle after its failure was reported.
#[tokio::test]
async fn failure_record_is_kept_while_its_entry_exists() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.set_failed(&failed(1, "no")).await.unwrap();
    journal.record(&export(1)).await.unwrap();
    let removed = journal.remove_expired(MINUTE, seconds(9999)).await.unwrap();
    assert_eq!(removed.failures, 0);
    assert!(journal.failure(export(1).export_id).await.unwrap().is_some());
    // The next start removes the entry, and then the record can be removed.
    let journal = open(&data_dir).await;
    assert_eq!(listed(&journal).await, []);
    assert_eq!(journal.remove_expired(MINUTE, seconds(9999)).await.unwrap().failures, 1);
}

#[tokio::test]
async fn one_call_removes_limited_number_and_reports_more() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.write_receipt(&receipt(1)).await.unwrap();
    // Written directly to avoid one fsync per file.
    let text = fs::read_to_string(state_file(&data_dir, "receipts", 1)).unwrap();
    let id = export(1).export_id.to_string();
    for number in 2..=1_100 {
        let path = state_file(&data_dir, "receipts", number);
        let own_id = path.file_stem().unwrap().to_str().unwrap();
        let own_text = text.replace(&id, own_id);
        let envelope: serde_json::Value = serde_json::from_str(&own_text).unwrap();
        let schema = envelope["schema"].as_str().unwrap();
        let start = own_text.find("\"note\":").unwrap() + 7;
        let content = &own_text[start..own_text.len() - 1];
        let sha256 = Sha256::of(format!("{schema}\n{content}").as_bytes());
        fs::write(
            path,
            format!("{{\"schema\":\"{schema}\",\"sha256\":\"{sha256}\",\"note\":{content}}}"),
        )
        .unwrap();
    }
    let first = journal.remove_expired(MINUTE, seconds(9999)).await.unwrap();
    assert_eq!(first, RemovedFiles { receipts: 1_000, failures: 0, more: true });
    let second = journal.remove_expired(MINUTE, seconds(9999)).await.unwrap();
    assert_eq!(second, RemovedFiles { receipts: 100, failures: 0, more: false });
}

#[tokio::test]
async fn surplus_receipts_are_removed_from_caller_with_most() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open_with(&data_dir, 3, 9).await;
    journal.write_receipt(&receipt_of("few", 1)).await.unwrap();
    for number in 2..=6 {
        journal.write_receipt(&receipt_of("many", number)).await.unwrap();
        assert!(count(&data_dir, "receipts") <= 3);
    }
    for (number, is_there) in [(1, true), (2, false), (4, false), (5, true), (6, true)] {
        let found = journal.receipt(export(number).export_id).await.unwrap();
        assert_eq!(found.is_some(), is_there, "{number}");
    }
    // A lower limit applies from the next start.
    let journal = open_with(&data_dir, 1, 9).await;
    assert_eq!(journal.remove_expired(KEEP_FOREVER, seconds(0)).await.unwrap().receipts, 2);
    assert_eq!(count(&data_dir, "receipts"), 1);
}

#[tokio::test]
async fn limit_removes_only_failures_stored_under_other_id() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open_with(&data_dir, 9, 3).await;
    journal.set_failed(&failed_by("owner", 1, false)).await.unwrap();
    journal.set_failed(&failed_by("few", 2, true)).await.unwrap();
    let text = fs::read_to_string(state_file(&data_dir, "failed", 2)).unwrap();
    // The stored key differs from the field's name. Split, so that renaming the field does not change it.
    assert!(text.contains(concat!("\"kept", "_as\":")), "{text}");
    for number in 3..=20 {
        journal.set_failed(&failed_by("many", number, true)).await.unwrap();
        assert!(count(&data_dir, "failed") <= 1 + 3);
    }
    for (number, is_there) in [(1, true), (2, true), (18, false), (19, true), (20, true)] {
        let found = journal.failure(export(number).export_id).await.unwrap();
        assert_eq!(found.is_some(), is_there, "{number}");
    }
}

#[tokio::test]
async fn caller_with_too_many_failures_does_not_affect_others() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open_with(&data_dir, 9, 4).await;
    for number in 1..=4 {
        journal.check_failure_share("many").unwrap();
        journal.set_failed(&failed_by("many", number, false)).await.unwrap();
    }
    let error = journal.check_failure_share("many").unwrap_err();
    assert!(error.to_string().contains("MAX_FAILURE_RECORDS"), "{error}");
    assert_eq!(error.kind(), JournalErrorKind::Full);
    // Failures with content stored under another id do not count against the share.
    journal.set_failed(&failed_by("many", 9, true)).await.unwrap();
    journal.check_failure_share("other").unwrap();

    // The share also applies after a restart, once the folder was listed. Nothing is removed before its retention ends.
    let journal = open_with(&data_dir, 9, 4).await;
    journal.remove_expired(MINUTE, seconds(60)).await.unwrap();
    journal.check_failure_share("many").unwrap_err();
    journal.check_failure_share("other").unwrap();
    for number in 1..=4 {
        assert!(journal.failure(export(number).export_id).await.unwrap().is_some(), "{number}");
    }
    journal.remove_expired(MINUTE, seconds(62)).await.unwrap();
    journal.check_failure_share("many").unwrap();
}

/// A removal waits for a write of the same file, and then reads the new file.
#[tokio::test]
async fn removal_does_not_delete_file_being_written() {
    let (data_dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, other) = (open(&data_dir).await, open(&other_dir).await);
    let new = Receipt::new(committed(&export(1), StoreKind::S3), export(1).digest(), seconds(500));
    journal.write_receipt(&receipt(1)).await.unwrap();
    other.write_receipt(&new).await.unwrap();

    let (files, export_id) = (journal.files.clone(), export(1).export_id);
    let writing = files.retained.lock(export_id);
    let (done, removed) = std::sync::mpsc::channel();
    let remover = journal.files.clone();
    std::thread::spawn(move || {
        done.send(batch(|removals| remover.remove_receipt(export_id, Some(seconds(400)), removals)))
    });
    // Without the lock, the removal would be complete by then.
    removed.recv_timeout(Duration::from_millis(200)).unwrap_err();
    fs::copy(state_file(&other_dir, "receipts", 1), state_file(&data_dir, "receipts", 1)).unwrap();
    drop(writing);
    assert!(!removed.recv().unwrap().unwrap(), "the new receipt was removed");
    assert_eq!(journal.receipt(export_id).await.unwrap(), Some(new));
}

use tara_export_bundle::{
    AcceptedHeader, AcceptedTime, Destination, Fallback, FolderBase, FormatVersion,
};
use tara_export_digest::Sha256;
use tokio::time;

use super::*;

/// An export that was accepted in this second.
fn entry(second: u32) -> JournalEntry {
    let time = format!("2026-11-22T18:37:{second:02}Z");
    let accepted_time = AcceptedTime::new(time.parse().unwrap());
    JournalEntry {
        header: AcceptedHeader {
            export_id: id(second),
            content_digest: Sha256::of(&second.to_be_bytes()),
            accepted_time,
            format_version: FormatVersion::CURRENT,
            destination: Destination::S3,
            fallback: Fallback::Local,
            folder_base: FolderBase::new(&accepted_time, "a.docx"),
            requested_by: String::new(),
            document_name: "a.docx".to_owned(),
            session_id: String::new(),
            reviewer: String::new(),
            store_id: None,
        },
        size_bytes: 1,
        memory_bytes: 1,
    }
}

/// Later exports have smaller ids, so that the order of ids differs from the order of times.
fn id(second: u32) -> ExportId {
    ExportId::new(uuid::Uuid::from_u128(u128::from(60 - second)))
}

fn failure(reason: FailureReason) -> Failure {
    Failure { reason, message: "no".to_owned() }
}

fn remove(backlog: &Backlog, entry: &JournalEntry) {
    backlog.remove(entry.header.export_id, entry.header.content_digest);
}

/// Takes the entry that is due now, if any.
fn take(backlog: &Backlog) -> Option<(ExportId, Task)> {
    match backlog.take_next(None, |_| None) {
        NextTask::Due(entry, task) => Some((entry.header.export_id, task)),
        NextTask::At(_) | NextTask::Nothing => None,
    }
}

/// The time until the next entry is due.
fn pause(backlog: &Backlog, breaker_open_until: Option<Instant>) -> Duration {
    match backlog.take_next(breaker_open_until, |_| None) {
        NextTask::At(time) => time - Instant::now(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn entries_are_taken_once_oldest_first() {
    let backlog = Backlog::default();
    assert!(matches!(backlog.take_next(None, |_| None), NextTask::Nothing));
    for second in [3, 1, 2] {
        backlog.push(entry(second), Task::Export, Duration::ZERO);
    }
    assert_eq!(backlog.oldest(), Some(entry(1).header.accepted_time));
    for second in 1..=3 {
        assert_eq!(take(&backlog), Some((id(second), Task::Export)));
    }
    // All are in progress, but remain in the backlog.
    assert!(matches!(backlog.take_next(None, |_| None), NextTask::Nothing));
    assert_eq!(backlog.oldest(), Some(entry(1).header.accepted_time));
    remove(&backlog, &entry(1));
    assert_eq!(backlog.oldest(), Some(entry(2).header.accepted_time));
    assert!(backlog.get(&entry(1)).is_none() && backlog.get(&entry(2)).is_some());
}

#[tokio::test(start_paused = true)]
async fn due_entry_is_taken_before_older_entry_that_is_not_due() {
    let backlog = Backlog::default();
    backlog.push(entry(1), Task::Export, Duration::from_secs(9));
    backlog.push(entry(2), Task::Export, Duration::from_secs(5));
    backlog.push(entry(3), Task::Export, Duration::ZERO);
    assert_eq!(take(&backlog), Some((id(3), Task::Export)));
    assert_eq!(pause(&backlog, None), Duration::from_secs(5));
    time::advance(Duration::from_secs(5)).await;
    assert_eq!(take(&backlog), Some((id(2), Task::Export)));
    time::advance(Duration::from_secs(4)).await;
    assert_eq!(take(&backlog), Some((id(1), Task::Export)));
}

#[tokio::test(start_paused = true)]
async fn open_breaker_delays_only_sync_tasks() {
    let backlog = Backlog::default();
    backlog.push(entry(1), Task::Sync, Duration::ZERO);
    backlog.push(entry(2), Task::Export, Duration::ZERO);
    let open_until = Some(Instant::now() + Duration::from_secs(7));
    // A new bundle may be written to the local store.
    assert!(matches!(backlog.take_next(open_until, |_| None), NextTask::Due(entry, Task::Export)
        if entry.header.export_id == id(2)));
    assert_eq!(pause(&backlog, open_until), Duration::from_secs(7));
    time::advance(Duration::from_secs(7)).await;
    assert!(matches!(backlog.take_next(open_until, |_| None), NextTask::Due(_, Task::Sync)));
    // The pause of the entry may be longer.
    backlog.push(entry(3), Task::Sync, Duration::from_secs(9));
    let open_until = Some(Instant::now() + Duration::from_secs(7));
    assert_eq!(pause(&backlog, open_until), Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn push_replaces_the_task_of_an_entry() {
    let backlog = Backlog::default();
    backlog.push(entry(1), Task::Export, Duration::ZERO);
    backlog.postpone(&entry(1), Task::Export, failure(FailureReason::StoreUnavailable));
    assert!(backlog.find_with_bundle(id(1)).is_none());
    backlog.push(entry(1), Task::Sync, Duration::ZERO);
    let waiting = backlog.find_with_bundle(id(1)).unwrap();
    assert_eq!((waiting.task, waiting.entry), (Task::Sync, entry(1)));
    assert!(backlog.failed(9).is_empty(), "the new task has not failed");
    assert_eq!(take(&backlog), Some((id(1), Task::Sync)));
    assert!(
        matches!(backlog.take_next(None, |_| None), NextTask::Nothing),
        "the entry is there twice"
    );
    // Also while the previous task is in progress.
    backlog.push(entry(1), Task::Sync, Duration::from_secs(5));
    assert_eq!(pause(&backlog, None), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn each_failure_doubles_the_pause_up_to_the_limit() {
    let backlog = Backlog::default();
    backlog.push(entry(1), Task::Sync, Duration::ZERO);
    let mut expected = Duration::from_secs(1);
    for number in 1..=20 {
        assert_eq!(take(&backlog), Some((id(1), Task::Sync)), "after failure {}", number - 1);
        backlog.postpone(&entry(1), Task::Sync, failure(FailureReason::DataLoss));
        let pause = pause(&backlog, None);
        // Jitter at most doubles the pause.
        assert!((expected..expected * 2).contains(&pause), "failure {number}: {pause:?}");
        expected = (expected * 2).min(MAX_PAUSE);
        // One millisecond more, because the clock has millisecond resolution.
        time::advance(pause + Duration::from_millis(1)).await;
    }
    assert_eq!(expected, MAX_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn failed_entries_are_listed_with_reason_and_do_not_block_others() {
    let backlog = Backlog::default();
    for second in 1..=3 {
        backlog.push(entry(second), Task::Sync, Duration::ZERO);
    }
    assert_eq!(take(&backlog), Some((id(1), Task::Sync)));
    backlog.postpone(&entry(1), Task::Sync, failure(FailureReason::DataLoss));
    assert_eq!(take(&backlog), Some((id(2), Task::Sync)));
    backlog.postpone(&entry(2), Task::Sync, failure(FailureReason::StoreDenied));
    assert_eq!(take(&backlog), Some((id(3), Task::Sync)));
    let listed = |limit| -> Vec<_> {
        let failed = backlog.failed(limit).into_iter();
        failed
            .map(|waiting| (waiting.entry.header.export_id, waiting.last_failure.unwrap().reason))
            .collect()
    };
    let all = [(id(1), FailureReason::DataLoss), (id(2), FailureReason::StoreDenied)];
    assert_eq!(listed(9), all);
    assert_eq!(listed(1), all[..1]);
}

#[tokio::test(start_paused = true)]
async fn postpone_adds_an_unknown_entry_with_its_task() {
    let backlog = Backlog::default();
    backlog.postpone(&entry(1), Task::Export, failure(FailureReason::StoreUnavailable));
    assert!(take(&backlog).is_none());
    time::advance(Duration::from_secs(2)).await;
    assert_eq!(take(&backlog), Some((id(1), Task::Export)));
}

#[tokio::test(start_paused = true)]
async fn end_of_outage_makes_only_its_entries_due() {
    let backlog = Backlog::default();
    for _ in 0..8 {
        backlog.postpone(&entry(1), Task::Sync, failure(FailureReason::StoreDenied));
        backlog.postpone(&entry(2), Task::Sync, failure(FailureReason::StoreUnavailable));
    }
    backlog.push(entry(3), Task::Sync, Duration::from_secs(400));
    assert!(pause(&backlog, None) >= Duration::from_secs(128));
    backlog.end_outage();
    assert_eq!(take(&backlog), Some((id(2), Task::Sync)));
    assert!(take(&backlog).is_none());
    // The pauses of the next outage start short again.
    backlog.postpone(&entry(2), Task::Sync, failure(FailureReason::StoreUnavailable));
    assert!(pause(&backlog, None) < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn waiting_worker_is_notified_of_every_change() {
    let backlog = Backlog::default();
    let changes: [&dyn Fn(); 3] = [
        &|| backlog.push(entry(1), Task::Sync, Duration::ZERO),
        &|| backlog.postpone(&entry(1), Task::Sync, failure(FailureReason::StoreUnavailable)),
        &|| backlog.end_outage(),
    ];
    for change in changes {
        // A change is not missed if no worker waits yet.
        change();
        time::timeout(Duration::from_secs(1), backlog.changed()).await.unwrap();
        assert!(time::timeout(Duration::from_secs(1), backlog.changed()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn suspects_are_taken_one_at_a_time_after_all_others() {
    let backlog = Backlog::default();
    for second in [1, 2, 3, 4] {
        backlog.push(entry(second), Task::Export, Duration::ZERO);
    }
    // The oldest entry has two crashes, the next one none.
    let crash_count = |entry: &JournalEntry| match entry.header.export_id {
        export_id if export_id == id(1) => Some(2),
        export_id if export_id == id(2) => Some(0),
        _ => None,
    };
    let take = || match backlog.take_next(None, crash_count) {
        NextTask::Due(entry, _) => Some(entry.header.export_id),
        _ => None,
    };
    assert_eq!(take(), Some(id(3)));
    assert_eq!(take(), Some(id(4)));
    assert_eq!(take(), None, "others are in progress");
    remove(&backlog, &entry(3));
    assert_eq!(take(), None, "another entry is in progress");
    remove(&backlog, &entry(4));
    assert_eq!(take(), Some(id(2)), "the suspect with the fewest crashes");
    assert_eq!(take(), None, "one at a time");
    backlog.push(entry(5), Task::Export, Duration::ZERO);
    assert_eq!(take(), None, "a suspect runs alone");
    remove(&backlog, &entry(2));
    assert_eq!(take(), Some(id(5)));
    remove(&backlog, &entry(5));
    assert_eq!(take(), Some(id(1)));
}

/// An entry of other content under the id of the export of second 1, accepted later.
fn sibling() -> JournalEntry {
    let mut sibling = entry(3);
    sibling.header.export_id = id(1);
    sibling
}

#[tokio::test(start_paused = true)]
async fn entries_of_one_id_are_removed_separately() {
    for removes_first in [true, false] {
        let backlog = Backlog::default();
        let (first, second) = (entry(1), sibling());
        backlog.push(first.clone(), Task::Export, Duration::ZERO);
        backlog.push(second.clone(), Task::Sync, Duration::ZERO);
        assert_eq!(backlog.oldest(), Some(first.header.accepted_time));
        let (gone, left) = if removes_first { (&first, &second) } else { (&second, &first) };
        remove(&backlog, gone);
        assert_eq!(backlog.oldest(), Some(left.header.accepted_time), "{removes_first}");
        assert!(backlog.get(gone).is_none() && backlog.get(left).is_some() && backlog.has(id(1)));
        backlog.postpone(left, Task::Export, failure(FailureReason::StoreDenied));
        assert_eq!(backlog.failed(9).len(), 1);
        remove(&backlog, left);
        assert_eq!(backlog.oldest(), None);
        assert!(matches!(backlog.take_next(None, |_| None), NextTask::Nothing));
        assert!(!backlog.has(id(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn entries_of_one_id_are_taken_one_at_a_time() {
    let backlog = Backlog::default();
    backlog.push(sibling(), Task::Sync, Duration::ZERO);
    backlog.push(entry(1), Task::Export, Duration::ZERO);
    backlog.push(entry(2), Task::Export, Duration::ZERO);
    assert_eq!(take(&backlog), Some((id(1), Task::Export)));
    assert_eq!(take(&backlog), Some((id(2), Task::Export)));
    assert!(take(&backlog).is_none(), "the other entry is in progress");
    // The waiting worker is notified when the other entry ends.
    let _ = time::timeout(Duration::from_secs(1), backlog.changed()).await;
    remove(&backlog, &entry(1));
    time::timeout(Duration::from_secs(1), backlog.changed()).await.unwrap();
    assert_eq!(take(&backlog), Some((id(1), Task::Sync)));
    assert_eq!(backlog.find_with_bundle(id(1)).unwrap().entry, sibling());
}

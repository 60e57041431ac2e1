use std::{collections::BTreeSet, path::Path};

use tara_export_clock::SystemClock;
use tara_export_store::local::LocalStore;
use tempfile::TempDir;

use super::*;
use crate::export::{
    drive::job::pending_run,
    failure::{Failure, FailureReason},
    journal::{EntryKey, Journal, JournalEntry, JournalLimits},
    recover::{backlog::NextTask, status, unread::Limits},
    settings::Stores,
    testing::{export, settings, shared},
};

const LIMITS: Limits = Limits { window: 8, window_low: 4, window_high: 16, queue: 20 };

/// The state of a server with this data directory, without background tasks.
async fn started(data_dir: &Path) -> Arc<Shared> {
    let local = Arc::new(LocalStore::open(data_dir.to_owned()).unwrap());
    let stores = Stores { s3: None, local };
    let mut shared = shared(data_dir, stores, settings(), Arc::new(SystemClock)).await;
    let count = shared.journal().unwrap().size().count;
    shared.unread.limits = LIMITS;
    shared.unread.start(count);
    Arc::new(shared)
}

/// A directory with `count` accepted exports.
async fn filled(count: u32) -> TempDir {
    let data_dir = tempfile::tempdir().unwrap();
    let limits = JournalLimits::NONE;
    let journal = Journal::open(data_dir.path().to_owned(), limits).await.unwrap();
    // Not in the order of acceptance.
    for number in (0..count).map(|number| number * 7 % count) {
        journal.record(&export(number)).await.unwrap();
    }
    journal.finish().await;
    data_dir
}

fn take(shared: &Shared) -> Option<JournalEntry> {
    match shared.backlog.take_next(None, |_| None) {
        NextTask::Due(entry, _) => Some(*entry),
        NextTask::At(_) | NextTask::Nothing => None,
    }
}

fn number_of(entry: &JournalEntry) -> u32 {
    u32::try_from(entry.header.export_id.as_uuid().as_u128()).unwrap()
}

/// Ends the export as committed.
async fn done(shared: &Shared, entry: &JournalEntry) {
    let (export_id, digest) = (entry.header.export_id, entry.header.content_digest);
    shared.journal().unwrap().remove(export_id, digest).await.unwrap();
    shared.backlog.remove(export_id, digest);
    shared.registry.forget(export_id, entry.header.digest());
    shared.tally.change(ExportState::Pending, ExportState::Committed);
}

fn postpone(shared: &Shared, entry: &JournalEntry) {
    let failure = Failure { reason: FailureReason::StoreDenied, message: String::new() };
    shared.backlog.postpone(entry, Task::Export, failure);
}

#[tokio::test]
async fn entries_beyond_the_window_are_read_once_oldest_first() {
    const COUNT: u32 = 60;
    let data_dir = filled(COUNT).await;
    let shared = started(data_dir.path()).await;
    for number in 0..COUNT {
        fill(&shared).await.unwrap();
        assert!(shared.backlog.len() <= LIMITS.window, "{}", shared.backlog.len());
        let status = status::status(&shared).await.unwrap();
        let left = u64::from(COUNT - number);
        assert_eq!((status.counts.started, status.counts.pending), (u64::from(COUNT), left));
        let oldest = [shared.backlog.oldest(), shared.unread.oldest()].into_iter().flatten().min();
        assert_eq!(oldest, Some(export(number).accepted_time));
        let entry = take(&shared).unwrap();
        assert_eq!(number_of(&entry), number);
        done(&shared, &entry).await;
    }
    fill(&shared).await.unwrap();
    assert_eq!((shared.backlog.len(), shared.unread.count()), (0, 0));
    assert_eq!(shared.unread.oldest(), None);
}

#[tokio::test]
async fn blocked_entries_are_evicted_and_read_again() {
    const COUNT: u32 = 60;
    let data_dir = filled(COUNT).await;
    let shared = started(data_dir.path()).await;
    let mut tried = BTreeSet::new();
    for _ in 0..COUNT {
        fill(&shared).await.unwrap();
        assert!(shared.backlog.len() <= LIMITS.window);
        while let Some(entry) = take(&shared) {
            tried.insert(number_of(&entry));
            postpone(&shared, &entry);
        }
        let counts = status::status(&shared).await.unwrap().counts;
        assert_eq!((counts.started, counts.pending), (COUNT.into(), COUNT.into()));
        assert_eq!(
            shared.backlog.oldest(),
            Some(export(0).accepted_time),
            "the oldest is not evicted"
        );
        rotate(&shared);
    }
    assert_eq!(tried, (0..COUNT).collect());
    // After a restart, the oldest entries beyond the window come first.
    shared.unread.restart();
    fill(&shared).await.unwrap();
    for number in 0..u32::try_from(LIMITS.window).unwrap() {
        assert!(shared.backlog.has(export(number).export_id), "{number}");
    }
}

#[tokio::test]
async fn exports_accepted_in_an_outage_are_evicted_without_subscriber() {
    const COUNT: u32 = 40;
    let data_dir = filled(0).await;
    let shared = started(data_dir.path()).await;
    let (mut subscribed, mut entries) = (None, Vec::new());
    for number in 0..COUNT {
        let entry = shared.journal().unwrap().record(&export(number)).await.unwrap();
        let run = pending_run(&shared, &entry);
        postpone(&shared, &entry);
        entries.push(entry);
        if number == COUNT - 1 {
            subscribed = Some(run);
        }
    }
    fill(&shared).await.unwrap();
    assert_eq!(shared.backlog.len(), LIMITS.window);
    assert_eq!(shared.unread.count(), u64::from(COUNT) - LIMITS.window as u64);
    assert!(shared.registry.get(export(COUNT - 2).export_id).is_none());
    assert!(shared.backlog.has(subscribed.unwrap().export_id()));
    let counts = status::status(&shared).await.unwrap().counts;
    assert_eq!((counts.started, counts.pending), (COUNT.into(), COUNT.into()));
    let mut numbers = BTreeSet::new();
    while numbers.len() < COUNT as usize {
        fill(&shared).await.unwrap();
        // Treat failed entries as due now.
        for number in 0..COUNT {
            let Some(waiting) = shared.backlog.get(&entries[number as usize]) else { continue };
            assert!(numbers.insert(number), "{number} is read twice");
            done(&shared, &waiting.entry).await;
        }
    }
    fill(&shared).await.unwrap();
    assert_eq!((shared.backlog.len(), shared.unread.count()), (0, 0));
}

#[tokio::test]
async fn second_content_of_an_id_is_read_after_the_first_ends() {
    let data_dir = filled(1).await;
    let shared = started(data_dir.path()).await;
    let other = export(9);
    let other = tara_export_bundle::AcceptedExport { export_id: export(0).export_id, ..other };
    shared.journal().unwrap().record(&other).await.unwrap();
    fill(&shared).await.unwrap();
    let first = take(&shared).unwrap();
    assert_eq!(first.header.content_digest, export(0).content_digest);
    assert!(take(&shared).is_none());
    done(&shared, &first).await;
    // Normally called after a pause.
    shared.unread.retry_failed();
    fill(&shared).await.unwrap();
    assert_eq!(take(&shared).unwrap().header.content_digest, other.content_digest);
}

#[tokio::test]
async fn entries_of_another_process_are_left_even_if_own_ones_are_evicted() {
    const LEFT: u32 = 30;
    const OWN: u32 = 40;
    let data_dir = filled(LEFT).await;
    let shared = started(data_dir.path()).await;
    shared.unread.start(0);
    shared.unread.leave(EntryKey::last_at(export(LEFT - 1).accepted_time));
    let mut entries = Vec::new();
    for number in LEFT..LEFT + OWN {
        let entry = shared.journal().unwrap().record(&export(number)).await.unwrap();
        pending_run(&shared, &entry);
        postpone(&shared, &entry);
        entries.push(entry);
    }
    let mut numbers = BTreeSet::new();
    while numbers.len() < OWN as usize {
        fill(&shared).await.unwrap();
        assert!(shared.backlog.len() <= LIMITS.window_high);
        for entry in &entries {
            let Some(waiting) = shared.backlog.get(entry) else { continue };
            assert!(numbers.insert(number_of(&waiting.entry)));
            done(&shared, &waiting.entry).await;
        }
    }
    fill(&shared).await.unwrap();
    assert_eq!(shared.backlog.len(), 0);
    assert_eq!(numbers, (LEFT..LEFT + OWN).collect());
    assert_eq!(shared.journal().unwrap().size().count, u64::from(LEFT));
}

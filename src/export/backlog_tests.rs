use tokio::time;

use super::*;
use crate::{
    bundle::{AcceptedHeader, AcceptedTime, Destination, Fallback, FolderBase, FormatVersion},
    digest::Sha256,
};

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
        },
        size_bytes: 1,
        memory_bytes: 1,
    }
}

/// The later an export, the smaller its id, so that the order of ids is not that of times.
fn id(second: u32) -> ExportId {
    ExportId::new(uuid::Uuid::from_u128(u128::from(60 - second)))
}

fn setback(reason: FailureReason) -> Outage {
    Outage { reason, message: "no".to_owned() }
}

/// What is to be done now, if anything is.
fn take(backlog: &Backlog) -> Option<(ExportId, Task)> {
    match backlog.take(None, |_| None) {
        Taken::Now(entry, task) => Some((entry.header.export_id, task)),
        Taken::At(_) | Taken::Nothing => None,
    }
}

/// How long there is nothing to do.
fn pause(backlog: &Backlog, s3_closed_until: Option<Instant>) -> Duration {
    match backlog.take(s3_closed_until, |_| None) {
        Taken::At(time) => time - Instant::now(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_comes_first_and_each_once() {
    let backlog = Backlog::default();
    assert!(matches!(backlog.take(None, |_| None), Taken::Nothing));
    for second in [3, 1, 2] {
        backlog.push(entry(second), Task::Carry, Duration::ZERO);
    }
    assert_eq!(backlog.oldest(), Some(entry(1).header.accepted_time));
    for second in 1..=3 {
        assert_eq!(take(&backlog), Some((id(second), Task::Carry)));
    }
    // All are being worked on, and known still.
    assert!(matches!(backlog.take(None, |_| None), Taken::Nothing));
    assert_eq!(backlog.oldest(), Some(entry(1).header.accepted_time));
    backlog.remove(id(1));
    assert_eq!(backlog.oldest(), Some(entry(2).header.accepted_time));
    assert!(backlog.get(id(1)).is_none() && backlog.get(id(2)).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_due_lets_the_younger_go_first_and_says_when_it_is() {
    let backlog = Backlog::default();
    backlog.push(entry(1), Task::Carry, Duration::from_secs(9));
    backlog.push(entry(2), Task::Carry, Duration::from_secs(5));
    backlog.push(entry(3), Task::Carry, Duration::ZERO);
    assert_eq!(take(&backlog), Some((id(3), Task::Carry)));
    assert_eq!(pause(&backlog, None), Duration::from_secs(5));
    time::advance(Duration::from_secs(5)).await;
    assert_eq!(take(&backlog), Some((id(2), Task::Carry)));
    time::advance(Duration::from_secs(4)).await;
    assert_eq!(take(&backlog), Some((id(1), Task::Carry)));
}

#[tokio::test(start_paused = true)]
async fn while_s3_is_closed_only_what_is_for_s3_alone_waits() {
    let backlog = Backlog::default();
    backlog.push(entry(1), Task::Drain, Duration::ZERO);
    backlog.push(entry(2), Task::Carry, Duration::ZERO);
    let closed_until = Some(Instant::now() + Duration::from_secs(7));
    // To carry an export it may go to the local store.
    assert!(matches!(backlog.take(closed_until, |_| None), Taken::Now(entry, Task::Carry)
        if entry.header.export_id == id(2)));
    assert_eq!(pause(&backlog, closed_until), Duration::from_secs(7));
    time::advance(Duration::from_secs(7)).await;
    assert!(matches!(backlog.take(closed_until, |_| None), Taken::Now(_, Task::Drain)));
    // Its own pause may be the longer one.
    backlog.push(entry(3), Task::Drain, Duration::from_secs(9));
    let closed_until = Some(Instant::now() + Duration::from_secs(7));
    assert_eq!(pause(&backlog, closed_until), Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn a_new_task_takes_the_place_of_the_old_one() {
    let backlog = Backlog::default();
    backlog.push(entry(1), Task::Carry, Duration::ZERO);
    backlog.postpone(&entry(1), Task::Carry, setback(FailureReason::StoreUnavailable));
    assert_eq!(backlog.with_bundle(id(1)), None);
    backlog.push(entry(1), Task::Drain, Duration::ZERO);
    assert_eq!(backlog.with_bundle(id(1)), Some((Task::Drain, entry(1).header.digest())));
    assert!(backlog.set_back(9).is_empty(), "the old task's setback is not the new one's");
    assert_eq!(take(&backlog), Some((id(1), Task::Drain)));
    assert!(matches!(backlog.take(None, |_| None), Taken::Nothing), "it is there twice");
    // While the old one ends, too.
    backlog.push(entry(1), Task::Drain, Duration::from_secs(5));
    assert_eq!(pause(&backlog, None), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn each_setback_doubles_the_pause_up_to_the_longest() {
    let backlog = Backlog::default();
    backlog.push(entry(1), Task::Drain, Duration::ZERO);
    let mut expected = Duration::from_secs(1);
    for number in 1..=20 {
        assert_eq!(take(&backlog), Some((id(1), Task::Drain)), "after setback {}", number - 1);
        backlog.postpone(&entry(1), Task::Drain, setback(FailureReason::DataLoss));
        let pause = pause(&backlog, None);
        // Jitter makes it longer, at most twice as long.
        assert!((expected..expected * 2).contains(&pause), "setback {number}: {pause:?}");
        expected = (expected * 2).min(LONGEST_PAUSE);
        // A moment more: the clock counts whole milliseconds.
        time::advance(pause + Duration::from_millis(1)).await;
    }
    assert_eq!(expected, LONGEST_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn what_is_set_back_is_told_with_its_reason_and_lets_the_others_go_first() {
    let backlog = Backlog::default();
    for second in 1..=3 {
        backlog.push(entry(second), Task::Drain, Duration::ZERO);
    }
    assert_eq!(take(&backlog), Some((id(1), Task::Drain)));
    backlog.postpone(&entry(1), Task::Drain, setback(FailureReason::DataLoss));
    assert_eq!(take(&backlog), Some((id(2), Task::Drain)));
    backlog.postpone(&entry(2), Task::Drain, setback(FailureReason::StoreDenied));
    assert_eq!(take(&backlog), Some((id(3), Task::Drain)));
    let told = |limit| -> Vec<_> {
        let set_back = backlog.set_back(limit).into_iter();
        set_back
            .map(|waiting| (waiting.entry.header.export_id, waiting.setback.unwrap().reason))
            .collect()
    };
    let all = [(id(1), FailureReason::DataLoss), (id(2), FailureReason::StoreDenied)];
    assert_eq!(told(9), all);
    assert_eq!(told(1), all[..1]);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_there_comes_with_its_task_when_it_is_postponed() {
    let backlog = Backlog::default();
    backlog.postpone(&entry(1), Task::Carry, setback(FailureReason::StoreUnavailable));
    assert!(take(&backlog).is_none());
    time::advance(Duration::from_secs(2)).await;
    assert_eq!(take(&backlog), Some((id(1), Task::Carry)));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_outage_frees_what_waited_for_it_and_nothing_else() {
    let backlog = Backlog::default();
    for _ in 0..8 {
        backlog.postpone(&entry(1), Task::Drain, setback(FailureReason::StoreDenied));
        backlog.postpone(&entry(2), Task::Drain, setback(FailureReason::StoreUnavailable));
    }
    backlog.push(entry(3), Task::Drain, Duration::from_secs(400));
    assert!(pause(&backlog, None) >= Duration::from_secs(128));
    backlog.end_outage();
    assert_eq!(take(&backlog), Some((id(2), Task::Drain)));
    assert!(take(&backlog).is_none());
    // The next outage is a new one, and its pauses are short again.
    backlog.postpone(&entry(2), Task::Drain, setback(FailureReason::StoreUnavailable));
    assert!(pause(&backlog, None) < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn who_waits_hears_of_everything_new_to_do() {
    let backlog = Backlog::default();
    let changes: [&dyn Fn(); 3] = [
        &|| backlog.push(entry(1), Task::Drain, Duration::ZERO),
        &|| backlog.postpone(&entry(1), Task::Drain, setback(FailureReason::StoreUnavailable)),
        &|| backlog.end_outage(),
    ];
    for change in changes {
        // Nobody waits yet: it is not missed.
        change();
        time::timeout(Duration::from_secs(1), backlog.changed()).await.unwrap();
        assert!(time::timeout(Duration::from_secs(1), backlog.changed()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn suspects_come_one_at_a_time_after_all_others() {
    let backlog = Backlog::default();
    for second in [1, 2, 3, 4] {
        backlog.push(entry(second), Task::Carry, Duration::ZERO);
    }
    // The oldest has two deaths, the next one none.
    let deaths = |entry: &JournalEntry| match entry.header.export_id {
        export_id if export_id == id(1) => Some(2),
        export_id if export_id == id(2) => Some(0),
        _ => None,
    };
    let take = || match backlog.take(None, deaths) {
        Taken::Now(entry, _) => Some(entry.header.export_id),
        _ => None,
    };
    assert_eq!(take(), Some(id(3)));
    assert_eq!(take(), Some(id(4)));
    assert_eq!(take(), None, "others are in work");
    backlog.remove(id(3));
    assert_eq!(take(), None, "another is in work");
    backlog.remove(id(4));
    assert_eq!(take(), Some(id(2)), "the one with the fewest deaths");
    assert_eq!(take(), None, "one at a time");
    backlog.push(entry(5), Task::Carry, Duration::ZERO);
    assert_eq!(take(), None, "nothing beside it");
    backlog.remove(id(2));
    assert_eq!(take(), Some(id(5)));
    backlog.remove(id(5));
    assert_eq!(take(), Some(id(1)));
}

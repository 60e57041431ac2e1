//! Tests of the queues.

use tara_export_events::testing::sample;

use super::*;

const HOOK: &str = "hook";
const MAIL: &str = "mail";

fn queue(targets: &[(&str, u64)]) -> Queue {
    let mut queue = Queue::default();
    let rules = |seconds: u64| TargetRules { digest: Duration::from_secs(seconds) };
    let targets = targets.iter().map(|(name, digest)| ((*name).to_owned(), rules(*digest)));
    assert_eq!(queue.set_targets(targets, time(0)), []);
    queue
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn insert(queue: &mut Queue, event_type: EventType, number: u32, targets: &[&str]) -> EventId {
    let stored = StoredEvent::new(sample(event_type, number));
    let event_id = stored.event.id();
    let targets = targets.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(queue.insert(&stored, targets, &[], Instant::now()), None);
    event_id
}

fn send(queue: &mut Queue, name: &str) -> Vec<EventId> {
    match queue.next(&name.to_owned(), Instant::now()) {
        NextDelivery::Send(events) => events,
        next => panic!("nothing is due: {next:?}"),
    }
}

fn error(kind: SendErrorKind) -> SendError {
    SendError::new(kind, "it failed")
}

fn fail(queue: &mut Queue, name: &str, events: &[EventId], error: &SendError) -> Vec<Ended> {
    queue.end_sending(&name.to_owned());
    queue.failed(&name.to_owned(), events, error, (Instant::now(), time(100)), 128)
}

fn answer(queue: &mut Queue, name: &str, events: &[EventId]) -> Vec<Ended> {
    queue.end_sending(&name.to_owned());
    queue.answered(&name.to_owned(), events, time(100))
}

#[tokio::test(start_paused = true)]
async fn synced_waits_for_fell_back_of_the_same_target() {
    let mut queue = queue(&[(HOOK, 0), (MAIL, 0)]);
    let fell_back = insert(&mut queue, EventType::FellBack, 1, &[HOOK, MAIL]);
    let synced = insert(&mut queue, EventType::Synced, 1, &[HOOK, MAIL]);
    let other = insert(&mut queue, EventType::Committed, 2, &[HOOK]);
    assert_eq!(send(&mut queue, HOOK), [fell_back]);
    // Other exports do not wait.
    assert_eq!(send(&mut queue, HOOK), [other]);
    assert_eq!(queue.next(&HOOK.to_owned(), Instant::now()), NextDelivery::Nothing);
    assert_eq!(answer(&mut queue, HOOK, &[fell_back]), []);
    assert_eq!(send(&mut queue, HOOK), [synced]);
    // The other target is where it was.
    assert_eq!(send(&mut queue, MAIL), [fell_back]);
    assert_eq!(fail(&mut queue, MAIL, &[fell_back], &error(SendErrorKind::Refused)), []);
    assert!(matches!(queue.next(&MAIL.to_owned(), Instant::now()), NextDelivery::At(_)));
    let ended = queue.expire(time(1_000_000), Duration::from_secs(1_000));
    // `synced` is in flight to the other target.
    let ended: Vec<_> = ended.iter().map(|ended| (ended.event_id, ended.dead.len())).collect();
    assert_eq!(ended, [(fell_back, 1)]);
}

#[tokio::test(start_paused = true)]
async fn failing_target_is_tried_with_one_event_and_then_gets_all() {
    let mut queue = queue(&[(HOOK, 0)]);
    let events: Vec<EventId> =
        (1..=10).map(|number| insert(&mut queue, EventType::Committed, number, &[HOOK])).collect();
    let in_flight: Vec<EventId> = (0..MAX_PARALLEL).flat_map(|_| send(&mut queue, HOOK)).collect();
    assert_eq!(in_flight, events[..MAX_PARALLEL]);
    assert_eq!(queue.next(&HOOK.to_owned(), Instant::now()), NextDelivery::Nothing);
    for event_id in in_flight {
        assert_eq!(fail(&mut queue, HOOK, &[event_id], &error(SendErrorKind::Unavailable)), []);
    }
    let NextDelivery::At(next) = queue.next(&HOOK.to_owned(), Instant::now()) else { panic!() };
    assert_eq!(next - Instant::now(), TARGET_PAUSE.0);
    tokio::time::advance(TARGET_PAUSE.0).await;
    assert_eq!(send(&mut queue, HOOK), [events[0]]);
    assert_eq!(queue.next(&HOOK.to_owned(), Instant::now()), NextDelivery::Nothing);
    answer(&mut queue, HOOK, &[events[0]]);
    let rest: Vec<EventId> = (0..MAX_PARALLEL).flat_map(|_| send(&mut queue, HOOK)).collect();
    assert_eq!(rest, events[1..=MAX_PARALLEL]);
}

#[tokio::test(start_paused = true)]
async fn pause_of_a_failing_target_grows_and_respects_what_it_asked_for() {
    let mut queue = queue(&[(HOOK, 0)]);
    let event = insert(&mut queue, EventType::Committed, 1, &[HOOK]);
    let mut pauses = Vec::new();
    for _ in 0..20 {
        assert_eq!(send(&mut queue, HOOK), [event]);
        fail(&mut queue, HOOK, &[event], &error(SendErrorKind::Unavailable));
        let NextDelivery::At(next) = queue.next(&HOOK.to_owned(), Instant::now()) else { panic!() };
        pauses.push(next - Instant::now());
        tokio::time::advance(next - Instant::now()).await;
    }
    assert_eq!((pauses[0], *pauses.last().unwrap()), TARGET_PAUSE);
    send(&mut queue, HOOK);
    let hour = Duration::from_secs(3_600);
    let limited = SendError { retry_after: Some(hour), ..error(SendErrorKind::Unavailable) };
    fail(&mut queue, HOOK, &[event], &limited);
    assert_eq!(
        queue.next(&HOOK.to_owned(), Instant::now()),
        NextDelivery::At(Instant::now() + hour)
    );
}

#[tokio::test(start_paused = true)]
async fn target_that_is_gone_waits_for_a_changed_file() {
    let mut queue = queue(&[(HOOK, 0)]);
    let event = insert(&mut queue, EventType::Committed, 1, &[HOOK]);
    send(&mut queue, HOOK);
    assert_eq!(fail(&mut queue, HOOK, &[event], &error(SendErrorKind::Gone)), []);
    tokio::time::advance(Duration::from_secs(100_000)).await;
    assert_eq!(queue.next(&HOOK.to_owned(), Instant::now()), NextDelivery::Nothing);
    let rules = TargetRules { digest: Duration::ZERO };
    assert_eq!(queue.set_targets([(HOOK.to_owned(), rules)], time(0)), []);
    assert_eq!(send(&mut queue, HOOK), [event]);
}

#[tokio::test(start_paused = true)]
async fn digest_collects_events() {
    let mut queue = queue(&[(MAIL, 60)]);
    let first = insert(&mut queue, EventType::FellBack, 1, &[MAIL]);
    let NextDelivery::At(due) = queue.next(&MAIL.to_owned(), Instant::now()) else { panic!() };
    assert_eq!(due - Instant::now(), Duration::from_secs(60));
    tokio::time::advance(Duration::from_secs(59)).await;
    let second = insert(&mut queue, EventType::FellBack, 2, &[MAIL]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(send(&mut queue, MAIL), [first, second]);
    let ended = answer(&mut queue, MAIL, &[first, second]);
    assert_eq!(ended.iter().map(|ended| ended.event_id).collect::<Vec<_>>(), [first, second]);
}

#[tokio::test(start_paused = true)]
async fn event_ends_when_every_target_answered_or_was_given_up() {
    let mut queue = queue(&[(HOOK, 0), (MAIL, 0)]);
    let event = insert(&mut queue, EventType::Committed, 1, &[HOOK, MAIL]);
    send(&mut queue, HOOK);
    send(&mut queue, MAIL);
    assert!(queue.has_others(event, &HOOK.to_owned()));
    assert_eq!(answer(&mut queue, HOOK, &[event]), []);
    assert!(!queue.has_others(event, &MAIL.to_owned()));
    let ended = fail(&mut queue, MAIL, &[event], &error(SendErrorKind::Rejected));
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].targets, [HOOK, MAIL]);
    assert_eq!(ended[0].dead[0].target, MAIL);
    assert!(queue.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn oldest_events_are_given_up_beyond_the_limit() {
    let mut queue = queue(&[(HOOK, 0)]);
    let events: Vec<EventId> =
        (1..=5).map(|number| insert(&mut queue, EventType::Committed, number, &[HOOK])).collect();
    let ended = queue.limit(3, time(0));
    let ids: Vec<EventId> = ended.iter().map(|ended| ended.event_id).collect();
    assert_eq!(ids, events[..2]);
    assert!(ended[0].dead[0].reason.starts_with("OUTBOX_FULL"), "{ended:?}");
    assert_eq!(send(&mut queue, HOOK), [events[2]]);
}

#[tokio::test(start_paused = true)]
async fn events_of_a_removed_target_are_given_up() {
    let mut queue = queue(&[(HOOK, 0), (MAIL, 0)]);
    insert(&mut queue, EventType::Committed, 1, &[HOOK]);
    insert(&mut queue, EventType::Committed, 2, &[HOOK, MAIL]);
    let rules = TargetRules { digest: Duration::ZERO };
    let ended = queue.set_targets([(MAIL.to_owned(), rules)], time(0));
    assert_eq!(ended.len(), 1);
    assert!(ended[0].dead[0].reason.starts_with("TARGET_REMOVED"), "{ended:?}");
    let left = send(&mut queue, MAIL);
    assert_eq!(answer(&mut queue, MAIL, &left)[0].dead.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn target_that_answered_before_a_restart_gets_nothing_again() {
    let mut queue = queue(&[(HOOK, 0), (MAIL, 0)]);
    let stored = StoredEvent::new(sample(EventType::Committed, 1));
    let targets = vec![HOOK.to_owned(), MAIL.to_owned()];
    let answered = [HOOK.to_owned()];
    assert_eq!(queue.insert(&stored, targets.clone(), &answered, Instant::now()), None);
    assert_eq!(queue.next(&HOOK.to_owned(), Instant::now()), NextDelivery::Nothing);
    assert_eq!(send(&mut queue, MAIL), [stored.event.id()]);
    let other = StoredEvent::new(sample(EventType::Committed, 2));
    let ended = queue.insert(&other, targets.clone(), &targets, Instant::now()).unwrap();
    assert_eq!((ended.targets, ended.dead), (targets, Vec::new()));
}

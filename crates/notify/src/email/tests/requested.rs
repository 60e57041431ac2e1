use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::*;

fn requested(event_type: EventType, number: u32, recipients: &[&str]) -> Event {
    let mut event = sample(event_type, number);
    event.recipients = recipients.iter().map(|&text| text.to_owned()).collect();
    event
}

#[tokio::test]
async fn each_recipient_gets_one_mail_about_its_events() {
    let peer = Peer::start(Security::Loopback, |_| None).await;
    let target = patient(&peer, Recipients::Requested);
    let events = [
        requested(EventType::Committed, 1, &["a@example.com", "A@EXAMPLE.com", "b@example.com"]),
        requested(EventType::FellBack, 2, &["a@example.com"]),
        requested(EventType::Failed, 3, &["c@example.com"]),
    ];
    assert_eq!(target.send(&events).await, Ok(()));
    assert_eq!(peer.recipients(), ["a@example.com", "b@example.com", "c@example.com"]);
    let received = peer.received();
    assert_eq!(received.connections, 1);
    let mails: Vec<String> = received
        .messages
        .iter()
        .map(|bytes| {
            let mail = mail_parser::MessageParser::default().parse(bytes).unwrap();
            mail.body_text(0).unwrap().into_owned()
        })
        .collect();
    let listed = |number: usize| -> Vec<bool> {
        let has = |event: &Event| mails[number].contains(&event.subject_id().to_string());
        events.iter().map(has).collect()
    };
    assert_eq!(listed(0), [true, true, false]);
    assert_eq!(listed(1), [true, false, false]);
    assert_eq!(listed(2), [false, false, true]);
}

#[tokio::test]
async fn retry_mails_only_recipients_without_an_answer() {
    let is_busy = Arc::new(AtomicBool::new(true));
    let busy = Arc::clone(&is_busy);
    let peer = Peer::start(Security::Loopback, move |command| match command {
        "RCPT TO:<b@example.com>" if busy.load(Ordering::SeqCst) => {
            Some(Reply::Text("450 4.2.1 busy\r\n"))
        }
        "RCPT TO:<c@example.com>" => Some(Reply::Text("550 5.1.1 unknown\r\n")),
        _ => None,
    })
    .await;
    let target = patient(&peer, Recipients::Requested);
    let addresses =
        ["a@example.com", "b@example.com", "c@example.com", "d@example.com", "not an address"];
    let events = [requested(EventType::FellBack, 1, &addresses)];
    let (kind, _) = kind_and_message(target.send(&events).await);
    assert_eq!(kind, SendErrorKind::Refused);
    assert_eq!(peer.recipients(), &addresses[..4]);
    assert_eq!(peer.received().messages.len(), 2);
    is_busy.store(false, Ordering::SeqCst);
    assert_eq!(target.send(&events).await, Ok(()));
    assert_eq!(peer.recipients()[4..], ["b@example.com"]);
    assert_eq!(target.send(&events).await, Ok(()));
    assert_eq!(peer.received().messages.len(), 3);
    // Another event of the same export is another mail.
    let next = [requested(EventType::Synced, 1, &["a@example.com"])];
    assert_eq!(target.send(&next).await, Ok(()));
    assert_eq!(peer.received().messages.len(), 4);
}

#[tokio::test]
async fn recipients_before_an_outage_are_not_mailed_again() {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let peer = Peer::start(Security::Loopback, move |command| {
        (command == "RCPT TO:<b@example.com>" && down.load(Ordering::SeqCst))
            .then_some(Reply::Close)
    })
    .await;
    let target = patient(&peer, Recipients::Requested);
    let events =
        [requested(EventType::Failed, 1, &["a@example.com", "b@example.com", "c@example.com"])];
    assert_eq!(kind_and_message(target.send(&events).await).0, SendErrorKind::Unavailable);
    is_down.store(false, Ordering::SeqCst);
    assert_eq!(target.send(&events).await, Ok(()));
    let expected = ["a@example.com", "b@example.com", "c@example.com", "b@example.com"];
    assert_eq!(peer.recipients(), expected);
}

#[tokio::test]
async fn recipient_at_which_the_server_hangs_does_not_keep_others_from_their_mails() {
    let peer = Peer::start(Security::Loopback, |command| {
        (command == "RCPT TO:<a@example.com>").then_some(Reply::Hang)
    })
    .await;
    let mut target = patient(&peer, Recipients::Requested);
    target.timeout = Duration::from_millis(400);
    let events = [
        requested(EventType::Failed, 1, &["a@example.com", "b@example.com"]),
        requested(EventType::Failed, 2, &["c@example.com"]),
    ];
    let deadline = Instant::now() + Duration::from_secs(60);
    while peer.received().messages.len() < 2 {
        assert!(Instant::now() < deadline);
        assert_eq!(kind_and_message(target.send(&events).await).0, SendErrorKind::Unavailable);
    }
    let mailed: BTreeSet<String> = peer.recipients().into_iter().collect();
    assert_eq!(mailed.len(), 3);
}

#[tokio::test]
async fn event_that_reached_no_recipient_is_rejected_and_the_others_are_not_sent_again() {
    let peer = Peer::start(Security::Loopback, |command| {
        command.contains("unknown@").then_some(Reply::Text("550 5.1.1 unknown\r\n"))
    })
    .await;
    let target = patient(&peer, Recipients::Requested);
    let rejected = requested(EventType::Failed, 1, &["unknown@example.com"]);
    let accepted = requested(EventType::Failed, 2, &["a@example.com", "unknown@example.com"]);
    let (kind, message) =
        kind_and_message(target.send(&[rejected.clone(), accepted.clone()]).await);
    assert_eq!(kind, SendErrorKind::Rejected);
    assert!(message.starts_with("1 of 2 events have no recipient"), "{message}");
    assert_eq!(target.send(&[accepted]).await, Ok(()));
    assert_eq!(kind_and_message(target.send(&[rejected]).await).0, SendErrorKind::Rejected);
    assert_eq!(peer.received().messages.len(), 1);
    assert_eq!(peer.recipients().len(), 2);
}

#[tokio::test]
async fn server_that_ends_after_a_rejection_gets_the_next_mail_in_a_new_conversation() {
    let peer = Peer::start(Security::Loopback, |command| match command {
        "RCPT TO:<a@example.com>" => Some(Reply::Text("550 no\r\n")),
        "RSET" => Some(Reply::Close),
        _ => None,
    })
    .await;
    let target = patient(&peer, Recipients::Requested);
    let events = [requested(EventType::Failed, 1, &["a@example.com", "b@example.com"])];
    assert_eq!(target.send(&events).await, Ok(()));
    assert_eq!(peer.received().connections, 2);
    assert_eq!(peer.received().messages.len(), 1);
}

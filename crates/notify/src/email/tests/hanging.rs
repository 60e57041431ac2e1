use std::time::Instant;

use tokio::task::JoinSet;

use super::*;

const TIMEOUT: Duration = Duration::from_millis(400);

/// All steps at which a server can stop to answer, with the security at which they occur.
const STEPS: [(&str, Security); 10] = [
    ("HANDSHAKE", Security::Tls),
    ("CONNECT", Security::Loopback),
    ("EHLO", Security::Loopback),
    ("STARTTLS", Security::StartTls),
    ("HANDSHAKE", Security::StartTls),
    ("AUTH", Security::Tls),
    ("MAIL", Security::Loopback),
    ("RCPT", Security::Loopback),
    ("DATA", Security::Loopback),
    ("MESSAGE", Security::StartTls),
];

async fn send_and_measure(
    step: &'static str,
    security: Security,
    reply: fn() -> Reply,
) -> (Result<(), SendError>, Duration) {
    let peer = Peer::start(security, move |command| is_step(step, command).then(reply)).await;
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "secret\n").unwrap();
    let login = Login { username: "ada".to_owned(), password_file };
    let recipients = listed(&["a@example.com"]);
    let target =
        target_of(peer.server.clone(), &peer.authorities, Some(login), recipients, TIMEOUT);
    let started = Instant::now();
    let result = target.send(&[sample(EventType::Failed, 1)]).await;
    (result, started.elapsed())
}

/// Checks at all these steps at once that the server is left after the time limit.
async fn assert_is_left(
    steps: impl Iterator<Item = (&'static str, Security)>,
    reply: fn() -> Reply,
) {
    let mut sends = JoinSet::new();
    for (step, security) in steps {
        sends.spawn(async move { (step, send_and_measure(step, security, reply).await) });
    }
    while let Some(sent) = sends.join_next().await {
        let (step, (result, elapsed)) = sent.unwrap();
        let (kind, message) = kind_and_message(result);
        assert_eq!(kind, SendErrorKind::Unavailable, "{step} {message}");
        assert!(message.contains("took more than 400ms"), "{step} {message}");
        assert!(elapsed < Duration::from_secs(20), "{step} {elapsed:?}");
    }
}

#[tokio::test]
async fn server_that_hangs_at_any_step_is_left_after_the_time_limit() {
    assert_is_left(STEPS.into_iter(), || Reply::Hang).await;
}

/// lettre's own timeout starts again with every byte (lettre/lettre#1027).
#[tokio::test]
async fn server_that_sends_byte_by_byte_is_left_after_the_time_limit() {
    let steps = STEPS.into_iter().filter(|(step, _)| *step != "HANDSHAKE");
    assert_is_left(steps, || Reply::Drip).await;
}

#[tokio::test]
async fn mail_is_delivered_although_the_server_hangs_at_the_end() {
    let (result, elapsed) = send_and_measure("QUIT", Security::Loopback, || Reply::Hang).await;
    assert_eq!(result, Ok(()));
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
}

#[tokio::test]
async fn check_is_left_after_the_time_limit() {
    for step in ["CONNECT", "EHLO", "NOOP"] {
        let script = move |command: &str| is_step(step, command).then_some(Reply::Hang);
        let peer = Peer::start(Security::Loopback, script).await;
        let recipients = listed(&["a@example.com"]);
        let target = target_of(peer.server.clone(), &peer.authorities, None, recipients, TIMEOUT);
        let (kind, message) = kind_and_message(target.check().await);
        assert_eq!(kind, SendErrorKind::Unavailable, "{step} {message}");
    }
}

#[tokio::test]
async fn line_that_never_ends_is_not_read_into_memory() {
    for (step, security) in STEPS.into_iter().filter(|(step, _)| *step != "HANDSHAKE") {
        let script = move |command: &str| is_step(step, command).then_some(Reply::Flood);
        let peer = Peer::start(security, script).await;
        let mut target = patient(&peer, listed(&["a@example.com"]));
        let folder = tempfile::tempdir().unwrap();
        let password_file = folder.path().join("password");
        std::fs::write(&password_file, "secret").unwrap();
        let login = Login { username: "ada".to_owned(), password_file };
        target.mailer = Mailer::new(peer.server.clone(), Some(login), &peer.authorities).unwrap();
        let (kind, message) = kind_and_message(target.send(&[sample(EventType::Failed, 1)]).await);
        assert_eq!(kind, SendErrorKind::Unavailable, "{step} {message}");
        assert!(message.contains("sends more than a conversation needs"), "{step} {message}");
    }
}

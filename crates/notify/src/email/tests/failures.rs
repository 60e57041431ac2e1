use super::*;

async fn send_with_reply(
    step: &'static str,
    text: &'static str,
    login: Option<Login>,
) -> (Result<(), SendError>, peer::Received) {
    let script = move |command: &str| is_step(step, command).then_some(Reply::Text(text));
    let peer = Peer::start(Security::Loopback, script).await;
    let mut target = patient(&peer, listed(&["a@example.com", "b@example.com"]));
    target.mailer = Mailer::new(peer.server.clone(), login, &peer.authorities).unwrap();
    let result = target.send(&[sample(EventType::Failed, 1)]).await;
    (result, peer.received())
}

#[tokio::test]
async fn answer_decides_the_kind_of_failure() {
    for (step, text, expected) in [
        ("CONNECT", "421 4.3.2 closing\r\n", SendErrorKind::Unavailable),
        ("CONNECT", "554 no service\r\n", SendErrorKind::Unavailable),
        ("EHLO", "502 no\r\n", SendErrorKind::Unavailable),
        ("MAIL", "451 later\r\n", SendErrorKind::Unavailable),
        ("MAIL", "530 5.7.0 authenticate\r\n", SendErrorKind::Unavailable),
        ("MAIL", "553 not your address\r\n", SendErrorKind::Unavailable),
        ("RCPT", "421 closing\r\n", SendErrorKind::Unavailable),
        ("RCPT", "450 4.2.1 mailbox busy\r\n", SendErrorKind::Refused),
        ("RCPT", "452 4.2.2 mailbox full\r\n", SendErrorKind::Refused),
        ("RCPT", "550 5.1.1 no such user\r\n", SendErrorKind::Rejected),
        ("RCPT", "530 5.7.0 authenticate\r\n", SendErrorKind::Unavailable),
        ("DATA", "451 later\r\n", SendErrorKind::Refused),
        ("DATA", "554 no\r\n", SendErrorKind::Rejected),
        ("MESSAGE", "421 closing\r\n", SendErrorKind::Unavailable),
        ("MESSAGE", "451 4.7.1 later\r\n", SendErrorKind::Refused),
        ("MESSAGE", "552 5.3.4 too large\r\n", SendErrorKind::Rejected),
        // No failure by their first digit, but not the answer to this step.
        ("MAIL", "354 go on\r\n", SendErrorKind::Unavailable),
        ("RCPT", "354 go on\r\n", SendErrorKind::Unavailable),
        ("DATA", "250 done\r\n", SendErrorKind::Unavailable),
        ("MESSAGE", "354 go on\r\n", SendErrorKind::Unavailable),
        ("RCPT", "999 what\r\n", SendErrorKind::Unavailable),
        ("RCPT", "\r\n", SendErrorKind::Unavailable),
        ("RCPT", "\u{fffd}\r\n", SendErrorKind::Unavailable),
    ] {
        let (kind, message) = kind_and_message(send_with_reply(step, text, None).await.0);
        assert_eq!(kind, expected, "{step} {text:?}: {message}");
    }
    for step in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "MESSAGE"] {
        let script = move |command: &str| is_step(step, command).then_some(Reply::Close);
        let peer = Peer::start(Security::Loopback, script).await;
        let target = patient(&peer, listed(&["a@example.com"]));
        let (kind, message) = kind_and_message(target.send(&[sample(EventType::Failed, 1)]).await);
        assert_eq!(kind, SendErrorKind::Unavailable, "{step}: {message}");
    }
}

#[tokio::test]
async fn one_rejected_address_rejects_the_mail_to_a_list() {
    let (result, received) =
        send_with_reply("RCPT TO:<b@", "550 5.1.1 no such user\r\n", None).await;
    let (kind, message) = kind_and_message(result);
    assert_eq!(kind, SendErrorKind::Rejected);
    assert!(
        message.contains("refused the recipient b…@example.com (550): 5.1.1 no such user"),
        "{message}"
    );
    assert!(received.messages.is_empty());
}

#[tokio::test]
async fn message_has_one_line_without_addresses() {
    let text = "550-5.1.1 <b@example.com>: \x1b[31m\u{202e}unknown\r\n550 see ada.lovelace@example.com\r\n";
    let (_, message) = kind_and_message(send_with_reply("RCPT TO:<b@", text, None).await.0);
    assert!(message.contains("unknown") && !message.contains("ada.lovelace"), "{message}");
    assert!(!message.contains("<b@example.com>"), "{message}");
    assert!(!message.chars().any(super::line::is_unprintable), "{message:?}");
}

#[tokio::test]
async fn password_is_in_no_message() {
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "correct-horse\n").unwrap();
    let login = Login { username: "ada".to_owned(), password_file: password_file.clone() };
    for (step, text) in [
        // With the password, as the client sent it and as it is.
        ("AUTH", "535 5.7.8 AUTH PLAIN AGFkYQBjb3JyZWN0LWhvcnNl correct-horse is wrong\r\n"),
        ("AUTH", "454 try again, correct-horse\r\n"),
        ("AUTH", "501 correct-horse\r\n"),
        ("AUTH", "250 correct-horse\r\n"),
        ("AUTH", "334 correct-horse\r\n"),
        ("AUTH", "correct-horse\r\n"),
        ("MAIL", "550 correct-horse\r\n"),
        ("RCPT", "450 for correct-horse\r\n"),
    ] {
        let result = send_with_reply(step, text, Some(login.clone())).await.0;
        let (kind, message) = kind_and_message(result);
        assert!(!message.contains("correct-horse"), "{message}");
        assert!(!message.contains("AGFkYQBjb3JyZWN0LWhvcnNl"), "{message}");
        if step == "AUTH" {
            assert_eq!(kind, SendErrorKind::Unavailable, "{message}");
        }
    }
    let refused = send_with_reply("AUTH", "535 no\r\n", Some(login.clone())).await.0;
    let (_, message) = kind_and_message(refused);
    assert!(
        message.ends_with("refused the credentials (535): check username and password_file"),
        "{message}"
    );
    let target_text = format!("{login:?}");
    assert!(!target_text.contains("correct-horse"));
    // The password is read for each delivery.
    std::fs::write(&password_file, "").unwrap();
    let (_, message) = kind_and_message(send_with_reply("NONE", "", Some(login)).await.0);
    assert!(message.contains("cannot read password_file"), "{message}");
}

#[tokio::test]
async fn server_without_authentication_gets_no_mail_of_a_target_with_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "secret").unwrap();
    let login = Login { username: "ada".to_owned(), password_file };
    let (result, received) = send_with_reply("EHLO", "250 peer\r\n", Some(login)).await;
    assert_eq!(kind_and_message(result).0, SendErrorKind::Unavailable);
    assert!(received.messages.is_empty());
}

#[tokio::test]
async fn closed_port_is_unavailable() {
    let peer = Peer::start(Security::Loopback, |_| None).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let server = Server { port, host: "127.0.0.1".to_owned(), ..peer.server.clone() };
    let timeout = Duration::from_secs(60);
    let target = target_of(server, &peer.authorities, None, listed(&["a@example.com"]), timeout);
    for result in [target.send(&[sample(EventType::Failed, 1)]).await, target.check().await] {
        let (kind, message) = kind_and_message(result);
        assert_eq!(kind, SendErrorKind::Unavailable);
        assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
    }
}

#[tokio::test]
async fn list_gets_one_mail_about_all_events() {
    let (result, received) = send_with_reply("NONE", "", None).await;
    assert_eq!(result, Ok(()));
    let steps: Vec<&str> = received.commands.iter().map(String::as_str).collect();
    assert_eq!(
        steps,
        [
            "EHLO [127.0.0.1]",
            "MAIL FROM:<audit@example.com>",
            "RCPT TO:<a@example.com>",
            "RCPT TO:<b@example.com>",
            "DATA",
            "QUIT"
        ]
    );
    assert_eq!(received.messages.len(), 1);
}

use super::*;

#[tokio::test]
async fn mail_is_sent_in_each_way() {
    for security in [Security::Tls, Security::StartTls, Security::Loopback] {
        let peer = Peer::start(security, |_| None).await;
        let target = patient(&peer, listed(&["a@example.com"]));
        assert_eq!(target.check().await, Ok(()), "{security:?}");
        assert_eq!(target.send(&[sample(EventType::Failed, 1)]).await, Ok(()), "{security:?}");
        let received = peer.received();
        assert_eq!(received.messages.len(), 1, "{security:?}");
        let is_started = received.commands.iter().any(|command| command == "STARTTLS");
        assert_eq!(is_started, security == Security::StartTls);
    }
}

#[tokio::test]
async fn nothing_is_sent_without_starttls() {
    for (step, reply) in [
        ("EHLO", "250-peer\r\n250 8BITMIME\r\n"),
        ("STARTTLS", "454 not now\r\n"),
        ("STARTTLS", "502 no\r\n"),
    ] {
        let script = move |command: &str| is_step(step, command).then_some(Reply::Text(reply));
        let peer = Peer::start(Security::StartTls, script).await;
        let target = patient(&peer, listed(&["a@example.com"]));
        let (kind, message) = kind_and_message(target.send(&[sample(EventType::Failed, 1)]).await);
        assert_eq!(kind, SendErrorKind::Unavailable);
        assert!(message.contains("STARTTLS"), "{message}");
        let is_sent = |command: &String| command.starts_with("MAIL") || command.starts_with("AUTH");
        assert!(!peer.received().commands.iter().any(is_sent));
    }
}

/// As in CVE-2011-0411, in the direction of the client: an attacker on the network adds responses before TLS starts.
#[tokio::test]
async fn responses_before_tls_are_not_taken_for_encrypted_ones() {
    let peer = Peer::start(Security::StartTls, |command| {
        let injected = "220 go ahead\r\n250-peer\r\n250 AUTH PLAIN\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n";
        is_step("STARTTLS", command).then_some(Reply::Text(injected))
    })
    .await;
    let target = patient(&peer, listed(&["a@example.com"]));
    let (kind, message) = kind_and_message(target.send(&[sample(EventType::Failed, 1)]).await);
    assert_eq!(kind, SendErrorKind::Unavailable);
    assert!(message.contains("cannot start TLS"), "{message}");
}

#[tokio::test]
async fn certificates_of_other_authorities_and_names_are_refused() {
    for security in [Security::Tls, Security::StartTls] {
        let peer = Peer::start(security, |_| None).await;
        let other = Peer::start(security, |_| None).await;
        let address = Server { host: "127.0.0.1".to_owned(), ..peer.server.clone() };
        for (server, authorities) in
            [(peer.server.clone(), &other.authorities), (address, &peer.authorities)]
        {
            let recipients = listed(&["a@example.com"]);
            let timeout = Duration::from_secs(60);
            let target = target_of(server, authorities, None, recipients, timeout);
            let (kind, message) =
                kind_and_message(target.send(&[sample(EventType::Failed, 1)]).await);
            assert_eq!(kind, SendErrorKind::Unavailable);
            assert!(message.contains("certificate"), "{message}");
        }
        assert!(peer.received().messages.is_empty());
    }
}

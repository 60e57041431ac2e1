//! Tests with Mailpit and Postfix, which `.ci/real-mail` starts.

use std::{env, path::PathBuf};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run .ci/real-mail"))
}

/// One of the Mailpit servers.
struct Mailpit {
    server: Server,
    api_port: u16,
}

impl Mailpit {
    /// The server with this security.
    fn new(security: Security) -> Self {
        match security {
            Security::Loopback => Self::named("PLAIN", security),
            Security::StartTls => Self::named("STARTTLS", security),
            Security::Tls => Self::named("TLS", security),
        }
    }

    /// The server that one test lets refuse mails.
    fn in_chaos() -> Self {
        Self::named("CHAOS", Security::Loopback)
    }

    fn named(name: &str, security: Security) -> Self {
        let port = |kind| variable(&format!("TARA_TEST_MAIL_{name}_{kind}")).parse().unwrap();
        let server = Server { host: "localhost".to_owned(), port: port("PORT"), security };
        Self { server, api_port: port("API") }
    }

    /// Calls the API, over HTTP/1.0 so that the response is not chunked.
    async fn call(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.api_port)).await.unwrap();
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{response}");
        body.to_owned()
    }

    /// The mails to this address: raw, and without their order.
    async fn mails_to(&self, address: &str) -> Vec<Vec<u8>> {
        let path = format!("/api/v1/search?query=to:{address}");
        let found: Value = serde_json::from_str(&self.call("GET", &path, "").await).unwrap();
        let mut mails = Vec::new();
        for message in found["messages"].as_array().unwrap() {
            let path = format!("/api/v1/message/{}/raw", message["ID"].as_str().unwrap());
            mails.push(self.call("GET", &path, "").await.into_bytes());
        }
        mails
    }

    /// Lets Mailpit refuse each step with these codes: of Authentication, Recipient or Sender.
    async fn refuse(&self, codes: &[(&str, u16)]) {
        let mut triggers = json!({});
        for step in ["Authentication", "Recipient", "Sender"] {
            let code = codes.iter().find(|(name, _)| *name == step).map(|(_, code)| *code);
            let probability = if code.is_some() { 100 } else { 0 };
            triggers[step] =
                json!({ "ErrorCode": code.unwrap_or(451), "Probability": probability });
        }
        self.call("PUT", "/api/v1/chaos", &triggers.to_string()).await;
    }
}

fn authorities() -> Authorities {
    Authorities::read(&PathBuf::from(variable("TARA_TEST_MAIL_CA"))).unwrap()
}

fn real_target(server: Server, password: Option<&str>, recipients: Recipients) -> EmailTarget {
    let timeout = Duration::from_secs(60);
    let target = |login| target_of(server, &authorities(), login, recipients, timeout);
    let Some(password) = password else { return target(None) };
    // Kept: the password is read for each delivery.
    let password_file = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
    std::fs::write(&password_file, password).unwrap();
    target(Some(Login { username: "ada".to_owned(), password_file }))
}

#[tokio::test]
#[ignore = "needs Mailpit: .ci/real-mail"]
async fn mailpit_gets_mails_with_and_without_tls() {
    for (security, password) in [
        (Security::Loopback, None),
        (Security::StartTls, Some("correct-horse")),
        (Security::Tls, Some("correct-horse")),
    ] {
        let mailpit = Mailpit::new(security);
        let recipients = listed(&["tls@example.com", "b@münchen.example"]);
        let target = real_target(mailpit.server.clone(), password, recipients);
        assert_eq!(target.check().await, Ok(()), "{security:?}");
        let events = [sample(EventType::FellBack, 1), sample(EventType::FellBack, 2)];
        assert_eq!(target.send(&events).await, Ok(()), "{security:?}");
        let mails = mailpit.mails_to("tls@example.com").await;
        let parsed = mail_parser::MessageParser::default().parse(&mails[0]).unwrap();
        assert_eq!(parsed.subject(), Some("tara-export: 2 exports fell back to local disk"));
        assert_eq!(parsed.header_raw("Auto-Submitted").unwrap().trim(), "auto-generated");
        let id = parsed.message_id().unwrap();
        assert!(id.starts_with(&events[0].id().to_string()), "{id}");
        assert_eq!(parsed.to().unwrap().iter().count(), 2);
        assert!(parsed.body_text(0).unwrap().contains("STORE_UNAVAILABLE"));
        assert!(parsed.body_html(0).unwrap().contains("STORE_UNAVAILABLE"));
    }
}

#[tokio::test]
#[ignore = "needs Mailpit: .ci/real-mail"]
async fn mailpit_refuses_a_wrong_password() {
    for security in [Security::StartTls, Security::Tls] {
        let mailpit = Mailpit::new(security);
        let recipients = || listed(&["refused@example.com"]);
        let target = real_target(mailpit.server.clone(), Some("battery-staple"), recipients());
        for result in [target.check().await, target.send(&[sample(EventType::Failed, 1)]).await] {
            let (kind, message) = kind_and_message(result);
            assert_eq!(kind, SendErrorKind::Unavailable, "{message}");
            assert!(message.contains("refused the credentials (535)"), "{message}");
            assert!(!message.contains("battery-staple"), "{message}");
        }
        let target = real_target(mailpit.server.clone(), None, recipients());
        let (kind, message) = kind_and_message(target.send(&[sample(EventType::Failed, 1)]).await);
        assert_eq!(kind, SendErrorKind::Unavailable, "{message}");
        assert!(mailpit.mails_to("refused@example.com").await.is_empty());
    }
}

#[tokio::test]
#[ignore = "needs Mailpit: .ci/real-mail"]
async fn mailpit_in_chaos_gets_the_mail_afterwards() {
    let mailpit = Mailpit::in_chaos();
    let mut event = sample(EventType::Failed, 1);
    event.recipients = vec!["chaos@example.com".to_owned()];
    let events = [event];
    let target = real_target(mailpit.server.clone(), None, listed(&["chaos@example.com"]));
    for (step, code, expected) in [
        ("Sender", 451, SendErrorKind::Unavailable),
        ("Sender", 554, SendErrorKind::Unavailable),
        ("Recipient", 421, SendErrorKind::Unavailable),
        ("Recipient", 451, SendErrorKind::Refused),
        ("Recipient", 550, SendErrorKind::Rejected),
    ] {
        mailpit.refuse(&[(step, code)]).await;
        let (kind, message) = kind_and_message(target.send(&events).await);
        assert_eq!(kind, expected, "{step} {code} {message}");
    }
    let requested = real_target(mailpit.server.clone(), None, Recipients::Requested);
    mailpit.refuse(&[("Recipient", 451)]).await;
    assert_eq!(kind_and_message(requested.send(&events).await).0, SendErrorKind::Refused);
    mailpit.refuse(&[]).await;
    assert_eq!(requested.send(&events).await, Ok(()));
    assert_eq!(requested.send(&events).await, Ok(()));
    assert_eq!(mailpit.mails_to("chaos@example.com").await.len(), 1);
}

fn postfix() -> Server {
    let port = variable("TARA_TEST_POSTFIX_PORT").parse().unwrap();
    Server { host: "localhost".to_owned(), port, security: Security::StartTls }
}

/// The mails in the folder of this recipient, once there are that many.
async fn delivered(recipient: &str, count: usize) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(variable("TARA_TEST_POSTFIX_MAIL")).join(recipient).join("new");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    loop {
        interval.tick().await;
        let paths: Vec<PathBuf> = std::fs::read_dir(&folder)
            .map(|files| files.map(|file| file.unwrap().path()).collect())
            .unwrap_or_default();
        if paths.len() >= count {
            return paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        }
        let log = || std::fs::read_to_string(variable("TARA_TEST_POSTFIX_LOG"));
        assert!(tokio::time::Instant::now() < deadline, "{:?}", log());
    }
}

#[tokio::test]
#[ignore = "needs Postfix: .ci/real-mail"]
async fn postfix_delivers_and_refuses_by_recipient() {
    let send = async |addresses: &[&str], event: Event| {
        real_target(postfix(), None, listed(addresses)).send(&[event]).await
    };
    assert_eq!(real_target(postfix(), None, listed(&["ada@example.test"])).check().await, Ok(()));
    let failed = || sample(EventType::Failed, 1);
    for (addresses, expected) in [
        (["ada@example.test", "unknown@example.test"], SendErrorKind::Rejected),
        (["ada@example.test", "ada@example.com"], SendErrorKind::Rejected),
        (["ada@example.test", "busy@example.test"], SendErrorKind::Refused),
    ] {
        let (kind, message) = kind_and_message(send(&addresses, failed()).await);
        assert_eq!(kind, expected, "{message}");
    }
    let mut event = sample(EventType::Failed, 1);
    event.export_mut().document_name =
        "a\r\nBcc: bob@example.test\r\n\r\n.\r\nRCPT TO:<bob@example.test>".to_owned();
    assert_eq!(send(&["ada@example.test"], event.clone()).await, Ok(()));
    event.recipients = ["bob@example.test", "unknown@example.test", "busy@example.test"]
        .map(str::to_owned)
        .to_vec();
    let requested = real_target(postfix(), None, Recipients::Requested);
    for _ in 0..2 {
        let (kind, _) = kind_and_message(requested.send(std::slice::from_ref(&event)).await);
        assert_eq!(kind, SendErrorKind::Refused);
    }
    let ada = delivered("ada", 1).await;
    let bob = delivered("bob", 1).await;
    assert_eq!((ada.len(), bob.len()), (1, 1));
    let parsed = mail_parser::MessageParser::default().parse(&ada[0]).unwrap();
    assert_eq!(parsed.subject(), Some("tara-export: 1 export failed"));
    assert!(parsed.bcc().is_none());
    let text = parsed.body_text(0).unwrap();
    assert!(
        text.contains("Document: a Bcc: bob@example.test . RCPT TO:<bob@example.test>"),
        "{text}"
    );
}

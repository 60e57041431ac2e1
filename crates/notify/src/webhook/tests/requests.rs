//! What is sent, and what answers mean.

use std::fs;

use serde_json::{Value, json};
use tara_export_events::{Event, testing::sample};

use super::*;
use crate::{KindName, SendErrorKind, Sender as _, Targets, samples::samples};

fn event() -> Event {
    sample(EventType::Failed, 1)
}

#[tokio::test]
async fn request_is_signed_as_standard_webhooks() {
    let (url, mut received) = answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    sender(&url).send(&[event()]).await.unwrap();
    let request = received.recv().await.unwrap();
    assert_eq!(request.first_line, "POST /hook HTTP/1.1");
    assert_eq!(request.header("host"), url.strip_prefix("http://").unwrap().strip_suffix("/hook"));
    assert_eq!(request.header("content-type"), Some("application/cloudevents+json"));
    assert_eq!(request.header("user-agent"), Some("tara-export/0.1.0"));
    let id = event().id().to_string();
    assert_eq!(request.header("webhook-id"), Some(id.as_str()));
    assert_eq!(request.header("webhook-timestamp"), Some("784111777"));
    let signature = Secret::parse(SECRET).unwrap().sign(&id, 784_111_777, &request.body);
    assert_eq!(request.header("webhook-signature"), Some(signature.as_str()));
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body, event().to_cloud_event(Names::Omitted));
}

#[tokio::test]
async fn target_of_a_file_sends_both_signatures_while_secrets_rotate() {
    let folder = tempfile::tempdir().unwrap();
    let (url, mut received) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let previous = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    fs::write(folder.path().join("new"), format!("{SECRET}\n")).unwrap();
    fs::write(folder.path().join("previous"), format!("{previous}\r\n")).unwrap();
    fs::write(folder.path().join("url"), format!("{url}/T0/secret?token=hunter2\n")).unwrap();
    let text = json!({"targets": [{"name": "hook", "kind": "webhook", "url_file": "url", "private_network": true,
        "secret_files": ["new", "previous"], "timeout": "20s"}]});
    let context = TargetContext { folder: folder.path().to_owned(), ..context() };
    let targets = Targets::parse(&text.to_string(), &context).unwrap();
    let target = targets.get("hook").unwrap();
    assert_eq!((target.kind, target.digest), (KindName::Webhook, Duration::ZERO));
    let shown = format!("{targets:?}");
    for secret in ["hunter2", "T0", "127.0.0.1", &SECRET[6..], &previous[6..]] {
        assert!(!shown.contains(secret), "{shown}");
    }
    target.sender.send(&[event()]).await.unwrap();
    let request = received.recv().await.unwrap();
    assert_eq!(request.first_line, "POST /hook/T0/secret?token=hunter2 HTTP/1.1");
    let expected = [SECRET, previous].map(|secret| {
        let secret = Secret::parse(secret).unwrap();
        secret.sign(&event().id().to_string(), 784_111_777, &request.body)
    });
    assert_eq!(request.header("webhook-signature"), Some(expected.join(" ").as_str()));
    target.sender.check().await.unwrap();
}

#[tokio::test]
async fn answer_decides_what_the_failure_means() {
    use SendErrorKind::{Gone, Refused, Unavailable};
    for (answer, expected) in [
        ("200 OK", Ok(())),
        ("202 Accepted", Ok(())),
        ("299 Unknown", Ok(())),
        ("301 Moved\r\nlocation: http://127.0.0.1:1/", Err((Unavailable, None))),
        ("307 Moved\r\nlocation: http://169.254.169.254/", Err((Unavailable, None))),
        ("304 Not Modified", Err((Unavailable, None))),
        ("400 Bad Request", Err((Refused, None))),
        ("404 Not Found\r\nretry-after: 5", Err((Refused, None))),
        ("410 Gone", Err((Gone, None))),
        ("429 Slow", Err((Unavailable, None))),
        ("429 Slow\r\nretry-after: 7", Err((Unavailable, Some(7)))),
        ("503 Away\r\nretry-after: Sun, 06 Nov 1994 08:49:47 GMT", Err((Unavailable, Some(10)))),
        ("503 Away\r\nretry-after: 999999999", Err((Unavailable, Some(86_400)))),
        ("503 Away\r\nretry-after: soon", Err((Unavailable, None))),
        ("500 Error\r\nretry-after: 7", Err((Unavailable, None))),
        ("599 Error", Err((Unavailable, None))),
    ] {
        let (url, mut received) =
            answering(&format!("HTTP/1.1 {answer}\r\ncontent-length: 11\r\n\r\nbody-secret")).await;
        let result = sender(&url).send(&[event()]).await;
        let result = result.map_err(|error| {
            assert!(error.message.starts_with("127.0.0.1: status "), "{error}");
            assert!(!error.message.contains("secret"), "{error}");
            (error.kind, error.retry_after.map(|wait| wait.as_secs()))
        });
        assert_eq!(result, expected, "{answer}");
        received.recv().await.unwrap();
        assert!(received.try_recv().is_err(), "{answer}");
    }
}

#[tokio::test]
async fn built_in_templates_contain_text_as_it_is_and_are_unsigned() {
    for (name, path) in [
        ("slack", "/blocks/2/text/text"),
        ("teams", "/attachments/0/content/body/8/inlines/1/text"),
    ] {
        let payload = Payload::of_name(name, Names::Included, &context()).unwrap();
        let hostile = samples().into_iter().find(|event| event.message.contains("<b>")).unwrap();
        let mut event = event();
        event.message = hostile.message;
        event.export_mut().location = "/data/x".to_owned();
        event.export_mut().stored_in = Some(tara_export_store::StoreKind::Local);
        let (url, mut received) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let receiver = CheckedUrl::parse(&url, true, HostNames::Shown).unwrap();
        let timeout = Duration::from_secs(20);
        let sender =
            WebhookSender::new(receiver, Vec::new(), payload, Names::Included, timeout, &context());
        sender.unwrap().send(std::slice::from_ref(&event)).await.unwrap();
        let request = received.recv().await.unwrap();
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("webhook-signature"), None);
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body.pointer(path), Some(&json!(event.message)), "{body:#}");
    }
}

#[test]
fn own_templates_are_checked_with_events_of_every_type() {
    let folder = tempfile::tempdir().unwrap();
    let context = TargetContext { templates: Some(folder.path().to_owned()), ..context() };
    for (text, expected) in [
        (r#"{"text": {{ data.message }}}"#, None),
        (r#"{"text": "{{ data.message }}"}"#, Some("does not render valid JSON")),
        (r#"{"text": "{{ data.message|safe }}"}"#, Some("does not render valid JSON")),
        (r#"{"text": {{ data.massage }}}"#, Some("own.json is faulty in line 1")),
        (r#"{% if data.state == "FAILED" %}[{% endif %}{}"#, Some("events of type failed")),
        (r#"{"text": {{ data.message "#, Some("own.json is faulty in line 1")),
        ("", Some("does not render valid JSON")),
    ] {
        fs::write(folder.path().join("own.json"), text).unwrap();
        let result = Payload::of_name("own", Names::Included, &context);
        match (result, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => assert!(error.contains(expected), "{text}: {error}"),
            (result, _) => panic!("{text}: {result:?}"),
        }
    }
    for name in ["missing", "../own", "a/b"] {
        assert!(Payload::of_name(name, Names::Omitted, &context).is_err(), "{name}");
    }
}

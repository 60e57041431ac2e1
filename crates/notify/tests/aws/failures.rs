//! Refusals, throttling, and servers that do not respond.

use std::time::Duration;

use serde_json::{Value, json};
use tara_export_events::{EventType, testing::sample};
use tara_export_notify::{SendError, SendErrorKind::*};

use crate::{
    context,
    failing_server::{Answer, FailingServer},
    machine, target,
};

const DESCRIBED: &str = r#"{"Name": "audit"}"#;

fn sns(url: &str) -> Value {
    json!({"kind": "sns", "topic_arn": "arn:aws:sns:us-east-1:123456789012:audit", "endpoint_url": url, "timeout": "1s"})
}

fn event_bus(url: &str) -> Value {
    json!({"kind": "eventbridge", "event_bus": "audit", "endpoint_url": url, "timeout": "1s"})
}

fn sns_error(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
}

/// The failure of sending one event to a server with these responses, and the number of its requests.
async fn failure(settings: fn(&str) -> Value, answers: Vec<Answer>) -> (SendError, usize) {
    let server = FailingServer::start(answers).await;
    let (context, _) = context(machine(&[])).await;
    let target = target(settings(&server.url), &context).unwrap();
    let error = target.sender.send(&[sample(EventType::Committed, 1)]).await.unwrap_err();
    (error, server.requests().len())
}

#[tokio::test]
async fn errors_of_sns_have_their_meaning() {
    let rows = [
        (400, "Throttled", Unavailable, ""),
        (429, "ThrottlingException", Unavailable, ""),
        (500, "InternalError", Unavailable, ""),
        (403, "AuthorizationError", Unavailable, "needs sns:Publish"),
        (403, "AccessDenied", Unavailable, "needs sns:Publish"),
        (404, "NotFound", Unavailable, "create it"),
        (400, "KMSDisabled", Unavailable, "KMS key"),
        (403, "InvalidClientTokenId", Unavailable, "credentials"),
        (400, "InvalidParameter", Refused, ""),
        (413, "RequestEntityTooLarge", Refused, ""),
        (400, "NewCode", Refused, ""),
        (502, "NewCode", Unavailable, ""),
    ];
    for (status, code, kind, hint) in rows {
        let answer = Answer::new(status, sns_error(code, "Because of it."));
        let (error, requests) = failure(sns, vec![answer]).await;
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(code) && error.message.contains(hint), "{error}");
        assert!(error.message.contains("arn:aws:sns:us-east-1:123456789012:audit"), "{error}");
        // The dispatcher retries, not the SDK.
        assert_eq!(requests, 1, "{error}");
    }
}

#[tokio::test]
async fn errors_of_eventbridge_have_their_meaning() {
    let rows = [
        (400, "ThrottlingException", Unavailable, ""),
        (500, "InternalException", Unavailable, ""),
        (400, "AccessDeniedException", Unavailable, "needs events:PutEvents"),
        (400, "ResourceNotFoundException", Unavailable, "create it"),
        (400, "ExpiredTokenException", Unavailable, "credentials"),
        (400, "ValidationException", Refused, ""),
    ];
    for (status, code, kind, hint) in rows {
        let body = json!({"__type": code, "message": "Because of it."}).to_string();
        let answers = vec![Answer::new(200, DESCRIBED), Answer::new(status, body)];
        let (error, requests) = failure(event_bus, answers).await;
        assert_eq!((error.kind, requests), (kind, 2), "{error}");
        assert!(error.message.contains(code) && error.message.contains(hint), "{error}");
    }
}

#[tokio::test]
async fn failed_entries_of_a_successful_call_are_failures() {
    let rows = [
        ("ThrottlingException", Unavailable),
        ("InternalFailure", Unavailable),
        ("NotAuthorizedForSource", Unavailable),
        ("MalformedDetail", Refused),
        ("InvalidArgument", Refused),
    ];
    for (code, kind) in rows {
        let entry = json!({"ErrorCode": code, "ErrorMessage": "Because of it."});
        let body = json!({"FailedEntryCount": 1, "Entries": [entry]}).to_string();
        let answers = vec![Answer::new(200, DESCRIBED), Answer::new(200, body)];
        let (error, _) = failure(event_bus, answers).await;
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(code), "{error}");
    }
    for body in ["{}", r#"{"FailedEntryCount": 1, "Entries": [{}]}"#, r#"{"Entries": []}"#] {
        let answers = vec![Answer::new(200, DESCRIBED), Answer::new(200, body)];
        let (error, _) = failure(event_bus, answers).await;
        assert_eq!(error.kind, Unavailable, "{body}: {error}");
    }
}

/// PutEvents to a missing bus succeeds in AWS, and the event is lost.
#[tokio::test]
async fn missing_bus_is_found_before_an_event_is_put() {
    let body = json!({"__type": "ResourceNotFoundException", "message": "no bus"}).to_string();
    let (error, requests) = failure(event_bus, vec![Answer::new(400, body)]).await;
    assert_eq!((error.kind, requests), (Unavailable, 1), "{error}");
    assert!(error.message.contains("create it"), "{error}");
}

#[tokio::test]
async fn bus_that_may_not_be_described_gets_events() {
    let denied = json!({"__type": "AccessDeniedException", "message": "no"}).to_string();
    let put = json!({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}).to_string();
    let answers = vec![Answer::new(400, denied), Answer::new(200, put)];
    let server = FailingServer::start(answers).await;
    let (context, _) = context(machine(&[])).await;
    let target = target(event_bus(&server.url), &context).unwrap();
    let events = [sample(EventType::Committed, 1), sample(EventType::Failed, 2)];
    target.sender.send(&events).await.unwrap();
    // The bus is described once, not for each event.
    target.sender.send(&events).await.unwrap();
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn hostile_servers_end_within_the_timeout() {
    let deeply_nested = "<a>".repeat(20_000);
    let answers = [
        Answer::Silence,
        Answer::Close,
        Answer::Endless,
        Answer::new(200, deeply_nested),
        Answer::new(200, "x".repeat(300 * 1024)),
        Answer::new(503, "<html>down</html>"),
        Answer::new(302, ""),
    ];
    for answer in answers {
        for settings in [sns, event_bus] {
            let shown = format!("{answer:?}").chars().take(40).collect::<String>();
            let sending = failure(settings, vec![answer.clone()]);
            let sent = tokio::time::timeout(Duration::from_secs(10), sending).await;
            let (error, requests) = sent.expect("the sender has a time limit");
            assert_eq!((error.kind, requests), (Unavailable, 1), "{shown}: {error}");
            assert!(error.message.len() < 1_000, "{shown}: {error}");
        }
    }
}

#[tokio::test]
async fn retry_after_is_reported() {
    let answer = Answer::Response {
        status: 503,
        headers: "retry-after: 17\r\n".to_owned(),
        body: String::new(),
    };
    let (error, _) = failure(sns, vec![answer]).await;
    assert_eq!(error.retry_after, Some(Duration::from_secs(17)));
}

#[tokio::test]
async fn check_names_the_missing_right() {
    let body = sns_error("AuthorizationError", "no");
    let server = FailingServer::start(vec![Answer::new(403, body)]).await;
    let (context, _) = context(machine(&[])).await;
    let checked = target(sns(&server.url), &context).unwrap().sender.check().await;
    assert!(checked.unwrap_err().message.contains("needs sns:GetTopicAttributes"));

    let body = json!({"__type": "AccessDeniedException", "message": "no"}).to_string();
    let server = FailingServer::start(vec![Answer::new(400, body)]).await;
    let checked = target(event_bus(&server.url), &context).unwrap().sender.check().await;
    assert!(checked.unwrap_err().message.contains("needs events:DescribeEventBus"));
}

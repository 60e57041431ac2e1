//! No secret is in a message or in the `Debug` form of a target.

use serde_json::json;
use tara_export_events::{EventType, testing::sample};

use crate::{
    SECRET, TOKEN, context,
    failing_server::{Answer, FailingServer},
    machine, target,
};

/// A part of an endpoint's path, as some gateways have it.
const PATH: &str = "path-secret";

fn assert_no_secret(text: &str) {
    for secret in [SECRET, TOKEN, PATH, "password-secret"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn refused_credentials_are_loaded_again_and_not_quoted() {
    // As AWS does: the message repeats the headers that were signed.
    let message = format!("The canonical string should have been x-amz-security-token:{TOKEN}");
    let body = format!(
        "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>{message}</Message></Error></ErrorResponse>"
    );
    let server = FailingServer::start(vec![Answer::new(403, body)]).await;
    let (context, refusals) = context(machine(&[])).await;
    let settings = json!({
        "kind": "sns",
        "topic_arn": "arn:aws:sns:us-east-1:123456789012:audit",
        "endpoint_url": format!("{}/{PATH}", server.url),
    });
    let target = target(settings, &context).unwrap();
    let error = target.sender.send(&[sample(EventType::Committed, 1)]).await.unwrap_err();
    assert_no_secret(&format!("{error} {error:?}"));
    assert_eq!(*refusals.lock().unwrap(), ["SNS SignatureDoesNotMatch"]);
    // The request itself has the token, so the test would notice it.
    assert!(server.requests()[0].contains(TOKEN));
}

#[tokio::test]
async fn debug_forms_and_lost_connections_show_no_secret() {
    let server = FailingServer::start(vec![Answer::Close]).await;
    let endpoint = format!("{}/{PATH}", server.url);
    let (context, _) = context(machine(&[("AWS_ENDPOINT_URL_EVENTBRIDGE", &endpoint)])).await;
    assert_no_secret(&format!("{context:?}"));
    let targets = [
        json!({"kind": "sns", "topic_arn": "arn:aws:sns:us-east-1:123456789012:audit", "endpoint_url": endpoint}),
        json!({"kind": "eventbridge", "event_bus": "audit"}),
    ];
    for settings in targets {
        let target = target(settings, &context).unwrap();
        assert_no_secret(&format!("{target:?}"));
        assert_no_secret(&target.sender.check().await.unwrap_err().to_string());
    }
}

#[tokio::test]
async fn invalid_endpoints_are_not_quoted() {
    let url = "https://user:password-secret@sns.example.com";
    let topic = "arn:aws:sns:us-east-1:123456789012:audit";
    let (of_machine, _) = context(machine(&[("AWS_ENDPOINT_URL_SNS", url)])).await;
    let settings = json!({"kind": "sns", "topic_arn": topic});
    let error = target(settings.clone(), &of_machine).unwrap_err().to_string();
    assert!(error.contains("AWS_ENDPOINT_URL_SNS"), "{error}");
    assert_no_secret(&error);

    let (other, _) = context(machine(&[])).await;
    let mut settings = settings;
    settings["endpoint_url"] = url.into();
    let error = target(settings, &other).unwrap_err().to_string();
    assert!(error.contains("endpoint_url: must be an http:// or https:// URL"), "{error}");
    assert_no_secret(&error);
}

#[tokio::test]
async fn missing_credentials_are_reported_as_such() {
    let server = FailingServer::start(vec![Answer::Close]).await;
    let without =
        [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("HOME", "/nonexistent")];
    let variables = machine(&without);
    let (context, _) = context(variables).await;
    let settings = json!({"kind": "eventbridge", "event_bus": "audit", "endpoint_url": server.url});
    let error = target(settings, &context).unwrap().sender.check().await.unwrap_err();
    assert!(error.message.contains("no AWS credentials"), "{error}");
    assert!(server.requests().is_empty());
}

//! Settings of a target and of the machine.

use std::fs;

use serde_json::{Value, json};
use tara_export_events::{EventType, testing::sample};

use crate::{
    context,
    failing_server::{Answer, FailingServer},
    machine, target,
};

const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:audit";
const BUS: &str = "arn:aws:events:eu-central-1:123456789012:event-bus/audit";

async fn faults(settings: Value) -> String {
    let (context, _) = context(machine(&[])).await;
    target(settings, &context).unwrap_err().to_string()
}

#[tokio::test]
async fn faults_have_their_paths() {
    let rows = [
        (json!({"kind": "sns"}), "targets[0].topic_arn: is missing"),
        (json!({"kind": "sns", "topic_arn": "audit"}), "targets[0].topic_arn: must be the ARN"),
        (json!({"kind": "eventbridge"}), "targets[0].event_bus: is missing"),
        (json!({"kind": "eventbridge", "event_bus": "a b"}), "targets[0].event_bus: must be"),
        (
            json!({"kind": "eventbridge", "event_bus": BUS, "region": "us-east-1"}),
            "targets[0].region: must be eu-central-1",
        ),
        (
            json!({"kind": "eventbridge", "event_bus": "audit", "region": "a.example.com/"}),
            "targets[0].region: must be a region",
        ),
        (
            json!({"kind": "sns", "topic_arn": TOPIC, "timeout": "1h"}),
            "targets[0].timeout: must be a duration from 1s to 1m",
        ),
        (
            json!({"kind": "sns", "topic_arn": TOPIC, "region": "a"}),
            "targets[0].region: is unknown",
        ),
        (
            json!({"kind": "sns", "topic_arn": TOPIC, "endpoint_url": "sns.example.com"}),
            "targets[0].endpoint_url: must be an http:// or https:// URL",
        ),
    ];
    for (settings, fault) in rows {
        let faults = faults(settings).await;
        assert!(faults.contains(fault), "{faults}");
    }
}

#[tokio::test]
async fn target_without_configuration_of_aws_is_a_fault() {
    let (mut context, _) = context(machine(&[])).await;
    context.aws = None;
    let error = target(json!({"kind": "sns", "topic_arn": TOPIC}), &context).unwrap_err();
    assert!(error.to_string().contains("targets[0].kind: needs a configuration of AWS"), "{error}");
}

#[tokio::test]
async fn events_of_jobs_are_no_default_and_others_are_sent_one_by_one() {
    let (context, _) = context(machine(&[])).await;
    let settings = [
        json!({"kind": "sns", "topic_arn": TOPIC}),
        json!({"kind": "eventbridge", "event_bus": BUS}),
    ];
    for settings in settings {
        let target = target(settings, &context).unwrap();
        let mut expected = EventType::ALL.to_vec();
        expected.retain(|event_type| *event_type != EventType::JobEnded);
        assert_eq!(target.events, expected);
        assert!(target.digest.is_zero() && !target.is_for_requested);
    }
}

/// The first request that a target with these settings sends, if it goes to this server.
async fn first_request(
    server: &FailingServer,
    variables: &[(&str, &str)],
    settings: Value,
) -> String {
    let (context, _) = context(machine(variables)).await;
    let target = target(settings, &context).unwrap();
    target.sender.check().await.unwrap_err();
    server.requests().pop().expect("a request to the endpoint")
}

#[tokio::test]
async fn endpoints_of_the_machine_are_those_of_the_service() {
    let server = FailingServer::start(vec![Answer::new(503, "")]).await;
    let (url, sns) = (server.url.as_str(), json!({"kind": "sns", "topic_arn": TOPIC}));
    let bus = json!({"kind": "eventbridge", "event_bus": BUS});
    let closed = "http://127.0.0.1:9";
    let by_variable = [("AWS_ENDPOINT_URL_SNS", url), ("AWS_ENDPOINT_URL", closed)];
    let request = first_request(&server, &by_variable, sns.clone()).await;
    // The region is that of the topic, not that of the machine.
    assert!(request.contains("/eu-central-1/sns/aws4_request"), "{request}");
    let by_variable = [("AWS_ENDPOINT_URL_EVENTBRIDGE", url), ("AWS_ENDPOINT_URL_SNS", closed)];
    let request = first_request(&server, &by_variable, bus.clone()).await;
    assert!(request.contains("/eu-central-1/events/aws4_request"), "{request}");
    // As in the AWS SDKs: for all services.
    first_request(&server, &[("AWS_ENDPOINT_URL", url)], sns.clone()).await;
    // FIPS and dual stack select endpoints of AWS.
    let with_fips = [
        ("AWS_ENDPOINT_URL", url),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
    ];
    first_request(&server, &with_fips, bus.clone()).await;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let profile = format!(
        "[default]\nservices = here\n[services here]\nsns =\n  endpoint_url = {url}\neventbridge =\n  endpoint_url = {url}\n"
    );
    fs::write(&file, profile).unwrap();
    let by_profile = [("AWS_CONFIG_FILE", file.to_str().unwrap())];
    first_request(&server, &by_profile, sns).await;
    first_request(&server, &by_profile, bus.clone()).await;
    assert_eq!(server.requests().len(), 6);

    // The target's own endpoint wins.
    let mut own = bus;
    own["endpoint_url"] = url.into();
    first_request(&server, &[("AWS_ENDPOINT_URL_EVENTBRIDGE", closed)], own).await;
}

#[tokio::test]
async fn proxies_are_those_of_the_machine() {
    let proxy = FailingServer::start(vec![Answer::new(503, "")]).await;
    let settings =
        json!({"kind": "sns", "topic_arn": TOPIC, "endpoint_url": "http://sns.example.com"});
    let request = first_request(&proxy, &[("HTTP_PROXY", &proxy.url)], settings).await;
    assert!(request.starts_with("POST http://sns.example.com/ "), "{request}");
}

#[tokio::test]
async fn region_of_a_bus_is_its_setting_or_that_of_the_machine() {
    let server = FailingServer::start(vec![Answer::new(503, "")]).await;
    let settings = json!({"kind": "eventbridge", "event_bus": "audit", "endpoint_url": server.url});
    let request = first_request(&server, &[("AWS_REGION", "us-west-1")], settings.clone()).await;
    assert!(request.contains("/us-west-1/events/aws4_request"), "{request}");
    let mut settings = settings;
    settings["region"] = "ap-south-1".into();
    let request = first_request(&server, &[("AWS_REGION", "us-west-1")], settings).await;
    assert!(request.contains("/ap-south-1/events/aws4_request"), "{request}");
}

#[tokio::test]
async fn request_of_a_fifo_topic_has_group_and_deduplication_id() {
    let body = "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>";
    let server = FailingServer::start(vec![Answer::new(200, body)]).await;
    let (context, _) = context(machine(&[])).await;
    let event = sample(EventType::FellBack, 7);
    let groups = format!("MessageGroupId={}", event.subject_id());
    let deduplication = format!("MessageDeduplicationId={}", event.id());
    for (topic, is_fifo) in [(TOPIC.to_owned(), false), (format!("{TOPIC}.fifo"), true)] {
        let settings = json!({"kind": "sns", "topic_arn": topic, "endpoint_url": server.url});
        let target = target(settings, &context).unwrap();
        target.sender.send(std::slice::from_ref(&event)).await.unwrap();
        let request = server.requests().pop().unwrap();
        assert_eq!(request.contains(&groups), is_fifo, "{request}");
        assert_eq!(request.contains(&deduplication), is_fifo, "{request}");
        assert!(request.contains("tara.export.v1.fell_back"), "{request}");
    }
}

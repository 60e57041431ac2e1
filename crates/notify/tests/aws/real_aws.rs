//! Against moto, an implementation of SNS, SQS and EventBridge: `.ci/real-aws-events`.
//!
//! moto refuses events for missing buses, where AWS accepts and loses them.

use std::env;

use aws_sdk_eventbridge::types::Target as RuleTarget;
use aws_sdk_sqs::types::{Message, QueueAttributeName};
use serde_json::{Value, json};
use tara_export_events::{Event, EventType, Names, testing::sample};
use tara_export_notify::{SendErrorKind, TargetContext};
use tara_export_store::s3::AwsServices;

use crate::{context, machine, target};

/// The services, and a queue that receives what topics and buses send.
struct Aws {
    context: TargetContext,
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
    events: aws_sdk_eventbridge::Client,
}

impl Aws {
    async fn connect() -> Self {
        let url = env::var("TARA_TEST_AWS_URL").expect("run by .ci/real-aws-events");
        let machine = machine(&[("AWS_ENDPOINT_URL", &url)]);
        let services = AwsServices::load(machine.clone()).await.unwrap();
        let sdk = services.sdk_config();
        Self {
            context: context(machine).await.0,
            sns: aws_sdk_sns::Client::new(sdk),
            sqs: aws_sdk_sqs::Client::new(sdk),
            events: aws_sdk_eventbridge::Client::new(sdk),
        }
    }

    /// A new queue: its URL and its ARN.
    async fn queue(&self, name: &str) -> (String, String) {
        let mut request = self.sqs.create_queue().queue_name(name);
        if name.ends_with(".fifo") {
            request = request.attributes(QueueAttributeName::FifoQueue, "true");
        }
        let url = request.send().await.unwrap().queue_url.unwrap();
        let attributes = self.sqs.get_queue_attributes().queue_url(&url);
        let attributes = attributes.attribute_names(QueueAttributeName::QueueArn).send();
        let attributes = attributes.await.unwrap().attributes.unwrap();
        (url, attributes[&QueueAttributeName::QueueArn].clone())
    }

    /// A new topic whose messages arrive unchanged in the queue.
    async fn topic(&self, name: &str, queue_arn: &str) -> String {
        let mut request = self.sns.create_topic().name(name);
        if name.ends_with(".fifo") {
            request = request.attributes("FifoTopic", "true");
        }
        let arn = request.send().await.unwrap().topic_arn.unwrap();
        let subscription = self.sns.subscribe().topic_arn(&arn).protocol("sqs").endpoint(queue_arn);
        subscription.attributes("RawMessageDelivery", "true").send().await.unwrap();
        arn
    }

    /// The messages of a queue, which has this number of them.
    async fn messages(&self, queue_url: &str, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let receive = self.sqs.receive_message().queue_url(queue_url).wait_time_seconds(5);
            let receive = receive.max_number_of_messages(10).message_attribute_names("All");
            let receive = receive.message_system_attribute_names("All".into());
            let received = receive.send().await.unwrap().messages.unwrap_or_default();
            assert!(!received.is_empty(), "{} of {count} messages arrived", messages.len());
            messages.extend(received);
        }
        messages
    }
}

fn body(message: &Message) -> Value {
    serde_json::from_str(message.body().unwrap()).unwrap()
}

fn cloud_event(event: &Event) -> Value {
    event.to_cloud_event(Names::Included)
}

#[tokio::test]
#[ignore = "needs moto: .ci/real-aws-events"]
async fn queue_of_a_topic_receives_the_event() {
    let aws = Aws::connect().await;
    let (queue, queue_arn) = aws.queue("sns-events").await;
    let arn = aws.topic("audit", &queue_arn).await;
    let settings = json!({"kind": "sns", "topic_arn": arn, "include_names": true});
    let target = target(settings, &aws.context).unwrap();
    target.sender.check().await.unwrap();
    for (number, event_type) in EventType::ALL.into_iter().enumerate() {
        let event = sample(event_type, number as u32);
        target.sender.send(std::slice::from_ref(&event)).await.unwrap();
        let messages = aws.messages(&queue, 1).await;
        assert_eq!(body(&messages[0]), cloud_event(&event));
        let attributes = messages[0].message_attributes().unwrap();
        let value = |name: &str| attributes[name].string_value().unwrap().to_owned();
        assert_eq!(value("type"), event_type.cloud_event_type());
        assert_eq!(value("state"), event.state_name());
    }
}

#[tokio::test]
#[ignore = "needs moto: .ci/real-aws-events"]
async fn fifo_topic_keeps_the_order_of_an_export_and_drops_repetitions() {
    let aws = Aws::connect().await;
    let (queue, queue_arn) = aws.queue("events.fifo").await;
    let arn = aws.topic("audit.fifo", &queue_arn).await;
    let settings = json!({"kind": "sns", "topic_arn": arn, "include_names": true});
    let target = target(settings, &aws.context).unwrap();
    let events = [sample(EventType::FellBack, 1), sample(EventType::Synced, 1)];
    target.sender.send(&events).await.unwrap();
    let messages = aws.messages(&queue, 2).await;
    let received: Vec<Value> = messages.iter().map(body).collect();
    assert_eq!(received, events.each_ref().map(cloud_event));
    let groups = messages
        .iter()
        .map(|message| message.attributes().unwrap()[&"MessageGroupId".into()].clone());
    let export_id = events[0].subject_id().to_string();
    assert_eq!(groups.collect::<Vec<_>>(), [export_id.clone(), export_id]);
    for (message, event) in messages.iter().zip(&events) {
        let id = &message.attributes().unwrap()[&"MessageDeduplicationId".into()];
        assert_eq!(*id, event.id().to_string());
    }
}

#[tokio::test]
#[ignore = "needs moto: .ci/real-aws-events"]
async fn queue_of_a_rule_receives_the_event_of_a_bus() {
    let aws = Aws::connect().await;
    let (queue, queue_arn) = aws.queue("bus-events").await;
    let bus = aws.events.create_event_bus().name("audit").send().await.unwrap();
    let pattern = json!({"source": ["tara-export"], "detail-type": ["tara.export.v1.failed"]});
    let rule = aws.events.put_rule().name("failed").event_bus_name("audit");
    rule.event_pattern(pattern.to_string()).send().await.unwrap();
    let to_queue = RuleTarget::builder().id("queue").arn(queue_arn).build().unwrap();
    let targets = aws.events.put_targets().rule("failed").event_bus_name("audit");
    targets.targets(to_queue).send().await.unwrap();
    let event = sample(EventType::Failed, 3);
    let arn = bus.event_bus_arn.unwrap();
    for event_bus in ["audit", &arn] {
        let settings =
            json!({"kind": "eventbridge", "event_bus": event_bus, "include_names": true});
        let target = target(settings, &aws.context).unwrap();
        target.sender.check().await.unwrap();
        // The rule does not match the first one.
        target.sender.send(&[sample(EventType::Committed, 2), event.clone()]).await.unwrap();
        let messages = aws.messages(&queue, 1).await;
        let envelope = body(&messages[0]);
        assert_eq!(envelope["detail"], cloud_event(&event));
        assert_eq!(envelope["source"], "tara-export");
        assert_eq!(envelope["detail-type"], "tara.export.v1.failed");
        assert_eq!(envelope["resources"], json!([format!("exports/{}", event.subject_id())]));
    }
}

#[tokio::test]
#[ignore = "needs moto: .ci/real-aws-events"]
async fn missing_topic_and_bus_are_unavailable() {
    let aws = Aws::connect().await;
    let settings = [
        json!({"kind": "sns", "topic_arn": "arn:aws:sns:us-east-1:123456789012:missing"}),
        json!({"kind": "eventbridge", "event_bus": "missing"}),
    ];
    for settings in settings {
        let target = target(settings, &aws.context).unwrap();
        let sent = target.sender.send(&[sample(EventType::Committed, 1)]).await;
        for error in [target.sender.check().await.unwrap_err(), sent.unwrap_err()] {
            assert_eq!(error.kind, SendErrorKind::Unavailable, "{error}");
            assert!(error.message.contains("missing"), "{error}");
            assert!(error.message.contains("create it"), "{error}");
        }
    }
}

#[tokio::test]
#[ignore = "needs moto: .ci/real-aws-events"]
async fn largest_event_is_accepted() {
    let aws = Aws::connect().await;
    let (queue, queue_arn) = aws.queue("large-events").await;
    let arn = aws.topic("large", &queue_arn).await;
    let mut event = sample(EventType::Failed, 9);
    event.message = "ü\u{1F600}\"".repeat(1_000);
    event.export_mut().reviewer = "\u{0}x".repeat(1_000);
    let settings = json!({"kind": "sns", "topic_arn": arn, "include_names": true});
    let target = target(settings, &aws.context).unwrap();
    target.sender.send(std::slice::from_ref(&event)).await.unwrap();
    assert_eq!(body(&aws.messages(&queue, 1).await[0]), cloud_event(&event));
}

//! Topics of Amazon SNS.

use std::fmt;

use async_trait::async_trait;
use aws_sdk_sns::{Client, types::MessageAttributeValue};
use tara_export_events::{Event, Names};

use super::{
    arn::Topic,
    client::{Caller, Endpoint, config},
    message_of,
};
use crate::{SendError, SendErrorKind, Sender};

/// Publishes each event as one message.
pub(super) struct SnsSender {
    topic: Topic,
    names: Names,
    client: Client,
    caller: Caller,
}

impl fmt::Debug for SnsSender {
    // Without the client, whose form has the endpoint.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("SnsSender");
        shown.field("topic", &self.topic).field("caller", &self.caller);
        shown.finish_non_exhaustive()
    }
}

impl SnsSender {
    pub(super) fn new(topic: Topic, names: Names, endpoint: Endpoint, caller: Caller) -> Self {
        let config = config(caller.sdk(), Some(topic.region().to_owned()), &endpoint);
        let mut builder = aws_sdk_sns::config::Builder::from(&config);
        builder.set_endpoint_url(endpoint.0);
        let client = Client::from_conf(builder.build());
        Self { topic, names, client, caller }
    }

    async fn publish(&self, event: &Event, action: &str) -> Result<(), SendError> {
        let message = message_of(event, self.names);
        let attributes = [
            ("type", event.event_type.cloud_event_type()),
            ("state", event.state_name().to_owned()),
        ];
        let mut request = self.client.publish().topic_arn(self.topic.arn()).message(message);
        for (name, value) in attributes {
            request = request.message_attributes(name, text_attribute(value)?);
        }
        if self.topic.is_fifo() {
            // The order of one export's events; a repeated delivery within five minutes is dropped.
            request = request
                .message_group_id(event.subject_id().to_string())
                .message_deduplication_id(event.id().to_string());
        }
        let published = request.send().await;
        published.map(|_| ()).map_err(|error| self.caller.failed(action, "sns:Publish", &error))
    }
}

fn text_attribute(value: String) -> Result<MessageAttributeValue, SendError> {
    let attribute =
        MessageAttributeValue::builder().data_type("String").string_value(value).build();
    attribute.map_err(|error| SendError::new(SendErrorKind::Refused, error.to_string()))
}

#[async_trait]
impl Sender for SnsSender {
    async fn send(&self, events: &[Event]) -> Result<(), SendError> {
        let action = format!("publish to {}", self.topic.arn());
        let work = async {
            for event in events {
                self.publish(event, &action).await?;
            }
            Ok(())
        };
        self.caller.within(&action, work).await
    }

    async fn check(&self) -> Result<(), SendError> {
        let action = format!("read the attributes of {}", self.topic.arn());
        let work = async {
            let attributes = self.client.get_topic_attributes().topic_arn(self.topic.arn());
            let read = attributes.send().await;
            read.map(|_| ())
                .map_err(|error| self.caller.failed(&action, "sns:GetTopicAttributes", &error))
        };
        self.caller.within(&action, work).await
    }
}

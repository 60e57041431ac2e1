//! Amazon SNS and Amazon EventBridge, by the AWS SDK.
//!
//! Credentials, proxies, certificate authorities and endpoints are those of [`AwsContext`], which the server fills from
//! the machine's variables and profile, as for S3.

mod arn;
mod client;
mod eventbridge;
mod failure;
mod sns;

use std::{fmt, sync::Arc, time::Duration};

use aws_types::SdkConfig;
use tara_export_events::{Event, Names};

use self::{
    arn::{BUS_RULE, Bus, Topic, is_region},
    client::{Caller, Endpoint},
    eventbridge::EventBridgeSender,
    sns::SnsSender,
};
use tara_export_settings_file::{Faults, Fields};

use crate::{
    TargetContext,
    target::{DEFAULT_EVENTS, OwnSettings},
};

/// The time of one call, including credentials and the connection.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Called with the service and its error code when it refused the credentials, so that they are loaded again.
pub type CredentialsRefused = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// What targets of AWS use beside their settings.
#[derive(Clone)]
pub struct AwsContext {
    /// The configuration of the machine, with credentials and an HTTP client that limits the size of responses.
    pub sdk: SdkConfig,
    /// Loads the credentials again.
    pub credentials_refused: CredentialsRefused,
}

impl fmt::Debug for AwsContext {
    // Without the configuration, which contains all variables.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AwsContext").finish_non_exhaustive()
    }
}

/// Reads the settings of this kind.
pub(crate) fn read_sns(
    fields: &mut Fields,
    names: Names,
    context: &TargetContext,
    faults: &mut Faults,
) -> Option<OwnSettings> {
    let topic = fields.required_text("topic_arn", faults).and_then(|text| {
        let topic = Topic::parse(&text);
        if topic.is_none() {
            faults.add(fields.path_of("topic_arn"), format!("must be {}", Topic::RULE));
        }
        topic
    });
    let (aws, endpoint, timeout) = read_shared(fields, "SNS", context, faults)?;
    let topic = topic?;
    let caller = Caller::new("SNS", timeout, aws);
    let sender = SnsSender::new(topic, names, endpoint, caller);
    Some(own_settings(Arc::new(sender)))
}

/// Reads the settings of this kind.
pub(crate) fn read_eventbridge(
    fields: &mut Fields,
    names: Names,
    context: &TargetContext,
    faults: &mut Faults,
) -> Option<OwnSettings> {
    let bus = fields.required_text("event_bus", faults).and_then(|text| {
        let bus = Bus::parse(&text);
        if bus.is_none() {
            faults.add(fields.path_of("event_bus"), format!("must be {BUS_RULE}"));
        }
        bus
    });
    let region = fields.text("region", faults);
    if let Some(region) = &region {
        if !is_region(region) {
            faults.add(fields.path_of("region"), "must be a region such as us-east-1");
        }
        let of_bus = bus.as_ref().and_then(Bus::region);
        if let Some(of_bus) = of_bus.filter(|of_bus| of_bus != region) {
            let message = format!("must be {of_bus}, the region of event_bus, or be left out");
            faults.add(fields.path_of("region"), message);
        }
    }
    let (aws, endpoint, timeout) = read_shared(fields, "EventBridge", context, faults)?;
    let bus = bus?;
    let region = region.or_else(|| bus.region().map(str::to_owned));
    let caller = Caller::new("EventBridge", timeout, aws);
    let sender = EventBridgeSender::new(bus, region, names, endpoint, caller);
    Some(own_settings(Arc::new(sender)))
}

/// The settings that both kinds have. `None` without a configuration of AWS.
fn read_shared(
    fields: &mut Fields,
    service: &'static str,
    context: &TargetContext,
    faults: &mut Faults,
) -> Option<(AwsContext, Endpoint, Duration)> {
    let timeout = fields.duration("timeout", SHORTEST_TIMEOUT..=LONGEST_TIMEOUT, faults);
    let endpoint_url = fields.text("endpoint_url", faults);
    let Some(aws) = context.aws.clone() else {
        faults.add(fields.path_of("kind"), "needs a configuration of AWS, which is missing here");
        return None;
    };
    let endpoint = Endpoint::of(endpoint_url, service, &aws.sdk).unwrap_or_else(|message| {
        faults.add(fields.path_of("endpoint_url"), message);
        Endpoint::default()
    });
    Some((aws, endpoint, timeout.unwrap_or(DEFAULT_TIMEOUT)))
}

/// The event as JSON. Characters that are not allowed in XML are escaped, because SNS and SQS refuse messages with them;
/// JSON itself escapes the others.
fn message_of(event: &Event, names: Names) -> String {
    let json = event.to_cloud_event(names).to_string();
    // They are in strings only.
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

fn own_settings(sender: Arc<dyn crate::Sender>) -> OwnSettings {
    OwnSettings {
        default_events: DEFAULT_EVENTS,
        digest: Duration::ZERO,
        is_for_requested: false,
        sender,
        reports: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tara_export_events::{EventType, testing::sample};

    use super::*;

    /// The characters of XML 1.0, which SQS documents for messages.
    #[test]
    fn message_has_only_characters_of_xml() {
        let mut event = sample(EventType::Failed, 1);
        event.message = "\0\u{1b}\u{fffe}\u{ffff}\u{1F600}".to_owned();
        let message = message_of(&event, Names::Included);
        let is_xml = |letter: char| matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        assert!(message.chars().all(is_xml), "{message:?}");
        let read: serde_json::Value = serde_json::from_str(&message).unwrap();
        assert_eq!(read, event.to_cloud_event(Names::Included));
    }
}

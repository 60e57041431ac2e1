//! Names of topics and buses.
//!
//! Sources: SNS API Reference, CreateTopic; EventBridge API Reference, CreateEventBus; IAM User Guide, "ARNs".

use std::fmt;

/// The end of the name of a FIFO topic.
const FIFO_SUFFIX: &str = ".fifo";
/// Maximum length of the name of a topic or a bus.
const NAME_LIMIT_BYTES: usize = 256;

/// What the name of a bus must be, for messages.
pub(super) const BUS_RULE: &str = "the name of an event bus or its ARN, such as arn:aws:events:us-east-1:123456789012:event-bus/audit";

/// The ARN of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    arn: String,
    region: String,
}

impl Topic {
    /// What an ARN must be, for messages.
    pub(super) const RULE: &str =
        "the ARN of a topic, such as arn:aws:sns:us-east-1:123456789012:audit or …:audit.fifo";

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (region, name) = parts(text, "sns")?;
        let base = name.strip_suffix(FIFO_SUFFIX).unwrap_or(name);
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (is_name(name) && !base.is_empty() && base.bytes().all(is_valid))
            .then(|| Self { arn: text.to_owned(), region: region.to_owned() })
    }

    pub(super) fn arn(&self) -> &str {
        &self.arn
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Whether messages have groups, and are in order in each of them.
    pub(super) fn is_fifo(&self) -> bool {
        self.arn.ends_with(FIFO_SUFFIX)
    }
}

/// The name or the ARN of an event bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bus {
    name_or_arn: String,
    region: Option<String>,
}

impl Bus {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (region, name) = match text.starts_with("arn:") {
            true => {
                let (region, resource) = parts(text, "events")?;
                (Some(region.to_owned()), resource.strip_prefix("event-bus/")?)
            }
            false => (None, text),
        };
        let is_valid =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
        (is_name(name) && name.bytes().all(is_valid))
            .then(|| Self { name_or_arn: text.to_owned(), region })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.name_or_arn
    }

    /// The region in the ARN.
    pub(super) fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name_or_arn)
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_LIMIT_BYTES).contains(&name.len())
}

/// The region and the resource of an ARN of this service.
fn parts<'a>(arn: &'a str, service: &str) -> Option<(&'a str, &'a str)> {
    let mut parts = arn.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (prefix, partition, of_service) = (next(), next(), next());
    let (region, account, resource) = (next(), next(), next());
    let is_partition = partition.starts_with("aws")
        && partition.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_valid = prefix == "arn"
        && is_partition
        && of_service == service
        && is_region(region)
        && is_account
        && !resource.is_empty();
    is_valid.then_some((region, resource))
}

/// Whether a text can be a region, which becomes part of a host name.
pub(super) fn is_region(text: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let has_hyphen_at_edge = text.starts_with('-') || text.ends_with('-');
    (1..=63).contains(&text.len()) && text.bytes().all(is_valid) && !has_hyphen_at_edge
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn topic_has_a_region_and_a_kind() {
        let topic = Topic::parse("arn:aws:sns:eu-central-1:123456789012:audit").unwrap();
        assert_eq!((topic.region(), topic.is_fifo()), ("eu-central-1", false));
        assert!(Topic::parse("arn:aws-cn:sns:cn-north-1:123456789012:a.fifo").unwrap().is_fifo());
    }

    #[test]
    fn other_texts_are_no_topics() {
        let long = format!("arn:aws:sns:us-east-1:123456789012:{}", "a".repeat(257));
        let invalid = [
            "",
            "audit",
            "arn:aws:sqs:us-east-1:123456789012:audit",
            "arn:aws:sns::123456789012:audit",
            "arn:aws:sns:us-east-1.example.com/:123456789012:audit",
            "arn:aws:sns:us-east-1:1234:audit",
            "arn:aws:sns:us-east-1:123456789012:",
            "arn:aws:sns:us-east-1:123456789012:.fifo",
            "arn:aws:sns:us-east-1:123456789012:audit:subscription",
            "arn:aws:sns:us-east-1:123456789012:au\r\ndit",
            "arn:other:sns:us-east-1:123456789012:audit",
            &long,
        ];
        for text in invalid {
            assert_eq!(Topic::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn bus_is_a_name_or_an_arn() {
        assert_eq!(Bus::parse("audit").unwrap().region(), None);
        let bus = Bus::parse("arn:aws:events:us-west-2:123456789012:event-bus/audit").unwrap();
        assert_eq!(bus.region(), Some("us-west-2"));
        for text in
            ["", "au dit", "arn:aws:events:us-west-2:123456789012:rule/audit", "arn:", "a\n"]
        {
            assert_eq!(Bus::parse(text), None, "{text:?}");
        }
    }
}

//! The content of an event's file, on disk and in the store.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tara_export_catalog::{
    Export,
    summary::{SummaryV1, TimeV1},
};
use tara_export_digest::Sha256;

use uuid::Uuid;

use crate::{BatchCounts, EndedBatch, EndedRun, Event, EventContent, EventType, Exported};

/// The schema of the file.
pub(super) const SCHEMA: &str = "tara-export/event/v1";
/// Maximum size of the message in a file. It may contain the texts of several errors.
const MESSAGE_LIMIT_BYTES: usize = 2_048;

/// An event with what is known about its deliveries.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// The event.
    pub event: Event,
    /// Set if an operator lets a dead letter be delivered again.
    pub retry: Option<Retry>,
    /// The targets that never answered; empty unless it is a dead letter.
    pub dead: Vec<DeadDelivery>,
}

/// A dead letter is delivered again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Since when, by this server's clock.
    #[serde(with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// To these targets only.
    pub targets: Vec<String>,
}

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadDelivery {
    /// The target's name.
    pub target: String,
    /// Why, for operators.
    pub reason: String,
    /// When, by this server's clock.
    #[serde(with = "rfc3339")]
    pub time: DateTime<Utc>,
}

impl StoredEvent {
    /// A new event.
    pub fn new(event: Event) -> Self {
        Self { event, retry: None, dead: Vec::new() }
    }

    /// The time from which on deliveries are tried.
    pub fn since(&self) -> DateTime<Utc> {
        self.retry.as_ref().map_or(self.event.time, |retry| retry.time)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct EventV1 {
    r#type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_digest: Option<Sha256>,
    time: TimeV1,
    /// Exactly one of this, `batch` and `job` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    export: Option<SummaryV1>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    state_reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<EndedBatchV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<EndedRunV1>,
    artifact_count: u64,
    size_bytes: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dead: Vec<DeadDelivery>,
}

#[derive(Serialize, Deserialize)]
struct EndedBatchV1 {
    batch_id: Uuid,
    accepted_time: TimeV1,
    counts: BatchCounts,
    report_location: String,
}

#[derive(Serialize, Deserialize)]
struct EndedRunV1 {
    job: String,
    number: u64,
    owner: Uuid,
    started_time: TimeV1,
    has_succeeded: bool,
}

impl From<&StoredEvent> for EventV1 {
    fn from(stored: &StoredEvent) -> Self {
        let StoredEvent { event, retry, dead } = stored;
        let message = &event.message;
        let mut record = Self {
            r#type: event.event_type.as_str().to_owned(),
            content_digest: event.content_digest,
            time: TimeV1(event.time),
            export: None,
            state_reason: String::new(),
            batch: None,
            job: None,
            artifact_count: 0,
            size_bytes: 0,
            message: message[..message.floor_char_boundary(MESSAGE_LIMIT_BYTES)].to_owned(),
            recipients: event.recipients.clone(),
            retry: retry.clone(),
            dead: dead.clone(),
        };
        match event.content.clone() {
            EventContent::Export(exported) => {
                let Exported { export, artifact_count, size_bytes } = *exported;
                record.state_reason.clone_from(&export.state_reason);
                let summary = SummaryV1::from(&Export { artifacts: Vec::new(), ..export });
                record.export = Some(summary);
                record.artifact_count = artifact_count;
                record.size_bytes = size_bytes;
            }
            EventContent::Batch(batch) => {
                let EndedBatch { batch_id, accepted_time, counts, report_location } = batch;
                let accepted_time = TimeV1(accepted_time);
                let batch = EndedBatchV1 { batch_id, accepted_time, counts, report_location };
                record.batch = Some(batch);
            }
            EventContent::Job(run) => {
                let EndedRun { job, number, owner, started_time, has_succeeded } = run;
                let started_time = TimeV1(started_time);
                let run = EndedRunV1 { job, number, owner, started_time, has_succeeded };
                record.job = Some(run);
            }
        }
        record
    }
}

impl EventV1 {
    /// `None` if the type is of a later release.
    pub(super) fn into_stored(self) -> Option<StoredEvent> {
        let event_type: EventType = self.r#type.parse().ok()?;
        let content = match (event_type, self.export, self.batch, self.job) {
            (EventType::BatchEnded, None, Some(batch), None) => {
                let EndedBatchV1 { batch_id, accepted_time, counts, report_location } = batch;
                let accepted_time = accepted_time.0;
                EventContent::Batch(EndedBatch { batch_id, accepted_time, counts, report_location })
            }
            (EventType::JobEnded, None, None, Some(run)) => {
                let EndedRunV1 { job, number, owner, started_time, has_succeeded } = run;
                let started_time = started_time.0;
                EventContent::Job(EndedRun { job, number, owner, started_time, has_succeeded })
            }
            (EventType::BatchEnded | EventType::JobEnded, ..) => return None,
            (_, Some(export), None, None) => EventContent::Export(Box::new(Exported {
                export: export.into_export(event_type.state(), self.state_reason),
                artifact_count: self.artifact_count,
                size_bytes: self.size_bytes,
            })),
            _ => return None,
        };
        let event = Event {
            event_type,
            content_digest: self.content_digest,
            time: self.time.0,
            content,
            message: self.message,
            recipients: self.recipients,
        };
        Some(StoredEvent { event, retry: self.retry, dead: self.dead })
    }
}

/// An event as the bytes of an object in the store.
pub fn encode(event: &Event) -> serde_json::Value {
    serde_json::to_value(EventV1::from(&StoredEvent::new(event.clone()))).unwrap_or_default()
}

/// The event of an object in the store. `None` if a later release wrote it, or it is no event.
pub fn decode(content: serde_json::Value) -> Option<Event> {
    Some(serde_json::from_value::<EventV1>(content).ok()?.into_stored()?.event)
}

mod rfc3339 {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use tara_export_catalog::summary::TimeV1;

    pub(super) fn serialize<S: Serializer>(
        time: &DateTime<Utc>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        TimeV1(*time).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        TimeV1::deserialize(deserializer).map(|time| time.0)
    }
}

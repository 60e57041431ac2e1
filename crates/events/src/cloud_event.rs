//! An event as a CloudEvent 1.0 in JSON.
//!
//! Source: CloudEvents 1.0.2, JSON event format 1.0.2.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use tara_export_bundle::Destination;
use tara_export_store::StoreKind;

use super::{BatchCounts, EndedBatch, EndedRun, Event, EventContent, Exported};

/// Maximum size of an event as JSON. Within the 256 KiB of SNS and EventBridge, and small enough for any receiver.
pub const EVENT_LIMIT_BYTES: usize = 8 * 1024;
/// Maximum size of one text in an event, as JSON. Longer texts end with an ellipsis.
const TEXT_LIMIT_BYTES: usize = 1_024;

/// Whether an event contains the names of the document and the reviewer, and everything that contains them: the
/// folder, the location and the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    /// With names.
    Included,
    /// Without names.
    #[default]
    Omitted,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: &'static str,
    r#type: String,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    data: Data<'a>,
}

/// Fields that an event lacks are left out.
#[derive(Serialize, Default)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    export: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<BatchCounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report_location: Option<String>,
    state: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    state_reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_destination: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_in: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    committed_time: Option<String>,
    artifact_count: u64,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reviewer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
}

impl Event {
    /// The event as a CloudEvent; at most [`EVENT_LIMIT_BYTES`] as compact JSON.
    pub fn to_cloud_event(&self, names: Names) -> Value {
        let data = match &self.content {
            EventContent::Export(exported) => self.export_data(exported, names),
            EventContent::Batch(batch) => self.batch_data(batch),
            EventContent::Job(run) => self.run_data(run, names),
        };
        let event = CloudEvent {
            specversion: "1.0",
            id: self.id().to_string(),
            source: "/tara-export",
            r#type: self.event_type.cloud_event_type(),
            subject: &self.subject(),
            time: rfc3339(self.time),
            datacontenttype: "application/json",
            data,
        };
        serde_json::to_value(event).unwrap_or_default()
    }

    fn export_data<'a>(&'a self, exported: &'a Exported, names: Names) -> Data<'a> {
        let Exported { export, artifact_count, size_bytes } = exported;
        let text = |text: &str| named(text, names);
        Data {
            export: Some(self.subject()),
            state: self.state_name(),
            state_reason: &export.state_reason,
            message: text(&self.message),
            requested_destination: Some(match export.requested_destination {
                Destination::S3 => "S3",
                Destination::Local => "LOCAL",
            }),
            stored_in: export.stored_in.map(|store| match store {
                StoreKind::S3 => "S3",
                StoreKind::Local => "LOCAL",
            }),
            location: text(&export.location),
            folder_name: export.folder_name.as_ref().and_then(|folder| text(&folder.to_string())),
            accepted_time: Some(rfc3339(export.accepted_time.as_datetime())),
            committed_time: export.committed_time.map(rfc3339),
            artifact_count: *artifact_count,
            size_bytes: *size_bytes,
            document_name: text(&export.document_name),
            reviewer: text(&export.reviewer),
            session_id: (!export.session_id.is_empty()).then(|| shortened(&export.session_id)),
            ..Data::default()
        }
    }

    fn batch_data<'a>(&self, batch: &EndedBatch) -> Data<'a> {
        Data {
            batch: Some(self.subject()),
            counts: Some(batch.counts),
            report_location: Some(shortened(&batch.report_location)),
            state: self.state_name(),
            // It has numbers only.
            message: Some(shortened(&self.message)),
            accepted_time: Some(rfc3339(batch.accepted_time)),
            ..Data::default()
        }
    }

    fn run_data<'a>(&'a self, run: &'a EndedRun, names: Names) -> Data<'a> {
        Data {
            job: Some(&run.job),
            run: Some(run.number),
            state: self.state_name(),
            message: named(&self.message, names),
            started_time: Some(rfc3339(run.started_time)),
            ..Data::default()
        }
    }
}

/// A text that may contain names, unless it is empty.
fn named(text: &str, names: Names) -> Option<String> {
    (names == Names::Included && !text.is_empty()).then(|| shortened(text))
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The text, shortened so that it has at most [`TEXT_LIMIT_BYTES`] as JSON.
fn shortened(text: &str) -> String {
    let mut size_bytes = 0;
    for (position, character) in text.char_indices() {
        size_bytes += match character {
            '"' | '\\' => 2,
            // As \u0000.
            '\0'..='\x1f' => 6,
            _ => character.len_utf8(),
        };
        if size_bytes > TEXT_LIMIT_BYTES {
            let mut shortened = text[..position].to_owned();
            shortened.push('…');
            return shortened;
        }
    }
    text.to_owned()
}

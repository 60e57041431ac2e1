//! An event, its type and its id.

use std::{fmt, str::FromStr, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tara_export_bundle::{AcceptedTime, Destination, ExportId};
use tara_export_catalog::{Export, ExportState};
use tara_export_digest::Sha256;
use tara_export_store::StoreKind;
use uuid::Uuid;

/// The prefix of the names of types.
const TYPE_PREFIX: &str = "tara.export.v1.";

/// What happened to an export, a batch or a job. In the order in which one export's events happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// Its bundle is complete at the requested destination.
    Committed,
    /// Its bundle is complete in the local store, because S3 failed.
    FellBack,
    /// Its bundle fell back before, and is in S3 now.
    Synced,
    /// It ended without a bundle.
    Failed,
    /// Its journal entry cannot be processed: an operator must act.
    Quarantined,
    /// Every item of a batch has ended. Not an event of one export.
    BatchEnded,
    /// A run of a scheduled job has ended. Not an event of one export.
    JobEnded,
    /// Nothing: an operator tests a target.
    Test,
}

impl EventType {
    /// All types that targets can get, other than tests.
    pub const ALL: [Self; 7] = [
        Self::Committed,
        Self::FellBack,
        Self::Synced,
        Self::Failed,
        Self::Quarantined,
        Self::BatchEnded,
        Self::JobEnded,
    ];

    /// The short name, as in `NOTIFY_FILE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::FellBack => "fell_back",
            Self::Synced => "synced",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
            Self::BatchEnded => "batch_ended",
            Self::JobEnded => "job_ended",
            Self::Test => "test",
        }
    }

    /// The type of the CloudEvent, such as `tara.export.v1.committed`.
    pub fn cloud_event_type(self) -> String {
        format!("{TYPE_PREFIX}{}", self.as_str())
    }

    /// The state of an export right after the event. Events of batches and jobs have none.
    pub fn state(self) -> ExportState {
        match self {
            Self::Committed | Self::Synced | Self::BatchEnded | Self::JobEnded | Self::Test => {
                ExportState::Committed
            }
            Self::FellBack => ExportState::FellBack,
            Self::Failed => ExportState::Failed,
            Self::Quarantined => ExportState::Quarantined,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A name that is not that of an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownEventType;

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(name: &str) -> Result<Self, UnknownEventType> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or(UnknownEventType)
    }
}

/// The id of an event: UUIDv5 of the export's id, the type and the content digest, so that every process computes the
/// same one. The digest keeps two contents apart that were accepted under one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

impl EventId {
    /// The id of the event of this type of an export. `content_digest` is `None` if nothing but the id is known of it.
    pub fn of(export_id: ExportId, content_digest: Option<Sha256>, event_type: EventType) -> Self {
        Self::of_subject(export_id.as_uuid(), content_digest, event_type)
    }

    /// The same of whatever has this id: an export, a batch or a run of a job.
    pub fn of_subject(
        subject_id: Uuid,
        content_digest: Option<Sha256>,
        event_type: EventType,
    ) -> Self {
        let mut name = event_type.cloud_event_type();
        if let Some(content_digest) = content_digest {
            name.push(' ');
            name.push_str(&content_digest.to_string());
        }
        Self(Uuid::new_v5(&subject_id, name.as_bytes()))
    }

    /// As a UUID.
    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq)]
pub enum EventContent {
    /// An export.
    Export(Box<Exported>),
    /// A batch.
    Batch(EndedBatch),
    /// A run of a job.
    Job(EndedRun),
}

/// An export right after an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The export. Its artifacts are not listed.
    pub export: Export,
    /// Number of the bundle's files, including the manifest; 0 without a bundle.
    pub artifact_count: u64,
    /// Size of the bundle's files without the manifest.
    pub size_bytes: u64,
}

/// A batch that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedBatch {
    /// Its id.
    pub batch_id: Uuid,
    /// When it was received.
    pub accepted_time: DateTime<Utc>,
    /// The number of items in each state.
    pub counts: BatchCounts,
    /// Where the report is.
    pub report_location: String,
}

/// A run of a scheduled job that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedRun {
    /// The name of the job.
    pub job: String,
    /// The number of the run in the job's log.
    pub number: u64,
    /// The process that ran it: logs of different servers have runs of the same names and numbers.
    pub owner: Uuid,
    /// When it started.
    pub started_time: DateTime<Utc>,
    /// Whether it succeeded.
    pub has_succeeded: bool,
}

impl EndedRun {
    /// The id of the run.
    fn id(&self) -> Uuid {
        Uuid::new_v5(&self.owner, format!("jobs/{}/runs/{}", self.job, self.number).as_bytes())
    }
}

/// The number of a batch's items in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchCounts {
    /// All items.
    pub total: u32,
    /// Complete in their destination.
    pub committed: u32,
    /// Complete in the local store.
    pub fell_back: u32,
    /// Not accepted.
    pub refused: u32,
    /// Accepted, and without a bundle.
    pub failed: u32,
}

/// Something that happened to an export, to a batch or to a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub event_type: EventType,
    /// The content digest of the export, as in its journal entry; the digest of a batch.
    pub content_digest: Option<Sha256>,
    /// When it happened, by this server's clock.
    pub time: DateTime<Utc>,
    /// To what.
    pub content: EventContent,
    /// What failed and what to do, of an export: empty unless something failed; the counts of a batch; what a run of a
    /// job did. May contain names of documents and files, except that of a batch.
    pub message: String,
    /// The addresses of the request's `notify_emails`.
    pub recipients: Vec<String>,
}

impl Event {
    /// The event of this type, of an export as it is after it.
    pub fn new(
        event_type: EventType,
        export: Export,
        content_digest: Option<Sha256>,
        time: DateTime<Utc>,
    ) -> Self {
        let has_bundle = export.stored_in.is_some();
        let exported = Exported {
            artifact_count: if has_bundle { export.artifacts.len() as u64 + 1 } else { 0 },
            size_bytes: export.size_bytes(),
            export: Export { artifacts: Vec::new(), ..export },
        };
        let content = EventContent::Export(Box::new(exported));
        Self {
            event_type,
            content_digest,
            time,
            content,
            message: String::new(),
            recipients: Vec::new(),
        }
    }

    /// The event of a batch whose last item ended at `ended_time`.
    pub fn batch_ended(digest: Sha256, batch: EndedBatch, ended_time: DateTime<Utc>) -> Self {
        let BatchCounts { total, committed, fell_back, refused, failed } = batch.counts;
        let message = format!(
            "{total} items: {committed} committed, {fell_back} fell back, {refused} refused, {failed} failed"
        );
        Self {
            event_type: EventType::BatchEnded,
            content_digest: Some(digest),
            time: ended_time,
            content: EventContent::Batch(batch),
            message,
            recipients: Vec::new(),
        }
    }

    /// The event of a run that ended at `ended_time`, with what it did.
    pub fn job_ended(run: EndedRun, message: String, ended_time: DateTime<Utc>) -> Self {
        Self {
            event_type: EventType::JobEnded,
            content_digest: None,
            time: ended_time,
            content: EventContent::Job(run),
            message,
            recipients: Vec::new(),
        }
    }

    /// The export that it is about. `None` if it is about a batch or a job.
    pub fn export(&self) -> Option<&Export> {
        match &self.content {
            EventContent::Export(exported) => Some(&exported.export),
            EventContent::Batch(_) | EventContent::Job(_) => None,
        }
    }

    /// What it is about, in the API: `exports/{id}`, `batches/{id}` or `jobs/{name}/runs/{number}`.
    pub fn subject(&self) -> String {
        match &self.content {
            EventContent::Export(exported) => format!("exports/{}", exported.export.export_id),
            EventContent::Batch(batch) => format!("batches/{}", batch.batch_id),
            EventContent::Job(run) => format!("jobs/{}/runs/{}", run.job, run.number),
        }
    }

    /// The id of what it is about. Events of one id have an order.
    pub fn subject_id(&self) -> Uuid {
        match &self.content {
            EventContent::Export(exported) => exported.export.export_id.as_uuid(),
            EventContent::Batch(batch) => batch.batch_id,
            EventContent::Job(run) => run.id(),
        }
    }

    /// The state of the export, the batch or the run right after it, in the words of the API.
    pub fn state_name(&self) -> &'static str {
        match &self.content {
            EventContent::Export(_) => match self.event_type.state() {
                ExportState::FellBack => "FELL_BACK",
                ExportState::Failed => "FAILED",
                ExportState::Quarantined => "QUARANTINED",
                ExportState::Committed | ExportState::Running | ExportState::Pending => "COMMITTED",
            },
            EventContent::Batch(_) => "ENDED",
            EventContent::Job(run) if run.has_succeeded => "SUCCEEDED",
            EventContent::Job(_) => "FAILED",
        }
    }

    /// Its id.
    pub fn id(&self) -> EventId {
        self.id_of(self.event_type)
    }

    /// The id of the event of this type of the same export.
    pub fn id_of(&self, event_type: EventType) -> EventId {
        EventId::of_subject(self.subject_id(), self.content_digest, event_type)
    }

    /// An event that tests a target. It has the form of a committed export, which does not exist.
    pub fn test(export_id: ExportId, time: DateTime<Utc>) -> Self {
        let export = Export {
            export_id,
            is_id_unknown: false,
            state: ExportState::Committed,
            state_reason: String::new(),
            document_name: "Test of a notification".to_owned(),
            session_id: "test".to_owned(),
            reviewer: "tara-export".to_owned(),
            requested_by: String::new(),
            requested_destination: Destination::S3,
            stored_in: Some(StoreKind::S3),
            folder_name: None,
            location: String::new(),
            artifacts: Vec::new(),
            manifest_sha256: None,
            accepted_time: AcceptedTime::new(time),
            committed_time: Some(time),
            adopted: false,
            replacements: Arc::default(),
        };
        let exported = Exported { export, artifact_count: 13, size_bytes: 41_234 };
        Self {
            event_type: EventType::Test,
            content_digest: None,
            time,
            content: EventContent::Export(Box::new(exported)),
            message: String::new(),
            recipients: Vec::new(),
        }
    }
}

/// Sample events, for tests.
#[cfg(feature = "testing")]
#[allow(clippy::unwrap_used)]
pub mod testing {
    use super::*;

    impl Event {
        /// The export, to be changed. Panics if there is none.
        pub fn export_mut(&mut self) -> &mut Export {
            &mut self.exported_mut().export
        }

        /// The export with its sizes, to be changed. Panics if there is none.
        #[allow(clippy::panic)]
        pub fn exported_mut(&mut self) -> &mut Exported {
            match &mut self.content {
                EventContent::Export(exported) => exported,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The event of this type of an export with this number.
    pub fn sample(event_type: EventType, number: u32) -> Event {
        let time = DateTime::from_timestamp(1_700_000_000 + i64::from(number), 0).unwrap();
        let export_id: ExportId = Uuid::from_u128(number.into()).to_string().parse().unwrap();
        match event_type {
            EventType::BatchEnded => {
                let batch = EndedBatch {
                    batch_id: export_id.as_uuid(),
                    accepted_time: time,
                    counts: BatchCounts { total: 3, committed: 2, failed: 1, ..Default::default() },
                    report_location: "s3://bucket/tara/.tara-export/batches/1/report.json"
                        .to_owned(),
                };
                return Event::batch_ended(Sha256::of(b"batch"), batch, time);
            }
            EventType::JobEnded => {
                let run = EndedRun {
                    job: "sessions".to_owned(),
                    number: number.into(),
                    owner: Uuid::from_u128(1),
                    started_time: time,
                    has_succeeded: false,
                };
                return Event::job_ended(run, "S3 does not answer".to_owned(), time);
            }
            _ => {}
        }
        let mut event = Event { event_type, ..Event::test(export_id, time) };
        let exported = event.exported_mut();
        let export = &mut exported.export;
        export.document_name = "Report.docx".to_owned();
        export.session_id = format!("session-{number}");
        export.reviewer = "Ada".to_owned();
        export.folder_name = Some("20231114_221320_Report".parse().unwrap());
        export.location = "s3://bucket/tara/20231114_221320_Report".to_owned();
        export.state = event_type.state();
        match export.state {
            ExportState::FellBack => {
                export.state_reason = "STORE_UNAVAILABLE".to_owned();
                export.stored_in = Some(StoreKind::Local);
                export.location = "/data/20231114_221320_Report".to_owned();
            }
            ExportState::Failed | ExportState::Quarantined => {
                export.state_reason = "DATA_LOSS".to_owned();
                export.stored_in = None;
                export.folder_name = None;
                export.location = String::new();
                export.committed_time = None;
                exported.artifact_count = 0;
                exported.size_bytes = 0;
            }
            ExportState::Committed | ExportState::Running | ExportState::Pending => return event,
        }
        event.message = "S3 does not answer".to_owned();
        event
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn id_is_that_of_the_export_and_the_type() {
        let export_id: ExportId = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let ids = EventType::ALL.map(|event_type| EventId::of(export_id, None, event_type));
        // Other processes and releases compute the same ids.
        assert_eq!(ids[0].to_string(), "79a19730-ec9c-5990-9ec4-48720362f90d");
        let digests = [Sha256::of(b"1"), Sha256::of(b"2")]
            .map(|digest| EventId::of(export_id, Some(digest), EventType::Committed));
        let mut distinct = [ids.as_slice(), &digests].concat();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), ids.len() + digests.len());
    }

    #[test]
    fn type_is_parsed_from_its_name() {
        for event_type in EventType::ALL {
            assert_eq!(event_type.as_str().parse(), Ok(event_type));
        }
        assert_eq!("done".parse::<EventType>(), Err(UnknownEventType));
    }
}

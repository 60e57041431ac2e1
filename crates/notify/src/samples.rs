//! Events that templates are rendered with when they are loaded, so that their faults are found before an event is
//! lost.

use chrono::{DateTime, Utc};
use tara_export_bundle::ExportId;
use tara_export_catalog::ExportState;
use tara_export_digest::Sha256;
use tara_export_events::{BatchCounts, EndedBatch, EndedRun, Event, EventContent, EventType};
use tara_export_store::StoreKind;
use uuid::Uuid;

/// Text that ends strings, tags and statements where it is not escaped.
const HOSTILE: &str = "\"'\\ <b>&amp;</b> {{ 1 }} {% x %} \u{2028}\r\n\t\u{1f600}";

/// Events of every type: usual ones, ones without optional values, and ones with text that must be escaped.
pub(crate) fn samples() -> Vec<Event> {
    let types = EventType::ALL.into_iter().chain([EventType::Test]);
    types
        .flat_map(|event_type| [usual(event_type), sparse(event_type), hostile(event_type)])
        .collect()
}

fn usual(event_type: EventType) -> Event {
    let time = DateTime::<Utc>::from_timestamp(1_700_000_000, 0).unwrap_or_default();
    let id = Uuid::from_u128(1);
    match event_type {
        EventType::BatchEnded => {
            let batch = EndedBatch {
                batch_id: id,
                accepted_time: time,
                counts: BatchCounts { total: 500, committed: 497, failed: 3, ..Default::default() },
                report_location: "s3://bucket/tara/.tara-export/batches/1/report.json".to_owned(),
            };
            return Event::batch_ended(Sha256::of(b"batch"), batch, time);
        }
        EventType::JobEnded => {
            let run = EndedRun {
                job: "sessions".to_owned(),
                number: 12,
                owner: id,
                started_time: time,
                has_succeeded: false,
            };
            return Event::job_ended(run, "S3 does not answer".to_owned(), time);
        }
        _ => {}
    }
    let mut event = Event { event_type, ..Event::test(ExportId::new(id), time) };
    let EventContent::Export(exported) = &mut event.content else { return event };
    let export = &mut exported.export;
    export.document_name = "Report.docx".to_owned();
    export.reviewer = "Ada".to_owned();
    export.folder_name = "20231114_221320_Report".parse().ok();
    export.location = "s3://bucket/tara/20231114_221320_Report".to_owned();
    export.state = event_type.state();
    match export.state {
        ExportState::Committed | ExportState::Running | ExportState::Pending => return event,
        ExportState::FellBack => export.stored_in = Some(StoreKind::Local),
        ExportState::Failed | ExportState::Quarantined => {
            export.stored_in = None;
            export.folder_name = None;
            export.location = String::new();
            export.committed_time = None;
            exported.artifact_count = 0;
            exported.size_bytes = 0;
        }
    }
    exported.export.state_reason = "STORE_UNAVAILABLE".to_owned();
    event.message = "S3 does not answer".to_owned();
    event
}

fn sparse(event_type: EventType) -> Event {
    let mut event = usual(event_type);
    event.message = String::new();
    let EventContent::Export(exported) = &mut event.content else { return event };
    let export = &mut exported.export;
    export.document_name = String::new();
    export.reviewer = String::new();
    export.session_id = String::new();
    export.state_reason = String::new();
    export.folder_name = None;
    export.location = String::new();
    export.stored_in = None;
    export.committed_time = None;
    event
}

fn hostile(event_type: EventType) -> Event {
    let mut event = usual(event_type);
    event.message = HOSTILE.to_owned();
    let EventContent::Export(exported) = &mut event.content else { return event };
    let export = &mut exported.export;
    export.document_name = HOSTILE.to_owned();
    export.reviewer = HOSTILE.to_owned();
    export.session_id = HOSTILE.to_owned();
    export.location = HOSTILE.to_owned();
    event
}

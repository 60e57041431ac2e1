//! Converts between proto messages and domain types.

mod automation;
mod batch;
mod events;
mod export;
mod jobs;
mod names;
mod path;
mod preview;
mod report;
mod request;
mod review;

#[cfg(test)]
pub(super) use self::review::review;
pub(super) use self::{
    automation::{
        event_from_token, event_query, event_view_message, events_token, target_message, time,
    },
    batch::{
        ConvertedBatch, batch_id, batch_message, batch_request, batch_summary, counts_message,
        item_message,
    },
    events::{completed_event, event_message, failed_event},
    export::{artifact_message, check_message, export_message, timestamp},
    jobs::{job_message, run_message},
    names::{
        artifact_path, export_id, optional_sha256, page_size, request_id, time_to_live, upload_id,
    },
    preview::preview_message,
    report::report_message,
    request::{PreviewRequest, StartRequest, preview_request, start_request},
};

//! Converts between proto messages and domain types.

mod events;
mod export;
mod names;
mod path;
mod preview;
mod report;
mod request;
mod review;

#[cfg(test)]
pub(super) use self::review::review;
pub(super) use self::{
    events::{completed_event, event_message, failed_event},
    export::{artifact_message, check_message, export_message, timestamp},
    names::{
        artifact_path, export_id, optional_sha256, page_size, request_id, time_to_live, upload_id,
    },
    preview::preview_message,
    report::report_message,
    request::{PreviewRequest, StartRequest, preview_request, start_request},
};

//! The report of a batch in the store: what became of each item. Put once, never replaced.

use serde::{Deserialize, Serialize};
use tara_export_catalog::{layout, records, summary::TimeV1};
use tara_export_digest::Sha256;
use tara_export_store::{PutOutcome, Store, StoreError};
use uuid::Uuid;

use super::{item::Item, note::Note, state::Counts};

const SCHEMA: &str = "tara-export/batch-report/v1";
/// The largest report that is read. 500 items have less.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct ReportV1 {
    schema: String,
    batch: Uuid,
    digest: Sha256,
    requested_by: String,
    accepted_time: TimeV1,
    ended_time: TimeV1,
    counts: Counts,
    items: Vec<Item>,
}

/// Puts the report, unless the store has it. Returns its location.
///
/// # Errors
/// If the store does not take it.
pub(super) async fn put(store: &dyn Store, note: &Note) -> Result<String, StoreError> {
    let report = ReportV1 {
        schema: SCHEMA.to_owned(),
        batch: note.batch_id,
        digest: note.digest,
        requested_by: note.requested_by.clone(),
        accepted_time: TimeV1(note.accepted_time),
        ended_time: TimeV1(note.ended_time.unwrap_or(note.accepted_time)),
        counts: Counts::of(&note.items),
        items: note.items.clone(),
    };
    let key = layout::batch_report(note.batch_id);
    let location = store.location(key.as_str());
    if store.put_if_absent(&key, records::payload(&report)).await? == PutOutcome::Exists
        && let Some(found) = read(store, note.batch_id).await?
        && found.digest != note.digest
    {
        tracing::error!(
            batch_id = %note.batch_id, report = location,
            "two servers got different batches under one id: the report of the other one is in the store"
        );
    }
    Ok(location)
}

/// Reads the report of a batch. `None` if the store has none, or a later release wrote it.
///
/// # Errors
/// If the store does not respond, or the object is no report.
pub(super) async fn read(store: &dyn Store, batch_id: Uuid) -> Result<Option<Note>, StoreError> {
    let key = layout::batch_report(batch_id);
    let report: Option<ReportV1> = records::read_within(store, &key, LIMIT_BYTES).await?;
    let Some(report) = report else { return Ok(None) };
    if report.schema != SCHEMA || report.batch != batch_id {
        return Ok(None);
    }
    Ok(Some(Note {
        batch_id,
        digest: report.digest,
        requested_by: report.requested_by,
        accepted_time: report.accepted_time.0,
        items: report.items,
        ended_time: Some(report.ended_time.0),
        report_location: store.location(key.as_str()),
    }))
}

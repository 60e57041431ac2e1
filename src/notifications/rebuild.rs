//! Rebuilds the events of exports that are in the stores, for events that were lost with a disk or never written.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tara_export_catalog::{Catalog, ExportState, Filter, ListQuery};
use tara_export_events::{Event, EventType, Retry, StoredEvent};

use super::{dispatcher::Shared, queue::Name, retry::RetryError};

/// Exports on one page.
const PAGE_SIZE: usize = 500;
/// Exports that one call looks at. An operator continues with a later time.
const MAX_EXPORTS: usize = 20_000;

/// Writes the events of the exports whose bundles were stored in this range. Returns their number.
pub(super) async fn rebuild(
    shared: &Arc<Shared>,
    catalog: &Catalog,
    since: DateTime<Utc>,
    before: DateTime<Utc>,
) -> Result<u64, RetryError> {
    // An export is accepted before it is committed, perhaps long before, so the range of acceptance times has no start.
    let filter = format!("accepted_time < \"{}\"", before.to_rfc3339());
    let filter = Filter::parse(&filter).unwrap_or_default();
    let (mut after, mut count, mut seen) = (None, 0, 0);
    loop {
        let query = ListQuery { filter: filter.clone(), after, page_size: PAGE_SIZE };
        let page = catalog.list(&query, Vec::new()).await?;
        for export in &page.exports {
            let Some(committed_time) = export.committed_time else { continue };
            if committed_time < since || committed_time >= before || export.adopted {
                continue;
            }
            let event_type = match export.state {
                ExportState::Committed => EventType::Committed,
                ExportState::FellBack => EventType::FellBack,
                _ => continue,
            };
            let found = catalog.find(export.export_id).await?;
            let Some(bundle) = found else { continue };
            let digest = bundle.manifest().content_digest;
            let event = Event::new(event_type, bundle.export(), Some(digest), committed_time);
            count += u64::from(add(shared, event).await?);
        }
        seen += page.exports.len();
        let is_past = page.exports.last().is_some_and(|export| {
            // Exports are listed by acceptance time, the latest first.
            export.accepted_time.as_datetime() < since - MAX_DURATION
        });
        match page.next {
            Some(next) if seen < MAX_EXPORTS && !is_past => after = Some(next),
            _ => return Ok(count),
        }
    }
}

/// The longest time between acceptance and commit that is expected.
const MAX_DURATION: chrono::TimeDelta = chrono::TimeDelta::days(30);

/// Writes an event unless this server has one of the export. It is tried from now on, however old it is. Returns whether
/// it is new.
async fn add(shared: &Arc<Shared>, event: Event) -> Result<bool, RetryError> {
    let wanting = shared.targets.current();
    let wanting = wanting.iter().filter(|target| target.wants(&event));
    let targets: Vec<Name> = wanting.map(|target| target.name.to_string()).collect();
    if targets.is_empty() {
        return Ok(false);
    }
    let retry = Some(Retry { time: shared.clock.now(), targets });
    let stored = StoredEvent { retry, ..StoredEvent::new(event) };
    let written = stored.clone();
    let is_new = shared.on_disk(move |files| files.add_stored(&written)).await?;
    if is_new {
        shared.own(stored.event.id());
        shared.insert(stored, &[]);
    }
    Ok(is_new)
}

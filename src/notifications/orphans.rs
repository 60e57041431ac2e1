//! With `JOURNAL=store`: delivers the events of machines that were lost.
//!
//! A scan lists the objects of events. An event that was claimed long ago and has no end is an orphan, or its owner
//! waits for a target. The machine that takes the turn delivers it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tara_export_catalog::{
    StoredBundle, layout,
    records::{self, EventClaim},
};
use tara_export_events::{Consumer as _, Event, EventType, StoredEvent, decode};
use tara_export_store::{ListRequest, Store, StoreError, exists};
use tokio::time;
use uuid::Uuid;

use super::{
    claims::Turn,
    dispatcher::{OutboxError, Shared},
};

/// Keys per page of a listing.
const PAGE_SIZE: usize = 1_000;
/// Events that one scan takes at most. The next scan takes others.
const MAX_TAKEN: usize = 1_000;
/// Scans for orphans are rarer than those of the journal: delivered events stay listed until they expire.
const INTERVALS: u32 = 5;

/// Scans until the server stops.
pub(super) async fn watch(shared: Arc<Shared>, interval: Duration) {
    let Some(s3) = shared.claims.s3.clone().filter(|_| shared.claims.are_shared()) else { return };
    loop {
        tokio::select! {
            () = time::sleep(interval * INTERVALS) => {}
            () = shared.draining.cancelled() => return,
        }
        let scanned = tokio::select! {
            scanned = scan(&shared, s3.as_ref()) => scanned,
            () = shared.draining.cancelled() => return,
        };
        if let Err(error) = scanned {
            tracing::warn!(%error, "cannot look for the events of lost machines");
        }
    }
}

/// One scan.
pub(super) async fn scan(shared: &Arc<Shared>, s3: &dyn Store) -> Result<(), OutboxError> {
    let mut taken = 0;
    let mut start_after = None;
    loop {
        let request = ListRequest {
            prefix: layout::events_prefix(),
            start_after: start_after.take(),
            delimited: false,
            limit: PAGE_SIZE,
        };
        let listing = s3.list(request).await?;
        // `.done` precedes `.json` in the order of keys.
        let mut done: HashSet<Uuid> = HashSet::new();
        for (key, modified_time) in listing.keys_with_times() {
            let Some((event_id, suffix)) = layout::parse_event(key) else { continue };
            if suffix == ".done" {
                done.insert(event_id);
            }
            let is_old = modified_time.is_none_or(|time| {
                let age = (shared.clock.now() - time).to_std().unwrap_or_default();
                age >= shared.claims.takeover_age
            });
            if suffix == ".json" && is_old && !done.contains(&event_id) && taken < MAX_TAKEN {
                taken += usize::from(take(shared, s3, event_id).await?);
            }
        }
        match listing.keys.last() {
            Some(last) if listing.more => start_after = Some(last.clone()),
            _ => return Ok(()),
        }
    }
}

/// Takes an orphan, if it is this machine's turn. Returns whether it was taken.
async fn take(shared: &Arc<Shared>, s3: &dyn Store, event_id: Uuid) -> Result<bool, OutboxError> {
    let key = layout::event_claim(event_id);
    let Some(claim) = records::read::<EventClaim>(s3, &key).await? else { return Ok(false) };
    let Some(event) = decode(claim.event) else { return Ok(false) };
    let id = event.id();
    if *id.as_uuid() != event_id {
        tracing::warn!(key = key.as_str(), "the claim on an event has another event");
        return Ok(false);
    }
    if shared.on_disk(move |files| files.has(id)).await? {
        // This machine waits for a target, delivered the event, or leaves it to another.
        return Ok(false);
    }
    // Otherwise a restart would take it for an event that its owner delivers.
    if !shared.claims.has_turns(event.time, shared.clock.now()) {
        return Ok(false);
    }
    if event.event_type == EventType::Synced
        && is_waiting(s3, *event.id_of(EventType::FellBack).as_uuid()).await?
    {
        return Ok(false);
    }
    if event.event_type == EventType::FellBack && has_bundle(shared, &event).await {
        // The export has arrived in S3 since: the fallback needs no action any more.
        shared.claims.put_done(id).await?;
        return Ok(false);
    }
    if !shared.wants(&event) {
        return Ok(false);
    }
    match shared.claims.take_turn(id, event.time, shared.clock.now()).await {
        Turn::Own => {}
        Turn::Other(_) | Turn::Done => return Ok(false),
    }
    tracing::warn!(%event_id, "delivering an event of another machine");
    shared.own(id);
    let stored = StoredEvent::new(event.clone());
    if shared.on_disk(move |files| files.add(&event)).await? {
        shared.insert(stored, &[]);
    }
    Ok(true)
}

/// Whether an event was claimed and has no end.
async fn is_waiting(s3: &dyn Store, event_id: Uuid) -> Result<bool, StoreError> {
    Ok(records::event_owner(s3, event_id).await?.is_some()
        && !exists(s3, &layout::event_done(event_id)).await?)
}

/// Whether the bundle of an event's export is in S3. If that is not known, the event is delivered.
async fn has_bundle(shared: &Shared, event: &Event) -> bool {
    let Some(s3) = &shared.claims.s3 else { return false };
    let Some(export) = event.export() else { return false };
    matches!(StoredBundle::find(s3, export.export_id).await, Ok(Some(_)))
}

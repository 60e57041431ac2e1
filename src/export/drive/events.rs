//! Writes the events of exports: what targets of notifications get. Steps 18 to 20 of docs/design/commit-protocol.md.
//!
//! Everything here happens after the caller got the result, and does nothing without an outbox.

use tara_export_bundle::{AcceptedExport, AcceptedHeader, ExportId};
use tara_export_catalog::{
    Export, StoredBundle,
    layout::{self, JournalLocation},
    records::{self, EventClaim},
};
use tara_export_digest::Sha256;
use tara_export_events::{Event, EventId, EventType, encode};
use tara_export_failpoint::failpoint;
use tara_export_store::{Store, StoreKind, exists};

use crate::export::{
    drive::store_journal,
    error::StartError,
    failure::Failure,
    journal::{Journal, JournalError},
    shared::Shared,
};

/// The journal entry that an event belongs to.
#[derive(Debug, Clone, Copy)]
pub(in crate::export) struct EntryOf {
    pub export_id: ExportId,
    pub content_digest: Sha256,
}

impl EntryOf {
    /// That of an accepted export.
    pub(in crate::export) fn export(accepted: &AcceptedExport) -> Self {
        Self { export_id: accepted.export_id, content_digest: accepted.content_digest }
    }

    /// That of a header.
    pub(in crate::export) fn header(header: &AcceptedHeader) -> Self {
        Self { export_id: header.export_id, content_digest: header.content_digest }
    }
}

/// Writes the settled note of a committed export before its journal entry is removed. With `JOURNAL=store`, also claims
/// the event in the store, before the store's entry is ended.
///
/// # Errors
/// If the disk refuses the note, or the store the claim: the entry stays, and its cleanup is tried again.
pub(in crate::export) async fn settle_committed(
    shared: &Shared,
    entry: EntryOf,
    export: &Export,
) -> Result<(), Failure> {
    let Some(journal) = notifying(shared) else { return Ok(()) };
    let EntryOf { export_id, content_digest } = entry;
    let has_fallen_back = journal
        .has_event(export_id, content_digest, EventType::FellBack)
        .await
        .map_err(of_journal)?;
    let event_type = if has_fallen_back { EventType::Synced } else { EventType::Committed };
    settle(shared, journal, entry, event_type, export, Vec::new()).await
}

/// Writes the settled note of an export whose replica was lost, before its entry in the store is ended. If that replica
/// reported that the export fell back, this is the event that it is in S3 now.
///
/// # Errors
/// If the store does not respond, or the disk refuses the note: the entry stays.
pub(in crate::export) async fn settle_taken_over(
    shared: &Shared,
    s3: &dyn Store,
    entry: EntryOf,
    export: &Export,
) -> Result<(), Failure> {
    let Some(journal) = notifying(shared) else { return Ok(()) };
    let EntryOf { export_id, content_digest } = entry;
    let fell_back = EventId::of(export_id, Some(content_digest), EventType::FellBack);
    let event_type = match exists(s3, &layout::event_claim(*fell_back.as_uuid())).await? {
        true => EventType::Synced,
        false => EventType::Committed,
    };
    let recipients = store_journal::read_recipients(s3, export_id, content_digest).await?;
    settle(shared, journal, entry, event_type, export, recipients).await
}

/// The journal, if anything is notified.
fn notifying(shared: &Shared) -> Option<&Journal> {
    shared.journal().ok().filter(|journal| journal.event_owner().is_some())
}

async fn settle(
    shared: &Shared,
    journal: &Journal,
    entry: EntryOf,
    event_type: EventType,
    export: &Export,
    recipients: Vec<String>,
) -> Result<(), Failure> {
    let EntryOf { export_id, content_digest } = entry;
    let time = shared.clock.now();
    let event = Event::new(event_type, export.clone(), Some(content_digest), time);
    let event = Event { recipients, ..event };
    let wanted = journal.settle(export_id, content_digest, event).await.map_err(of_journal)?;
    if let (Some(event), Some(owner)) = (wanted, journal.event_owner())
        && shared.settings.journal == JournalLocation::Store
        && export.stored_in == Some(StoreKind::S3)
        && let Some(s3) = &shared.stores.s3
    {
        // The machine that delivers the fallback delivers this as well, after it.
        let owner = match event_type {
            EventType::Synced => {
                let fell_back = event.id_of(EventType::FellBack);
                records::event_owner(s3.as_ref(), *fell_back.as_uuid()).await?.unwrap_or(owner)
            }
            _ => owner,
        };
        let claim = EventClaim { owner, event: encode(&event) };
        records::claim_event(s3.as_ref(), *event.id().as_uuid(), &claim).await?;
        failpoint!("event.claimed");
    }
    Ok(())
}

/// Writes the event of an export whose bundle is complete in the local store. Called again by the next start and before
/// each sync, so that a crash or a full disk only delays it.
pub(in crate::export) async fn add_fell_back(shared: &Shared, entry: EntryOf, export: &Export) {
    let Some(journal) = notifying(shared) else { return };
    let EntryOf { export_id, content_digest } = entry;
    let time = export.committed_time.unwrap_or_else(|| shared.clock.now());
    let event = Event::new(EventType::FellBack, export.clone(), Some(content_digest), time);
    if let Err(error) = journal.add_event(export_id, content_digest, event).await {
        tracing::warn!(%export_id, %error, "cannot write the event of a fallback now; retrying later");
    }
    failpoint!("fallback.noted");
}

/// Writes the event of a fallback that a crash or a full disk prevented.
pub(in crate::export) async fn ensure_fell_back(shared: &Shared, header: &AcceptedHeader) {
    let Some(journal) = notifying(shared) else { return };
    let entry = EntryOf::header(header);
    let EntryOf { export_id, content_digest } = entry;
    if let Ok(false) = journal.has_event(export_id, content_digest, EventType::FellBack).await
        && let Ok(Some(bundle)) = StoredBundle::find(&shared.stores.local, export_id).await
        && bundle.manifest().content_digest == content_digest
    {
        add_fell_back(shared, entry, &bundle.export()).await;
    }
}

fn of_journal(error: JournalError) -> Failure {
    Failure::of_journal(&StartError::from(error))
}

//! Events of exports whose journal entries end: written before the entry is removed, so that a crash loses none.
//!
//! Without an outbox, or a consumer of the event, nothing is written.

use std::{fs::File, path::Path};

use chrono::{DateTime, Utc};
use tara_export_bundle::{AcceptedTime, Destination, ExportId};
use tara_export_catalog::{Export, ExportState};
use tara_export_digest::Sha256;
use tara_export_disk::DiskError;
use tara_export_events::{Event, EventId, EventType, Outbox};
use uuid::Uuid;

use super::{
    EntryName, FailedExport, Files, Journal, JournalError, Quarantined, entries::read_header,
};
use crate::export::failure::FailureReason;

impl Journal {
    /// Writes the settled note of an export durably, with the recipients of its request. Its entry may be removed
    /// afterwards. Returns the event if somebody wants it.
    ///
    /// # Errors
    /// If the disk refuses the note. The entry must stay.
    pub async fn settle(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
        event: Event,
    ) -> Result<Option<Event>, JournalError> {
        let name = EntryName { export_id, content_digest };
        self.run(move |files| Ok(files.settle(name, event)?)).await
    }

    /// Writes an event of an export whose entry stays, unless it was written before.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub async fn add_event(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
        event: Event,
    ) -> Result<(), JournalError> {
        let name = EntryName { export_id, content_digest };
        self.run(move |files| {
            let Some(outbox) = &files.outbox else { return Ok(()) };
            Ok(outbox.add(&files.with_recipients(name, event))?)
        })
        .await
    }

    /// Whether an event of an export was written before. `false` without an outbox.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn has_event(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
        event_type: EventType,
    ) -> Result<bool, JournalError> {
        let event_id = EventId::of(export_id, Some(content_digest), event_type);
        self.run(move |files| match &files.outbox {
            Some(outbox) => Ok(outbox.has(event_id)?),
            None => Ok(false),
        })
        .await
    }

    /// The name of this machine in claims on events. `None` if no events are written.
    pub fn event_owner(&self) -> Option<Uuid> {
        self.files.outbox.as_ref().map(Outbox::owner)
    }
}

impl Files {
    fn settle(&self, name: EntryName, event: Event) -> Result<Option<Event>, DiskError> {
        let Some(outbox) = &self.outbox else { return Ok(None) };
        let event = self.with_recipients(name, event);
        Ok(outbox.settle(name.content_digest, &event)?.then_some(event))
    }

    /// The event with the recipients of its entry, unless it has some from the store's journal.
    fn with_recipients(&self, name: EntryName, mut event: Event) -> Event {
        if event.recipients.is_empty() {
            event.recipients = self.recipients(name);
        }
        event
    }

    /// Writes the settled note of a failed export, after its failure record and before its entry is removed: otherwise
    /// a failure could be reported of an export that the next start commits.
    pub(super) fn settle_failed(&self, failed: &FailedExport) -> Result<(), DiskError> {
        let export = failed.export().clone();
        let name = EntryName {
            export_id: export.export_id,
            content_digest: failed.content_digest().sha256,
        };
        let digest = Some(name.content_digest);
        let mut event = Event::new(EventType::Failed, export, digest, failed.failed_time());
        event.message.clone_from(&failed.failure().message);
        self.settle(name, event).map(drop)
    }

    /// Writes the event of a file that was moved to quarantine. Its time is that of the file.
    pub(super) fn add_quarantined(&self, quarantined: &Quarantined, path: &Path) {
        let (Some(outbox), Some(export_id)) = (&self.outbox, quarantined.export_id) else { return };
        let time = modified_time(path);
        let mut export = self.quarantined_export(path).unwrap_or_else(|| unknown(export_id, time));
        export.state = ExportState::Quarantined;
        FailureReason::DataLoss.as_str().clone_into(&mut export.state_reason);
        let entry: Option<EntryName> = quarantined.name.parse().ok();
        let digest = entry.map(|entry| entry.content_digest);
        let mut event = Event::new(EventType::Quarantined, export, digest, time);
        event.message.clone_from(&quarantined.reason);
        event.recipients = entry.map(|entry| self.recipients(entry)).unwrap_or_default();
        // The next start tries again.
        if let Err(error) = outbox.add(&event) {
            tracing::warn!(%export_id, %error, "cannot write the event of a quarantined export");
        }
    }

    /// Writes the events of files in quarantine that a crash prevented.
    pub(super) fn add_all_quarantined(&self) -> Result<(), JournalError> {
        if self.outbox.is_none() {
            return Ok(());
        }
        for quarantined in self.quarantined()?.files {
            let path = self.quarantine.join(&quarantined.name);
            self.add_quarantined(&quarantined, &path);
        }
        Ok(())
    }

    /// The export of a quarantined entry, if its header is intact.
    fn quarantined_export(&self, path: &Path) -> Option<Export> {
        let mut file = File::open(path).ok()?;
        let size_bytes = file.metadata().ok()?.len();
        let header = read_header(&mut file, size_bytes).ok()?.ok()?;
        Some(Export::running(&header.header))
    }
}

fn modified_time(path: &Path) -> DateTime<Utc> {
    let modified = path.symlink_metadata().and_then(|metadata| metadata.modified());
    modified.map_or(DateTime::UNIX_EPOCH, DateTime::from)
}

/// An export of which only the id is known.
fn unknown(export_id: ExportId, time: DateTime<Utc>) -> Export {
    Export {
        export_id,
        is_id_unknown: false,
        state: ExportState::Quarantined,
        state_reason: String::new(),
        document_name: String::new(),
        session_id: String::new(),
        reviewer: String::new(),
        requested_by: String::new(),
        requested_destination: Destination::S3,
        stored_in: None,
        folder_name: None,
        location: String::new(),
        artifacts: Vec::new(),
        manifest_sha256: None,
        accepted_time: AcceptedTime::new(time),
        committed_time: None,
        adopted: false,
        replacements: Default::default(),
    }
}

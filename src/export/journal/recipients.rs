//! The addresses of a request's `notify_emails`: a file beside the entry, written before it and removed with it. They
//! are no part of the content.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tara_export_bundle::ExportId;
use tara_export_digest::Sha256;
use tara_export_disk::{DiskError, plain_names};
use tara_export_state_file as state_file;

use super::{EntryName, Files, Journal, JournalError};

const SCHEMA: &str = "tara-export/recipients/v1";
const SUFFIX: &str = ".json";

#[derive(Serialize, Deserialize)]
struct RecipientsV1 {
    addresses: Vec<String>,
}

impl Journal {
    /// Writes the recipients of an entry that will be recorded durably, unless it has some: the first ones count.
    ///
    /// # Errors
    /// If the disk refuses them.
    pub async fn set_recipients(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
        addresses: Vec<String>,
    ) -> Result<(), JournalError> {
        let name = EntryName { export_id, content_digest };
        self.run(move |files| {
            let path = files.recipients_path(name);
            if !files.disk.has_file(&path)? {
                state_file::write(&files.disk, &path, SCHEMA, &RecipientsV1 { addresses })?;
            }
            Ok(())
        })
        .await
    }

    /// The recipients of an entry. Does not access the disk without notifications.
    pub async fn recipients(&self, export_id: ExportId, content_digest: Sha256) -> Vec<String> {
        if self.event_owner().is_none() {
            return Vec::new();
        }
        let name = EntryName { export_id, content_digest };
        self.run(move |files| Ok(files.recipients(name))).await.unwrap_or_default()
    }
}

impl Files {
    /// The recipients of an entry; none if it has none, or they cannot be read.
    pub(super) fn recipients(&self, name: EntryName) -> Vec<String> {
        match state_file::read::<RecipientsV1>(&self.recipients_path(name), SCHEMA) {
            Ok(found) => found.map(|found| found.addresses).unwrap_or_default(),
            Err(error) => {
                let export_id = name.export_id;
                tracing::error!(%export_id, %error, "cannot read the addresses that an export notifies: they get no mail");
                Vec::new()
            }
        }
    }

    /// Removes the recipients of an entry, before the entry itself is removed. If a power cut restores them, the next
    /// start removes them.
    pub(super) fn remove_recipients(&self, name: EntryName) -> Result<(), DiskError> {
        self.disk.remove(&self.recipients_path(name))?.leave_unsynced();
        Ok(())
    }

    /// Removes recipients without an entry.
    pub(super) fn remove_orphaned_recipients(&self) -> Result<(), JournalError> {
        for name in plain_names(&self.recipients)? {
            let name = name?;
            let text = name.to_string_lossy();
            let entry =
                text.strip_suffix(SUFFIX).and_then(|stem| format!("{stem}.export").parse().ok());
            let Some(entry) = entry else { continue };
            if !self.has_entry(entry)? {
                self.remove_recipients(entry)?;
            }
        }
        Ok(())
    }

    fn recipients_path(&self, EntryName { export_id, content_digest }: EntryName) -> PathBuf {
        self.recipients.join(format!("{export_id}-{content_digest}{SUFFIX}"))
    }
}

//! Loads an accepted export from this machine's journal within its reserved memory.

use tara_export_bundle::AcceptedExport;
use tara_export_failpoint::failpoint;

use crate::export::{
    drive::work::Work,
    failure::Failure,
    journal::{JournalEntry, LoadError},
};

/// Why an entry cannot be loaded now.
#[derive(Debug)]
pub(in crate::export) enum NotLoaded {
    /// The entry needs more memory than its header states. The next attempt must reserve this much.
    NeedsMoreMemory { memory_bytes: u64 },
    /// The entry is damaged and quarantined. This machine cannot finish the export.
    Quarantined(String),
    /// The entry may be loaded later.
    Retryable(Failure),
}

impl Work {
    /// Loads an entry within its reserved memory.
    pub(in crate::export) async fn load(
        &mut self,
        entry: &JournalEntry,
    ) -> Result<AcceptedExport, NotLoaded> {
        let export_id = entry.header.export_id;
        let journal = match self.shared.journal() {
            Ok(journal) => journal,
            Err(error) => return Err(NotLoaded::Retryable(Failure::of_journal(&error))),
        };
        let limit_bytes = self.shared.settings.admission.request_memory_bytes;
        let reserved_bytes = entry.memory_bytes.min(limit_bytes);
        let marker = journal.begin_attempt(entry, self.counted.has_others()).await;
        let needs_more_memory = |memory_bytes| {
            tracing::warn!(
                %export_id, memory_bytes, reserved_bytes = entry.memory_bytes,
                "a journal entry needs more memory than was reserved for it"
            );
            Err(NotLoaded::NeedsMoreMemory { memory_bytes })
        };
        let error = match journal.load(entry, reserved_bytes).await {
            Ok(export) => {
                failpoint!("journal.loaded");
                let memory_bytes = export.content.footprint_bytes().max(entry.size_bytes);
                if memory_bytes > reserved_bytes && reserved_bytes < limit_bytes {
                    return needs_more_memory(memory_bytes);
                }
                self.permit.shrink_to(memory_bytes.min(reserved_bytes));
                self.attempt_marker = Some(marker);
                return Ok(export);
            }
            Err(LoadError::OverBudget { .. }) if reserved_bytes < limit_bytes => {
                return needs_more_memory(limit_bytes);
            }
            Err(LoadError::OverBudget { .. }) => {
                let reason = format!(
                    "the entry needs more memory than the {limit_bytes} bytes of MAX_REQUEST_MEMORY: increase the \
                     setting, then retry the entry"
                );
                match journal.quarantine_entry(entry, reason.clone()).await {
                    Ok(()) => LoadError::Damaged { reason },
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        tracing::error!(%export_id, %error, "cannot read an accepted export from the journal");
        let message = error.to_string();
        Err(match error {
            LoadError::Gone | LoadError::Damaged { .. } => NotLoaded::Quarantined(message),
            LoadError::LaterRelease(_)
            | LoadError::OverBudget { .. }
            | LoadError::Disk(_)
            | LoadError::Interrupted => NotLoaded::Retryable(Failure::internal(message)),
        })
    }
}

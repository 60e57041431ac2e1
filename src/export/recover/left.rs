//! Accepted exports in the journal of a data directory that this process only reads.

use tara_export_bundle::ExportId;
use tara_export_catalog::{Export, ExportState};

use crate::export::journal::AcceptedExports;

/// The state reason of an accepted export that no process works on.
const NOT_RUNNING: &str = "NOT_RUNNING";

/// Accepted exports that this process reports and does not work on.
#[derive(Debug, Default)]
pub struct LeftExports {
    exports: Vec<Export>,
    count: u64,
    unreadable: Vec<ExportId>,
    is_in_use: bool,
}

impl LeftExports {
    /// The exports of a journal. If another process uses the data directory, it works on them.
    pub fn of(accepted: AcceptedExports, is_in_use: bool) -> Self {
        let AcceptedExports { headers, count, unreadable } = accepted;
        let exports = headers.iter().map(|header| {
            let state_reason = if is_in_use { "" } else { NOT_RUNNING }.to_owned();
            Export { state: ExportState::Pending, state_reason, ..Export::running(header) }
        });
        Self { exports: exports.collect(), count, unreadable, is_in_use }
    }

    /// The exports whose entries can be read, oldest first.
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// The export with this id.
    pub fn find(&self, export_id: ExportId) -> Option<&Export> {
        self.exports.iter().find(|export| export.export_id == export_id)
    }

    /// Number of all entries.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The number of entries that cannot be read.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.len() as u64
    }

    /// Whether another process uses the data directory.
    pub fn is_in_use(&self) -> bool {
        self.is_in_use
    }
}

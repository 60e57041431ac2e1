//! Reads the accepted exports of a data directory without its lock and without a change: another process may use the
//! directory at the same time.

use std::{collections::BTreeMap, path::Path};

use tara_export_bundle::{AcceptedHeader, ExportId};
use tara_export_disk::plain_names;

use super::{
    EntryKey, Files, JournalError, JournalLimits,
    entries::{Found, examine},
    names::leading_export_id,
};

/// Maximum number of entries whose headers are read. A header takes about 1 kB of memory.
pub const MAX_ACCEPTED_READ: usize = 10_000;

/// The accepted exports in a journal that this process does not use.
#[derive(Debug, Default)]
pub struct AcceptedExports {
    /// The headers of up to [`MAX_ACCEPTED_READ`] entries, oldest acceptance first.
    pub headers: Vec<AcceptedHeader>,
    /// Number of all entries.
    pub count: u64,
    /// Exports whose entries cannot be read, damaged ones and those of a later release; up to [`MAX_ACCEPTED_READ`].
    pub unreadable: Vec<ExportId>,
}

/// Reads the journal below `data_dir/.tara-export`. Blocks; needs no lock. Entries that another process removes
/// meanwhile are missing.
///
/// # Errors
/// If the folder cannot be listed.
pub fn read_accepted(data_dir: &Path) -> Result<AcceptedExports, JournalError> {
    let files = Files::new(data_dir.to_owned(), JournalLimits::NONE, None)?;
    let mut accepted = AcceptedExports::default();
    let mut headers: BTreeMap<EntryKey, AcceptedHeader> = BTreeMap::new();
    let mut examined = 0;
    // Entries that `journal retry` released are accepted too.
    for folder in [&files.journal, &files.retry] {
        for name in plain_names(folder)? {
            let name = name?;
            let Some(export_id) = leading_export_id(&name.to_string_lossy()) else { continue };
            accepted.count += 1;
            examined += 1;
            if examined > MAX_ACCEPTED_READ {
                continue;
            }
            match examine(&folder.join(name)) {
                Found::Entry(entry) => {
                    headers.insert(entry.key(), entry.header);
                }
                Found::Gone => accepted.count -= 1,
                Found::Damaged(_) | Found::Later(_) | Found::Unread(_) => {
                    accepted.unreadable.push(export_id);
                }
            }
        }
    }
    accepted.headers = headers.into_values().collect();
    Ok(accepted)
}

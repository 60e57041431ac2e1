#![allow(clippy::unwrap_used, clippy::panic)]

mod accepted;
mod failures_and_receipts;
mod listing;
mod quarantine;
mod recording;
mod retention;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tara_export_bundle::AcceptedTime;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::export::testing::{export, export_of, seconds};

const NO_LIMIT: JournalLimits = JournalLimits::NONE;

fn name(export: &AcceptedExport) -> String {
    format!("{}-{}.export", export.export_id, export.content_digest)
}

fn size_bytes(export: &AcceptedExport) -> u64 {
    export.encode().concat().len() as u64
}

/// The result of a complete scan.
#[derive(Debug)]
struct Entries {
    entries: Vec<JournalEntry>,
    more: bool,
    quarantined: Vec<Quarantined>,
    later: Vec<LaterEntry>,
    unread: Vec<UnreadEntry>,
}

impl Journal {
    /// Scans the whole journal for the first `limit` entries, as a start does.
    async fn entries(&self, limit: usize) -> Result<Entries, JournalError> {
        self.recount().await?;
        let mut scan = self.scan(None, limit, Arc::new(|_, _| false)).await?;
        let Scanned { keys, count, others } = loop {
            if let Some(scanned) = scan.advance().await? {
                break scanned;
            }
        };
        let more = count > keys.len() as u64;
        let entries = self.read(keys).await?.entries;
        let OtherFiles { mut quarantined, later, unread } = others;
        quarantined.extend(self.quarantined_at_start());
        Ok(Entries { entries, more, quarantined, later, unread })
    }
}

async fn open(data_dir: &TempDir) -> Journal {
    Journal::open(data_dir.path().to_owned(), NO_LIMIT).await.unwrap()
}

/// A path below the journal folder.
fn journal_path(data_dir: &TempDir, name: &str) -> PathBuf {
    data_dir.path().join(".tara-export/journal").join(name)
}

fn ids(listing: &Entries) -> Vec<ExportId> {
    listing.entries.iter().map(|entry| entry.header.export_id).collect()
}

async fn listed(journal: &Journal) -> Vec<ExportId> {
    let listing = journal.entries(100).await.unwrap();
    assert!(listing.quarantined.is_empty() && listing.unread.is_empty(), "{listing:?}");
    ids(&listing)
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

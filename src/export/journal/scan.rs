//! Scans the journal for the entries that were accepted first, one slice of the folder at a time.

use std::{collections::BinaryHeap, fs, io, sync::Arc};

use tara_export_bundle::{AcceptedTime, ExportId};
use tara_export_digest::Sha256;
use tara_export_disk::{DiskError, plain_name};

use super::{
    EntryName, Files, Journal, JournalError,
    entries::{EntryKey, OtherFiles, examine},
};

/// Files per slice. A scan releases its thread after each slice, so that other work can run.
const SLICE_FILES: usize = 500;

/// Whether an entry can be skipped because its export is in memory with this content.
pub type IsKnown = Arc<dyn Fn(ExportId, Sha256) -> bool + Send + Sync>;

/// A scan of the journal for the first entries after a position in the order of acceptance. Contains only keys, at most
/// as many as requested.
pub struct Scan {
    journal: Journal,
    state: Option<State>,
}

/// The result of a scan.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Entries that can be processed, oldest acceptance first.
    pub keys: Vec<EntryKey>,
    /// Number of all entries that can be processed, regardless of their position.
    pub count: u64,
    /// Files that cannot be processed.
    pub others: OtherFiles,
}

struct State {
    files: Option<fs::ReadDir>,
    after: Option<EntryKey>,
    limit: usize,
    is_known: IsKnown,
    /// The youngest entry is on top.
    first: BinaryHeap<EntryKey>,
    oldest: Option<AcceptedTime>,
    scanned: Scanned,
}

impl Journal {
    /// Starts a scan for the first `limit` entries after `after` in the order of acceptance. Skips known entries
    /// without opening them.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub async fn scan(
        &self,
        after: Option<EntryKey>,
        limit: usize,
        is_known: IsKnown,
    ) -> Result<Scan, JournalError> {
        let state = self.run(move |files| files.begin_scan(after, limit, is_known)).await?;
        Ok(Scan { journal: self.clone(), state: Some(state) })
    }
}

impl Scan {
    /// Scans the next slice. Returns `None` until the scan is complete, and then its result.
    ///
    /// # Errors
    /// If the folder cannot be listed; the scan then ends.
    pub async fn advance(&mut self) -> Result<Option<Scanned>, JournalError> {
        let Some(mut state) = self.state.take() else { return Ok(Some(Scanned::default())) };
        let advanced = self.journal.run(move |files| Ok((files.advance(&mut state)?, state)));
        let (is_over, state) = advanced.await?;
        if !is_over {
            self.state = Some(state);
            return Ok(None);
        }
        let State { first, scanned, .. } = state;
        Ok(Some(Scanned { keys: first.into_sorted_vec(), ..scanned }))
    }

    /// The files that cannot be processed, found since the last call.
    pub fn take_others(&mut self) -> OtherFiles {
        self.state
            .as_mut()
            .map(|state| std::mem::take(&mut state.scanned.others))
            .unwrap_or_default()
    }

    /// The earliest acceptance time found so far.
    pub fn oldest(&self) -> Option<AcceptedTime> {
        self.state.as_ref()?.oldest
    }
}

impl Files {
    fn begin_scan(
        &self,
        after: Option<EntryKey>,
        limit: usize,
        is_known: IsKnown,
    ) -> Result<State, JournalError> {
        let files = match fs::read_dir(&self.journal) {
            Ok(files) => Some(files),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.unscannable(error)),
        };
        let (first, scanned) = (BinaryHeap::new(), Scanned::default());
        Ok(State { files, after, limit, is_known, first, oldest: None, scanned })
    }

    /// Scans one slice. Returns whether the end of the folder is reached.
    fn advance(&self, state: &mut State) -> Result<bool, JournalError> {
        let Some(mut files) = state.files.take() else { return Ok(true) };
        for _ in 0..SLICE_FILES {
            let Some(file) = files.next() else { return Ok(true) };
            let Some(name) = plain_name(file).map_err(|error| self.unscannable(error))? else {
                continue;
            };
            let parsed = name.to_string_lossy().parse::<EntryName>();
            if parsed.is_ok_and(|name| (state.is_known)(name.export_id, name.content_digest)) {
                continue;
            }
            let path = self.journal.join(&name);
            let Some(entry) = self.classify(&path, examine(&path), &mut state.scanned.others)
            else {
                continue;
            };
            self.usage.lock().found(entry.header.export_id);
            state.push(entry.key());
        }
        state.files = Some(files);
        Ok(false)
    }

    fn unscannable(&self, error: io::Error) -> JournalError {
        DiskError::of_read("list", &self.journal, error).into()
    }
}

impl State {
    fn push(&mut self, key: EntryKey) {
        self.scanned.count += 1;
        self.oldest =
            Some(self.oldest.map_or(key.accepted_time, |time| time.min(key.accepted_time)));
        if self.after.is_some_and(|after| key <= after) {
            return;
        }
        self.first.push(key);
        if self.first.len() > self.limit {
            self.first.pop();
        }
    }
}

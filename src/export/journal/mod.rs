//! The journal: every accepted export on this machine's disk until its bundle is committed.
//!
//! | below `.tara-export/` | holds |
//! |---|---|
//! | `journal/<export_id>-<content_digest>.export` | an accepted export, whole |
//! | `journal/documents/` | documents that entries name and do not hold |
//! | `journal/quarantine/` | entries that this machine can't work on, each with its reason beside it |
//! | `journal/retry/` | entries that `tara-export journal retry` took out of quarantine |
//! | `journal/attempts/`, `journal/suspects/` | which entries were in progress when a process died |
//! | `journal/tmp/` | files being written |
//! | `failed/<export_id>.json` | an export that ended without a bundle |
//! | `receipts/<export_id>.json` | a short note of an export whose entry is gone |
//!
//! Invariant: nothing of an accepted export is ever deleted here but by [`Journal::remove`] and
//! [`Journal::set_failed`]. What can't be read is moved aside; what a later release wrote, and what
//! the disk does not let us read, stays where it is.
//!
//! Times come from the caller. Each step that a crash can come between is a function of its own.

mod attachments;
mod attempts;
mod entries;
mod error;
mod failed;
mod load;
mod names;
mod notes;
mod quarantine;
mod receipts;
mod record;
mod retry;
mod summary;
mod usage;
mod writable;

#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use tokio_util::task::TaskTracker;

use self::{attempts::Attempts, names::EntryName, usage::Usage};
pub use self::{
    attempts::{Attempt, Suspect},
    entries::{JournalEntry, JournalListing, LaterEntry, UnreadEntry},
    error::{JournalError, JournalErrorKind, LoadError},
    failed::{FailedExport, Failures, MAX_FAILURES_LISTED},
    quarantine::{MAX_QUARANTINED_LISTED, Quarantine, Quarantined},
    receipts::Receipt,
    retry::{Retried, RetryError, retry},
    usage::JournalSize,
};
use crate::{
    bundle::{AcceptedExport, DocumentKind, ExportId},
    digest::Sha256,
    disk::{Disk, DiskError},
    limits::{Pool, WorkFailed},
};

/// Threads for the journal. Most of its work waits for an fsync, of which a disk does a few at once; a
/// listing or a large entry occupies one for longer.
const THREADS: usize = 8;

/// How much the journal may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLimits {
    /// Bytes of all entries together; the setting `MAX_JOURNAL_BYTES`. What lies in quarantine does
    /// not count.
    pub max_bytes: u64,
}

/// The journal in a data directory. Cheap to clone. Work goes on to its end even where the caller's
/// future is dropped.
#[derive(Debug, Clone)]
pub struct Journal {
    files: Arc<Files>,
    /// What is being done, also for callers that are gone.
    work: TaskTracker,
    pool: Pool,
}

/// The journal's files; everything here blocks.
#[derive(Debug)]
struct Files {
    disk: Disk,
    journal: PathBuf,
    attachments: PathBuf,
    quarantine: PathBuf,
    retry: PathBuf,
    failed: PathBuf,
    receipts: PathBuf,
    limits: JournalLimits,
    usage: Usage,
    attempts: Attempts,
    /// Bytes of the entry that was refused for want of room since one was last recorded; 0: none was.
    refused_bytes: AtomicU64,
}

impl Journal {
    /// The journal below `data_dir/.tara-export`. Finishes what a crash left half done: removes
    /// unfinished files, and entries of exports that have failed. Makes nothing; folders come with
    /// the first write. Only for the process that holds the data directory's lock.
    ///
    /// # Errors
    /// Where the folder can't be looked through, so that what was accepted before is not known.
    pub async fn open(data_dir: PathBuf, limits: JournalLimits) -> Result<Self, JournalError> {
        let pool = Pool::new("journal", THREADS)
            .map_err(|error| DiskError::of_read("start threads for", &data_dir, error))?;
        let opened = pool.run(move || -> Result<Files, JournalError> {
            let files = Files::new(data_dir, limits)?;
            files.finish_crashed_work()?;
            Ok(files)
        });
        let files = Arc::new(opened.await.unwrap_or(Err(JournalError::BrokeOff))?);
        Ok(Self { files, work: TaskTracker::new(), pool })
    }

    /// The threads that do its work.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Keeps an accepted export. It survives a power cut when this returns: one fsync of a file and
    /// one of its folder. The same entry there already is as good.
    ///
    /// # Errors
    /// [`JournalError::RecordedBefore`] where this content was accepted before at another time: go
    /// on with that one. After any other error the export is not in the journal, as far as the disk
    /// still does anything.
    pub async fn record(&self, export: &AcceptedExport) -> Result<JournalEntry, JournalError> {
        let export = export.clone();
        self.run(move |files| files.record_and_note(&export)).await
    }

    /// Keeps a finished file of this disk as a document of an entry that is to be recorded. It survives a
    /// power cut when this returns, and goes with the entry.
    pub async fn attach(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
        kind: DocumentKind,
        file: PathBuf,
    ) -> Result<(), JournalError> {
        let name = EntryName { export_id, content_digest };
        self.run(move |files| files.attach(name, kind, &file)).await
    }

    /// Where a document of an entry lies that was kept by [`Self::attach`].
    pub fn attachment(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
        kind: DocumentKind,
    ) -> PathBuf {
        self.files.attachment_path(EntryName { export_id, content_digest }, kind)
    }

    /// Forgets an export, durably. One that isn't there is as good.
    pub async fn remove(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
    ) -> Result<(), JournalError> {
        self.run(move |files| files.remove(EntryName { export_id, content_digest })).await
    }

    /// The `limit` entries that were accepted first, oldest first. Reads headers only, and holds no
    /// more of them in memory. What can't be read is moved to quarantine, reported, and does not
    /// keep the others back.
    ///
    /// # Errors
    /// Where the folder itself can't be looked through.
    pub async fn entries(&self, limit: usize) -> Result<JournalListing, JournalError> {
        self.run(move |files| files.entries(limit)).await
    }

    /// Reads an entry whole. The export takes at most `budget_bytes` of memory, whatever its entry
    /// says; the caller has reserved them, usually [`JournalEntry::memory_bytes`].
    ///
    /// # Errors
    /// [`LoadError`]; [`LoadError::OverBudget`] before more memory is taken.
    pub async fn load(
        &self,
        entry: &JournalEntry,
        budget_bytes: u64,
    ) -> Result<AcceptedExport, LoadError> {
        let name = entry.name();
        let loaded = self.begin(move |files| files.load(name, budget_bytes)).await;
        loaded.unwrap_or(Err(LoadError::BrokeOff))
    }

    /// Moves an entry to quarantine that this machine can't work on, with this reason.
    ///
    /// # Errors
    /// [`LoadError::Disk`] if it can't be moved, and [`LoadError::Gone`] if it is not there.
    pub async fn set_aside(&self, entry: &JournalEntry, reason: String) -> Result<(), LoadError> {
        let name = entry.name();
        let moved = self.begin(move |files| files.set_aside(name, &reason)).await;
        moved.unwrap_or(Err(LoadError::BrokeOff))
    }

    /// Takes back the entries that `tara-export journal retry` took out of quarantine. Called every few
    /// seconds, it also removes the notes of attempts that the disk did not let go before.
    ///
    /// # Errors
    /// Where the folder can't be looked through.
    pub async fn take_retried(&self) -> Result<Vec<JournalEntry>, JournalError> {
        self.run(|files| {
            files.remove_stale_notes();
            files.take_retried()
        })
        .await
    }

    /// What lies in quarantine: how much, and the first [`MAX_QUARANTINED_LISTED`] by name.
    pub async fn quarantined(&self) -> Result<Quarantine, JournalError> {
        self.run(Files::quarantined).await
    }

    /// How much the journal holds, without asking the disk. Counted when it is opened and at every
    /// listing, and kept in step in between.
    pub fn size(&self) -> JournalSize {
        self.files.usage.size()
    }

    /// What it may hold.
    pub fn limits(&self) -> JournalLimits {
        self.files.limits
    }

    /// Notes that an export ended without a bundle, durably, and then removes its entry. Doing it
    /// again is harmless: the first failure stays, for it may have been told.
    ///
    /// # Errors
    /// [`JournalError::FailedBefore`] where other content failed under the id.
    pub async fn set_failed(&self, failed: &FailedExport) -> Result<(), JournalError> {
        let failed = failed.clone();
        self.run(move |files| files.set_failed(&failed)).await
    }

    /// How an export failed, if it did.
    ///
    /// # Errors
    /// [`JournalError::UnreadableFailure`] where the note of it is damaged. Taken for absent, the
    /// export could be started again and get a bundle after its caller was told that it has none.
    pub async fn failure(&self, export_id: ExportId) -> Result<Option<FailedExport>, JournalError> {
        self.run(move |files| files.failure(export_id)).await
    }

    /// The exports that failed last, at most [`MAX_FAILURES_LISTED`], newest first. Reads every note
    /// there is.
    pub async fn failures(&self) -> Result<Failures, JournalError> {
        self.run(|files| files.failures(MAX_FAILURES_LISTED)).await
    }

    /// Keeps a receipt, durably, in place of an earlier one.
    pub async fn write_receipt(&self, receipt: &Receipt) -> Result<(), JournalError> {
        let receipt = receipt.clone();
        self.run(move |files| files.write_receipt(&receipt)).await
    }

    /// The receipt of an export, if there is one. A damaged one is none, and the log says so: it
    /// only saves a way to the store, which has the record and the manifest.
    pub async fn receipt(&self, export_id: ExportId) -> Result<Option<Receipt>, JournalError> {
        self.run(move |files| files.receipt(export_id)).await
    }

    /// Removes the receipts written more than `keep` before `now`, and damaged ones. How many.
    pub async fn expire_receipts(
        &self,
        keep: Duration,
        now: DateTime<Utc>,
    ) -> Result<u64, JournalError> {
        self.run(move |files| files.expire_receipts(keep, now)).await
    }

    /// Whether an export could be recorded now: the disk takes a small write, and there is room. Room is
    /// what the smallest entry takes, or the one that was last refused for want of it.
    pub async fn check_writable(&self) -> Result<(), JournalError> {
        self.run(Files::check_writable).await
    }

    /// Waits until everything is done that was begun, whoever waited for it: afterwards another process
    /// can have the journal.
    pub async fn finish(&self) {
        self.work.close();
        self.work.wait().await;
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.begin(work).await.unwrap_or(Err(JournalError::BrokeOff))
    }

    /// Begins work that is done to its end, also if the returned future is dropped.
    fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> T + Send + 'static,
    ) -> BoxFuture<'static, Result<T, WorkFailed>> {
        let files = self.files.clone();
        let under_way = self.work.token();
        self.pool.run(move || {
            let _under_way = under_way;
            work(&files)
        })
    }
}

impl Files {
    fn new(data_dir: PathBuf, limits: JournalLimits) -> Result<Self, DiskError> {
        let root = std::path::absolute(&data_dir)
            .map_err(|error| DiskError::of_read("find the folder", &data_dir, error))?;
        let own = root.join(".tara-export");
        let journal = own.join("journal");
        Ok(Self {
            disk: Disk::new(root, ".tara-export/journal/tmp"),
            attachments: journal.join("documents"),
            quarantine: journal.join("quarantine"),
            retry: journal.join("retry"),
            journal,
            failed: own.join("failed"),
            receipts: own.join("receipts"),
            limits,
            usage: Usage::default(),
            attempts: Attempts::default(),
            refused_bytes: AtomicU64::new(0),
        })
    }

    /// Done once, before anything else.
    fn finish_crashed_work(&self) -> Result<(), JournalError> {
        if let Err(error) = self.disk.clean_temporary_files() {
            // They are in nobody's way. The disk may be read-only, and entries can be read still.
            tracing::warn!(%error, "unfinished files of the journal stay");
        }
        self.remove_entries_of_failed()?;
        if let Err(error) = self.take_retried() {
            tracing::warn!(%error, "entries that are to be retried stay where they are for now");
        }
        if let Err(error) = self.judge_attempts() {
            tracing::warn!(%error, "the journal's notes of attempts can't be read");
        }
        if let Err(error) = self.remove_stray_attachments() {
            tracing::warn!(%error, "documents stay that no entry of the journal names");
        }
        self.recount()
    }
}

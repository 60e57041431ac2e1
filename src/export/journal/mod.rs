//! The journal: stores every accepted export on this machine's disk until its bundle is committed.
//!
//! | path below `.tara-export/` | content |
//! |---|---|
//! | `journal/<export_id>-<content_digest>.export` | journal entry: an accepted export with its whole request |
//! | `journal/documents/` | attachments: documents that entries name |
//! | `journal/recipients/` | whom the exports of entries notify |
//! | `journal/quarantine/` | entries that this machine cannot process, each with its reason |
//! | `journal/retry/` | entries that `tara-export journal retry` took out of quarantine |
//! | `journal/attempts/`, `journal/suspects/` | which entries were in progress when a process died |
//! | `journal/tmp/` | files being written |
//! | `failed/<export_id>.json` | failure record of an export that ended without a bundle |
//! | `stores.json` | the identities of the stores that this machine was configured for |
//! | `receipts/<export_id>.json` | receipt of an export whose entry was removed |
//!
//! Invariant: only [`Journal::remove`] and [`Journal::set_failed`] delete an accepted export, and only
//! [`Journal::remove_expired`] deletes receipts and failure records. Damaged files are moved to quarantine. Entries of
//! later releases, and files that the disk fails to read, stay in the journal.
//!
//! Callers pass the current time. Steps that a crash can separate are separate functions.

mod accepted;
mod attachments;
mod attempts;
mod entries;
mod error;
mod failed;
mod ids;
mod load;
mod names;
mod notes;
mod quarantine;
mod receipts;
mod recipients;
mod record;
mod retention;
mod retention_index;
mod retry;
mod scan;
mod stores;
mod unprocessable;
mod usage;
mod writable;

#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use futures::future::BoxFuture;
use tara_export_bundle::{AcceptedExport, DocumentKind, ExportId};
use tara_export_digest::Sha256;
use tara_export_disk::{Disk, DiskError};
use tara_export_events::Outbox;
use tara_export_limits::{Pool, WorkFailed};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use self::{
    accepted::{AcceptedExports, MAX_ACCEPTED_READ, read_accepted},
    attempts::{Attempt, Suspect},
    entries::{
        EntryKey, JournalEntry, JournalListing, LaterEntry, MAX_OTHER_FILES_LISTED, OtherFiles,
        UnreadEntry,
    },
    error::{JournalError, JournalErrorKind, LoadError},
    failed::{FailedExport, Failures, MAX_FAILURES_LISTED},
    quarantine::{MAX_QUARANTINED_LISTED, Quarantine, Quarantined},
    receipts::Receipt,
    retention::{JournalRetention, RemovedFiles},
    retry::{Retried, RetryError, retry},
    scan::{IsKnown, Scan, Scanned},
    stores::KnownStores,
    unprocessable::{UnprocessableEntries, UnprocessableEntry},
    usage::JournalSize,
};
use self::{
    attempts::Attempts, names::EntryName, retention::Retained, unprocessable::Unprocessable,
    usage::Usage,
};

/// Threads of the journal. Most of the work waits for an fsync, and a disk runs only a few of them in parallel; a
/// listing or a large entry occupies a thread for longer.
const THREADS: usize = 8;
/// Headers that are read before the thread is released for other work.
const HEADERS_AT_ONCE: usize = 500;

/// The limits of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLimits {
    /// Maximum total size of all entries; the setting `MAX_JOURNAL_BYTES`. Quarantined entries do not count.
    pub max_bytes: u64,
    /// Maximum number of receipts; the setting `MAX_RECEIPTS`.
    pub max_receipts: usize,
    /// Maximum number of failure records of each kind; the setting `MAX_FAILURE_RECORDS`.
    pub max_failures: usize,
}

impl JournalLimits {
    /// Limited only by the disk.
    pub const NONE: Self =
        Self { max_bytes: u64::MAX, max_receipts: usize::MAX, max_failures: usize::MAX };
}

/// The journal in a data directory. Cheap to clone. Operations complete even if the caller's future is dropped.
#[derive(Debug, Clone)]
pub struct Journal {
    files: Arc<Files>,
    /// Operations in progress, including those whose future was dropped.
    work: TaskTracker,
    pool: Pool,
    /// Limits [`Journal::find`] to one call at a time.
    finding: Arc<Semaphore>,
}

/// How an export ended earlier on this machine.
#[derive(Debug)]
pub struct PastOutcome {
    /// Its failure record.
    pub failure: Option<FailedExport>,
    /// Its receipt.
    pub receipt: Option<Receipt>,
}

/// The journal's files. All methods block.
#[derive(Debug)]
struct Files {
    disk: Disk,
    journal: PathBuf,
    attachments: PathBuf,
    recipients: PathBuf,
    quarantine: PathBuf,
    retry: PathBuf,
    failed: PathBuf,
    receipts: PathBuf,
    limits: JournalLimits,
    /// `None` without notifications.
    outbox: Option<Outbox>,
    usage: Usage,
    retained: Retained,
    attempts: Attempts,
    unprocessable: Unprocessable,
    /// Size of the last entry that was refused for lack of space; 0 after an entry was recorded.
    refused_bytes: AtomicU64,
}

impl Journal {
    /// Opens the journal below `data_dir/.tara-export`. Cleans up after a crash: removes unfinished files, and entries
    /// of failed exports. Creates no folders; the first write does. Only the process that holds the lock of the data
    /// directory may call this.
    ///
    /// # Errors
    /// If the journal folder cannot be listed, so that the accepted exports are not known.
    pub async fn open(data_dir: PathBuf, limits: JournalLimits) -> Result<Self, JournalError> {
        Self::open_with_outbox(data_dir, limits, None).await
    }

    /// Like [`Self::open`], and writes the events of exports into this outbox.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with_outbox(
        data_dir: PathBuf,
        limits: JournalLimits,
        outbox: Option<Outbox>,
    ) -> Result<Self, JournalError> {
        let pool = Pool::new("journal", THREADS)
            .map_err(|error| DiskError::of_read("start threads for", &data_dir, error))?;
        let opened = pool.run(move || -> Result<Files, JournalError> {
            let files = Files::new(data_dir, limits, outbox)?;
            files.finish_crashed_work()?;
            Ok(files)
        });
        let files = Arc::new(opened.await.unwrap_or(Err(JournalError::Interrupted))?);
        let finding = Arc::new(Semaphore::new(1));
        Ok(Self { files, work: TaskTracker::new(), pool, finding })
    }

    /// The threads of the journal.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Records an accepted export durably: one fsync of a file and one of its folder. Idempotent.
    ///
    /// # Errors
    /// [`JournalError::RecordedBefore`] if this content was accepted before at another time: continue with that entry.
    /// After any other error, the export is not in the journal, unless the disk no longer allows its removal.
    pub async fn record(&self, export: &AcceptedExport) -> Result<JournalEntry, JournalError> {
        let export = export.clone();
        self.run(move |files| files.record_and_track_refusal(&export)).await
    }

    /// Attaches a finished file on this disk durably as a document of an entry that will be recorded. The attachment is
    /// removed together with the entry.
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

    /// Removes the attachments of an entry, unless the entry was recorded.
    pub async fn detach(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
    ) -> Result<(), JournalError> {
        let name = EntryName { export_id, content_digest };
        self.run(move |files| Ok(files.detach(name)?)).await
    }

    /// The path of a document that was attached by [`Self::attach`].
    pub fn attachment(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
        kind: DocumentKind,
    ) -> PathBuf {
        self.files.attachment_path(EntryName { export_id, content_digest }, kind)
    }

    /// Replaces the entry of an export durably by the same export for another store. No other task may work on the
    /// entry.
    pub async fn replace(&self, export: &AcceptedExport) -> Result<(), JournalError> {
        let export = export.clone();
        self.run(move |files| files.replace(&export)).await
    }

    /// Removes the entry of an export durably. Idempotent.
    pub async fn remove(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
    ) -> Result<(), JournalError> {
        self.run(move |files| files.remove(EntryName { export_id, content_digest })).await
    }

    /// Takes the entries that were quarantined when the journal was opened.
    pub fn quarantined_at_start(&self) -> Vec<Quarantined> {
        self.files.attempts.take_quarantined()
    }

    /// Reads the headers of entries. Damaged entries are moved to quarantine and reported without affecting the others.
    /// Removed entries are skipped.
    ///
    /// # Errors
    /// If the service is shutting down.
    pub async fn read(&self, keys: Vec<EntryKey>) -> Result<JournalListing, JournalError> {
        let mut listing = JournalListing::default();
        for chunk in keys.chunks(HEADERS_AT_ONCE) {
            let chunk = chunk.to_vec();
            let reading = self.run(move |files| {
                files.read_headers(&chunk, &mut listing);
                Ok(listing)
            });
            listing = reading.await?;
        }
        Ok(listing)
    }

    /// Whether there may be an entry of this export. Does not access the disk. Rare false positives, no false
    /// negatives.
    pub fn may_have(&self, export_id: ExportId) -> bool {
        self.files.usage.may_have(export_id)
    }

    /// Finds the entries of an export: several if its id was used for different contents. Lists the whole folder if
    /// there may be any, one call at a time.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub async fn find(&self, export_id: ExportId) -> Result<JournalListing, JournalError> {
        if !self.may_have(export_id) {
            return Ok(JournalListing::default());
        }
        // Keeps the threads free for other work. The semaphore is never closed.
        let _turn = self.finding.acquire().await;
        self.run(move |files| files.find(export_id)).await
    }

    /// Counts the entries again, since an operator may have changed the folder.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub async fn recount(&self) -> Result<(), JournalError> {
        self.run(Files::recount).await
    }

    /// Loads a complete entry. The export takes at most `budget_bytes` of memory, even if its header states a smaller
    /// size. The caller must have reserved them; usually [`JournalEntry::memory_bytes`].
    ///
    /// # Errors
    /// [`LoadError`]; [`LoadError::OverBudget`] before the budget is exceeded.
    pub async fn load(
        &self,
        entry: &JournalEntry,
        budget_bytes: u64,
    ) -> Result<AcceptedExport, LoadError> {
        let name = entry.name();
        let loaded = self.begin(move |files| files.load(name, budget_bytes)).await;
        loaded.unwrap_or(Err(LoadError::Interrupted))
    }

    /// Moves an entry that this machine cannot process to quarantine.
    ///
    /// # Errors
    /// [`LoadError::Disk`] if it cannot be moved, and [`LoadError::Gone`] if it does not exist.
    pub async fn quarantine_entry(
        &self,
        entry: &JournalEntry,
        reason: String,
    ) -> Result<(), LoadError> {
        let name = entry.name();
        let moved = self.begin(move |files| files.quarantine_entry(name, &reason)).await;
        moved.unwrap_or(Err(LoadError::Interrupted))
    }

    /// Moves the entries that `tara-export journal retry` took out of quarantine back into the journal. Called every
    /// few seconds; also retries failed removals of attempt markers.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub async fn take_retried(&self) -> Result<Vec<JournalEntry>, JournalError> {
        self.run(|files| {
            files.remove_stale_markers();
            files.take_retried()
        })
        .await
    }

    /// The number of files in quarantine, and the first [`MAX_QUARANTINED_LISTED`] by name.
    pub async fn quarantined(&self) -> Result<Quarantine, JournalError> {
        self.run(Files::quarantined).await
    }

    /// Number and total size of the entries. Does not access the disk: counted by [`Self::open`] and [`Self::recount`],
    /// and updated in between.
    pub fn size(&self) -> JournalSize {
        self.files.usage.size()
    }

    /// The limits that the journal was opened with.
    pub fn limits(&self) -> JournalLimits {
        self.files.limits
    }

    /// Writes a failure record durably and then removes the entry. Idempotent: the first failure stays, because it may
    /// have been published.
    ///
    /// # Errors
    /// [`JournalError::FailedBefore`] if other content failed under the id.
    pub async fn set_failed(&self, failed: &FailedExport) -> Result<(), JournalError> {
        let failed = failed.clone();
        self.run(move |files| files.set_failed(&failed)).await
    }

    /// The failure record of an export, if there is one.
    ///
    /// # Errors
    /// [`JournalError::UnreadableFailure`] if the record is damaged. If a damaged record were ignored, the export could
    /// be started again and get a bundle after its failure was reported.
    pub async fn failure(&self, export_id: ExportId) -> Result<Option<FailedExport>, JournalError> {
        self.run(move |files| files.failure(export_id)).await
    }

    /// The failure record and the receipt of an export, read together.
    ///
    /// # Errors
    /// As [`Self::failure`] and [`Self::receipt`].
    pub async fn past_outcome(&self, export_id: ExportId) -> Result<PastOutcome, JournalError> {
        let read = move |files: &Files| {
            let (failure, receipt) = (files.failure(export_id)?, files.receipt(export_id)?);
            Ok(PastOutcome { failure, receipt })
        };
        self.run(read).await
    }

    /// The most recent failures, at most [`MAX_FAILURES_LISTED`], newest first. Reads all failure records.
    pub async fn failures(&self) -> Result<Failures, JournalError> {
        self.run(|files| files.failures(MAX_FAILURES_LISTED)).await
    }

    /// Writes a receipt durably and replaces a previous one.
    pub async fn write_receipt(&self, receipt: &Receipt) -> Result<(), JournalError> {
        let receipt = receipt.clone();
        self.run(move |files| files.write_receipt(&receipt)).await
    }

    /// The receipt of an export, if there is one. A damaged receipt is logged and ignored: it only saves a request to
    /// the store, which has the record and the manifest.
    pub async fn receipt(&self, export_id: ExportId) -> Result<Option<Receipt>, JournalError> {
        self.run(move |files| files.receipt(export_id)).await
    }

    /// The stores that this machine was configured for; `None` if the file does not exist.
    ///
    /// # Errors
    /// [`JournalError::UnreadableStores`] if a later release wrote the file.
    pub async fn known_stores(&self) -> Result<Option<KnownStores>, JournalError> {
        self.run(Files::known_stores).await
    }

    /// Writes the known stores durably and replaces the previous file.
    pub async fn write_known_stores(&self, stores: &KnownStores) -> Result<(), JournalError> {
        let stores = stores.clone();
        self.run(move |files| files.write_known_stores(&stores)).await
    }

    /// Checks whether an export could be recorded now: a small write succeeds, and there is space for the entry that
    /// was last refused for lack of space, or else for the smallest entry.
    pub async fn check_writable(&self) -> Result<(), JournalError> {
        self.run(Files::check_writable).await
    }

    /// Waits until all operations are complete, even those whose future was dropped. Afterwards, another process can
    /// use the journal.
    pub async fn finish(&self) {
        self.work.close();
        self.work.wait().await;
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.begin(work).await.unwrap_or(Err(JournalError::Interrupted))
    }

    /// Starts work that completes even if the returned future is dropped.
    fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> T + Send + 'static,
    ) -> BoxFuture<'static, Result<T, WorkFailed>> {
        let files = self.files.clone();
        let token = self.work.token();
        self.pool.run(move || {
            let _token = token;
            work(&files)
        })
    }
}

impl Files {
    fn new(
        data_dir: PathBuf,
        limits: JournalLimits,
        outbox: Option<Outbox>,
    ) -> Result<Self, DiskError> {
        let root = std::path::absolute(&data_dir)
            .map_err(|error| DiskError::of_read("find the folder", &data_dir, error))?;
        let own = root.join(".tara-export");
        let journal = own.join("journal");
        Ok(Self {
            disk: Disk::new(root, ".tara-export/journal/tmp"),
            attachments: journal.join("documents"),
            recipients: journal.join("recipients"),
            quarantine: journal.join("quarantine"),
            retry: journal.join("retry"),
            journal,
            failed: own.join("failed"),
            receipts: own.join("receipts"),
            limits,
            outbox,
            usage: Usage::default(),
            retained: Retained::default(),
            attempts: Attempts::default(),
            unprocessable: Unprocessable::default(),
            refused_bytes: AtomicU64::new(0),
        })
    }

    /// Called once, before anything else. Opens only entries to be retried.
    fn finish_crashed_work(&self) -> Result<(), JournalError> {
        if let Err(error) = self.disk.clean_temporary_files() {
            // They do no harm. On a read-only disk, entries can still be read.
            tracing::warn!(%error, "cannot remove unfinished files of the journal");
        }
        self.count()?;
        self.remove_entries_of_failed()?;
        if let Err(error) = self.take_retried() {
            tracing::warn!(%error, "cannot move entries to be retried into the journal");
        }
        if let Err(error) = self.evaluate_attempts() {
            tracing::warn!(%error, "cannot evaluate the attempt markers of the journal");
        }
        if let Err(error) = self.remove_orphaned_attachments() {
            tracing::warn!(%error, "cannot remove attachments without a journal entry");
        }
        if let Err(error) = self.remove_orphaned_recipients() {
            tracing::warn!(%error, "cannot remove recipients without a journal entry");
        }
        self.add_all_quarantined()?;
        Ok(())
    }
}

//! Detects entries that crash the process: records which entries were in progress when a process died.
//!
//! | path below `journal/` | content |
//! |---|---|
//! | `attempts/<entry>.<uuid>` | attempt marker: the entry is loaded and has made no progress yet; empty if no other work was in progress |
//! | `suspects/<entry>` | the entry was in progress when a process died, with the number of deaths that count |
//!
//! A takeover of an entry of the store's journal has the same files, with `.takeover` instead of `.export`. That entry
//! is not on this machine, so quarantining it creates only an empty file and its reason.
//!
//! An attempt marker is durable before its entry is loaded (one fsync of its folder). It is removed when the first file
//! of the bundle is stored, when the attempt ends, and before anything else at a regular stop. A marker that exists at
//! startup therefore means that the process died. The death counts against the entry only if no other entry and no new
//! export was in progress.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tara_export_bundle::ExportId;
use tara_export_digest::Sha256;
use tara_export_disk::{DiskError, Unsynced, plain_files};
use tara_export_failpoint::failpoint;
use uuid::Uuid;

use tara_export_state_file as state_file;

use super::{EntryName, Files, Journal, JournalError, Quarantined, names::Subject};

/// An entry is quarantined after this many counted deaths.
const MAX_DEATHS: u32 = 3;
/// The content of an attempt marker while other work is in progress.
const SHARED: &[u8] = b"shared\n";
const SCHEMA: &str = "tara-export/suspect/v1";

/// An entry that was in progress when a process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// The export.
    pub export_id: ExportId,
    /// Process deaths while only this entry was in progress.
    pub deaths: u32,
}

/// In-memory state of attempts.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The server is stopping regularly: its end counts as no death.
    is_closed: bool,
    markers: HashMap<Subject, Marker>,
    suspects: HashMap<Subject, u32>,
    /// Files of finished attempts that could not be removed yet.
    stale: Vec<PathBuf>,
    /// Entries quarantined at startup, until they are reported.
    quarantined: Vec<Quarantined>,
}

#[derive(Debug)]
struct Marker {
    path: PathBuf,
    is_shared: bool,
}

/// The content of `suspects/<entry>`.
#[derive(Serialize, Deserialize)]
struct SuspectV1 {
    deaths: u32,
    /// The attempt marker that was counted last; it must not be counted twice.
    counted: Option<String>,
}

/// An attempt to load an entry, until it makes progress or is dropped.
#[derive(Debug)]
pub struct Attempt {
    journal: Journal,
    subject: Subject,
    is_over: AtomicBool,
}

impl Attempt {
    /// Reports that a file of the bundle is stored: the entry does not crash the process.
    pub fn progress(&self) {
        self.end(true);
    }

    fn end(&self, is_progress: bool) {
        if self.is_over.swap(true, Ordering::Relaxed) {
            return;
        }
        let subject = self.subject;
        drop(self.journal.begin(move |files| files.end_attempt(subject, is_progress)));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end(false);
    }
}

impl Journal {
    /// Writes an attempt marker durably before an entry is loaded. `is_shared`: other exports are in progress.
    /// On a full disk, the entry is loaded without a marker, because only finishing entries frees space.
    pub async fn begin_attempt(&self, entry: &super::JournalEntry, is_shared: bool) -> Attempt {
        self.begin_attempt_on(Subject::Entry(entry.name()), is_shared).await
    }

    /// The same for an entry of the store's journal that this process takes over.
    pub async fn begin_takeover(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
        is_shared: bool,
    ) -> Attempt {
        let subject = Subject::Takeover(EntryName { export_id, content_digest });
        self.begin_attempt_on(subject, is_shared).await
    }

    async fn begin_attempt_on(&self, subject: Subject, is_shared: bool) -> Attempt {
        let begun = self.begin(move |files| files.begin_attempt(subject, is_shared)).await;
        if let Ok(Err(error)) = begun {
            let export_id = subject.name().export_id;
            tracing::warn!(%export_id, %error, "cannot write an attempt marker; the entry is loaded without it");
        }
        Attempt { journal: self.clone(), subject, is_over: AtomicBool::new(false) }
    }

    /// Entries of the store's journal whose takeover was in progress when a process died.
    pub fn suspected_takeovers(&self) -> HashSet<(ExportId, Sha256)> {
        let inner = self.files.attempts.lock();
        let takeovers = inner.suspects.keys().filter_map(|subject| match subject {
            Subject::Takeover(name) => Some((name.export_id, name.content_digest)),
            Subject::Entry(_) => None,
        });
        takeovers.collect()
    }

    /// Whether this machine no longer takes an entry over, because doing so ended too many processes. Reads the disk,
    /// since `tara-export journal retry` changes it.
    pub async fn is_takeover_quarantined(
        &self,
        export_id: ExportId,
        content_digest: Sha256,
    ) -> bool {
        let subject = Subject::Takeover(EntryName { export_id, content_digest });
        let found = self.begin(move |files| files.is_quarantined(subject)).await;
        found.unwrap_or(false)
    }

    /// Resets the deaths of an entry that is no longer in the store's journal.
    pub async fn forget_takeover(&self, export_id: ExportId, content_digest: Sha256) {
        let subject = Subject::Takeover(EntryName { export_id, content_digest });
        let _ = self.begin(move |files| files.forget(subject)).await;
    }

    /// Records that other work is in progress: a death then does not count against the entries being loaded.
    pub async fn share_attempts(&self) {
        let _ = self.begin(Files::share_attempts).await;
    }

    /// A function that returns the deaths counted against an entry, or `None` if the entry is not a suspect. Uses a
    /// snapshot of the current state.
    pub fn suspect_deaths(&self) -> impl Fn(&super::JournalEntry) -> Option<u32> + use<> {
        let suspects = self.files.attempts.lock().suspects.clone();
        move |entry| match suspects.is_empty() {
            true => None,
            false => suspects.get(&Subject::Entry(entry.name())).copied(),
        }
    }

    /// All suspects, most deaths first.
    pub fn suspects(&self) -> Vec<Suspect> {
        let inner = self.files.attempts.lock();
        let suspects = inner.suspects.iter();
        let mut suspects: Vec<Suspect> = suspects
            .map(|(subject, deaths)| Suspect {
                export_id: subject.name().export_id,
                deaths: *deaths,
            })
            .collect();
        suspects.sort_by_key(|suspect| (std::cmp::Reverse(suspect.deaths), suspect.export_id));
        suspects
    }

    /// Announces a regular stop: from now on, the end of the process counts against no entry. Returns once the attempt
    /// markers are removed, or after a timeout if the disk hangs.
    pub async fn close_attempts(&self) {
        const DISK_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);
        let files = self.files.clone();
        let (done, closed) = tokio::sync::oneshot::channel();
        // A dedicated thread: must not queue after other work.
        std::thread::spawn(move || {
            files.close_attempts();
            let _ = done.send(());
        });
        let _ = tokio::time::timeout(DISK_TIMEOUT, closed).await;
    }
}

impl Attempts {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change leaves the maps consistent, even if a panic interrupts it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process is stopping.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Takes the entries that were quarantined at startup.
    pub(super) fn take_quarantined(&self) -> Vec<Quarantined> {
        std::mem::take(&mut self.lock().quarantined)
    }
}

impl Files {
    fn begin_attempt(&self, name: Subject, is_shared: bool) -> Result<(), DiskError> {
        let folder = self.attempts_folder();
        // A name that no other marker ever had.
        let path = folder.join(format!("{name}.{}", Uuid::new_v4()));
        {
            let mut inner = self.attempts.lock();
            if inner.is_closed {
                return Ok(());
            }
            inner.markers.insert(name, Marker { path: path.clone(), is_shared });
        }
        self.disk.ensure_directory(&folder)?;
        let failed = |error| DiskError::of_write("write", &path, error);
        let mut file =
            failpoint!("attempt.create", &path, File::create_new(&path)).map_err(failed)?;
        // A new export or a stop may have happened while the file was created.
        let (is_shared, is_closed) = {
            let inner = self.attempts.lock();
            let is_shared = inner.markers.get(&name).is_some_and(|marker| marker.is_shared);
            (is_shared, inner.is_closed)
        };
        if is_closed {
            self.disk.remove(&path)?.leave_unsynced();
            return Ok(());
        }
        if is_shared {
            file.write_all(SHARED).map_err(failed)?;
        }
        self.disk.sync_name(&path)?;
        failpoint!("attempt.recorded");
        Ok(())
    }

    fn end_attempt(&self, name: Subject, is_progress: bool) {
        let mut inner = self.attempts.lock();
        let marker = inner.markers.remove(&name);
        let was_suspect = is_progress && inner.suspects.remove(&name).is_some();
        drop(inner);
        let suspect = was_suspect.then(|| self.suspect_path(name));
        self.remove_attempt_files(marker.map(|marker| marker.path).into_iter().chain(suspect));
    }

    /// Removes attempt markers and suspect files. Failed removals are retried later, because a remaining marker would
    /// look like an entry in progress.
    fn remove_attempt_files(&self, paths: impl IntoIterator<Item = PathBuf>) {
        for path in paths {
            if let Err(error) = self.disk.remove(&path).map(Unsynced::leave_unsynced) {
                tracing::warn!(%error, "cannot remove an attempt marker; the removal is retried");
                self.attempts.lock().stale.push(path);
            }
        }
    }

    /// Retries failed removals of attempt markers.
    pub(super) fn remove_stale_markers(&self) {
        let stale = std::mem::take(&mut self.attempts.lock().stale);
        self.remove_attempt_files(stale);
    }

    /// Marks all attempts as shared with other work. Survives the end of the process without an fsync, but possibly not
    /// a power cut.
    pub(super) fn share_attempts(&self) {
        let paths: Vec<PathBuf> = {
            let mut inner = self.attempts.lock();
            let markers = inner.markers.values_mut().filter(|marker| !marker.is_shared);
            markers
                .map(|marker| {
                    marker.is_shared = true;
                    marker.path.clone()
                })
                .collect()
        };
        for path in paths {
            let file = OpenOptions::new().append(true).open(&path);
            match file.and_then(|mut file| file.write_all(SHARED)) {
                Ok(()) => {}
                // Either it is being created, and will be written as shared, or it was removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot write an attempt marker")
                }
            }
        }
    }

    fn close_attempts(&self) {
        let mut inner = self.attempts.lock();
        inner.is_closed = true;
        let markers = std::mem::take(&mut inner.markers);
        for name in markers.keys() {
            inner.suspects.remove(name);
        }
        drop(inner);
        let paths =
            markers.into_iter().flat_map(|(name, marker)| [marker.path, self.suspect_path(name)]);
        self.remove_attempt_files(paths);
        self.remove_stale_markers();
    }

    /// Resets the deaths of an entry that is removed or retried.
    pub(super) fn forget_suspect(&self, name: EntryName) {
        self.forget(Subject::Entry(name));
    }

    fn forget(&self, name: Subject) {
        let was_suspect = self.attempts.lock().suspects.remove(&name).is_some();
        self.remove_attempt_files(was_suspect.then(|| self.suspect_path(name)));
    }

    /// Evaluates the attempt markers at startup, before anything is loaded: entries that were in progress when the
    /// previous process died become suspects, the death counts if there was only one such entry, and entries with too
    /// many deaths are quarantined.
    pub(super) fn evaluate_attempts(&self) -> Result<(), JournalError> {
        let mut suspects = self.read_suspects()?;
        let mut markers = Vec::new();
        for file in plain_files(&self.attempts_folder())? {
            let file = file?;
            let marker = file.name.to_string_lossy().into_owned();
            let name = marker.rsplit_once('.').and_then(|(name, _)| name.parse::<Subject>().ok());
            match self.if_may_exist(name)? {
                Some(name) => markers.push((name, marker, file.metadata.len() > 0)),
                // The export ended before the marker was removed.
                None => {
                    self.disk.remove(&file.path)?.leave_unsynced();
                }
            }
        }
        let counts = matches!(&markers[..], [(_, _, is_shared)] if !is_shared);
        for (name, marker, _) in &markers {
            let suspect = suspects.entry(*name).or_insert(SuspectV1 { deaths: 0, counted: None });
            if suspect.counted.as_ref() == Some(marker) {
                continue;
            }
            suspect.deaths += u32::from(counts);
            suspect.counted = Some(marker.clone());
            state_file::write(&self.disk, &self.suspect_path(*name), SCHEMA, suspect)?;
            tracing::warn!(
                export_id = %name.name().export_id, deaths = suspect.deaths, counts, in_progress = markers.len(),
                "an accepted export was in progress when the previous process died"
            );
            failpoint!("suspect.recorded");
        }
        for (_, marker, _) in &markers {
            self.disk.remove(&self.attempts_folder().join(marker))?.leave_unsynced();
        }
        for (name, suspect) in suspects {
            if suspect.deaths < MAX_DEATHS {
                self.attempts.lock().suspects.insert(name, suspect.deaths);
                continue;
            }
            let work = match name {
                Subject::Entry(_) => "this entry",
                Subject::Takeover(_) => "the takeover of this entry of the store's journal",
            };
            let reason = format!(
                "{} processes died while only {work} was in progress: find the cause in the logs, then run: \
                 tara-export journal retry {}",
                suspect.deaths,
                name.name().export_id
            );
            let quarantined = match name {
                Subject::Entry(_) => {
                    self.quarantine(&self.journal.join(name.to_string()), &reason)?
                }
                Subject::Takeover(_) => self.quarantine_takeover(name, &reason)?,
            };
            self.attempts.lock().quarantined.push(quarantined);
            self.disk.remove(&self.suspect_path(name))?.leave_unsynced();
        }
        Ok(())
    }

    /// The suspects whose entries are still in the journal.
    fn read_suspects(&self) -> Result<HashMap<Subject, SuspectV1>, JournalError> {
        let mut suspects = HashMap::new();
        for file in plain_files(&self.suspects_folder())? {
            let file = file?;
            let name = file.name.to_string_lossy().parse::<Subject>().ok();
            let Some(name) = self.if_may_exist(name)? else {
                self.disk.remove(&file.path)?.leave_unsynced();
                continue;
            };
            let suspect = match state_file::read(&file.path, SCHEMA) {
                Ok(Some(suspect)) => suspect,
                Ok(None) => continue,
                Err(error) => {
                    let export_id = name.name().export_id;
                    tracing::warn!(%export_id, %error, "cannot read the suspect file of an entry");
                    SuspectV1 { deaths: 0, counted: None }
                }
            };
            suspects.insert(name, suspect);
        }
        Ok(suspects)
    }

    /// The subject, unless it is an entry that is no longer in the journal. Entries of the store's journal are not
    /// checked.
    fn if_may_exist(&self, subject: Option<Subject>) -> Result<Option<Subject>, DiskError> {
        Ok(match subject {
            Some(Subject::Entry(name)) => self
                .disk
                .has_name(&self.journal.join(name.to_string()))?
                .then_some(Subject::Entry(name)),
            subject => subject,
        })
    }

    fn attempts_folder(&self) -> PathBuf {
        self.journal.join("attempts")
    }

    fn suspects_folder(&self) -> PathBuf {
        self.journal.join("suspects")
    }

    fn suspect_path(&self, name: Subject) -> PathBuf {
        self.suspects_folder().join(name.to_string())
    }
}

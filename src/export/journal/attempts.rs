//! Entries that may end the process: which were in progress when an earlier process died.
//!
//! | below `journal/` | holds |
//! |---|---|
//! | `attempts/<entry>.<uuid>` | an entry that is loaded and has made no progress yet; empty if nothing else was in progress |
//! | `suspects/<entry>` | an entry that was in progress when a process died, and how many of its deaths count |
//!
//! A note of an attempt is durable before its entry is loaded (one fsync of its folder). It is removed
//! when the first file of the bundle is stored, when the attempt ends, and first of all at a regular
//! stop. So a note that a start finds is of a death. That death counts against its entry only if no
//! other entry and no new export was in progress.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    EntryName, Files, Journal, JournalError, Quarantined, entries::plain_files, notes::read_note,
};
use crate::{
    bundle::ExportId,
    disk::{DiskError, sync_directory},
};

/// Deaths that count before an entry is quarantined.
const MAX_DEATHS: u32 = 3;
/// The content of a note while other work is in progress.
const SHARED: &[u8] = b"shared\n";
const SCHEMA: &str = "tara-export/suspect/v1";

/// An entry that was in progress when a process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// The export.
    pub export_id: ExportId,
    /// Deaths during which nothing but this entry was in progress.
    pub deaths: u32,
}

/// What is known of attempts, in memory.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The server stops: its end is no death.
    is_closed: bool,
    notes: HashMap<EntryName, Note>,
    suspects: HashMap<EntryName, u32>,
    /// Notes of attempts that are over, which the disk did not let go.
    stale: Vec<PathBuf>,
    /// Quarantined at the start of this process, until a listing reports them.
    quarantined: Vec<Quarantined>,
}

#[derive(Debug)]
struct Note {
    path: PathBuf,
    is_shared: bool,
}

/// What `suspects/<entry>` holds.
#[derive(Serialize, Deserialize)]
struct SuspectV1 {
    deaths: u32,
    /// The note of the attempt that was counted last, which must not be counted again.
    counted: Option<String>,
}

/// An entry that is loaded, until it makes progress or is dropped.
#[derive(Debug)]
pub struct Attempt {
    journal: Journal,
    name: EntryName,
    is_over: AtomicBool,
}

impl Attempt {
    /// A file of the bundle is stored: the entry is not what ends a process.
    pub fn progress(&self) {
        self.end(true);
    }

    fn end(&self, is_progress: bool) {
        if self.is_over.swap(true, Ordering::Relaxed) {
            return;
        }
        let name = self.name;
        drop(self.journal.begin(move |files| files.end_attempt(name, is_progress)));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end(false);
    }
}

impl Journal {
    /// Notes durably that an entry is about to be loaded. `is_shared`: other exports are in progress.
    /// Without room on the disk the entry is loaded all the same: only that makes room again.
    pub async fn begin_attempt(&self, entry: &super::JournalEntry, is_shared: bool) -> Attempt {
        let name = entry.name();
        let begun = self.begin(move |files| files.begin_attempt(name, is_shared)).await;
        if let Ok(Err(error)) = begun {
            tracing::warn!(export_id = %name.export_id, %error, "an entry is loaded without a note of it");
        }
        Attempt { journal: self.clone(), name, is_over: AtomicBool::new(false) }
    }

    /// Other work is in progress from now on: a death counts against no entry that is being loaded.
    pub async fn share_attempts(&self) {
        let _ = self.begin(Files::share_attempts).await;
    }

    /// How many deaths count against an entry that was in progress when a process died; `None` of an
    /// entry that is no suspect. As of now.
    pub fn suspicion(&self) -> impl Fn(&super::JournalEntry) -> Option<u32> + use<> {
        let suspects = self.files.attempts.lock().suspects.clone();
        move |entry| match suspects.is_empty() {
            true => None,
            false => suspects.get(&entry.name()).copied(),
        }
    }

    /// All suspects, those with the most deaths first.
    pub fn suspects(&self) -> Vec<Suspect> {
        let inner = self.files.attempts.lock();
        let suspects = inner.suspects.iter();
        let mut suspects: Vec<Suspect> = suspects
            .map(|(name, deaths)| Suspect { export_id: name.export_id, deaths: *deaths })
            .collect();
        suspects.sort_by_key(|suspect| (std::cmp::Reverse(suspect.deaths), suspect.export_id));
        suspects
    }

    /// The process is about to stop: however it ends from now on, that counts against no entry.
    /// Returns once the disk has it, or after a moment if the disk hangs.
    pub async fn close_attempts(&self) {
        const DISK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
        let files = self.files.clone();
        let (done, closed) = tokio::sync::oneshot::channel();
        // A thread of its own: no other work may come before.
        std::thread::spawn(move || {
            files.close_attempts();
            let _ = done.send(());
        });
        let _ = tokio::time::timeout(DISK_PATIENCE, closed).await;
    }
}

impl Attempts {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change leaves the maps whole, also when a panic interrupts it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the start of this process quarantined, once.
    pub(super) fn take_quarantined(&self) -> Vec<Quarantined> {
        std::mem::take(&mut self.lock().quarantined)
    }
}

impl Files {
    fn begin_attempt(&self, name: EntryName, is_shared: bool) -> Result<(), DiskError> {
        let folder = self.attempts_folder();
        // A name that no other process ever gave a note.
        let path = folder.join(format!("{name}.{}", Uuid::new_v4()));
        {
            let mut inner = self.attempts.lock();
            if inner.is_closed {
                return Ok(());
            }
            inner.notes.insert(name, Note { path: path.clone(), is_shared });
        }
        self.disk.ensure_directory(&folder)?;
        let failed = |error| DiskError::of_write("write", &path, error);
        let mut file =
            failpoint!("attempt.create", &path, File::create_new(&path)).map_err(failed)?;
        // What happened while the file was made: a new export, or a stop.
        let (is_shared, is_closed) = {
            let inner = self.attempts.lock();
            let is_shared = inner.notes.get(&name).is_some_and(|note| note.is_shared);
            (is_shared, inner.is_closed)
        };
        if is_closed {
            self.disk.remove(&path)?;
            return Ok(());
        }
        if is_shared {
            file.write_all(SHARED).map_err(failed)?;
        }
        sync_directory(&folder)?;
        failpoint!("attempt.noted");
        Ok(())
    }

    fn end_attempt(&self, name: EntryName, is_progress: bool) {
        let mut inner = self.attempts.lock();
        let note = inner.notes.remove(&name);
        let was_suspect = is_progress && inner.suspects.remove(&name).is_some();
        drop(inner);
        let suspect = was_suspect.then(|| self.suspect_path(name));
        self.remove_notes(note.map(|note| note.path).into_iter().chain(suspect));
    }

    /// Removes notes. What the disk does not let go is tried again later: left alone, it would look
    /// like an entry in progress.
    fn remove_notes(&self, paths: impl IntoIterator<Item = PathBuf>) {
        for path in paths {
            if let Err(error) = self.disk.remove(&path) {
                tracing::warn!(%error, "the note of an attempt stays for now");
                self.attempts.lock().stale.push(path);
            }
        }
    }

    /// Removes the notes again that the disk did not let go.
    pub(super) fn remove_stale_notes(&self) {
        let stale = std::mem::take(&mut self.attempts.lock().stale);
        self.remove_notes(stale);
    }

    /// Other work is in progress: a death would not be that of an entry alone. Survives the process
    /// without an fsync; after a power cut it may be missing.
    pub(super) fn share_attempts(&self) {
        let paths: Vec<PathBuf> = {
            let mut inner = self.attempts.lock();
            let notes = inner.notes.values_mut().filter(|note| !note.is_shared);
            notes
                .map(|note| {
                    note.is_shared = true;
                    note.path.clone()
                })
                .collect()
        };
        for path in paths {
            let file = OpenOptions::new().append(true).open(&path);
            match file.and_then(|mut file| file.write_all(SHARED)) {
                Ok(()) => {}
                // It is being made, and will say so, or it is gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot write the note of an attempt")
                }
            }
        }
    }

    fn close_attempts(&self) {
        let mut inner = self.attempts.lock();
        inner.is_closed = true;
        let notes = std::mem::take(&mut inner.notes);
        for name in notes.keys() {
            inner.suspects.remove(name);
        }
        drop(inner);
        let paths = notes.into_iter().flat_map(|(name, note)| [note.path, self.suspect_path(name)]);
        self.remove_notes(paths);
        self.remove_stale_notes();
    }

    /// An entry is gone, or comes back from quarantine: nothing counts against it.
    pub(super) fn forget_suspect(&self, name: EntryName) {
        let was_suspect = self.attempts.lock().suspects.remove(&name).is_some();
        self.remove_notes(was_suspect.then(|| self.suspect_path(name)));
    }

    /// Done at a start, before anything is loaded: makes suspects of the entries that were in progress
    /// when the process before died, counts that death if only one was, and quarantines an entry with
    /// too many.
    pub(super) fn judge_attempts(&self) -> Result<(), JournalError> {
        let mut suspects = self.read_suspects()?;
        let mut notes = Vec::new();
        for file in plain_files(&self.attempts_folder())? {
            let file = file?;
            let note = file.name.to_string_lossy().into_owned();
            let name = note.rsplit_once('.').and_then(|(name, _)| name.parse::<EntryName>().ok());
            match name.filter(|name| self.journal.join(name.to_string()).exists()) {
                Some(name) => notes.push((name, note, file.metadata.len() > 0)),
                // Its export ended before the note was removed.
                None => {
                    self.disk.remove(&file.path)?;
                }
            }
        }
        let counts = matches!(&notes[..], [(_, _, is_shared)] if !is_shared);
        for (name, note, _) in &notes {
            let suspect = suspects.entry(*name).or_insert(SuspectV1 { deaths: 0, counted: None });
            if suspect.counted.as_ref() == Some(note) {
                continue;
            }
            suspect.deaths += u32::from(counts);
            suspect.counted = Some(note.clone());
            self.write_note(&self.suspect_path(*name), SCHEMA, suspect)?;
            tracing::warn!(
                export_id = %name.export_id, deaths = suspect.deaths, counts, in_progress = notes.len(),
                "an accepted export was in progress when the process before died"
            );
            failpoint!("suspect.noted");
        }
        for (_, note, _) in &notes {
            self.disk.remove(&self.attempts_folder().join(note))?;
        }
        for (name, suspect) in suspects {
            if suspect.deaths < MAX_DEATHS {
                self.attempts.lock().suspects.insert(name, suspect.deaths);
                continue;
            }
            let reason = format!(
                "{} processes died while nothing but this entry was in progress: look for the reason in the logs, \
                 then run: tara-export journal retry {}",
                suspect.deaths, name.export_id
            );
            let quarantined = self.quarantine(&self.journal.join(name.to_string()), &reason)?;
            self.attempts.lock().quarantined.push(quarantined);
            self.disk.remove(&self.suspect_path(name))?;
        }
        Ok(())
    }

    /// The suspects of earlier starts whose entries are still in the journal.
    fn read_suspects(&self) -> Result<HashMap<EntryName, SuspectV1>, JournalError> {
        let mut suspects = HashMap::new();
        for file in plain_files(&self.suspects_folder())? {
            let file = file?;
            let name = file.name.to_string_lossy().parse::<EntryName>().ok();
            let name = name.filter(|name| self.journal.join(name.to_string()).exists());
            let Some(name) = name else {
                self.disk.remove(&file.path)?;
                continue;
            };
            let suspect = match read_note(&file.path, SCHEMA) {
                Ok(Some(suspect)) => suspect,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(export_id = %name.export_id, %error, "cannot read the note of a suspect");
                    SuspectV1 { deaths: 0, counted: None }
                }
            };
            suspects.insert(name, suspect);
        }
        Ok(suspects)
    }

    fn attempts_folder(&self) -> PathBuf {
        self.journal.join("attempts")
    }

    fn suspects_folder(&self) -> PathBuf {
        self.journal.join("suspects")
    }

    fn suspect_path(&self, name: EntryName) -> PathBuf {
        self.suspects_folder().join(name.to_string())
    }
}

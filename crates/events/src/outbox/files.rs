//! Writes, moves and reads the files of events.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tara_export_digest::Sha256;
use tara_export_disk::{Batch, Disk, DiskError, plain_files, plain_names};
use tara_export_failpoint::failpoint;
use tara_export_state_file::{self as state_file, StateFileError};
use uuid::Uuid;

use super::{
    DeadDelivery, Retry, StoredEvent,
    record::{EventV1, SCHEMA},
};
use crate::{Event, EventId, EventType};

/// Maximum number of events that wait. Beyond it, the oldest become dead letters.
pub const MAX_PENDING: usize = 100_000;
/// Maximum number of dead letters. Beyond it, the oldest expire.
pub const MAX_DEAD: usize = 100_000;
const OWNER_SCHEMA: &str = "tara-export/event-owner/v1";
const EXTENSION: &str = ".json";

/// A folder of events: their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventFolder {
    /// A target has not answered yet.
    Pending,
    /// Every target answered, or another replica delivers it.
    Delivered,
    /// A target never answered.
    Dead,
}

impl EventFolder {
    /// All folders.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// The event files of one data directory. One process writes there.
#[derive(Debug)]
pub struct EventFiles {
    pub(super) disk: Disk,
    pub(super) settled: PathBuf,
    pub(super) events: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Owner {
    owner: Uuid,
}

impl EventFiles {
    /// The event files below `data_dir/.tara-export`. Creates nothing.
    ///
    /// # Errors
    /// If the current folder, which relative paths start from, cannot be found.
    pub fn new(data_dir: &Path) -> Result<Self, DiskError> {
        let root = std::path::absolute(data_dir)
            .map_err(|error| DiskError::of_read("find the folder", data_dir, error))?;
        let own = root.join(".tara-export");
        Ok(Self {
            disk: Disk::new(root, ".tara-export/events/tmp"),
            settled: own.join("settled"),
            events: own.join("events"),
        })
    }

    /// Removes unfinished files of a crashed process. Call this before anything else.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn clean_temporary_files(&self) -> Result<(), DiskError> {
        self.disk.clean_temporary_files()
    }

    /// Writes the settled note of an export durably. Idempotent.
    ///
    /// # Errors
    /// If the disk refuses it. The journal entry must stay.
    pub fn settle(&self, content_digest: Sha256, event: &Event) -> Result<(), DiskError> {
        let path = self.settled_path(event, content_digest);
        if let Some(existing) = self.find_note(event, Some(&path))? {
            // The call that wrote it may have ended before it was durable.
            return self.disk.sync_name(&existing);
        }
        let content = EventV1::from(&StoredEvent::new(event.clone()));
        state_file::write(&self.disk, &path, SCHEMA, &content)?;
        failpoint!("event.settled");
        Ok(())
    }

    /// Writes an event durably, unless it exists. Returns whether it is new.
    ///
    /// # Errors
    /// If the disk refuses it. The event may exist, and a power cut may remove it.
    pub fn add(&self, event: &Event) -> Result<bool, DiskError> {
        self.add_stored(&StoredEvent::new(event.clone()))
    }

    /// Like [`Self::add`], with what is known of its deliveries.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn add_stored(&self, stored: &StoredEvent) -> Result<bool, DiskError> {
        let event = &stored.event;
        let settled = event.content_digest.map(|digest| self.settled_path(event, digest));
        if let Some(existing) = self.find_note(event, settled.as_deref())? {
            self.disk.sync_name(&existing)?;
            return Ok(false);
        }
        self.write(EventFolder::Pending, stored)?;
        failpoint!("event.added");
        Ok(true)
    }

    /// The note of an event, or the one after which its export has no other: a settled one, or that its bundle is at
    /// its destination. A restart before the journal entry was removed reports nothing more.
    fn find_note(
        &self,
        event: &Event,
        settled: Option<&Path>,
    ) -> Result<Option<PathBuf>, DiskError> {
        if let Some(settled) = settled
            && self.disk.has_name(settled)?
        {
            return Ok(Some(settled.to_owned()));
        }
        let last = [EventType::Committed, EventType::Synced];
        let own = Some(event.event_type).filter(|own| !last.contains(own));
        for event_type in last.into_iter().chain(own) {
            if let Some(found) = self.find(event.id_of(event_type))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Whether the event exists, in whatever state. Settled notes do not count.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn has(&self, event_id: EventId) -> Result<bool, DiskError> {
        Ok(self.find(event_id)?.is_some())
    }

    fn find(&self, event_id: EventId) -> Result<Option<PathBuf>, DiskError> {
        for folder in EventFolder::ALL {
            let path = self.path(folder, event_id);
            if self.disk.has_name(&path)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// The ids of the events in a folder, without an order.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn list(&self, folder: EventFolder) -> Result<Vec<EventId>, DiskError> {
        let paths = self.files_in(&self.folder(folder))?;
        Ok(paths.iter().filter_map(|path| event_id_of(path)).collect())
    }

    /// The ids of the events in a folder, each with the time of its last write.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn list_with_times(
        &self,
        folder: EventFolder,
    ) -> Result<Vec<(DateTime<Utc>, EventId)>, DiskError> {
        let folder = self.folder(folder);
        let mut events = Vec::new();
        for file in plain_files(&folder)? {
            let file = file?;
            let Some(event_id) = event_id_of(&file.path) else { continue };
            let time = file.metadata.modified();
            let time = time.map_err(|error| DiskError::of_read("read", &file.path, error))?;
            events.push((DateTime::from(time), event_id));
        }
        Ok(events)
    }

    /// The targets that answered events which are still pending.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn answered(&self) -> Result<Vec<(EventId, String)>, DiskError> {
        let mut answered = Vec::new();
        for name in plain_names(&self.answered_folder())? {
            let name = name?;
            if let Some((event_id, target)) = name.to_str().and_then(|name| name.split_once('.'))
                && let Ok(event_id) = event_id.parse()
            {
                answered.push((event_id, target.to_owned()));
            }
        }
        Ok(answered)
    }

    /// Reads an event. `None` if it is not in this folder, or cannot be read: a damaged file is moved away, one of a
    /// later release stays; both are logged.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read(
        &self,
        folder: EventFolder,
        event_id: EventId,
    ) -> Result<Option<StoredEvent>, DiskError> {
        self.read_path(&self.path(folder, event_id))
    }

    /// Notes that a target answered, while others have not. A power cut may undo this, and the target gets the event
    /// again.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn mark_answered(&self, event_id: EventId, target: &str) -> Result<(), DiskError> {
        let folder = self.answered_folder();
        self.disk.ensure_directory(&folder)?;
        let path = folder.join(format!("{event_id}.{target}"));
        fs::File::create(&path).map_err(|error| DiskError::of_write("write", &path, error))?;
        failpoint!("event.answered");
        Ok(())
    }

    /// Moves an event that every target answered. Idempotent.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn deliver(&self, event_id: EventId, targets: &[String]) -> Result<(), DiskError> {
        let from = self.path(EventFolder::Pending, event_id);
        let to = self.path(EventFolder::Delivered, event_id);
        self.disk.ensure_directory(&self.folder(EventFolder::Delivered))?;
        if self.disk.has_name(&from)? {
            // A power cut may undo the move, and the targets get the event again.
            self.disk.rename(&from, &to, "move")?.leave_unsynced();
            failpoint!("event.delivered");
        }
        self.remove_answered(event_id, targets)
    }

    /// Makes a pending event a dead letter.
    ///
    /// # Errors
    /// If the disk refuses it. The event stays pending.
    pub fn bury(
        &self,
        stored: &StoredEvent,
        dead: Vec<DeadDelivery>,
        targets: &[String],
    ) -> Result<(), DiskError> {
        let event_id = stored.event.id();
        let letter = StoredEvent { event: stored.event.clone(), retry: None, dead };
        self.write(EventFolder::Dead, &letter)?;
        failpoint!("event.buried");
        self.disk.remove(&self.path(EventFolder::Pending, event_id))?.leave_unsynced();
        self.remove_answered(event_id, targets)
    }

    /// Makes a dead letter pending again, for these targets. Returns it; `None` if it is no dead letter.
    ///
    /// # Errors
    /// If the disk refuses it. The event stays dead.
    pub fn revive(
        &self,
        event_id: EventId,
        retry: Retry,
    ) -> Result<Option<StoredEvent>, DiskError> {
        let Some(letter) = self.read(EventFolder::Dead, event_id)? else { return Ok(None) };
        let stored = StoredEvent { event: letter.event, retry: Some(retry), dead: Vec::new() };
        self.write(EventFolder::Pending, &stored)?;
        failpoint!("event.revived");
        self.disk.remove(&self.path(EventFolder::Dead, event_id))?.leave_unsynced();
        Ok(Some(stored))
    }

    /// Removes the second file of an event that a crash left in two folders: the pending one counts.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn remove_second(&self, event_id: EventId) -> Result<(), DiskError> {
        self.disk.remove(&self.path(EventFolder::Dead, event_id))?.leave_unsynced();
        Ok(())
    }

    pub(super) fn remove(
        &self,
        folder: EventFolder,
        event_id: EventId,
        removals: &mut Batch,
    ) -> Result<bool, DiskError> {
        Ok(removals.add(self.disk.remove(&self.path(folder, event_id))?))
    }

    /// The name of this machine in claims: read, or written with this new id.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn owner(&self, new_id: Uuid) -> Result<Uuid, DiskError> {
        let path = self.events.join("owner.json");
        match state_file::read::<Owner>(&path, OWNER_SCHEMA) {
            Ok(Some(Owner { owner })) => return Ok(owner),
            Ok(None) => {}
            Err(StateFileError::Disk(error)) => return Err(error),
            // Own claims then look like those of another machine, which delivers nothing of them: they are older than
            // this process, so that they are taken over as those of a lost machine.
            Err(error) => {
                tracing::warn!(%error, "replacing the name of this machine in claims on events")
            }
        }
        state_file::write(&self.disk, &path, OWNER_SCHEMA, &Owner { owner: new_id })?;
        Ok(new_id)
    }

    fn write(&self, folder: EventFolder, stored: &StoredEvent) -> Result<(), DiskError> {
        let path = self.path(folder, stored.event.id());
        state_file::write(&self.disk, &path, SCHEMA, &EventV1::from(stored))
    }

    pub(super) fn read_path(&self, path: &Path) -> Result<Option<StoredEvent>, DiskError> {
        let damaged = match state_file::read::<EventV1>(path, SCHEMA) {
            Ok(Some(record)) => match record.into_stored() {
                Some(stored) => return Ok(Some(stored)),
                None => StateFileError::LaterRelease,
            },
            Ok(None) => return Ok(None),
            Err(StateFileError::Disk(error)) => return Err(error),
            Err(error) => error,
        };
        let is_damaged = matches!(damaged, StateFileError::Damaged(_));
        tracing::error!(path = %path.display(), error = %damaged, "cannot read an event");
        if is_damaged && let Some(name) = path.file_name() {
            let folder = self.events.join("damaged");
            self.disk.ensure_directory(&folder)?;
            self.disk.rename(path, &folder.join(name), "move")?.leave_unsynced();
        }
        Ok(None)
    }

    /// Removes the notes of which targets answered an event.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn remove_answered(&self, event_id: EventId, targets: &[String]) -> Result<(), DiskError> {
        for target in targets {
            let path = self.answered_folder().join(format!("{event_id}.{target}"));
            self.disk.remove(&path)?.leave_unsynced();
        }
        Ok(())
    }

    pub(super) fn files_in(&self, folder: &Path) -> Result<Vec<PathBuf>, DiskError> {
        let mut files = Vec::new();
        for name in plain_names(folder)? {
            let name = name?;
            if name.to_str().is_some_and(|name| name.ends_with(EXTENSION)) {
                files.push(folder.join(name));
            }
        }
        Ok(files)
    }

    fn settled_path(&self, event: &Event, content_digest: Sha256) -> PathBuf {
        self.settled.join(format!("{}-{content_digest}{EXTENSION}", event.subject_id()))
    }

    fn answered_folder(&self) -> PathBuf {
        self.events.join("answered")
    }

    fn folder(&self, folder: EventFolder) -> PathBuf {
        self.events.join(folder.as_str())
    }

    pub(super) fn path(&self, folder: EventFolder, event_id: EventId) -> PathBuf {
        self.folder(folder).join(format!("{event_id}{EXTENSION}"))
    }
}

fn event_id_of(path: &Path) -> Option<EventId> {
    path.file_name()?.to_str()?.strip_suffix(EXTENSION)?.parse().ok()
}

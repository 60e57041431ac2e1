//! Takes settled notes: each becomes a pending event.

use std::path::Path;

use tara_export_disk::{Batch, DiskError, batch};
use tara_export_failpoint::failpoint;

use super::{EventFiles, EventFolder, StoredEvent};

/// Settled notes that one call takes.
const MAX_TAKEN: usize = 1_000;

/// What one call of [`EventFiles::take_settled`] took.
#[derive(Debug, Default)]
pub struct TakenEvents {
    /// The events that are pending now.
    pub events: Vec<StoredEvent>,
    /// Whether the limit of one call left some notes.
    pub is_more_left: bool,
    /// The last error. The notes that it concerns are still there, or a power cut may bring them back.
    pub error: Option<DiskError>,
}

impl EventFiles {
    /// Takes settled notes: each becomes a pending event. A note that cannot be taken stays and delays no other.
    pub fn take_settled(&self) -> TakenEvents {
        let mut taken = TakenEvents::default();
        let paths = match self.files_in(&self.settled) {
            Ok(paths) => paths,
            Err(error) => return TakenEvents { error: Some(error), ..taken },
        };
        let synced = batch(|moves| {
            for (number, path) in paths.into_iter().enumerate() {
                if number == MAX_TAKEN {
                    taken.is_more_left = true;
                    break;
                }
                match self.take(&path, moves) {
                    Ok(stored) => taken.events.extend(stored),
                    Err(error) => taken.error = Some(error),
                }
            }
            Ok::<(), DiskError>(())
        });
        if let Err(error) = synced {
            taken.error = Some(error);
        }
        taken
    }

    /// Takes a settled note. `None` if it cannot be read, or its event exists.
    fn take(&self, path: &Path, moves: &mut Batch) -> Result<Option<StoredEvent>, DiskError> {
        let Some(stored) = self.read_path(path)? else { return Ok(None) };
        let event_id = stored.event.id();
        if self.has(event_id)? {
            // Its export was resumed after the event was taken.
            moves.add(self.disk.remove(path)?);
            return Ok(None);
        }
        let target = self.path(EventFolder::Pending, event_id);
        self.disk.ensure_directory(target.parent().unwrap_or(&self.events))?;
        moves.add(self.disk.rename(path, &target, "move")?);
        failpoint!("event.taken");
        Ok(Some(stored))
    }
}

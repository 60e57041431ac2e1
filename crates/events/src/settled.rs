//! The writer's side of the outbox: what the journal and the engine call.

use std::{fmt, sync::Arc};

use tara_export_digest::Sha256;
use tara_export_disk::DiskError;
use uuid::Uuid;

use crate::{Event, EventFiles, EventId};

/// Reads the events that are written.
pub trait Consumer: fmt::Debug + Send + Sync {
    /// Whether anything will be done with this event. Others are not written.
    fn wants(&self, event: &Event) -> bool;

    /// Called after a settled note was written.
    fn wake(&self);

    /// Called after this event was written as a pending one.
    fn added(&self, event: &Event);
}

/// Writes events that a consumer wants. Cheap to clone. All methods block.
#[derive(Debug, Clone)]
pub struct Outbox {
    files: Arc<EventFiles>,
    owner: Uuid,
    consumer: Arc<dyn Consumer>,
}

impl Outbox {
    /// The outbox with these files, of the machine with this name.
    pub fn new(files: Arc<EventFiles>, owner: Uuid, consumer: Arc<dyn Consumer>) -> Self {
        Self { files, owner, consumer }
    }

    /// The name of this machine in claims on events.
    pub fn owner(&self) -> Uuid {
        self.owner
    }

    /// Writes the settled note of an export. Afterwards its journal entry may be removed. Returns whether a consumer
    /// wants the event.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn settle(&self, content_digest: Sha256, event: &Event) -> Result<bool, DiskError> {
        let is_wanted = self.consumer.wants(event);
        if is_wanted {
            self.files.settle(content_digest, event)?;
            self.consumer.wake();
        }
        Ok(is_wanted)
    }

    /// Writes an event of an export whose journal entry stays, unless it was written before.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn add(&self, event: &Event) -> Result<(), DiskError> {
        if !self.consumer.wants(event) {
            return Ok(());
        }
        let added = self.files.add(event);
        // If only its folder could not be synced, a later call finds the event and does not report it.
        if matches!(added, Ok(true)) || added.is_err() && self.files.has(event.id())? {
            self.consumer.added(event);
        }
        added.map(drop)
    }

    /// Whether an event was written before.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn has(&self, event_id: EventId) -> Result<bool, DiskError> {
        self.files.has(event_id)
    }
}

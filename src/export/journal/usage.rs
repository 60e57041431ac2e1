//! How much the journal holds, kept in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Files, JournalError, entries::plain_files};

/// How many entries there are, and their bytes together. Quarantine does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalSize {
    /// Entries, those of later releases too.
    pub count: u64,
    /// Their bytes.
    pub size_bytes: u64,
}

/// The lock is held while an entry gets or loses its name, so that the numbers and a count of the
/// folder never disagree. No fsync happens under it but those of a quarantine.
#[derive(Debug, Default)]
pub(super) struct Usage {
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
pub(super) struct Numbers {
    size: JournalSize,
    /// Bytes of entries that have no name yet.
    reserved_bytes: u64,
}

impl Numbers {
    fn require_room(&self, wanted_bytes: u64, max_bytes: u64) -> Result<(), JournalError> {
        let held_bytes = self.size.size_bytes.saturating_add(self.reserved_bytes);
        if held_bytes.saturating_add(wanted_bytes) > max_bytes {
            return Err(JournalError::Full { held_bytes, wanted_bytes, max_bytes });
        }
        Ok(())
    }

    pub(super) fn add(&mut self, size_bytes: u64) {
        self.size.count += 1;
        self.size.size_bytes += size_bytes;
    }

    pub(super) fn subtract(&mut self, size_bytes: u64) {
        self.size.count = self.size.count.saturating_sub(1);
        self.size.size_bytes = self.size.size_bytes.saturating_sub(size_bytes);
    }
}

impl Usage {
    /// Whether there is room for as many bytes now.
    pub(super) fn require_room(
        &self,
        wanted_bytes: u64,
        max_bytes: u64,
    ) -> Result<(), JournalError> {
        self.lock().require_room(wanted_bytes, max_bytes)
    }

    pub(super) fn size(&self) -> JournalSize {
        self.lock().size
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Numbers> {
        // A panic while it was held leaves numbers that the next count corrects.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets bytes aside until the reservation is dropped.
    pub(super) fn reserve(
        &self,
        wanted_bytes: u64,
        max_bytes: u64,
    ) -> Result<Reservation<'_>, JournalError> {
        let mut numbers = self.lock();
        numbers.require_room(wanted_bytes, max_bytes)?;
        numbers.reserved_bytes += wanted_bytes;
        Ok(Reservation { usage: self, size_bytes: wanted_bytes })
    }
}

/// Bytes that are set aside for an entry being written.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    usage: &'a Usage,
    size_bytes: u64,
}

impl Reservation<'_> {
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut numbers = self.usage.lock();
        numbers.reserved_bytes = numbers.reserved_bytes.saturating_sub(self.size_bytes);
    }
}

impl Files {
    /// Counts the folder anew: somebody may have changed it by hand.
    pub(super) fn recount(&self) -> Result<(), JournalError> {
        let mut numbers = self.usage.lock();
        let mut size = JournalSize::default();
        for file in plain_files(&self.journal)? {
            size.count += 1;
            size.size_bytes += file?.metadata.len();
        }
        numbers.size = size;
        Ok(())
    }
}

//! Memory for parts on their way, shared fairly between callers.

use std::{sync::Weak, time::Duration};

use crate::limits::{CallerKey, FairPermit, FairSemaphore, Revocation, Unavailable};

/// Memory for parts, taken for one caller. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PartMemory {
    /// One place for each part.
    parts: FairSemaphore,
    caller: CallerKey,
    /// Of work that can be stopped when another caller needs the memory.
    revocation: Option<Weak<Revocation>>,
}

impl PartMemory {
    /// Memory for this many parts, of which the server itself takes.
    pub(super) fn new(parts: u64) -> Self {
        // What waits is bounded by the limits on uploads and exports.
        let parts = FairSemaphore::new(parts, usize::MAX);
        Self { parts, caller: CallerKey::server(), revocation: None }
    }

    /// The same memory, taken for this caller's work.
    pub fn of(&self, caller: CallerKey, revocation: Weak<Revocation>) -> Self {
        Self { parts: self.parts.clone(), caller, revocation: Some(revocation) }
    }

    /// Memory for one part, however long that takes.
    ///
    /// # Errors
    /// Never: any number may wait.
    pub(super) async fn take(&self) -> Result<FairPermit, Unavailable> {
        Ok(self.revocable(self.parts.acquire(&self.caller, 1).await?))
    }

    /// Memory for one part, after waiting for it at most this long.
    ///
    /// # Errors
    /// [`Unavailable::TimedOut`].
    pub async fn take_within(&self, patience: Duration) -> Result<FairPermit, Unavailable> {
        Ok(self.revocable(self.parts.acquire_within(&self.caller, 1, patience).await?))
    }

    fn revocable(&self, mut memory: FairPermit) -> FairPermit {
        if let Some(revocation) = &self.revocation {
            let revocation: Weak<Revocation> = revocation.clone();
            memory.make_revocable(revocation);
        }
        memory
    }

    /// Parts for which there is memory now.
    pub fn free(&self) -> u64 {
        self.parts.free()
    }
}

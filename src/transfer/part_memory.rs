//! Memory for parts in flight, shared fairly between callers.

use std::{sync::Weak, time::Duration};

use tara_export_limits::{CallerKey, FairPermit, FairSemaphore, Revocation, Unavailable};

/// Memory for parts that is acquired for one caller. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PartMemory {
    /// One permit for each part.
    parts: FairSemaphore,
    caller: CallerKey,
    /// Revokes the work if another caller needs the memory.
    revocation: Option<Weak<Revocation>>,
}

impl PartMemory {
    /// Memory for this many parts, which is acquired for the server itself.
    pub(super) fn new(parts: u64) -> Self {
        // The queue is bounded by the limits on uploads and exports.
        let parts = FairSemaphore::new(parts, usize::MAX);
        Self { parts, caller: CallerKey::server(), revocation: None }
    }

    /// The same memory, acquired for this caller's work.
    pub fn for_caller(&self, caller: CallerKey, revocation: Weak<Revocation>) -> Self {
        Self { parts: self.parts.clone(), caller, revocation: Some(revocation) }
    }

    /// Acquires memory for one part. Waits without a limit.
    ///
    /// # Errors
    /// Never, because the queue has no limit.
    pub(crate) async fn acquire(&self) -> Result<FairPermit, Unavailable> {
        Ok(self.revocable(self.parts.acquire(&self.caller, 1).await?))
    }

    /// Acquires memory for one part within a timeout.
    ///
    /// # Errors
    /// [`Unavailable::TimedOut`].
    pub async fn acquire_within(&self, timeout: Duration) -> Result<FairPermit, Unavailable> {
        Ok(self.revocable(self.parts.acquire_within(&self.caller, 1, timeout).await?))
    }

    fn revocable(&self, mut memory: FairPermit) -> FairPermit {
        if let Some(revocation) = &self.revocation {
            let revocation: Weak<Revocation> = revocation.clone();
            memory.make_revocable(revocation);
        }
        memory
    }

    /// Number of parts for which memory is free.
    pub fn free(&self) -> u64 {
        self.parts.free()
    }
}

//! Bounds on what is held in memory at once, taken before a request's body is read.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

/// Bytes are counted in units of this, since semaphores count to 2^32 at least.
const UNIT_BYTES: u64 = 1024;

/// How much is admitted.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionLimits {
    /// Exports at once, those that wait for a store included.
    pub concurrent_exports: u32,
    /// Bytes of all requests in memory at once.
    pub request_memory_bytes: u64,
    /// Bytes of one request.
    pub request_size_bytes: u64,
    /// How long a request waits for its turn.
    pub patience: Duration,
}

/// Lets requests in while there is room for them.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    exports: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// The right to hold a request in memory; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    _export: OwnedSemaphorePermit,
    memory: OwnedSemaphorePermit,
}

/// No room, also after a while. Waiting helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server is full: {limit} ({setting}) is reached; try again in a moment")]
pub struct Overloaded {
    /// Which limit.
    pub limit: String,
    /// The setting that holds it.
    pub setting: &'static str,
}

impl Admission {
    /// Admits up to these limits.
    pub fn new(limits: AdmissionLimits) -> Self {
        Self {
            exports: Arc::new(Semaphore::new(limits.concurrent_exports as usize)),
            memory: Arc::new(Semaphore::new(units(limits.request_memory_bytes) as usize)),
            limits,
        }
    }

    /// Room for one request of the largest size, whose body is not read yet.
    ///
    /// # Errors
    /// [`Overloaded`] where there is none within the limits' patience.
    pub async fn admit(&self) -> Result<Permit, Overloaded> {
        let exports = async {
            let export = self.exports.clone().acquire_owned().await.ok()?;
            let memory = self
                .memory
                .clone()
                .acquire_many_owned(units(self.limits.request_size_bytes))
                .await
                .ok()?;
            Some(Permit { _export: export, memory })
        };
        match time::timeout(self.limits.patience, exports).await {
            Ok(Some(permit)) => Ok(permit),
            // The semaphores are never closed, so this is the timeout.
            Ok(None) | Err(_) => Err(self.overloaded()),
        }
    }

    /// Room for an export of the journal, whose size is known. Waits for it, however long.
    pub(super) async fn admit_journaled(&self, size_bytes: u64) -> Option<Permit> {
        // More than there can be is never to be had: the settings became smaller since.
        let size_bytes = size_bytes.min(self.limits.request_memory_bytes);
        let export = self.exports.clone().acquire_owned().await.ok()?;
        let memory = self.memory.clone().acquire_many_owned(units(size_bytes)).await.ok()?;
        Some(Permit { _export: export, memory })
    }

    fn overloaded(&self) -> Overloaded {
        if self.exports.available_permits() == 0 {
            let limit = format!("the limit of {} exports at once", self.limits.concurrent_exports);
            Overloaded { limit, setting: "MAX_CONCURRENT_EXPORTS" }
        } else {
            let limit =
                format!("the limit of {} bytes for requests", self.limits.request_memory_bytes);
            Overloaded { limit, setting: "MAX_REQUEST_MEMORY" }
        }
    }
}

impl Permit {
    /// Gives back what the request, now read, does not take.
    pub fn shrink_to(&mut self, request_size_bytes: u64) {
        let surplus = self.memory.num_permits().saturating_sub(units(request_size_bytes) as usize);
        drop(self.memory.split(surplus));
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn admission(concurrent_exports: u32) -> Admission {
        Admission::new(AdmissionLimits {
            concurrent_exports,
            request_memory_bytes: 64 * 1024,
            request_size_bytes: 32 * 1024,
            patience: Duration::from_secs(1),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_reserved_for_the_largest_request_until_its_size_is_known() {
        let admission = admission(10);
        let mut first = admission.admit().await.unwrap();
        let second = admission.admit().await.unwrap();
        assert_eq!(admission.admit().await.unwrap_err().setting, "MAX_REQUEST_MEMORY");
        first.shrink_to(0);
        let third = admission.admit().await.unwrap();
        assert!(admission.admit().await.is_err());
        drop((second, third));
        assert!(admission.admit().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn exports_are_counted() {
        let admission = admission(1);
        let mut permit = admission.admit().await.unwrap();
        permit.shrink_to(0);
        assert_eq!(admission.admit().await.unwrap_err().setting, "MAX_CONCURRENT_EXPORTS");
        drop(permit);
        assert!(admission.admit().await.is_ok());
    }
}

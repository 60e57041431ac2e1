//! Admission control: limits the memory of requests, measured as decoded, and the number of exports in memory.

use std::{fmt, sync::Weak, time::Duration};

use tara_export_limits::{CallerKey, FairPermit, FairSemaphore, Revoke, Unavailable};
use tara_export_telemetry::names;
use tokio::time::Instant;

/// Maximum number of requests that wait for memory, and of exports that wait for a permit. Each occupies a stream and
/// the received part of its request.
const QUEUE_LIMIT: usize = 1024;

/// The limits of admission.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionLimits {
    /// Maximum number of concurrent exports, including those that wait for a store.
    pub concurrent_exports: u32,
    /// Maximum memory of all requests together.
    pub request_memory_bytes: u64,
    /// Maximum size of one request message.
    pub request_size_bytes: u64,
    /// How long a request waits for memory and a permit in total.
    pub timeout: Duration,
}

/// Admits requests within the limits, and shares the capacity fairly between callers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission {
    limits: AdmissionLimits,
    exports: FairSemaphore,
    memory: FairSemaphore,
}

/// Memory reserved for one request. It grows while the request arrives, and is returned when dropped.
pub struct RequestMemory {
    admission: Admission,
    caller: CallerKey,
    permit: Option<FairPermit>,
    /// Releases the memory in favour of other callers; `None` once the request has arrived.
    holder: Option<Weak<dyn Revoke>>,
    /// The remaining part of [`AdmissionLimits::timeout`].
    timeout: Duration,
}

/// The right to run one export, and the memory of its request. Returned when dropped.
#[derive(Debug)]
pub struct Permit {
    _export: FairPermit,
    memory: RequestMemory,
    /// Memory that stays reserved in addition to the content's.
    extra_bytes: u64,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// Other requests use the capacity. Retrying helps.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The request needs more memory than all requests together may use. Retrying does not help.
    #[error(
        "the request needs {needed_bytes} bytes of memory, and this server has {limit_bytes} for all requests \
         (MAX_REQUEST_MEMORY): send fewer items, log entries or free fields, upload large documents first \
         (CreateUpload), or raise the setting"
    )]
    TooLarge {
        /// Memory that the request needs.
        needed_bytes: u64,
        /// Memory for all requests.
        limit_bytes: u64,
    },
}

/// The capacity was still in use after the timeout. Retrying helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server is full: {limit} ({setting}) is reached; try again in a moment")]
pub struct Overloaded {
    /// Description of the limit.
    pub limit: String,
    /// The setting that defines it.
    pub setting: &'static str,
}

impl Admission {
    /// Admission within these limits, with nothing in use.
    pub fn new(limits: AdmissionLimits) -> Self {
        Self {
            exports: FairSemaphore::new(u64::from(limits.concurrent_exports), QUEUE_LIMIT),
            memory: FairSemaphore::new(limits.request_memory_bytes, QUEUE_LIMIT),
            limits,
        }
    }

    /// Maximum size of one request message.
    pub fn request_size_bytes(&self) -> u64 {
        self.limits.request_size_bytes
    }

    /// Memory that is reserved for requests.
    pub fn reserved_bytes(&self) -> u64 {
        self.memory.capacity() - self.memory.free()
    }

    /// An empty reservation for a request of this caller.
    pub fn request_memory(&self, caller: &CallerKey) -> RequestMemory {
        let (admission, caller) = (self.clone(), caller.clone());
        let timeout = self.limits.timeout;
        RequestMemory { timeout, admission, caller, permit: None, holder: None }
    }

    /// A permit for a journaled export that needs this much memory. Waits without a timeout.
    pub(in crate::export) async fn admit_journaled(&self, memory_bytes: u64) -> Option<Permit> {
        // The limit may have been lowered since the export was accepted.
        let memory_bytes = memory_bytes.min(self.memory.capacity());
        let caller = CallerKey::server();
        let export = wait_for(&self.exports, &caller, 1).await?;
        let mut memory = self.request_memory(&caller);
        memory.permit = Some(wait_for(&self.memory, &caller, memory_bytes).await?);
        Some(Permit { _export: export, memory, extra_bytes: 0 })
    }

    /// The error of a request whose memory was revoked.
    pub fn revoked(&self) -> AdmissionError {
        self.overloaded(MEMORY_SETTING).into()
    }

    fn overloaded(&self, setting: &'static str) -> Overloaded {
        names::SHARES_REFUSED.add(1, [setting]);
        let AdmissionLimits { concurrent_exports, request_memory_bytes, .. } = self.limits;
        let limit = match setting {
            EXPORTS_SETTING => format!("the limit of {concurrent_exports} concurrent exports"),
            _ => format!("the limit of {request_memory_bytes} bytes for requests"),
        };
        Overloaded { limit, setting }
    }
}

const EXPORTS_SETTING: &str = "MAX_CONCURRENT_EXPORTS";
const MEMORY_SETTING: &str = "MAX_REQUEST_MEMORY";

/// Waits without a timeout, even while the queue is full. `None` if `amount` exceeds the capacity.
async fn wait_for(
    semaphore: &FairSemaphore,
    caller: &CallerKey,
    amount: u64,
) -> Option<FairPermit> {
    loop {
        match semaphore.acquire(caller, amount).await {
            Ok(permit) => return Some(permit),
            Err(Unavailable::TooMuch) => return None,
            Err(Unavailable::QueueFull | Unavailable::TimedOut) => {
                tokio::time::sleep(QUEUE_PAUSE).await;
            }
        }
    }
}

/// The pause before the server's own work retries to enter a full queue.
const QUEUE_PAUSE: Duration = Duration::from_millis(100);

impl RequestMemory {
    /// Allows the memory to be revoked in favour of other callers while the request arrives, since its sender may be
    /// slow. Call this before reserving memory; the holder must drop this reservation when it is revoked.
    pub fn make_revocable(&mut self, holder: Weak<dyn Revoke>) {
        self.holder = Some(holder);
    }

    /// Makes the memory irrevocable.
    ///
    /// # Errors
    /// [`AdmissionError`] if it was already revoked.
    pub fn make_irrevocable(&mut self) -> Result<(), AdmissionError> {
        self.holder = None;
        let is_kept = self.permit.as_mut().is_none_or(FairPermit::make_irrevocable);
        if is_kept { Ok(()) } else { Err(self.admission.revoked()) }
    }

    /// Size of the reservation.
    pub fn bytes(&self) -> u64 {
        self.permit.as_ref().map_or(0, FairPermit::amount)
    }

    /// Grows the reservation to at least `bytes`. Waits until [`AdmissionLimits::timeout`] is used up.
    ///
    /// # Errors
    /// [`AdmissionError`]; the reservation is then unchanged.
    pub async fn grow_to(&mut self, bytes: u64) -> Result<(), AdmissionError> {
        let limit_bytes = self.admission.memory.capacity();
        if bytes > limit_bytes {
            return Err(AdmissionError::TooLarge { needed_bytes: bytes, limit_bytes });
        }
        if bytes <= self.bytes() {
            return Ok(());
        }
        if bytes - self.bytes() > self.admission.memory.free() {
            names::SHARES_WAITED.add(1, [MEMORY_SETTING]);
        }
        let started = Instant::now();
        let memory = &self.admission.memory;
        let grown = match &mut self.permit {
            Some(permit) => permit.grow_to(bytes, self.timeout).await,
            None => match memory.acquire_within(&self.caller, bytes, self.timeout).await {
                Ok(mut permit) => {
                    if let Some(holder) = self.holder.clone() {
                        permit.make_revocable(holder);
                    }
                    self.permit = Some(permit);
                    Ok(())
                }
                Err(unavailable) => Err(unavailable),
            },
        };
        self.timeout = self.timeout.saturating_sub(started.elapsed());
        grown.map_err(|_| self.admission.overloaded(MEMORY_SETTING).into())
    }

    /// Returns all memory beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        if let Some(permit) = &mut self.permit {
            permit.shrink_to(bytes);
        }
    }

    /// Acquires the right to run an export. Waits until [`AdmissionLimits::timeout`] is used up.
    ///
    /// # Errors
    /// [`Overloaded`].
    pub async fn into_permit(mut self) -> Result<Permit, Overloaded> {
        let started = Instant::now();
        let exports = &self.admission.exports;
        if exports.free() == 0 {
            names::SHARES_WAITED.add(1, [EXPORTS_SETTING]);
        }
        match exports.acquire_within(&self.caller, 1, self.timeout).await {
            Ok(export) => {
                self.timeout = self.timeout.saturating_sub(started.elapsed());
                Ok(Permit { _export: export, memory: self, extra_bytes: 0 })
            }
            Err(_) => Err(self.admission.overloaded(EXPORTS_SETTING)),
        }
    }
}

impl fmt::Debug for RequestMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caller, permit, timeout, .. } = self;
        let mut debug = formatter.debug_struct("RequestMemory");
        debug.field("caller", caller).field("permit", permit).field("timeout", timeout);
        debug.finish_non_exhaustive()
    }
}

impl Permit {
    /// Size of the reserved memory.
    pub fn bytes(&self) -> u64 {
        self.memory.bytes()
    }

    /// Reserves memory in addition to the content's, which [`Self::shrink_to`] does not return.
    pub fn reserve_extra(&mut self, bytes: u64) {
        self.extra_bytes = bytes;
    }

    /// Returns all memory except the content's and the extra memory.
    pub fn shrink_to(&mut self, content_bytes: u64) {
        self.memory.shrink_to(content_bytes.saturating_add(self.extra_bytes));
    }

    /// Grows the reservation to at least `bytes`.
    ///
    /// # Errors
    /// [`AdmissionError`]; the reservation is then unchanged.
    pub async fn grow_to(&mut self, bytes: u64) -> Result<(), AdmissionError> {
        self.memory.grow_to(bytes).await
    }
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
            timeout: Duration::from_secs(1),
        })
    }

    fn caller(name: &str) -> CallerKey {
        CallerKey::named(name)
    }

    async fn admit(admission: &Admission, bytes: u64) -> Result<Permit, AdmissionError> {
        let mut memory = admission.request_memory(&caller("one"));
        memory.grow_to(bytes).await?;
        Ok(memory.into_permit().await?)
    }

    fn setting(error: AdmissionError) -> &'static str {
        match error {
            AdmissionError::Overloaded(overloaded) => overloaded.setting,
            AdmissionError::TooLarge { .. } => "too large",
        }
    }

    #[tokio::test(start_paused = true)]
    async fn request_memory_is_limited_and_returned() {
        let admission = admission(10);
        let mut first = admit(&admission, 32 * 1024).await.unwrap();
        let second = admit(&admission, 32 * 1024).await.unwrap();
        assert_eq!(setting(admit(&admission, 1).await.unwrap_err()), MEMORY_SETTING);
        first.shrink_to(1024);
        let third = admit(&admission, 31 * 1024).await.unwrap();
        assert!(admit(&admission, 1).await.is_err());
        drop((first, second, third));
        assert_eq!(admission.reserved_bytes(), 0);
        assert!(admit(&admission, 64 * 1024).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn request_larger_than_all_memory_is_refused_immediately() {
        let admission = admission(10);
        let mut memory = admission.request_memory(&caller("one"));
        memory.grow_to(1024).await.unwrap();
        let refused = memory.grow_to(64 * 1024 + 1).await.unwrap_err();
        assert_eq!(
            refused,
            AdmissionError::TooLarge { needed_bytes: 64 * 1024 + 1, limit_bytes: 64 * 1024 }
        );
        assert_eq!(admission.reserved_bytes(), 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_exports_are_limited() {
        let admission = admission(1);
        let permit = admit(&admission, 0).await.unwrap();
        assert_eq!(setting(admit(&admission, 0).await.unwrap_err()), EXPORTS_SETTING);
        drop(permit);
        assert!(admit(&admission, 0).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn request_without_export_permit_returns_its_memory() {
        let admission = admission(1);
        let permit = admit(&admission, 1024).await.unwrap();
        assert!(admit(&admission, 2048).await.is_err());
        assert_eq!(admission.reserved_bytes(), permit.bytes());
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_covers_all_waits_of_a_request() {
        let admission = admission(10);
        let held = admit(&admission, 60 * 1024).await.unwrap();
        let mut memory = admission.request_memory(&caller("two"));
        memory.grow_to(1024).await.unwrap();
        let started = tokio::time::Instant::now();
        for _ in 0..5 {
            assert!(memory.grow_to(32 * 1024).await.is_err());
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        drop(held);
        memory.grow_to(32 * 1024).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn journaled_export_waits_for_its_memory() {
        let admission = admission(10);
        let held = admit(&admission, 40 * 1024).await.unwrap();
        let journaled = admission.admit_journaled(u64::MAX);
        tokio::pin!(journaled);
        assert!(futures::poll!(&mut journaled).is_pending());
        drop(held);
        assert_eq!(journaled.await.unwrap().bytes(), 64 * 1024);
    }
}

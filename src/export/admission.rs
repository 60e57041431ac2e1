//! Bounds on what is in memory at once: bytes of requests, counted as what they become, and exports.

use std::{fmt, sync::Weak, time::Duration};

use tokio::time::Instant;

use crate::{
    limits::{CallerKey, FairPermit, FairSemaphore, Revoke, Unavailable},
    telemetry::names,
};

/// Requests that wait for memory, and exports that wait for a place, at most. Each holds a connection's
/// stream and what arrived of it.
const QUEUE_LIMIT: usize = 1024;

/// How much is admitted.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionLimits {
    /// Exports at once, those that wait for a store included.
    pub concurrent_exports: u32,
    /// Bytes that all requests together take in memory.
    pub request_memory_bytes: u64,
    /// Bytes of one request's message.
    pub request_size_bytes: u64,
    /// How long a request waits for room, all its waits together.
    pub patience: Duration,
}

/// Lets requests in while there is room for them, and shares the room between callers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission {
    limits: AdmissionLimits,
    exports: FairSemaphore,
    memory: FairSemaphore,
}

/// Memory for one request, which grows as the request becomes known. Returned when dropped.
pub struct Room {
    admission: Admission,
    caller: CallerKey,
    memory: Option<FairPermit>,
    /// What gives the memory up for other callers; `None` once the request has arrived.
    holder: Option<Weak<dyn Revoke>>,
    /// What is left of the limits' patience.
    patience: Duration,
}

/// A place among the exports, and memory for a request. Returned when dropped.
#[derive(Debug)]
pub struct Permit {
    _export: FairPermit,
    room: Room,
    /// Memory that stays taken beside the content's own.
    beside_bytes: u64,
}

/// Why a request gets no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Other requests take it. Waiting helps.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The request takes more memory than all requests together may. Waiting does not help.
    #[error(
        "the request takes {needed_bytes} bytes of memory, and this server has {limit_bytes} for all requests \
         (MAX_REQUEST_MEMORY): send fewer items, log entries or free fields, upload large documents first \
         (CreateUpload), or raise the setting"
    )]
    TooLarge {
        /// Memory that the request takes.
        needed_bytes: u64,
        /// Memory that there is.
        limit_bytes: u64,
    },
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
            exports: FairSemaphore::new(u64::from(limits.concurrent_exports), QUEUE_LIMIT),
            memory: FairSemaphore::new(limits.request_memory_bytes, QUEUE_LIMIT),
            limits,
        }
    }

    /// Bytes of one request's message at most.
    pub fn request_size_bytes(&self) -> u64 {
        self.limits.request_size_bytes
    }

    /// Memory that requests hold.
    pub fn reserved_bytes(&self) -> u64 {
        self.memory.capacity() - self.memory.free()
    }

    /// Room for a request of this caller, which takes nothing yet.
    pub fn room(&self, caller: &CallerKey) -> Room {
        let (admission, caller) = (self.clone(), caller.clone());
        Room { patience: self.limits.patience, admission, caller, memory: None, holder: None }
    }

    /// Room for an export of the journal that takes this much memory. Waits for it, however long.
    pub(super) async fn admit_journaled(&self, memory_bytes: u64) -> Option<Permit> {
        // More than there can be would never be there: the settings became smaller since.
        let memory_bytes = memory_bytes.min(self.memory.capacity());
        let caller = CallerKey::server();
        let export = wait_for(&self.exports, &caller, 1).await?;
        let mut room = self.room(&caller);
        room.memory = Some(wait_for(&self.memory, &caller, memory_bytes).await?);
        Some(Permit { _export: export, room, beside_bytes: 0 })
    }

    /// Why a request ends whose memory was revoked.
    pub fn revoked(&self) -> NoRoom {
        self.overloaded(MEMORY_SETTING).into()
    }

    fn overloaded(&self, setting: &'static str) -> Overloaded {
        names::SHARES_REFUSED.add(1, [setting]);
        let AdmissionLimits { concurrent_exports, request_memory_bytes, .. } = self.limits;
        let limit = match setting {
            EXPORTS_SETTING => format!("the limit of {concurrent_exports} exports at once"),
            _ => format!("the limit of {request_memory_bytes} bytes for requests"),
        };
        Overloaded { limit, setting }
    }
}

const EXPORTS_SETTING: &str = "MAX_CONCURRENT_EXPORTS";
const MEMORY_SETTING: &str = "MAX_REQUEST_MEMORY";

/// Waits however long, also where the queue is full for now. `None` if there are fewer places than that.
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

/// The pause before a work of the server asks for a place in a full queue again.
const QUEUE_PAUSE: Duration = Duration::from_millis(100);

impl Room {
    /// Lets the memory be revoked in favour of other callers while the request arrives, whose sender may
    /// take its time. To be called before any is taken; the holder must drop this room then.
    pub fn make_revocable(&mut self, holder: Weak<dyn Revoke>) {
        self.holder = Some(holder);
    }

    /// Keeps the memory from being revoked, from here on.
    ///
    /// # Errors
    /// [`NoRoom`] if it was revoked already.
    pub fn make_irrevocable(&mut self) -> Result<(), NoRoom> {
        self.holder = None;
        let is_kept = self.memory.as_mut().is_none_or(FairPermit::make_irrevocable);
        if is_kept { Ok(()) } else { Err(self.admission.revoked()) }
    }

    /// Memory that it holds.
    pub fn bytes(&self) -> u64 {
        self.memory.as_ref().map_or(0, FairPermit::amount)
    }

    /// Takes memory until it holds this much. Waits for it as long as the limits' patience lasts.
    ///
    /// # Errors
    /// [`NoRoom`]; it then holds what it held before.
    pub async fn grow_to(&mut self, bytes: u64) -> Result<(), NoRoom> {
        let limit_bytes = self.admission.memory.capacity();
        if bytes > limit_bytes {
            return Err(NoRoom::TooLarge { needed_bytes: bytes, limit_bytes });
        }
        if bytes <= self.bytes() {
            return Ok(());
        }
        if bytes - self.bytes() > self.admission.memory.free() {
            names::SHARES_WAITED.add(1, [MEMORY_SETTING]);
        }
        let begun = Instant::now();
        let memory = &self.admission.memory;
        let grown = match &mut self.memory {
            Some(permit) => permit.grow_to(bytes, self.patience).await,
            None => match memory.acquire_within(&self.caller, bytes, self.patience).await {
                Ok(mut permit) => {
                    if let Some(holder) = self.holder.clone() {
                        permit.make_revocable(holder);
                    }
                    self.memory = Some(permit);
                    Ok(())
                }
                Err(unavailable) => Err(unavailable),
            },
        };
        self.patience = self.patience.saturating_sub(begun.elapsed());
        grown.map_err(|_| self.admission.overloaded(MEMORY_SETTING).into())
    }

    /// Returns all but this much.
    pub fn shrink_to(&mut self, bytes: u64) {
        if let Some(memory) = &mut self.memory {
            memory.shrink_to(bytes);
        }
    }

    /// Takes a place among the exports. Waits for it as long as the limits' patience lasts.
    ///
    /// # Errors
    /// [`Overloaded`].
    pub async fn into_permit(mut self) -> Result<Permit, Overloaded> {
        let begun = Instant::now();
        let exports = &self.admission.exports;
        if exports.free() == 0 {
            names::SHARES_WAITED.add(1, [EXPORTS_SETTING]);
        }
        match exports.acquire_within(&self.caller, 1, self.patience).await {
            Ok(export) => {
                self.patience = self.patience.saturating_sub(begun.elapsed());
                Ok(Permit { _export: export, room: self, beside_bytes: 0 })
            }
            Err(_) => Err(self.admission.overloaded(EXPORTS_SETTING)),
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caller, memory, patience, .. } = self;
        let mut debug = formatter.debug_struct("Room");
        debug.field("caller", caller).field("memory", memory).field("patience", patience);
        debug.finish_non_exhaustive()
    }
}

impl Permit {
    /// Memory that it holds.
    pub fn bytes(&self) -> u64 {
        self.room.bytes()
    }

    /// Memory that the request takes beside its content, whatever [`Self::shrink_to`] says.
    pub fn keep_beside(&mut self, bytes: u64) {
        self.beside_bytes = bytes;
    }

    /// Returns all memory but what the content takes from now on.
    pub fn shrink_to(&mut self, content_bytes: u64) {
        self.room.shrink_to(content_bytes.saturating_add(self.beside_bytes));
    }

    /// Takes memory until it holds this much.
    ///
    /// # Errors
    /// [`NoRoom`]; it then holds what it held before.
    pub async fn grow_to(&mut self, bytes: u64) -> Result<(), NoRoom> {
        self.room.grow_to(bytes).await
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
            patience: Duration::from_secs(1),
        })
    }

    fn caller(name: &str) -> CallerKey {
        CallerKey::named(name)
    }

    async fn admit(admission: &Admission, bytes: u64) -> Result<Permit, NoRoom> {
        let mut room = admission.room(&caller("one"));
        room.grow_to(bytes).await?;
        Ok(room.into_permit().await?)
    }

    fn setting(error: NoRoom) -> &'static str {
        match error {
            NoRoom::Overloaded(overloaded) => overloaded.setting,
            NoRoom::TooLarge { .. } => "too large",
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_returned() {
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
    async fn request_beyond_all_memory_is_refused_at_once() {
        let admission = admission(10);
        let mut room = admission.room(&caller("one"));
        room.grow_to(1024).await.unwrap();
        let refused = room.grow_to(64 * 1024 + 1).await.unwrap_err();
        assert_eq!(
            refused,
            NoRoom::TooLarge { needed_bytes: 64 * 1024 + 1, limit_bytes: 64 * 1024 }
        );
        assert_eq!(admission.reserved_bytes(), 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn exports_are_counted() {
        let admission = admission(1);
        let permit = admit(&admission, 0).await.unwrap();
        assert_eq!(setting(admit(&admission, 0).await.unwrap_err()), EXPORTS_SETTING);
        drop(permit);
        assert!(admit(&admission, 0).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn request_that_gets_no_place_returns_its_memory() {
        let admission = admission(1);
        let permit = admit(&admission, 1024).await.unwrap();
        assert!(admit(&admission, 2048).await.is_err());
        assert_eq!(admission.reserved_bytes(), permit.bytes());
    }

    #[tokio::test(start_paused = true)]
    async fn all_waits_of_a_request_together_last_as_long_as_one() {
        let admission = admission(10);
        let held = admit(&admission, 60 * 1024).await.unwrap();
        let mut room = admission.room(&caller("two"));
        room.grow_to(1024).await.unwrap();
        let begun = tokio::time::Instant::now();
        for _ in 0..5 {
            assert!(room.grow_to(32 * 1024).await.is_err());
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        drop(held);
        room.grow_to(32 * 1024).await.unwrap();
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

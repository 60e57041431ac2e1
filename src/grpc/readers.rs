//! Limits the memory of responses while they are read, and the number of downloads. Shares both fairly between
//! callers.
//!
//! A response reserves memory before anything is read for it, and keeps it until its body is dropped. If a caller
//! waits and another holds more, responses of the other end early: first those whose reader has stopped reading, then
//! those that have been read for long. Both can be resumed.

use std::{
    collections::HashMap,
    fmt, io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::poll_immediate;
use tara_export_limits::{CallerKey, FairPermit, FairSemaphore, Pool, Unavailable};
use tara_export_telemetry::names::{self, GaugeGuard, NONE};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::response_body::SharedResponse;
use crate::export::Overloaded;

/// The memory of a response that ended early: the rest of a message, and the connection's buffers.
const ENDED_BYTES: u64 = 192 * 1024;
/// Responses of up to this size have an eighth of the memory reserved for them, so that downloads and large reports
/// never block a listing.
const SMALL_BYTES: u64 = 1024 * 1024;
const SMALL_SHARE: u64 = 8;
/// Threads that compress archives, one piece at a time.
const ARCHIVE_THREADS: usize = 2;
/// How many requests may wait.
const QUEUE_LIMIT: usize = 1024;
/// How often a waiting request checks for responses that can end for it.
const CONTENTION_INTERVAL: Duration = Duration::from_millis(100);
/// How long a reader may be idle while other callers wait.
const CONTENDED_IDLE: Duration = Duration::from_secs(1);
/// How long a response may be read while other callers wait.
const CONTENDED_READ_TIME: Duration = Duration::from_secs(30);

/// Limits on all responses that are read at the same time.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Memory of all responses (`MAX_READ_MEMORY`).
    pub memory_bytes: u64,
    /// Memory that one download reserves: for a piece from the store (256 KiB from a disk, about 400 KiB from S3), the
    /// message with it, the compression of an archive, and the connection's buffers.
    pub download_bytes: u64,
    /// Concurrent downloads (`MAX_CONCURRENT_DOWNLOADS`).
    pub downloads: u32,
    /// How long a response waits for its reservation (`ADMISSION_TIMEOUT`).
    pub admission_timeout: Duration,
}

/// Reserves memory for responses. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readers(Arc<Inner>);

struct Inner {
    limits: ReadLimits,
    small: FairSemaphore,
    large: FairSemaphore,
    downloads: FairSemaphore,
    archives: Pool,
    /// Cancelled when downloads must end, because the server is shutting down.
    shutdown: CancellationToken,
    next_permit: AtomicU64,
    reservations: Mutex<Reservations>,
}

/// The reservation of each permit, and the memory of all of them.
#[derive(Debug, Default)]
struct Reservations {
    by_permit: HashMap<u64, Reservation>,
    memory_bytes: u64,
}

/// The reservation of one response, returned when dropped.
pub(super) struct ReadPermit {
    readers: Readers,
    id: u64,
    caller: CallerKey,
    resource: Resource,
    memory: FairPermit,
    download: Option<(FairPermit, GaugeGuard)>,
}

/// The reservation of one permit, as other requests see it.
#[derive(Debug)]
struct Reservation {
    caller: CallerKey,
    /// Whether the memory is of small or large responses.
    resource: Resource,
    memory_bytes: u64,
    downloads: u64,
    /// The response, which can be ended. `None` before it starts.
    response: Option<Weak<SharedResponse>>,
}

/// A limited resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    /// Memory of small responses.
    Small,
    /// Memory of downloads and large responses.
    Large,
    /// Permits for downloads.
    Downloads,
}

/// The priority with which a response is ended for other callers. The greatest is ended first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EndPriority {
    /// It has been read for this long, which exceeds [`CONTENDED_READ_TIME`].
    LongRead(Duration),
    /// Its reader has been idle for this long.
    Idle(Duration),
    /// It ended early, and its reader has not read the status.
    Ended,
}

impl EndPriority {
    /// The priority of a response that started `age` ago and was last read `idle` ago. `None` if it must not be
    /// ended.
    pub(super) fn of(age: Duration, idle: Duration, ended: bool) -> Option<Self> {
        match (idle >= CONTENDED_IDLE, age >= CONTENDED_READ_TIME) {
            (true, _) if ended => Some(Self::Ended),
            (true, _) => Some(Self::Idle(idle)),
            (false, true) if !ended => Some(Self::LongRead(age)),
            (false, _) => None,
        }
    }
}

/// The reason why a response ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndReason {
    /// Its reader was idle for too long.
    Idle,
    /// Other callers need its reservation.
    Contended,
    /// It reached the time limit of responses.
    StreamTime,
    /// The server is shutting down.
    Shutdown,
}

impl EndReason {
    pub(super) const ALL: [Self; 4] =
        [Self::Idle, Self::Contended, Self::StreamTime, Self::Shutdown];

    /// The label of metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Contended => "contended",
            Self::StreamTime => "stream_time",
            Self::Shutdown => "shutdown",
        }
    }
}

impl Readers {
    /// Reserves memory within these limits. Downloads end when the token is cancelled.
    ///
    /// # Errors
    /// If the system cannot start threads.
    pub fn new(limits: ReadLimits, shutdown: CancellationToken) -> io::Result<Self> {
        let small_bytes = limits.memory_bytes / SMALL_SHARE;
        Ok(Self(Arc::new(Inner {
            small: FairSemaphore::new(small_bytes, QUEUE_LIMIT),
            large: FairSemaphore::new(limits.memory_bytes - small_bytes, QUEUE_LIMIT),
            downloads: FairSemaphore::new(limits.downloads.into(), QUEUE_LIMIT),
            archives: Pool::new("archives", ARCHIVE_THREADS)?,
            limits,
            shutdown,
            next_permit: AtomicU64::new(0),
            reservations: Mutex::default(),
        })))
    }

    /// The threads that compress archives.
    pub(super) fn archives(&self) -> Pool {
        self.0.archives.clone()
    }

    /// Reserves memory and a permit for a download.
    pub(super) async fn reserve_download(
        &self,
        caller: &CallerKey,
    ) -> Result<ReadPermit, Overloaded> {
        let permit = self.acquire(caller, Resource::Downloads, 1).await?;
        let download = Some((permit, names::DOWNLOADS.enter(NONE)));
        let memory = self.acquire(caller, Resource::Large, self.0.limits.download_bytes).await?;
        Ok(self.permit(caller, Resource::Large, memory, download))
    }

    /// Reserves memory for a response that needs this much while it is created and read.
    pub(super) async fn reserve_response(
        &self,
        caller: &CallerKey,
        size_bytes: u64,
    ) -> Result<ReadPermit, Overloaded> {
        let resource = if size_bytes <= SMALL_BYTES { Resource::Small } else { Resource::Large };
        let memory = self.acquire(caller, resource, size_bytes).await?;
        Ok(self.permit(caller, resource, memory, None))
    }

    fn permit(
        &self,
        caller: &CallerKey,
        resource: Resource,
        memory: FairPermit,
        download: Option<(FairPermit, GaugeGuard)>,
    ) -> ReadPermit {
        let id = self.0.next_permit.fetch_add(1, Ordering::Relaxed);
        let reservation = Reservation {
            caller: caller.clone(),
            resource,
            memory_bytes: memory.amount(),
            downloads: download.iter().count() as u64,
            response: None,
        };
        self.0.reservations().insert(id, reservation);
        ReadPermit { readers: self.clone(), id, caller: caller.clone(), resource, memory, download }
    }

    /// Acquires an amount of a resource. While it waits, responses of callers that hold more can end.
    async fn acquire(
        &self,
        caller: &CallerKey,
        resource: Resource,
        amount: u64,
    ) -> Result<FairPermit, Overloaded> {
        let semaphore = match resource {
            Resource::Small => &self.0.small,
            Resource::Large => &self.0.large,
            Resource::Downloads => &self.0.downloads,
        };
        // A response that needs more than the capacity gets all of it.
        let amount = amount.min(semaphore.capacity());
        let acquiring = semaphore.acquire_within(caller, amount, self.0.limits.admission_timeout);
        let mut acquiring = pin!(acquiring);
        let acquired = match poll_immediate(&mut acquiring).await {
            Some(acquired) => acquired,
            None => loop {
                self.end_responses_for(caller, resource, amount);
                tokio::select! {
                    biased;
                    acquired = &mut acquiring => break acquired,
                    () = sleep(CONTENTION_INTERVAL) => {}
                }
            },
        };
        acquired.map_err(|error| self.overloaded(resource, error))
    }

    /// Ends responses of callers that hold more than this one will: first those whose readers have been idle for the
    /// longest time, then those that have been read for the longest time.
    fn end_responses_for(&self, caller: &CallerKey, resource: Resource, amount: u64) {
        let mut totals: HashMap<CallerKey, u64> = HashMap::new();
        let mut responses = Vec::new();
        for reservation in self.0.reservations().by_permit.values() {
            let holder = &reservation.caller;
            let amount = reservation.amount(resource);
            *totals.entry(holder.clone()).or_default() += amount;
            // Upgraded last: dropping a response needs this lock.
            if holder != caller
                && let Some(response) = reservation.response.as_ref().and_then(Weak::upgrade)
            {
                responses.push((holder.clone(), amount, response));
            }
        }
        let own = totals.get(caller).copied().unwrap_or_default() + amount;
        let mut candidates: Vec<_> = responses
            .into_iter()
            .filter(|(_, amount, _)| *amount > 0)
            .filter_map(|(holder, amount, response)| {
                Some((response.end_priority()?, holder, amount, response))
            })
            .collect();
        candidates.sort_by(|(first, ..), (second, ..)| second.cmp(first));
        let mut freed = 0;
        for (end_priority, holder, held_amount, response) in candidates {
            if freed >= amount {
                break;
            }
            if let Some(total) = totals.get_mut(&holder).filter(|total| **total > own) {
                *total -= held_amount;
                freed += held_amount;
                match end_priority {
                    EndPriority::Ended => response.reset(),
                    _ => response.end(EndReason::Contended, CONTENDED_IDLE),
                }
            }
        }
    }

    fn overloaded(&self, resource: Resource, error: Unavailable) -> Overloaded {
        let ReadLimits { memory_bytes, downloads, .. } = self.0.limits;
        let (limit, setting) = match resource {
            Resource::Small | Resource::Large => {
                (format!("the limit of {memory_bytes} bytes for responses"), "MAX_READ_MEMORY")
            }
            Resource::Downloads => (
                format!("the limit of {downloads} concurrent downloads"),
                "MAX_CONCURRENT_DOWNLOADS",
            ),
        };
        tracing::debug!(setting, %error, "response refused: limit reached");
        Overloaded { limit, setting }
    }
}

impl Inner {
    fn reservations(&self) -> MutexGuard<'_, Reservations> {
        self.reservations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes are reported under the lock, so that the metric keeps the latest value.
impl Reservations {
    fn insert(&mut self, id: u64, reservation: Reservation) {
        self.memory_bytes += reservation.memory_bytes;
        self.by_permit.insert(id, reservation);
        self.report();
    }

    fn update(&mut self, id: u64, memory_bytes: u64, downloads: u64) {
        if let Some(reservation) = self.by_permit.get_mut(&id) {
            self.memory_bytes = self.memory_bytes - reservation.memory_bytes + memory_bytes;
            reservation.memory_bytes = memory_bytes;
            reservation.downloads = downloads;
        }
        self.report();
    }

    fn remove(&mut self, id: u64) {
        if let Some(reservation) = self.by_permit.remove(&id) {
            self.memory_bytes -= reservation.memory_bytes;
        }
        self.report();
    }

    fn report(&self) {
        names::READ_MEMORY.set(self.memory_bytes as f64, NONE);
    }
}

impl Reservation {
    fn amount(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Downloads => self.downloads,
            Resource::Small | Resource::Large if resource == self.resource => self.memory_bytes,
            Resource::Small | Resource::Large => 0,
        }
    }
}

impl ReadPermit {
    /// Grows the reservation to this much memory, once it is known how much the response needs.
    pub(super) async fn grow_to(&mut self, size_bytes: u64) -> Result<(), Overloaded> {
        if size_bytes <= self.memory.amount() {
            return Ok(());
        }
        if self.resource == Resource::Small {
            *self = self.readers.reserve_response(&self.caller, size_bytes).await?;
            return Ok(());
        }
        let Inner { limits, large, .. } = &*self.readers.0;
        let grown =
            self.memory.grow_to(size_bytes.min(large.capacity()), limits.admission_timeout).await;
        grown.map_err(|error| self.readers.overloaded(Resource::Large, error))?;
        self.update_reservation();
        Ok(())
    }

    /// Grows the reservation by this much memory.
    pub(super) async fn grow_by(&mut self, size_bytes: u64) -> Result<(), Overloaded> {
        self.grow_to(self.memory.amount() + size_bytes).await
    }

    /// Returns memory that the response does not need.
    pub(super) fn shrink_to(&mut self, size_bytes: u64) {
        self.memory.shrink_to(size_bytes);
        self.update_reservation();
    }

    /// Cancelled when the response must end. `None` unless it is a download, because other responses are short.
    pub(super) fn shutdown_token(&self) -> Option<CancellationToken> {
        self.download.is_some().then(|| self.readers.0.shutdown.clone())
    }

    /// Allows ending the response for other callers.
    pub(super) fn set_response(&self, response: &Arc<SharedResponse>) {
        if let Some(reservation) = self.readers.0.reservations().by_permit.get_mut(&self.id) {
            reservation.response = Some(Arc::downgrade(response));
        }
    }

    /// Returns most of the reservation after the response ended early.
    pub(super) fn release_early(&mut self) {
        self.download = None;
        self.shrink_to(ENDED_BYTES);
    }

    fn update_reservation(&self) {
        let downloads = self.download.iter().count() as u64;
        self.readers.0.reservations().update(self.id, self.memory.amount(), downloads);
    }
}

impl Drop for ReadPermit {
    fn drop(&mut self) {
        self.readers.0.reservations().remove(self.id);
    }
}

impl fmt::Debug for ReadPermit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReadPermit").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limits, small, large, downloads, .. } = self;
        let (memory, downloads) = (small.free() + large.free(), downloads.free());
        write!(formatter, "{limits:?}, free: {memory} bytes, {downloads} downloads")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{sync::Barrier, thread};

    use metrics::with_local_recorder;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;

    /// A late report of an older value would stay until the next response.
    #[tokio::test]
    async fn metric_is_zero_after_permits_are_returned_at_once() {
        const PERMITS: usize = 4;
        let limits = ReadLimits {
            memory_bytes: 64 * 1024 * 1024,
            download_bytes: 1024 * 1024,
            downloads: 10,
            admission_timeout: Duration::from_secs(60),
        };
        let readers = Readers::new(limits, CancellationToken::new()).unwrap();
        let recorder = DebuggingRecorder::new();
        for _ in 0..500 {
            let mut permits = Vec::new();
            for number in 0..PERMITS {
                let caller = CallerKey::named(&format!("caller {number}"));
                permits.push(readers.reserve_download(&caller).await.unwrap());
            }
            let together = Barrier::new(PERMITS);
            thread::scope(|scope| {
                for permit in permits {
                    scope.spawn(|| {
                        together.wait();
                        with_local_recorder(&recorder, || drop(permit));
                    });
                }
            });
            let metrics = recorder.snapshotter().snapshot().into_vec();
            let memory = metrics.into_iter().find_map(|(key, _, _, value)| {
                (key.key().name() == "tara_export_read_memory_bytes").then_some(value)
            });
            assert_eq!(memory, Some(DebugValue::Gauge(0.0.into())));
        }
    }
}

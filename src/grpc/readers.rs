//! Limits on answers while they are read: how much memory all of them hold, and how many of them are
//! downloads, shared fairly between callers.
//!
//! An answer takes its room before anything is read for it, and keeps it until its body is dropped. When
//! a caller waits and another holds more, answers of that other end early: those whose reader stands
//! still, then those that had their time. Both can be resumed.

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
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::response_body::Answer;
use crate::{
    export::Overloaded,
    limits::{CallerKey, FairPermit, FairSemaphore, Pool, Unavailable},
    telemetry::names::{self, Entered, NONE},
};

/// What is left of an answer that ended early: the rest of a message, and what the connection buffers.
const ENDED_BYTES: u64 = 192 * 1024;
/// Answers of up to this size have an eighth of the memory for themselves, so that downloads and large
/// reports never hold up a listing.
const SMALL_BYTES: u64 = 1024 * 1024;
const SMALL_SHARE: u64 = 8;
/// Threads that compress archives, one piece at a time.
const ARCHIVE_THREADS: usize = 2;
/// Requests that wait for room.
const QUEUE: usize = 1024;
/// How often a request that waits looks for answers that can end for it.
const CONTENTION_INTERVAL: Duration = Duration::from_millis(100);
/// How long a reader may stand still while other callers wait.
const CONTENDED_IDLE: Duration = Duration::from_secs(1);
/// How long an answer is read undisturbed while other callers wait.
const SHARE_TIME: Duration = Duration::from_secs(30);

/// Limits on all answers that are read at once.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Bytes that all answers hold (`MAX_READ_MEMORY`).
    pub memory_bytes: u64,
    /// What one download reserves of them: it holds a piece of the store's (256 KiB from a disk, about
    /// 400 KiB from S3), the message made of it, what an archive compresses, and what the connection
    /// buffers.
    pub download_bytes: u64,
    /// Downloads (`MAX_CONCURRENT_DOWNLOADS`).
    pub downloads: u32,
    /// How long an answer waits for its room (`ADMISSION_TIMEOUT`).
    pub patience: Duration,
}

/// Room for answers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readers(Arc<Inner>);

struct Inner {
    limits: ReadLimits,
    small: FairSemaphore,
    large: FairSemaphore,
    downloads: FairSemaphore,
    archives: Pool,
    /// Cancelled when downloads must end, because the server stops.
    ending: CancellationToken,
    next_permit: AtomicU64,
    /// What each permit holds.
    held: Mutex<HashMap<u64, Held>>,
}

/// Room for one answer, returned when dropped.
pub(super) struct ReadPermit {
    readers: Readers,
    id: u64,
    caller: CallerKey,
    room: Room,
    memory: FairPermit,
    download: Option<(FairPermit, Entered)>,
}

/// What one permit holds, for those that look for room.
#[derive(Debug)]
struct Held {
    caller: CallerKey,
    /// The memory it belongs to.
    room: Room,
    memory_bytes: u64,
    downloads: u64,
    /// What can be ended; `None` while the answer is made.
    answer: Option<Weak<Answer>>,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Memory of small answers.
    Small,
    /// Memory of downloads and large answers.
    Large,
    /// Places for downloads.
    Downloads,
}

/// How ready an answer is to be ended for other callers, the readiest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It has been read for this long, which is long enough.
    Served(Duration),
    /// Its reader has stood still for this long.
    Idle(Duration),
    /// It ended early, and its reader has not noticed.
    Ended,
}

impl Standing {
    /// Of an answer that began and was last read this long ago. `None` if it must not be ended.
    pub(super) fn of(age: Duration, idle: Duration, ended: bool) -> Option<Self> {
        match (idle >= CONTENDED_IDLE, age >= SHARE_TIME) {
            (true, _) if ended => Some(Self::Ended),
            (true, _) => Some(Self::Idle(idle)),
            (false, true) if !ended => Some(Self::Served(age)),
            (false, _) => None,
        }
    }
}

/// Why an answer ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its reader took nothing for too long.
    Idle,
    /// Other callers need its room.
    Contended,
    /// It lasted as long as answers may.
    StreamTime,
    /// The server stops.
    Shutdown,
}

impl Ending {
    /// As the metrics' label.
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
    /// Room within these limits, for answers of which downloads end with the token.
    ///
    /// # Errors
    /// If the system gives no resources for threads.
    pub fn new(limits: ReadLimits, ending: CancellationToken) -> io::Result<Self> {
        let small_bytes = limits.memory_bytes / SMALL_SHARE;
        Ok(Self(Arc::new(Inner {
            small: FairSemaphore::new(small_bytes, QUEUE),
            large: FairSemaphore::new(limits.memory_bytes - small_bytes, QUEUE),
            downloads: FairSemaphore::new(limits.downloads.into(), QUEUE),
            archives: Pool::new("archives", ARCHIVE_THREADS)?,
            limits,
            ending,
            next_permit: AtomicU64::new(0),
            held: Mutex::default(),
        })))
    }

    /// The threads that compress archives.
    pub(super) fn archives(&self) -> Pool {
        self.0.archives.clone()
    }

    /// Room for a download.
    pub(super) async fn download(&self, caller: &CallerKey) -> Result<ReadPermit, Overloaded> {
        let place = self.room(caller, Room::Downloads, 1).await?;
        let download = Some((place, names::DOWNLOADS.enter(NONE)));
        let memory = self.room(caller, Room::Large, self.0.limits.download_bytes).await?;
        Ok(self.permit(caller, Room::Large, memory, download))
    }

    /// Room for an answer that holds this much while it is made and read.
    pub(super) async fn answer(
        &self,
        caller: &CallerKey,
        size_bytes: u64,
    ) -> Result<ReadPermit, Overloaded> {
        let room = if size_bytes <= SMALL_BYTES { Room::Small } else { Room::Large };
        let memory = self.room(caller, room, size_bytes).await?;
        Ok(self.permit(caller, room, memory, None))
    }

    fn permit(
        &self,
        caller: &CallerKey,
        room: Room,
        memory: FairPermit,
        download: Option<(FairPermit, Entered)>,
    ) -> ReadPermit {
        let id = self.0.next_permit.fetch_add(1, Ordering::Relaxed);
        let held = Held {
            caller: caller.clone(),
            room,
            memory_bytes: memory.amount(),
            downloads: download.iter().count() as u64,
            answer: None,
        };
        self.0.held().insert(id, held);
        self.0.report();
        ReadPermit { readers: self.clone(), id, caller: caller.clone(), room, memory, download }
    }

    /// Takes room, for which answers of callers that hold more end if they must.
    async fn room(
        &self,
        caller: &CallerKey,
        room: Room,
        amount: u64,
    ) -> Result<FairPermit, Overloaded> {
        let semaphore = match room {
            Room::Small => &self.0.small,
            Room::Large => &self.0.large,
            Room::Downloads => &self.0.downloads,
        };
        // What needs more than there is gets all of it.
        let amount = amount.min(semaphore.capacity());
        let acquiring = semaphore.acquire_within(caller, amount, self.0.limits.patience);
        let mut acquiring = pin!(acquiring);
        let acquired = match poll_immediate(&mut acquiring).await {
            Some(acquired) => acquired,
            None => loop {
                self.make_room(caller, room, amount);
                tokio::select! {
                    biased;
                    acquired = &mut acquiring => break acquired,
                    () = sleep(CONTENTION_INTERVAL) => {}
                }
            },
        };
        acquired.map_err(|error| self.overloaded(room, error))
    }

    /// Ends answers of callers that hold more than this one will: those whose readers stand still the
    /// longest, then those that have been read for the longest time.
    fn make_room(&self, caller: &CallerKey, room: Room, amount: u64) {
        let mut totals: HashMap<CallerKey, u64> = HashMap::new();
        let mut answers = Vec::new();
        for held in self.0.held().values() {
            *totals.entry(held.caller.clone()).or_default() += held.amount(room);
            // Upgraded last: dropping an answer needs this lock.
            if held.caller != *caller
                && let Some(answer) = held.answer.as_ref().and_then(Weak::upgrade)
            {
                answers.push((held.caller.clone(), held.amount(room), answer));
            }
        }
        let own = totals.get(caller).copied().unwrap_or_default() + amount;
        let mut candidates: Vec<_> = answers
            .into_iter()
            .filter(|(_, amount, _)| *amount > 0)
            .filter_map(|(holder, amount, answer)| {
                Some((answer.standing()?, holder, amount, answer))
            })
            .collect();
        candidates.sort_by(|(first, ..), (second, ..)| second.cmp(first));
        let mut freed = 0;
        for (standing, holder, held, answer) in candidates {
            if freed >= amount {
                break;
            }
            if let Some(total) = totals.get_mut(&holder).filter(|total| **total > own) {
                *total -= held;
                freed += held;
                match standing {
                    Standing::Ended => answer.reset(),
                    _ => answer.end(Ending::Contended, CONTENDED_IDLE),
                }
            }
        }
    }

    fn overloaded(&self, room: Room, error: Unavailable) -> Overloaded {
        let ReadLimits { memory_bytes, downloads, .. } = self.0.limits;
        let (limit, setting) = match room {
            Room::Small | Room::Large => {
                (format!("the limit of {memory_bytes} bytes for answers"), "MAX_READ_MEMORY")
            }
            Room::Downloads => {
                (format!("the limit of {downloads} downloads at once"), "MAX_CONCURRENT_DOWNLOADS")
            }
        };
        tracing::debug!(setting, %error, "no room for an answer");
        Overloaded { limit, setting }
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) {
        let free_bytes = self.small.free() + self.large.free();
        let reserved_bytes = self.limits.memory_bytes - free_bytes;
        names::READ_MEMORY.set(reserved_bytes as f64, NONE);
    }
}

impl Held {
    fn amount(&self, room: Room) -> u64 {
        match room {
            Room::Downloads => self.downloads,
            Room::Small | Room::Large if room == self.room => self.memory_bytes,
            Room::Small | Room::Large => 0,
        }
    }
}

impl ReadPermit {
    /// Takes more room, or other room, so that it holds this much as soon as it is known how much an
    /// answer needs.
    pub(super) async fn grow_to(&mut self, size_bytes: u64) -> Result<(), Overloaded> {
        if size_bytes <= self.memory.amount() {
            return Ok(());
        }
        if self.room == Room::Small {
            *self = self.readers.answer(&self.caller, size_bytes).await?;
            return Ok(());
        }
        let Inner { limits, large, .. } = &*self.readers.0;
        let grown = self.memory.grow_to(size_bytes.min(large.capacity()), limits.patience).await;
        grown.map_err(|error| self.readers.overloaded(Room::Large, error))?;
        self.changed();
        Ok(())
    }

    /// Takes this much more room.
    pub(super) async fn grow_by(&mut self, size_bytes: u64) -> Result<(), Overloaded> {
        self.grow_to(self.memory.amount() + size_bytes).await
    }

    /// Returns what an answer does not need after all.
    pub(super) fn shrink_to(&mut self, size_bytes: u64) {
        self.memory.shrink_to(size_bytes);
        self.changed();
    }

    /// When its answer must end: `None` unless it is a download, since others end by themselves.
    pub(super) fn ending(&self) -> Option<CancellationToken> {
        self.download.is_some().then(|| self.readers.0.ending.clone())
    }

    /// Lets the answer be ended for other callers.
    pub(super) fn belongs_to(&self, answer: &Arc<Answer>) {
        if let Some(held) = self.readers.0.held().get_mut(&self.id) {
            held.answer = Some(Arc::downgrade(answer));
        }
    }

    /// Returns what an answer no longer needs whose source was dropped.
    pub(super) fn ended_early(&mut self) {
        self.download = None;
        self.shrink_to(ENDED_BYTES);
    }

    fn changed(&self) {
        if let Some(held) = self.readers.0.held().get_mut(&self.id) {
            held.memory_bytes = self.memory.amount();
            held.downloads = self.download.iter().count() as u64;
        }
        self.readers.0.report();
    }
}

impl Drop for ReadPermit {
    fn drop(&mut self) {
        self.readers.0.held().remove(&self.id);
        self.memory.shrink_to(0);
        self.readers.0.report();
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

//! Takes events from the outbox and delivers them until the server stops.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tara_export_clock::Clock;
use tara_export_disk::DiskError;
use tara_export_events::{
    Consumer, Event, EventFiles, EventFolder, EventId, EventType, MAX_PENDING, StoredEvent,
    TakenEvents,
};
use tara_export_limits::{Pool, WorkFailed};
use tara_export_notify::{SendError, SendErrorKind, Sender, Target};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, Semaphore},
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    claims::{Claims, Deliverer, Turn},
    metrics,
    queue::{Ended, Name, NextDelivery, Queue, TargetRules},
    target_file::TargetFile,
};

/// Longest time between two checks for events that have expired, and of disk work that failed.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Requests to the store for claims at the same time.
const PARALLEL_CLAIMS: usize = 16;
/// Pause before an event whose file cannot be read is tried again.
const DISK_PAUSE: Duration = Duration::from_secs(10);

/// Who delivers one event; `None` until it is known. Locked while the store is asked, so that an event has one claim.
type DelivererSlot = Arc<AsyncMutex<Option<Deliverer>>>;

/// What the dispatcher and its deliveries share.
#[derive(Debug)]
pub(super) struct Shared {
    pub files: Arc<EventFiles>,
    pub pool: Pool,
    pub clock: Arc<dyn Clock>,
    pub targets: TargetFile,
    pub claims: Claims,
    pub give_up_after: Duration,
    pub changed: Notify,
    pub draining: CancellationToken,
    pub aborting: CancellationToken,
    pub tasks: TaskTracker,
    queue: Mutex<Queue>,
    /// Pending events that were written and are in no queue yet.
    added: Mutex<Vec<Event>>,
    /// Who delivers each event that waits.
    deliverers: Mutex<HashMap<EventId, DelivererSlot>>,
    /// Events that have ended, and whose end could not be written yet.
    unwritten: Mutex<Vec<Ended>>,
    claiming: Semaphore,
    dead_letters: AtomicUsize,
    is_check_requested: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        files: Arc<EventFiles>,
        pool: Pool,
        clock: Arc<dyn Clock>,
        targets: TargetFile,
        claims: Claims,
        give_up_after: Duration,
    ) -> Self {
        Self {
            files,
            pool,
            clock,
            targets,
            claims,
            give_up_after,
            changed: Notify::new(),
            draining: CancellationToken::new(),
            aborting: CancellationToken::new(),
            tasks: TaskTracker::new(),
            queue: Mutex::default(),
            added: Mutex::default(),
            deliverers: Mutex::default(),
            unwritten: Mutex::default(),
            claiming: Semaphore::new(PARALLEL_CLAIMS),
            dead_letters: AtomicUsize::new(0),
            is_check_requested: AtomicBool::new(false),
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Lets the dispatcher reload the targets and retry disk work now.
    pub(super) fn request_check(&self) {
        self.is_check_requested.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Counts the dead letters on disk.
    pub(super) async fn count_dead_letters(&self) {
        if let Ok(letters) = self.on_disk(|files| files.list(EventFolder::Dead)).await {
            self.dead_letters.store(letters.len(), Ordering::Relaxed);
        }
    }

    /// Runs work on the disk.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&EventFiles) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, OutboxError> {
        let files = self.files.clone();
        Ok(self.pool.run(move || work(&files)).await??)
    }

    /// Adds an event to the queues of the targets that want it, and claims it in the background. An event that no target
    /// wants has ended.
    pub(super) fn insert(self: &Arc<Self>, stored: StoredEvent, answered: &[Name]) {
        let targets = self.targets_of(&stored);
        let ended = self.queue().insert(&stored, targets, answered, Instant::now());
        match ended {
            Some(ended) => self.end_in_background(ended),
            None => {
                let shared = self.clone();
                // Taken now: the event may be delivered, and its slot removed, before the task runs.
                let slot = self.deliverer_slot(stored.event.id());
                self.tasks.spawn(async move {
                    let Ok(_permit) = shared.claiming.acquire().await else { return };
                    if stored.retry.is_none()
                        && shared.deliverer(&slot, &stored.event).await == Deliverer::Other
                        && !shared.may_be_orphan(&stored)
                    {
                        shared.leave_to_other(&stored.event).await;
                    }
                });
            }
        }
        self.changed.notify_one();
    }

    /// The targets that get an event.
    pub(super) fn targets_of(&self, stored: &StoredEvent) -> Vec<Name> {
        let wanted = self.targets.current();
        let wanted = wanted.iter().filter(|target| target.wants(&stored.event));
        let names = wanted.map(|target| target.name.to_string());
        match &stored.retry {
            Some(retry) => names.filter(|name| retry.targets.contains(name)).collect(),
            None => names.collect(),
        }
    }

    /// Who delivers an event: asked once, and again if the store did not respond.
    async fn deliverer(&self, slot: &DelivererSlot, event: &Event) -> Deliverer {
        let mut deliverer = slot.lock().await;
        if let Some(known @ (Deliverer::Own | Deliverer::Other)) = *deliverer {
            return known;
        }
        let fallback = self.fallback_before(event).await;
        let found = self.claims.claim(event, fallback.as_ref()).await;
        *deliverer = Some(found);
        found
    }

    fn deliverer_slot(&self, event_id: EventId) -> DelivererSlot {
        lock(&self.deliverers).entry(event_id).or_default().clone()
    }

    /// Whose turn it is to deliver an event.
    async fn turn(&self, stored: &StoredEvent) -> Turn {
        if stored.retry.is_some() {
            // The dead letter is only here. It has an end already.
            return Turn::Own;
        }
        let slot = self.deliverer_slot(stored.event.id());
        match self.deliverer(&slot, &stored.event).await {
            Deliverer::Other if !self.may_be_orphan(stored) => Turn::Done,
            _ => {
                let (event_id, now) = (stored.event.id(), self.clock.now());
                self.claims.take_turn(event_id, stored.since(), now).await
            }
        }
    }

    /// Whether an event of another machine may be an orphan: this one may have taken it before it was restarted.
    fn may_be_orphan(&self, stored: &StoredEvent) -> bool {
        self.claims.has_turns(stored.since(), self.clock.now())
    }

    /// The event of the fallback, of an export that is synced now.
    async fn fallback_before(&self, event: &Event) -> Option<Event> {
        if event.event_type != EventType::Synced {
            return None;
        }
        let fell_back = event.id_of(EventType::FellBack);
        for folder in EventFolder::ALL {
            let read = self.on_disk(move |files| files.read(folder, fell_back)).await;
            if let Ok(Some(stored)) = read {
                return Some(stored.event);
            }
        }
        None
    }

    /// Marks an event as known for certain to be this machine's.
    pub(super) fn own(&self, event_id: EventId) {
        let slot = Arc::new(AsyncMutex::new(Some(Deliverer::Own)));
        lock(&self.deliverers).insert(event_id, slot);
    }

    async fn leave_to_other(&self, event: &Event) {
        let event_id = event.id();
        self.queue().remove(event_id);
        lock(&self.deliverers).remove(&event_id);
        metrics::left_to_other(event.event_type.as_str());
        // Kept, so that a restart before the journal entry is removed does not write it again.
        let moved = self.on_disk(move |files| files.deliver(event_id, &[])).await;
        if let Err(error) = moved {
            tracing::warn!(%event_id, %error, "cannot move an event that another machine delivers");
        }
        self.changed.notify_one();
    }

    pub(super) fn end_in_background(self: &Arc<Self>, ended: Ended) {
        let shared = self.clone();
        self.tasks.spawn(async move { shared.end(ended).await });
    }

    /// Writes that an event has ended: first in the store, then on disk.
    async fn end(&self, ended: Ended) {
        let event_id = ended.event_id;
        let written = async {
            self.claims.put_done(event_id).await?;
            let Ended { event_id, targets, dead, .. } = ended.clone();
            self.on_disk(move |files| match dead.is_empty() {
                true => files.deliver(event_id, &targets),
                false => match files.read(EventFolder::Pending, event_id)? {
                    Some(stored) => files.bury(&stored, dead, &targets),
                    None => Ok(()),
                },
            })
            .await
        };
        match written.await {
            Ok(()) => {
                lock(&self.deliverers).remove(&event_id);
                metrics::given_up(&ended);
                self.dead_letters.fetch_add(usize::from(!ended.dead.is_empty()), Ordering::Relaxed);
                for dead in &ended.dead {
                    tracing::error!(
                        %event_id, target = dead.target, reason = dead.reason,
                        "a notification was given up: it is a dead letter"
                    );
                }
            }
            Err(error) => {
                tracing::warn!(%event_id, %error, "cannot write the end of an event; retrying later");
                lock(&self.unwritten).push(ended);
            }
        }
    }
}

/// What the outbox needs: the engine writes events through it.
impl Consumer for Shared {
    fn wants(&self, event: &Event) -> bool {
        self.targets.current().iter().any(|target| target.wants(event))
    }

    fn wake(&self) {
        self.changed.notify_one();
    }

    fn added(&self, event: &Event) {
        lock(&self.added).push(event.clone());
        self.changed.notify_one();
    }
}

/// The outbox cannot be used now.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The service is shutting down.
    #[error(transparent)]
    Stopping(#[from] WorkFailed),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] tara_export_store::StoreError),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is complete when the lock is released.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads the events that a previous process left.
pub(super) async fn load(shared: &Arc<Shared>) -> Result<(), OutboxError> {
    // Their files are listed below. The engine works already: those that it writes from now on are not cleared.
    lock(&shared.added).clear();
    let (mut events, mut answered) = shared
        .on_disk(|files| {
            let mut events = Vec::new();
            let pending: HashSet<EventId> = files.list(EventFolder::Pending)?.into_iter().collect();
            for event_id in &pending {
                files.remove_second(*event_id)?;
                events.extend(files.read(EventFolder::Pending, *event_id)?);
            }
            let mut answered: HashMap<EventId, Vec<Name>> = HashMap::new();
            for (event_id, target) in files.answered()? {
                match pending.contains(&event_id) {
                    true => answered.entry(event_id).or_default().push(target),
                    // The process ended after the event did.
                    false => files.remove_answered(event_id, &[target])?,
                }
            }
            Ok((events, answered))
        })
        .await?;
    events.sort_by_key(|stored: &StoredEvent| (stored.since(), stored.event.event_type));
    shared.queue().set_targets(rules(shared), shared.clock.now());
    shared.count_dead_letters().await;
    for stored in events {
        let answered = answered.remove(&stored.event.id()).unwrap_or_default();
        shared.insert(stored, &answered);
    }
    Ok(())
}

fn rules(shared: &Shared) -> Vec<(Name, TargetRules)> {
    let targets = shared.targets.current();
    let rules = |target: &Target| TargetRules { digest: target.digest };
    targets.iter().map(|target| (target.name.to_string(), rules(target))).collect()
}

/// Delivers events until the server stops.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut next_check = Instant::now();
    loop {
        if shared.draining.is_cancelled() {
            return;
        }
        let is_more_settled = take_new(&shared).await;
        let is_requested = shared.is_check_requested.swap(false, Ordering::Relaxed);
        if is_requested || Instant::now() >= next_check {
            check(&shared).await;
            next_check = Instant::now() + CHECK_INTERVAL;
        }
        let next = start_deliveries(&shared);
        if is_more_settled {
            continue;
        }
        let until = next.map_or(next_check, |next| next.min(next_check));
        tokio::select! {
            () = shared.changed.notified() => {}
            () = time::sleep_until(until) => {}
            () = shared.draining.cancelled() => return,
        }
    }
}

/// Takes new events into the queues. Returns whether some are left.
async fn take_new(shared: &Arc<Shared>) -> bool {
    let taken = shared.on_disk(|files| Ok(files.take_settled())).await;
    // After the settled notes were listed: the fallback of an export that was synced since then precedes its sync.
    for event in std::mem::take(&mut *lock(&shared.added)) {
        shared.insert(StoredEvent::new(event), &[]);
    }
    let TakenEvents { events, is_more_left, error } = match taken {
        Ok(taken) => taken,
        Err(error) => {
            tracing::warn!(%error, "cannot take settled notes now; retrying later");
            return false;
        }
    };
    if let Some(error) = error {
        tracing::warn!(%error, "cannot take some settled notes now; retrying later");
    }
    let is_empty = events.is_empty();
    for stored in events {
        shared.insert(stored, &[]);
    }
    is_more_left && !is_empty
}

/// Reloads the targets, gives up old events, and retries disk work.
async fn check(shared: &Arc<Shared>) {
    let now = shared.clock.now();
    let mut ended = Vec::new();
    if shared.targets.reload_if_changed(&shared.pool).await {
        ended.extend(shared.queue().set_targets(rules(shared), now));
    }
    {
        let mut queue = shared.queue();
        ended.extend(queue.expire(now, shared.give_up_after));
        ended.extend(queue.limit(MAX_PENDING, now));
    }
    ended.extend(lock(&shared.unwritten).drain(..));
    for ended in ended {
        shared.end_in_background(ended);
    }
    let dead_letters = shared.dead_letters.load(Ordering::Relaxed);
    metrics::report_queue(&shared.queue(), dead_letters, now);
}

/// Starts every delivery that is due. Returns when the next one is.
fn start_deliveries(shared: &Arc<Shared>) -> Option<Instant> {
    let now = Instant::now();
    let mut earliest: Option<Instant> = None;
    let targets = shared.targets.current();
    for target in targets.iter() {
        let name = target.name.to_string();
        loop {
            let next = shared.queue().next(&name, now);
            match next {
                NextDelivery::Send(events) => {
                    let delivery =
                        deliver(shared.clone(), name.clone(), target.sender.clone(), events);
                    let aborting = shared.aborting.clone();
                    shared.tasks.spawn(async move {
                        aborting.run_until_cancelled_owned(delivery).await;
                    });
                }
                NextDelivery::At(time) => {
                    earliest = Some(earliest.map_or(time, |earliest| earliest.min(time)));
                    break;
                }
                NextDelivery::Nothing => break,
            }
        }
    }
    earliest
}

/// One delivery, and then the next one.
async fn deliver(shared: Arc<Shared>, name: Name, sender: Arc<dyn Sender>, events: Vec<EventId>) {
    let waiting = send(&shared, &name, sender.as_ref(), &events).await;
    {
        let (now, time) = (Instant::now(), shared.clock.now());
        let mut queue = shared.queue();
        queue.end_sending(&name);
        for (event_id, until) in waiting {
            let pause = (until - time).to_std().unwrap_or_default();
            queue.set_deferred(event_id, &name, now + pause);
        }
    }
    shared.changed.notify_one();
}

/// Reads the events, makes sure that they are this machine's, and sends them. Returns those that wait, and until when.
async fn send(
    shared: &Arc<Shared>,
    name: &Name,
    sender: &dyn Sender,
    events: &[EventId],
) -> Vec<(EventId, DateTime<Utc>)> {
    let ids = events.to_vec();
    let reading = shared.on_disk(move |files| {
        let read = |event_id: &EventId| files.read(EventFolder::Pending, *event_id);
        ids.iter().map(read).collect::<Result<Vec<_>, _>>()
    });
    let stored = match reading.await {
        Ok(stored) => stored,
        Err(error) => {
            tracing::warn!(%error, "cannot read events to deliver now; retrying later");
            let until = shared.clock.now() + DISK_PAUSE;
            return events.iter().map(|event_id| (*event_id, until)).collect();
        }
    };
    let (mut own, mut waiting) = (Vec::new(), Vec::new());
    for (event_id, stored) in events.iter().zip(stored) {
        match stored {
            Some(stored) => match shared.turn(&stored).await {
                Turn::Own => own.push(stored.event),
                Turn::Done => shared.leave_to_other(&stored.event).await,
                Turn::Other(until) => waiting.push((*event_id, until)),
            },
            // Its file is damaged, or an operator removed it.
            None => shared.queue().remove(*event_id),
        }
    }
    if own.is_empty() {
        return waiting;
    }
    let sent = sender.send(&own).await;
    let is_rejected =
        matches!(&sent, Err(error) if error.kind == SendErrorKind::Rejected && own.len() > 1);
    if is_rejected {
        // One of them may be the reason.
        for event in own {
            let event = [event];
            let sent = sender.send(&event).await;
            finish(shared, name, &event, sent).await;
        }
    } else {
        finish(shared, name, &own, sent).await;
    }
    waiting
}

/// Records the result of a delivery.
async fn finish(shared: &Arc<Shared>, name: &Name, events: &[Event], sent: Result<(), SendError>) {
    let now: DateTime<Utc> = shared.clock.now();
    let ids: &[EventId] = &events.iter().map(Event::id).collect::<Vec<_>>();
    let ended = match sent {
        Ok(()) => {
            metrics::delivered(name, events, now);
            let marked: Vec<EventId> = {
                let queue = shared.queue();
                let is_shared = shared.claims.are_shared();
                let needs_mark =
                    |event_id: &&EventId| is_shared || queue.has_others(**event_id, name);
                ids.iter().filter(needs_mark).copied().collect()
            };
            if !marked.is_empty() {
                let target = name.clone();
                let marking = shared.on_disk(move |files| {
                    marked.iter().try_for_each(|event_id| files.mark_answered(*event_id, &target))
                });
                if let Err(error) = marking.await {
                    // After a restart, the target gets the event again.
                    tracing::warn!(target_name = name, %error, "cannot note that a target answered");
                }
            }
            shared.queue().answered(name, ids, now)
        }
        Err(error) => {
            metrics::failed(name, events);
            tracing::warn!(
                target_name = name, events = ids.len(), kind = ?error.kind, %error,
                "cannot deliver a notification"
            );
            if error.kind == SendErrorKind::Gone {
                tracing::error!(
                    target_name = name,
                    "a target asked not to be sent anything again: its events wait until NOTIFY_FILE changes"
                );
            }
            let random = shared.clock.new_id().as_bytes()[0];
            shared.queue().failed(name, ids, &error, (Instant::now(), now), random)
        }
    };
    for ended in ended {
        shared.end(ended).await;
    }
}

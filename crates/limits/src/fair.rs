//! A counting semaphore that shares its units fairly between callers.
//!
//! A single caller may hold all units. If callers wait, the semaphore grants freed units to the waiting caller
//! that holds the least; between equals, callers take turns. The requests of one caller are served in order.
//!
//! A large request does not starve: while the units that a caller holds and requests are within its fair
//! share (the capacity divided by the number of callers that hold or wait), smaller requests of callers
//! that hold more do not overtake it. A request beyond the fair share can be overtaken, so that a request
//! for all units does not block other callers.
//!
//! Long-held units would block other callers for as long. Their permits can be made revocable: if a request
//! within its caller's fair share waits too long, the semaphore revokes the oldest revocable permit of the
//! caller that holds the most, beyond its own fair share.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::oneshot, time};
use tokio_util::sync::CancellationToken;

use super::CallerKey;

/// How long a request waits before permits are revoked for it.
const REVOKE_AFTER: Duration = Duration::from_secs(1);

/// A holder of a permit that can release it early.
pub trait Revoke: Send + Sync {
    /// Makes the holder drop its permit soon. Called at most once for each permit, and not while this
    /// module holds a lock.
    fn revoke(&self);
}

/// Signals a waiting holder that its permit is revoked.
#[derive(Debug, Default)]
pub struct Revocation(CancellationToken);

impl Revocation {
    /// Waits until the permit is revoked.
    pub async fn revoked(self: Arc<Self>) {
        self.0.cancelled().await;
    }
}

impl Revoke for Revocation {
    fn revoke(&self) {
        self.0.cancel();
    }
}

/// A fair semaphore. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FairSemaphore {
    shared: Arc<Shared>,
}

/// Why a semaphore refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The request exceeds the capacity. Retrying does not help.
    #[error("the request exceeds the capacity")]
    TooMuch,
    /// Not enough units became free in time. Retry later.
    #[error("not enough capacity became free in time")]
    TimedOut,
    /// Too many requests are waiting, most of them from this caller. Retry later.
    #[error("too many requests are waiting")]
    QueueFull,
}

/// Units of a [`FairSemaphore`], returned when dropped.
#[derive(Debug)]
pub struct FairPermit {
    shared: Arc<Shared>,
    caller: CallerKey,
    amount: u64,
    /// Its id among its caller's revocable permits.
    revocable: Option<u64>,
}

#[derive(Debug)]
struct Shared {
    capacity: u64,
    revoke_after: Duration,
    /// Maximum number of waiters of all callers.
    queue_limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: u64,
    callers: HashMap<CallerKey, Account>,
    /// Callers with waiters; among equals, the first one is next.
    turns: VecDeque<CallerKey>,
    waiting: usize,
    next_waiter: u64,
    next_revocable: u64,
}

/// Units and waiters of one caller. Removed when the caller has neither.
#[derive(Debug, Default)]
struct Account {
    held: u64,
    waiters: VecDeque<Waiter>,
    /// Oldest first.
    revocable: BTreeMap<u64, Revocable>,
    /// Units that revoked permits still hold.
    revoked: u64,
}

struct Revocable {
    amount: u64,
    /// `None` once it is revoked.
    holder: Option<Weak<dyn Revoke>>,
}

impl std::fmt::Debug for Revocable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Revocable").field("amount", &self.amount).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    amount: u64,
    grant: oneshot::Sender<FairPermit>,
}

impl FairSemaphore {
    /// Creates a semaphore of `capacity` units with at most `queue_limit` waiting requests.
    pub fn new(capacity: u64, queue_limit: usize) -> Self {
        let state = State { free: capacity, ..State::default() };
        let (revoke_after, state) = (REVOKE_AFTER, Mutex::new(state));
        Self { shared: Arc::new(Shared { capacity, revoke_after, queue_limit, state }) }
    }

    /// Creates a semaphore that revokes permits after a request has waited for `revoke_after`.
    pub fn revoking_after(capacity: u64, queue_limit: usize, revoke_after: Duration) -> Self {
        let state = Mutex::new(State { free: capacity, ..State::default() });
        Self { shared: Arc::new(Shared { capacity, revoke_after, queue_limit, state }) }
    }

    /// All units, free or in use.
    pub fn capacity(&self) -> u64 {
        self.shared.capacity
    }

    /// Free units.
    pub fn free(&self) -> u64 {
        self.shared.lock().free
    }

    /// The number of waiting requests.
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting
    }

    /// Acquires units if they are free and no other request is waiting.
    pub fn try_acquire(&self, caller: &CallerKey, amount: u64) -> Option<FairPermit> {
        let mut state = self.shared.lock();
        (state.waiting == 0 && state.free >= amount)
            .then(|| self.shared.grant(&mut state, caller.clone(), amount))
    }

    /// Acquires units, waiting at most `timeout`. Dropping the future cancels the request.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn acquire_within(
        &self,
        caller: &CallerKey,
        amount: u64,
        timeout: Duration,
    ) -> Result<FairPermit, Unavailable> {
        // Also gives a request with a short timeout a chance.
        let revoke_after = self.shared.revoke_after.min(timeout / 2);
        let acquiring = self.clone().acquire_revoking(caller.clone(), amount, revoke_after);
        match time::timeout(timeout, acquiring).await {
            Ok(result) => result,
            Err(_) => Err(Unavailable::TimedOut),
        }
    }

    /// Acquires units, waiting without a timeout. Dropping the future cancels the request.
    ///
    /// # Errors
    /// [`Unavailable::TooMuch`] or [`Unavailable::QueueFull`].
    pub fn acquire(
        &self,
        caller: &CallerKey,
        amount: u64,
    ) -> impl Future<Output = Result<FairPermit, Unavailable>> + Send + use<> {
        self.clone().acquire_revoking(caller.clone(), amount, self.shared.revoke_after)
    }

    async fn acquire_revoking(
        self,
        caller: CallerKey,
        amount: u64,
        revoke_after: Duration,
    ) -> Result<FairPermit, Unavailable> {
        if amount > self.shared.capacity {
            return Err(Unavailable::TooMuch);
        }
        if let Some(permit) = self.try_acquire(&caller, amount) {
            return Ok(permit);
        }
        let shared = self.shared;
        let Some((id, granted)) = shared.enqueue(&caller, amount) else {
            return Err(Unavailable::QueueFull);
        };
        let _queue_entry = QueueEntry { shared: &shared, caller: &caller, id };
        let mut granted = pin!(granted);
        let granted = if revoke_after.is_zero() {
            shared.revoke_for(&caller, amount);
            granted.await
        } else {
            match time::timeout(revoke_after, &mut granted).await {
                Ok(granted) => granted,
                Err(_) => {
                    shared.revoke_for(&caller, amount);
                    granted.await
                }
            }
        };
        // The sender is dropped only to make room for a caller with fewer waiters.
        granted.map_err(|_| Unavailable::QueueFull)
    }

    /// Acquires one unit without waiting: if no unit is free, revokes the oldest permit of the caller that
    /// holds the most, which may be this one. All permits must be revocable, with holders that drop them
    /// immediately; otherwise returns `None`.
    pub fn displace(&self, caller: &CallerKey) -> Option<FairPermit> {
        if let Some(permit) = self.try_acquire(caller, 1) {
            return Some(permit);
        }
        let holder = {
            let mut state = self.shared.lock();
            let most = state.callers.iter().filter(|(_, account)| account.has_revocable());
            let most = most
                .max_by_key(|(_, account)| account.held.saturating_sub(account.revoked))?
                .0
                .clone();
            state.callers.get_mut(&most)?.revoke_oldest().0
        };
        if let Some(holder) = holder.upgrade() {
            holder.revoke();
        }
        self.try_acquire(caller, 1)
    }
}

/// Removes a waiter from the queue when its future is dropped.
struct QueueEntry<'a> {
    shared: &'a Arc<Shared>,
    caller: &'a CallerKey,
    id: u64,
}

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        self.shared.leave_queue(self.caller, self.id);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grant(self: &Arc<Self>, state: &mut State, caller: CallerKey, amount: u64) -> FairPermit {
        state.free -= amount;
        state.callers.entry(caller.clone()).or_default().held += amount;
        FairPermit { shared: self.clone(), caller, amount, revocable: None }
    }

    /// Revokes permits until they will return `amount` units. Only if the caller is within its fair share
    /// with this amount, and only permits of callers that exceed theirs.
    fn revoke_for(&self, caller: &CallerKey, amount: u64) {
        let mut holders = Vec::new();
        {
            let mut state = self.lock();
            let fair_share = (self.capacity / (state.callers.len() as u64).max(1)).max(1);
            let own = state.callers.get(caller).map_or(0, |account| account.held);
            if own + amount > fair_share {
                return;
            }
            let mut missing = amount.saturating_sub(state.free);
            while missing > 0 {
                let greediest = state
                    .callers
                    .iter()
                    .filter(|(other, account)| *other != caller && account.has_revocable())
                    .map(|(other, account)| (account.held.saturating_sub(account.revoked), other))
                    .filter(|(held, _)| *held > fair_share)
                    .max_by_key(|(held, _)| *held)
                    .map(|(_, other)| other.clone());
                let Some(account) = greediest.and_then(|other| state.callers.get_mut(&other))
                else {
                    break;
                };
                let (holder, freed) = account.revoke_oldest();
                holders.push(holder);
                missing = missing.saturating_sub(freed.max(1));
            }
        }
        for holder in holders.iter().filter_map(Weak::upgrade) {
            holder.revoke();
        }
    }

    /// Queues a request and grants what can be granted. `None` if the queue is full and no other caller has
    /// more waiters than this one.
    fn enqueue(
        self: &Arc<Self>,
        caller: &CallerKey,
        amount: u64,
    ) -> Option<(u64, oneshot::Receiver<FairPermit>)> {
        let mut state = self.lock();
        if state.waiting >= self.queue_limit && !state.evict_waiter_for(caller) {
            return None;
        }
        let id = state.next_waiter;
        state.next_waiter += 1;
        let (grant, granted) = oneshot::channel();
        let account = state.callers.entry(caller.clone()).or_default();
        let is_first = account.waiters.is_empty();
        account.waiters.push_back(Waiter { id, amount, grant });
        state.waiting += 1;
        if is_first {
            state.turns.push_back(caller.clone());
        }
        self.serve(&mut state);
        Some((id, granted))
    }

    fn leave_queue(self: &Arc<Self>, caller: &CallerKey, id: u64) {
        let mut state = self.lock();
        let Some(account) = state.callers.get_mut(caller) else { return };
        let Some(position) = account.waiters.iter().position(|waiter| waiter.id == id) else {
            return;
        };
        account.waiters.remove(position);
        state.waiting -= 1;
        state.remove_if_idle(caller);
        // Smaller requests that waited for this one may fit now.
        self.serve(&mut state);
    }

    fn release(self: &Arc<Self>, caller: &CallerKey, amount: u64, revocable: Option<u64>) {
        let mut state = self.lock();
        if let Some(account) = state.callers.get_mut(caller) {
            account.remove_revocable(revocable);
        }
        state.give_back(caller, amount);
        self.serve(&mut state);
    }

    /// Grants all requests that can be granted.
    fn serve(self: &Arc<Self>, state: &mut State) {
        while let Some(caller) = state.next_caller(self.capacity) {
            let Some(account) = state.callers.get_mut(&caller) else { return };
            let Some(waiter) = account.waiters.pop_front() else { return };
            let has_more = !account.waiters.is_empty();
            state.waiting -= 1;
            state.turns.retain(|other| *other != caller);
            if has_more {
                state.turns.push_back(caller.clone());
            }
            let permit = self.grant(state, caller, waiter.amount);
            if let Err(permit) = waiter.grant.send(permit) {
                // The future is being dropped. The permit must not lock the state again.
                let (caller, amount) = permit.disarm();
                state.give_back(&caller, amount);
            }
        }
    }
}

impl State {
    /// The caller to serve next: of the waiting callers, the one that holds the least and whose request
    /// fits. `None` if the free units are reserved for a request that does not fit yet.
    fn next_caller(&self, capacity: u64) -> Option<CallerKey> {
        let mut waiting: Vec<(u64, &CallerKey, u64)> = self
            .turns
            .iter()
            .filter_map(|caller| {
                let account = self.callers.get(caller)?;
                Some((account.held, caller, account.waiters.front()?.amount))
            })
            .collect();
        // Stable sort: equals keep their turns.
        waiting.sort_by_key(|(held, ..)| *held);
        let fair_share = capacity / (self.callers.len() as u64).max(1);
        for (held, caller, amount) in waiting {
            if amount <= self.free {
                return Some(caller.clone());
            }
            if held + amount <= fair_share {
                return None;
            }
        }
        None
    }

    /// Drops the last waiter of the caller with the most waiters, if it has more than this caller.
    fn evict_waiter_for(&mut self, caller: &CallerKey) -> bool {
        let count = |account: &Account| account.waiters.len();
        let own = self.callers.get(caller).map_or(0, count);
        let most = self.callers.iter().max_by_key(|(_, account)| count(account));
        let Some(greediest) = most.filter(|(_, account)| count(account) > own + 1) else {
            return false;
        };
        let greediest = greediest.0.clone();
        let Some(account) = self.callers.get_mut(&greediest) else { return false };
        account.waiters.pop_back();
        self.waiting -= 1;
        true
    }

    fn give_back(&mut self, caller: &CallerKey, amount: u64) {
        self.free += amount;
        if let Some(account) = self.callers.get_mut(caller) {
            account.held -= amount;
        }
        self.remove_if_idle(caller);
    }

    fn remove_if_idle(&mut self, caller: &CallerKey) {
        let Some(account) = self.callers.get(caller) else { return };
        if account.waiters.is_empty() {
            self.turns.retain(|other| other != caller);
            if account.held == 0 {
                self.callers.remove(caller);
            }
        }
    }
}

impl Account {
    fn remove_revocable(&mut self, id: Option<u64>) {
        let permit = id.and_then(|id| self.revocable.remove(&id));
        if let Some(Revocable { amount, holder: None }) = permit {
            self.revoked = self.revoked.saturating_sub(amount);
        }
    }

    fn has_revocable(&self) -> bool {
        self.revocable.values().any(|permit| permit.holder.is_some())
    }

    /// Revokes the oldest permit that is not revoked yet. Returns its holder and its amount.
    fn revoke_oldest(&mut self) -> (Weak<dyn Revoke>, u64) {
        for permit in self.revocable.values_mut() {
            if let Some(holder) = permit.holder.take() {
                self.revoked += permit.amount;
                return (holder, permit.amount);
            }
        }
        (Weak::<NoHolder>::new(), 0)
    }
}

/// A placeholder if there is no permit to revoke.
struct NoHolder;

impl Revoke for NoHolder {
    fn revoke(&self) {}
}

impl FairPermit {
    /// Allows the semaphore to revoke this permit for other callers.
    pub fn make_revocable(&mut self, holder: Weak<dyn Revoke>) {
        let mut state = self.shared.lock();
        let id = state.next_revocable;
        state.next_revocable += 1;
        let Some(account) = state.callers.get_mut(&self.caller) else { return };
        let previous = self.revocable.replace(id);
        account.remove_revocable(previous);
        account.revocable.insert(id, Revocable { amount: self.amount, holder: Some(holder) });
    }

    /// Protects this permit from being revoked. Returns `false` if it was already revoked: its holder was
    /// notified and must drop it.
    pub fn make_irrevocable(&mut self) -> bool {
        let Some(id) = self.revocable else { return true };
        let mut state = self.shared.lock();
        let Some(account) = state.callers.get_mut(&self.caller) else { return true };
        if account.revocable.get(&id).is_some_and(|permit| permit.holder.is_none()) {
            return false;
        }
        account.remove_revocable(Some(id));
        self.revocable = None;
        true
    }

    /// Updates the amount that revoking this permit would return.
    fn update_revocable_amount(&self) {
        let Some(id) = self.revocable else { return };
        let mut state = self.shared.lock();
        let account = state.callers.get_mut(&self.caller);
        let Some(permit) = account.and_then(|account| account.revocable.get_mut(&id)) else {
            return;
        };
        // A revoked permit stays counted with its amount at that time.
        if permit.holder.is_some() {
            permit.amount = self.amount;
        }
    }

    /// The units that this permit holds.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Returns all but `amount` units. Does nothing if the permit holds fewer.
    pub fn shrink_to(&mut self, amount: u64) {
        let surplus = self.amount.saturating_sub(amount);
        if surplus > 0 {
            self.amount -= surplus;
            self.shared.release(&self.caller, surplus, None);
            self.update_revocable_amount();
        }
    }

    /// Acquires more units until the permit holds `amount`, waiting at most `timeout`. Does nothing if it
    /// already holds as many.
    ///
    /// # Errors
    /// [`Unavailable`]; the permit is unchanged then.
    pub async fn grow_to(&mut self, amount: u64, timeout: Duration) -> Result<(), Unavailable> {
        if amount > self.shared.capacity {
            return Err(Unavailable::TooMuch);
        }
        let Some(missing) = amount.checked_sub(self.amount).filter(|missing| *missing > 0) else {
            return Ok(());
        };
        let semaphore = FairSemaphore { shared: self.shared.clone() };
        let more = semaphore.acquire_within(&self.caller, missing, timeout).await?;
        let (_, more) = more.disarm();
        self.amount += more;
        self.update_revocable_amount();
        Ok(())
    }

    /// Takes the units out of the permit without returning them.
    fn disarm(mut self) -> (CallerKey, u64) {
        // Only permits that were just granted are disarmed, and those are not revocable.
        (self.caller.clone(), std::mem::take(&mut self.amount))
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        if self.amount > 0 || self.revocable.is_some() {
            self.shared.release(&self.caller, self.amount, self.revocable);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "fair_tests.rs"]
mod tests;

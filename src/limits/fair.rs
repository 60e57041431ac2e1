//! A counting semaphore that shares its places fairly between callers.
//!
//! A lone caller may hold everything. When callers wait, a freed place goes to the waiting caller that
//! holds the least; between equals, callers take turns. One caller's waiters are served in order.
//!
//! A large request does not starve: as long as what a caller holds and asks for is within its fair
//! share (the capacity divided by the number of callers that hold or wait), smaller requests of callers
//! that hold more do not overtake it. A request beyond the fair share can be overtaken, so that asking
//! for everything does not block everybody.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time};

use super::CallerKey;

/// Places for callers, handed out fairly. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FairSemaphore {
    shared: Arc<Shared>,
}

/// Why a semaphore gives no places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// More places were requested than exist. Waiting does not help.
    #[error("more was requested than there is")]
    TooMuch,
    /// All places stayed in use for as long as the caller could wait. Waiting helps.
    #[error("no place became free in time")]
    TimedOut,
    /// Too many requests wait already, most of them of this caller. Waiting helps.
    #[error("too many requests wait")]
    QueueFull,
}

/// Places of a [`FairSemaphore`], returned when dropped.
#[derive(Debug)]
pub struct FairPermit {
    shared: Arc<Shared>,
    caller: CallerKey,
    amount: u64,
}

#[derive(Debug)]
struct Shared {
    capacity: u64,
    /// The most waiters of all callers together.
    queue_limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: u64,
    callers: HashMap<CallerKey, Account>,
    /// Callers with waiters; the first one's turn is next among equals.
    turns: VecDeque<CallerKey>,
    waiting: usize,
    next_waiter: u64,
}

/// What one caller holds and waits for. Removed when it is neither.
#[derive(Debug, Default)]
struct Account {
    held: u64,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    amount: u64,
    grant: oneshot::Sender<FairPermit>,
}

impl FairSemaphore {
    /// A semaphore of `capacity` places, for which at most `queue_limit` requests wait.
    pub fn new(capacity: u64, queue_limit: usize) -> Self {
        let state = State { free: capacity, ..State::default() };
        Self { shared: Arc::new(Shared { capacity, queue_limit, state: Mutex::new(state) }) }
    }

    /// All places, free or not.
    pub fn capacity(&self) -> u64 {
        self.shared.capacity
    }

    /// Places that no permit holds.
    pub fn free(&self) -> u64 {
        self.shared.lock().free
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting
    }

    /// Takes places if they are free and no other request waits for them.
    pub fn try_acquire(&self, caller: &CallerKey, amount: u64) -> Option<FairPermit> {
        let mut state = self.shared.lock();
        (state.waiting == 0 && state.free >= amount)
            .then(|| self.shared.grant(&mut state, caller.clone(), amount))
    }

    /// Takes places, after waiting for them at most this long. Dropping the future gives up the
    /// caller's turn.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn acquire_within(
        &self,
        caller: &CallerKey,
        amount: u64,
        patience: Duration,
    ) -> Result<FairPermit, Unavailable> {
        match time::timeout(patience, self.acquire(caller, amount)).await {
            Ok(result) => result,
            Err(_) => Err(Unavailable::TimedOut),
        }
    }

    /// Takes places, however long that takes. Dropping the future gives up the caller's turn.
    ///
    /// # Errors
    /// [`Unavailable::TooMuch`] or [`Unavailable::QueueFull`].
    pub fn acquire(
        &self,
        caller: &CallerKey,
        amount: u64,
    ) -> impl Future<Output = Result<FairPermit, Unavailable>> + Send + use<> {
        let (shared, caller) = (self.shared.clone(), caller.clone());
        async move {
            if amount > shared.capacity {
                return Err(Unavailable::TooMuch);
            }
            let semaphore = Self { shared };
            if let Some(permit) = semaphore.try_acquire(&caller, amount) {
                return Ok(permit);
            }
            let shared = semaphore.shared;
            let Some((id, granted)) = shared.enqueue(&caller, amount) else {
                return Err(Unavailable::QueueFull);
            };
            let _place_in_queue = PlaceInQueue { shared: &shared, caller: &caller, id };
            // The sender is dropped only for a caller that waits less.
            granted.await.map_err(|_| Unavailable::QueueFull)
        }
    }
}

/// Takes a waiter out of the queue whose future was dropped.
struct PlaceInQueue<'a> {
    shared: &'a Arc<Shared>,
    caller: &'a CallerKey,
    id: u64,
}

impl Drop for PlaceInQueue<'_> {
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
        FairPermit { shared: self.clone(), caller, amount }
    }

    /// Puts a request into the queue and serves whoever is next. `None` if the queue is full and no
    /// other caller fills it more than this one.
    fn enqueue(
        self: &Arc<Self>,
        caller: &CallerKey,
        amount: u64,
    ) -> Option<(u64, oneshot::Receiver<FairPermit>)> {
        let mut state = self.lock();
        if state.waiting >= self.queue_limit && !state.make_room_for(caller) {
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
        state.forget_if_idle(caller);
        // Smaller requests may fit that waited behind this one.
        self.serve(&mut state);
    }

    fn release(self: &Arc<Self>, caller: &CallerKey, amount: u64) {
        let mut state = self.lock();
        state.give_back(caller, amount);
        self.serve(&mut state);
    }

    /// Grants what can be granted.
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
                // Its future is being dropped. The permit must not lock the state again.
                let (caller, amount) = permit.disarm();
                state.give_back(&caller, amount);
            }
        }
    }
}

impl State {
    /// The caller to serve now: among those that wait, the one that holds the least and whose request
    /// fits. `None` if the places are kept for a request that does not fit yet.
    fn next_caller(&self, capacity: u64) -> Option<CallerKey> {
        let mut waiting: Vec<(u64, &CallerKey, u64)> = self
            .turns
            .iter()
            .filter_map(|caller| {
                let account = self.callers.get(caller)?;
                Some((account.held, caller, account.waiters.front()?.amount))
            })
            .collect();
        // Stable: equals keep their turns.
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

    /// Drops the last waiter of the caller with the most, if that has more than this caller.
    fn make_room_for(&mut self, caller: &CallerKey) -> bool {
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
        self.forget_if_idle(caller);
    }

    fn forget_if_idle(&mut self, caller: &CallerKey) {
        let Some(account) = self.callers.get(caller) else { return };
        if account.waiters.is_empty() {
            self.turns.retain(|other| other != caller);
            if account.held == 0 {
                self.callers.remove(caller);
            }
        }
    }
}

impl FairPermit {
    /// Places that this permit holds.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Returns all but `amount` places. Does nothing if it holds fewer.
    pub fn shrink_to(&mut self, amount: u64) {
        let surplus = self.amount.saturating_sub(amount);
        if surplus > 0 {
            self.amount -= surplus;
            self.shared.release(&self.caller, surplus);
        }
    }

    /// Takes more places until it holds `amount`, after waiting for them at most this long. Does
    /// nothing if it holds as many.
    ///
    /// # Errors
    /// [`Unavailable`]; the permit then holds what it held before.
    pub async fn grow_to(&mut self, amount: u64, patience: Duration) -> Result<(), Unavailable> {
        if amount > self.shared.capacity {
            return Err(Unavailable::TooMuch);
        }
        let Some(missing) = amount.checked_sub(self.amount).filter(|missing| *missing > 0) else {
            return Ok(());
        };
        let semaphore = FairSemaphore { shared: self.shared.clone() };
        let more = semaphore.acquire_within(&self.caller, missing, patience).await?;
        let (_, more) = more.disarm();
        self.amount += more;
        Ok(())
    }

    /// What it held, without returning it.
    fn disarm(mut self) -> (CallerKey, u64) {
        (self.caller.clone(), std::mem::take(&mut self.amount))
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.shared.release(&self.caller, self.amount);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::pin::{Pin, pin};

    use futures::{FutureExt as _, future::BoxFuture};
    use proptest::prelude::*;

    use super::*;

    fn caller(name: &str) -> CallerKey {
        CallerKey::named(name)
    }

    /// A request whose answer is looked at when the test asks for it.
    fn request(
        semaphore: &FairSemaphore,
        name: &str,
        amount: u64,
    ) -> BoxFuture<'static, Result<FairPermit, Unavailable>> {
        let mut request: Pin<Box<_>> = semaphore.acquire(&caller(name), amount).boxed();
        // The first poll puts it into the queue.
        match (&mut request).now_or_never() {
            Some(result) => std::future::ready(result).boxed(),
            None => request,
        }
    }

    fn is_granted(
        request: BoxFuture<'static, Result<FairPermit, Unavailable>>,
    ) -> Result<FairPermit, BoxFuture<'static, Result<FairPermit, Unavailable>>> {
        let mut request = request;
        match (&mut request).now_or_never() {
            Some(result) => Ok(result.unwrap()),
            None => Err(request),
        }
    }

    #[tokio::test]
    async fn lone_caller_takes_everything_and_returns_it() {
        let semaphore = FairSemaphore::new(4, 10);
        let all = semaphore.acquire(&caller("a"), 4).await.unwrap();
        assert_eq!(semaphore.free(), 0);
        assert_eq!(all.amount(), 4);
        drop(all);
        assert_eq!(semaphore.free(), 4);
        assert!(semaphore.shared.lock().callers.is_empty());
        let error = semaphore.acquire(&caller("a"), 5).await.unwrap_err();
        assert_eq!(error, Unavailable::TooMuch);
    }

    #[tokio::test]
    async fn freed_place_goes_to_the_caller_that_holds_least() {
        let semaphore = FairSemaphore::new(3, 100);
        let mut held: Vec<_> = (0..3).map(|_| request(&semaphore, "greedy", 1)).collect();
        let greedy: Vec<_> = (0..20).map(|_| request(&semaphore, "greedy", 1)).collect();
        let modest = request(&semaphore, "modest", 1);
        drop(is_granted(held.remove(0)).ok().unwrap());
        let modest = is_granted(modest).ok().expect("the place is the modest caller's");
        drop(modest);
        let granted: Vec<_> = greedy.into_iter().filter_map(|one| is_granted(one).ok()).collect();
        assert_eq!(granted.len(), 1, "the modest caller wants nothing more");
    }

    #[tokio::test]
    async fn callers_with_equal_holdings_take_turns() {
        let semaphore = FairSemaphore::new(1, 100);
        let first = semaphore.acquire(&caller("z"), 1).await.unwrap();
        let mut waiting = Vec::new();
        for name in ["a", "a", "a", "b", "b", "b"] {
            waiting.push((name, request(&semaphore, name, 1)));
        }
        drop(first);
        let mut order = String::new();
        while !waiting.is_empty() {
            let mut rest = Vec::new();
            for (name, request) in waiting {
                match is_granted(request) {
                    Ok(permit) => {
                        order.push_str(name);
                        drop(permit);
                    }
                    Err(request) => rest.push((name, request)),
                }
            }
            waiting = rest;
        }
        // Grants alternate, whatever the order in which they are looked at.
        let (a, b) = (order.matches('a').count(), order.matches('b').count());
        assert_eq!((a, b), (3, 3), "{order}");
        assert!(!order.contains("aaa"), "{order}");
    }

    #[tokio::test]
    async fn large_request_within_its_share_is_not_overtaken() {
        let semaphore = FairSemaphore::new(100, 100);
        let mut held: Vec<_> = (0..100).map(|_| request(&semaphore, "many", 1)).collect();
        let large = request(&semaphore, "large", 40);
        let small: Vec<_> = (0..50).map(|_| request(&semaphore, "many", 1)).collect();
        for one in held.drain(..40) {
            drop(is_granted(one).ok().unwrap());
        }
        assert_eq!(is_granted(large).ok().unwrap().amount(), 40);
        drop(small);
    }

    #[tokio::test]
    async fn request_beyond_its_share_blocks_no_other() {
        let semaphore = FairSemaphore::new(100, 100);
        let _held = semaphore.acquire(&caller("a"), 50).await.unwrap();
        let everything = request(&semaphore, "b", 100);
        let small = request(&semaphore, "c", 1);
        assert!(is_granted(small).is_ok());
        assert!(is_granted(everything).is_err());
    }

    #[tokio::test]
    async fn full_queue_drops_a_waiter_of_whoever_fills_it() {
        let semaphore = FairSemaphore::new(1, 4);
        let _held = semaphore.acquire(&caller("a"), 1).await.unwrap();
        let mut waiting: Vec<_> = (0..4).map(|_| request(&semaphore, "a", 1)).collect();
        let fifth = request(&semaphore, "a", 1).now_or_never();
        assert_eq!(fifth.unwrap().unwrap_err(), Unavailable::QueueFull);
        let other = request(&semaphore, "b", 1);
        assert!(is_granted(other).is_err(), "it waits in the place of a's last");
        let last = waiting.pop().unwrap().now_or_never();
        assert_eq!(last.unwrap().unwrap_err(), Unavailable::QueueFull);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_leaves_nothing_behind() {
        let semaphore = FairSemaphore::new(1, 4);
        let held = semaphore.acquire(&caller("a"), 1).await.unwrap();
        let waited = semaphore.acquire_within(&caller("b"), 1, Duration::from_secs(2)).await;
        assert_eq!(waited.unwrap_err(), Unavailable::TimedOut);
        assert_eq!(semaphore.waiting(), 0);
        drop(held);
        assert_eq!(semaphore.free(), 1);
        assert!(semaphore.shared.lock().turns.is_empty());
    }

    #[tokio::test]
    async fn grant_that_arrives_at_a_dropped_future_is_returned() {
        let semaphore = FairSemaphore::new(1, 4);
        let held = semaphore.acquire(&caller("a"), 1).await.unwrap();
        let waiting = request(&semaphore, "b", 1);
        drop(held);
        assert_eq!(semaphore.free(), 0);
        drop(waiting);
        assert_eq!(semaphore.free(), 1);
    }

    #[tokio::test]
    async fn permit_grows_and_shrinks() {
        let semaphore = FairSemaphore::new(10, 4);
        let mut permit = semaphore.acquire(&caller("a"), 4).await.unwrap();
        permit.grow_to(9, Duration::ZERO).await.unwrap();
        assert_eq!((permit.amount(), semaphore.free()), (9, 1));
        permit.shrink_to(2);
        assert_eq!((permit.amount(), semaphore.free()), (2, 8));
        let error = permit.grow_to(11, Duration::ZERO).await.unwrap_err();
        assert_eq!((error, permit.amount()), (Unavailable::TooMuch, 2));
        drop(permit);
        assert_eq!(semaphore.free(), 10);
    }

    proptest! {
        /// Whatever is asked for, dropped and returned: places are neither lost nor made, and nobody
        /// waits for what is free.
        #[test]
        fn places_are_conserved(steps in proptest::collection::vec((0..4_u8, 0..4_u8, 1..6_u64), 1..80)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let semaphore = FairSemaphore::new(8, 6);
                let mut permits: Vec<FairPermit> = Vec::new();
                let mut waiting = Vec::new();
                for (step, who, amount) in steps {
                    match step {
                        0 | 1 => waiting.push(request(&semaphore, &who.to_string(), amount)),
                        2 if !permits.is_empty() => drop(permits.swap_remove(usize::from(who) % permits.len())),
                        3 if !waiting.is_empty() => drop(waiting.swap_remove(usize::from(who) % waiting.len())),
                        _ => {}
                    }
                    let mut rest = Vec::new();
                    for mut one in waiting {
                        match pin!(&mut one).now_or_never() {
                            Some(Ok(permit)) => permits.push(permit),
                            Some(Err(error)) => assert_eq!(error, Unavailable::QueueFull),
                            None => rest.push(one),
                        }
                    }
                    waiting = rest;
                    let held: u64 = permits.iter().map(FairPermit::amount).sum();
                    assert_eq!(held + semaphore.free(), 8);
                    assert_eq!(semaphore.waiting(), waiting.len());
                    // With everything free, every request fits.
                    assert!(semaphore.free() < 8 || waiting.is_empty());
                }
                drop((permits, waiting));
                assert_eq!(semaphore.free(), 8);
                assert!(semaphore.shared.lock().callers.is_empty());
            });
        }
    }
}

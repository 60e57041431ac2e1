//! A limit on connections, shared fairly between addresses.
//!
//! One address may use all permits. Once they are in use, a waiting connection from an address with fewer
//! connections closes the longest-idle connection of the address with the most. A waiting connection from an
//! address with as many closes only a connection that has been idle for long. A connection with calls in
//! progress is closed only if its address exceeds its fair share (the permits divided by the addresses), if
//! no connection is idle, and after a delay. Without this rule, a client with one call on each connection
//! would block all others.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::{sync::Notify, time::Instant};

use super::CallerKey;

/// How long a connection must be idle before it is closed for any other.
const LONG_IDLE: Duration = Duration::from_secs(30);

/// How long a connection must be idle before it is closed for an address with fewer connections: a client
/// that just connected is about to call.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// How long a connection waits before one with calls in progress is closed for it.
const BUSY_DELAY: Duration = Duration::from_secs(1);

/// All connections of a listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections {
    shared: Arc<Shared>,
}

/// The permit of one connection, released when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    activity: ConnectionActivity,
}

/// Counts the calls of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConnectionActivity {
    shared: Arc<Shared>,
    id: u64,
    close_signal: Arc<CloseSignal>,
}

/// A call in progress; ends when dropped.
#[derive(Debug)]
pub struct CallInProgress {
    activity: ConnectionActivity,
}

#[derive(Debug)]
struct Shared {
    limit: usize,
    state: Mutex<State>,
    /// A permit became free, or a connection became idle.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<u64, Open>,
    next_id: u64,
    /// Connections that were asked to close and are still open.
    closing: usize,
}

#[derive(Debug)]
struct Open {
    address: CallerKey,
    calls: usize,
    idle_since: Instant,
    is_closing: bool,
    close_signal: Arc<CloseSignal>,
}

/// Signals a connection that it must close.
#[derive(Debug, Default)]
struct CloseSignal {
    is_closing: AtomicBool,
    waker: AtomicWaker,
}

impl Connections {
    /// Allows at most `limit` concurrent connections.
    pub fn new(limit: usize) -> Self {
        let shared = Shared { limit, state: Mutex::default(), changed: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// The maximum number of connections.
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.shared.lock().open.len()
    }

    /// The number of open connections by address, without those that are closing.
    pub fn open_by_address(&self) -> HashMap<CallerKey, usize> {
        let mut counts = HashMap::new();
        for open in self.shared.lock().open.values().filter(|open| !open.is_closing) {
            *counts.entry(open.address.clone()).or_default() += 1;
        }
        counts
    }

    /// A permit for a connection of this address, if one is free.
    pub fn try_take(&self, address: &CallerKey) -> Option<ConnectionPermit> {
        let mut state = self.shared.lock();
        if state.open.len() >= self.shared.limit {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        let close_signal = Arc::new(CloseSignal::default());
        let open = Open {
            address: address.clone(),
            calls: 0,
            idle_since: Instant::now(),
            is_closing: false,
            close_signal: close_signal.clone(),
        };
        state.open.insert(id, open);
        let activity = ConnectionActivity { shared: self.shared.clone(), id, close_signal };
        Some(ConnectionPermit { activity })
    }

    /// Closes connections for waiting ones, given by their addresses and the times since which they wait. Returns
    /// the number of connections that were asked to close.
    pub fn make_room<'a>(&self, waiting: impl Iterator<Item = (&'a CallerKey, Instant)>) -> usize {
        let mut signals = Vec::new();
        {
            let mut state = self.shared.lock();
            let mut already_closing = state.closing;
            let mut without_candidate = HashSet::new();
            for (address, since) in waiting {
                // A permit that is about to become free is for the first waiting connection.
                if already_closing > 0 {
                    already_closing -= 1;
                } else if !without_candidate.contains(address) {
                    let is_urgent = since.elapsed() >= BUSY_DELAY;
                    match state.close_for(address, is_urgent, self.shared.limit) {
                        Some(signal) => signals.push(signal),
                        None => drop(without_candidate.insert(address)),
                    }
                }
            }
        }
        for signal in &signals {
            signal.is_closing.store(true, Ordering::Release);
            signal.waker.wake();
        }
        signals.len()
    }

    /// Waits until a permit becomes free or a connection becomes idle.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Marks a connection to close for this address.
    fn close_for(
        &mut self,
        address: &CallerKey,
        is_urgent: bool,
        limit: usize,
    ) -> Option<Arc<CloseSignal>> {
        let mut counts: HashMap<&CallerKey, usize> = HashMap::from([(address, 0)]);
        for open in self.open.values().filter(|open| !open.is_closing) {
            *counts.entry(&open.address).or_default() += 1;
        }
        let own = counts[address];
        let fair_share = (limit / counts.len()).max(1);
        let victim = self
            .open
            .iter()
            .filter(|(_, open)| !open.is_closing)
            .filter(|(_, open)| {
                let count = counts[&open.address];
                if open.calls > 0 {
                    is_urgent && count > fair_share && own < fair_share
                } else {
                    // For an address with at least as many connections: only a long-idle one.
                    let min_idle = if count > own { IDLE_GRACE } else { LONG_IDLE };
                    open.idle_since.elapsed() >= min_idle
                }
            })
            .max_by_key(|(id, open)| {
                (open.calls == 0, counts[&open.address], Reverse((open.idle_since, **id)))
            });
        let id = *victim?.0;
        let open = self.open.get_mut(&id)?;
        open.is_closing = true;
        self.closing += 1;
        Some(open.close_signal.clone())
    }
}

impl ConnectionPermit {
    /// Counts the calls of this connection.
    pub fn activity(&self) -> ConnectionActivity {
        self.activity.clone()
    }

    /// Whether the connection must close. If not, wakes the task when it must.
    pub fn poll_is_closing(&self, context: &Context<'_>) -> bool {
        let signal = &self.activity.close_signal;
        signal.waker.register(context.waker());
        signal.is_closing.load(Ordering::Acquire)
    }

    /// Waits until the connection must close.
    pub async fn closing(&self) {
        std::future::poll_fn(|context| {
            if self.poll_is_closing(context) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let ConnectionActivity { shared, id, .. } = &self.activity;
        let mut state = shared.lock();
        if state.open.remove(id).is_some_and(|open| open.is_closing) {
            state.closing -= 1;
        }
        drop(state);
        shared.changed.notify_one();
    }
}

impl ConnectionActivity {
    /// Counts a call in progress until the returned guard is dropped.
    pub fn enter(&self) -> CallInProgress {
        if let Some(open) = self.shared.lock().open.get_mut(&self.id) {
            open.calls += 1;
        }
        CallInProgress { activity: self.clone() }
    }
}

impl Drop for CallInProgress {
    fn drop(&mut self) {
        let ConnectionActivity { shared, id, .. } = &self.activity;
        let mut state = shared.lock();
        let Some(open) = state.open.get_mut(id) else { return };
        open.calls -= 1;
        if open.calls > 0 {
            return;
        }
        open.idle_since = Instant::now();
        // Below the limit, no connection waits.
        if state.open.len() >= shared.limit {
            drop(state);
            shared.changed.notify_one();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    fn address(number: u8) -> CallerKey {
        CallerKey::address([127, 0, 0, number].into())
    }

    /// Connections of these addresses that start to wait now.
    fn now(addresses: &[CallerKey]) -> impl Iterator<Item = (&CallerKey, Instant)> {
        addresses.iter().map(|address| (address, Instant::now()))
    }

    fn is_closing(permit: &ConnectionPermit) -> bool {
        permit.closing().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn longest_idle_connection_of_the_greediest_address_closes() {
        let connections = Connections::new(4);
        let (greedy, modest, new) = (address(1), address(2), address(3));
        let take = |address| connections.try_take(address).unwrap();
        let modest = take(&modest);
        let mut permits = Vec::new();
        for _ in 0..3 {
            advance(Duration::from_secs(1)).await;
            permits.push(take(&greedy));
        }
        assert!(connections.try_take(&new).is_none());
        // The first has a call in progress, the second had one just now.
        let _call = permits[0].activity().enter();
        advance(Duration::from_secs(1)).await;
        drop(permits[1].activity().enter());
        assert_eq!(connections.make_room(now(std::slice::from_ref(&new))), 1);
        let closing: Vec<bool> = permits.iter().map(is_closing).collect();
        assert_eq!(closing, [false, false, true]);
        assert!(!is_closing(&modest));
        // One is already closing: no other is closed for the same connection.
        assert_eq!(connections.make_room(now(std::slice::from_ref(&new))), 0);
        drop(permits.pop());
        assert!(connections.try_take(&new).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn equal_address_or_busy_connections_close_nothing() {
        let connections = Connections::new(2);
        let permits = [address(1), address(2)].map(|one| connections.try_take(&one).unwrap());
        advance(IDLE_GRACE).await;
        for one in [address(1), address(2)] {
            assert_eq!(connections.make_room(now(std::slice::from_ref(&one))), 0);
        }
        let calls = permits.each_ref().map(|permit| permit.activity().enter());
        let new = address(3);
        assert_eq!(connections.make_room(now(std::slice::from_ref(&new))), 0);
        drop(calls);
        connections.changed().now_or_never().unwrap();
        assert_eq!(
            connections.make_room(now(std::slice::from_ref(&new))),
            0,
            "it was in use just now"
        );
        advance(IDLE_GRACE).await;
        assert_eq!(connections.make_room(now(std::slice::from_ref(&new))), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn long_idle_connection_closes_for_any_other() {
        let connections = Connections::new(1);
        let permit = connections.try_take(&address(1)).unwrap();
        let again = [address(1)];
        advance(LONG_IDLE - Duration::from_secs(1)).await;
        assert_eq!(connections.make_room(now(&again)), 0);
        advance(Duration::from_secs(1)).await;
        assert_eq!(connections.make_room(now(&again)), 1);
        assert!(is_closing(&permit));
    }

    #[tokio::test(start_paused = true)]
    async fn busy_connection_beyond_the_fair_share_closes_after_a_delay() {
        let connections = Connections::new(4);
        let (greedy, new) = (address(1), [address(2)]);
        let permits: Vec<_> = (0..4).map(|_| connections.try_take(&greedy).unwrap()).collect();
        let calls: Vec<_> = permits.iter().map(|permit| permit.activity().enter()).collect();
        let since = Instant::now();
        let make_room = || connections.make_room([(&new[0], since)].into_iter());
        assert_eq!(make_room(), 0);
        advance(BUSY_DELAY).await;
        assert_eq!(make_room(), 1);
        assert_eq!(permits.iter().filter(|permit| is_closing(permit)).count(), 1);
        // No connection is closed for the same address.
        assert_eq!(connections.make_room([(&greedy, since)].into_iter()), 0);
        drop(calls);
    }

    #[tokio::test(start_paused = true)]
    async fn one_connection_closes_for_each_waiting_one() {
        let connections = Connections::new(4);
        let greedy = address(1);
        let permits: Vec<_> = (0..4).map(|_| connections.try_take(&greedy).unwrap()).collect();
        advance(IDLE_GRACE).await;
        let new = [address(2), address(3)];
        assert_eq!(connections.make_room(now(&new)), 2);
        assert_eq!(connections.make_room(now(&new)), 0);
        assert_eq!(permits.iter().filter(|permit| is_closing(permit)).count(), 2);
        assert_eq!(connections.open_by_address()[&greedy], 2);
    }
}

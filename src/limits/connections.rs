//! Places for connections, shared fairly between addresses.
//!
//! One address may have all places. Once they are taken, a connection of an address that has fewer gets the
//! place of the connection that was idle longest, of the address that has most. A connection of an address
//! that has as many gets one that was idle for long. Connections with calls in progress are closed for others
//! only as far as their address has more than its fair share (the places divided by the addresses), only if
//! none is idle, and not at once: otherwise whoever has one call on each connection keeps out everybody else.

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

/// How long a connection is idle before it makes room for any other.
const IDLE_FOR_LONG: Duration = Duration::from_secs(30);

/// How long a connection is idle at least before it is closed for one of an address that has fewer: a client
/// that just connected is about to call.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// How long a connection waits before one with calls in progress is closed for it.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);

/// All connections of a listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections {
    shared: Arc<Shared>,
}

/// The place of one connection, returned when dropped.
#[derive(Debug)]
pub struct ConnectionPlace {
    activity: ConnectionActivity,
}

/// Counts the calls of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConnectionActivity {
    shared: Arc<Shared>,
    id: u64,
    line: Arc<Line>,
}

/// A call in progress, until it is dropped.
#[derive(Debug)]
pub struct CallInProgress {
    activity: ConnectionActivity,
}

#[derive(Debug)]
struct Shared {
    limit: usize,
    state: Mutex<State>,
    /// A place became free, or a connection idle.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<u64, Open>,
    next_id: u64,
    /// Connections that were told to close and are still open.
    closing: usize,
}

#[derive(Debug)]
struct Open {
    address: CallerKey,
    calls: usize,
    idle_since: Instant,
    is_closing: bool,
    line: Arc<Line>,
}

/// How a connection learns that it must close.
#[derive(Debug, Default)]
struct Line {
    is_closing: AtomicBool,
    waker: AtomicWaker,
}

impl Connections {
    /// At most `limit` connections at once.
    pub fn new(limit: usize) -> Self {
        let shared = Shared { limit, state: Mutex::default(), changed: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// All places.
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.shared.lock().open.len()
    }

    /// How many connections each address has open now, without those that are closing.
    pub fn open_by_address(&self) -> HashMap<CallerKey, usize> {
        let mut counts = HashMap::new();
        for open in self.shared.lock().open.values().filter(|open| !open.is_closing) {
            *counts.entry(open.address.clone()).or_default() += 1;
        }
        counts
    }

    /// A place for a connection of this address, if one is free.
    pub fn try_take(&self, address: &CallerKey) -> Option<ConnectionPlace> {
        let mut state = self.shared.lock();
        if state.open.len() >= self.shared.limit {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        let line = Arc::new(Line::default());
        let open = Open {
            address: address.clone(),
            calls: 0,
            idle_since: Instant::now(),
            is_closing: false,
            line: line.clone(),
        };
        state.open.insert(id, open);
        let activity = ConnectionActivity { shared: self.shared.clone(), id, line };
        Some(ConnectionPlace { activity })
    }

    /// Closes connections for those that wait, of these addresses and since these times. Returns how many it
    /// told to close.
    pub fn make_room<'a>(&self, waiting: impl Iterator<Item = (&'a CallerKey, Instant)>) -> usize {
        let mut lines = Vec::new();
        {
            let mut state = self.shared.lock();
            let mut on_their_way = state.closing;
            let mut in_vain = HashSet::new();
            for (address, since) in waiting {
                // A place that becomes free already is for the first that waits.
                if on_their_way > 0 {
                    on_their_way -= 1;
                } else if !in_vain.contains(address) {
                    let is_urgent = since.elapsed() >= BUSY_PATIENCE;
                    match state.close_for(address, is_urgent, self.shared.limit) {
                        Some(line) => lines.push(line),
                        None => drop(in_vain.insert(address)),
                    }
                }
            }
        }
        for line in &lines {
            line.is_closing.store(true, Ordering::Release);
            line.waker.wake();
        }
        lines.len()
    }

    /// Waits until a place became free or a connection idle.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics in the middle of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Marks the connection that makes room for this address.
    fn close_for(
        &mut self,
        address: &CallerKey,
        is_urgent: bool,
        limit: usize,
    ) -> Option<Arc<Line>> {
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
                    // Of the same address, or of one that has no more: only what is hardly used.
                    let least = if count > own { IDLE_GRACE } else { IDLE_FOR_LONG };
                    open.idle_since.elapsed() >= least
                }
            })
            .max_by_key(|(id, open)| {
                (open.calls == 0, counts[&open.address], Reverse((open.idle_since, **id)))
            });
        let id = *victim?.0;
        let open = self.open.get_mut(&id)?;
        open.is_closing = true;
        self.closing += 1;
        Some(open.line.clone())
    }
}

impl ConnectionPlace {
    /// Counts the calls of this connection.
    pub fn activity(&self) -> ConnectionActivity {
        self.activity.clone()
    }

    /// Whether the connection must close. If not, the task is woken once it must.
    pub fn poll_is_closing(&self, context: &Context<'_>) -> bool {
        let line = &self.activity.line;
        line.waker.register(context.waker());
        line.is_closing.load(Ordering::Acquire)
    }

    /// Waits until the connection must close.
    pub async fn closing(&self) {
        std::future::poll_fn(|context| {
            if self.poll_is_closing(context) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for ConnectionPlace {
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
    /// One more call is in progress on this connection.
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
        // Else there is nothing that waits.
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

    /// These addresses wait since now.
    fn now(addresses: &[CallerKey]) -> impl Iterator<Item = (&CallerKey, Instant)> {
        addresses.iter().map(|address| (address, Instant::now()))
    }

    fn is_closing(place: &ConnectionPlace) -> bool {
        place.closing().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn longest_idle_connection_of_the_address_with_most_makes_room() {
        let connections = Connections::new(4);
        let (greedy, modest, new) = (address(1), address(2), address(3));
        let take = |address| connections.try_take(address).unwrap();
        let modest = take(&modest);
        let mut places = Vec::new();
        for _ in 0..3 {
            advance(Duration::from_secs(1)).await;
            places.push(take(&greedy));
        }
        assert!(connections.try_take(&new).is_none());
        // The first has a call in progress, the second had one a moment ago.
        let _call = places[0].activity().enter();
        advance(Duration::from_secs(1)).await;
        drop(places[1].activity().enter());
        assert_eq!(connections.make_room(now(std::slice::from_ref(&new))), 1);
        let closing: Vec<bool> = places.iter().map(is_closing).collect();
        assert_eq!(closing, [false, false, true]);
        assert!(!is_closing(&modest));
        // One is on its way: no other is closed for the same.
        assert_eq!(connections.make_room(now(std::slice::from_ref(&new))), 0);
        drop(places.pop());
        assert!(connections.try_take(&new).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn address_with_as_many_or_busy_ones_only_closes_nothing() {
        let connections = Connections::new(2);
        let places = [address(1), address(2)].map(|one| connections.try_take(&one).unwrap());
        advance(IDLE_GRACE).await;
        for one in [address(1), address(2)] {
            assert_eq!(connections.make_room(now(std::slice::from_ref(&one))), 0);
        }
        let calls = places.each_ref().map(|place| place.activity().enter());
        let new = address(3);
        assert_eq!(connections.make_room(now(std::slice::from_ref(&new))), 0);
        drop(calls);
        connections.changed().now_or_never().unwrap();
        assert_eq!(
            connections.make_room(now(std::slice::from_ref(&new))),
            0,
            "it was in use a moment ago"
        );
        advance(IDLE_GRACE).await;
        assert_eq!(connections.make_room(now(std::slice::from_ref(&new))), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn connection_that_is_idle_for_long_makes_room_for_any_other() {
        let connections = Connections::new(1);
        let place = connections.try_take(&address(1)).unwrap();
        let again = [address(1)];
        advance(IDLE_FOR_LONG - Duration::from_secs(1)).await;
        assert_eq!(connections.make_room(now(&again)), 0);
        advance(Duration::from_secs(1)).await;
        assert_eq!(connections.make_room(now(&again)), 1);
        assert!(is_closing(&place));
    }

    #[tokio::test(start_paused = true)]
    async fn busy_connection_beyond_a_fair_share_closes_after_a_while_if_none_is_idle() {
        let connections = Connections::new(4);
        let (greedy, new) = (address(1), [address(2)]);
        let places: Vec<_> = (0..4).map(|_| connections.try_take(&greedy).unwrap()).collect();
        let calls: Vec<_> = places.iter().map(|place| place.activity().enter()).collect();
        let since = Instant::now();
        let make_room = || connections.make_room([(&new[0], since)].into_iter());
        assert_eq!(make_room(), 0);
        advance(BUSY_PATIENCE).await;
        assert_eq!(make_room(), 1);
        assert_eq!(places.iter().filter(|place| is_closing(place)).count(), 1);
        // Its own address waits in vain.
        assert_eq!(connections.make_room([(&greedy, since)].into_iter()), 0);
        drop(calls);
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_several_that_wait_gets_a_place_of_its_own() {
        let connections = Connections::new(4);
        let greedy = address(1);
        let places: Vec<_> = (0..4).map(|_| connections.try_take(&greedy).unwrap()).collect();
        advance(IDLE_GRACE).await;
        let new = [address(2), address(3)];
        assert_eq!(connections.make_room(now(&new)), 2);
        assert_eq!(connections.make_room(now(&new)), 0);
        assert_eq!(places.iter().filter(|place| is_closing(place)).count(), 2);
        assert_eq!(connections.open_by_address()[&greedy], 2);
    }
}

//! Bounds the bytes of responses that a connection has accepted and not written to its socket.
//!
//! A peer can open large HTTP/2 windows and not read its socket. This limit bounds what the server buffers for each
//! connection, regardless of its number of streams.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

/// Bytes that the responses of one connection may hand over before its socket is written to.
const UNSENT_LIMIT_BYTES: usize = 128 * 1024;
/// Waiting responses of one connection at which all of them are woken, to drop those that have ended.
const WAKER_LIMIT: usize = 1024;

/// The unsent bytes of one connection.
#[derive(Debug, Default)]
pub struct Unsent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether the socket accepted nothing at the last write.
    is_blocked: bool,
    /// Bytes accepted since the last write to the socket.
    accepted_bytes: usize,
    /// Number of writes to the socket.
    writes: u64,
    wakers: Vec<Waker>,
}

/// Bytes of a response that were handed to the connection, which accepts them when the reader's window has capacity.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandedOver {
    size_bytes: usize,
    /// The number of writes at that time.
    writes: u64,
}

impl Unsent {
    /// Records a write to the socket, and whether the socket accepted nothing.
    pub fn written(&self, is_blocked: bool) {
        let wakers = {
            let mut state = self.lock();
            state.is_blocked = is_blocked;
            state.accepted_bytes = 0;
            state.writes += 1;
            if is_blocked { Vec::new() } else { std::mem::take(&mut state.wakers) }
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Records that bytes of a response are handed to the connection now.
    pub(super) fn hand_over(&self, size_bytes: usize) -> HandedOver {
        HandedOver { size_bytes, writes: self.lock().writes }
    }

    /// Records that the connection accepted these bytes. They count only if the socket was not written to since they
    /// were handed over: then they are unsent, and another write follows. Otherwise they may have been sent, and
    /// waiting for another write could last forever.
    pub(super) fn accepted(&self, handed_over: HandedOver) {
        let mut state = self.lock();
        if state.writes == handed_over.writes {
            state.accepted_bytes += handed_over.size_bytes;
        }
    }

    /// Whether more bytes may be handed over. If not, the task is woken when they may.
    pub(super) fn has_capacity(&self, context: &Context<'_>) -> bool {
        let mut state = self.lock();
        if !state.is_blocked && state.accepted_bytes < UNSENT_LIMIT_BYTES {
            return true;
        }
        if state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            return false;
        }
        // Ended streams leave their wakers. Waking all makes the active streams register again.
        let wakers = match state.wakers.len() {
            WAKER_LIMIT => std::mem::take(&mut state.wakers),
            _ => Vec::new(),
        };
        state.wakers.push(context.waker().clone());
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        false
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;

    use super::*;

    #[test]
    fn capacity_returns_after_the_socket_was_written() {
        let (unsent, waker) = (Unsent::default(), noop_waker());
        let context = Context::from_waker(&waker);
        assert!(unsent.has_capacity(&context));
        let (first, second) =
            (unsent.hand_over(UNSENT_LIMIT_BYTES), unsent.hand_over(UNSENT_LIMIT_BYTES));
        unsent.accepted(first);
        assert!(!unsent.has_capacity(&context));
        unsent.written(true);
        assert!(!unsent.has_capacity(&context));
        unsent.written(false);
        assert!(unsent.has_capacity(&context));
        // The second may have been sent with the first.
        unsent.accepted(second);
        assert!(unsent.has_capacity(&context));
    }
}

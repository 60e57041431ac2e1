//! How much a connection has accepted of answers that its socket has not taken.
//!
//! A peer can open its HTTP/2 windows wide and not read its socket. What the server then buffers is
//! bounded here for each connection, however many streams it has.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

/// Bytes that the answers of one connection may hand over before its socket is written to.
const UNSENT_BYTES: usize = 128 * 1024;
/// Answers of one connection that wait, before it is checked which of them still do.
const WAITING: usize = 1024;

/// What one connection has accepted and not sent.
#[derive(Debug, Default)]
pub struct Unsent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether the socket took nothing when it was last written to.
    is_blocked: bool,
    /// Bytes accepted since the socket was last written to.
    accepted_bytes: usize,
    /// How often the socket was written to.
    writes: u64,
    waiting: Vec<Waker>,
}

/// Bytes of an answer that were handed to the connection, which accepts them when the reader's window
/// has room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handed {
    size_bytes: usize,
    /// How often the socket had been written to before.
    writes: u64,
}

impl Unsent {
    /// Notes that the socket was written to, and whether it took anything.
    pub fn written(&self, is_blocked: bool) {
        let waiting = {
            let mut state = self.lock();
            state.is_blocked = is_blocked;
            state.accepted_bytes = 0;
            state.writes += 1;
            if is_blocked { Vec::new() } else { std::mem::take(&mut state.waiting) }
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Bytes of an answer that the connection is given now.
    pub(super) fn handing(&self, size_bytes: usize) -> Handed {
        Handed { size_bytes, writes: self.lock().writes }
    }

    /// Notes that the connection accepted these bytes. They count only if the socket was not written to
    /// since they were handed over: then they are certainly unsent, and the socket will be written to.
    /// If it was, they may have been sent, and waiting for another write could last for ever.
    pub(super) fn accepted(&self, handed: Handed) {
        let mut state = self.lock();
        if state.writes == handed.writes {
            state.accepted_bytes += handed.size_bytes;
        }
    }

    /// Whether the connection may be given more. If not, the task is woken when it may.
    pub(super) fn has_room(&self, context: &Context<'_>) -> bool {
        let mut state = self.lock();
        if !state.is_blocked && state.accepted_bytes < UNSENT_BYTES {
            return true;
        }
        if state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            return false;
        }
        // Streams that have ended leave their wakers: from time to time, those that have not say so.
        let waiting = match state.waiting.len() {
            WAITING => std::mem::take(&mut state.waiting),
            _ => Vec::new(),
        };
        state.waiting.push(context.waker().clone());
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
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
    fn more_is_accepted_after_the_socket_took_some() {
        let (unsent, waker) = (Unsent::default(), noop_waker());
        let context = Context::from_waker(&waker);
        assert!(unsent.has_room(&context));
        let (first, second) = (unsent.handing(UNSENT_BYTES), unsent.handing(UNSENT_BYTES));
        unsent.accepted(first);
        assert!(!unsent.has_room(&context));
        unsent.written(true);
        assert!(!unsent.has_room(&context));
        unsent.written(false);
        assert!(unsent.has_room(&context));
        // It may have been sent with the first.
        unsent.accepted(second);
        assert!(unsent.has_room(&context));
    }
}

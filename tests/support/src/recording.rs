//! What was asked of the server, for tests to look at.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use http::{HeaderMap, Request, StatusCode};

use crate::operation::{Operation, Target};

/// So many requests are remembered; older ones are forgotten, as the server may run for days.
const REQUESTS_LIMIT: usize = 100_000;

/// One HTTP request as the server saw it.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// Counts all requests since the server was made, from 1.
    pub number: u64,
    /// What was asked for.
    pub operation: Operation,
    /// The bucket; empty for [`Operation::ListBuckets`].
    pub bucket: String,
    /// The object's key, decoded; empty for operations on buckets.
    pub key: String,
    /// The query string as sent, without the question mark.
    pub query: String,
    /// The headers as sent.
    pub headers: HeaderMap,
    /// Which TCP connection it came on, counted from 1.
    pub connection: u64,
    /// When its head had arrived.
    pub started: Instant,
    /// When its answer was ready. `None`: still being worked on, or the client gave up first.
    pub finished: Option<Instant>,
    /// The answer's status. `None`: none was given (yet), or the connection was reset instead.
    pub status: Option<StatusCode>,
    /// How many requests were in flight when this one arrived, itself included.
    pub in_flight: usize,
}

impl RecordedRequest {
    /// A header's value, if it was sent and is ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Remembers requests, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    log: Mutex<Log>,
    in_flight: AtomicUsize,
}

#[derive(Debug, Default)]
struct Log {
    requests: VecDeque<RecordedRequest>,
    last_number: u64,
}

impl Recorder {
    /// Records a request's arrival. It is in flight until the guard goes.
    pub(crate) fn begin<B>(
        self: &Arc<Self>,
        request: &Request<B>,
        target: &Target,
        connection: u64,
    ) -> InFlight {
        let in_flight = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        let mut log = self.log();
        log.last_number += 1;
        let number = log.last_number;
        if log.requests.len() == REQUESTS_LIMIT {
            log.requests.pop_front();
        }
        log.requests.push_back(RecordedRequest {
            number,
            operation: target.operation,
            bucket: target.bucket.clone(),
            key: target.key.clone(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: request.headers().clone(),
            connection,
            started: Instant::now(),
            finished: None,
            status: None,
            in_flight,
        });
        InFlight { recorder: Arc::clone(self), number }
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.log().requests.iter().cloned().collect()
    }

    pub(crate) fn reset(&self) {
        self.log().requests.clear();
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request being worked on. Dropped without an answer when the client goes away.
pub(crate) struct InFlight {
    recorder: Arc<Recorder>,
    number: u64,
}

impl InFlight {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Records that the answer is ready; `None` for a connection reset instead of an answer.
    pub(crate) fn finish(self, status: Option<StatusCode>) {
        let mut log = self.recorder.log();
        // Numbers are consecutive, so the distance from the newest is the place in the queue.
        // A request that was reset or forgotten meanwhile has no place any more.
        let age = (log.last_number - self.number) as usize;
        let Some(index) = log.requests.len().checked_sub(age + 1) else { return };
        let request = &mut log.requests[index];
        request.finished = Some(Instant::now());
        request.status = status;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.recorder.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

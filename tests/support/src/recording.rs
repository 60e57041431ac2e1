//! Recording of requests, for tests to inspect.

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

/// The maximum number of recorded requests; older ones are dropped, because the server may run for
/// days.
const REQUESTS_LIMIT: usize = 100_000;

/// One HTTP request as the server saw it.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// The number of the request since the server was created, from 1.
    pub number: u64,
    /// The operation.
    pub operation: Operation,
    /// The bucket; empty for [`Operation::ListBuckets`].
    pub bucket: String,
    /// The object's key, decoded; empty for operations on buckets.
    pub key: String,
    /// The query string as sent, without the question mark.
    pub query: String,
    /// The headers as sent.
    pub headers: HeaderMap,
    /// The number of its TCP connection, from 1.
    pub connection: u64,
    /// The time when its head had arrived.
    pub started: Instant,
    /// The time when its response was ready. `None`: in progress, or the client disconnected first.
    pub finished: Option<Instant>,
    /// The status of the response. `None`: no response yet, or the connection was reset.
    pub status: Option<StatusCode>,
    /// The number of requests in flight when this one arrived, including itself.
    pub in_flight: usize,
}

impl RecordedRequest {
    /// A header's value, if it is present and ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Recorded requests, oldest first.
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
    /// Records the arrival of a request. It is in flight until the guard is dropped.
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

/// A request in progress. Dropped without a response if the client disconnects.
pub(crate) struct InFlight {
    recorder: Arc<Recorder>,
    number: u64,
}

impl InFlight {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Records that the response is ready; `None` for a connection reset.
    pub(crate) fn finish(self, status: Option<StatusCode>) {
        let mut log = self.recorder.log();
        // Numbers are consecutive, so the distance from the newest request gives the index in the
        // queue. A request that was reset or dropped meanwhile has no index.
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

//! Entries that may have to be finished, in the order of their checks.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tara_export_bundle::ExportId;
use tara_export_digest::Sha256;
use tokio::{sync::Notify, time::Instant};

/// Maximum number of candidates in memory, about 100 bytes each. If there are more, the oldest entries wait for a
/// later scan.
const MAX_CANDIDATES: usize = 50_000;
/// Maximum number of entries whose failures are tracked.
const MAX_RETRY_STATES: usize = 10_000;
/// The longest pause after failures, in intervals.
const MAX_PAUSE_INTERVALS: u32 = 12;

pub(super) type CandidateKey = (ExportId, Sha256);

/// An entry without an end marker that is old enough as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub export_id: ExportId,
    pub content_digest: Sha256,
    /// When the entry was written. `None` if the listing has no time. The entry may then be too young.
    pub modified_time: Option<DateTime<Utc>>,
}

/// Candidates to check. Candidates that never failed come first, and among equals the newest entry: a replica that was
/// just lost left new entries, while entries of committed exports without an end marker are older.
#[derive(Debug)]
pub(super) struct Candidates {
    interval: Duration,
    inner: Mutex<Inner>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: BTreeSet<Position>,
    in_progress: HashSet<CandidateKey>,
    retry_states: HashMap<CandidateKey, RetryState>,
    scan: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    failures: u32,
    modified_time: Reverse<Option<DateTime<Utc>>>,
    key: CandidateKey,
}

#[derive(Debug)]
struct RetryState {
    failures: u32,
    not_before: Instant,
    /// The last scan that found the entry.
    scan: u64,
}

impl Candidates {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, inner: Mutex::default(), added: Notify::new() }
    }

    pub(super) fn begin_scan(&self) {
        self.lock().scan += 1;
    }

    /// Forgets the failures of entries that the completed scan did not find.
    pub(super) fn end_scan(&self) {
        let mut inner = self.lock();
        let scan = inner.scan;
        inner.retry_states.retain(|_, state| state.scan == scan);
    }

    /// Adds an entry that a scan found. A suspect may crash the process and comes after all others.
    pub(super) fn offer(&self, candidate: Candidate, is_suspect: bool, now: Instant) {
        let mut inner = self.lock();
        let key = candidate.key();
        let scan = inner.scan;
        let mut failures = 0;
        if let Some(state) = inner.retry_states.get_mut(&key) {
            state.scan = scan;
            failures = state.failures;
            if state.not_before > now {
                return;
            }
        }
        if is_suspect {
            failures = u32::MAX;
        }
        if inner.in_progress.contains(&key) {
            return;
        }
        inner.waiting.insert(Position {
            failures,
            modified_time: Reverse(candidate.modified_time),
            key,
        });
        if inner.waiting.len() > MAX_CANDIDATES {
            inner.waiting.pop_last();
        }
        drop(inner);
        self.added.notify_one();
    }

    /// Waits for the next candidate. Offers of it are ignored until [`Self::done`] or [`Self::postpone`].
    pub(super) async fn next(&self) -> Candidate {
        loop {
            let added = self.added.notified();
            if let Some(candidate) = self.take() {
                return candidate;
            }
            added.await;
        }
    }

    fn take(&self) -> Option<Candidate> {
        let mut inner = self.lock();
        let Position { modified_time: Reverse(modified_time), key, .. } =
            inner.waiting.pop_first()?;
        inner.in_progress.insert(key);
        let has_more = !inner.waiting.is_empty();
        drop(inner);
        if has_more {
            self.added.notify_one();
        }
        let (export_id, content_digest) = key;
        Some(Candidate { export_id, content_digest, modified_time })
    }

    /// Releases a candidate that needs no more work now.
    pub(super) fn done(&self, candidate: &Candidate) {
        let mut inner = self.lock();
        inner.in_progress.remove(&candidate.key());
        inner.retry_states.remove(&candidate.key());
    }

    /// Releases a failed candidate until a later scan. The pause grows, except in an outage.
    pub(super) fn postpone(&self, candidate: &Candidate, is_outage: bool, now: Instant) {
        let mut inner = self.lock();
        let key = candidate.key();
        inner.in_progress.remove(&key);
        let failures = inner.retry_states.get(&key).map_or(0, |state| state.failures);
        let failures = failures.saturating_add(1);
        // After the first failure, the next scan retries, even if it starts slightly early.
        let intervals = match failures {
            1 => 0,
            _ if is_outage => 0,
            more => 2_u32.saturating_pow(more - 2).min(MAX_PAUSE_INTERVALS),
        };
        let state =
            RetryState { failures, not_before: now + self.interval * intervals, scan: inner.scan };
        if inner.retry_states.len() < MAX_RETRY_STATES || inner.retry_states.contains_key(&key) {
            inner.retry_states.insert(key, state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change leaves the state consistent, even if a panic interrupts it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Candidate {
    pub(super) fn key(&self) -> CandidateKey {
        (self.export_id, self.content_digest)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    fn candidate(number: u32) -> Candidate {
        let start: DateTime<Utc> = "2026-11-22T18:37:00Z".parse().unwrap();
        Candidate {
            export_id: ExportId::new(Uuid::from_u128(number.into())),
            content_digest: Sha256::of(b"content"),
            modified_time: Some(start + TimeDelta::seconds(number.into())),
        }
    }

    fn candidates() -> Candidates {
        let candidates = Candidates::new(INTERVAL);
        candidates.begin_scan();
        candidates
    }

    fn offer(candidates: &Candidates, numbers: impl IntoIterator<Item = u32>, now: Instant) {
        numbers.into_iter().for_each(|number| candidates.offer(candidate(number), false, now));
    }

    fn take_all(candidates: &Candidates) -> Vec<Candidate> {
        std::iter::from_fn(|| candidates.take()).collect()
    }

    fn expected(numbers: impl IntoIterator<Item = u32>) -> Vec<Candidate> {
        numbers.into_iter().map(candidate).collect()
    }

    #[test]
    fn newest_comes_first_and_failed_candidate_last() {
        let (candidates, now) = (candidates(), Instant::now());
        candidates.offer(candidate(9), true, now);
        offer(&candidates, [1, 3, 2, 3], now);
        assert_eq!(candidates.take(), Some(candidate(3)));
        candidates.postpone(&candidate(3), false, now);
        offer(&candidates, [3], now);
        assert_eq!(take_all(&candidates), expected([2, 1, 3, 9]));
    }

    #[test]
    fn candidate_in_progress_is_not_taken_again() {
        let (candidates, now) = (candidates(), Instant::now());
        offer(&candidates, [1], now);
        assert_eq!(take_all(&candidates), expected([1]));
        offer(&candidates, [1], now);
        assert_eq!(take_all(&candidates), []);
        candidates.done(&candidate(1));
        offer(&candidates, [1], now);
        assert_eq!(take_all(&candidates), expected([1]));
    }

    #[test]
    fn pauses_grow_except_in_an_outage() {
        let (candidates, mut now) = (candidates(), Instant::now());
        for (is_outage, intervals) in
            [(false, 0), (false, 1), (false, 2), (false, 4), (false, 8), (false, 12), (true, 0)]
        {
            offer(&candidates, [1], now);
            assert_eq!(take_all(&candidates), expected([1]));
            candidates.postpone(&candidate(1), is_outage, now);
            if intervals > 0 {
                now += INTERVAL * intervals - Duration::from_secs(1);
                offer(&candidates, [1], now);
                assert_eq!(take_all(&candidates), [], "{intervals}");
                now += Duration::from_secs(1);
            }
        }
        // The entry is gone: its failures are forgotten.
        candidates.begin_scan();
        candidates.end_scan();
        assert!(candidates.lock().retry_states.is_empty());
    }

    #[test]
    fn candidates_beyond_the_limit_drop_the_oldest() {
        let (candidates, now) = (candidates(), Instant::now());
        let (limit, more) = (u32::try_from(MAX_CANDIDATES).unwrap(), 100);
        offer(&candidates, 0..limit + more, now);
        let taken = take_all(&candidates);
        assert_eq!(taken.len(), MAX_CANDIDATES);
        assert_eq!(taken.last(), Some(&candidate(more)));
        for candidate in &taken {
            candidates.postpone(candidate, false, now);
        }
        assert_eq!(candidates.lock().retry_states.len(), MAX_RETRY_STATES);
    }
}

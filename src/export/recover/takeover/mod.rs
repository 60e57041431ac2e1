//! Takeover, for `JOURNAL=store`: accepted exports are also stored in S3, and any replica finishes the exports of a
//! lost machine. Step 17 of docs/design/commit-protocol.md.
//!
//! A scan (`scan.rs`) only lists the store's journal. Entries without an end marker that are old enough are candidates
//! (`candidates.rs`). Workers check candidates in parallel, newest entry first. Most candidates already have a bundle,
//! from a previous release or from a replica that crashed before it ended the entry, so only their entries are ended.
//! The other exports are finished (`finish.rs`), a few at a time.
//!
//! Invariant: apart from their part of the listing, committed exports do not add to the cost of a scan.

mod candidates;
mod finish;
mod first_seen;
mod scan;

use std::{
    collections::HashSet,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt as _;
use tara_export_store::Store;
use tokio::{
    sync::Semaphore,
    time::{self, Instant},
};

use self::{
    candidates::{Candidate, CandidateKey, Candidates},
    first_seen::FirstSeen,
};
use crate::export::{failure::Failure, shared::Shared};

/// Candidates that are checked in parallel. A check needs three small reads.
const PARALLEL_CHECKS: usize = 16;
/// Pause of a worker after S3 was unavailable.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// State that scans and workers share.
struct Takeover {
    shared: Arc<Shared>,
    s3: Arc<dyn Store>,
    candidates: Candidates,
    first_seen: FirstSeen,
    /// Permits for finishing exports in parallel.
    permits: Semaphore,
    permit_count: u32,
    /// Entries that are quarantined on this machine, as far as they were checked.
    quarantined: Mutex<HashSet<CandidateKey>>,
}

/// Scans for exports that their replica does not finish, until the server stops.
pub(in crate::export) async fn watch(shared: Arc<Shared>) {
    let Some(s3) = shared.stores.s3.clone() else { return };
    let takeover = Arc::new(Takeover::new(shared.clone(), s3));
    for _ in 0..PARALLEL_CHECKS {
        shared.tasks.spawn(work(takeover.clone()));
    }
    loop {
        let pause = shared.jittered(shared.settings.takeover_interval);
        tokio::select! {
            () = time::sleep(pause) => {}
            () = shared.draining.cancelled() => return,
        }
        let scanned = tokio::select! {
            scanned = scan::scan(&takeover) => scanned,
            () = shared.draining.cancelled() => return,
        };
        if let Err(error) = scanned {
            tracing::warn!(%error, "cannot list the store's journal");
        }
    }
}

/// Checks and finishes candidates until the server stops.
async fn work(takeover: Arc<Takeover>) {
    let shared = &takeover.shared;
    loop {
        let candidate = tokio::select! {
            candidate = takeover.candidates.next() => candidate,
            () = shared.draining.cancelled() => return,
        };
        let is_outage = tokio::select! {
            is_outage = takeover.work_on(candidate) => is_outage,
            () = shared.aborting.cancelled() => return,
        };
        if is_outage {
            tokio::select! {
                () = time::sleep(PAUSE_AFTER_FAILURE) => {}
                () = shared.draining.cancelled() => return,
            }
        }
    }
}

impl Takeover {
    fn new(shared: Arc<Shared>, s3: Arc<dyn Store>) -> Self {
        let permit_count = u32::try_from(shared.settings.backlog_concurrency).unwrap_or(1).max(1);
        Self {
            candidates: Candidates::new(shared.settings.takeover_interval),
            first_seen: FirstSeen::default(),
            permits: Semaphore::new(permit_count as usize),
            permit_count,
            quarantined: Mutex::default(),
            s3,
            shared,
        }
    }

    /// Checks a candidate and finishes its export if necessary. Returns whether S3 is unavailable.
    async fn work_on(&self, candidate: Candidate) -> bool {
        // A panic must not affect other entries.
        let checked = AssertUnwindSafe(self.check(&candidate)).catch_unwind().await;
        let failure = match checked.unwrap_or_else(|_| Err(Failure::of_panic())) {
            Ok(()) => {
                self.candidates.done(&candidate);
                return false;
            }
            Err(failure) => failure,
        };
        let (export_id, is_outage) = (candidate.export_id, failure.is_outage());
        tracing::warn!(
            %export_id, reason = %failure.reason, error = failure.message,
            "cannot finish an entry of the store's journal; retrying after a later scan"
        );
        self.candidates.postpone(&candidate, is_outage, Instant::now());
        is_outage
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

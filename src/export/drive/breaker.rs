//! A circuit breaker: skips S3 during a known outage, so that exports do not wait for it one after the other.
//!
//! Allows one trial at a time, as in Nygard's "Release It!". Existing crates wrap a single call. Here the call is a
//! complete export, and several of its results say nothing about S3.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::export::failure::Failure;

/// The longest pause, as a multiple of the configured pause.
const MAX_PAUSE_FACTOR: u32 = 12;

/// Circuit breaker for S3.
#[derive(Debug)]
pub(in crate::export) struct Breaker {
    /// The pause after the first failure. Each further failure doubles it. Zero disables the breaker.
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// S3 works, as far as known.
    Closed,
    /// S3 failed and is skipped.
    Open { outage: Failure, pauses: u32, until: Instant, trial: bool },
}

/// A permit to try S3. Dropping it without a result does not change the breaker.
#[derive(Debug)]
pub(in crate::export) struct Trial<'a> {
    breaker: &'a Breaker,
    /// Whether this is the single trial of an open breaker.
    is_exclusive: bool,
}

impl Breaker {
    pub(in crate::export) fn new(pause: Duration) -> Self {
        Self { pause, state: Mutex::new(State::Closed) }
    }

    /// Acquires a permit to try S3.
    ///
    /// # Errors
    /// The outage, if the pause is not over or another trial is in progress.
    pub(in crate::export) fn try_s3(&self) -> Result<Trial<'_>, Failure> {
        let mut state = self.lock();
        let is_exclusive = match &mut *state {
            State::Closed => false,
            State::Open { until, trial, .. } if *until <= Instant::now() && !*trial => {
                *trial = true;
                true
            }
            State::Open { outage, .. } => return Err(outage.clone()),
        };
        Ok(Trial { breaker: self, is_exclusive })
    }

    /// The time until which S3 is skipped. `None` if S3 may be tried now.
    pub(in crate::export) fn open_until(&self) -> Option<Instant> {
        match &*self.lock() {
            State::Open { until, .. } if *until > Instant::now() => Some(*until),
            // A trial is in progress and will report its result.
            State::Open { trial: true, .. } => Some(Instant::now() + self.pause),
            State::Closed | State::Open { .. } => None,
        }
    }

    /// The current outage.
    pub(in crate::export) fn outage(&self) -> Option<Failure> {
        match &*self.lock() {
            State::Open { outage, .. } => Some(outage.clone()),
            State::Closed => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trial<'_> {
    /// Closes the breaker. Returns whether this ends an outage.
    pub(in crate::export) fn succeeded(self) -> bool {
        let mut state = self.breaker.lock();
        let ends_outage = matches!(*state, State::Open { .. });
        if ends_outage {
            tracing::info!("S3 is available again");
            *state = State::Closed;
        }
        ends_outage
    }

    /// Opens the breaker: S3 did not respond, or responded that it is unavailable.
    pub(in crate::export) fn failed(self, outage: Failure) {
        if self.breaker.pause.is_zero() {
            return;
        }
        let mut state = self.breaker.lock();
        let pauses = match &*state {
            State::Closed => 1,
            // Of several trials that were in progress when the outage began, only the first one counts.
            State::Open { pauses, .. } if !self.is_exclusive => *pauses,
            State::Open { pauses, .. } => (pauses * 2).min(MAX_PAUSE_FACTOR),
        };
        let until = Instant::now() + self.breaker.pause * pauses;
        *state = State::Open { outage, pauses, until, trial: false };
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.is_exclusive
            && let State::Open { trial, .. } = &mut *self.breaker.lock()
        {
            *trial = false;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::time;

    use super::*;
    use crate::export::failure::FailureReason;

    fn outage() -> Failure {
        Failure { reason: FailureReason::StoreUnavailable, message: "no response".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn one_trial_at_a_time_is_allowed_after_the_pause() {
        let breaker = Breaker::new(Duration::from_secs(5));
        breaker.try_s3().unwrap().failed(outage());
        assert_eq!(breaker.try_s3().unwrap_err(), outage());
        time::advance(Duration::from_secs(5)).await;
        let trial = breaker.try_s3().unwrap();
        assert!(breaker.try_s3().is_err(), "second trial while the first is in progress");
        trial.failed(outage());
        time::advance(Duration::from_secs(5)).await;
        assert!(breaker.try_s3().is_err(), "the pause did not grow");
        time::advance(Duration::from_secs(5)).await;
        assert!(breaker.try_s3().unwrap().succeeded());
        assert!(breaker.try_s3().is_ok() && breaker.outage().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_trial_allows_another_trial() {
        let breaker = Breaker::new(Duration::from_secs(5));
        breaker.try_s3().unwrap().failed(outage());
        time::advance(Duration::from_secs(5)).await;
        drop(breaker.try_s3().unwrap());
        assert!(breaker.try_s3().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn pause_has_a_limit_and_concurrent_failures_count_once() {
        let breaker = Breaker::new(Duration::from_secs(5));
        let concurrent: Vec<_> = (0..10).map(|_| breaker.try_s3().unwrap()).collect();
        concurrent.into_iter().for_each(|trial| trial.failed(outage()));
        time::advance(Duration::from_secs(5)).await;
        for _ in 0..10 {
            breaker.try_s3().unwrap().failed(outage());
            time::advance(Duration::from_secs(60)).await;
        }
        assert!(breaker.try_s3().is_ok());
    }
}

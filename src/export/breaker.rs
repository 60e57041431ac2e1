//! Keeps exports from waiting out, one after the other, an outage that is known already.
//!
//! A circuit breaker with one trial at a time, as in Nygard's "Release It!". The crates for it wrap a
//! call; here the call is a whole export, which may end in several ways that say nothing about S3.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::FailureReason;

/// The longest pause, in pauses of the setting.
const LONGEST_PAUSE: u32 = 12;

/// Knows whether S3 is worth a try.
#[derive(Debug)]
pub(super) struct Breaker {
    /// The pause after the first failure; each further one doubles it. Zero: always worth a try.
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// S3 works, as far as known.
    Closed,
    /// S3 failed.
    Open { outage: Outage, pauses: u32, until: Instant, trial: bool },
}

/// Why S3 is not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outage {
    pub reason: FailureReason,
    pub message: String,
}

/// The right to try S3. Dropped without a verdict, it leaves things as they are.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    breaker: &'a Breaker,
    is_the_trial: bool,
}

impl Breaker {
    pub(super) fn new(pause: Duration) -> Self {
        Self { pause, state: Mutex::new(State::Closed) }
    }

    /// The right to try S3.
    ///
    /// # Errors
    /// The outage, while it is too early for another try or somebody else is at it.
    pub(super) fn try_s3(&self) -> Result<Trial<'_>, Outage> {
        let mut state = self.lock();
        let is_the_trial = match &mut *state {
            State::Closed => false,
            State::Open { until, trial, .. } if *until <= Instant::now() && !*trial => {
                *trial = true;
                true
            }
            State::Open { outage, .. } => return Err(outage.clone()),
        };
        Ok(Trial { breaker: self, is_the_trial })
    }

    /// When S3 may be tried again; none where it may be now.
    pub(super) fn closed_until(&self) -> Option<Instant> {
        match &*self.lock() {
            State::Open { until, .. } if *until > Instant::now() => Some(*until),
            // Whoever tries it now says how it went.
            State::Open { trial: true, .. } => Some(Instant::now() + self.pause),
            State::Closed | State::Open { .. } => None,
        }
    }

    /// The outage that is known of.
    pub(super) fn outage(&self) -> Option<Outage> {
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
    /// S3 did its work. Whether that ends an outage.
    pub(super) fn succeeded(self) -> bool {
        let mut state = self.breaker.lock();
        let ends_outage = matches!(*state, State::Open { .. });
        if ends_outage {
            tracing::info!("S3 works again");
            *state = State::Closed;
        }
        ends_outage
    }

    /// S3 did not answer, or said that it can't.
    pub(super) fn failed(self, outage: Outage) {
        if self.breaker.pause.is_zero() {
            return;
        }
        let mut state = self.breaker.lock();
        let pauses = match &*state {
            State::Closed => 1,
            // Of several that were at it when the outage began, the first has said it.
            State::Open { pauses, .. } if !self.is_the_trial => *pauses,
            State::Open { pauses, .. } => (pauses * 2).min(LONGEST_PAUSE),
        };
        let until = Instant::now() + self.breaker.pause * pauses;
        *state = State::Open { outage, pauses, until, trial: false };
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.is_the_trial
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

    fn outage() -> Outage {
        Outage { reason: FailureReason::StoreUnavailable, message: "no answer".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_one_at_a_time_tries_again_when_the_pause_is_over() {
        let breaker = Breaker::new(Duration::from_secs(5));
        breaker.try_s3().unwrap().failed(outage());
        assert_eq!(breaker.try_s3().unwrap_err(), outage());
        time::advance(Duration::from_secs(5)).await;
        let trial = breaker.try_s3().unwrap();
        assert!(breaker.try_s3().is_err(), "a second trial beside the first");
        trial.failed(outage());
        time::advance(Duration::from_secs(5)).await;
        assert!(breaker.try_s3().is_err(), "the pause did not grow");
        time::advance(Duration::from_secs(5)).await;
        assert!(breaker.try_s3().unwrap().succeeded());
        assert!(breaker.try_s3().is_ok() && breaker.outage().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_dropped_leaves_room_for_another() {
        let breaker = Breaker::new(Duration::from_secs(5));
        breaker.try_s3().unwrap().failed(outage());
        time::advance(Duration::from_secs(5)).await;
        drop(breaker.try_s3().unwrap());
        assert!(breaker.try_s3().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_end_growing_and_many_failures_at_once_count_once() {
        let breaker = Breaker::new(Duration::from_secs(5));
        let together: Vec<_> = (0..10).map(|_| breaker.try_s3().unwrap()).collect();
        together.into_iter().for_each(|trial| trial.failed(outage()));
        time::advance(Duration::from_secs(5)).await;
        for _ in 0..10 {
            breaker.try_s3().unwrap().failed(outage());
            time::advance(Duration::from_secs(60)).await;
        }
        assert!(breaker.try_s3().is_ok());
    }
}

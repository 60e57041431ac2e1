//! The limit of additional requests: a token bucket, and a pause while S3 throttles.

use std::time::Duration;

use tokio::time::Instant;

use super::HedgeResult;

/// One additional request is allowed for this number of requests: 5 %.
const REQUESTS_PER_TOKEN: i64 = 20;

/// The maximum number of additional requests in a burst.
const MAX_TOKENS: i64 = 10;

/// Tokens that are reserved for urgent requests.
const RESERVED_TOKENS: i64 = 5;

/// How long no request is sent twice after S3 throttled one.
const THROTTLE_PAUSE: Duration = Duration::from_secs(10);

/// How long a request has waited for its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// As long as one request in twenty. These alone would use up the budget.
    Long,
    /// Still longer.
    Urgent,
}

/// A token bucket that requests fill. Empty at the start, so that at no time more than 5 % of the requests since the
/// start were sent twice.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// In parts of a token; below zero after comparisons.
    parts: i64,
    paused_until: Option<Instant>,
}

impl Budget {
    /// Counts a request.
    pub(super) fn add_request(&mut self) {
        self.parts = (self.parts + 1).min(MAX_TOKENS * REQUESTS_PER_TOKEN);
    }

    /// Takes a token for an additional request, if there is one.
    pub(super) fn take(&mut self, wait: Wait, now: Instant) -> Result<(), HedgeResult> {
        if self.paused_until.is_some_and(|until| now < until) {
            return Err(HedgeResult::Throttled);
        }
        let reserved = match wait {
            Wait::Long => RESERVED_TOKENS,
            Wait::Urgent => 0,
        };
        if self.parts < (reserved + 1) * REQUESTS_PER_TOKEN {
            return Err(HedgeResult::NoBudget);
        }
        self.parts -= REQUESTS_PER_TOKEN;
        Ok(())
    }

    /// Charges the further request of a caller that compares an object after a put was sent twice.
    pub(super) fn charge_comparison(&mut self) {
        self.parts -= REQUESTS_PER_TOKEN;
    }

    /// Allows no additional requests for some time, because S3 throttles.
    pub(super) fn pause(&mut self, now: Instant) {
        self.paused_until = Some(now + THROTTLE_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additional_requests_are_at_most_5_percent() {
        let now = Instant::now();
        let mut budget = Budget::default();
        let mut taken = 0;
        for requests in 1..=10_000 {
            budget.add_request();
            taken += i64::from(budget.take(Wait::Urgent, now).is_ok());
            assert!(taken * REQUESTS_PER_TOKEN <= requests, "{taken} of {requests}");
        }
        assert_eq!(taken, 500);
    }

    #[test]
    fn burst_is_limited() {
        let now = Instant::now();
        let mut budget = Budget::default();
        (0..100_000).for_each(|_| budget.add_request());
        let taken = std::iter::repeat_with(|| budget.take(Wait::Urgent, now))
            .take_while(Result::is_ok)
            .count();
        assert_eq!(taken, 10);
        assert_eq!(budget.take(Wait::Urgent, now), Err(HedgeResult::NoBudget));
    }

    #[test]
    fn comparison_counts_as_an_additional_request() {
        let now = Instant::now();
        let mut budget = Budget::default();
        (0..20).for_each(|_| budget.add_request());
        assert_eq!(budget.take(Wait::Urgent, now), Ok(()));
        budget.charge_comparison();
        (0..39).for_each(|_| budget.add_request());
        assert_eq!(budget.take(Wait::Urgent, now), Err(HedgeResult::NoBudget));
        budget.add_request();
        assert_eq!(budget.take(Wait::Urgent, now), Ok(()));
    }

    #[test]
    fn half_of_a_burst_is_for_urgent_requests() {
        let now = Instant::now();
        let mut budget = Budget::default();
        (0..1_000).for_each(|_| budget.add_request());
        let mut taken = |wait| {
            let taken = std::iter::repeat_with(|| budget.take(wait, now));
            taken.take_while(Result::is_ok).count()
        };
        assert_eq!((taken(Wait::Long), taken(Wait::Urgent)), (5, 5));
    }

    #[test]
    fn throttling_pauses() {
        let now = Instant::now();
        let mut budget = Budget::default();
        (0..100).for_each(|_| budget.add_request());
        budget.pause(now);
        let almost = now + THROTTLE_PAUSE - Duration::from_millis(1);
        assert_eq!(budget.take(Wait::Urgent, almost), Err(HedgeResult::Throttled));
        assert_eq!(budget.take(Wait::Urgent, now + THROTTLE_PAUSE), Ok(()));
    }
}

//! Hedged requests: a request whose response takes unusually long is sent a second time, and the first answer counts.
//!
//! The second request uses another connection, because the first one occupies its own until it ends (HTTP/1.1). The
//! request that lost is dropped, which closes its connection. It may still take effect later, as a put whose response
//! was lost. So only reads are hedged, and conditional puts of keys that the service never deletes
//! ([`ObjectKey::permanent`](crate::ObjectKey::permanent)). docs/adr/0031-hedged-requests.md has the reasons.

mod budget;
mod response_times;

use std::{
    fmt,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use self::{
    budget::{Budget, Wait},
    response_times::ResponseTimes,
};
use super::{
    super::{ObjectKey, Payload, PutOutcome, StoreErrorKind},
    RequestObserver,
    failure::Failure,
};

/// The minimum delay of a second request, so that a server on the same machine gets none.
const MIN_DELAY: Duration = Duration::from_millis(10);

/// The largest put that is hedged. Larger ones are slow because of their size, and sending them twice takes the
/// bandwidth of others.
const MAX_PUT_BYTES: usize = 1024 * 1024;

/// The largest put of the class of small ones.
const SMALL_PUT_BYTES: usize = 64 * 1024;

/// Requests whose response times are comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestClass {
    SmallPut,
    MediumPut,
    Head,
    /// Until the response begins.
    Get,
    List,
}

impl RequestClass {
    const COUNT: usize = 5;

    /// The class of a put. `None` if it must not be sent twice.
    pub(super) fn of_put(key: &ObjectKey, payload: &Payload) -> Option<Self> {
        let size_bytes = payload.bytes.len();
        if !key.is_permanent() || size_bytes > MAX_PUT_BYTES {
            return None;
        }
        Some(if size_bytes <= SMALL_PUT_BYTES { Self::SmallPut } else { Self::MediumPut })
    }

    /// The name of the operation in metrics.
    fn operation(self) -> &'static str {
        match self {
            Self::SmallPut | Self::MediumPut => "PutObject",
            Self::Head => "HeadObject",
            Self::Get => "GetObject",
            Self::List => "ListObjectsV2",
        }
    }
}

/// Which of the two requests is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Second,
}

/// The outcome of a hedged request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeResult {
    /// The second request was answered first.
    Won,
    /// The first request was answered first.
    Lost,
    /// The second request failed, or both did.
    Failed,
    /// Not sent twice: the budget of additional requests was used up.
    NoBudget,
    /// Not sent twice: S3 throttled requests a short time ago.
    Throttled,
    /// Not sent twice: as many requests as allowed were in flight.
    Busy,
}

impl HedgeResult {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Won, Self::Lost, Self::Failed, Self::NoBudget, Self::Throttled, Self::Busy];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::NoBudget => "no_budget",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
        }
    }
}

/// An answer that a caller can use at once, or after a comparison.
pub(super) trait Answer {
    /// Whether the answer may be the effect of the other request, so that the caller sends a further request to compare.
    fn may_be_own_effect(&self) -> bool {
        false
    }
}

impl Answer for PutOutcome {
    fn may_be_own_effect(&self) -> bool {
        *self == Self::Exists
    }
}

/// Decides which requests are sent twice.
pub(super) struct Hedging {
    state: Mutex<State>,
    observer: Option<Arc<dyn RequestObserver>>,
}

#[derive(Default)]
struct State {
    response_times: [ResponseTimes; RequestClass::COUNT],
    budget: Budget,
}

impl fmt::Debug for Hedging {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hedging").finish_non_exhaustive()
    }
}

impl Hedging {
    pub(super) fn new(observer: Option<Arc<dyn RequestObserver>>) -> Self {
        Self { state: Mutex::default(), observer }
    }

    /// Takes note of a failed request: S3 may throttle.
    pub(super) fn failed(&self, failure: &Failure) {
        if failure.is_throttled() {
            self.state().budget.pause(Instant::now());
        }
    }

    /// Sends a request, and sends it again while its response takes longer than 95 % of its class. A request without a
    /// class is sent once. The caller has a permit for the first request; the second one needs a free permit.
    pub(super) async fn race<T, F>(
        &self,
        class: Option<RequestClass>,
        permits: &Semaphore,
        send: impl Fn(Attempt) -> F,
    ) -> Result<T, Failure>
    where
        T: Answer,
        F: Future<Output = Result<T, Failure>>,
    {
        let since = Instant::now();
        self.state().budget.add_request();
        let first = pin!(send(Attempt::First));
        let result = match class {
            Some(class) => self.race_of_class(class, permits, first, &send).await,
            None => first.await,
        };
        match &result {
            Err(failure) if !is_answer(&result) => self.failed(failure),
            // If the second request won, the first one took at least that long. Without these times, the measured
            // times would not contain the slow ones any more, and the delay would become shorter and shorter.
            _ => {
                if let Some(class) = class {
                    self.state().response_times[class as usize].add(since.elapsed());
                }
            }
        }
        result
    }

    async fn race_of_class<T, F>(
        &self,
        class: RequestClass,
        permits: &Semaphore,
        mut first: Pin<&mut F>,
        send: &impl Fn(Attempt) -> F,
    ) -> Result<T, Failure>
    where
        T: Answer,
        F: Future<Output = Result<T, Failure>>,
    {
        let usual = self.state().response_times[class as usize].usual();
        let Some(usual) = usual else { return first.await };
        let mut delay = usual.p95.max(MIN_DELAY);
        let mut wait = Wait::Long;
        let mut refused = None;
        let _permit = loop {
            tokio::select! {
                biased;
                result = &mut first => {
                    refused.inspect(|reason| self.report(class, *reason));
                    return result;
                }
                () = sleep(delay) => {}
            }
            match self.may_send(wait, permits) {
                Ok(permit) => break permit,
                // The longer a response takes, the more it helps to send the request again: try until it arrives.
                Err(reason) => {
                    refused.get_or_insert(reason);
                    wait = Wait::Urgent;
                    delay = usual.median.max(MIN_DELAY);
                }
            }
        };
        let mut second = pin!(send(Attempt::Second));
        let (result, outcome) = tokio::select! {
            biased;
            result = &mut first => match result {
                // Answered, but perhaps because of the second request.
                Ok(answer) if answer.may_be_own_effect() => {
                    (Ok(self.settle(answer, second, usual.median).await), HedgeResult::Lost)
                }
                // Two puts of one key at the same time. The other one counts.
                Err(failure) if failure.status == Some(409) => match second.await {
                    Ok(answer) => (Ok(answer), HedgeResult::Won),
                    Err(_) => (Err(failure), HedgeResult::Failed),
                },
                // A failure stays visible to the caller, which may check that the store is still the same one.
                result => (result, HedgeResult::Lost),
            },
            result = &mut second => {
                match result {
                    Ok(answer) if answer.may_be_own_effect() => {
                        (Ok(self.settle(answer, first, usual.median).await), HedgeResult::Won)
                    }
                    result if is_answer(&result) => (result, HedgeResult::Won),
                    Err(failure) => {
                        self.failed(&failure);
                        (first.await, HedgeResult::Failed)
                    }
                    result => (result, HedgeResult::Won),
                }
            },
        };
        self.report(class, outcome);
        result
    }

    /// Waits for the other request while that takes no longer than the comparison for which the caller would send a
    /// further request.
    async fn settle<T, F>(&self, answer: T, other: Pin<&mut F>, patience: Duration) -> T
    where
        T: Answer,
        F: Future<Output = Result<T, Failure>>,
    {
        match tokio::time::timeout(patience, other).await {
            Ok(Ok(other)) if !other.may_be_own_effect() => other,
            _ => {
                self.state().budget.charge_comparison();
                answer
            }
        }
    }

    fn may_send<'a>(
        &self,
        wait: Wait,
        permits: &'a Semaphore,
    ) -> Result<tokio::sync::SemaphorePermit<'a>, HedgeResult> {
        let permit = permits.try_acquire().map_err(|_| HedgeResult::Busy)?;
        self.state().budget.take(wait, Instant::now())?;
        Ok(permit)
    }

    fn report(&self, class: RequestClass, result: HedgeResult) {
        if let Some(observer) = &self.observer {
            observer.hedged(class.operation(), result);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether S3 answered the request. "Not found" is an answer to a read.
fn is_answer<T>(result: &Result<T, Failure>) -> bool {
    match result {
        Ok(_) => true,
        Err(failure) => failure.kind == StoreErrorKind::NotFound && failure.status == Some(404),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

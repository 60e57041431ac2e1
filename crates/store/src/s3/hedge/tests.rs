//! Which of two requests counts, on tokio's paused time.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_s3::{error::ErrorMetadata, operation::put_object::PutObjectError};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use tara_export_digest::Sha256;
use tracing::Span;

use super::{super::EndedRequest, *};

const MILLISECOND: Duration = Duration::from_millis(1);
/// The response time of usual requests, and so both median and p95.
const USUAL: Duration = Duration::from_millis(40);

type Outcome = Result<PutOutcome, Failure>;

/// Collects the results of hedged requests.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<HedgeResult>>);

impl RequestObserver for Seen {
    fn sent(&self, _: &str) -> Span {
        Span::none()
    }

    fn ended(&self, _: &EndedRequest<'_>) {}

    fn hedged(&self, operation: &'static str, result: HedgeResult) {
        assert_eq!(operation, "PutObject");
        self.0.lock().unwrap().push(result);
    }
}

/// Hedging with usual response times and a full budget.
struct Fixture {
    hedging: Hedging,
    seen: Arc<Seen>,
    permits: Semaphore,
    sent: AtomicUsize,
}

impl Fixture {
    async fn new() -> Self {
        let fixture = Self::without_history();
        fixture.send_usual(200).await;
        fixture.sent.store(0, Ordering::Relaxed);
        fixture
    }

    fn without_history() -> Self {
        let seen = Arc::<Seen>::default();
        Self {
            hedging: Hedging::new(Some(seen.clone())),
            seen,
            permits: Semaphore::new(100),
            sent: AtomicUsize::new(0),
        }
    }

    async fn send_usual(&self, count: usize) {
        for _ in 0..count {
            let usual = || after(USUAL, Ok(PutOutcome::Created));
            self.put(usual, || unreachable!("a usual request is sent once")).await.unwrap();
        }
    }

    /// Puts a small object with these responses to the first and the second request.
    async fn put(
        &self,
        first: impl Fn() -> BoxFuture<'static, Outcome>,
        second: impl Fn() -> BoxFuture<'static, Outcome>,
    ) -> Outcome {
        self.put_of_class(Some(RequestClass::SmallPut), first, second).await
    }

    async fn put_of_class(
        &self,
        class: Option<RequestClass>,
        first: impl Fn() -> BoxFuture<'static, Outcome>,
        second: impl Fn() -> BoxFuture<'static, Outcome>,
    ) -> Outcome {
        let send = |attempt| {
            self.sent.fetch_add(1, Ordering::Relaxed);
            match attempt {
                Attempt::First => first(),
                Attempt::Second => second(),
            }
        };
        self.hedging.race(class, &self.permits, send).await
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    fn results(&self) -> Vec<HedgeResult> {
        self.seen.0.lock().unwrap().clone()
    }
}

fn after(time: Duration, outcome: Outcome) -> BoxFuture<'static, Outcome> {
    async move {
        sleep(time).await;
        outcome
    }
    .boxed()
}

fn never() -> BoxFuture<'static, Outcome> {
    std::future::pending().boxed()
}

fn failure(status: u16, code: &str) -> Failure {
    let response =
        aws_sdk_s3::config::http::HttpResponse::new(status.try_into().unwrap(), "".into());
    let metadata = ErrorMetadata::builder().code(code).build();
    aws_sdk_s3::error::SdkError::service_error(PutObjectError::generic(metadata), response).into()
}

#[tokio::test(start_paused = true)]
async fn slow_request_is_sent_again_after_the_usual_time() {
    let fixture = Fixture::new().await;
    let since = Instant::now();
    let put = fixture.put(never, || after(25 * MILLISECOND, Ok(PutOutcome::Created))).await;
    assert_eq!(put.unwrap(), PutOutcome::Created);
    let elapsed = since.elapsed();
    assert!((USUAL + 25 * MILLISECOND..USUAL + 30 * MILLISECOND).contains(&elapsed), "{elapsed:?}");
    assert_eq!(fixture.results(), [HedgeResult::Won]);
}

#[tokio::test(start_paused = true)]
async fn first_response_counts_if_it_is_faster() {
    let fixture = Fixture::new().await;
    let first = || after(USUAL * 2, Ok(PutOutcome::Created));
    assert_eq!(fixture.put(first, never).await.unwrap(), PutOutcome::Created);
    assert_eq!((fixture.sent(), fixture.results()), (2, vec![HedgeResult::Lost]));
}

#[tokio::test(start_paused = true)]
async fn request_without_a_class_is_sent_once() {
    let fixture = Fixture::new().await;
    let first = || after(Duration::from_secs(600), Ok(PutOutcome::Created));
    fixture.put_of_class(None, first, never).await.unwrap();
    assert_eq!((fixture.sent(), fixture.results()), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn request_is_sent_once_before_the_usual_time_is_known() {
    let fixture = Fixture::without_history();
    fixture.send_usual(49).await;
    let first = || after(Duration::from_secs(600), Ok(PutOutcome::Created));
    fixture.put(first, never).await.unwrap();
    assert_eq!((fixture.sent(), fixture.results()), (50, vec![]));
}

#[tokio::test(start_paused = true)]
async fn fast_server_gets_no_second_request_within_the_minimum_delay() {
    let fixture = Fixture::without_history();
    for _ in 0..200 {
        fixture.put(|| after(MILLISECOND, Ok(PutOutcome::Created)), never).await.unwrap();
    }
    fixture.put(|| after(9 * MILLISECOND, Ok(PutOutcome::Created)), never).await.unwrap();
    assert_eq!(fixture.sent(), 201);
}

#[tokio::test(start_paused = true)]
async fn failure_of_the_first_request_stays_visible() {
    let fixture = Fixture::new().await;
    let first = || after(USUAL * 2, Err(failure(500, "InternalError")));
    let failed = fixture.put(first, never).await.unwrap_err();
    assert_eq!(failed.status, Some(500));
    assert_eq!(fixture.results(), [HedgeResult::Lost]);
}

#[tokio::test(start_paused = true)]
async fn failure_of_the_second_request_does_not_count() {
    let fixture = Fixture::new().await;
    let first = || after(USUAL * 3, Ok(PutOutcome::Created));
    let second = || after(MILLISECOND, Err(failure(500, "InternalError")));
    assert_eq!(fixture.put(first, second).await.unwrap(), PutOutcome::Created);
    assert_eq!(fixture.results(), [HedgeResult::Failed]);
}

#[tokio::test(start_paused = true)]
async fn conflict_of_both_requests_leaves_the_decision_to_the_second() {
    let fixture = Fixture::new().await;
    let first = || after(USUAL * 2, Err(failure(409, "ConditionalRequestConflict")));
    let second = || after(USUAL * 2, Ok(PutOutcome::Created));
    assert_eq!(fixture.put(first, second).await.unwrap(), PutOutcome::Created);
    assert_eq!(fixture.results(), [HedgeResult::Won]);
}

#[tokio::test(start_paused = true)]
async fn object_that_the_first_request_created_is_reported_as_created() {
    let fixture = Fixture::new().await;
    let first = || after(USUAL + 20 * MILLISECOND, Ok(PutOutcome::Created));
    let second = || after(10 * MILLISECOND, Ok(PutOutcome::Exists));
    assert_eq!(fixture.put(first, second).await.unwrap(), PutOutcome::Created);
}

#[tokio::test(start_paused = true)]
async fn object_that_the_second_request_created_is_reported_as_created() {
    let fixture = Fixture::new().await;
    let first = || after(USUAL + 10 * MILLISECOND, Ok(PutOutcome::Exists));
    let second = || after(20 * MILLISECOND, Ok(PutOutcome::Created));
    assert_eq!(fixture.put(first, second).await.unwrap(), PutOutcome::Created);
}

#[tokio::test(start_paused = true)]
async fn object_of_unknown_origin_exists_and_its_comparison_is_charged() {
    let fixture = Fixture::new().await;
    let put = || fixture.put(never, || after(MILLISECOND, Ok(PutOutcome::Exists)));
    let since = Instant::now();
    assert_eq!(put().await.unwrap(), PutOutcome::Exists);
    // Waited for the first response as long as a comparison usually takes.
    assert!(since.elapsed() < USUAL * 2 + 5 * MILLISECOND, "{:?}", since.elapsed());
    // The burst of ten was five puts and their comparisons.
    for _ in 0..4 {
        put().await.unwrap();
    }
    let first = || after(Duration::from_secs(1), Ok(PutOutcome::Created));
    fixture.put(first, never).await.unwrap();
    assert_eq!(fixture.results()[5..], [HedgeResult::NoBudget]);
}

#[tokio::test(start_paused = true)]
async fn of_200_slow_requests_at_most_5_percent_and_a_burst_are_sent_again() {
    let fixture = Fixture::new().await;
    for _ in 0..200 {
        let first = || after(Duration::from_secs(2), Ok(PutOutcome::Created));
        fixture.put(first, || after(MILLISECOND, Ok(PutOutcome::Created))).await.unwrap();
    }
    // 10 of the burst, and one for each 20 requests. Afterwards, slow is usual.
    assert!((201..=220).contains(&fixture.sent()), "{} requests", fixture.sent());
    assert!(fixture.results().contains(&HedgeResult::NoBudget));
}

#[tokio::test(start_paused = true)]
async fn request_without_a_free_token_is_sent_again_when_there_is_one() {
    let fixture = Fixture::without_history();
    fixture.send_usual(60).await;
    for _ in 0..3 {
        fixture.put(never, || after(MILLISECOND, Ok(PutOutcome::Created))).await.unwrap();
    }
    let since = Instant::now();
    let slow = async {
        let put = fixture.put(never, || after(MILLISECOND, Ok(PutOutcome::Created))).await;
        (put, since.elapsed())
    };
    // Each of these adds a twentieth of a token.
    let ((put, elapsed), ()) = futures::join!(slow, fixture.send_usual(20));
    assert_eq!(put.unwrap(), PutOutcome::Created);
    // 63 requests filled three tokens, which were taken: the 80th one fills the fourth.
    assert!(elapsed >= USUAL * 15, "{elapsed:?}");
    assert_eq!(fixture.results(), [HedgeResult::Won; 4]);
}

#[tokio::test(start_paused = true)]
async fn throttling_stops_second_requests_for_ten_seconds() {
    let fixture = Fixture::new().await;
    let throttled = || after(MILLISECOND, Err(failure(503, "SlowDown")));
    fixture.put(throttled, never).await.unwrap_err();
    let slow = || after(Duration::from_secs(9), Ok(PutOutcome::Created));
    fixture.put(slow, never).await.unwrap();
    assert_eq!((fixture.sent(), fixture.results()), (2, vec![HedgeResult::Throttled]));
    sleep(Duration::from_secs(1)).await;
    fixture.put(never, || after(MILLISECOND, Ok(PutOutcome::Created))).await.unwrap();
    assert_eq!(fixture.results(), [HedgeResult::Throttled, HedgeResult::Won]);
}

#[tokio::test(start_paused = true)]
async fn second_request_needs_a_free_permit() {
    let fixture = Fixture::new().await;
    let all = fixture.permits.acquire_many(100).await.unwrap();
    let first = || after(Duration::from_secs(1), Ok(PutOutcome::Created));
    fixture.put(first, never).await.unwrap();
    assert_eq!((fixture.sent(), fixture.results()), (1, vec![HedgeResult::Busy]));
    drop(all);
    fixture.put(never, || after(MILLISECOND, Ok(PutOutcome::Created))).await.unwrap();
    assert_eq!(fixture.permits.available_permits(), 100, "both permits are returned");
}

#[test]
fn only_small_puts_of_permanent_keys_have_a_class() {
    let payload = |size_bytes: usize| {
        Payload::new(Bytes::from(vec![0; size_bytes]), Sha256::of(b""), "text/plain")
    };
    let permanent = ObjectKey::permanent("a").unwrap();
    let class = |key, size_bytes| RequestClass::of_put(key, &payload(size_bytes));
    assert_eq!(class(&permanent, SMALL_PUT_BYTES), Some(RequestClass::SmallPut));
    assert_eq!(class(&permanent, SMALL_PUT_BYTES + 1), Some(RequestClass::MediumPut));
    assert_eq!(class(&permanent, MAX_PUT_BYTES), Some(RequestClass::MediumPut));
    assert_eq!(class(&permanent, MAX_PUT_BYTES + 1), None);
    assert_eq!(class(&ObjectKey::new("a").unwrap(), 0), None);
}

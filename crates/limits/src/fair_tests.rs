use std::pin::{Pin, pin};

use futures::{FutureExt as _, future::BoxFuture};
use proptest::prelude::*;

use super::*;

fn caller(name: &str) -> CallerKey {
    CallerKey::named(name)
}

/// A queued request; the test polls for its result.
fn request(
    semaphore: &FairSemaphore,
    name: &str,
    amount: u64,
) -> BoxFuture<'static, Result<FairPermit, Unavailable>> {
    let mut request: Pin<Box<_>> = semaphore.acquire(&caller(name), amount).boxed();
    // The first poll queues it.
    match (&mut request).now_or_never() {
        Some(result) => std::future::ready(result).boxed(),
        None => request,
    }
}

fn is_granted(
    request: BoxFuture<'static, Result<FairPermit, Unavailable>>,
) -> Result<FairPermit, BoxFuture<'static, Result<FairPermit, Unavailable>>> {
    let mut request = request;
    match (&mut request).now_or_never() {
        Some(result) => Ok(result.unwrap()),
        None => Err(request),
    }
}

#[tokio::test]
async fn lone_caller_takes_everything_and_returns_it() {
    let semaphore = FairSemaphore::new(4, 10);
    let all = semaphore.acquire(&caller("a"), 4).await.unwrap();
    assert_eq!(semaphore.free(), 0);
    assert_eq!(all.amount(), 4);
    drop(all);
    assert_eq!(semaphore.free(), 4);
    assert!(semaphore.shared.lock().callers.is_empty());
    let error = semaphore.acquire(&caller("a"), 5).await.unwrap_err();
    assert_eq!(error, Unavailable::TooMuch);
}

#[tokio::test]
async fn freed_unit_is_granted_to_the_caller_that_holds_least() {
    let semaphore = FairSemaphore::new(3, 100);
    let mut held: Vec<_> = (0..3).map(|_| request(&semaphore, "greedy", 1)).collect();
    let greedy: Vec<_> = (0..20).map(|_| request(&semaphore, "greedy", 1)).collect();
    let modest = request(&semaphore, "modest", 1);
    drop(is_granted(held.remove(0)).ok().unwrap());
    let modest = is_granted(modest).ok().unwrap();
    drop(modest);
    let granted: Vec<_> = greedy.into_iter().filter_map(|one| is_granted(one).ok()).collect();
    assert_eq!(granted.len(), 1, "the modest caller has no more requests");
}

#[tokio::test]
async fn callers_with_equal_holdings_take_turns() {
    let semaphore = FairSemaphore::new(1, 100);
    let first = semaphore.acquire(&caller("z"), 1).await.unwrap();
    let mut waiting = Vec::new();
    for name in ["a", "a", "a", "b", "b", "b"] {
        waiting.push((name, request(&semaphore, name, 1)));
    }
    drop(first);
    let mut order = String::new();
    while !waiting.is_empty() {
        let mut rest = Vec::new();
        for (name, request) in waiting {
            match is_granted(request) {
                Ok(permit) => {
                    order.push_str(name);
                    drop(permit);
                }
                Err(request) => rest.push((name, request)),
            }
        }
        waiting = rest;
    }
    // Grants alternate, regardless of the order in which they are polled.
    let (a, b) = (order.matches('a').count(), order.matches('b').count());
    assert_eq!((a, b), (3, 3), "{order}");
    assert!(!order.contains("aaa"), "{order}");
}

#[tokio::test]
async fn large_request_within_its_share_is_not_overtaken() {
    let semaphore = FairSemaphore::new(100, 100);
    let mut held: Vec<_> = (0..100).map(|_| request(&semaphore, "many", 1)).collect();
    let large = request(&semaphore, "large", 40);
    let small: Vec<_> = (0..50).map(|_| request(&semaphore, "many", 1)).collect();
    for one in held.drain(..40) {
        drop(is_granted(one).ok().unwrap());
    }
    assert_eq!(is_granted(large).ok().unwrap().amount(), 40);
    drop(small);
}

#[tokio::test]
async fn request_beyond_its_share_does_not_block_others() {
    let semaphore = FairSemaphore::new(100, 100);
    let _held = semaphore.acquire(&caller("a"), 50).await.unwrap();
    let everything = request(&semaphore, "b", 100);
    let small = request(&semaphore, "c", 1);
    assert!(is_granted(small).is_ok());
    assert!(is_granted(everything).is_err());
}

#[tokio::test]
async fn full_queue_drops_a_waiter_of_the_caller_with_most() {
    let semaphore = FairSemaphore::new(1, 4);
    let _held = semaphore.acquire(&caller("a"), 1).await.unwrap();
    let mut waiting: Vec<_> = (0..4).map(|_| request(&semaphore, "a", 1)).collect();
    let fifth = request(&semaphore, "a", 1).now_or_never();
    assert_eq!(fifth.unwrap().unwrap_err(), Unavailable::QueueFull);
    let other = request(&semaphore, "b", 1);
    assert!(is_granted(other).is_err(), "it replaces the last waiter of a");
    let last = waiting.pop().unwrap().now_or_never();
    assert_eq!(last.unwrap().unwrap_err(), Unavailable::QueueFull);
}

#[tokio::test(start_paused = true)]
async fn timeout_leaves_no_waiter() {
    let semaphore = FairSemaphore::new(1, 4);
    let held = semaphore.acquire(&caller("a"), 1).await.unwrap();
    let waited = semaphore.acquire_within(&caller("b"), 1, Duration::from_secs(2)).await;
    assert_eq!(waited.unwrap_err(), Unavailable::TimedOut);
    assert_eq!(semaphore.waiting(), 0);
    drop(held);
    assert_eq!(semaphore.free(), 1);
    assert!(semaphore.shared.lock().turns.is_empty());
}

#[tokio::test]
async fn grant_to_a_dropped_future_is_returned() {
    let semaphore = FairSemaphore::new(1, 4);
    let held = semaphore.acquire(&caller("a"), 1).await.unwrap();
    let waiting = request(&semaphore, "b", 1);
    drop(held);
    assert_eq!(semaphore.free(), 0);
    drop(waiting);
    assert_eq!(semaphore.free(), 1);
}

#[tokio::test]
async fn permit_grows_and_shrinks() {
    let semaphore = FairSemaphore::new(10, 4);
    let mut permit = semaphore.acquire(&caller("a"), 4).await.unwrap();
    permit.grow_to(9, Duration::ZERO).await.unwrap();
    assert_eq!((permit.amount(), semaphore.free()), (9, 1));
    permit.shrink_to(2);
    assert_eq!((permit.amount(), semaphore.free()), (2, 8));
    let error = permit.grow_to(11, Duration::ZERO).await.unwrap_err();
    assert_eq!((error, permit.amount()), (Unavailable::TooMuch, 2));
    drop(permit);
    assert_eq!(semaphore.free(), 10);
}

/// Holds a permit until it is revoked.
#[derive(Debug, Default)]
struct Holder(Mutex<Option<FairPermit>>);

impl Revoke for Holder {
    fn revoke(&self) {
        drop(self.0.lock().unwrap().take());
    }
}

fn hold(mut permit: FairPermit) -> Arc<Holder> {
    let holder = Arc::new(Holder::default());
    let weak: Weak<Holder> = Arc::downgrade(&holder);
    permit.make_revocable(weak);
    *holder.0.lock().unwrap() = Some(permit);
    holder
}

fn held(holders: &[Arc<Holder>]) -> usize {
    holders.iter().filter(|holder| holder.0.lock().unwrap().is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn oldest_permit_beyond_the_fair_share_is_revoked_for_a_waiter() {
    let semaphore = FairSemaphore::new(4, 100);
    let mut greedy = Vec::new();
    for _ in 0..4 {
        greedy.push(hold(semaphore.acquire(&caller("greedy"), 1).await.unwrap()));
    }
    let started = time::Instant::now();
    let first = semaphore.acquire_within(&caller("modest"), 1, Duration::from_secs(2)).await;
    let first = hold(first.unwrap());
    assert_eq!(started.elapsed(), REVOKE_AFTER);
    assert!(greedy[0].0.lock().unwrap().is_none() && held(&greedy) == 3);
    let second = semaphore.acquire_within(&caller("modest"), 1, Duration::ZERO).await;
    let _second = hold(second.unwrap());
    assert_eq!(held(&greedy), 2);
    // Both have their share now, and no permit is revoked for either.
    for name in ["greedy", "modest"] {
        let third = semaphore.acquire_within(&caller(name), 1, Duration::from_secs(5)).await;
        assert_eq!(third.unwrap_err(), Unavailable::TimedOut);
    }
    assert_eq!((held(&greedy), held(&[first])), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn caller_does_not_revoke_its_own_permits() {
    let semaphore = FairSemaphore::new(2, 100);
    let mut own = Vec::new();
    for _ in 0..2 {
        own.push(hold(semaphore.acquire(&caller("lone"), 1).await.unwrap()));
    }
    let third = semaphore.acquire_within(&caller("lone"), 1, Duration::from_secs(5)).await;
    assert_eq!((third.unwrap_err(), held(&own)), (Unavailable::TimedOut, 2));
}

#[tokio::test]
async fn displacing_revokes_the_oldest_permit_of_the_greediest() {
    let semaphore = FairSemaphore::new(3, 0);
    let mut greedy: Vec<_> =
        (0..2).map(|_| hold(semaphore.displace(&caller("greedy")).unwrap())).collect();
    let modest = hold(semaphore.displace(&caller("modest")).unwrap());
    greedy.push(hold(semaphore.displace(&caller("greedy")).unwrap()));
    assert!(greedy[0].0.lock().unwrap().is_none());
    assert_eq!((held(&greedy), held(&[modest])), (2, 1));
    drop(greedy);
    assert_eq!(semaphore.free(), 3);
    assert!(semaphore.shared.lock().callers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn grown_permits_are_revoked_with_their_current_amount() {
    let semaphore = FairSemaphore::new(100, 100);
    let mut greedy = Vec::new();
    for _ in 0..5 {
        let holder = hold(semaphore.acquire(&caller("greedy"), 1).await.unwrap());
        let mut permit = holder.0.lock().unwrap().take().unwrap();
        permit.grow_to(20, Duration::ZERO).await.unwrap();
        *holder.0.lock().unwrap() = Some(permit);
        greedy.push(holder);
    }
    // The oldest permit is in use by work that its call started, and must not be revoked.
    assert!(greedy[0].0.lock().unwrap().as_mut().unwrap().make_irrevocable());
    let modest = semaphore.acquire_within(&caller("modest"), 30, Duration::from_secs(2)).await;
    assert_eq!((modest.unwrap().amount(), held(&greedy)), (30, 3));
    assert!(greedy[0].0.lock().unwrap().is_some());
}

proptest! {
    /// For any sequence of requests, drops and releases: units are neither lost nor created, and no request
    /// waits for free units.
    #[test]
    fn units_are_conserved(steps in proptest::collection::vec((0..4_u8, 0..4_u8, 1..6_u64), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let semaphore = FairSemaphore::new(8, 6);
            let mut permits: Vec<FairPermit> = Vec::new();
            let mut waiting = Vec::new();
            for (step, caller, amount) in steps {
                match step {
                    0 | 1 => waiting.push(request(&semaphore, &caller.to_string(), amount)),
                    2 if !permits.is_empty() => drop(permits.swap_remove(usize::from(caller) % permits.len())),
                    3 if !waiting.is_empty() => drop(waiting.swap_remove(usize::from(caller) % waiting.len())),
                    _ => {}
                }
                let mut rest = Vec::new();
                for mut one in waiting {
                    match pin!(&mut one).now_or_never() {
                        Some(Ok(permit)) => permits.push(permit),
                        Some(Err(error)) => assert_eq!(error, Unavailable::QueueFull),
                        None => rest.push(one),
                    }
                }
                waiting = rest;
                let held: u64 = permits.iter().map(FairPermit::amount).sum();
                assert_eq!(held + semaphore.free(), 8);
                assert_eq!(semaphore.waiting(), waiting.len());
                // With everything free, every request fits.
                assert!(semaphore.free() < 8 || waiting.is_empty());
            }
            drop((permits, waiting));
            assert_eq!(semaphore.free(), 8);
            assert!(semaphore.shared.lock().callers.is_empty());
        });
    }
}

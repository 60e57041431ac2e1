//! Clock skew, and credentials that change during an export (guarantees, failure 13).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_s3::config::{Credentials, ProvideCredentials};
use aws_smithy_async::time::TimeSource;
use chrono::TimeDelta;
use tara_export_client::proto::export::State;
use tara_export_test_support::{Operation, TestS3};

use crate::{
    following::committed,
    harness::{
        Host,
        in_s3::check_in_s3,
        s3::{settings, store_of, store_with, store_with_clock},
        waiting::until_state,
    },
    requests::{name, request},
};

/// A provider of credentials with this lifetime: wrong ones for the attempts in `wrong`, valid ones
/// otherwise.
#[derive(Debug, Clone)]
struct RotatingCredentials {
    provided: Arc<AtomicUsize>,
    lifetime: Duration,
    wrong: std::ops::Range<usize>,
    right: (String, String),
}

impl ProvideCredentials for RotatingCredentials {
    fn provide_credentials<'a>(
        &'a self,
    ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let number = self.provided.fetch_add(1, Ordering::Relaxed);
        let (access_key, secret_key) = self.right.clone();
        let secret_key = match self.wrong.contains(&number) {
            true => "from before the rotation".to_owned(),
            false => secret_key,
        };
        let expiry = Some(SystemTime::now() + self.lifetime);
        let credentials = Credentials::new(access_key, secret_key, None, expiry, "test");
        aws_credential_types::provider::future::ProvideCredentials::ready(Ok(credentials))
    }
}

#[tokio::test]
async fn clock_skew_of_20_minutes_is_tolerated() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    for (number, minutes) in [(1, 20), (2, -20), (3, 0)] {
        s3.clock_skew(TimeDelta::minutes(minutes));
        let export = committed(&mut server.client, request(number, "a.docx")).await;
        check_in_s3(&s3, &export);
    }
}

/// The system clock, set back by this number of seconds.
#[derive(Debug, Clone, Default)]
struct SetBackClock(Arc<AtomicU64>);

impl TimeSource for SetBackClock {
    fn now(&self) -> SystemTime {
        SystemTime::now() - Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// By the clock that is set back, the credentials would be valid for another day.
#[tokio::test]
async fn credentials_are_fetched_again_when_the_clock_is_set_back() {
    let s3 = TestS3::start().await;
    let (provided, clock) = (Arc::new(AtomicUsize::new(0)), SetBackClock::default());
    let credentials = RotatingCredentials {
        provided: provided.clone(),
        lifetime: Duration::from_secs(3600),
        wrong: 0..0,
        right: (s3.access_key().to_owned(), s3.secret_key().to_owned()),
    };
    let settings = settings(&s3.endpoint(), s3.bucket());
    let host = Host::with_s3(store_with_clock(settings, credentials, clock.clone()));
    let mut server = host.start().await;
    check_in_s3(&s3, &committed(&mut server.client, request(1, "a.docx")).await);
    assert_eq!(provided.load(Ordering::Relaxed), 1);
    clock.0.store(86_400, Ordering::Relaxed);
    check_in_s3(&s3, &committed(&mut server.client, request(2, "a.docx")).await);
    assert_eq!(provided.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn rotated_credentials_succeed_or_fall_back_and_sync() {
    // From the first request to long after the last.
    for first_wrong in [0, 1, 4, 9, 16, 1000] {
        let s3 = TestS3::start().await;
        let provided = Arc::new(AtomicUsize::new(0));
        let credentials = RotatingCredentials {
            provided: provided.clone(),
            lifetime: Duration::ZERO,
            wrong: first_wrong..first_wrong + 3,
            right: (s3.access_key().to_owned(), s3.secret_key().to_owned()),
        };
        let store = store_with(settings(&s3.endpoint(), s3.bucket()), credentials);
        let host = Host::with_s3(store).flags(&["--s3-outage-pause=10ms"]);
        let mut server = host.start().await;
        let reported = committed(&mut server.client, request(1, "a.docx")).await;
        if first_wrong < 16 {
            assert_eq!(reported.state(), State::FellBack, "{first_wrong}");
        }
        let export = until_state(&mut server.client, &name(1), State::Committed).await;
        check_in_s3(&s3, &export);
        // Each request was signed with new credentials.
        assert!(provided.load(Ordering::Relaxed) >= s3.requests_of(Operation::PutObject).len());
    }
}

//! Failures row 13: clocks that differ, and credentials that change in mid-export.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use aws_sdk_s3::config::{Credentials, ProvideCredentials};
use chrono::TimeDelta;
use tara_export::proto::export::State;
use tara_export_test_support::{Operation, TestS3};

use crate::{
    following::committed,
    harness::{
        Host,
        s3::{settings, store_of, store_with},
    },
    in_s3::check_in_s3,
    requests::{name, request},
    waiting::until_state,
};

/// Credentials that are as good as expired when they are given, so that each attempt needs new ones:
/// wrong ones for some attempts, right ones otherwise.
#[derive(Debug, Clone)]
struct Rotating {
    given: Arc<AtomicUsize>,
    wrong: std::ops::Range<usize>,
    right: (String, String),
}

impl ProvideCredentials for Rotating {
    fn provide_credentials<'a>(
        &'a self,
    ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        let (access_key, secret_key) = self.right.clone();
        let secret_key = match self.wrong.contains(&number) {
            true => "from before the rotation".to_owned(),
            false => secret_key,
        };
        let expiry = Some(SystemTime::now());
        let credentials = Credentials::new(access_key, secret_key, None, expiry, "test");
        aws_credential_types::provider::future::ProvideCredentials::ready(Ok(credentials))
    }
}

#[tokio::test]
async fn row_13_twenty_minutes_of_skew_and_a_change_of_it_are_outlived() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    for (number, minutes) in [(1, 20), (2, -20), (3, 0)] {
        s3.clock_skew(TimeDelta::minutes(minutes));
        let export = committed(&mut server.client, request(number, "a.docx")).await;
        check_in_s3(&s3, &export);
    }
}

#[tokio::test]
async fn row_13_credentials_that_rotate_in_mid_export_pass_or_fall_back_and_drain() {
    // From before the first request to long after the last.
    for first_wrong in [0, 1, 4, 9, 16, 1000] {
        let s3 = TestS3::start().await;
        let given = Arc::new(AtomicUsize::new(0));
        let credentials = Rotating {
            given: given.clone(),
            wrong: first_wrong..first_wrong + 3,
            right: (s3.access_key().to_owned(), s3.secret_key().to_owned()),
        };
        let store = store_with(settings(&s3.endpoint(), s3.bucket()), credentials);
        let host = Host::with_s3(store).flags(&["--s3-outage-pause=10ms"]);
        let mut server = host.start().await;
        let told = committed(&mut server.client, request(1, "a.docx")).await;
        if first_wrong < 16 {
            assert_eq!(told.state(), State::FellBack, "{first_wrong}");
        }
        let export = until_state(&mut server.client, &name(1), State::Committed).await;
        check_in_s3(&s3, &export);
        // Each request was signed with credentials of its own.
        assert!(given.load(Ordering::Relaxed) >= s3.requests_of(Operation::PutObject).len());
    }
}

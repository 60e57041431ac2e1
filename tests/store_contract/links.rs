//! Links to objects: presigned requests, used as a stranger uses them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_credential_types::provider::future;
use aws_sdk_s3::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_async::time::StaticTimeSource;
use chrono::{SubsecRound as _, TimeDelta, Utc};
use tara_export::store::{
    LinkWish, Store, StoreErrorKind,
    s3::{S3Settings, S3Store},
};
use tara_export_test_support::TestS3;

use crate::{
    backends::{environment, local, real_settings, s3_in_memory, s3_real, settings},
    contract::{key, payload},
    http::get,
};

fn wish(time_to_live: Duration) -> LinkWish {
    LinkWish {
        time_to_live,
        file_name: "事故 report (1).docx".to_owned(),
        media_type: "application/x-test".to_owned(),
    }
}

/// A link is read by who knows nothing else, and the file comes under its own name and type.
async fn a_link_is_all_one_needs(store: Arc<dyn Store>) {
    let object = key("20261122_183700_a/documents/before 事故+&=%.docx");
    store.put_if_absent(&object, payload("the document")).await.unwrap();
    let links = store.links().expect("S3 makes links");
    let before = Utc::now();
    let link = links.link(&object, &wish(Duration::from_secs(3600))).await.unwrap();
    let lives = link.expire_time - before;
    assert!((3598..=3601).contains(&lives.num_seconds()), "{lives}");

    let (status, headers, body) = get(&link.uri).await;
    assert_eq!((status.as_u16(), body.as_ref()), (200, b"the document".as_ref()));
    assert_eq!(headers["content-type"], "application/x-test");
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"__ report (1).docx\"; filename*=UTF-8''%E4%BA%8B%E6%95%85%20report%20%281%29.docx"
    );
    // It is a link to this object, for this time, under this name.
    for (part, other) in
        [("before", "after"), ("X-Amz-Expires=3600", "X-Amz-Expires=36000"), (".docx", ".exe")]
    {
        assert!(link.uri.contains(part), "{}", link.uri);
        let (status, ..) = get(&link.uri.replace(part, other)).await;
        assert_eq!(status.as_u16(), 403, "{part}");
    }
}

/// Links of a minute that were made some time ago.
async fn a_dead_link_gives_nothing(settings: S3Settings, access_key: &str, secret_key: &str) {
    let now = environment(access_key, secret_key);
    let store = S3Store::from_sdk_config(settings.clone(), &now);
    let object = key("a.txt");
    store.put_if_absent(&object, payload("secret")).await.unwrap();
    for (age_seconds, expected) in [(0, 200), (30, 200), (62, 403), (600, 403)] {
        let then = SystemTime::now() - Duration::from_secs(age_seconds);
        let then = now.to_builder().time_source(StaticTimeSource::new(then)).build();
        let store = S3Store::from_sdk_config(settings.clone(), &then);
        let links = store.links().expect("S3 makes links");
        let link = links.link(&object, &wish(Duration::from_secs(60))).await.unwrap();
        let (status, _, body) = get(&link.uri).await;
        assert_eq!(status.as_u16(), expected);
        assert_eq!(body.as_ref() == b"secret", expected == 200);
    }
}

#[tokio::test]
async fn in_memory_a_dead_link_gives_nothing() {
    let server = TestS3::start().await;
    let settings = settings(&server.endpoint(), server.bucket());
    a_dead_link_gives_nothing(settings, server.access_key(), server.secret_key()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_a_link_is_all_one_needs() {
    let backend = s3_in_memory().await;
    a_link_is_all_one_needs(backend.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn s3_real_a_link_is_all_one_needs() {
    let backend = s3_real().await;
    a_link_is_all_one_needs(backend.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn s3_real_a_dead_link_gives_nothing() {
    let variable = |name| std::env::var(name).expect(".ci/real-s3 sets it");
    let (access_key, secret_key) =
        (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    a_dead_link_gives_nothing(real_settings(), &access_key, &secret_key).await;
}

/// Credentials that end some seconds after the moment they are given.
#[derive(Debug, Clone)]
struct Temporary {
    given: Arc<AtomicUsize>,
    live: Option<TimeDelta>,
    access_key: String,
    secret_key: String,
}

impl Temporary {
    fn of(server: &TestS3, live: Option<TimeDelta>) -> Self {
        let (access_key, secret_key) = (server.access_key(), server.secret_key());
        Self {
            given: Arc::default(),
            live,
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
        }
    }
}

impl ProvideCredentials for Temporary {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        self.given.fetch_add(1, Ordering::Relaxed);
        let end = self.live.map(|live| SystemTime::from(Utc::now() + live));
        let credentials = Credentials::new(&self.access_key, &self.secret_key, None, end, "test");
        future::ProvideCredentials::ready(Ok(credentials))
    }
}

fn store_with(server: &TestS3, credentials: Temporary) -> Arc<dyn Store> {
    let environment = SdkConfig::builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    Arc::new(S3Store::from_sdk_config(settings(&server.endpoint(), server.bucket()), &environment))
}

#[tokio::test]
async fn a_link_tells_when_its_credentials_end() {
    let server = TestS3::start().await;
    let credentials = Temporary::of(&server, Some(TimeDelta::minutes(30)));
    let store = store_with(&server, credentials.clone());
    let links = store.links().unwrap();
    let before = Utc::now().trunc_subsecs(0);
    let link = links.link(&key("a.txt"), &wish(Duration::from_secs(7200))).await.unwrap();
    let lives = link.expire_time - before;
    assert!((1799..=1801).contains(&lives.num_seconds()), "{lives}");
    // The signature ends then, too.
    let signed: i64 = parameter(&link.uri, "X-Amz-Expires").parse().unwrap();
    let start = parameter(&link.uri, "X-Amz-Date");
    let start = chrono::NaiveDateTime::parse_from_str(&start, "%Y%m%dT%H%M%SZ").unwrap().and_utc();
    assert_eq!(start + TimeDelta::seconds(signed), link.expire_time);
    // A shorter life is the wisher's own.
    let link = links.link(&key("a.txt"), &wish(Duration::from_secs(60))).await.unwrap();
    assert_eq!(parameter(&link.uri, "X-Amz-Expires"), "60");
    // Two links in a row are signed with the same credentials, which are told as they are.
    assert_eq!(credentials.given.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn credentials_about_to_end_are_asked_for_again_and_told_honestly() {
    let server = TestS3::start().await;
    let credentials = Temporary::of(&server, Some(TimeDelta::seconds(30)));
    let store = store_with(&server, credentials.clone());
    for asked in 1..=3 {
        let now = Utc::now();
        let links = store.links().unwrap();
        let link = links.link(&key("a.txt"), &wish(Duration::from_secs(7200))).await.unwrap();
        assert!(link.expire_time <= now + TimeDelta::seconds(31));
        assert_eq!(credentials.given.load(Ordering::Relaxed), asked);
    }
    // Those that have ended sign nothing.
    let ended = store_with(&server, Temporary::of(&server, Some(TimeDelta::seconds(-1))));
    let links = ended.links().unwrap();
    let error = links.link(&key("a.txt"), &wish(Duration::from_secs(60))).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn without_credentials_there_is_no_link() {
    let server = TestS3::start().await;
    let settings = settings(&server.endpoint(), server.bucket());
    let store = S3Store::from_sdk_config(settings, &SdkConfig::builder().build());
    let links = store.links().unwrap();
    let error = links.link(&key("a.txt"), &wish(Duration::from_secs(60))).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Denied, "{error}");
}

#[test]
fn the_local_store_makes_no_links() {
    assert!(local().store().links().is_none());
}

/// A parameter of a URL's query; each stands there once.
fn parameter(uri: &str, name: &str) -> String {
    let query = uri.split_once('?').unwrap().1;
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix(&format!("{name}=")));
    let value = values.next().unwrap().to_owned();
    assert!(values.next().is_none(), "{uri}");
    value
}

//! Links to objects: presigned requests, used by a client without credentials.

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
use tara_export_store::{
    LinkRequest, Store, StoreErrorKind,
    s3::{S3Settings, S3Store},
};
use tara_export_test_support::{TestS3, http::get};

use crate::{
    backends::{environment, local, real_s3, real_settings, settings, test_s3},
    contract::{key, payload},
};

fn link_request(time_to_live: Duration) -> LinkRequest {
    LinkRequest {
        time_to_live,
        file_name: "事故 report (1).docx".to_owned(),
        media_type: "application/x-test".to_owned(),
    }
}

/// A link works without credentials, and the download has its own name and media type.
async fn link_works_without_credentials(store: Arc<dyn Store>) {
    let object = key("20261122_183700_a/documents/before 事故+&=%.docx");
    store.put_if_absent(&object, payload("the document")).await.unwrap();
    let links = store.links().expect("S3 supports links");
    let before = Utc::now();
    let link = links.link(&object, &link_request(Duration::from_secs(3600))).await.unwrap();
    let lifetime = link.expire_time - before;
    assert!((3598..=3601).contains(&lifetime.num_seconds()), "{lifetime}");

    let (status, headers, body) = get(&link.uri).await;
    assert_eq!((status.as_u16(), body.as_ref()), (200, b"the document".as_ref()));
    assert_eq!(headers["content-type"], "application/x-test");
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"__ report (1).docx\"; filename*=UTF-8''%E4%BA%8B%E6%95%85%20report%20%281%29.docx"
    );
    // The signature covers the object, the lifetime and the name.
    for (part, other) in
        [("before", "after"), ("X-Amz-Expires=3600", "X-Amz-Expires=36000"), (".docx", ".exe")]
    {
        assert!(link.uri.contains(part), "{}", link.uri);
        let (status, ..) = get(&link.uri.replace(part, other)).await;
        assert_eq!(status.as_u16(), 403, "{part}");
    }
}

/// Links with a lifetime of one minute, created at different times in the past.
async fn expired_link_is_refused(settings: S3Settings, access_key: &str, secret_key: &str) {
    let now = environment(access_key, secret_key);
    let store = S3Store::from_sdk_config(settings.clone(), &now);
    let object = key("a.txt");
    store.put_if_absent(&object, payload("secret")).await.unwrap();
    for (age_seconds, expected) in [(0, 200), (30, 200), (62, 403), (600, 403)] {
        let past = SystemTime::now() - Duration::from_secs(age_seconds);
        let past = now.to_builder().time_source(StaticTimeSource::new(past)).build();
        let store = S3Store::from_sdk_config(settings.clone(), &past);
        let links = store.links().expect("S3 supports links");
        let link = links.link(&object, &link_request(Duration::from_secs(60))).await.unwrap();
        let (status, _, body) = get(&link.uri).await;
        assert_eq!(status.as_u16(), expected);
        assert_eq!(body.as_ref() == b"secret", expected == 200);
    }
}

#[tokio::test]
async fn expired_link_is_refused_by_test_s3() {
    let server = TestS3::start().await;
    let settings = settings(&server.endpoint(), server.bucket());
    expired_link_is_refused(settings, server.access_key(), server.secret_key()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn link_works_without_credentials_on_test_s3() {
    let backend = test_s3().await;
    link_works_without_credentials(backend.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn link_works_without_credentials_on_real_s3() {
    let backend = real_s3().await;
    link_works_without_credentials(backend.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn expired_link_is_refused_by_real_s3() {
    let variable = |name| std::env::var(name).expect(".ci/real-s3 sets it");
    let (access_key, secret_key) =
        (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    expired_link_is_refused(real_settings(), &access_key, &secret_key).await;
}

/// Credentials that expire some time after each load.
#[derive(Debug, Clone)]
struct TemporaryCredentials {
    loads: Arc<AtomicUsize>,
    time_to_live: Option<TimeDelta>,
    access_key: String,
    secret_key: String,
}

impl TemporaryCredentials {
    fn new(server: &TestS3, time_to_live: Option<TimeDelta>) -> Self {
        let (access_key, secret_key) = (server.access_key(), server.secret_key());
        Self {
            loads: Arc::default(),
            time_to_live,
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
        }
    }
}

impl ProvideCredentials for TemporaryCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let expiry = self.time_to_live.map(|ttl| SystemTime::from(Utc::now() + ttl));
        let credentials =
            Credentials::new(&self.access_key, &self.secret_key, None, expiry, "test");
        future::ProvideCredentials::ready(Ok(credentials))
    }
}

fn store_with(server: &TestS3, credentials: TemporaryCredentials) -> Arc<dyn Store> {
    let environment = SdkConfig::builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    Arc::new(S3Store::from_sdk_config(settings(&server.endpoint(), server.bucket()), &environment))
}

#[tokio::test]
async fn link_expires_with_its_credentials() {
    let server = TestS3::start().await;
    let credentials = TemporaryCredentials::new(&server, Some(TimeDelta::minutes(30)));
    let store = store_with(&server, credentials.clone());
    let links = store.links().unwrap();
    let before = Utc::now().trunc_subsecs(0);
    let link = links.link(&key("a.txt"), &link_request(Duration::from_secs(7200))).await.unwrap();
    let lifetime = link.expire_time - before;
    assert!((1799..=1801).contains(&lifetime.num_seconds()), "{lifetime}");
    // The signature expires at the same time.
    let signed: i64 = parameter(&link.uri, "X-Amz-Expires").parse().unwrap();
    let start = parameter(&link.uri, "X-Amz-Date");
    let start = chrono::NaiveDateTime::parse_from_str(&start, "%Y%m%dT%H%M%SZ").unwrap().and_utc();
    assert_eq!(start + TimeDelta::seconds(signed), link.expire_time);
    // A shorter requested lifetime is used.
    let link = links.link(&key("a.txt"), &link_request(Duration::from_secs(60))).await.unwrap();
    assert_eq!(parameter(&link.uri, "X-Amz-Expires"), "60");
    // Successive links use the same credentials.
    assert_eq!(credentials.loads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn expiring_credentials_are_reloaded() {
    let server = TestS3::start().await;
    let credentials = TemporaryCredentials::new(&server, Some(TimeDelta::seconds(30)));
    let store = store_with(&server, credentials.clone());
    for loads in 1..=3 {
        let now = Utc::now();
        let links = store.links().unwrap();
        let link =
            links.link(&key("a.txt"), &link_request(Duration::from_secs(7200))).await.unwrap();
        assert!(link.expire_time <= now + TimeDelta::seconds(31));
        assert_eq!(credentials.loads.load(Ordering::Relaxed), loads);
    }
    // Expired credentials do not sign links.
    let expired =
        store_with(&server, TemporaryCredentials::new(&server, Some(TimeDelta::seconds(-1))));
    let links = expired.links().unwrap();
    let error =
        links.link(&key("a.txt"), &link_request(Duration::from_secs(60))).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn link_without_credentials_is_denied() {
    let server = TestS3::start().await;
    let settings = settings(&server.endpoint(), server.bucket());
    let store = S3Store::from_sdk_config(settings, &SdkConfig::builder().build());
    let links = store.links().unwrap();
    let error =
        links.link(&key("a.txt"), &link_request(Duration::from_secs(60))).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Denied, "{error}");
}

#[test]
fn local_store_has_no_links() {
    assert!(local().store().links().is_none());
}

/// A parameter of a URL's query. Fails if it occurs more than once.
fn parameter(uri: &str, name: &str) -> String {
    let query = uri.split_once('?').unwrap().1;
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix(&format!("{name}=")));
    let value = values.next().unwrap().to_owned();
    assert!(values.next().is_none(), "{uri}");
    value
}

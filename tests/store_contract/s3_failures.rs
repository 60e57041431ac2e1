//! What S3 stores say when something is wrong.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::TryStreamExt as _;
use tara_export::store::{
    ListRequest, ProbeResult, ProbeStatus, Store, StoreError, StoreErrorKind,
    honours_conditional_put,
    s3::{S3Settings, S3Store},
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tokio::{net::TcpListener, time::Instant};

use crate::{
    backends::{environment, real_settings, settings},
    contract::{key, payload},
    raw_server::serve,
};

fn everything() -> ListRequest {
    ListRequest { prefix: String::new(), start_after: None, delimited: false, limit: 1 }
}

/// The errors of all operations on a key that holds nothing.
async fn errors(store: &S3Store) -> Vec<StoreError> {
    vec![
        store.put_if_absent(&key("a"), payload("x")).await.unwrap_err(),
        store.list(everything()).await.unwrap_err(),
        store.get(&key("a")).await.unwrap_err(),
        store.head(&key("a")).await.unwrap_err(),
        store.delete(&key("a")).await.unwrap_err(),
    ]
}

fn kinds(errors: &[StoreError]) -> Vec<StoreErrorKind> {
    errors.iter().map(StoreError::kind).collect()
}

fn statuses(rows: &[ProbeResult]) -> BTreeMap<&'static str, ProbeStatus> {
    rows.iter().map(|row| (row.check, row.status)).collect()
}

async fn wrong_credentials_are_denied(settings: S3Settings) {
    let store = S3Store::from_sdk_config(settings, &environment("AKIDWRONG", "the-wrong-secret"));
    let errors = errors(&store).await;
    assert_eq!(kinds(&errors), [StoreErrorKind::Denied; 5], "{errors:?}");
    for error in &errors {
        let text = format!("{error} {error:?} {store:?}");
        assert!(text.contains("s3://"), "{text}");
        assert!(!text.contains("the-wrong-secret") && !text.contains("AKIDWRONG"), "{text}");
    }
    let rows = store.probe().await;
    let statuses = statuses(&rows);
    assert_eq!(statuses["s3.credentials"], ProbeStatus::Passed);
    assert_eq!(statuses["s3.bucket"], ProbeStatus::Failed);
    assert_eq!(statuses["s3.put"], ProbeStatus::Failed);
    for skipped in ["s3.conditional_put", "s3.checksum", "s3.read", "s3.list"] {
        assert_eq!(statuses[skipped], ProbeStatus::Skipped, "{skipped}");
    }
    assert!(
        rows.iter().all(|row| row.status != ProbeStatus::Failed || !row.hint.is_empty()),
        "{rows:?}"
    );
}

async fn a_missing_bucket_is_a_wrong_setting(store: &S3Store) {
    for error in
        [store.list(everything()).await.unwrap_err(), store.get(&key("a")).await.unwrap_err()]
    {
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    }
    // A HEAD's answer has no body that could tell a missing bucket from a missing object.
    assert_eq!(store.head(&key("a")).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    let rows = store.probe().await;
    let statuses = statuses(&rows);
    assert_eq!(statuses["s3.bucket"], ProbeStatus::Failed, "{rows:?}");
    for skipped in ["s3.put", "s3.conditional_put", "s3.checksum", "s3.read", "s3.list"] {
        assert_eq!(statuses[skipped], ProbeStatus::Skipped, "{skipped}");
    }
}

/// Twenty minutes are more than S3 lets pass. The first answer tells the SDK the difference.
async fn a_wrong_clock_is_outlived(settings: S3Settings, environment: aws_config::SdkConfig) {
    let late = std::time::SystemTime::now() - Duration::from_secs(20 * 60);
    let clock = aws_smithy_async::time::StaticTimeSource::new(late);
    let environment = environment.into_builder().time_source(clock).build();
    let store = S3Store::from_sdk_config(settings, &environment);
    let first = store.put_if_absent(&key("a"), payload("x")).await;
    if let Err(error) = &first {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
        store.put_if_absent(&key("a"), payload("x")).await.unwrap();
    }
    store.head(&key("a")).await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_in_memory() {
    let server = TestS3::start().await;
    wrong_credentials_are_denied(settings(&server.endpoint(), server.bucket())).await;
}

#[tokio::test]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn wrong_credentials_real() {
    wrong_credentials_are_denied(real_settings()).await;
}

#[tokio::test]
async fn missing_bucket_in_memory() {
    let server = TestS3::start().await;
    let environment = environment(server.access_key(), server.secret_key());
    let settings = settings(&server.endpoint(), "tara-export-no-such-bucket");
    let store = S3Store::from_sdk_config(settings, &environment);
    a_missing_bucket_is_a_wrong_setting(&store).await;
    for error in [
        store.put_if_absent(&key("a"), payload("x")).await.unwrap_err(),
        store.delete(&key("a")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn missing_bucket_real() {
    let settings = S3Settings { bucket: "tara-export-no-such-bucket".into(), ..real_settings() };
    // No put here: SeaweedFS makes the bucket for it.
    a_missing_bucket_is_a_wrong_setting(&S3Store::connect(settings).await).await;
}

#[tokio::test]
async fn wrong_clock_in_memory() {
    let server = TestS3::start().await;
    let environment = environment(server.access_key(), server.secret_key());
    a_wrong_clock_is_outlived(settings(&server.endpoint(), server.bucket()), environment).await;
}

#[tokio::test]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn wrong_clock_real() {
    let environment = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    a_wrong_clock_is_outlived(real_settings(), environment).await;
}

#[tokio::test]
async fn a_deletion_is_asked_for_once_and_its_refusal_told() {
    let server = TestS3::start().await;
    let environment = environment(server.access_key(), server.secret_key());
    let settings = settings(&server.endpoint(), server.bucket());
    let full_key = format!("{}folder/a b", settings.base_path);
    let store = S3Store::from_sdk_config(settings, &environment);
    let key = key("folder/a b");
    store.put_if_absent(&key, payload("x")).await.unwrap();
    for (fault, kind) in [
        (Fault::ACCESS_DENIED, StoreErrorKind::Denied),
        (Fault::EXPIRED_TOKEN, StoreErrorKind::Denied),
        (Fault::SLOW_DOWN, StoreErrorKind::Unavailable),
        (Fault::INTERNAL_ERROR, StoreErrorKind::Unavailable),
        (Fault::ResetBefore, StoreErrorKind::Unavailable),
        (Fault::NO_SUCH_BUCKET, StoreErrorKind::Misconfigured),
        // Who says so is no S3 server, so nothing tells that the object is gone.
        (Fault::respond(404, "SomethingNew"), StoreErrorKind::Misconfigured),
    ] {
        server.reset_requests();
        let fault = server.fail(FaultRule::new(fault).on(Operation::DeleteObject));
        let error = store.delete(&key).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(&full_key), "{error}");
        assert_eq!(server.requests().len(), 1, "{error}");
        assert!(server.object(&full_key).is_some(), "{error}");
        server.clear_fault(fault);
    }
    // The answer is lost, and the next attempt finds nothing to delete.
    server.fail(FaultRule::new(Fault::ResetAfter).on(Operation::DeleteObject).times(1));
    assert!(store.delete(&key).await.unwrap_err().is_transient());
    assert!(server.object(&full_key).is_none());
    store.delete(&key).await.unwrap();
    // Some servers don't take that as S3 does.
    server.fail(FaultRule::new(Fault::respond(404, "NoSuchKey")).on(Operation::DeleteObject));
    store.delete(&key).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = settings(&endpoint, "bucket");
    let connect_timeout = settings.connect_timeout;
    let store = S3Store::from_sdk_config(settings, &environment("a", "b"));
    let started = Instant::now();
    let errors = errors(&store).await;
    assert_eq!(kinds(&errors), [StoreErrorKind::Unavailable; 5], "{errors:?}");
    assert!(started.elapsed() < connect_timeout);
    let statuses = statuses(&store.probe().await);
    assert_eq!(
        (statuses["s3.bucket"], statuses["s3.put"]),
        (ProbeStatus::Failed, ProbeStatus::Skipped)
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let endpoint = serve(|mut connection| async move { connection.hold().await }).await;
    let short = Duration::from_millis(200);
    let settings = S3Settings {
        read_timeout: short,
        operation_timeout: short,
        ..settings(&endpoint, "bucket")
    };
    let store = S3Store::from_sdk_config(settings, &environment("a", "b"));
    let errors = errors(&store).await;
    assert_eq!(kinds(&errors), [StoreErrorKind::Unavailable; 5], "{errors:?}");
}

#[tokio::test]
async fn a_download_that_breaks_off_or_stands_still_ends_with_an_error() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: \"x\"\r\n\r\n";
    let broken = serve(move |mut connection| async move {
        connection.head().await;
        connection.send(format!("{head}half")).await;
    });
    let still = serve(move |mut connection| async move {
        connection.head().await;
        connection.send(format!("{head}half")).await;
        connection.hold().await;
    });
    for endpoint in [broken.await, still.await] {
        let settings = S3Settings {
            read_timeout: Duration::from_millis(200),
            ..settings(&endpoint, "bucket")
        };
        let store = S3Store::from_sdk_config(settings, &environment("a", "b"));
        let object = store.get(&key("a")).await.unwrap();
        assert_eq!(object.info.size_bytes, 100);
        let error = object.body.try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn a_bucket_elsewhere_names_its_region() {
    let endpoint = serve(|mut connection| async move {
        while connection.head().await.is_some() {
            let answer = "HTTP/1.1 301 Moved Permanently\r\nx-amz-bucket-region: eu-central-1\r\n\
                          Content-Length: 0\r\n\r\n";
            connection.send(answer).await;
        }
    })
    .await;
    let store = S3Store::from_sdk_config(settings(&endpoint, "bucket"), &environment("a", "b"));
    let error = store.head(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("eu-central-1"), "{error}");
}

/// Garage and s3rver are like this: they take every put, whatever its condition and checksum.
#[tokio::test]
async fn a_server_that_ignores_conditions_and_checksums_fails_its_probe() {
    let objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
    let endpoint = serve(move |mut connection| {
        let objects = objects.clone();
        async move {
            while let Some(head) = connection.head().await {
                let path = head.target().split('?').next().unwrap().to_owned();
                let body = connection.body(head.content_length()).await.unwrap();
                let answer = match head.method() {
                    "PUT" => {
                        objects.lock().unwrap().insert(path, body);
                        Vec::new()
                    }
                    _ if head.target().contains("list-type=2") => {
                        let key = path.trim_start_matches("/bucket").trim_start_matches('/');
                        assert_eq!(key, "");
                        let keys: String = objects
                            .lock()
                            .unwrap()
                            .keys()
                            .map(|path| path.trim_start_matches("/bucket/"))
                            .map(|key| format!("<Contents><Key>{key}</Key></Contents>"))
                            .collect();
                        format!("<ListBucketResult>{keys}</ListBucketResult>").into_bytes()
                    }
                    _ => objects.lock().unwrap().get(&path).cloned().unwrap_or_default(),
                };
                // It takes no objects in parts and knows no lifecycle rules.
                let is_other = head.method() == "POST" || head.target().contains("?lifecycle");
                let status = if is_other { "501 Not Implemented" } else { "200 OK" };
                connection
                    .send(format!(
                        "HTTP/1.1 {status}\r\nETag: \"x\"\r\nContent-Length: {}\r\n\r\n",
                        answer.len()
                    ))
                    .await;
                connection.send(answer).await;
            }
        }
    })
    .await;
    let store = S3Store::from_sdk_config(settings(&endpoint, "bucket"), &environment("a", "b"));
    assert!(!honours_conditional_put(&store).await.unwrap());
    let rows = store.probe().await;
    let statuses = statuses(&rows);
    assert_eq!(statuses["s3.put"], ProbeStatus::Passed, "{rows:#?}");
    assert_eq!(statuses["s3.conditional_put"], ProbeStatus::Failed, "{rows:#?}");
    assert_eq!(statuses["s3.checksum"], ProbeStatus::Warning, "{rows:#?}");
    assert_eq!(statuses["s3.read"], ProbeStatus::Passed, "{rows:#?}");
    assert_eq!(statuses["s3.list"], ProbeStatus::Passed, "{rows:#?}");
    assert_eq!(statuses["s3.parts"], ProbeStatus::Warning, "{rows:#?}");
    assert_eq!(statuses["s3.lifecycle"], ProbeStatus::Warning, "{rows:#?}");
    let row = rows.iter().find(|row| row.check == "s3.conditional_put").unwrap();
    assert!(row.message.contains("If-None-Match") && row.hint.contains("refused"), "{row:?}");
}

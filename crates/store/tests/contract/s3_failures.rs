//! Errors and probe results of S3 stores.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::TryStreamExt as _;
use tara_export_outbound::Environment;
use tara_export_store::{
    ListRequest, ProbeResult, ProbeStatus, Store, StoreError, StoreErrorKind,
    honours_conditional_put,
    s3::{S3Settings, S3Store},
};
use tara_export_test_support::raw_server::serve;
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tokio::{net::TcpListener, time::Instant};

use crate::{
    backends::{environment, real_settings, settings},
    contract::{key, payload},
};

fn everything() -> ListRequest {
    ListRequest { prefix: String::new(), start_after: None, delimited: false, limit: 1 }
}

/// The errors of all operations on a key without an object.
async fn errors(store: &S3Store) -> Vec<StoreError> {
    let key = key("a");
    let (put, list, get, head, delete) = futures::join!(
        store.put_if_absent(&key, payload("x")),
        store.list(everything()),
        store.get(&key),
        store.head(&key),
        store.delete(&key),
    );
    vec![
        put.unwrap_err(),
        list.unwrap_err(),
        get.unwrap_err(),
        head.unwrap_err(),
        delete.unwrap_err(),
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
    let put = rows.iter().find(|row| row.check == "s3.put").unwrap();
    assert!(put.message.contains("AWS_ACCESS_KEY_ID"), "{put:?}");
    assert!(put.hint.contains("No right is missing"), "{put:?}");
}

async fn missing_bucket_is_misconfigured(store: &S3Store) {
    for error in
        [store.list(everything()).await.unwrap_err(), store.get(&key("a")).await.unwrap_err()]
    {
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    }
    // The response to a HEAD has no body, so a missing bucket looks like a missing object.
    assert_eq!(store.head(&key("a")).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    let rows = store.probe().await;
    let statuses = statuses(&rows);
    assert_eq!(statuses["s3.bucket"], ProbeStatus::Failed, "{rows:?}");
    for skipped in ["s3.put", "s3.conditional_put", "s3.checksum", "s3.read", "s3.list"] {
        assert_eq!(statuses[skipped], ProbeStatus::Skipped, "{skipped}");
    }
}

/// S3 refuses a clock difference of 20 minutes. The SDK reads the difference from the first response.
async fn wrong_clock_is_corrected(settings: S3Settings, environment: aws_config::SdkConfig) {
    let wrong_time = std::time::SystemTime::now() - Duration::from_secs(20 * 60);
    let clock = aws_smithy_async::time::StaticTimeSource::new(wrong_time);
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
async fn wrong_credentials_are_denied_by_test_s3() {
    let server = TestS3::start().await;
    wrong_credentials_are_denied(settings(&server.endpoint(), server.bucket())).await;
}

#[tokio::test]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn wrong_credentials_are_denied_by_real_s3() {
    wrong_credentials_are_denied(real_settings()).await;
}

#[tokio::test]
async fn missing_bucket_is_misconfigured_on_test_s3() {
    let server = TestS3::start().await;
    let environment = environment(server.access_key(), server.secret_key());
    let settings = settings(&server.endpoint(), "tara-export-no-such-bucket");
    let store = S3Store::from_sdk_config(settings, &environment);
    missing_bucket_is_misconfigured(&store).await;
    for error in [
        store.put_if_absent(&key("a"), payload("x")).await.unwrap_err(),
        store.delete(&key("a")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn missing_bucket_is_misconfigured_on_real_s3() {
    let settings = S3Settings { bucket: "tara-export-no-such-bucket".into(), ..real_settings() };
    // No put here: SeaweedFS would create the bucket.
    let store = S3Store::connect(settings, Environment::of_process(), None).await.unwrap();
    missing_bucket_is_misconfigured(&store).await;
}

#[tokio::test]
async fn wrong_clock_is_corrected_by_test_s3() {
    let server = TestS3::start().await;
    let environment = environment(server.access_key(), server.secret_key());
    wrong_clock_is_corrected(settings(&server.endpoint(), server.bucket()), environment).await;
}

#[tokio::test]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn wrong_clock_is_corrected_by_real_s3() {
    let environment = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    wrong_clock_is_corrected(real_settings(), environment).await;
}

#[tokio::test]
async fn delete_sends_one_request_and_reports_its_error() {
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
        // Not an S3 error code, so the object may still exist.
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
    // The response is lost, and the next attempt finds no object.
    server.fail(FaultRule::new(Fault::ResetAfter).on(Operation::DeleteObject).times(1));
    assert!(store.delete(&key).await.unwrap_err().is_transient());
    assert!(server.object(&full_key).is_none());
    store.delete(&key).await.unwrap();
    // Some servers return an error for a missing object, unlike S3.
    server.fail(FaultRule::new(Fault::respond(404, "NoSuchKey")).on(Operation::DeleteObject));
    store.delete(&key).await.unwrap();
}

#[tokio::test]
async fn stopped_server_is_unavailable_at_once() {
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
async fn silent_server_times_out() {
    let endpoint = serve(|mut connection| async move { connection.hold().await }).await;
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(3_600));
    for (read_timeout, operation_timeout) in [(short, long), (long, short)] {
        let settings =
            S3Settings { read_timeout, operation_timeout, ..settings(&endpoint, "bucket") };
        let store = S3Store::from_sdk_config(settings, &environment("a", "b"));
        let errors = errors(&store).await;
        assert_eq!(kinds(&errors), [StoreErrorKind::Unavailable; 5], "{errors:?}");
    }
}

#[tokio::test]
async fn truncated_or_stalled_download_fails() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: \"x\"\r\n\r\n";
    let truncated = serve(move |mut connection| async move {
        connection.head().await;
        connection.send(format!("{head}half")).await;
    });
    let stalled = serve(move |mut connection| async move {
        connection.head().await;
        connection.send(format!("{head}half")).await;
        connection.hold().await;
    });
    for endpoint in [truncated.await, stalled.await] {
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
async fn bucket_in_another_region_is_named() {
    let endpoint = serve(|mut connection| async move {
        while connection.head().await.is_some() {
            let response = "HTTP/1.1 301 Moved Permanently\r\nx-amz-bucket-region: eu-central-1\r\n\
                            Content-Length: 0\r\n\r\n";
            connection.send(response).await;
        }
    })
    .await;
    let store = S3Store::from_sdk_config(settings(&endpoint, "bucket"), &environment("a", "b"));
    let error = store.head(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("eu-central-1"), "{error}");
}

/// Garage and s3rver behave like this: they accept every put and ignore its condition and checksum.
#[tokio::test]
async fn probe_detects_ignored_conditions_and_checksums() {
    let objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
    let endpoint = serve(move |mut connection| {
        let objects = objects.clone();
        async move {
            while let Some(head) = connection.head().await {
                let path = head.target().split('?').next().unwrap().to_owned();
                let body = connection.body(head.content_length()).await.unwrap();
                let body = match head.method() {
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
                // The server supports neither multipart uploads nor lifecycle rules.
                let is_unsupported =
                    head.method() == "POST" || head.target().contains("?lifecycle");
                let status = if is_unsupported { "501 Not Implemented" } else { "200 OK" };
                connection
                    .send(format!(
                        "HTTP/1.1 {status}\r\nETag: \"x\"\r\nContent-Length: {}\r\n\r\n",
                        body.len()
                    ))
                    .await;
                connection.send(body).await;
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
    // The server ignores start-after.
    assert_eq!(statuses["s3.list"], ProbeStatus::Warning, "{rows:#?}");
    assert_eq!(statuses["s3.parts"], ProbeStatus::Warning, "{rows:#?}");
    assert_eq!(statuses["s3.lifecycle"], ProbeStatus::Warning, "{rows:#?}");
    let row = rows.iter().find(|row| row.check == "s3.conditional_put").unwrap();
    assert!(row.message.contains("If-None-Match") && row.hint.contains("refused"), "{row:?}");
}

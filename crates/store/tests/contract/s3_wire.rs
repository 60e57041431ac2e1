//! The HTTP requests of an S3 store.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tara_export_digest::Sha256;
use tara_export_store::{
    Payload, PutOutcome, Store,
    s3::{S3Settings, S3Store, ServerSideEncryption},
};
use tara_export_test_support::raw_server::{RequestHead, serve};

use crate::{
    backends::{environment, settings},
    contract::{key, large, payload},
};

const MIB: usize = 1024 * 1024;
const CREATED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"x\"\r\n\r\n";

/// Puts one payload to a server that accepts everything, and returns the received request.
async fn sent(settings: impl Fn(&str) -> S3Settings, payload: Payload) -> (RequestHead, Vec<u8>) {
    let received = Arc::new(Mutex::new(None));
    let endpoint = serve({
        let received = received.clone();
        move |mut connection| {
            let received = received.clone();
            async move {
                let Some(head) = connection.head().await else { return };
                let body = connection.body(head.content_length()).await.unwrap();
                *received.lock().unwrap() = Some((head, body));
                connection.send(CREATED).await;
            }
        }
    })
    .await;
    let store = S3Store::from_sdk_config(settings(&endpoint), &environment("a", "b"));
    let outcome = store.put_if_absent(&key("folder/a b.json"), payload).await.unwrap();
    assert_eq!(outcome, PutOutcome::Created);
    received.lock().unwrap().take().unwrap()
}

#[tokio::test]
async fn put_has_condition_digest_and_exact_length() {
    for payload in [payload(""), payload("{}"), large(3 * MIB + 7)] {
        let (head, body) = sent(|endpoint| settings(endpoint, "bucket"), payload.clone()).await;
        assert_eq!(head.method(), "PUT");
        assert!(head.target().starts_with("/bucket/tara-export-tests/"), "{}", head.target());
        assert!(
            head.target().split('?').next().unwrap().ends_with("/folder/a%20b.json"),
            "{}",
            head.target()
        );
        assert_eq!(head.header("if-none-match"), Some("*"));
        let checksum = BASE64.encode(payload.sha256.as_bytes());
        assert_eq!(head.header("x-amz-checksum-sha256"), Some(checksum.as_str()));
        assert_eq!(head.header("x-amz-content-sha256"), Some(payload.sha256.to_string().as_str()));
        assert_eq!(head.header("content-length"), Some(payload.bytes.len().to_string().as_str()));
        assert_eq!(head.header("content-type"), Some("application/octet-stream"));
        for absent in [
            "transfer-encoding",
            "content-encoding",
            "x-amz-trailer",
            "x-amz-server-side-encryption",
        ] {
            assert_eq!(head.header(absent), None);
        }
        assert!(body == payload.bytes);
    }
}

/// The request has the payload's digest, so the body is not read to compute one.
#[tokio::test]
async fn body_is_not_hashed_again() {
    let wrong = Payload { sha256: Sha256::of(b"another"), ..payload("bytes") };
    let (head, _) = sent(|endpoint| settings(endpoint, "bucket"), wrong.clone()).await;
    assert_eq!(head.header("x-amz-content-sha256"), Some(wrong.sha256.to_string().as_str()));
}

#[tokio::test]
async fn put_has_encryption_headers() {
    let kms =
        |key_id: Option<&str>| ServerSideEncryption::SseKms { key_id: key_id.map(str::to_owned) };
    for (encryption, algorithm, key_id) in [
        (ServerSideEncryption::SseS3, "AES256", None),
        (kms(None), "aws:kms", None),
        (kms(Some("alias/audit")), "aws:kms", Some("alias/audit")),
    ] {
        let with_encryption = |endpoint: &str| S3Settings {
            server_side_encryption: encryption.clone(),
            ..settings(endpoint, "bucket")
        };
        let (head, _) = sent(with_encryption, payload("x")).await;
        assert_eq!(head.header("x-amz-server-side-encryption"), Some(algorithm));
        assert_eq!(head.header("x-amz-server-side-encryption-aws-kms-key-id"), key_id);
    }
}

/// Progress counts sent bytes, not buffered ones: while the server has received little, progress is low.
#[tokio::test]
async fn progress_follows_the_connection() {
    let sent_bytes = Arc::new(AtomicU64::new(0));
    let early_progress = Arc::new(AtomicU64::new(0));
    let endpoint = serve({
        let (sent_bytes, early_progress) = (sent_bytes.clone(), early_progress.clone());
        move |mut connection| {
            let (sent_bytes, early_progress) = (sent_bytes.clone(), early_progress.clone());
            async move {
                let Some(head) = connection.head().await else { return };
                connection.body(MIB).await.unwrap();
                early_progress.store(sent_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
                connection.body(head.content_length() - MIB).await.unwrap();
                connection.send(CREATED).await;
            }
        }
    })
    .await;
    let store = S3Store::from_sdk_config(settings(&endpoint, "bucket"), &environment("a", "b"));
    let progress = {
        let sent_bytes = sent_bytes.clone();
        Arc::new(move |sent| sent_bytes.store(sent, Ordering::Relaxed))
    };
    let payload = Payload { progress: Some(progress), ..large(64 * MIB) };
    store.put_if_absent(&key("large"), payload).await.unwrap();
    assert_eq!(sent_bytes.load(Ordering::Relaxed), 64 * MIB as u64);
    // The kernel's buffers of both ends have about 10 MiB.
    let early_progress = early_progress.load(Ordering::Relaxed);
    assert!((MIB as u64..32 * MIB as u64).contains(&early_progress), "{early_progress}");
}

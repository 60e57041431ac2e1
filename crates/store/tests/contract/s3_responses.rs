//! Responses of S3 that are too large, endless or too slow: every operation ends with a defined error and
//! reads a bounded part of the response. `tests/memory` measures the memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use tara_export_digest::{ContentChecksums, Crc64Nvme};
use tara_export_store::{
    FailureCause, ListRequest, ObjectChecksum, Part, PartStore as _, PartUpload, SourceLocation,
    SourceObject, Store, StoreError, StoreErrorKind, StoredPart, read_small,
    s3::{S3Settings, S3Store},
};
use tara_export_test_support::raw_server::{Connection, serve};

use crate::{
    backends::{environment, settings},
    contract::{key, payload},
};

/// A server that responds to every request with this head and then repeats the piece until the client
/// disconnects or 64 MiB are sent. Counts the sent bytes.
async fn endless(head: &'static str, piece: &'static [u8]) -> (S3Store, Arc<AtomicU64>) {
    let sent = Arc::<AtomicU64>::default();
    let counter = sent.clone();
    let endpoint = serve(move |mut connection| {
        let sent = counter.clone();
        async move {
            if receive(&mut connection).await.is_some() {
                connection.send(head).await;
                while sent.load(Ordering::Relaxed) < 64 << 20 && connection.try_send(piece).await {
                    sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
            }
        }
    })
    .await;
    (S3Store::from_sdk_config(settings(&endpoint, "bucket"), &environment("a", "b")), sent)
}

/// Receives a complete request.
async fn receive(connection: &mut Connection) -> Option<()> {
    let head = connection.head().await?;
    connection.body(head.content_length()).await.map(drop)
}

fn upload() -> PartUpload {
    PartUpload { key: key("a"), upload_id: "u".to_owned(), checksum: ObjectChecksum::None }
}

/// The errors of all operations whose response the SDK collects in memory, by name. HEAD has no body.
async fn errors(store: &S3Store) -> Vec<(&'static str, StoreError)> {
    let list = ListRequest { prefix: String::new(), start_after: None, delimited: false, limit: 9 };
    let content = Bytes::from_static(b"x");
    let part = Part {
        number: 1,
        crc64nvme: Crc64Nvme::of(&content),
        content: content.clone().into(),
        progress: None,
    };
    let location =
        SourceLocation { bucket: "bucket".to_owned(), key: "k".to_owned(), version_id: None };
    let info = tara_export_store::ObjectInfo {
        size_bytes: 1,
        sha256: None,
        crc64nvme: None,
        modified_time: None,
    };
    let source = SourceObject { location, e_tag: "\"e\"".to_owned(), info };
    let stored = StoredPart { number: 1, e_tag: "\"e\"".to_owned(), crc64nvme: None };
    let expected = ContentChecksums::of(&content);
    let upload = upload();
    vec![
        ("put", store.put_if_absent(&key("a"), payload("x")).await.unwrap_err()),
        ("list", store.list(list).await.unwrap_err()),
        ("delete", store.delete(&key("a")).await.unwrap_err()),
        ("begin", store.begin(&key("a"), "a/b", ObjectChecksum::None).await.unwrap_err()),
        ("put_part", store.put_part(&upload, part).await.unwrap_err()),
        ("copy_part", store.copy_part(&upload, 1, &source, 0..1).await.unwrap_err()),
        ("stored_parts", store.stored_parts(&upload).await.unwrap_err()),
        ("complete", store.complete_if_absent(&upload, &[stored], &expected).await.unwrap_err()),
        ("abort", store.abort(&upload).await.unwrap_err()),
        ("get", store.get(&key("a")).await.unwrap_err()),
        ("read_source", store.read_source(&source).await.unwrap_err()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_error_bodies_are_not_read() {
    for head in [
        "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 2684354560\r\n\r\n",
        "HTTP/1.1 500 Oh\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\n\r\n",
        "HTTP/1.1 412 Precondition Failed\r\nContent-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let piece: &[u8] = match head.contains("chunked") {
            true => b"8\r\n<a>xxxx \r\n",
            false => b"<Error><Code>SlowDown</Code> xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        };
        let (store, sent) = endless(head, piece).await;
        for (operation, error) in errors(&store).await {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{operation} {head}: {error}");
            assert_eq!(error.cause(), FailureCause::Damaged, "{operation} {head}: {error}");
            assert!(error.to_string().contains("the response has more than"), "{error}");
        }
        // Includes the bytes in the kernel's buffers.
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 64 << 20, "{head}: {sent} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_success_bodies_are_not_read() {
    let (store, _) =
        endless("HTTP/1.1 200 OK\r\nETag: \"x\"\r\n\r\n", b"<ListBucketResult>xxxxxxxxxx").await;
    for (operation, error) in errors_without_objects(&store).await {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{operation}: {error}");
        assert_eq!(error.cause(), FailureCause::Damaged, "{operation}: {error}");
    }
}

/// The errors of operations that collect a success response in memory. Object reads are streamed.
async fn errors_without_objects(store: &S3Store) -> Vec<(&'static str, StoreError)> {
    let list = ListRequest { prefix: String::new(), start_after: None, delimited: false, limit: 9 };
    vec![
        ("list", store.list(list).await.unwrap_err()),
        ("begin", store.begin(&key("a"), "a/b", ObjectChecksum::None).await.unwrap_err()),
        ("stored_parts", store.stored_parts(&upload()).await.unwrap_err()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_headers_are_refused() {
    let large = (0..90).map(|n| format!("x-amz-meta-{n}: {}\r\n", "v".repeat(1_000)));
    let large: String = large.collect();
    let one = format!("x-amz-meta: {}\r\n", "v".repeat(1 << 20));
    let many: String = (0..10_000).map(|n| format!("x-amz-meta-{n}: v\r\n")).collect();
    for headers in [large, one, many] {
        let endpoint = serve(move |mut connection| {
            let headers = headers.clone();
            async move {
                while receive(&mut connection).await.is_some() {
                    let head = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\n";
                    connection.send(format!("{head}{headers}\r\n")).await;
                }
            }
        })
        .await;
        let store = S3Store::from_sdk_config(settings(&endpoint, "bucket"), &environment("a", "b"));
        for error in [
            store.head(&key("a")).await.unwrap_err(),
            store.get(&key("a")).await.unwrap_err(),
            store.put_if_absent(&key("a"), payload("x")).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error} {error:?}");
        }
    }
}

#[tokio::test]
async fn slow_responses_end_with_operation_timeout() {
    let endpoint = serve(|mut connection| async move {
        receive(&mut connection).await;
        let head = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 100000\r\n\r\n";
        connection.send(head).await;
        while connection.try_send(b" ").await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let short = Duration::from_millis(300);
    let settings = S3Settings { operation_timeout: short, ..settings(&endpoint, "bucket") };
    let store = S3Store::from_sdk_config(settings, &environment("a", "b"));
    for (operation, error) in errors_without_objects(&store).await {
        assert_eq!(error.cause(), FailureCause::Timeout, "{operation}: {error}");
    }
    let error = read_small(&store, &key("a"), 1 << 20).await.unwrap_err();
    assert!(error.to_string().contains("too slow"), "{error}");
}

#[tokio::test]
async fn long_error_texts_are_truncated() {
    let endpoint = serve(|mut connection| async move {
        while receive(&mut connection).await.is_some() {
            let long = "A".repeat(50_000);
            let body = format!("<Error><Code>{long}</Code><Message>{long}</Message></Error>");
            let length = body.len();
            let head = format!(
                "HTTP/1.1 403 Forbidden\r\nx-amz-request-id: {}\r\nContent-Length: {length}\r\n\r\n",
                "R".repeat(20_000)
            );
            connection.send(format!("{head}{body}")).await;
        }
    })
    .await;
    let store = S3Store::from_sdk_config(settings(&endpoint, "bucket"), &environment("a", "b"));
    for (operation, error) in errors(&store).await {
        let text = format!("{error} {error:?}");
        assert!(text.len() < 4_000, "{operation}: {} bytes", text.len());
    }
}

#[tokio::test]
async fn oversized_names_are_refused() {
    let endpoint = serve(|mut connection| async move {
        while let Some(head) = connection.head().await {
            connection.body(head.content_length()).await;
            let long = "U".repeat(50_000);
            let tag = match head.method() {
                "POST" => format!("<InitiateMultipartUploadResult><UploadId>{long}</UploadId></InitiateMultipartUploadResult>"),
                _ => String::new(),
            };
            let length = tag.len();
            let response = format!(
                "HTTP/1.1 200 OK\r\nETag: \"{long}\"\r\nContent-Length: {length}\r\n\r\n{tag}"
            );
            connection.send(response).await;
        }
    })
    .await;
    let store = S3Store::from_sdk_config(settings(&endpoint, "bucket"), &environment("a", "b"));
    let location =
        SourceLocation { bucket: "bucket".to_owned(), key: "k".to_owned(), version_id: None };
    let content = Bytes::from_static(b"x");
    let part = Part {
        number: 1,
        crc64nvme: Crc64Nvme::of(&content),
        content: content.into(),
        progress: None,
    };
    for error in [
        store.begin(&key("a"), "a/b", ObjectChecksum::None).await.unwrap_err(),
        store.put_part(&upload(), part).await.unwrap_err(),
        store.look_up_source(&location).await.unwrap_err(),
    ] {
        assert_eq!(error.cause(), FailureCause::Damaged, "{error}");
        assert!(error.to_string().len() < 500, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_listings_are_broken_responses() {
    const PARTS: &str = "<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>";
    let endpoint = serve(|mut connection| async move {
        while let Some(head) = connection.head().await {
            let body = match head.target().contains("list-type=2") {
                true => "<ListBucketResult><IsTruncated>true</IsTruncated>\
                         <NextContinuationToken>same</NextContinuationToken></ListBucketResult>"
                    .to_owned(),
                // A different marker each time.
                false => format!(
                    "<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>\
                     {}</NextPartNumberMarker>{}</ListPartsResult>",
                    next_marker(),
                    PARTS.repeat(1_000)
                ),
            };
            let length = body.len();
            connection
                .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"))
                .await;
        }
    })
    .await;
    let store = S3Store::from_sdk_config(settings(&endpoint, "bucket"), &environment("a", "b"));
    let list = ListRequest { prefix: String::new(), start_after: None, delimited: false, limit: 9 };
    for error in
        [store.list(list).await.unwrap_err(), store.stored_parts(&upload()).await.unwrap_err()]
    {
        assert_eq!(error.cause(), FailureCause::Damaged, "{error}");
    }
}

/// A different number each time.
fn next_marker() -> usize {
    static NEXT: AtomicU64 = AtomicU64::new(1_000);
    NEXT.fetch_add(1_000, Ordering::Relaxed) as usize
}

/// The size limits do not apply to objects.
#[tokio::test(flavor = "multi_thread")]
async fn large_objects_are_streamed() {
    const BYTES: u64 = 40 << 20;
    let endpoint = serve(|mut connection| async move {
        while receive(&mut connection).await.is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: {BYTES}\r\n\r\n");
            connection.send(head).await;
            for _ in 0..BYTES >> 20 {
                connection.send(vec![b'<'; 1 << 20]).await;
            }
        }
    })
    .await;
    let store = S3Store::from_sdk_config(settings(&endpoint, "bucket"), &environment("a", "b"));
    let object = store.get(&key("a")).await.unwrap();
    let read = object.body.map(|piece| piece.map(|piece| piece.len() as u64));
    assert_eq!(read.try_fold(0, |sum, bytes| async move { Ok(sum + bytes) }).await.unwrap(), BYTES);
}

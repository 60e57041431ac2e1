//! Memory for S3 responses: `docs/limits.md` states the bounds.

use std::sync::Arc;

use tara_export_store::{
    ListRequest, ObjectChecksum, ObjectKey, PartUpload, Payload, Store, StoreError,
};
use tara_export_test_support::raw_server::serve;

use crate::{
    allocator::{alone, peak_during},
    harness::s3::s3_store,
};

/// 256 KiB, collected and decoded, plus the connection and hyper's buffer for it.
const SMALL_BOUND: usize = 3 << 20;
/// 8 MiB, collected and decoded, with 40,000 tags or attributes.
const LISTING_BOUND: usize = 40 << 20;

/// A store whose server responds to every request with this head and then repeats the piece until the
/// client disconnects or has received `bytes` bytes.
async fn store(head: &str, start: &str, piece: String, bytes: u64) -> Arc<dyn Store> {
    let (head, start) = (head.to_owned(), start.to_owned());
    let endpoint = serve(move |mut connection| {
        let (head, start, piece) = (head.clone(), start.clone(), piece.clone());
        async move {
            if let Some(request) = connection.head().await {
                connection.body(request.content_length()).await;
                connection.send(format!("{head}\r\n\r\n{start}")).await;
                let mut sent = start.len() as u64;
                while sent < bytes && connection.try_send(piece.as_bytes()).await {
                    sent += piece.len() as u64;
                }
            }
        }
    })
    .await;
    let store = s3_store(&endpoint, "bucket", "a", "b");
    // Connecting, signing and resolving for the first time is not part of the measurement.
    let _ = store.head(&key()).await;
    store
}

fn key() -> ObjectKey {
    ObjectKey::new("folder/object").unwrap()
}

fn list() -> ListRequest {
    ListRequest { prefix: String::new(), start_after: None, delimited: false, limit: 1_000 }
}

/// The highest peak of these operations. Asserts that each fails.
async fn peak_of_errors(store: &Arc<dyn Store>) -> usize {
    let upload =
        PartUpload { key: key(), upload_id: "u".to_owned(), checksum: ObjectChecksum::None };
    let payload = || Payload::new("x".into(), tara_export_digest::Sha256::of(b"x"), "text/plain");
    let parts = store.parts().unwrap();
    let mut highest = 0;
    let mut measure = |(result, peak): (Result<(), StoreError>, usize)| {
        assert!(result.is_err());
        highest = highest.max(peak);
    };
    measure(peak_during(async { store.put_if_absent(&key(), payload()).await.map(drop) }).await);
    measure(peak_during(async { store.get(&key()).await.map(drop) }).await);
    measure(peak_during(async { store.delete(&key()).await }).await);
    measure(peak_during(async { store.list(list()).await.map(drop) }).await);
    measure(
        peak_during(async { parts.begin(&key(), "a/b", ObjectChecksum::None).await.map(drop) })
            .await,
    );
    measure(peak_during(async { parts.abort(&upload).await }).await);
    highest
}

#[test]
fn huge_error_takes_as_little_as_a_small_response() {
    alone(async {
        const BYTES: u64 = 2_684_354_560;
        let head = format!("HTTP/1.1 500 Oh\r\nContent-Length: {BYTES}");
        let start = "<Error><Code>InternalError</Code><Message>";
        let store = store(&head, start, "x".repeat(1 << 16), BYTES).await;
        let peak = peak_of_errors(&store).await;
        assert!(peak < SMALL_BOUND, "{peak}");
    });
}

#[test]
fn hostile_xml_takes_as_little_as_a_small_response() {
    const BOMB: &str = "<?xml version=\"1.0\"?><!DOCTYPE b [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \
        \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\">]><Error><Code>&c;";
    for (start, piece, end) in [
        (BOMB, "&c;&c;&c;&c;", "</Code></Error>"),
        ("<Error>", "<a>", ""),
        ("<Error>", "<a/>", "</Error>"),
        ("<Error><Code>", "&#x1F600;", "</Code></Error>"),
        ("<Error ", "a=\"b\" ", "></Error>"),
        ("<Error ", "a = 'b' ", "></Error>"),
        ("<Error><Code><![CDATA[", "]]]]><![CDATA[>", "]]></Code></Error>"),
    ] {
        alone(async {
            let body = format!("{start}{}{end}", piece.repeat(200_000 / piece.len()));
            let head = format!("HTTP/1.1 500 Oh\r\nContent-Length: {}", body.len());
            let store = store(&head, &body, String::new(), 0).await;
            let peak = peak_of_errors(&store).await;
            assert!(peak < SMALL_BOUND, "{piece}: {peak}");
        });
    }
}

#[test]
fn endless_headers_take_as_little_as_a_small_response() {
    for piece in ["x-a: b\r\n".repeat(100), "v".repeat(1 << 16)] {
        alone(async {
            let store = store("HTTP/1.1 500 Oh\r\nx-b: ", "", piece, 1 << 30).await;
            let peak = peak_of_errors(&store).await;
            assert!(peak < SMALL_BOUND, "{peak}");
        });
    }
}

#[test]
fn listings_of_tiny_elements_take_no_more_than_a_large_listing() {
    for (start, piece) in [
        ("<ListBucketResult>", "<Contents/>"),
        ("<ListBucketResult>", "<CommonPrefixes/>"),
        ("<ListBucketResult>", "<Contents><Owner/></Contents>"),
        ("<ListBucketResult><Contents><Key>", "&quot;"),
        ("<ListBucketResult>", "<Contents><ChecksumAlgorithm>a</ChecksumAlgorithm></Contents>"),
        ("<ListPartsResult>", "<Part/>"),
        ("<ListBucketResult><Contents ", "a=\"\" "),
    ] {
        let tags = piece.matches(['<', '=']).count().max(1);
        for repeats in [39_000 / tags, 8_000_000 / piece.len()] {
            alone(async {
                let end = match start.contains("<Key>") {
                    true => "</Key></Contents></ListBucketResult>",
                    false if start.contains("Parts") => "</ListPartsResult>",
                    false => "</ListBucketResult>",
                };
                let repeats = repeats.min(8_000_000 / piece.len());
                let body = format!("{start}{}{end}", piece.repeat(repeats));
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}", body.len());
                let store = store(&head, &body, String::new(), 0).await;
                let upload = PartUpload {
                    key: key(),
                    upload_id: "u".to_owned(),
                    checksum: ObjectChecksum::None,
                };
                let (_, peak) = match start.contains("Parts") {
                    true => {
                        let (result, peak) =
                            peak_during(store.parts().unwrap().stored_parts(&upload)).await;
                        (result.map(drop), peak)
                    }
                    false => {
                        let (result, peak) = peak_during(store.list(list())).await;
                        (result.map(drop), peak)
                    }
                };
                assert!(peak < LISTING_BOUND, "{repeats} × {piece}: {peak}");
            });
        }
    }
}

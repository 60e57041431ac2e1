//! Objects round-trip, and missing ones are reported.

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumMode, Delete, ObjectIdentifier, ServerSideEncryption},
};
use tara_export_test_support::{Operation, TestS3};

use crate::client::{bytes, client, client_with, refusal, refused};

#[tokio::test]
async fn object_round_trips_with_its_attributes() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    let key = "ordner/größe 文書 +&?#%.json";
    let body = bytes(300_000, 1);
    s3.put_object()
        .bucket(server.bucket())
        .key(key)
        .content_type("application/json")
        .metadata("reviewer", "somebody")
        .server_side_encryption(ServerSideEncryption::AwsKms)
        .ssekms_key_id("key-1")
        .body(ByteStream::from(body.clone()))
        .send()
        .await
        .unwrap();

    let got = s3.get_object().bucket(server.bucket()).key(key).send().await.unwrap();
    assert_eq!(got.content_type(), Some("application/json"));
    assert_eq!(got.metadata().unwrap()["reviewer"], "somebody");
    assert_eq!(got.server_side_encryption(), Some(&ServerSideEncryption::AwsKms));
    assert_eq!(got.ssekms_key_id(), Some("key-1"));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), body);

    let put = &server.requests_of(Operation::PutObject)[0];
    assert_eq!((put.key.as_str(), put.bucket.as_str()), (key, server.bucket()));
    assert_eq!(put.status.unwrap(), 200);
    assert!(put.finished.unwrap() >= put.started);
    assert_eq!(server.object(key).unwrap().content_type(), Some("application/json"));
}

#[tokio::test]
async fn reads_support_ranges_and_conditions() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    server.put_raw("k", "0123456789");
    let get = || s3.get_object().bucket(server.bucket()).key("k");
    for (range, content, header) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=5-99", "56789", "bytes 5-9/10"),
    ] {
        let got = get().range(range).checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
        assert_eq!(got.content_range(), Some(header));
        assert_eq!(got.body.collect().await.unwrap().into_bytes(), content);
    }
    assert_eq!(refusal(get().range("bytes=10-").send().await), refused(416, "InvalidRange"));
    let etag = format!("\"{}\"", server.object("k").unwrap().etag);
    get().if_match(&etag).send().await.unwrap();
    assert_eq!(refusal(get().if_match("\"0\"").send().await), refused(412, "PreconditionFailed"));
    assert_eq!(refusal(get().if_none_match(&etag).send().await).0, 304);
}

#[tokio::test]
async fn missing_objects_and_buckets_are_reported() {
    let server = TestS3::builder().extra_bucket("second-bucket").start().await.unwrap();
    let s3 = client(&server);
    let get = |bucket: &str| s3.get_object().bucket(bucket).key("k").send();
    assert_eq!(refusal(get(server.bucket()).await), refused(404, "NoSuchKey"));
    assert_eq!(refusal(get("second-bucket").await), refused(404, "NoSuchKey"));
    assert_eq!(refusal(get("no-bucket").await), refused(404, "NoSuchBucket"));
    let put = s3.put_object().bucket("no-bucket").key("k").body(ByteStream::from_static(b"x"));
    assert_eq!(refusal(put.send().await), refused(404, "NoSuchBucket"));
    assert_eq!(refusal(s3.list_objects_v2().bucket("no-bucket").send().await).1, "NoSuchBucket");
    assert_eq!(refusal(s3.head_bucket().bucket("no-bucket").send().await).0, 404);
    assert_eq!(refusal(s3.head_object().bucket(server.bucket()).key("k").send().await).0, 404);
    s3.head_bucket().bucket(server.bucket()).send().await.unwrap();
    let buckets = s3.list_buckets().send().await.unwrap();
    assert_eq!(buckets.buckets().len(), 2);
    let versioning = s3.get_bucket_versioning().bucket(server.bucket()).send().await.unwrap();
    assert_eq!(versioning.status(), None);
    s3.get_bucket_location().bucket(server.bucket()).send().await.unwrap();
    let lifecycle = s3.get_bucket_lifecycle_configuration().bucket(server.bucket()).send().await;
    assert_eq!(refusal(lifecycle).1, "NoSuchLifecycleConfiguration");
}

#[tokio::test]
async fn wrong_credentials_get_403() {
    let server = TestS3::start().await;
    // Also with a large body: the response is not lost in a reset.
    for length in [1, 3_000_000] {
        let put = client_with(&server, "wrong").put_object().bucket(server.bucket()).key("k");
        let result = put.body(ByteStream::from(bytes(length, 1))).send().await;
        assert_eq!(refusal(result), refused(403, "SignatureDoesNotMatch"));
    }
    assert_eq!(server.objects().len(), 0);
}

#[tokio::test]
async fn objects_are_deleted_and_copied() {
    let server = TestS3::builder().extra_bucket("second-bucket").start().await.unwrap();
    let s3 = client(&server);
    server.put_raw_in("second-bucket", "from/größe", "content");
    let etag = s3.head_object().bucket("second-bucket").key("from/größe").send().await.unwrap();
    let etag = etag.e_tag().unwrap().to_owned();
    let copy = |etag: &str| {
        let copy = s3.copy_object().bucket(server.bucket()).key("to");
        copy.copy_source("second-bucket/from/gr%C3%B6%C3%9Fe").copy_source_if_match(etag)
    };
    assert_eq!(refusal(copy("\"0\"").send().await), refused(412, "PreconditionFailed"));
    let copied = copy(&etag).send().await.unwrap();
    assert_eq!(copied.copy_object_result().unwrap().e_tag(), Some(etag.as_str()));
    assert_eq!(server.object("to").unwrap().bytes, "content");

    for key in ["a", "b", "c"] {
        server.put_raw(key, "x");
    }
    s3.delete_object().bucket(server.bucket()).key("a").send().await.unwrap();
    s3.delete_object().bucket(server.bucket()).key("a").send().await.unwrap();
    let keys = ["b", "c"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(keys.to_vec())).build().unwrap();
    s3.delete_objects().bucket(server.bucket()).delete(delete).send().await.unwrap();
    assert_eq!(server.objects().into_keys().collect::<Vec<_>>(), ["to"]);
    assert_eq!(server.requests_of(Operation::DeleteObject).len(), 2);
}

#[tokio::test]
async fn stored_objects_can_be_corrupted_and_removed() {
    let server = TestS3::start().await;
    server.put_raw("k", "0123456789");
    let before = server.object("k").unwrap();
    assert!(server.corrupt("k"));
    let corrupted = server.object("k").unwrap();
    assert_eq!((corrupted.bytes.len(), &corrupted.etag), (10, &before.etag));
    assert_ne!(corrupted.sha256(), before.sha256());
    assert!(server.truncate("k"));
    assert_eq!(server.object("k").unwrap().bytes.len(), 5);
    assert!(server.remove("k"));
    assert!(!server.remove("k") && !server.corrupt("k") && !server.truncate("k"));
}

/// Prints the server's overhead; run it with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "prints timings"]
async fn timings() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    for (length, count) in [(100, 500), (32 << 20, 3)] {
        let start = std::time::Instant::now();
        for number in 0..count {
            let put = s3.put_object().bucket(server.bucket()).key(format!("k{number}"));
            put.body(ByteStream::from(vec![7; length])).send().await.unwrap();
        }
        println!("put {length}: {:?} each", start.elapsed() / count);
    }
}

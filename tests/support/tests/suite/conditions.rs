//! Conditional writes have exactly one winner.

use aws_sdk_s3::primitives::ByteStream;
use futures::future::join_all;
use tara_export_test_support::{Operation, TestS3};

use crate::client::{client, refusal, refused};

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_conditional_puts_exactly_one_wins() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    for round in 0..40 {
        let key = format!("claims/{round}");
        let puts = join_all((0..16).map(|writer| {
            let put = s3.put_object().bucket(server.bucket()).key(&key).if_none_match("*");
            put.body(ByteStream::from(format!("writer {writer}").into_bytes())).send()
        }));
        let results = puts.await;
        let winners: Vec<usize> = (0..16).filter(|writer| results[*writer].is_ok()).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(server.object(&key).unwrap().bytes, format!("writer {}", winners[0]));
        for result in results.into_iter().filter(Result::is_err) {
            assert_eq!(refusal(result), refused(412, "PreconditionFailed"));
        }
    }
    let most = server.requests_of(Operation::PutObject).iter().map(|put| put.in_flight).max();
    assert!(most > Some(1), "the puts were never side by side: {most:?}");
}

#[tokio::test]
async fn if_match_writes_only_over_the_named_object() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    let put = |etag: &str| {
        let body = ByteStream::from_static(b"second");
        s3.put_object().bucket(server.bucket()).key("k").if_match(etag).body(body).send()
    };
    assert_eq!(refusal(put("\"00\"").await), refused(404, "NoSuchKey"));
    server.put_raw("k", "first");
    assert_eq!(refusal(put("\"00\"").await), refused(412, "PreconditionFailed"));
    let etag = format!("\"{}\"", server.object("k").unwrap().etag);
    put(&etag).await.unwrap();
    assert_eq!(server.object("k").unwrap().bytes, "second");
}

#[tokio::test]
async fn a_server_that_ignores_conditions_overwrites() {
    let server = TestS3::builder().ignore_conditions().start().await.unwrap();
    let s3 = client(&server);
    for body in ["first", "second"] {
        let body = ByteStream::from_static(body.as_bytes());
        s3.put_object()
            .bucket(server.bucket())
            .key("k")
            .if_none_match("*")
            .body(body)
            .send()
            .await
            .unwrap();
    }
    assert_eq!(server.object("k").unwrap().bytes, "second");
}

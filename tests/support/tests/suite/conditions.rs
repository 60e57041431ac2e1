//! Conditional writes have exactly one winner.

use aws_sdk_s3::primitives::ByteStream;
use futures::future::join_all;
use tara_export_test_support::{Operation, TestS3};

use crate::client::{bytes, client, refusal, refused};

#[tokio::test(flavor = "multi_thread")]
async fn one_of_sixteen_conditional_puts_wins() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    // Bodies larger than a socket buffer arrive in pieces, so that the puts interleave.
    let body = |writer: usize| bytes(200_000, writer as u8);
    for round in 0..20 {
        let key = format!("claims/{round}");
        let results = join_all((0..16).map(|writer| {
            let put = s3.put_object().bucket(server.bucket()).key(&key).if_none_match("*");
            put.body(ByteStream::from(body(writer))).send()
        }))
        .await;
        let winners: Vec<usize> = (0..16).filter(|writer| results[*writer].is_ok()).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(server.object(&key).unwrap().bytes, body(winners[0]));
        for result in results.into_iter().filter(Result::is_err) {
            assert_eq!(refusal(result), refused(412, "PreconditionFailed"));
        }
    }
    let most = server.requests_of(Operation::PutObject).iter().map(|put| put.in_flight).max();
    assert!(most > Some(1), "the puts were never concurrent: {most:?}");
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
async fn ignored_conditions_overwrite() {
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

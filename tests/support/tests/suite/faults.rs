//! Every fault has its effect, on the selected requests and as often as requested.

use std::time::{Duration, Instant};

use aws_sdk_s3::{Client, primitives::ByteStream};
use chrono::TimeDelta;
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::client::{bytes, client, refusal, refused};

async fn put(s3: &Client, server: &TestS3, key: &str) -> Result<(), (u16, String)> {
    let put = s3.put_object().bucket(server.bucket()).key(key).if_none_match("*");
    match put.body(ByteStream::from_static(b"content")).send().await {
        Ok(_) => Ok(()),
        failed => Err(refusal(failed)),
    }
}

#[tokio::test]
async fn error_responses_do_not_apply_the_operation() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    for (fault, status, code) in [
        (Fault::INTERNAL_ERROR, 500, "InternalError"),
        (Fault::SLOW_DOWN, 503, "SlowDown"),
        (Fault::SERVICE_UNAVAILABLE, 503, "ServiceUnavailable"),
        (Fault::ACCESS_DENIED, 403, "AccessDenied"),
        (Fault::EXPIRED_TOKEN, 400, "ExpiredToken"),
        (Fault::NO_SUCH_BUCKET, 404, "NoSuchBucket"),
        (Fault::CONDITIONAL_REQUEST_CONFLICT, 409, "ConditionalRequestConflict"),
        (Fault::PRECONDITION_FAILED, 412, "PreconditionFailed"),
        (Fault::respond(403, "SomethingNew"), 403, "SomethingNew"),
    ] {
        let id = server.fail(FaultRule::new(fault).times(1));
        assert_eq!(put(&s3, &server, code).await, Err(refused(status, code)));
        assert_eq!(server.fault_hits(id), 1);
        assert!(server.object(code).is_none());
        assert_eq!(put(&s3, &server, code).await, Ok(()));
    }
}

#[tokio::test]
async fn deletions_fail_like_any_operation() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    server.put_raw("k", "x");
    let delete = || s3.delete_object().bucket(server.bucket()).key("k").send();
    let fail = |fault| server.fail(FaultRule::new(fault).on(Operation::DeleteObject).times(1));
    fail(Fault::ACCESS_DENIED);
    assert_eq!(refusal(delete().await), refused(403, "AccessDenied"));
    fail(Fault::ResetBefore);
    delete().await.unwrap_err();
    assert!(server.object("k").is_some());
    fail(Fault::ResetAfter);
    delete().await.unwrap_err();
    assert!(server.object("k").is_none());
    let statuses: Vec<Option<u16>> = server
        .requests_of(Operation::DeleteObject)
        .iter()
        .map(|request| request.status.map(|status| status.as_u16()))
        .collect();
    assert_eq!(statuses, [Some(403), None, None]);
}

#[tokio::test]
async fn rules_match_by_operation_key_and_count() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    let rule = FaultRule::new(Fault::SLOW_DOWN).on(Operation::PutObject);
    let rule = rule.key_contains("folder/").key_ends_with(".json").after(1).times(2);
    let id = server.fail(rule);
    assert_eq!(put(&s3, &server, "elsewhere/a.json").await, Ok(()));
    assert_eq!(put(&s3, &server, "folder/a.txt").await, Ok(()));
    assert_eq!(put(&s3, &server, "folder/1.json").await, Ok(()));
    let slow_down = Err(refused(503, "SlowDown"));
    assert_eq!(put(&s3, &server, "folder/2.json").await, slow_down);
    s3.get_object().bucket(server.bucket()).key("folder/1.json").send().await.unwrap();
    assert_eq!(put(&s3, &server, "folder/3.json").await, slow_down);
    assert_eq!(put(&s3, &server, "folder/4.json").await, Ok(()));
    assert_eq!(server.fault_hits(id), 2);

    let id = server.fail(FaultRule::new(Fault::INTERNAL_ERROR));
    for key in ["x", "y"] {
        assert_eq!(put(&s3, &server, key).await, Err(refused(500, "InternalError")));
    }
    server.clear_fault(id);
    assert_eq!(put(&s3, &server, "x").await, Ok(()));
}

#[tokio::test]
async fn status_200_can_contain_an_error() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    server.put_raw("from", "content");
    server.fail(FaultRule::new(Fault::OkWithError { code: "InternalError" }).times(1));
    let copy = || {
        let source = format!("{}/from", server.bucket());
        s3.copy_object().bucket(server.bucket()).key("to").copy_source(source).send()
    };
    // The SDK reads the response as an error, whatever status it then reports.
    assert_eq!(refusal(copy().await).1, "InternalError");
    assert_eq!(server.requests_of(Operation::CopyObject)[0].status.unwrap(), 200);
    assert!(server.object("to").is_none());
    copy().await.unwrap();
}

#[tokio::test]
async fn reset_before_applies_nothing_and_reset_after_everything() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    server.fail(FaultRule::new(Fault::ResetBefore).times(1));
    assert_eq!(put(&s3, &server, "k").await, Err(refused(0, "")));
    assert!(server.object("k").is_none());
    server.fail(FaultRule::new(Fault::ResetAfter).times(1));
    assert_eq!(put(&s3, &server, "k").await, Err(refused(0, "")));
    assert_eq!(server.object("k").unwrap().bytes, "content");
    // The retry after a lost response finds its own object.
    assert_eq!(put(&s3, &server, "k").await, Err(refused(412, "PreconditionFailed")));
    let statuses: Vec<_> = server.requests().iter().map(|put| put.status).collect();
    assert_eq!(statuses[..2], [None, None]);
}

#[tokio::test]
async fn reset_fault_sends_a_tcp_reset() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = TestS3::start().await;
    server.fail(FaultRule::new(Fault::ResetBefore));
    let address = server.endpoint().replace("http://", "");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let error = stream.read(&mut [0; 64]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn truncated_response_ends_in_the_middle() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    for length in [2, 100_000, 3_000_000] {
        server.put_raw("k", bytes(length, 5));
        server.fail(FaultRule::new(Fault::TruncateResponse).times(1));
        let got = s3.get_object().bucket(server.bucket()).key("k").send().await.unwrap();
        assert_eq!(got.content_length(), Some(length as i64));
        let (mut body, mut received) = (got.body, 0);
        let error = loop {
            match body.next().await {
                Some(Ok(piece)) => received += piece.len(),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        assert!(error.is_some(), "the end must not look like a complete body");
        assert_eq!(received, length / 2);
    }
    // A response without a body is lost, but the operation was applied.
    server.fail(FaultRule::new(Fault::TruncateResponse).times(1));
    assert_eq!(put(&s3, &server, "new").await, Err(refused(0, "")));
    assert!(server.object("new").is_some());
}

#[tokio::test]
async fn stalled_request_continues_when_cleared() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    let id = server.fail(FaultRule::new(Fault::Stall).key_ends_with("stalled").times(1));
    let mut stalled = Box::pin(put(&s3, &server, "stalled"));
    // Other requests succeed while it is stalled.
    loop {
        tokio::select! {
            biased;
            _ = &mut stalled => panic!("response while stalled"),
            other = put(&s3, &server, "other") => assert!(other.is_ok() || server.object("other").is_some()),
        }
        if server.fault_hits(id) == 1 {
            break;
        }
    }
    assert!(server.object("stalled").is_none());
    server.clear_fault(id);
    assert_eq!(stalled.await, Ok(()));
    assert!(server.object("stalled").is_some());
}

#[tokio::test]
async fn stalled_request_is_applied_after_the_client_disconnects() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    let id = server.fail(FaultRule::new(Fault::Stall).times(1));
    {
        let mut stalled = Box::pin(put(&s3, &server, "late"));
        while server.fault_hits(id) == 0 {
            tokio::select! {
                _ = &mut stalled => panic!("response while stalled"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    assert!(server.object("late").is_none());
    server.clear_faults();
    while server.object("late").is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn delays_and_latency_are_applied() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    let pause = Duration::from_millis(60);
    server.fail(FaultRule::new(Fault::Delay(pause)).times(1));
    let start = Instant::now();
    assert_eq!(put(&s3, &server, "delayed").await, Ok(()));
    assert!(start.elapsed() >= pause);
    server.latency(pause);
    let start = Instant::now();
    assert_eq!(put(&s3, &server, "slow").await, Ok(()));
    assert!(start.elapsed() >= pause);
    let slow = server.requests().pop().unwrap();
    assert!(slow.finished.unwrap() - slow.started >= pause);
}

#[tokio::test]
async fn skewed_clock_refuses_and_returns_its_time() {
    let server = TestS3::start().await;
    // A client corrects its clock by the responses, so each attempt uses a new client.
    let head = || client(&server).head_bucket().bucket(server.bucket()).send();
    for skew in [TimeDelta::minutes(20), TimeDelta::minutes(-20)] {
        server.clock_skew(skew);
        let error = head().await.unwrap_err();
        let response = error.raw_response().unwrap();
        assert_eq!(response.status().as_u16(), 403);
        let date = chrono::DateTime::parse_from_rfc2822(response.headers().get("date").unwrap());
        let distance = date.unwrap().to_utc() - chrono::Utc::now() - skew;
        assert!(distance.abs() < TimeDelta::seconds(30), "{distance}");
    }
    server.clock_skew(TimeDelta::minutes(10));
    head().await.unwrap();
}

/// A client that corrects its clock by the server's, as the SDK does when it retries, is accepted.
#[tokio::test]
async fn corrected_clock_is_accepted() {
    let server = TestS3::start().await;
    let config = client(&server).config().to_builder();
    let retry = aws_sdk_s3::config::retry::RetryConfig::standard()
        .with_initial_backoff(Duration::from_millis(1));
    let s3 = Client::from_conf(config.retry_config(retry).build());
    server.clock_skew(TimeDelta::minutes(20));
    s3.list_objects_v2().bucket(server.bucket()).send().await.unwrap();
    assert_eq!(server.requests().len(), 2);
}

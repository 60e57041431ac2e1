//! Stops and restarts.

use std::net::TcpListener;

use aws_sdk_s3::primitives::ByteStream;
use tara_export_test_support::{Fault, FaultRule, TestS3};

use crate::client::client;

#[tokio::test]
async fn restart_keeps_port_and_objects() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    let put = |key: &str| {
        let put = s3.put_object().bucket(server.bucket()).key(key);
        put.body(ByteStream::from_static(b"x")).send()
    };
    put("before").await.unwrap();
    let endpoint = server.endpoint();
    server.stop();
    put("during").await.unwrap_err();
    server.restart().await.unwrap();
    assert_eq!(server.endpoint(), endpoint);
    put("after").await.unwrap();
    assert_eq!(server.objects().into_keys().collect::<Vec<_>>(), ["after", "before"]);
}

#[tokio::test]
async fn stop_ends_requests_in_flight() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    let id = server.fail(FaultRule::new(Fault::Stall));
    let mut request = Box::pin(s3.list_objects_v2().bucket(server.bucket()).send());
    while server.fault_hits(id) == 0 {
        tokio::select! {
            _ = &mut request => panic!("response while stalled"),
            () = tokio::task::yield_now() => {}
        }
    }
    server.stop();
    request.await.unwrap_err();
}

#[tokio::test]
async fn drop_frees_the_port() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    s3.head_bucket().bucket(server.bucket()).send().await.unwrap();
    let address = server.endpoint().replace("http://", "");
    TcpListener::bind(&address).unwrap_err();
    drop(server);
    TcpListener::bind(&address).unwrap();
}

/// The server has its own thread and is not affected by a test's paused time.
#[tokio::test(start_paused = true)]
async fn paused_time_does_not_stop_the_server() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    s3.head_bucket().bucket(server.bucket()).send().await.unwrap();
}

#[tokio::test]
async fn environment_points_at_the_server() {
    let server = TestS3::builder().bucket("some-bucket").start().await.unwrap();
    let environment = server.environment();
    let names: Vec<&str> = environment.iter().map(|(name, _)| *name).collect();
    let expected = "AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION \
                    S3_BUCKET_NAME S3_PATH_STYLE";
    assert_eq!(names.join(" "), expected);
    assert_eq!(environment[4].1, "some-bucket");
}

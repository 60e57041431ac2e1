//! Requests that announce more bytes than they send: announced lengths reserve nothing.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::StreamBody;
use tara_export_client::proto::document::Kind;
use tokio::task::JoinSet;
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::{
    following::committed,
    harness::{Host, endpoint, until},
    requests::{document, request},
    statuses::expect_status,
};

const CALLS: usize = 40;
const MIB: u64 = 1024 * 1024;

/// A message with an announced length of 32 MiB that stops after these bytes, while its body stays open.
fn announced(sent: usize) -> Body {
    let head = [&[0, 2, 0, 0, 0], vec![0; sent].as_slice()].concat();
    let head = Frame::data(Bytes::from(head));
    let body = stream::once(async { Ok::<_, Infallible>(head) }).chain(stream::pending());
    Body::new(StreamBody::new(body))
}

#[tokio::test]
async fn announced_but_unsent_lengths_reserve_no_memory() {
    // One permit, and memory for little more than one such request.
    let flags = [
        "--max-concurrent-exports=1",
        "--max-request-memory=40MiB",
        "--request-timeout=1h",
        "--admission-timeout=0s",
    ];
    let host = Host::new().flags(&flags);
    let mut server = host.start().await;
    let channel = endpoint(server.address).connect().await.unwrap();
    let mut calls = JoinSet::new();
    let mut expected = 0;
    for number in 0..CALLS {
        let sent = if number % 2 == 0 { 0 } else { 100 };
        expected += if sent > 0 { 64 * 1024 } else { 0 };
        let method = if number % 4 < 2 { "StartExport" } else { "PreviewExport" };
        let uri = format!("http://{}/tara.export.v1.ExportService/{method}", server.address);
        let request = Request::post(uri).header(CONTENT_TYPE, "application/grpc");
        let request = request.body(announced(sent)).unwrap();
        calls.spawn(channel.clone().oneshot(request));
    }
    let engine = server.running.engine().clone();
    until("all calls have started", || engine.admission().reserved_bytes() == expected).await;
    let mut large = request(1, "incident report.docx");
    large.documents = vec![document(Kind::Before, vec![7; 30 * MIB as usize])];
    committed(&mut server.client, large).await;
    // Their memory is returned when they disconnect.
    calls.shutdown().await;
    drop(channel);
    until("all calls have ended", || engine.admission().reserved_bytes() == 0).await;
}

#[tokio::test]
async fn wait_for_memory_times_out() {
    let flags = ["--max-request-memory=33MiB", "--admission-timeout=100ms"];
    let host = Host::new().flags(&flags);
    let server = host.start().await;
    let held = server
        .running
        .engine()
        .admission()
        .request_memory(&tara_export_limits::CallerKey::server());
    let mut held = held;
    held.grow_to(33 * MIB).await.unwrap();
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let mut client = server.client.clone();
        calls.spawn(async move {
            client.start_export(request(number, "incident report.docx")).await.map(|_| ())
        });
    }
    let results = tokio::time::timeout(Duration::from_secs(20), calls.join_all()).await.unwrap();
    assert!(results.iter().all(|result| {
        result.as_ref().is_err_and(|status| status.code() == tonic::Code::ResourceExhausted)
    }));
    drop(held);
    committed(&mut server.client.clone(), request(1, "incident report.docx")).await;
}

#[tokio::test]
async fn stalled_requests_lose_their_memory_to_another_caller() {
    // Memory for the bytes of two such requests, and for nothing else.
    let flags = ["--max-request-memory=64MiB", "--request-timeout=1h", "--admission-timeout=10s"];
    let host = Host::new().flags(&flags);
    let server = host.start().await;
    let greedy = endpoint(server.address).local_address(Some([127, 0, 0, 2].into()));
    let greedy = greedy.connect().await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        let uri = format!("http://{}/tara.export.v1.ExportService/StartExport", server.address);
        let request = Request::post(uri).header(CONTENT_TYPE, "application/grpc");
        let request = request.body(announced(31 * MIB as usize)).unwrap();
        calls.spawn(greedy.clone().oneshot(request));
    }
    let engine = server.running.engine().clone();
    until("both have sent almost everything", || engine.admission().reserved_bytes() >= 62 * MIB)
        .await;
    let mut large = request(1, "incident report.docx");
    large.documents = vec![document(Kind::Before, vec![7; 20 * MIB as usize])];
    committed(&mut server.client.clone(), large).await;
    // One of the two lost its memory, and its caller gets the error.
    let refused = calls.join_next().await.unwrap().unwrap().unwrap();
    let status = tonic::Status::from_header_map(refused.headers()).unwrap();
    let info = expect_status(&status, tonic::Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(info.metadata["setting"], "MAX_REQUEST_MEMORY");
}

//! Requests that announce more than they send: what was announced costs others nothing.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::StreamBody;
use tara_export::proto::document::Kind;
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

/// A message of 32 MiB that ends after these bytes, and whose body does not.
fn announced(sent: usize) -> Body {
    let head = [&[0, 2, 0, 0, 0], vec![0; sent].as_slice()].concat();
    let head = Frame::data(Bytes::from(head));
    let body = stream::once(async { Ok::<_, Infallible>(head) }).chain(stream::pending());
    Body::new(StreamBody::new(body))
}

#[tokio::test]
async fn lengths_that_are_announced_and_not_sent_cost_nothing() {
    // One place, and memory for little more than one such request.
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
    until("all have begun", || engine.admission().reserved_bytes() == expected).await;
    let mut large = request(1, "incident report.docx");
    large.documents = vec![document(Kind::Before, vec![7; 30 * MIB as usize])];
    committed(&mut server.client, large).await;
    // Their memory is returned when they go away.
    calls.shutdown().await;
    drop(channel);
    until("all have ended", || engine.admission().reserved_bytes() == 0).await;
}

#[tokio::test]
async fn waits_for_memory_end() {
    let flags = ["--max-request-memory=33MiB", "--admission-timeout=100ms"];
    let host = Host::new().flags(&flags);
    let server = host.start().await;
    let held = server.running.engine().admission().room(&tara_export::limits::CallerKey::server());
    let mut held = held;
    held.grow_to(33 * MIB).await.unwrap();
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let mut client = server.client.clone();
        calls.spawn(async move {
            client.start_export(request(number, "incident report.docx")).await.map(|_| ())
        });
    }
    let answers = tokio::time::timeout(Duration::from_secs(20), calls.join_all()).await.unwrap();
    assert!(answers.iter().all(|answer| {
        answer.as_ref().is_err_and(|status| status.code() == tonic::Code::ResourceExhausted)
    }));
    drop(held);
    committed(&mut server.client.clone(), request(1, "incident report.docx")).await;
}

#[tokio::test]
async fn memory_of_stalled_requests_is_needed_for_another_caller() {
    // Room for what two such requests send, and for nothing beside them.
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
    until("both have sent nearly all", || engine.admission().reserved_bytes() >= 62 * MIB).await;
    let mut large = request(1, "incident report.docx");
    large.documents = vec![document(Kind::Before, vec![7; 20 * MIB as usize])];
    committed(&mut server.client.clone(), large).await;
    // One of the two made room, and its caller is told.
    let refused = calls.join_next().await.unwrap().unwrap().unwrap();
    let status = tonic::Status::from_header_map(refused.headers()).unwrap();
    let info = expect_status(&status, tonic::Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(info.metadata["setting"], "MAX_REQUEST_MEMORY");
}

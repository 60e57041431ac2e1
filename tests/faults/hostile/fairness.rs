//! One caller uses all permits or memory, and another is still served.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use futures::{StreamExt as _, stream};
use http::Request;
use tara_export_client::proto::{GetExportRequest, UploadDocumentRequest};
use tara_export_digest::Sha256;
use tara_export_test_support::{Fault, FaultRule, TestS3};
use tokio::{net::TcpStream, task::JoinHandle};
use tonic::{Code, Status, body::Body, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceExt as _;

use crate::{
    following::committed,
    harness::{Client, Host, connect_from, endpoint, s3::store_of, until, within},
    requests::{request, s3_or_nothing},
    statuses::expect_status,
    uploads::{bytes, chunk, create, get, send},
};

const GREEDY: [u8; 4] = [127, 0, 0, 2];
const MODEST: [u8; 4] = [127, 0, 0, 3];

async fn channel_from(source: [u8; 4], address: SocketAddr) -> Channel {
    endpoint(address).local_address(Some(source.into())).connect().await.unwrap()
}

/// Starts a call without ever sending its message. Returns the status of the response, if there is one.
fn unsent_call(
    channel: &Channel,
    path: &str,
    headers: &[(&'static str, String)],
) -> JoinHandle<Status> {
    let mut request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let body = http_body_util::StreamBody::new(stream::pending::<
        Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>,
    >());
    let request = request.body(Body::new(body)).unwrap();
    let response = channel.clone().oneshot(request);
    tokio::spawn(async move {
        let response = response.await.unwrap();
        Status::from_header_map(response.headers()).expect("a status")
    })
}

const GET_EXPORT: &str = "/tara.export.v1.ExportService/GetExport";

fn finished(calls: &[JoinHandle<Status>]) -> usize {
    calls.iter().filter(|call| call.is_finished()).count()
}

/// Waits until one of these calls is refused because its caller has too many.
async fn expect_one_refusal(calls: &mut Vec<JoinHandle<Status>>) {
    until("a refusal", || finished(calls) > 0).await;
    let position = calls.iter().position(JoinHandle::is_finished).unwrap();
    let status = calls.remove(position).await.unwrap();
    let info = expect_status(&status, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(info.metadata["setting"], "MAX_CONCURRENT_CALLS");
}

#[tokio::test]
async fn calls_of_one_address_do_not_block_another() {
    let host = Host::new().flags(&["--max-concurrent-calls=4", "--admission-timeout=5s"]);
    let (server, _disk) = host.serve(&[]).await;
    let greedy = channel_from(GREEDY, server.address()).await;
    // A caller may use all permits while there is no other.
    let mut calls: Vec<_> = (0..4).map(|_| unsent_call(&greedy, GET_EXPORT, &[])).collect();
    let mut too_many = vec![unsent_call(&greedy, GET_EXPORT, &[])];
    expect_one_refusal(&mut too_many).await;
    assert_eq!(finished(&calls), 0);
    // More of its calls are waiting when another caller arrives.
    calls.extend((0..4).map(|_| unsent_call(&greedy, GET_EXPORT, &[])));
    let mut modest = connect_from(MODEST, server.address()).await;
    for number in 1..=3 {
        committed(&mut modest, request(number, "incident report.docx")).await;
    }
    expect_one_refusal(&mut calls).await;
}

#[tokio::test]
async fn calls_of_one_name_do_not_block_another() {
    let folder = tempfile::tempdir().unwrap();
    let token = |name: &str| {
        let sha256 = Sha256::of(name.as_bytes()).to_string();
        serde_json::json!({"name": name, "roles": ["admin"], "sha256": sha256})
    };
    let tokens = folder.path().join("tokens.json");
    let file = serde_json::json!({"tokens": [token("greedy"), token("modest")]});
    std::fs::write(&tokens, file.to_string()).unwrap();
    let host = Host::new().flags(&["--max-concurrent-calls=4", "--admission-timeout=5s"]);
    let flag = format!("--auth-tokens-file={}", tokens.display());
    let (server, _disk) = host.serve(&[&flag]).await;
    let channel = endpoint(server.address()).connect().await.unwrap();
    let header = |name: &str| ("authorization", format!("Bearer {name}"));
    let mut calls: Vec<_> =
        (0..8).map(|_| unsent_call(&channel, GET_EXPORT, &[header("greedy")])).collect();
    expect_served(&channel, header("modest")).await;
    expect_one_refusal(&mut calls).await;
}

#[tokio::test]
async fn calls_of_one_proxied_client_do_not_block_another() {
    let host = Host::new().flags(&[
        "--max-concurrent-calls=4",
        "--admission-timeout=5s",
        "--trusted-proxies=127.0.0.1",
    ]);
    let (server, _disk) = host.serve(&[]).await;
    let proxy = endpoint(server.address()).connect().await.unwrap();
    // The client's own entry comes before the one that the proxy appends.
    let header =
        |number: usize, client: &str| ("x-forwarded-for", format!("198.51.100.{number}, {client}"));
    let mut calls: Vec<_> = (0..8)
        .map(|number| unsent_call(&proxy, GET_EXPORT, &[header(number, "203.0.113.1")]))
        .collect();
    expect_served(&proxy, header(9, "203.0.113.2")).await;
    expect_one_refusal(&mut calls).await;
}

/// Asserts that a call reaches the engine, which does not know the export.
async fn expect_served(channel: &Channel, header: (&'static str, String)) {
    let mut call = tonic::Request::new(GetExportRequest { name: crate::requests::name(1) });
    call.metadata_mut().insert(header.0, header.1.parse().unwrap());
    let mut client = Client::new(channel.clone());
    let status = within("a response", client.get_export(call)).await.unwrap_err();
    expect_status(&status, Code::NotFound, "EXPORT_NOT_FOUND");
}

#[tokio::test]
async fn unread_streams_end_for_another_caller() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&[
        "--max-concurrent-calls=4",
        "--admission-timeout=5s",
        "--shutdown-timeout=0s",
    ]);
    let (server, _disk) = host.serve(&[]).await;
    s3.fail(FaultRule::new(Fault::Stall).key_contains("greedy"));
    let mut greedy = connect_from(GREEDY, server.address()).await;
    let mut streams = Vec::new();
    for number in 1..=4 {
        let started = greedy.start_export(s3_or_nothing(number, "greedy.docx")).await.unwrap();
        streams.push(started.into_inner());
    }
    let mut modest = connect_from(MODEST, server.address()).await;
    committed(&mut modest, request(5, "modest.docx")).await;
    // The oldest stream ended, and its caller can watch again. The others continue.
    let status = crate::following::follow(streams.remove(0)).await.end.unwrap_err();
    expect_status(&status, Code::Unavailable, "STREAM_ENDED_EARLY");
    let mut next = streams.remove(0);
    crate::following::next(&mut next).await;
}

#[tokio::test]
async fn open_health_checks_do_not_block_probes() {
    let host = Host::new();
    let (server, _disk) = host.serve(&[]).await;
    let greedy = [
        channel_from(GREEDY, server.address()).await,
        channel_from(GREEDY, server.address()).await,
    ];
    let mut watches = Vec::new();
    for number in 0..300 {
        let mut client = HealthClient::new(greedy[number % 2].clone());
        watches.push(client.watch(HealthCheckRequest::default()).await.unwrap());
        // Health checks without a message.
        drop(unsent_call(&greedy[number % 2], "/grpc.health.v1.Health/Check", &[]));
    }
    for source in [MODEST, GREEDY] {
        let mut probe = HealthClient::new(channel_from(source, server.address()).await);
        let check = probe.check(HealthCheckRequest::default());
        let checked = within("the probe's response", check).await.unwrap();
        assert_eq!(checked.into_inner().status, 1);
    }
    // Health checks use none of the call permits.
    let mut modest = connect_from(MODEST, server.address()).await;
    committed(&mut modest, request(1, "incident report.docx")).await;
}

#[tokio::test]
async fn uploads_of_one_caller_do_not_block_another() {
    let host = Host::new().flags(&["--max-concurrent-uploads=2", "--admission-timeout=5s"]);
    let (server, _disk) = host.serve(&[]).await;
    let mut greedy = connect_from(GREEDY, server.address()).await;
    let mut sending = Vec::new();
    for number in 1..=2 {
        let name = create(&mut greedy, number, 1_000_000, "").await.unwrap().name;
        let first = UploadDocumentRequest {
            name: name.clone(),
            data: bytes(100_000, 1),
            ..UploadDocumentRequest::default()
        };
        let messages = stream::iter([first]).chain(stream::pending());
        let mut client = greedy.clone();
        let sent = tokio::spawn(async move { client.upload_document(messages).await });
        sending.push((name, sent));
    }
    // The caller with all permits must give one up.
    let content = bytes(1_000, 3);
    let mut modest = connect_from(MODEST, server.address()).await;
    let name = create(&mut modest, 3, content.len(), "").await.unwrap().name;
    send(&mut modest, &name, &content, 0).await.unwrap();
    let name = create(&mut modest, 4, content.len(), "").await.unwrap().name;
    chunk(&mut modest, &name, 0, content, true).await.unwrap();
    // The upload that lost its permit ends with an error that names the setting, and can be resumed.
    until("the end of one upload", || sending.iter().any(|(_, sent)| sent.is_finished())).await;
    let ended = sending.iter().position(|(_, sent)| sent.is_finished()).unwrap();
    let (name, sent) = sending.remove(ended);
    let status = sent.await.unwrap().unwrap_err();
    expect_status(&status, Code::Unavailable, "UPLOAD_INTERRUPTED");
    assert!(status.message().contains("MAX_CONCURRENT_UPLOADS"), "{}", status.message());
    assert!(get(&mut greedy, &name).await.is_ok());
}

#[tokio::test]
async fn unsent_chunks_leave_memory_for_other_callers() {
    // Memory for two parts.
    let host = Host::new().flags(&["--transfer-memory=16MiB", "--admission-timeout=5s"]);
    let (server, _disk) = host.serve(&[]).await;
    let greedy = channel_from(GREEDY, server.address()).await;
    let path = "/tara.export.v1.ExportService/UploadChunk";
    let calls: Vec<_> = (0..4).map(|_| unsent_call(&greedy, path, &[])).collect();
    let mut modest = connect_from(MODEST, server.address()).await;
    let content = bytes(1_000, 1);
    let name = create(&mut modest, 1, content.len(), "").await.unwrap().name;
    chunk(&mut modest, &name, 0, content, true).await.unwrap();
    drop(calls);
}

#[tokio::test]
async fn local_uploads_leave_space_for_another_caller_after_a_restart() {
    // Each counts as 256 KiB at least.
    let host = Host::new().flags(&["--max-local-uploads=1MiB"]);
    let (server, disk) = host.serve(&[]).await;
    let mut greedy = connect_from(GREEDY, server.address()).await;
    let mut names = Vec::new();
    for number in 1..=4 {
        names.push(create(&mut greedy, number, 0, "").await.unwrap().name);
        // Distinct ages, so that one is the oldest.
        host.clock.advance(chrono::TimeDelta::seconds(1));
    }
    let status = create(&mut greedy, 5, 0, "").await.unwrap_err();
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    drop(greedy);
    within("the server stops", server.shut_down()).await;
    disk.finish().await;

    let (server, _disk) = host.serve(&[]).await;
    let mut modest = connect_from(MODEST, server.address()).await;
    for number in 6..=7 {
        create(&mut modest, number, 0, "").await.unwrap();
    }
    // Now each caller has half of the space.
    let status = create(&mut modest, 8, 0, "").await.unwrap_err();
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    let mut greedy = connect_from(GREEDY, server.address()).await;
    let status = create(&mut greedy, 9, 0, "").await.unwrap_err();
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    let mut remaining = BTreeSet::new();
    for name in &names {
        if get(&mut greedy, name).await.is_ok() {
            remaining.insert(name);
        }
    }
    assert_eq!(remaining, names[2..].iter().collect());
}

#[tokio::test]
async fn connections_of_one_address_do_not_block_another() {
    let host = Host::new().flags(&["--max-connections=4"]);
    let (server, _disk) = host.serve(&[]).await;
    // Silent connections. Some have a permit, and the others wait for one.
    let mut held = Vec::new();
    for _ in 0..20 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((GREEDY, 0))).unwrap();
        held.push(within("a connection", socket.connect(server.address())).await.unwrap());
    }
    let mut modest = connect_from(MODEST, server.address()).await;
    let started = std::time::Instant::now();
    committed(&mut modest, request(1, "incident report.docx")).await;
    // Faster than the timeout that closes silent connections.
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    drop::<Vec<TcpStream>>(held);
}

#[tokio::test]
async fn connections_with_open_calls_do_not_block_another_address() {
    let host = Host::new().flags(&["--max-connections=4"]);
    let (server, _disk) = host.serve(&[]).await;
    let mut greedy = Vec::new();
    for _ in 0..4 {
        let channel = channel_from(GREEDY, server.address()).await;
        let call = unsent_call(&channel, GET_EXPORT, &[]);
        greedy.push((channel, call));
    }
    let mut modest = within("a permit", connect_from(MODEST, server.address())).await;
    for number in 1..=3 {
        committed(&mut modest, request(number, "incident report.docx")).await;
    }
    let open = greedy.iter().filter(|(_, call)| !call.is_finished()).count();
    assert!(open >= 2, "the first caller keeps its share");
}

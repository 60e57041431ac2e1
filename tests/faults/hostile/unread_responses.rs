//! Many unread responses of the built binary: their memory is bounded, other callers are not affected, and
//! everything is freed in the end while the connections stay open.

use std::net::SocketAddr;

use prost::Message as _;
use tara_export_client::proto::{
    DownloadArtifactRequest, DownloadBundleRequest, GetReportRequest, ListExportsRequest,
    StartExportRequest, document::Kind, get_report_request::View,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    peer::{Receiver, Sender, connect_with_window, framed},
    server_process::ServerProcess,
};
use crate::{
    following::committed,
    harness::{Client, connect, connect_from, within},
    requests::{document, item, name, request, section},
};

const MIB: u64 = 1024 * 1024;
const DOCUMENT_BYTES: usize = 24 * MIB as usize;
/// The most memory that responses may take: 1.5 times what they reserve at most (MAX_READ_MEMORY is 128 MiB), as
/// docs/security.md states.
const RESPONSES_BYTES: u64 = 192 * MIB;
/// The memory of one open call in a debug build: its stream, task and headers. MAX_READ_MEMORY excludes it.
const CALL_BYTES: u64 = 96 * 1024;

/// Streams of one connection.
const STREAMS: usize = 250;
/// The largest possible window.
const HUGE: u32 = 0x7fff_ffff;

/// A review with an incompressible document.
fn large(number: u32) -> StartExportRequest {
    let mut random = 0x9e37_79b9_u32;
    let content: Vec<u8> = std::iter::repeat_with(|| {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random as u8
    })
    .take(DOCUMENT_BYTES)
    .collect();
    StartExportRequest {
        documents: vec![document(Kind::Before, content)],
        ..request(number, "incident report.docx")
    }
}

/// A server with one export of a large document, and the path of the document.
async fn server(flags: &[&str]) -> (ServerProcess, Client, String) {
    let server = ServerProcess::start(flags);
    let mut client = connect(server.address).await.max_decoding_message_size(8 * MIB as usize);
    let export = committed(&mut client, large(1)).await;
    let artifact = export.artifacts.iter().max_by_key(|artifact| artifact.size_bytes).unwrap();
    assert_eq!(artifact.size_bytes, DOCUMENT_BYTES as i64);
    (server, client, artifact.path.clone())
}

/// Sends this call `count` times, on as many connections as necessary, and reads nothing.
async fn calls(
    address: SocketAddr,
    window: u32,
    count: usize,
    method: &str,
    message: &[u8],
) -> Vec<(Sender, Receiver)> {
    let mut connections = Vec::new();
    for number in 0..count {
        if number % STREAMS == 0 {
            connections.push(connect_with_window(address, window).await);
        }
        let (sender, _) = connections.last_mut().unwrap();
        let stream = u32::try_from(number % STREAMS).unwrap() * 2 + 1;
        sender.call(stream, method, message).await;
    }
    connections
}

/// Asserts that another caller can list and export.
async fn expect_others_served(server: &ServerProcess, number: u32) {
    let mut client = connect_from([127, 0, 0, 2], server.address).await;
    let listed = within("a page", client.list_exports(ListExportsRequest::default())).await;
    assert!(!listed.unwrap().into_inner().exports.is_empty());
    committed(&mut client, request(number, "incident report.docx")).await;
}

/// Asserts that the process grew by no more than these calls and their responses may take. The server returns
/// freed memory to the system, so `before` is small.
fn expect_growth_from(server: &ServerProcess, before: u64, calls: u64) {
    let growth = server.resident_bytes().saturating_sub(before);
    let limit = RESPONSES_BYTES + calls * CALL_BYTES;
    assert!(growth < limit, "grew by {} MiB, limit {} MiB", growth / MIB, limit / MIB);
}

/// Waits until the responses hold no memory and no permits, while their connections are open.
async fn until_everything_is_free(server: &ServerProcess) {
    server.until_metric("tara_export_downloads", |downloads| downloads == 0.0).await;
    server.until_metric("tara_export_read_memory_bytes", |bytes| bytes == 0.0).await;
    server.until_metric("tara_export_calls_in_flight", |calls| calls == 0.0).await;
}

#[tokio::test]
async fn unread_archives_do_not_delay_other_callers() {
    let (server, _client, _) = server(&["--read-idle-timeout=5s"]).await;
    let before = server.resident_bytes();
    let message = framed(&DownloadBundleRequest { name: name(1) });
    let unread = calls(server.address, 0, 520, "DownloadBundle", &message).await;
    server.until_metric("tara_export_downloads", |downloads| downloads == 64.0).await;
    expect_others_served(&server, 2).await;
    // Calls without a permit are refused.
    server.until_metric("tara_export_rejected_total", |calls| calls >= 400.0).await;
    expect_growth_from(&server, before, 520);
    until_everything_is_free(&server).await;
    drop(unread);
}

#[tokio::test]
async fn unread_files_are_bounded_for_every_window_size() {
    let (server, _client, path) = server(&["--read-idle-timeout=5s"]).await;
    let before = server.resident_bytes();
    let message = DownloadArtifactRequest { name: name(1), path, offset: 0 };
    for (number, window) in [(2, 0), (3, 1), (4, HUGE)] {
        let unread =
            calls(server.address, window, 1_000, "DownloadArtifact", &framed(&message)).await;
        server.until_metric("tara_export_downloads", |downloads| downloads == 64.0).await;
        expect_others_served(&server, number).await;
        expect_growth_from(&server, before, 1_000);
        until_everything_is_free(&server).await;
        drop(unread);
    }
}

#[tokio::test]
async fn unread_files_over_grpc_web_are_bounded() {
    let (server, _client, path) = server(&["--read-idle-timeout=5s"]).await;
    let message = framed(&DownloadArtifactRequest { name: name(1), path, offset: 0 });
    expect_bounded_over_http_1(&server, 2, "application/grpc-web+proto", &message).await;
}

/// Lines and envelopes of JSON, whose bytes are in base64.
#[tokio::test]
async fn unread_files_over_plain_http_are_bounded() {
    let (server, _client, path) = server(&["--read-idle-timeout=5s"]).await;
    let json = format!("{{\"name\": \"{}\", \"path\": \"{path}\"}}", name(1)).into_bytes();
    let length = u32::try_from(json.len()).unwrap().to_be_bytes();
    let envelope = [&[0], length.as_slice(), &json].concat();
    expect_bounded_over_http_1(&server, 2, "application/json", &json).await;
    expect_bounded_over_http_1(&server, 3, "application/connect+json", &envelope).await;
}

/// Sends many downloads with this body and reads nothing.
async fn expect_bounded_over_http_1(
    server: &ServerProcess,
    number: u32,
    content_type: &str,
    body: &[u8],
) {
    let before = server.resident_bytes();
    let head = format!(
        "POST /tara.export.v1.ExportService/DownloadArtifact HTTP/1.1\r\nhost: localhost\r\n\
         content-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut unread = Vec::new();
    for _ in 0..200 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        unread.push(socket);
    }
    server.until_metric("tara_export_downloads", |downloads| downloads == 64.0).await;
    expect_others_served(server, number).await;
    expect_growth_from(server, before, 200);
    until_everything_is_free(server).await;
    drop(unread);
}

#[tokio::test]
async fn unread_reports_are_bounded() {
    let server = ServerProcess::start(&["--read-idle-timeout=5s"]);
    let mut client = connect(server.address).await;
    let mut export = request(1, "incident report.docx");
    // A report has counts for each section.
    let sections = (0..1_000).map(|number| section(&format!("{number:01000}"), vec![item("1")]));
    export.review.as_mut().unwrap().suggestions = sections.collect();
    committed(&mut client, export).await;
    let request = GetReportRequest { name: name(1), view: View::Json.into() };
    let report = within("the report", client.get_report(request.clone())).await.unwrap();
    assert!(report.into_inner().encoded_len() > MIB as usize);
    let before = server.resident_bytes();
    for (number, window) in [(2, 0), (3, HUGE)] {
        let unread = calls(server.address, window, 1_000, "GetReport", &framed(&request)).await;
        server.until_metric("tara_export_read_memory_bytes", |bytes| bytes > 64e6).await;
        expect_others_served(&server, number).await;
        expect_growth_from(&server, before, 1_000);
        until_everything_is_free(&server).await;
        drop(unread);
    }
}

//! Streams: lines of JSON, and envelopes of the Connect protocol.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prost::Message as _;
use serde_json::{Value, json};
use tara_export_client::proto::{ExportEvent, WatchExportRequest, export_event::Event};
use tonic::Code;

use super::{
    CONNECT_JSON, CONNECT_PROTO, SERVICE, call, json_of, open, post, request_of, send, send_h2,
    status_of,
};
use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::committed,
    harness::{Host, within},
    raw::{compress, decompress, framed},
    requests::{id, name, request},
    statuses::{expect_status, violations},
};

/// The next line of a response's body.
async fn next_line(body: &mut Incoming, buffered: &mut BytesMut) -> Value {
    loop {
        if let Some(end) = buffered.iter().position(|byte| *byte == b'\n') {
            return serde_json::from_slice(&buffered.split_to(end + 1)).unwrap();
        }
        let frame = within("the next line", body.frame()).await.expect("a line").unwrap();
        buffered.extend_from_slice(frame.data_ref().expect("data"));
    }
}

#[tokio::test]
async fn lines_arrive_while_the_export_runs() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m"]);
    let server = host.start().await;
    let json = json_of(&request(1, "incident report.docx"));
    let path = format!("{SERVICE}/StartExport");
    let response = open(post(server.address, &path, super::JSON, json)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut body = response.into_body();
    let mut buffered = BytesMut::new();
    let first = next_line(&mut body, &mut buffered).await;
    assert_eq!(first["name"], name(1));
    assert!(first["accepted"].is_object(), "{first}");
    // The bundle's files are held, so the export has not ended.
    loop {
        let line = next_line(&mut body, &mut buffered).await;
        if line["artifactStarted"].is_object() {
            break;
        }
    }
    let state = call(server.address, "GetExport", json!({"name": name(1)})).await;
    assert_eq!(state.json()["export"]["state"], "STATE_RUNNING");
    s3.set(Mode::Works);
    let mut lines = Vec::new();
    while lines.last() != Some(&json!({})) {
        lines.push(next_line(&mut body, &mut buffered).await);
    }
    let completed = &lines[lines.len() - 2]["completed"]["export"];
    assert_eq!(completed["state"], "STATE_COMMITTED");
    assert!(within("the end", body.frame()).await.is_none() && buffered.is_empty());
}

#[tokio::test]
async fn export_over_http_is_the_same_as_over_grpc() {
    let host = Host::new();
    let mut server = host.start().await;
    let json = json_of(&request(1, "incident report.docx"));
    let reply = call(server.address, "StartExport", &json).await;
    let (lines, end) = reply.lines();
    assert_eq!(end, json!({}));
    let export = &lines.last().unwrap()["completed"]["export"];
    bundles::verify(&host.folder(export["folderName"].as_str().unwrap()));
    // The same request over gRPC is the same export.
    let again = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert_eq!(export["manifestSha256"], again.manifest_sha256);
    let watched = call(server.address, "WatchExport", json!({"name": name(1)})).await;
    assert_eq!(watched.lines().0.last(), lines.last());
    // And as a read with GET.
    let path =
        format!("{SERVICE}/WatchExport?encoding=json&message=%7B%22name%22:%22{}%22%7D", name(1));
    let watched = send(request_of(server.address, Method::GET, &path)).await;
    assert_eq!(watched.lines().0.last(), lines.last());
}

#[tokio::test]
async fn stream_that_fails_at_once_has_the_status_and_one_line() {
    let host = Host::new();
    let server = host.start().await;
    let reply = call(server.address, "WatchExport", json!({"name": name(1)})).await;
    assert_eq!(reply.code, 404);
    let (lines, end) = reply.lines();
    assert!(lines.is_empty());
    expect_status(&status_of(&end["error"]), Code::NotFound, "EXPORT_NOT_HERE");
    let reply = call(server.address, "StartExport", json_of(&request(1, ""))).await;
    assert_eq!(reply.code, 400);
    let status = status_of(&reply.lines().1["error"]);
    assert_eq!(violations(&status)[0].0, "review.document_name");
}

#[tokio::test]
async fn stream_that_fails_later_ends_with_the_error() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let flags = ["--accept-timeout=10ms", "--s3-retry-budget=300ms"];
    let host = Host::with_s3(s3).flags(&flags);
    let server = host.start().await;
    let json = json_of(&crate::requests::s3_or_nothing(1, "incident report.docx"));
    let reply = call(server.address, "StartExport", json).await;
    assert_eq!(reply.code, 200, "the stream had started");
    let (lines, end) = reply.lines();
    assert!(lines.last().unwrap()["failed"].is_object(), "{lines:?}");
    expect_status(&status_of(&end["error"]), Code::Unavailable, "STORE_UNAVAILABLE");
}

#[tokio::test]
async fn connect_streams_have_envelopes_and_an_end() {
    let host = Host::new();
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    let path = format!("{SERVICE}/WatchExport");
    let message = WatchExportRequest { name: name(1), ..WatchExportRequest::default() };
    let message = framed(0, &message.encode_to_vec());
    for reply in [
        send(post(server.address, &path, CONNECT_PROTO, message.clone())).await,
        send_h2(post(server.address, &path, CONNECT_PROTO, message.clone())).await,
    ] {
        assert_eq!((reply.code.as_u16(), reply.content_type()), (200, CONNECT_PROTO));
        let (envelopes, end) = reply.envelopes();
        assert_eq!(end, json!({}));
        let last = ExportEvent::decode(envelopes.last().unwrap().1.clone()).unwrap();
        let Some(Event::Completed(completed)) = last.event else { panic!("{last:?}") };
        assert_eq!(completed.export.unwrap(), export);
    }
    let message = framed(0, json!({"name": name(1)}).to_string().as_bytes());
    let mut request = post(server.address, &path, CONNECT_JSON, message);
    request.headers_mut().insert("connect-accept-encoding", "gzip".parse().unwrap());
    let reply = send(request).await;
    assert_eq!(reply.content_type(), CONNECT_JSON);
    assert_eq!(reply.headers["connect-content-encoding"], "gzip");
    let (envelopes, end) = reply.envelopes();
    assert_eq!(end, json!({}));
    let (flag, last) = envelopes.last().unwrap();
    let last = if *flag == 1 { decompress("gzip", last).into() } else { last.clone() };
    let last: Value = serde_json::from_slice(&last).unwrap();
    assert_eq!(last["completed"]["export"]["name"], export.name);
    // An error is in the last envelope, and the HTTP status is 200.
    let message = framed(1, &compress("zstd", json!({"name": name(2)}).to_string().as_bytes()));
    let mut request = post(server.address, &path, CONNECT_JSON, message);
    request.headers_mut().insert("connect-content-encoding", "zstd".parse().unwrap());
    let reply = send(request).await;
    assert_eq!(reply.code, 200);
    let (envelopes, end) = reply.envelopes();
    assert!(envelopes.is_empty());
    expect_status(&status_of(&end["error"]), Code::NotFound, "EXPORT_NOT_HERE");
}

#[tokio::test]
async fn upload_in_a_stream_of_requests() {
    let host = Host::new();
    let server = host.start().await;
    let content = Bytes::from("as it was ".repeat(100_000));
    let create = json!({"requestId": id(7), "sizeBytes": content.len()});
    let reply = call(server.address, "CreateUpload", create).await;
    let upload = reply.json()["upload"]["name"].as_str().unwrap().to_owned();
    let path = format!("{SERVICE}/UploadDocument");
    let (first, second) = content.split_at(400_000);
    let messages = [
        json!({"name": upload, "data": STANDARD.encode(first)}),
        json!({"offset": first.len(), "data": STANDARD.encode(second), "finish": true}),
    ];
    let body = messages.map(|message| framed(0, message.to_string().as_bytes())).concat();
    let reply = send(post(server.address, &path, CONNECT_JSON, body)).await;
    let (envelopes, end) = reply.envelopes();
    assert_eq!(end, json!({}), "{reply:?}");
    let state: Value = serde_json::from_slice(&envelopes[0].1).unwrap();
    assert_eq!(state["upload"]["committedSizeBytes"], content.len().to_string());
}

#[tokio::test]
async fn download_is_lines_with_base64() {
    let host = Host::new();
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    let path = "comprehensive_report.json";
    let reply =
        call(server.address, "DownloadArtifact", json!({"name": name(1), "path": path})).await;
    let (lines, end) = reply.lines();
    assert_eq!(end, json!({}));
    assert_eq!(lines[0]["artifact"]["path"], path);
    let data: Vec<u8> = lines[1..]
        .iter()
        .flat_map(|line| {
            let text = line["data"].as_str().unwrap();
            STANDARD.decode(text).unwrap()
        })
        .collect();
    let file = host.folder(&export.folder_name).join(path);
    assert_eq!(data, std::fs::read(file).unwrap());
}

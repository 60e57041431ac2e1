//! Sizes, nesting, time and memory of requests over plain HTTP.

use bytes::Bytes;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

use super::{JSON, PROTO, Reply, SERVICE, call, json_of, post, send, status_of};
use crate::{
    fake_s3::{FakeS3, Mode},
    harness::{Host, TestServer, until, within},
    raw::compress,
    requests::{document, request},
    statuses::{expect_invalid, expect_status},
};

fn reserved(server: &TestServer) -> u64 {
    server.running.engine().admission().reserved_bytes()
}

/// The error of a StartExport or another method.
fn error_of(reply: &Reply) -> tonic::Status {
    match reply.content_type() {
        "application/x-ndjson" => status_of(&reply.lines().1["error"]),
        _ => status_of(&reply.json()),
    }
}

#[tokio::test]
async fn too_large_body_is_refused() {
    let host = Host::new().flags(&["--max-request-size=1MiB"]);
    let server = host.start().await;
    for (method, size, limit) in [
        ("StartExport", 1024 * 1024 + 1, "MAX_REQUEST_SIZE"),
        ("StartExport", 8 * 1024 * 1024, "MAX_REQUEST_SIZE"),
        ("PreviewExport", 1024 * 1024 + 1, "1048576"),
        ("ListExports", 64 * 1024 + 1, "65536"),
        ("UploadChunk", 9 * 1024 * 1024, "8454144"),
    ] {
        let body = Bytes::from(vec![b' '; size]);
        let reply = call(server.address, method, std::str::from_utf8(&body).unwrap()).await;
        assert_eq!(reply.code, 429, "{method}: {reply:?}");
        let status = error_of(&reply);
        expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
        assert!(status.message().contains(limit), "{status:?}");
        assert_eq!(reply.headers.get("retry-after"), None);
        if method != "StartExport" {
            let reply =
                send(post(server.address, &format!("{SERVICE}/{method}"), PROTO, body)).await;
            expect_status(&error_of(&reply), Code::ResourceExhausted, "REQUEST_TOO_LARGE");
        }
    }
    assert_eq!(reserved(&server), 0);
}

/// A text within the limit that becomes a message beyond it.
#[tokio::test]
async fn text_that_becomes_a_too_large_message_is_refused() {
    let host = Host::new().flags(&["--max-request-size=1MiB"]);
    let server = host.start().await;
    let numbers = vec!["1"; 300_000].join(",");
    let text = format!("{{\"review\": {{\"performanceMetrics\": {{\"a\": [{numbers}]}}}}}}");
    assert!(text.len() < 1024 * 1024);
    for method in ["StartExport", "PreviewExport"] {
        let reply = call(server.address, method, &text).await;
        expect_status(&error_of(&reply), Code::ResourceExhausted, "REQUEST_TOO_LARGE");
    }
    // A small method's limit is that of the message too.
    let text = format!("{{\"eventIds\": [{}]}}", vec!["\"\""; 30_000].join(","));
    let text = text.replace("eventIds", "event_ids");
    let path = "/tara.export.v1.AutomationService/RetryEvents";
    let reply = send(post(server.address, path, JSON, text)).await;
    assert!(reply.code.is_client_error(), "{reply:?}");
    assert_eq!(reserved(&server), 0);
}

#[tokio::test]
async fn decompression_bomb_is_refused() {
    let host = Host::new().flags(&["--max-request-size=1MiB"]);
    let server = host.start().await;
    let spaces = vec![b' '; 16 * 1024 * 1024];
    for encoding in ["gzip", "deflate", "zstd"] {
        for method in ["StartExport", "PreviewExport", "ListExports", "UploadChunk"] {
            let bomb = compress(encoding, &spaces);
            let mut request = post(server.address, &format!("{SERVICE}/{method}"), JSON, bomb);
            request.headers_mut().insert("content-encoding", encoding.parse().unwrap());
            let reply = send(request).await;
            expect_status(&error_of(&reply), Code::ResourceExhausted, "REQUEST_TOO_LARGE");
        }
    }
    assert_eq!(reserved(&server), 0);
}

#[tokio::test]
async fn deep_json_is_refused() {
    let host = Host::new();
    let server = host.start().await;
    for text in [
        "[".repeat(500_000),
        "{\"review\":".repeat(50_000),
        format!("{{\"review\":{{\"performanceMetrics\":{}", "{\"a\":".repeat(100_000)),
        format!("{{\"review\":{{\"performanceMetrics\":{{\"a\":{}", "[".repeat(100_000)),
    ] {
        for method in ["PreviewExport", "StartExport"] {
            let reply = call(server.address, method, &text).await;
            let status = error_of(&reply);
            expect_status(&status, Code::InvalidArgument, "INVALID_REQUEST");
        }
    }
    // Free fields have a lower limit, which is that of gRPC.
    let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
    let text = format!("{{\"review\":{{\"documentName\":\"a\",\"performanceMetrics\":{deep}}}}}");
    let reply = call(server.address, "PreviewExport", &text).await;
    let status = error_of(&reply);
    assert!(status.message().contains("30 levels"), "{status:?}");
    assert_eq!(reserved(&server), 0);
}

/// Sends the head of a request, and a part of its body.
async fn partial(server: &TestServer, method: &str, length: &str, part: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST {SERVICE}/{method} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(part).await.unwrap();
    stream
}

async fn response(mut stream: TcpStream) -> String {
    let mut response = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&response).contains("\"message\"") {
        let read = within("a response", stream.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&response));
        response.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(response).unwrap()
}

#[tokio::test]
async fn slow_body_is_refused() {
    let host = Host::new().flags(&["--request-timeout=1s"]);
    let server = host.start().await;
    for method in ["PreviewExport", "ListExports", "UploadChunk"] {
        for length in ["content-length: 1000", "transfer-encoding: chunked"] {
            let stream = partial(&server, method, length, b"1\r\n{").await;
            let response = response(stream).await;
            assert!(response.starts_with("HTTP/1.1 504 "), "{method}: {response}");
            assert!(response.contains("REQUEST_TOO_SLOW"), "{method}: {response}");
        }
    }
    until("the memory is returned", || reserved(&server) == 0).await;
}

#[tokio::test]
async fn announced_bytes_that_are_not_sent_reserve_little() {
    let host = Host::new();
    let server = host.start().await;
    let length = format!("content-length: {}", 30 * 1024 * 1024);
    let streams = [
        partial(&server, "PreviewExport", &length, b"{\"review\"").await,
        partial(&server, "StartExport", &length, b"{\"review\"").await,
    ];
    until("both are read", || reserved(&server) == 2 * 64 * 1024).await;
    drop(streams);
    until("the memory is returned", || reserved(&server) == 0).await;
}

/// JSON reserves memory for its text and for its message. It waits for it as gRPC does.
#[tokio::test]
async fn memory_is_bounded_for_json_too() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let flags = [
        "--s3-retry-budget=10m",
        "--max-request-size=1MiB",
        "--max-request-memory=2MiB",
        "--admission-timeout=50ms",
    ];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let mut large = request(1, "incident report.docx");
    large.documents =
        vec![document(tara_export_client::proto::document::Kind::Before, vec![7; 700_000])];
    let start = server.client.start_export(large.clone());
    let stream = within("the response", start).await.unwrap().into_inner();
    let held = reserved(&server);
    assert!(held > 700_000, "{held}");
    large.request_id = crate::requests::id(2);
    let json = json_of(&large);
    assert!(json.len() < 1024 * 1024, "{}", json.len());
    let reply = call(server.address, "StartExport", &json).await;
    let status = error_of(&reply);
    let info = expect_status(&status, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(info.metadata["setting"], "MAX_REQUEST_MEMORY");
    assert_eq!((reply.code.as_u16(), reply.headers["retry-after"].to_str().unwrap()), (429, "1"));
    until("the memory is returned", || reserved(&server) == held).await;
    s3.set(Mode::Works);
    crate::following::follow(stream).await.completed();
    until("the memory is returned", || reserved(&server) == 0).await;
    let (lines, end) = call(server.address, "StartExport", &json).await.lines();
    assert_eq!(end, json!({}), "{lines:?}");
}

#[tokio::test]
async fn chunk_in_json_is_uploaded() {
    let host = Host::new();
    let server = host.start().await;
    let content = vec![b'x'; 5 * 1024 * 1024];
    let create = json!({"sizeBytes": content.len()});
    let upload = call(server.address, "CreateUpload", create).await.json()["upload"].clone();
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &content);
    let chunk = json!({"name": upload["name"], "offset": 0, "data": data, "finish": true});
    let reply = call(server.address, "UploadChunk", &chunk).await;
    assert_eq!(reply.code, 200, "{reply:?}");
    let upload = reply.json()["upload"].clone();
    assert_eq!(upload["committedSizeBytes"], content.len().to_string());
    let chunk = json!({"name": upload["name"], "offset": "x"});
    let reply = call(server.address, "UploadChunk", &chunk).await;
    expect_invalid(&reply.error(400), "offset");
}

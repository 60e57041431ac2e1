//! Calls with one request and one response: POST and GET, JSON and protobuf.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message as _;
use serde_json::json;
use tara_export_client::proto::{GetExportRequest, GetExportResponse};
use tonic::Code;

use super::{JSON, PROTO, SERVICE, call, post, request_of, send, send_h2};
use crate::{
    fake_s3::{FakeS3, Mode},
    following::committed,
    harness::Host,
    raw::{compress, decompress},
    requests::{name, request},
    statuses::expect_status,
};

const GET_EXPORT: &str = "/tara.export.v1.ExportService/GetExport";
const LIST: &str = "/tara.export.v1.ExportService/ListExports";

/// The query of a GET with this JSON.
fn query(json: &str) -> String {
    format!("encoding=json&message={}", utf8_percent_encode(json, NON_ALPHANUMERIC))
}

#[tokio::test]
async fn json_and_protobuf_return_the_same_export_over_both_versions_of_http() {
    let host = Host::new();
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    let read = server.client.get_export(GetExportRequest { name: name(1) }).await.unwrap();
    let export = read.into_inner().export.unwrap();
    let json = json!({"name": name(1)}).to_string();
    for reply in [
        send(post(server.address, GET_EXPORT, JSON, json.clone())).await,
        send(post(server.address, GET_EXPORT, "Application/JSON; charset=UTF-8", json.clone()))
            .await,
        send_h2(post(server.address, GET_EXPORT, JSON, json.clone())).await,
    ] {
        assert_eq!((reply.code.as_u16(), reply.content_type()), (200, JSON), "{reply:?}");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        let body = reply.json();
        assert_eq!(body["export"]["name"], export.name);
        assert_eq!(body["export"]["state"], "STATE_COMMITTED");
        // Numbers of 64 bits are texts.
        assert_eq!(body["export"]["sizeBytes"], export.size_bytes.to_string());
        assert_eq!(body["export"]["acceptedTime"], "2026-11-22T18:37:00.123456Z");
        assert_eq!(body["export"]["artifacts"].as_array().unwrap().len(), export.artifacts.len());
    }
    let message = GetExportRequest { name: name(1) }.encode_to_vec();
    for reply in [
        send(post(server.address, GET_EXPORT, PROTO, message.clone())).await,
        send_h2(post(server.address, GET_EXPORT, PROTO, message.clone())).await,
    ] {
        assert_eq!((reply.code.as_u16(), reply.content_type()), (200, PROTO));
        let read = GetExportResponse::decode(reply.body).unwrap().export.unwrap();
        assert_eq!(read, export);
    }
}

#[tokio::test]
async fn reads_are_served_with_get_and_nothing_else_is() {
    let host = Host::new();
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    let json = json!({"name": name(1)}).to_string();
    let message = URL_SAFE_NO_PAD.encode(GetExportRequest { name: name(1) }.encode_to_vec());
    let gzip = URL_SAFE_NO_PAD.encode(compress("gzip", json.as_bytes()));
    for query in [
        query(&json),
        format!("connect=v1&{}&unknown=%FF", query(&json)),
        format!("message={}&base64=1&encoding=json", URL_SAFE_NO_PAD.encode(&json)),
        format!("compression=gzip&base64=1&encoding=json&message={gzip}"),
    ] {
        let reply =
            send(request_of(server.address, Method::GET, &format!("{GET_EXPORT}?{query}"))).await;
        assert_eq!(reply.code, 200, "{query}: {reply:?}");
        assert_eq!(reply.json()["export"]["name"], name(1));
    }
    let path = format!("{GET_EXPORT}?connect=v1&encoding=proto&base64=1&message={message}");
    let reply = send_h2(request_of(server.address, Method::GET, &path)).await;
    let read = GetExportResponse::decode(reply.body).unwrap();
    assert_eq!(read.export.unwrap().name, name(1));
    let reply =
        send(request_of(server.address, Method::GET, &format!("{LIST}?{}", query("{}")))).await;
    assert_eq!(reply.json()["exports"][0]["name"], name(1));

    for method in ["StartExport", "PreviewExport", "CreateUpload", "UploadChunk", "CheckStorage"] {
        let path = format!("{SERVICE}/{method}?{}", query("{}"));
        let reply = send(request_of(server.address, Method::GET, &path)).await;
        assert_eq!(reply.code, 405, "{method}");
        assert_eq!(reply.headers["allow"], "POST");
    }
    for method in [Method::PUT, Method::DELETE, Method::HEAD, Method::PATCH] {
        let path = format!("{GET_EXPORT}?{}", query(&json));
        let reply = send(request_of(server.address, method, &path)).await;
        assert_eq!(reply.code, 405);
        assert_eq!(reply.headers["allow"], "GET, POST");
    }
}

#[tokio::test]
async fn invalid_query_is_refused() {
    let host = Host::new();
    let server = host.start().await;
    for (query, code) in [
        ("encoding=json", 400),
        ("encoding=json&message=%7B%7", 400),
        ("encoding=json&message=%", 400),
        ("encoding=json&message=%zz", 400),
        ("encoding=json&message=%FF%00", 400),
        ("encoding=json&message=%7B%7D&message=%7B%7D", 400),
        ("encoding=json&base64=1&message=e30%3D%3D%3D", 400),
        ("encoding=json&base64=1&message=*", 400),
        ("encoding=json&message=%7B%7D&connect=v2", 400),
        ("encoding=json&message=%7B%7D&compression=%0A", 400),
        ("encoding=json&message=%7B%7D&compression=gzip", 400),
        ("encoding=json&message=%7B%7D&compression=br", 501),
        ("message=%7B%7D", 415),
        ("encoding=xml&message=%7B%7D", 415),
        ("", 415),
    ] {
        let path = format!("{LIST}?{query}");
        let reply = send(request_of(server.address, Method::GET, &path)).await;
        assert_eq!(reply.code, code, "{query}: {reply:?}");
    }
    // A long message is the same as in a body.
    let long = "x".repeat(60_000);
    let path = format!("{GET_EXPORT}?{}", query(&json!({"name": long}).to_string()));
    let reply = send(request_of(server.address, Method::GET, &path)).await;
    reply.error(400);
}

#[tokio::test]
async fn errors_have_code_status_and_details() {
    let host = Host::new();
    let server = host.start().await;
    let reply = call(server.address, "GetExport", json!({"name": name(1)})).await;
    expect_status(&reply.error(404), Code::NotFound, "EXPORT_NOT_FOUND");
    assert_eq!(reply.json()["details"][0]["debug"]["reason"], "EXPORT_NOT_FOUND");
    let reply = call(server.address, "PreviewExport", "{}").await;
    let status = reply.error(400);
    expect_status(&status, Code::InvalidArgument, "INVALID_REQUEST");
    // Protobuf has the same error, in JSON too.
    let reply = send(post(
        server.address,
        GET_EXPORT,
        PROTO,
        GetExportRequest { name: name(1) }.encode_to_vec(),
    ))
    .await;
    expect_status(&reply.error(404), Code::NotFound, "EXPORT_NOT_FOUND");
    let reply = send(post(server.address, GET_EXPORT, PROTO, "\x0a\x05x")).await;
    expect_status(&reply.error(400), Code::InvalidArgument, "INVALID_REQUEST");
    let path = format!("{SERVICE}/NoSuchMethod");
    let reply = send(post(server.address, &path, JSON, "{}")).await;
    assert_eq!(reply.error(404).code(), Code::Unimplemented);
}

#[tokio::test]
async fn other_services_are_served_too() {
    let host = Host::new();
    let server = host.start().await;
    let check = "/grpc.health.v1.Health/Check";
    let reply = send(post(server.address, check, JSON, "{}")).await;
    assert_eq!(reply.json()["status"], "SERVING");
    let reply = send(post(server.address, check, JSON, "{\"service\": \"x\"}")).await;
    assert_eq!(reply.error(404).code(), Code::NotFound);
    let events = "/tara.export.v1.AutomationService/ListEvents";
    let reply = send(post(server.address, events, JSON, "{}")).await;
    let code = reply.code.as_u16();
    assert!(code == 200 || code == 400, "{reply:?}");
}

#[tokio::test]
async fn bodies_may_be_compressed_in_both_directions() {
    let host = Host::new();
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    let json = json!({"name": name(1)}).to_string();
    let plain = send(post(server.address, GET_EXPORT, JSON, json.clone())).await;
    assert_eq!(plain.headers.get("content-encoding"), None);
    for encoding in ["gzip", "deflate", "zstd"] {
        let mut request =
            post(server.address, GET_EXPORT, JSON, compress(encoding, json.as_bytes()));
        request.headers_mut().insert("content-encoding", encoding.parse().unwrap());
        let accepted = format!("br;q=1.0, {encoding};q=0.5, zstd;q=0");
        let accepted = if encoding == "zstd" { "zstd".to_owned() } else { accepted };
        request.headers_mut().insert("accept-encoding", accepted.parse().unwrap());
        let reply = send(request).await;
        assert_eq!(reply.headers["content-encoding"], encoding, "{reply:?}");
        assert_eq!(reply.headers["vary"], "accept-encoding");
        assert!(reply.body.len() < plain.body.len());
        assert_eq!(decompress(encoding, &reply.body), plain.body, "{encoding}");
    }
    let mut request = post(server.address, GET_EXPORT, JSON, "{}");
    request.headers_mut().insert("content-encoding", "br".parse().unwrap());
    let reply = send(request).await;
    expect_status(&reply.error(501), Code::Unimplemented, "ENCODING_NOT_SUPPORTED");
    assert_eq!(reply.headers["accept-encoding"], "identity,gzip,deflate,zstd");
}

#[tokio::test]
async fn headers_of_the_protocol_are_checked() {
    let host = Host::new();
    let server = host.start().await;
    let with = |name: &'static str, value: &str| {
        let mut request = post(server.address, LIST, JSON, "{}");
        request.headers_mut().insert(name, value.parse().unwrap());
        send(request)
    };
    assert_eq!(with("connect-protocol-version", "1").await.code, 200);
    assert_eq!(
        with("connect-protocol-version", "2").await.error(400).code(),
        Code::InvalidArgument
    );
    for valid in ["60000", "9999999999", "0000060000"] {
        assert_eq!(with("connect-timeout-ms", valid).await.code, 200, "{valid}");
    }
    for invalid in ["", "-1", "1s", "12345678901", "1.5", "+1"] {
        let reply = with("connect-timeout-ms", invalid).await;
        assert_eq!(reply.error(400).code(), Code::InvalidArgument, "{invalid}");
    }
    // Headers of gRPC mean nothing here.
    assert_eq!(with("grpc-timeout", "0n").await.code, 200);
    assert_eq!(with("grpc-encoding", "br").await.code, 200);

    // S3 does not respond to the read.
    let host = Host::with_s3(FakeS3::new(Mode::HoldsAll));
    let server = host.start().await;
    let mut late = post(server.address, GET_EXPORT, JSON, json!({"name": name(1)}).to_string());
    late.headers_mut().insert("connect-timeout-ms", "50".parse().unwrap());
    let reply = send(late).await;
    expect_status(&reply.error(504), Code::DeadlineExceeded, "DEADLINE_PASSED");
}

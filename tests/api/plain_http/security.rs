//! Authentication, roles and hosts are those of gRPC.

use http::{HeaderValue, Method};
use prost_reflect::DescriptorPool;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

use super::{CONNECT_JSON, JSON, Reply, SERVICE, post, request_of, send, status_of};
use crate::{
    harness::{
        Host,
        tokens::{flag, text},
        within,
    },
    raw::framed,
    statuses::expect_status,
};

fn bearer(token: &str) -> HeaderValue {
    format!("Bearer {token}").parse().unwrap()
}

/// The error of a call, wherever the protocol puts it. `None` if it succeeded.
fn error_of(reply: &Reply) -> Option<tonic::Status> {
    match reply.content_type() {
        "application/x-ndjson" => {
            let end = reply.lines().1;
            end["error"].is_object().then(|| status_of(&end["error"]))
        }
        CONNECT_JSON => {
            let end = reply.envelopes().1;
            end["error"].is_object().then(|| status_of(&end["error"]))
        }
        _ => reply.json()["code"].is_string().then(|| status_of(&reply.json())),
    }
}

#[tokio::test]
async fn every_method_requires_the_same_roles_as_over_grpc() {
    let folder = tempfile::tempdir().unwrap();
    let callers: [(&str, &[&str]); 3] =
        [("export", &["export"]), ("read", &["read"]), ("admin", &["admin"])];
    let flag = flag(folder.path(), &callers);
    let host = Host::new();
    let (server, _disk) = host.serve(&[&flag]).await;
    let address = server.address();
    let channel = crate::harness::endpoint(address).connect().await.unwrap();
    let pool = DescriptorPool::decode(tara_export::proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = 0;
    for service in pool.services() {
        for method in service.methods() {
            methods += 1;
            let path = format!("/{}/{}", service.full_name(), method.name());
            let (content_type, body) = if method.is_client_streaming() {
                (CONNECT_JSON, framed(0, b"{}"))
            } else {
                (JSON, b"{}".to_vec())
            };
            for role in ["export", "read", "admin"] {
                let mut request = post(address, &path, content_type, body.clone());
                request.headers_mut().insert("authorization", bearer(&text(role)));
                let over_http = error_of(&send(request).await).map(|status| status.code());
                let over_grpc = grpc(&channel, &path, &text(role)).await;
                let refused = |code| code == Some(Code::PermissionDenied);
                assert_eq!(refused(over_http), refused(over_grpc), "{path} for {role}");
            }
            let reply = send(post(address, &path, content_type, body.clone())).await;
            let status = error_of(&reply).unwrap();
            expect_status(&status, Code::Unauthenticated, "CREDENTIALS_MISSING");
            if content_type == JSON {
                assert_eq!(reply.code, 401);
                assert_eq!(reply.headers["www-authenticate"], "Bearer");
            }
            let mut request = post(address, &path, content_type, body);
            request.headers_mut().insert("authorization", bearer("guessed"));
            let reply = send(request).await;
            let status = error_of(&reply).unwrap();
            expect_status(&status, Code::Unauthenticated, "CREDENTIALS_INVALID");
            assert!(!String::from_utf8_lossy(&reply.body).contains("guessed"));
        }
    }
    assert!(methods >= 18, "{methods}");
    // GET too.
    let path = format!("{SERVICE}/ListExports?encoding=json&message=%7B%7D");
    let reply = send(request_of(address, Method::GET, &path)).await;
    expect_status(&reply.error(401), Code::Unauthenticated, "CREDENTIALS_MISSING");
    let mut request = request_of(address, Method::GET, &path);
    request.headers_mut().insert("authorization", bearer(&text("export")));
    expect_status(&send(request).await.error(403), Code::PermissionDenied, "ROLE_MISSING");
}

/// The code of a call over gRPC with an empty message. `None` if it succeeded.
async fn grpc(channel: &tonic::transport::Channel, path: &str, token: &str) -> Option<Code> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = tonic::Request::new(());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let call = grpc.unary(request, path.parse().unwrap(), codec);
    within("a response", call).await.err().map(|status| status.code())
}

/// Sends only the head of a request and returns the head of the response.
async fn head_only(address: std::net::SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    let mut buffer = [0; 1024];
    while !response.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = within("a response", stream.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "the connection ended: {}", String::from_utf8_lossy(&response));
        response.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(response).unwrap()
}

#[tokio::test]
async fn caller_without_token_is_refused_before_its_body_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let flag = flag(folder.path(), &[("export", &["export"])]);
    let host = Host::new();
    let (server, _disk) = host.serve(&[&flag]).await;
    for method in ["StartExport", "PreviewExport", "UploadChunk", "ListExports"] {
        let head = format!(
            "POST {SERVICE}/{method} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: 1000000\r\nexpect: 100-continue\r\n\r\n"
        );
        let response = head_only(server.address(), &head).await;
        // Without `100 Continue`, which reading would send.
        assert!(response.starts_with("HTTP/1.1 401 "), "{method}: {response}");
    }
}

#[tokio::test]
async fn request_to_another_host_is_refused() {
    let host = Host::new();
    let (server, _disk) = host.serve(&[]).await;
    let path = format!("{SERVICE}/ListExports");
    let mut call = post(server.address(), &path, JSON, "{}");
    call.headers_mut().insert("host", "rebind.example:8080".parse().unwrap());
    let reply = send(call).await;
    expect_status(&reply.error(403), Code::PermissionDenied, "HOST_NOT_ALLOWED");
    let path = format!("{path}?encoding=json&message=%7B%7D");
    let mut get = request_of(server.address(), Method::GET, &path);
    get.headers_mut().insert("host", "rebind.example:8080".parse().unwrap());
    expect_status(&send(get).await.error(403), Code::PermissionDenied, "HOST_NOT_ALLOWED");
}

/// A page of another origin can send requests that browsers do not ask about first: GET, and POST with the content
/// types of forms. None of them changes anything.
#[tokio::test]
async fn form_of_another_page_calls_nothing() {
    let host = Host::new();
    let (server, _disk) = host.serve(&[]).await;
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        for method in ["StartExport", "CreateUpload", "ListExports"] {
            let path = format!("{SERVICE}/{method}");
            let reply = send(post(server.address(), &path, content_type, "{}")).await;
            assert_eq!(reply.code, 415, "{method} {content_type}");
        }
    }
    assert!(!host.data_dir().join(".tara-export/journal").exists() || host.files().is_empty());
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call() {
    let host = Host::new().flags(&["--cors-allowed-origins=https://review.example.com"]);
    let server = host.start().await;
    for (method, headers) in [
        ("POST", "authorization,connect-protocol-version,connect-timeout-ms,content-type"),
        ("GET", "connect-timeout-ms"),
    ] {
        let mut preflight =
            request_of(server.address, Method::OPTIONS, &format!("{SERVICE}/GetExport"));
        for (name, value) in [
            ("origin", "https://review.example.com"),
            ("access-control-request-method", method),
            ("access-control-request-headers", headers),
        ] {
            preflight.headers_mut().insert(name, value.parse().unwrap());
        }
        let reply = send(preflight).await;
        assert_eq!(reply.headers["access-control-allow-origin"], "https://review.example.com");
        let allowed = reply.headers["access-control-allow-methods"].to_str().unwrap();
        assert!(allowed.split(',').any(|allowed| allowed == method), "{allowed}");
        let allowed = reply.headers["access-control-allow-headers"].to_str().unwrap();
        for header in headers.split(',') {
            assert!(allowed.split(',').any(|allowed| allowed == header), "{header}: {allowed}");
        }
    }
    let mut call = post(server.address, &format!("{SERVICE}/ListExports"), JSON, "{}");
    call.headers_mut().insert("origin", "https://review.example.com".parse().unwrap());
    let reply = send(call).await;
    assert_eq!(reply.code, 200);
    assert_eq!(reply.headers["access-control-allow-origin"], "https://review.example.com");
}

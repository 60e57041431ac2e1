//! Browsers, load balancers and other clients of plain HTTP/1.1.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use tara_export::proto::{GetExportRequest, export_service_client::ExportServiceClient};
use tonic::Code;
use tonic_web::GrpcWebClientLayer;
use tower::Layer as _;

use crate::{
    bundles,
    following::follow,
    harness::{Host, within},
    requests::{name, request},
    statuses::{expect_status, violations},
};

/// The status and the body that a URL of the server gives over HTTP/1.1.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = Request::get(format!("http://{address}{path}")).body(Empty::new()).unwrap();
    let (status, _, body) = send(request).await;
    (status.as_u16(), String::from_utf8(body.into()).unwrap())
}

async fn send(request: Request<Empty<Bytes>>) -> (StatusCode, HeaderMap, Bytes) {
    let client = HttpClient::builder(TokioExecutor::new()).build_http();
    let response = within("the answer", client.request(request)).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_11);
    let (head, body) = response.into_parts();
    let body = within("the body", body.collect()).await.unwrap().to_bytes();
    (head.status, head.headers, body)
}

#[tokio::test]
async fn grpc_web_over_http_1_gets_every_event() {
    let host = Host::new();
    let mut server = host.start().await;
    let http = HttpClient::builder(TokioExecutor::new()).build_http();
    let web = GrpcWebClientLayer::new().layer(http);
    let origin = format!("http://{}", server.address).parse().unwrap();
    let mut browser = ExportServiceClient::with_origin(web, origin);

    let start = browser.start_export(request(1, "incident report.docx"));
    let stream = within("the answer", start).await.unwrap().into_inner();
    let followed = follow(stream).await;
    let export = followed.completed();
    bundles::whole(&host.folder(&export.folder_name));
    let native = crate::following::watch(&mut server.client, &name(1)).await;
    assert_eq!(followed.numbered(), native.numbered());

    let read = browser.get_export(GetExportRequest { name: name(1) }).await.unwrap();
    assert_eq!(read.into_inner().export.unwrap().manifest_sha256, export.manifest_sha256);
    // Errors come with their details.
    let unknown = GetExportRequest { name: name(2) };
    let status = browser.get_export(unknown).await.unwrap_err();
    expect_status(&status, Code::NotFound, "EXPORT_NOT_FOUND");
    let status = browser.start_export(request(3, "")).await.unwrap_err();
    assert_eq!(violations(&status)[0].0, "review.document_name");
}

async fn preflight(address: SocketAddr, origin: &str) -> HeaderMap {
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri(format!("http://{address}/tara.export.v1.ExportService/StartExport"))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-grpc-web,x-user-agent")
        .body(Empty::new())
        .unwrap();
    send(request).await.1
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call_and_others_not() {
    let flags = ["--cors-allowed-origins=https://review.example.com,https://other.example.com"];
    let host = Host::new().flags(&flags);
    let server = host.start().await;
    for origin in ["https://review.example.com", "https://other.example.com"] {
        let headers = preflight(server.address, origin).await;
        assert_eq!(headers["access-control-allow-origin"], origin);
        assert_eq!(headers["access-control-allow-methods"], "POST");
        let allowed = headers["access-control-allow-headers"].to_str().unwrap();
        for header in ["content-type", "x-grpc-web", "x-user-agent", "grpc-timeout"] {
            assert!(allowed.split(',').any(|allowed| allowed == header), "{allowed}");
        }
    }
    for origin in ["https://evil.example.com", "http://review.example.com", "null"] {
        let headers = preflight(server.address, origin).await;
        assert_eq!(headers.get("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn without_the_setting_no_page_may_call_and_with_a_star_every_page() {
    let host = Host::new();
    let server = host.start().await;
    let headers = preflight(server.address, "https://review.example.com").await;
    assert_eq!(headers.get("access-control-allow-origin"), None);

    let host = Host::new().flags(&["--cors-allowed-origins=*"]);
    let server = host.start().await;
    let headers = preflight(server.address, "https://review.example.com").await;
    assert_eq!(headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn other_paths_lead_nowhere() {
    let host = Host::new();
    let server = host.start().await;
    for path in ["/", "/healthz/x", "/metrics", "/tara.export.v1.ExportService/StartExport"] {
        let (status, body) = get(server.address, path).await;
        assert!((400..500).contains(&status), "{path}: {status} {body}");
    }
}

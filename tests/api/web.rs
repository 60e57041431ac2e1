//! Browsers, load balancers and other clients of plain HTTP/1.1.

use std::net::SocketAddr;

use http::{HeaderMap, Method, Request};
use http_body_util::Empty;
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use tara_export_client::proto::{GetExportRequest, export_service_client::ExportServiceClient};
use tonic::Code;
use tonic_web::GrpcWebClientLayer;
use tower::Layer as _;

use crate::{
    browser::{get, send},
    bundles,
    following::follow,
    harness::{Host, within},
    requests::{name, request},
    statuses::{expect_status, violations},
};

#[tokio::test]
async fn grpc_web_over_http_1_receives_every_event() {
    let host = Host::new();
    let mut server = host.start().await;
    let http = HttpClient::builder(TokioExecutor::new()).build_http();
    let web = GrpcWebClientLayer::new().layer(http);
    let origin = format!("http://{}", server.address).parse().unwrap();
    let mut browser = ExportServiceClient::with_origin(web, origin);

    let start = browser.start_export(request(1, "incident report.docx"));
    let stream = within("the response", start).await.unwrap().into_inner();
    let followed = follow(stream).await;
    let export = followed.completed();
    bundles::verify(&host.folder(&export.folder_name));
    let native = crate::following::watch(&mut server.client, &name(1)).await;
    assert_eq!(followed.numbered(), native.numbered());

    let read = browser.get_export(GetExportRequest { name: name(1) }).await.unwrap();
    assert_eq!(read.into_inner().export.unwrap().manifest_sha256, export.manifest_sha256);
    // Errors include their details.
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
async fn cors_allows_only_configured_origins() {
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
async fn cors_allows_no_origin_by_default_and_all_with_a_star() {
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
async fn unknown_paths_are_client_errors() {
    let host = Host::new();
    let server = host.start().await;
    for path in ["/", "/healthz/x", "/metrics", "/tara.export.v1.ExportService/StartExport"] {
        let (status, body) = get(server.address, path).await;
        assert!((400..500).contains(&status), "{path}: {status} {body}");
    }
}

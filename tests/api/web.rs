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
    harness::{Host, raw, within},
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
    preflight_with(address, origin, "content-type,x-grpc-web,x-user-agent").await
}

/// The answer to a browser that asks for these request headers.
async fn preflight_with(address: SocketAddr, origin: &str, headers: &str) -> HeaderMap {
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri(format!("http://{address}/tara.export.v1.ExportService/StartExport"))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", headers)
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
        assert_eq!(headers["access-control-allow-methods"], "GET,POST");
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

/// Whether a browser would send a request with this header after that answer.
fn allows(answer: &HeaderMap, header: &str) -> bool {
    let allowed = answer["access-control-allow-headers"].to_str().unwrap();
    allowed.split(',').any(|allowed| allowed.trim().eq_ignore_ascii_case(header))
}

#[tokio::test]
async fn pages_may_send_the_headers_of_tracing_libraries() {
    const ORIGIN: &str = "https://review.example.com";
    let host = Host::new().flags(&["--cors-allowed-origins", ORIGIN]);
    let server = host.start().await;
    let tracing = [
        "baggage",
        "sentry-trace",
        "traceparent",
        "tracestate",
        "b3",
        "X-B3-TraceId",
        "X-B3-SpanId",
        "X-B3-ParentSpanId",
        "X-B3-Sampled",
        "x-request-id",
        "x-correlation-id",
        "uber-trace-id",
        "X-Amzn-Trace-Id",
        "x-datadog-trace-id",
        "newrelic",
        "Request-Id",
    ];
    let answer = preflight_with(server.address, ORIGIN, &tracing.join(",")).await;
    for header in tracing {
        assert!(allows(&answer, header), "{header}");
    }
    assert!(!allows(&answer, "x-tenant") && !allows(&answer, "cookie"));

    let server = host.start_with(&["--cors-allowed-headers=X-Tenant, x-team"]).await;
    let answer = preflight_with(server.address, ORIGIN, "x-tenant").await;
    for header in ["x-tenant", "x-team", "baggage", "authorization"] {
        assert!(allows(&answer, header), "{header}");
    }
    assert!(!allows(&answer, "x-other"));

    let server = host.start_with(&["--cors-allowed-headers=*"]).await;
    let answer = preflight_with(server.address, ORIGIN, "x-anything,authorization").await;
    assert!(allows(&answer, "x-anything") && allows(&answer, "authorization"));
}

#[tokio::test]
async fn proxies_buffer_and_store_no_response() {
    let host = Host::new().flags(&["--cors-allowed-origins=*"]);
    let server = host.start().await;
    for protocol in raw::PROTOCOLS {
        for method in [raw::START, raw::GET, "tara.export.v1.ExportService/Unknown"] {
            let body = raw::framed(0, &[]);
            let (_, headers) = raw::call(server.address, protocol, method, None, body).await;
            assert_eq!(headers["x-accel-buffering"], "no", "{protocol:?} {method}");
            assert_eq!(headers["cache-control"], "no-store, no-transform");
        }
    }
}

#[tokio::test]
async fn pages_can_read_the_status_and_the_encoding() {
    let server = Host::new().flags(&["--cors-allowed-origins=*"]).start().await;
    let request = Request::post(format!("http://{}/{}", server.address, raw::GET))
        .header("origin", "https://review.example.com")
        .header("content-type", "application/grpc-web+proto")
        .body(Empty::new())
        .unwrap();
    let (_, headers, _) = send(request).await;
    let exposed = headers["access-control-expose-headers"].to_str().unwrap();
    for header in ["grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding"] {
        assert!(exposed.split(',').any(|exposed| exposed == header), "{exposed}");
    }
}

#[tokio::test]
async fn unknown_paths_are_client_errors() {
    let host = Host::new();
    let server = host.start().await;
    for path in ["/x", "/healthz/x", "/metrics", "/tara.export.v1.ExportService/StartExport"] {
        let (status, body) = get(server.address, path).await;
        assert!((400..500).contains(&status), "{path}: {status} {body}");
    }
}

/// What a browser shows at the address of the server.
#[tokio::test]
async fn first_page_says_what_the_server_is() {
    let host = Host::new();
    let server = host.start().await;
    let (status, body) = get(server.address, "/").await;
    assert_eq!(status, 200);
    assert!(body.contains("tara-export") && body.contains("/docs"), "{body}");
}

//! Host checks: DNS rebinding, and the hosts that must be served.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{
    client::legacy::{
        Client as HttpClient,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use tara_export_client::proto::{
    GetExportRequest, ListExportsRequest, export_service_client::ExportServiceClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_web::GrpcWebClientLayer;
use tower::Layer as _;

use crate::{
    harness::{
        Client, Host, endpoint,
        tokens::{flag, text},
        within,
    },
    requests::{name, request},
    statuses::expect_status,
};

const LIST: &str = "/tara.export.v1.ExportService/ListExports";
const EVIL: &str = "rebind.example:8080";

/// A response over HTTP/1.1.
struct HttpResponse {
    code: u16,
    headers: HeaderMap,
    body: String,
}

/// Sends these lines as a request's head, with an empty gRPC message as the body of a POST.
async fn send(address: SocketAddr, lines: &[&str]) -> HttpResponse {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut bytes = lines.join("\r\n").into_bytes();
    bytes.extend_from_slice(b"\r\nconnection: close\r\n");
    if lines[0].starts_with("POST") {
        bytes.extend_from_slice(b"content-length: 5\r\n\r\n\0\0\0\0\0");
    } else {
        bytes.extend_from_slice(b"\r\n");
    }
    stream.write_all(&bytes).await.unwrap();
    let mut response = Vec::new();
    within("a response", stream.read_to_end(&mut response)).await.unwrap();
    let response = String::from_utf8_lossy(&response);
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{response}"));
    let mut head = head.lines();
    let code = head.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = head.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    HttpResponse { code, headers: headers.collect(), body: body.to_owned() }
}

/// Lists exports over gRPC-Web with these header lines.
async fn list(address: SocketAddr, target: &str, lines: &[&str]) -> HttpResponse {
    let first = format!("POST {target} HTTP/1.1");
    let content_type = ["content-type: application/grpc-web+proto"];
    send(address, &[&[first.as_str()], lines, &content_type].concat()).await
}

fn expect_refused(response: &HttpResponse) {
    assert_eq!(response.code, 200, "{}", response.body);
    assert_eq!(response.headers["content-type"], "application/grpc-web+proto");
    let status = Status::from_header_map(&response.headers).expect("a status");
    let info = expect_status(&status, Code::PermissionDenied, "HOST_NOT_ALLOWED");
    assert_eq!(info.metadata["setting"], "ALLOWED_HOSTS");
    assert!(status.message().contains("ALLOWED_HOSTS"), "{status:?}");
}

fn expect_served(response: &HttpResponse) {
    assert!(
        response.body.contains("grpc-status:0"),
        "{} {:?} {}",
        response.code,
        response.headers,
        response.body
    );
}

/// An HTTP/2 connection whose requests have this `:authority`.
async fn channel(address: SocketAddr, authority: &str) -> Channel {
    let origin: Uri = format!("http://{authority}").parse().unwrap();
    endpoint(address).origin(origin).connect().await.unwrap()
}

async fn list_h2(address: SocketAddr, authority: &str, host: Option<&str>) -> Result<(), Status> {
    let mut client = Client::new(channel(address, authority).await);
    let mut request = tonic::Request::new(ListExportsRequest::default());
    if let Some(host) = host {
        request.metadata_mut().insert("host", host.parse().unwrap());
    }
    within("a response", client.list_exports(request)).await.map(drop)
}

#[tokio::test]
async fn http_1_request_to_another_host_is_refused() {
    let host = Host::new();
    let (server, _disk) = host.serve(&[]).await;
    let address = server.address();
    let own = format!("host: {address}");
    for line in [
        own.as_str(),
        "host: localhost",
        "host: LocalHost.:1",
        "host: a.localhost",
        "host: [::1]:8080",
    ] {
        expect_served(&list(address, LIST, &[line]).await);
    }
    let absolute = format!("http://localhost:8080{LIST}");
    expect_served(&list(address, &absolute, &["host: localhost:8080"]).await);
    let foreign = format!("http://{EVIL}{LIST}");
    for (target, lines) in [
        (LIST, &["host: rebind.example:8080"][..]),
        (LIST, &["host: localhost.rebind.example"]),
        (LIST, &["host: 10.0.0.8:8080"]),
        (LIST, &["host: localhost@rebind.example"]),
        (LIST, &["host: rebind.example@localhost"]),
        (LIST, &["host: localhost", "host: rebind.example"]),
        (LIST, &["host: localhost, rebind.example"]),
        (LIST, &["host: xn--bcher-kva.example"]),
        (LIST, &["host:"]),
        (LIST, &[]),
        (&foreign, &["host: localhost"]),
        (&absolute, &["host: rebind.example"]),
        // A page can set a proxy's headers, too.
        (
            LIST,
            &["host: rebind.example", "x-forwarded-host: localhost", "forwarded: host=localhost"],
        ),
    ] {
        expect_refused(&list(address, target, lines).await);
    }
}

#[tokio::test]
async fn http_2_request_to_another_host_is_refused() {
    let host = Host::new();
    let (server, _disk) = host.serve(&["--trusted-proxies=127.0.0.0/8"]).await;
    let address = server.address();
    for authority in ["localhost:1", "LOCALHOST", "127.0.0.1:8080", "[::1]:8080"] {
        list_h2(address, authority, None).await.unwrap();
    }
    list_h2(address, "localhost:1", Some("localhost:1")).await.unwrap();
    for (authority, host) in [
        (EVIL, None),
        ("10.0.0.8:8080", None),
        ("localhost", Some("rebind.example")),
        (EVIL, Some("localhost")),
    ] {
        let status = list_h2(address, authority, host).await.unwrap_err();
        expect_status(&status, Code::PermissionDenied, "HOST_NOT_ALLOWED");
        assert!(status.message().contains("ALLOWED_HOSTS"), "{status:?}");
    }
}

#[tokio::test]
async fn health_is_open_to_every_host() {
    let host = Host::new();
    let (server, _disk) = host.serve(&[]).await;
    let address = server.address();
    for path in ["/healthz", "/livez"] {
        for lines in [&["host: rebind.example"][..], &["host: 10.244.1.7:8080"], &[]] {
            let first = format!("GET {path} HTTP/1.1");
            let response = send(address, &[&[first.as_str()], lines].concat()).await;
            assert_eq!((response.code, response.body.as_str()), (200, "ok\n"), "{path} {lines:?}");
        }
    }
    let channel = channel(address, "10.244.1.7:8080").await;
    let mut health = HealthClient::new(channel);
    health.check(HealthCheckRequest::default()).await.unwrap();
    health.watch(HealthCheckRequest::default()).await.unwrap();
    let check = "/grpc.health.v1.Health/Check";
    expect_served(&list(address, check, &["host: rebind.example"]).await);
}

#[tokio::test]
async fn preflight_and_plain_request_to_another_host_get_403() {
    let host = Host::new();
    let (server, _disk) = host.serve(&["--cors-allowed-origins=*"]).await;
    let address = server.address();
    let preflight = async |line: &str| {
        let first = format!("OPTIONS {LIST} HTTP/1.1");
        let origin = "origin: https://review.example.com";
        let lines = [first.as_str(), line, origin, "access-control-request-method: POST"];
        // A page could disguise it as gRPC-Web.
        let lines = [&lines[..], &["content-type: application/grpc-web"]].concat();
        send(address, &lines).await
    };
    let response = preflight("host: localhost").await;
    assert_eq!(
        (response.code, &response.headers["access-control-allow-origin"]),
        (200, &"*".parse().unwrap())
    );
    let first = format!("GET {LIST} HTTP/1.1");
    for response in [
        preflight("host: rebind.example").await,
        send(address, &[&first, "host: rebind.example"]).await,
        send(address, &["GET / HTTP/1.1", "host: rebind.example"]).await,
    ] {
        assert_eq!(response.code, 403, "{}", response.body);
        assert_eq!(response.headers.get("access-control-allow-origin"), None);
        assert!(
            response.body.contains("ALLOWED_HOSTS") && response.body.contains("rebind.example"),
            "{}",
            response.body
        );
    }
}

#[tokio::test]
async fn wildcard_bind_serves_every_address_and_allowed_names() {
    let host = Host::new();
    let flags = [
        "--bind-address=0.0.0.0",
        "--allow-insecure",
        "--allowed-hosts=tara-export,.svc.cluster.local:8080",
    ];
    let (server, _disk) = host.serve(&flags).await;
    let address = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    for line in [
        "host: 10.244.1.7:8080",
        "host: [2001:db8::7]",
        "host: tara-export:8080",
        "host: tara-export.review.svc.cluster.local:8080",
    ] {
        expect_served(&list(address, LIST, &[line]).await);
    }
    for line in [
        "host: rebind.example",
        "host: tara-export.evil",
        "host: tara-export.review.svc.cluster.local:81",
    ] {
        expect_refused(&list(address, LIST, &[line]).await);
    }
}

#[tokio::test]
async fn hosts_are_checked_with_authentication_only_if_configured() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = flag(folder.path(), &[("auditor", &["read"])]);
    let token = format!("authorization: Bearer {}", text("auditor"));
    let evil = format!("host: {EVIL}");
    let host = Host::new();
    let (server, disk) = host.serve(&[&tokens]).await;
    expect_served(&list(server.address(), LIST, &[&evil, &token]).await);
    server.shut_down().await;
    disk.finish().await;

    let (server, _disk) = host.serve(&[&tokens, "--allowed-hosts=export.example.com"]).await;
    expect_served(&list(server.address(), LIST, &["host: export.example.com", &token]).await);
    expect_refused(&list(server.address(), LIST, &[&evil, &token]).await);
    // The host is checked before the caller is authenticated.
    expect_refused(&list(server.address(), LIST, &[&evil]).await);
}

/// DNS that resolves to the page's server until it is rebound to this machine.
#[derive(Clone)]
struct RebindingDns {
    page: SocketAddr,
    server: SocketAddr,
    is_rebound: Arc<AtomicBool>,
}

impl tower::Service<Name> for RebindingDns {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        let address = if self.is_rebound.load(Ordering::SeqCst) { self.server } else { self.page };
        ready(Ok(vec![address].into_iter()))
    }
}

/// Serves a page at this port of another address of this machine.
async fn serve_page(port: u16) -> SocketAddr {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 2], port))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let page = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\n<script>";
            let _ = stream.write_all(page).await;
        }
    });
    address
}

#[tokio::test]
async fn rebinding_page_reads_and_exports_nothing() {
    let host = Host::new();
    let mut server = host.start().await;
    let dns = RebindingDns {
        page: serve_page(server.address.port()).await,
        server: server.address,
        is_rebound: Arc::default(),
    };
    let browser = HttpClient::builder(TokioExecutor::new())
        .build::<_, Empty<Bytes>>(HttpConnector::new_with_resolver(dns.clone()));
    let origin = format!("http://rebind.example:{}", server.address.port());
    let page = Request::get(format!("{origin}/")).body(Empty::new()).unwrap();
    let page = within("the page", browser.request(page)).await.unwrap();
    assert_eq!(page.into_body().collect().await.unwrap().to_bytes(), "<script>");

    dns.is_rebound.store(true, Ordering::SeqCst);
    // The page's requests have its own origin, so its browser sends no preflight.
    let http =
        HttpClient::builder(TokioExecutor::new()).build(HttpConnector::new_with_resolver(dns));
    let web = GrpcWebClientLayer::new().layer(http);
    let mut page = ExportServiceClient::with_origin(web, origin.parse().unwrap());
    let from_page = |headers: &mut tonic::metadata::MetadataMap| {
        let all = HashMap::from([("origin", origin.as_str()), ("sec-fetch-site", "same-origin")]);
        for (name, value) in all {
            headers.insert(name, value.parse().unwrap());
        }
    };
    let mut listing = tonic::Request::new(ListExportsRequest::default());
    from_page(listing.metadata_mut());
    let status = within("a response", page.list_exports(listing)).await.map(drop).unwrap_err();
    expect_status(&status, Code::PermissionDenied, "HOST_NOT_ALLOWED");
    let mut start = tonic::Request::new(request(1, "incident report.docx"));
    from_page(start.metadata_mut());
    let status = within("a response", page.start_export(start)).await.map(drop).unwrap_err();
    expect_status(&status, Code::PermissionDenied, "HOST_NOT_ALLOWED");

    let get = GetExportRequest { name: name(1) };
    let status = server.client.get_export(get).await.unwrap_err();
    expect_status(&status, Code::NotFound, "EXPORT_NOT_FOUND");
}

//! nginx: as installed, and as `docs/deployment.md` configures it.

use std::{fs, net::TcpListener, path::Path};

use futures::StreamExt as _;
use tara_export_client::{Client, ClientError, Protocol, proto::ListExportsRequest};
use tempfile::TempDir;
use tonic::Code;

use super::{
    documents::{of_deployment, replaced},
    proxy::{Proxy, free_port},
    server::{Server, bucket},
    traffic::{check_large_document, check_progress, options},
};
use crate::{
    harness::{authorities::Authority, uploads::bytes, within},
    requests::{document, request},
};
use tara_export_client::proto::document::Kind;

/// One line each, as in most tutorials.
fn site(protocol: Protocol, port: u16, server: &str) -> String {
    match protocol {
        Protocol::Grpc => format!(
            "server {{ listen 127.0.0.1:{port} http2; location / {{ grpc_pass grpc://{server}; }} }}"
        ),
        Protocol::GrpcWeb => format!(
            "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{server}; }} }}"
        ),
    }
}

async fn as_installed(folder: &Path, protocol: Protocol, server: &str) -> (Proxy, Client) {
    let port = free_port();
    let nginx = Proxy::nginx(folder, port, &site(protocol, port, server)).await;
    let url = format!("http://127.0.0.1:{port}");
    let client = Client::connect_with(&url, options(protocol, None)).await.unwrap();
    (nginx, client)
}

async fn list(client: &Client) -> Result<usize, ClientError> {
    let page = within("a list", client.list_page(ListExportsRequest::default())).await?;
    Ok(page.exports.len())
}

#[tokio::test]
#[ignore = "needs nginx: .ci/run proxies"]
async fn progress_and_large_documents_pass_nginx_as_installed() {
    for protocol in [Protocol::GrpcWeb, Protocol::Grpc] {
        let (folder, s3) = (tempfile::tempdir().unwrap(), bucket().await);
        let server = Server::start(&s3, folder.path(), &[]);
        let (_nginx, client) = as_installed(folder.path(), protocol, &server.address).await;
        check_progress(&client, &s3, 1).await;
        check_large_document(&client, folder.path(), 2).await;
        // Later documents of the same client.
        check_large_document(&client, folder.path(), 3).await;
        let log = fs::read_to_string(folder.path().join("error.log")).unwrap();
        let refused = log.matches("client intended to send too large").count();
        assert_eq!(refused, 1, "one request is too large, and the client remembers it:\n{log}");
    }
}

#[tokio::test]
#[ignore = "needs nginx: .ci/run proxies"]
async fn errors_of_nginx_name_the_proxy_and_the_setting() {
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let hole = hole.local_addr().unwrap().to_string();
    for protocol in [Protocol::GrpcWeb, Protocol::Grpc] {
        let (folder, s3) = (tempfile::tempdir().unwrap(), bucket().await);
        let server = Server::start(&s3, folder.path(), &[]);
        let (nginx, client) = as_installed(folder.path(), protocol, &server.address).await;
        let mut large = request(1, "incident report.docx");
        large.documents = vec![document(Kind::Before, bytes(2_000_000, 1).to_vec())];
        let error = within("an error", client.export(large).next()).await.unwrap().unwrap_err();
        assert_eq!(error.code(), Some(Code::ResourceExhausted), "{error}");
        for part in ["proxy", "413", "client_max_body_size", "docs/deployment.md"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        drop(server);
        let error = list(&client).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Unavailable), "{error}");
        for part in ["proxy", "502", "proxy_pass or grpc_pass"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        drop((client, nginx));

        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let timeouts = "proxy_read_timeout 100ms; grpc_read_timeout 100ms;";
        let site = site(protocol, port, &hole)
            .replace("location / {", &format!("location / {{ {timeouts}"));
        let _nginx = Proxy::nginx(folder.path(), port, &site).await;
        let url = format!("http://127.0.0.1:{port}");
        let client = Client::connect_with(&url, options(protocol, None)).await.unwrap();
        let error = list(&client).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Unavailable), "{error}");
        for part in
            ["proxy", "504", "proxy_read_timeout or grpc_read_timeout", "HEARTBEAT_INTERVAL"]
        {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

/// A documented `server` block on a free port, with certificates of the authority.
fn documented(
    number: usize,
    folder: &TempDir,
    authority: &Authority,
    server: &str,
) -> (u16, String) {
    let signed = authority.server();
    let port = free_port();
    fs::write(folder.path().join("server.pem"), &signed.certificate).unwrap();
    fs::write(folder.path().join("server-key.pem"), &signed.key).unwrap();
    let block = &of_deployment("## Behind a proxy", "nginx")[number];
    let block = replaced(block, "/etc/tara-export", &folder.path().display().to_string());
    let block = replaced(&block, "listen 443", &format!("listen 127.0.0.1:{port}"));
    (port, replaced(&block, "127.0.0.1:8080", server))
}

#[tokio::test]
#[ignore = "needs nginx: .ci/run proxies"]
async fn documented_configurations_pass_everything() {
    for (number, protocol) in [(0, Protocol::Grpc), (1, Protocol::GrpcWeb)] {
        let (folder, s3) = (tempfile::tempdir().unwrap(), bucket().await);
        let authority = Authority::new("ours");
        let environment =
            [("ALLOWED_HOSTS", "export.example.com"), ("TRUSTED_PROXIES", "127.0.0.1")];
        let server = Server::start(&s3, folder.path(), &environment);
        let (port, block) = documented(number, &folder, &authority, &server.address);
        let _nginx = Proxy::nginx(folder.path(), port, &block).await;
        let url = format!("https://localhost:{port}");
        let options = options(protocol, Some(&authority.pem));
        let client = Client::connect_with(&url, options).await.unwrap();
        check_progress(&client, &s3, 1).await;
        check_large_document(&client, folder.path(), 2).await;
        // An error with many details, whose headers are larger than nginx's default.
        let mut invalid = request(3, "incident report.docx");
        invalid.documents = vec![document(Kind::Unspecified, Vec::new()); 40];
        let error = within("an error", client.export(invalid).next()).await.unwrap().unwrap_err();
        assert_eq!(error.code(), Some(Code::InvalidArgument), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs nginx: .ci/run proxies"]
async fn server_on_a_unix_socket_learns_the_callers_address() {
    let (folder, s3) = (tempfile::tempdir().unwrap(), bucket().await);
    let socket = folder.path().join("server.sock");
    let environment = [
        ("UNIX_SOCKET", socket.to_str().unwrap()),
        ("UNIX_SOCKET_MODE", "666"),
        ("TRUSTED_PROXIES", "unix"),
        ("ALLOWED_HOSTS", "export.example.com"),
    ];
    let server = Server::start(&s3, folder.path(), &environment);
    // nginx's workers are other users.
    let access = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), access).unwrap();
    let port = free_port();
    let site = format!(
        "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{}:; \
         proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}",
        server.address
    );
    let _nginx = Proxy::nginx(folder.path(), port, &site).await;
    let url = format!("http://127.0.0.1:{port}");
    let client = Client::connect_with(&url, options(Protocol::GrpcWeb, None)).await.unwrap();
    check_progress(&client, &s3, 1).await;
    let request = http::Request::options(format!("{url}/tara.export.v1.ExportService/GetExport"))
        .header("host", "evil.example.com")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let browser = hyper_util::client::legacy::Client::builder(executor).build_http();
    let response = within("a response", browser.request(request)).await.unwrap();
    assert_eq!(response.status(), http::StatusCode::FORBIDDEN);
    server.wait_for_log(&["HOST_NOT_ALLOWED", "evil.example.com", "127.0.0.1"]).await;
}

//! TLS and mutual TLS.

use std::net::SocketAddr;

use tara_export::server::RunningServer;
use tara_export_client::{
    Client, ClientError, ConnectOptions, Protocol, proto::ListExportsRequest,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    following::kind,
    harness::{
        Host,
        authorities::{Authority, file},
        within,
    },
    requests::request,
};

async fn serve(host: &Host, flags: &[String]) -> RunningServer {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    host.serve(&flags).await.0
}

async fn connect(address: SocketAddr, options: ConnectOptions) -> Result<Client, ClientError> {
    let url = format!("https://{address}");
    within("a connection", Client::connect_with(&url, options)).await
}

async fn list(client: &Client) -> Result<usize, ClientError> {
    let page = within("a list", client.list_page(ListExportsRequest::default())).await?;
    Ok(page.exports.len())
}

#[tokio::test]
async fn export_over_tls_needs_the_right_authority() {
    let (folder, host, authority) =
        (tempfile::tempdir().unwrap(), Host::new(), Authority::new("ours"));
    let server = serve(&host, &authority.server().flags(folder.path())).await;
    let client = connect(server.address(), authority.trust()).await.unwrap();
    let mut events = client.export(request(1, "incident report.docx"));
    let mut last = None;
    while let Some(event) = within("an event", futures::StreamExt::next(&mut events)).await {
        last = Some(kind(&event.unwrap()));
    }
    assert_eq!(last.as_deref(), Some("completed"));
    assert_eq!(list(&client).await.unwrap(), 1);

    let error = connect(server.address(), Authority::new("another").trust()).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn plain_http_to_the_tls_port_is_answered_with_advice() {
    let (folder, host, authority) =
        (tempfile::tempdir().unwrap(), Host::new(), Authority::new("ours"));
    let server = serve(&host, &authority.server().flags(folder.path())).await;
    let address = server.address();
    for request in [
        &b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
        // A body that is not read before the response.
        &[b"POST /x HTTP/1.1\r\ncontent-length: 900000\r\n\r\n", &[b'x'; 900_000][..]].concat(),
    ] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        within("the request", connection.write_all(request)).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut response = String::new();
        within("the response", connection.read_to_string(&mut response)).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{response}");
        assert!(response.ends_with("use https:// instead of http://\n"), "{response}");
    }
    let client = Client::connect(&format!("http://{address}")).await.unwrap();
    let error = list(&client).await.unwrap_err();
    assert!(error.to_string().contains("use https://"), "{error}");
    assert_eq!(error.reason(), Some("TLS_FAILED"));
    // Clients of other projects show the debug data.
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut response = Vec::new();
    within("the response", connection.read_to_end(&mut response)).await.unwrap();
    assert!(response.ends_with(b"use https:// instead of http://"), "{response:?}");
    // Neither is a reason to refuse the next handshake.
    connect(address, authority.trust()).await.unwrap();
}

#[tokio::test]
async fn https_to_a_plain_port_names_http() {
    let server = Host::new().start().await;
    for protocol in [Protocol::Grpc, Protocol::GrpcWeb] {
        let options = ConnectOptions { protocol, ..Authority::new("ours").trust() };
        let error = connect(server.address, options).await.unwrap_err();
        assert!(error.to_string().contains("use http:// instead"), "{protocol:?}: {error}");
    }
}

#[tokio::test]
async fn certificate_errors_say_what_to_do() {
    let (folder, host) = (tempfile::tempdir().unwrap(), Host::new());
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    for (signed, trusted, advice) in [
        (ours.server(), &other, "not trusted"),
        (ours.as_server(), &ours, "CA certificate (CA:TRUE)"),
        (ours.server_for("export.example.com"), &ours, "subject alternative names"),
    ] {
        let server = serve(&host, &signed.flags(folder.path())).await;
        for protocol in [Protocol::Grpc, Protocol::GrpcWeb] {
            let options = ConnectOptions { protocol, ..trusted.trust() };
            let error = connect(server.address(), options).await.unwrap_err();
            assert!(error.to_string().contains(advice), "{protocol:?}: {error}");
        }
        within("the server stops", server.shut_down()).await;
    }
}

#[tokio::test]
async fn mutual_tls_admits_only_known_clients_and_records_their_names() {
    let (folder, host, authority) =
        (tempfile::tempdir().unwrap(), Host::new(), Authority::new("ours"));
    let mut flags = authority.server().flags(folder.path());
    let ca = file(folder.path(), "clients.pem", &authority.pem);
    flags.push(format!("--tls-client-ca-file={}", ca.display()));
    let server = serve(&host, &flags).await;
    let known = |authority: &Authority, signed: &Authority| ConnectOptions {
        identity: Some(signed.client("spiffe://example.com/review").identity()),
        ..authority.trust()
    };

    let client = connect(server.address(), known(&authority, &authority)).await.unwrap();
    let mut events = client.export(request(1, "incident report.docx"));
    while let Some(event) = within("an event", futures::StreamExt::next(&mut events)).await {
        event.unwrap();
    }
    let page = client.list_page(ListExportsRequest::default()).await.unwrap();
    assert_eq!(page.exports[0].requested_by, "spiffe://example.com/review");

    for options in [authority.trust(), known(&authority, &Authority::new("another"))] {
        // With TLS 1.3, a client may learn of the refusal with its first request only.
        let refused = match connect(server.address(), options).await {
            Ok(client) => list(&client).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(refused.reason(), Some("TLS_FAILED"), "{refused}");
    }
}

#[tokio::test]
async fn new_certificate_is_used_and_an_incomplete_one_is_ignored() {
    let (folder, host) = (tempfile::tempdir().unwrap(), Host::new());
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = serve(&host, &old.server().flags(folder.path())).await;
    let before = connect(server.address(), old.trust()).await.unwrap();

    let renewed = new.server();
    file(folder.path(), "cert.pem", &renewed.certificate);
    server.reload().notify_one();
    connect(server.address(), old.trust()).await.unwrap();

    renewed.write(folder.path());
    server.reload().notify_one();
    let renewed = async {
        while connect(server.address(), new.trust()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within("the new certificate", renewed).await;
    // Existing connections continue.
    list(&before).await.unwrap();
}

#[tokio::test]
async fn http_1_works_over_tls_despite_silent_connections() {
    use tokio_rustls::{
        TlsConnector,
        rustls::{
            ClientConfig, RootCertStore,
            crypto::aws_lc_rs,
            pki_types::{CertificateDer, ServerName, pem::PemObject as _},
        },
    };

    let (folder, host, authority) =
        (tempfile::tempdir().unwrap(), Host::new(), Authority::new("ours"));
    let server = serve(&host, &authority.server().flags(folder.path())).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(tokio::net::TcpStream::connect(server.address()).await.unwrap());
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tcp = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(std::sync::Arc::new(config)).connect(name, tcp);
    let mut tls = within("a handshake", connecting).await.unwrap();
    tls.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut response = Vec::new();
    let _ = within("a response", tls.read_to_end(&mut response)).await;
    let response = String::from_utf8(response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("ok\n"), "{response}");
}

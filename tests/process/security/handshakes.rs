//! The log and the commands explain connections with the wrong protocol, and the wrong certificate.

use std::process::Command;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    harness::{authorities::Authority, within},
    proxies::server::{Server, bucket},
};

/// The error of a command that lists exports.
fn error_of(url: &str, flags: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tara-export"))
        .env_clear()
        .args(["list", "--server", url])
        .args(flags)
        .output()
        .unwrap();
    assert_ne!(output.status.code(), Some(0));
    String::from_utf8(output.stderr).unwrap()
}

async fn send(address: &str, bytes: &[u8]) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(bytes).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut response = Vec::new();
    // The server may reset the connection.
    let _ = within("the end of the connection", connection.read_to_end(&mut response)).await;
}

#[tokio::test]
async fn wrong_protocols_and_certificates_are_logged_and_explained() {
    let (folder, s3) = (tempfile::tempdir().unwrap(), bucket().await);
    let authority = Authority::new("ours");
    let path = |name: &str| folder.path().join(name).display().to_string();
    authority.as_server().write(folder.path());
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let settings = [("TLS_CERT_FILE", certificate.as_str()), ("TLS_KEY_FILE", &key)];
    let server = Server::start(&s3, folder.path(), &settings);
    server.wait_for_log(&["WARN", "TLS_CERT_FILE", "CA:TRUE", "docs/security.md"]).await;
    let error = error_of(&format!("https://{}", server.address), &["--tls-ca-file", &certificate]);
    assert!(error.contains("CA certificate (CA:TRUE)"), "{error}");

    let error = error_of(&format!("http://{}", server.address), &[]);
    assert!(error.contains("use https://"), "{error}");
    server.wait_for_log(&["WARN", "plain HTTP", "HTTP/2", "127.0.0.1"]).await;
    send(&server.address, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    server.wait_for_log(&["WARN", "plain HTTP", "HTTP/1.1", "127.0.0.1"]).await;
    let error = error_of(&format!("http://{}", server.address), &["--grpc-web"]);
    assert!(error.contains("use https://"), "{error}");
    drop(server);

    let plain = Server::start(&s3, &folder.path().join("plain"), &[]);
    let error = error_of(&format!("https://{}", plain.address), &[]);
    assert!(error.contains("use http://"), "{error}");
    plain.wait_for_log(&["WARN", "started TLS on the port without TLS", "127.0.0.1"]).await;
}

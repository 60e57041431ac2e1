//! HAProxy, as `docs/deployment.md` configures it.

use std::fs;

use tara_export_client::{Client, Protocol};

use super::{
    documents::{of_deployment, replaced},
    proxy::{Proxy, free_port},
    server::{Server, bucket},
    traffic::{check_large_document, check_progress, options},
};
use crate::harness::authorities::Authority;

#[tokio::test]
#[ignore = "needs HAProxy: .ci/run proxies"]
async fn documented_configuration_passes_both_protocols() {
    let (folder, s3) = (tempfile::tempdir().unwrap(), bucket().await);
    let authority = Authority::new("ours");
    let environment = [("ALLOWED_HOSTS", "export.example.com"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let server = Server::start(&s3, folder.path(), &environment);
    let signed = authority.server();
    let both = format!("{}{}", signed.certificate, signed.key);
    fs::write(folder.path().join("tara-export.pem"), both).unwrap();
    let port = free_port();
    let block = &of_deployment("## Behind a proxy", "haproxy")[0];
    let block = replaced(block, "/etc/tara-export", &folder.path().display().to_string());
    let block = replaced(&block, "bind :443", &format!("bind 127.0.0.1:{port}"));
    let block = replaced(&block, "127.0.0.1:8080", &server.address);
    let _haproxy = Proxy::haproxy(folder.path(), port, &block).await;
    for (protocol, number) in [(Protocol::Grpc, 1), (Protocol::GrpcWeb, 3)] {
        let url = format!("https://localhost:{port}");
        let options = options(protocol, Some(&authority.pem));
        let client = Client::connect_with(&url, options).await.unwrap();
        check_progress(&client, &s3, number).await;
        check_large_document(&client, folder.path(), number + 1).await;
    }
}

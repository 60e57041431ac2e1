//! A server on a Unix socket.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
};

use tara_export::server::ListenError;
use tara_export_client::{Client, ConnectOptions, Protocol, is_serving, proto::ListExportsRequest};

use crate::{
    following::kind,
    harness::{Host, within},
    requests::request,
};

fn flag(path: &Path) -> String {
    format!("--unix-socket={}", path.display())
}

async fn list(client: &Client) -> usize {
    within("a list", client.list_page(ListExportsRequest::default())).await.unwrap().exports.len()
}

#[tokio::test]
async fn commands_and_health_checks_connect_over_the_socket() {
    let (folder, host) = (tempfile::tempdir().unwrap(), Host::new());
    let path = folder.path().join("server.sock");
    let (server, _) = host.serve(&[&flag(&path)]).await;
    assert_eq!(server.listen_address().to_string(), format!("unix:{}", path.display()));
    for (url, protocol) in [
        (format!("unix:{}", path.display()), Protocol::Grpc),
        (format!("unix://{}", path.display()), Protocol::GrpcWeb),
    ] {
        let options = ConnectOptions { protocol, ..ConnectOptions::default() };
        let client = Client::connect_with(&url, options.clone()).await.unwrap();
        let mut events = client.export(request(1, "incident report.docx"));
        let mut last = None;
        while let Some(event) = within("an event", futures::StreamExt::next(&mut events)).await {
            last = Some(kind(&event.unwrap()));
        }
        assert_eq!(last.as_deref(), Some("completed"));
        assert_eq!(list(&client).await, 1);
        assert!(is_serving(&url, "", ConnectOptions::default()).await.unwrap());
    }
    // A client that names any host, as gRPC libraries do over a Unix socket.
    let endpoint = tonic::transport::Endpoint::from_shared(format!("unix:{}", path.display()));
    let channel = endpoint.unwrap().connect().await.unwrap();
    assert_eq!(list(&Client::from_channel(channel)).await, 1);
    within("the server stops", server.shut_down()).await;
    assert!(!path.exists(), "the socket is removed");
    let url = format!("unix:{}", path.display());
    let error = Client::connect(&url).await.unwrap_err().to_string();
    assert!(error.contains(&url) && error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn allowed_hosts_apply_to_the_socket_if_set() {
    let (folder, host) = (tempfile::tempdir().unwrap(), Host::new());
    let path = folder.path().join("server.sock");
    let (server, _) = host.serve(&[&flag(&path), "--allowed-hosts=export.example.com"]).await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("unix:{}", path.display()));
    let endpoint = endpoint.unwrap();
    for (origin, is_allowed) in
        [("http://export.example.com", true), ("http://localhost", true), ("http://evil", false)]
    {
        let channel = endpoint.clone().origin(origin.parse().unwrap()).connect().await.unwrap();
        let client = Client::from_channel(channel);
        let listed = within("a list", client.list_page(ListExportsRequest::default())).await;
        assert_eq!(listed.is_ok(), is_allowed, "{origin}");
    }
    within("the server stops", server.shut_down()).await;
}

#[tokio::test]
async fn socket_has_the_configured_permissions() {
    let (folder, host) = (tempfile::tempdir().unwrap(), Host::new());
    let path = folder.path().join("server.sock");
    for (flags, mode) in [(&[][..], 0o600), (&["--unix-socket-mode=0662"], 0o662)] {
        let flag = flag(&path);
        let (server, _) = host.serve(&[&[flag.as_str()], flags].concat()).await;
        let file = fs::symlink_metadata(&path).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, mode);
        within("the server stops", server.shut_down()).await;
    }
}

#[tokio::test]
async fn stale_socket_is_replaced_and_a_live_one_is_not() {
    let (folder, one, other) = (tempfile::tempdir().unwrap(), Host::new(), Host::new());
    let path = folder.path().join("server.sock");
    let flag = flag(&path);
    // A process that was killed leaves its socket.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let (server, _) = one.serve(&[&flag]).await;
    let client = Client::connect(&format!("unix:{}", path.display())).await.unwrap();
    assert_eq!(list(&client).await, 0);

    let refused = other.try_serve(&[&flag]).await.unwrap_err();
    assert!(matches!(&refused, ListenError::UnixSocket { .. }), "{refused}");
    let message = refused.to_string();
    assert!(message.contains("UNIX_SOCKET") && message.contains("another server"), "{message}");
    assert_eq!(list(&client).await, 0);
    assert_eq!(list(&Client::connect(&format!("unix:{}", path.display())).await.unwrap()).await, 0);
    drop(client);
    within("the server stops", server.shut_down()).await;

    // Another program, without this server's lock.
    let listener = UnixListener::bind(&path).unwrap();
    let message = other.try_serve(&[&flag]).await.unwrap_err().to_string();
    assert!(message.contains("another server"), "{message}");
    drop(listener);
    fs::remove_file(&path).unwrap();

    fs::write(&path, "notes").unwrap();
    let message = other.try_serve(&[&flag]).await.unwrap_err().to_string();
    assert!(message.contains("not a socket"), "{message}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "notes");
}

#[tokio::test]
async fn socket_of_another_program_is_not_removed_at_the_stop() {
    let (folder, host) = (tempfile::tempdir().unwrap(), Host::new());
    let path = folder.path().join("server.sock");
    let (server, _) = host.serve(&[&flag(&path)]).await;
    fs::remove_file(&path).unwrap();
    let _listener = UnixListener::bind(&path).unwrap();
    within("the server stops", server.shut_down()).await;
    assert!(path.exists());
}

#[tokio::test]
async fn missing_folder_of_the_socket_is_named() {
    let (folder, host) = (tempfile::tempdir().unwrap(), Host::new());
    let path = folder.path().join("missing/server.sock");
    let message = host.try_serve(&[&flag(&path)]).await.unwrap_err().to_string();
    assert!(
        message.contains("missing/server.sock") && message.contains("No such file"),
        "{message}"
    );
}

//! A server on a Unix socket as a process: commands, health checks, and the socket's file after each kind of end.

use std::{
    os::unix::fs::FileTypeExt as _,
    path::Path,
    process::{Command, Output},
};

use crate::{
    harness::until,
    proxies::server::{Server, bucket},
};

/// A command with the server's environment.
fn run(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tara-export"));
    command.env_clear().env("UNIX_SOCKET", socket).args(arguments).output().unwrap()
}

#[tokio::test]
async fn socket_serves_commands_and_survives_a_kill() {
    let (folder, s3) = (tempfile::tempdir().unwrap(), bucket().await);
    let socket = folder.path().join("server.sock");
    let url = format!("unix:{}", socket.display());
    let environment = [("UNIX_SOCKET", socket.to_str().unwrap())];
    let server = Server::start(&s3, folder.path(), &environment);
    assert_eq!(server.address, url);
    // As the image's health check, which has only the environment.
    for arguments in [
        &["health", "--service", "liveness"][..],
        &["health", "--server", &url],
        &["list", "--server", &url],
        &["list", "--server", &url, "--grpc-web"],
        &["export", "examples/sample-review", "--server", &url],
    ] {
        let output = run(&socket, arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}");
    }
    // Killed, so the socket stays, and the next server replaces it.
    drop(server);
    assert!(socket.symlink_metadata().unwrap().file_type().is_socket());
    let output = run(&socket, &["health"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&url) && text.contains("Connection refused"), "{text}");
    let server = Server::start(&s3, folder.path(), &environment);
    assert_eq!(run(&socket, &["health"]).status.code(), Some(0));

    let second = run(&socket, &["serve", "--data-dir", &folder.path().join("2").to_string_lossy()]);
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{text}");
    assert!(text.contains("UNIX_SOCKET") && text.contains("another server listens"), "{text}");
    assert_eq!(run(&socket, &["health"]).status.code(), Some(0), "the first one is unaffected");

    server.terminate();
    until("the socket to be removed", || !socket.exists()).await;
}

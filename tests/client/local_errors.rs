//! Errors that are not a lost connection (`http` and `connections` of `clients/hostile-server.json`): the client reports
//! them at once, with what to do next.

use std::{path::Path, time::Duration};

use futures::TryStreamExt as _;
use serde_json::Value;
use tara_export_client::{
    Client, ClientError, ConnectOptions, FollowPolicy, Protocol, Token, proto::StartExportRequest,
};
use tara_export_test_support::World;
use tokio::time::Instant;

use crate::{authorities::Authority, http_server::HttpServer};

const EXPORT: &str = "exports/6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
/// The time within which an error must be reported.
const AT_ONCE: Duration = Duration::from_secs(10);
const PROTOCOLS: [(Protocol, &str); 2] =
    [(Protocol::Grpc, "grpc"), (Protocol::GrpcWeb, "grpc-web")];

fn rows(key: &str) -> Vec<Value> {
    let shared: Value =
        serde_json::from_str(include_str!("../../clients/hostile-server.json")).unwrap();
    shared[key].as_array().unwrap().clone()
}

/// Reports lost contact after some retries, so that a test shows the last error.
fn impatient() -> FollowPolicy {
    FollowPolicy {
        progress_timeout: Duration::from_secs(2),
        min_delay: Duration::from_millis(50),
        ..FollowPolicy::default()
    }
}

/// Watches an export.
async fn watch(address: &str, options: ConnectOptions) -> ClientError {
    let client = match Client::connect_with(address, options).await {
        Ok(client) => client.with_follow_policy(impatient()),
        Err(error) => return error,
    };
    let watched: Result<Vec<_>, ClientError> = client.watch(EXPORT).try_collect().await;
    watched.unwrap_err()
}

fn check(row: &Value, error: &ClientError) {
    let (about, text) = (row["about"].as_str().unwrap(), error.to_string());
    if row.get("trailer_bytes").is_some() {
        // h2 reads them: the status of the response arrives.
        assert!(text.contains("invalid (InvalidArgument)"), "{about}: {text}");
        return;
    }
    if row["retried"] == true {
        // Connect reports an unreachable server at once, so that a command does not wait.
        let is_reported =
            matches!(error, ClientError::LostContact { .. } | ClientError::Connect { .. });
        assert!(is_reported, "{about}: {text}");
    } else {
        assert!(!matches!(error, ClientError::LostContact { .. }), "{about}: {text}");
        assert_eq!(error.reason(), row["reason"].as_str(), "{about}: {text}");
    }
    for expected in row["error_contains"].as_array().unwrap() {
        let expected = expected.as_str().unwrap();
        // The client accepts 5 MiB: servers send at most 4 MiB.
        let expected = if expected == "64 MiB" { "5 MiB" } else { expected };
        assert!(text.contains(expected), "{about}: {expected} is missing in {text}");
    }
}

#[tokio::test]
async fn responses_of_proxies_are_not_lost_connections() {
    for row in rows("http") {
        for (protocol, name) in PROTOCOLS {
            let protocols = row["protocols"].as_array();
            if protocols.is_some_and(|protocols| !protocols.contains(&name.into())) {
                continue;
            }
            let server = HttpServer::start(&row).await;
            let address = format!("http://{}", server.address);
            let options = ConnectOptions { protocol, ..ConnectOptions::default() };
            let started = Instant::now();
            let error = watch(&address, options.clone()).await;
            println!("{name}: {}: {error}", row["about"]);
            check(&row, &error);
            let requests = server.requests();
            if row["retried"] == true {
                assert!(requests > 1, "{row}: {requests}");
                continue;
            }
            assert!(started.elapsed() < AT_ONCE && requests <= 4, "{row}: {requests}");
            let client = Client::connect_with(&address, options).await.unwrap();
            let client = client.with_follow_policy(impatient());
            check(&row, &client.check_storage().await.unwrap_err());
            let events: Result<Vec<_>, _> =
                client.export(StartExportRequest::default()).try_collect().await;
            check(&row, &events.unwrap_err());
            let file = tempfile::NamedTempFile::new().unwrap();
            check(&row, &client.upload_file(file.path(), |_| {}).await.unwrap_err());
            let download = client.download_artifact(EXPORT, "a.txt", &mut tokio::io::sink()).await;
            check(&row, &download.unwrap_err());
        }
    }
}

#[tokio::test]
async fn failed_connections_are_reported() {
    for row in rows("connections") {
        let authority = Authority::new("test authority");
        let folder = tempfile::tempdir().unwrap();
        match row["certificate"].as_str() {
            Some("other name") => authority.server_for("other.example"),
            Some("expired") => authority.expired_server(),
            _ => authority.server(),
        }
        .write(folder.path());
        let authority_file = folder.path().join("ca.pem");
        std::fs::write(&authority_file, &authority.pem).unwrap();
        let variable = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
        let mut environment = Vec::new();
        let kind = row["server"].as_str().unwrap();
        if kind.ends_with("tls") {
            environment.push(variable("TLS_CERT_FILE", &folder.path().join("cert.pem")));
            environment.push(variable("TLS_KEY_FILE", &folder.path().join("key.pem")));
        }
        if kind == "mutual tls" {
            environment.push(variable("TLS_CLIENT_CA_FILE", &authority_file));
        }
        let binary = Path::new(env!("CARGO_BIN_EXE_tara-export"));
        let world = World::start_with(binary, &environment).await.unwrap();
        let address = match kind {
            "none" => row["address"].as_str().unwrap().to_owned(),
            "closed port" => "127.0.0.1:1".to_owned(),
            _ => world.server(),
        };
        let address = format!("{}://{address}", row["scheme"].as_str().unwrap());
        let trusts = row["client"].as_array().is_some_and(|client| client.contains(&"ca".into()));
        for (protocol, name) in PROTOCOLS {
            let base = if trusts { authority.trust() } else { ConnectOptions::default() };
            let started = Instant::now();
            let error = watch(&address, ConnectOptions { protocol, ..base }).await;
            println!("{name}: {}: {error}", row["about"]);
            check(&row, &error);
            assert!(started.elapsed() < AT_ONCE, "{row}");
        }
        world.shut_down().await.unwrap();
    }
}

#[tokio::test]
async fn token_requires_tls_to_another_machine() {
    for address in ["http://export.example.com", "10.0.0.7:80", "dns:///export.example.com:80"] {
        for (protocol, _) in PROTOCOLS {
            let token = Token::new("hunter2");
            let options = ConnectOptions { token, protocol, ..ConnectOptions::default() };
            let error = Client::connect_with(address, options).await.unwrap_err().to_string();
            assert!(
                error.contains("a token requires TLS") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
    let error = Client::connect("http://user:hunter2@127.0.0.1:1").await.unwrap_err().to_string();
    assert!(error.contains("user name") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn addresses_of_every_kind_are_accepted() {
    let binary = Path::new(env!("CARGO_BIN_EXE_tara-export"));
    let sixth = [("BIND_ADDRESS".to_owned(), "::1".to_owned())];
    let (world, sixth) =
        (World::start(binary).await.unwrap(), World::start_with(binary, &sixth).await.unwrap());
    let port = |world: &World| world.server().rsplit(':').next().unwrap().to_owned();
    for address in [
        world.server(),
        format!("http://{}/", world.server()),
        format!("dns:///{}", world.server()),
        format!("localhost:{}", port(&world)),
        format!("http://[::1]:{}", port(&sixth)),
        format!("[::1]:{}", port(&sixth)),
    ] {
        for (protocol, name) in PROTOCOLS {
            let options = ConnectOptions { protocol, ..ConnectOptions::default() };
            let client = Client::connect_with(&address, options).await;
            let client = client.unwrap_or_else(|error| panic!("{name} {address}: {error}"));
            client.check_storage().await.unwrap();
        }
    }
    world.shut_down().await.unwrap();
    sixth.shut_down().await.unwrap();
}

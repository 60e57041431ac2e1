//! Client addresses behind a proxy, and forged headers.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use tara_export_client::proto::ListExportsRequest;
use tonic::{Code, Request};

use crate::harness::{Client, tokens::flag, within};

/// A server with authentication, which logs refused calls with the client's address.
struct Server(Child);

impl Server {
    /// Sends one call without credentials for each list of header lines, and returns the addresses that
    /// the server logged for them.
    async fn logged(folder: &std::path::Path, flags: &[&str], calls: &[&[&str]]) -> Vec<String> {
        let child = Command::new(env!("CARGO_BIN_EXE_tara-export"))
            .env_clear()
            .env("DATA_DIR", folder.join("data"))
            .args(["serve", "--port=0", "--log-format=json", &flag(folder, &[("ada", &["read"])])])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Self(child);
        let mut log = BufReader::new(server.0.stderr.take().unwrap());
        let mut first = String::new();
        log.read_line(&mut first).unwrap();
        let first: serde_json::Value = serde_json::from_str(&first).unwrap();
        let url = format!("http://{}", first["address"].as_str().unwrap());
        let mut client = Client::connect(url).await.unwrap();
        for lines in calls {
            let mut request = Request::new(ListExportsRequest::default());
            for line in *lines {
                request.metadata_mut().append("x-forwarded-for", line.parse().unwrap());
            }
            let status = within("a refusal", client.list_exports(request)).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated);
        }
        let stop = Command::new("kill").arg(server.0.id().to_string()).status().unwrap();
        assert!(stop.success());
        let mut rest = String::new();
        log.read_to_string(&mut rest).unwrap();
        let lines =
            rest.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter_map(|line| Some(line["peer"].as_str()?.to_owned())).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn forwarded_header_counts_from_trusted_proxies_only() {
    let folder = tempfile::tempdir().unwrap();
    let calls: &[&[&str]] = &[
        &[],
        &["203.0.113.5"],
        &["198.51.100.1, 203.0.113.5"],
        &["198.51.100.1", "203.0.113.5:4711"],
        &["203.0.113.5, garbage"],
    ];
    // Headers from untrusted clients are ignored.
    for flags in [&[][..], &["--trusted-proxies=192.0.2.0/24"]] {
        let logged = Server::logged(folder.path(), flags, calls).await;
        assert_eq!(logged.len(), calls.len());
        assert!(logged.iter().all(|peer| peer.starts_with("127.0.0.1:")), "{logged:?}");
    }
    let logged = Server::logged(folder.path(), &["--trusted-proxies=127.0.0.0/8"], calls).await;
    assert_eq!(logged[1..4], ["203.0.113.5", "203.0.113.5", "203.0.113.5"]);
    for peer in [&logged[0], &logged[4]] {
        assert!(peer.starts_with("127.0.0.1:"), "{logged:?}");
    }
}

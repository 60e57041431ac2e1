//! The client and the commands before a server that lies (`clients/hostile-server.json`): an error, and no
//! file.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]
#![allow(dead_code, reason = "the fake server serves the tests of the client too")]

mod client_fake;

use std::{fs, path::Path, time::Duration};

use clap::Parser;
use client_fake::{Answer, End, FakeServer, Script};
use futures::TryStreamExt as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tara_export::{
    cli::{ClientCommand, Output},
    client::{ClientError, FollowPolicy},
    proto::{
        self, CreateDownloadLinkResponse, CreateUploadResponse, DownloadArtifactResponse,
        DownloadBundleResponse, ExportEvent, GetExportResponse, ListExportsRequest,
        ListExportsResponse,
    },
};

fn shared() -> Value {
    serde_json::from_str(include_str!("../clients/hostile-server.json")).unwrap()
}

fn message<M: prost::Message + Default>(name: &str, json: &Value) -> M {
    let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name(&format!("tara.export.v1.{name}")).unwrap();
    DynamicMessage::deserialize(descriptor, json).unwrap().transcode_to().unwrap()
}

/// A server whose method gives these answers.
fn script(method: &str, answers: &[Value]) -> Script {
    fn all<M: prost::Message + Default>(name: &str, answers: &[Value]) -> Vec<M> {
        answers.iter().map(|answer| message(name, answer)).collect()
    }
    let mut script = Script::default();
    match method {
        "GetExport" => {
            script.lies.get = all::<GetExportResponse>("GetExportResponse", answers).pop();
        }
        "ListExports" => {
            script.lies.list = all::<ListExportsResponse>("ListExportsResponse", answers).pop();
        }
        "WatchExport" => {
            let events: Vec<ExportEvent> = all("ExportEvent", answers);
            script.answers.push_back(Answer::Stream(events, End::Ok));
        }
        "DownloadArtifact" => {
            script.artifact = all::<DownloadArtifactResponse>("DownloadArtifactResponse", answers);
        }
        "DownloadBundle" => {
            script.bundle = all::<DownloadBundleResponse>("DownloadBundleResponse", answers);
        }
        "CreateDownloadLink" => {
            let link: CreateDownloadLinkResponse =
                message("CreateDownloadLinkResponse", &answers[0]);
            script.link = Some(Ok(link));
        }
        "CreateUpload" => {
            let made: CreateUploadResponse = message("CreateUploadResponse", &answers[0]);
            script.lies.upload = made.upload;
        }
        other => panic!("{other}"),
    }
    script
}

fn quick() -> FollowPolicy {
    FollowPolicy {
        patience: Duration::from_millis(50),
        min_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(5),
        ..FollowPolicy::default()
    }
}

async fn call(server: &FakeServer, method: &str, document: &Path) -> Result<(), ClientError> {
    let shared = shared();
    let (name, path) = (shared["export"].as_str().unwrap(), shared["path"].as_str().unwrap());
    let client = server.client(quick()).await;
    match method {
        "GetExport" => client.get_export(name).await.map(drop),
        "ListExports" => {
            let exports = client.list_exports(ListExportsRequest::default());
            exports.try_collect::<Vec<_>>().await.map(drop)
        }
        "WatchExport" => client.watch(name).try_collect::<Vec<_>>().await.map(drop),
        "DownloadArtifact" => client.download_artifact(name, path, &mut Vec::new()).await.map(drop),
        "DownloadBundle" => client.download_bundle(name, &mut Vec::new()).await.map(drop),
        "CreateDownloadLink" => client.create_download_link(name, path, None).await.map(drop),
        "CreateUpload" => client.upload_file(document, |_| {}).await.map(drop),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn lies_are_refused() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("document");
    fs::write(&document, shared["document"].as_str().unwrap()).unwrap();
    for row in shared["answers"].as_array().unwrap() {
        let method = row["method"].as_str().unwrap();
        let answers = row["answers"].as_array().unwrap();
        let server = FakeServer::start(script(method, answers)).await;
        let error = match call(&server, method, &document).await {
            Err(error) => error.to_string(),
            Ok(()) => panic!("accepted: {row}"),
        };
        for text in row["says"].as_array().unwrap() {
            assert!(error.contains(text.as_str().unwrap()), "{text} is missing in {error}");
        }
        assert!(!error.contains(char::is_control), "{error:?}");
    }
}

/// A command line of its own, as `main` has one around the commands.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: ClientCommand,
}

/// Runs a command, and returns its error and all that it wrote.
async fn run(server: &FakeServer, arguments: &[&str]) -> (Option<String>, String) {
    let line = Line::try_parse_from(["tara-export"].iter().chain(arguments)).unwrap();
    let (mut out, stdout, stderr) = Output::captured();
    let result = line.command.run(server.client(quick()).await, &mut out).await;
    (result.err().map(|error| error.to_string()), stdout.text() + &stderr.text())
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn download_writes_only_names_of_files() {
    let shared = shared();
    let name = shared["export"].as_str().unwrap();
    for row in shared["names"].as_array().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("output");
        fs::create_dir(&output).unwrap();
        let file_name = row["name"].as_str().unwrap();
        // A path that the caller chose has its separators on purpose.
        if file_name.contains('/') {
            continue;
        }
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let path = format!("documents/{file_name}");
        let described = json!({"artifact": {"path": path, "sizeBytes": "3", "sha256": sha256}});
        let answers = [described, json!({"data": "YWJj"})];
        let server = FakeServer::start(script("DownloadArtifact", &answers)).await;
        let output_text = output.to_str().unwrap();
        let arguments = ["download", name, "--artifact", &path, "--output", output_text];
        let (error, _) = run(&server, &arguments).await;
        let is_usable = row["on_disk"] == true;
        assert_eq!(error.is_none(), is_usable, "{file_name:?}: {error:?}");
        let expected: &[&str] = if is_usable { &[file_name] } else { &[] };
        assert_eq!(files(&output), expected, "{file_name:?}");
        assert_eq!(files(folder.path()), ["output"], "{file_name:?}");
    }
}

#[tokio::test]
async fn an_archive_with_a_name_for_windows_only_is_downloaded_under_another() {
    let shared = shared();
    let name = shared["export"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let answers = [json!({"archive": {"fileName": "CON.a.zip"}}), json!({"data": "YWJj"})];
    let server = FakeServer::start(script("DownloadBundle", &answers)).await;
    let (error, _) = run(&server, &["download", name, "--output", output]).await;
    let error = error.unwrap();
    assert!(error.contains("CON.a.zip") && error.contains("--output"), "{error}");
    assert!(files(folder.path()).is_empty());
    let chosen = folder.path().join("chosen.zip");
    let (error, _) = run(&server, &["download", name, "--output", chosen.to_str().unwrap()]).await;
    assert_eq!(error, None);
    assert_eq!(fs::read(chosen).unwrap(), b"abc");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_at_the_target_is_not_followed() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    let output = folder.path().join("output");
    fs::create_dir(&output).unwrap();
    std::os::unix::fs::symlink(&outside, output.join("a.zip")).unwrap();
    let answers = [json!({"archive": {"fileName": "a.zip"}}), json!({"data": "YWJj"})];
    let server = FakeServer::start(script("DownloadBundle", &answers)).await;
    let arguments =
        ["download", shared["export"].as_str().unwrap(), "--output", output.to_str().unwrap()];
    let (error, _) = run(&server, &arguments).await;
    assert!(error.unwrap().contains("exists already"));
    assert!(!outside.exists());
}

#[tokio::test]
async fn what_a_terminal_obeys_is_not_printed() {
    let shared = shared();
    let name = shared["export"].as_str().unwrap();
    let hostile = "\u{1b}[2J\u{9b}31m\u{202e}x";
    let export = json!({
        "name": name, "state": "STATE_COMMITTED", "documentName": hostile, "location": hostile,
        "stateReason": hostile, "replica": hostile, "manifestSha256": hostile,
    });
    let completed = json!({"name": name, "completed": {"export": export}});
    for (method, answer, arguments) in [
        ("ListExports", json!({"exports": [export]}), &["list"][..]),
        ("ListExports", json!({"exports": [export]}), &["list", "--json"]),
        ("WatchExport", completed.clone(), &["watch", name]),
        ("WatchExport", completed, &["watch", name, "--json"]),
    ] {
        let server = FakeServer::start(script(method, &[answer])).await;
        let (error, printed) = run(&server, arguments).await;
        assert_eq!(error, None);
        assert!(!printed.is_empty(), "{arguments:?}");
        let is_obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!printed.contains(is_obeyed), "{printed:?}");
    }
}

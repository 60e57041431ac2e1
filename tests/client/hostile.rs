//! The client and the commands against a server that sends invalid responses
//! (`clients/hostile-server.json`): each results in an error and no file.

use std::{fs, path::Path, time::Duration};

use clap::Parser;
use futures::TryStreamExt as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tara_export::cli::{ClientCommand, Output};
use tara_export_client::{
    ClientError, FollowPolicy,
    proto::{
        CreateDownloadLinkResponse, CreateUploadResponse, DownloadArtifactResponse,
        DownloadBundleResponse, ExportEvent, GetExportResponse, ListEventsRequest,
        ListEventsResponse, ListExportsRequest, ListExportsResponse,
    },
};

use crate::fake_server::{End, FakeServer, Script, ScriptedResponse};

fn shared() -> Value {
    serde_json::from_str(include_str!("../../clients/hostile-server.json")).unwrap()
}

fn message<M: prost::Message + Default>(name: &str, json: &Value) -> M {
    let pool = DescriptorPool::decode(tara_export::proto::FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name(&format!("tara.export.v1.{name}")).unwrap();
    DynamicMessage::deserialize(descriptor, json).unwrap().transcode_to().unwrap()
}

/// A script in which this method returns these responses.
fn script(method: &str, responses: &[Value]) -> Script {
    fn all<M: prost::Message + Default>(name: &str, responses: &[Value]) -> Vec<M> {
        responses.iter().map(|response| message(name, response)).collect()
    }
    let mut script = Script::default();
    match method {
        "GetExport" => {
            script.forged.get = all::<GetExportResponse>("GetExportResponse", responses).pop();
        }
        "ListExports" => {
            script.forged.list = all::<ListExportsResponse>("ListExportsResponse", responses).pop();
        }
        "ListEvents" => {
            script.forged.events = all::<ListEventsResponse>("ListEventsResponse", responses).pop();
        }
        "WatchExport" => {
            let events: Vec<ExportEvent> = all("ExportEvent", responses);
            script.responses.push_back(ScriptedResponse::Stream(events, End::Ok));
        }
        "DownloadArtifact" => {
            script.artifact =
                all::<DownloadArtifactResponse>("DownloadArtifactResponse", responses);
        }
        "DownloadBundle" => {
            script.bundle = all::<DownloadBundleResponse>("DownloadBundleResponse", responses);
        }
        "CreateDownloadLink" => {
            let link: CreateDownloadLinkResponse =
                message("CreateDownloadLinkResponse", &responses[0]);
            script.link = Some(Ok(link));
        }
        "CreateUpload" => {
            let created: CreateUploadResponse = message("CreateUploadResponse", &responses[0]);
            script.forged.upload = created.upload;
        }
        other => panic!("{other}"),
    }
    script
}

fn quick() -> FollowPolicy {
    FollowPolicy {
        progress_timeout: Duration::from_millis(50),
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
        "ListEvents" => {
            let events = client.list_events(ListEventsRequest::default());
            events.try_collect::<Vec<_>>().await.map(drop)
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
async fn invalid_responses_are_refused() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("document");
    fs::write(&document, shared["document"].as_str().unwrap()).unwrap();
    for row in shared["cases"].as_array().unwrap() {
        let method = row["method"].as_str().unwrap();
        let responses = row["responses"].as_array().unwrap();
        let server = FakeServer::start(script(method, responses)).await;
        let error = match call(&server, method, &document).await {
            Err(error) => error.to_string(),
            Ok(()) => panic!("accepted: {row}"),
        };
        for text in row["error_contains"].as_array().unwrap() {
            assert!(error.contains(text.as_str().unwrap()), "{text} is missing in {error}");
        }
        assert!(!error.contains(char::is_control), "{error:?}");
    }
}

/// The command line around the commands, as in `main`.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: ClientCommand,
}

/// Runs a command. Returns its error and its complete output.
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
async fn download_refuses_unsafe_file_names() {
    let shared = shared();
    let name = shared["export"].as_str().unwrap();
    for row in shared["names"].as_array().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("output");
        fs::create_dir(&output).unwrap();
        let file_name = row["name"].as_str().unwrap();
        // The caller chooses this path, so it can contain separators.
        if file_name.contains('/') {
            continue;
        }
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let path = format!("documents/{file_name}");
        let described = json!({"artifact": {"path": path, "sizeBytes": "3", "sha256": sha256}});
        let responses = [described, json!({"data": "YWJj"})];
        let server = FakeServer::start(script("DownloadArtifact", &responses)).await;
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
async fn archive_with_a_reserved_windows_name_needs_an_output_name() {
    let shared = shared();
    let name = shared["export"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let responses = [json!({"archive": {"fileName": "CON.a.zip"}}), json!({"data": "YWJj"})];
    let server = FakeServer::start(script("DownloadBundle", &responses)).await;
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
async fn symlink_at_the_target_is_not_followed() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    let output = folder.path().join("output");
    fs::create_dir(&output).unwrap();
    std::os::unix::fs::symlink(&outside, output.join("a.zip")).unwrap();
    let responses = [json!({"archive": {"fileName": "a.zip"}}), json!({"data": "YWJj"})];
    let server = FakeServer::start(script("DownloadBundle", &responses)).await;
    let arguments =
        ["download", shared["export"].as_str().unwrap(), "--output", output.to_str().unwrap()];
    let (error, _) = run(&server, &arguments).await;
    assert!(error.unwrap().contains("already exists"));
    assert!(!outside.exists());
}

#[tokio::test]
async fn control_characters_are_not_printed() {
    let shared = shared();
    let name = shared["export"].as_str().unwrap();
    let hostile = "\u{1b}[2J\u{9b}31m\u{202e}x";
    let export = json!({
        "name": name, "state": "STATE_COMMITTED", "documentName": hostile, "location": hostile,
        "stateReason": hostile, "replica": hostile, "manifestSha256": hostile,
    });
    let completed = json!({"name": name, "completed": {"export": export}});
    for (method, response, arguments) in [
        ("ListExports", json!({"exports": [export]}), &["list"][..]),
        ("ListExports", json!({"exports": [export]}), &["list", "--json"]),
        ("WatchExport", completed.clone(), &["watch", name]),
        ("WatchExport", completed, &["watch", name, "--json"]),
    ] {
        let server = FakeServer::start(script(method, &[response])).await;
        let (error, printed) = run(&server, arguments).await;
        assert_eq!(error, None);
        assert!(!printed.is_empty(), "{arguments:?}");
        let is_unprintable = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!printed.contains(is_unprintable), "{printed:?}");
    }
}

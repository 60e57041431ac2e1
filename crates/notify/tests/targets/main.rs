//! `NOTIFY_FILE`: valid files, every kind of fault, the JSON Schema of editors, and reloading.

#![allow(clippy::unwrap_used, clippy::panic)]

mod faults;
mod reload;
mod schema;

use std::fs;

use tara_export_notify::{TargetContext, Targets};
use tempfile::TempDir;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A folder with the files that targets of the tests name.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("secret", SECRET);
    write("previous", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");
    write("url", "https://hooks.example.com/T0/hunter2\n");
    write("empty", "");
    write("line", "\n");
    write("large", &"a".repeat(5_000));
    write("short", "whsec_aHVudGVyMg==");
    write("not-https", "http://hooks.example.com/hunter2");
    fs::write(folder.path().join("binary"), [0xff; 40]).unwrap();
    fs::create_dir(folder.path().join("templates")).unwrap();
    write("templates/own.json", r#"{"text": {{ event.type }}}"#);
    write("templates/faulty.json", r#"{"text": {{ data.massage }}}"#);
    folder
}

fn context(folder: &TempDir) -> TargetContext {
    let templates = Some(folder.path().join("templates"));
    TargetContext::new(folder.path().to_owned(), templates)
}

/// Files without faults.
const VALID: [&str; 6] = [
    r#"{"targets": []}"#,
    r#"{"$schema": "docs/notify.schema.json", "targets": []}"#,
    r#"{"targets": [{"name": "hook", "kind": "webhook", "url": "https://example.com/hook",
        "secret_files": ["secret"], "events": ["committed"], "filter": "reviewer = \"Ada\"",
        "private_network": false}]}"#,
    r#"{"targets": [{"name": "a", "kind": "webhook", "url_file": "url", "secret_files": ["secret", "previous"],
        "timeout": "1m", "include_names": true, "template": "cloudevents"},
        {"name": "b", "kind": "webhook", "url_file": "url", "template": "slack"},
        {"name": "c", "kind": "webhook", "url_file": "url", "template": "teams", "secret_files": ["secret"]},
        {"name": "d", "kind": "webhook", "url_file": "url", "template": "own"}]}"#,
    r#"{"targets": [{"name": "local", "kind": "webhook", "url": "http://127.0.0.1:9000/",
        "secret_files": ["secret"], "private_network": true, "timeout": "1s"}]}"#,
    r#"{"targets": [{"name": "0-_9", "kind": "webhook", "url": "https://10.0.0.1:8443/", "private_network": true,
        "secret_files": ["secret"], "events": ["committed", "fell_back", "synced", "failed", "quarantined", "batch_ended", "job_ended"]}]}"#,
];

#[test]
fn valid_files_are_read() {
    let folder = folder();
    for text in VALID {
        let targets = Targets::parse(text, &context(&folder)).map_err(|error| error.to_string());
        let targets = targets.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(targets.iter().count(), text.matches("\"kind\"").count());
    }
}

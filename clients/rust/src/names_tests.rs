#![allow(clippy::unwrap_used)]

use serde_json::Value;
use tara_export_bundle::{ArtifactPath, FolderName};

use super::*;

/// The rows of `clients/hostile-server.json` under a key. The tests of every client use them.
fn rows(key: &str) -> Vec<Value> {
    let shared = include_str!("../../hostile-server.json");
    let shared: Value = serde_json::from_str(shared).unwrap();
    shared[key].as_array().unwrap().clone()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap()
}

#[test]
fn path_segments_and_file_names_are_checked() {
    for row in rows("names") {
        let name = text(&row, "name");
        assert_eq!(segment_violation(name).is_none(), row["in_bundle"], "{name:?}");
        assert_eq!(file_name_violation(name).is_none(), row["on_disk"], "{name:?}");
        // The server accepts the same names.
        assert_eq!(name.parse::<ArtifactPath>().is_ok(), row["in_bundle"] == true || name == "a/b");
    }
}

#[test]
fn folder_and_path_checks_match_the_server() {
    for row in rows("folders") {
        let name = text(&row, "name");
        assert_eq!(folder_violation(name).is_none(), row["accepted"], "{name:?}");
        assert_eq!(name.parse::<FolderName>().is_ok(), row["accepted"], "{name:?}");
    }
    for row in rows("paths") {
        let path = text(&row, "path");
        assert_eq!(path_violation(path).is_none(), row["accepted"], "{path:?}");
        assert_eq!(path.parse::<ArtifactPath>().is_ok(), row["accepted"], "{path:?}");
    }
}

#[test]
fn resource_names_are_checked() {
    for row in rows("exports") {
        let export = Export { name: text(&row, "name").to_owned(), ..Default::default() };
        assert_eq!(check_listed(&export).is_ok(), row["accepted"], "{row}");
    }
    for row in rows("uploads") {
        let upload = Upload { name: text(&row, "name").to_owned(), ..Default::default() };
        assert_eq!(check_upload(&upload, None, 0).is_ok(), row["accepted"], "{row}");
    }
}

#[test]
fn links_are_checked() {
    for row in rows("links") {
        assert_eq!(check_link(text(&row, "uri"), "exports/1").is_ok(), row["accepted"], "{row}");
    }
}

#[test]
fn printable_escapes_control_characters() {
    for row in rows("texts") {
        assert_eq!(printable(text(&row, "text")), text(&row, "printed"));
    }
}

//! Memory for files and stored objects that are read completely: `docs/limits.md` states the bounds.

use std::fs;

use tara_export_bundle::Manifest;
use tara_export_catalog::records;
use tara_export_client::session;
use tara_export_store::{ObjectKey, StoreErrorKind, local::LocalStore};

use crate::allocator::{alone, peak_during, peak_of};

const MIB: usize = 1 << 20;

/// JSON fragments that take the most memory per byte.
const FRAGMENTS: [&str; 8] =
    ["0,", "[],", "{},", "\"\",", "{\"\":0},", "[[[]]],", "\"\\u0001\",", "null,"];

#[test]
fn session_files_take_bounded_memory() {
    const TEXT_BYTES: usize = 16 * MIB;
    const BOUND: usize = 512 * MIB;
    alone(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        for piece in FRAGMENTS {
            fs::write(&path, format!("{{\"x\": [{}0]}}", piece.repeat(TEXT_BYTES / piece.len())))
                .unwrap();
            for read in [session::read_folder, |folder: &std::path::Path| {
                session::read_request_file(&folder.join("session.json"))
            }] {
                let (result, peak) = peak_of(|| read(folder.path()).map(drop));
                let error = result.unwrap_err().to_string();
                assert!(error.contains("more than 1000000 values"), "{piece}: {error}");
                assert!(peak < 4 * TEXT_BYTES, "{piece}: {peak}");
            }
            // Just below the limit on the number of values.
            let count = 900_000 / piece.matches([',', '[', '{']).count();
            fs::write(&path, format!("{{\"x\": [{}0]}}", piece.repeat(count))).unwrap();
            let (_, peak) = peak_of(|| session::read_folder(folder.path()).map(drop));
            assert!(peak < BOUND, "{piece}: {peak}");
        }
    });
}

#[test]
fn endless_files_are_not_read_to_their_end() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("session.json")).unwrap();
    alone(async {
        let path = folder.path().join("session.json");
        let (result, peak) = peak_of(|| session::read_request_file(&path).map(drop));
        let error = result.unwrap_err().to_string();
        assert!(error.contains("session.json has") && error.contains("at most"), "{error}");
        assert!(peak < 64 * 4 * MIB, "{peak}");
        // A folder's files are plain files.
        let (result, peak) = peak_of(|| session::read_folder(folder.path()).map(drop));
        let error = result.unwrap_err().to_string();
        assert!(error.contains("session.json: it is a device"), "{error}");
        assert!(peak < MIB, "{peak}");
    });
}

#[test]
fn hostile_manifests_take_bounded_memory() {
    const BOUND: usize = 4 * MIB;
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let manifest = |artifacts: &str, omitted: &str, more: &str| {
        format!(
            r#"{{"schema":"tara-export/manifest/v1","export_id":"6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e",
            "folder_name":"20261122_183700_a","document_name":"","session_id":"","reviewer":"",
            "requested_by":"","accepted_time":"2026-11-22T18:37:00.123456Z","format_version":1,
            "content_digest":"{digest}","artifacts":[{artifacts}],"omitted":[{omitted}]{more}}}"#
        )
    };
    let list = |piece: &dyn Fn(usize) -> String, bytes: usize| {
        let count = bytes / piece(10_000).len();
        (0..count).map(piece).collect::<Vec<_>>().join(",")
    };
    let artifact = |n: usize| {
        format!(
            r#"{{"path":"{n:x}","size_bytes":0,"sha256":"{digest}","media_type":"","file_name":""}}"#
        )
    };
    let omitted = |_: usize| r#"{"path":"d","reason":"none was sent"}"#.to_owned();
    alone(async {
        let mut texts = vec![
            manifest(&list(&artifact, MIB - 2_000), "", ""),
            manifest("", &list(&omitted, MIB - 2_000), ""),
        ];
        for piece in FRAGMENTS {
            let more = format!(",\"x\":[{}0]", piece.repeat((MIB - 2_000) / piece.len()));
            texts.push(manifest("", "", &more));
        }
        for text in texts {
            let (_, peak) = peak_of(|| Manifest::parse(text.as_bytes()).map(drop));
            assert!(peak < BOUND, "{peak}: {}", &text[400..700]);
        }
    });
}

#[test]
fn objects_larger_than_a_record_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path().to_owned()).unwrap();
    let key = ObjectKey::new("record").unwrap();
    alone(async {
        fs::write(folder.path().join("record"), vec![b' '; 64 * MIB]).unwrap();
        let read = records::read::<records::FolderClaim>(&store, &key);
        let (result, peak) = peak_during(read).await;
        assert_eq!(result.unwrap_err().kind(), StoreErrorKind::Corrupt);
        assert!(peak < 4 * MIB, "{peak}");
    });
}

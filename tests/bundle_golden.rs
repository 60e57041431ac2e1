//! Bundles as files: what this release renders is what stands in `tests/golden`, byte for byte, and
//! what the review application's readers read.
//!
//! `UPDATE_GOLDEN=1 cargo test --test bundle_golden` writes the files anew. A change to one that a
//! release has written is a new format version, never an update.

#![allow(clippy::unwrap_used)]

#[path = "golden/cases.rs"]
mod cases;
#[path = "golden/session.rs"]
mod session;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tara_export::bundle::{FolderName, render};

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path)
}

/// Every file below a folder by its path within it.
fn read_files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn bundles_are_what_they_have_always_been() {
    for (case, export) in cases::all() {
        let bundle = render(&export).unwrap();
        let manifest = bundle.manifest(&export, &FolderName::new(&export.folder_base, 1));
        // Documents are the caller's bytes; the manifest has their digests.
        let rendered: BTreeMap<String, Vec<u8>> = bundle
            .artifacts
            .iter()
            .chain([&manifest])
            .filter(|artifact| !artifact.path.as_str().starts_with("documents/"))
            .map(|artifact| {
                (artifact.path.to_string(), artifact.content.inline().unwrap().to_vec())
            })
            .collect();

        let folder = golden("v1").join(case);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let _ = fs::remove_dir_all(&folder);
            for (path, bytes) in &rendered {
                let file = folder.join(path);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, bytes).unwrap();
            }
        }
        let expected = read_files(&folder);
        assert_eq!(
            rendered.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "files of {case}"
        );
        for (path, bytes) in &expected {
            let (ours, theirs) =
                (String::from_utf8_lossy(&rendered[path]), String::from_utf8_lossy(bytes));
            assert_eq!(ours, theirs, "{case}: {path}");
        }
    }
}

#[test]
fn readers_find_in_the_sample_what_they_read_today() {
    let session: Value =
        serde_json::from_slice(&fs::read(golden("sample-session.json")).unwrap()).unwrap();
    let export = cases::accepted(session::load(&session), vec![]);
    let time = export.accepted_time.to_string();
    let bundle = render(&export).unwrap();
    let rendered: BTreeMap<&str, &[u8]> = bundle
        .artifacts
        .iter()
        .map(|artifact| (artifact.path.as_str(), &artifact.content.inline().unwrap()[..]))
        .collect();

    let expected = read_files(&golden("expected"));
    assert_eq!(expected.len(), 8);
    for (path, theirs) in &expected {
        let mut ours: Value = serde_json::from_slice(rendered[path.as_str()]).unwrap();
        let theirs: Value = serde_json::from_slice(theirs).unwrap();
        mark(&mut ours, &theirs, &time);
        assert_eq!(ours, theirs, "{path}");
    }
    // Here every key has one place, so even the text is the same.
    let report = String::from_utf8_lossy(rendered["comprehensive_report.json"])
        .replace(&time, "<acceptance time>");
    assert_eq!(report.as_bytes(), expected["comprehensive_report.json"]);
}

/// Puts the readers' marks where ours is what the marks stand for.
fn mark(ours: &mut Value, theirs: &Value, time: &str) {
    match (ours, theirs) {
        (Value::String(ours), Value::String(theirs)) => {
            let is_line = !ours.is_empty() && !ours.contains(char::is_control);
            if (theirs == "<acceptance time>" && ours == time)
                || (theirs == "<one line of text>" && is_line)
            {
                ours.clone_from(theirs);
            }
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, ours) in ours {
                mark(ours, &theirs[key], time);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| mark(ours, theirs, time));
        }
        _ => {}
    }
}

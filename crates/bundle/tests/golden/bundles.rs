//! Rendered bundles have the bytes in `tests/golden`, and the readers of the review application can read
//! them.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use tara_export_bundle::{FolderName, FormatVersion, render};

use crate::{cases, golden, session};

/// Every file below a folder, by its relative path.
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
fn bundles_have_the_bytes_of_their_format_version() {
    let versions = [(FormatVersion::V1, "v1"), (FormatVersion::V2, "v2")];
    let cases = versions.into_iter().flat_map(|(version, folder)| {
        cases::all(version).into_iter().map(move |(case, export)| (folder, case, export))
    });
    for (version, case, export) in cases {
        let bundle = render(&export).unwrap();
        let manifest = bundle.manifest(&export, &FolderName::new(&export.folder_base, 1));
        // Without the documents, whose digests are in the manifest.
        let rendered: BTreeMap<String, Vec<u8>> = bundle
            .artifacts
            .iter()
            .chain([&manifest])
            .filter(|artifact| !artifact.path.as_str().starts_with("documents/"))
            .map(|artifact| {
                (artifact.path.to_string(), artifact.content.inline().unwrap().to_vec())
            })
            .collect();

        let folder = golden(version).join(case);
        if version == "v2" && std::env::var_os("UPDATE_GOLDEN").is_some() {
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
            "files of {version}/{case}"
        );
        for (path, bytes) in &expected {
            let (ours, theirs) =
                (String::from_utf8_lossy(&rendered[path]), String::from_utf8_lossy(bytes));
            assert_eq!(ours, theirs, "{version}/{case}: {path}");
        }
    }
}

#[test]
fn sample_has_the_values_that_readers_expect() {
    let session: Value =
        serde_json::from_slice(&fs::read(golden("sample-session.json")).unwrap()).unwrap();
    let export = cases::accepted(session::load(&session), vec![], FormatVersion::CURRENT);
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
        insert_placeholders(&mut ours, &theirs, &time);
        assert_eq!(ours, theirs, "{path}");
    }
    // The order of keys is fixed in this file, so that even the text is the same.
    let report = String::from_utf8_lossy(rendered["comprehensive_report.json"])
        .replace(&time, "<acceptance time>");
    assert_eq!(report.as_bytes(), expected["comprehensive_report.json"]);
}

/// Replaces values by the placeholders of the expected files, where they match.
fn insert_placeholders(ours: &mut Value, theirs: &Value, time: &str) {
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
                insert_placeholders(ours, &theirs[key], time);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.iter_mut()
                .zip(theirs)
                .for_each(|(ours, theirs)| insert_placeholders(ours, theirs, time));
        }
        _ => {}
    }
}

//! Bundles on disk.

use std::{collections::BTreeMap, fs, path::Path};

use tara_export_bundle::Manifest;
use tara_export_digest::Sha256;

/// The files below a folder, by their relative paths with `/` as separator.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    collect(folder, "", &mut files);
    files
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else {
            files.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

/// The digest of every bundle file in a data directory.
pub(crate) fn digests(data_dir: &Path) -> BTreeMap<String, Sha256> {
    let files = files(data_dir).into_iter();
    let files = files.filter(|(path, _)| !path.starts_with(".tara-export/"));
    files.map(|(path, bytes)| (path, Sha256::of(&bytes))).collect()
}

/// The names of the bundle folders in a data directory.
pub(crate) fn folders(data_dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(data_dir).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
    names.retain(|name| name != ".tara-export");
    names.sort();
    names
}

/// The service's own files, by path below `.tara-export`, without temporary files and probe objects.
pub(crate) fn records(data_dir: &Path) -> Vec<String> {
    let own = files(&data_dir.join(".tara-export"));
    own.into_keys()
        .filter(|path| !path.starts_with("tmp/") && !path.starts_with("probe/"))
        .collect()
}

/// Asserts that a folder contains exactly what its manifest lists, byte for byte.
pub(crate) fn verify(folder: &Path) -> Manifest {
    let mut files = files(folder);
    let manifest = files.remove("manifest.json").expect("a manifest");
    let manifest = Manifest::parse(&manifest).unwrap();
    assert_eq!(manifest.folder_name.as_str(), folder.file_name().unwrap().to_str().unwrap());
    for artifact in &manifest.artifacts {
        let bytes = files.remove(artifact.path.as_str()).expect("every listed file exists");
        assert_eq!(bytes.len() as u64, artifact.size_bytes, "{}", artifact.path);
        assert_eq!(Sha256::of(&bytes), artifact.sha256, "{}", artifact.path);
    }
    assert!(files.is_empty(), "not in the manifest: {:?}", files.keys());
    assert!(manifest.artifacts.is_sorted_by_key(|artifact| &artifact.path));
    manifest
}

//! The content of the stores, read without the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use tara_export_bundle::Manifest;
use tara_export_digest::Sha256;
use tara_export_test_support::TestS3;

/// The prefix of all keys in S3.
const BASE_PATH: &str = "tara/";

/// The folder of index entries on disk, which are in shards.
const SHARDS: &str = ".tara-export/index-shards/";

/// A committed bundle.
#[derive(Debug, Clone)]
pub(crate) struct FoundBundle {
    pub(crate) folder: String,
    pub(crate) manifest: Manifest,
    pub(crate) manifest_sha256: String,
}

/// The objects of a store by key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot(pub(crate) BTreeMap<String, Vec<u8>>);

impl Snapshot {
    /// The objects in S3.
    pub(crate) fn of_s3(s3: &TestS3) -> Self {
        let objects = s3.objects().into_iter();
        Self(
            objects
                .map(|(key, object)| {
                    let key = key.strip_prefix(BASE_PATH).expect("all keys are below the base");
                    (key.to_owned(), object.bytes.to_vec())
                })
                .collect(),
        )
    }

    /// All files below a folder, index entries by their keys.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        collect(folder, "", &mut files);
        let mut objects = BTreeMap::new();
        for (path, bytes) in files {
            let key = match (path.starts_with(SHARDS), path.rsplit_once('/')) {
                (true, Some((_, name))) => format!(".tara-export/index/{name}"),
                _ => path,
            };
            let previous = objects.insert(key.clone(), bytes);
            assert!(previous.is_none(), "{key} is in two places");
        }
        Self(objects)
    }

    /// The bundles by export id. Each is checked: it is complete, the only one of its export, and
    /// has record, claim and index entry.
    pub(crate) fn bundles(&self) -> BTreeMap<String, FoundBundle> {
        let mut bundles = BTreeMap::new();
        for (key, bytes) in &self.0 {
            let Some(folder) = key.strip_suffix("/manifest.json") else { continue };
            let manifest = Manifest::parse(bytes).expect("a manifest");
            assert_eq!(manifest.folder_name.as_str(), folder);
            for artifact in &manifest.artifacts {
                let key = format!("{folder}/{}", artifact.path);
                let Some(bytes) = self.0.get(&key) else {
                    panic!("{key} is missing, though its manifest is there");
                };
                assert_eq!(bytes.len() as u64, artifact.size_bytes, "{key}");
                assert_eq!(Sha256::of(bytes), artifact.sha256, "{key}");
            }
            let listed: BTreeSet<String> = manifest
                .artifacts
                .iter()
                .map(|artifact| format!("{folder}/{}", artifact.path))
                .chain([key.clone()])
                .collect();
            let own_folder = format!("{folder}/");
            let foreign: Vec<&String> =
                self.below(&own_folder).filter(|key| !listed.contains(*key)).collect();
            assert!(foreign.is_empty(), "not in the manifest: {foreign:?}");
            let found = FoundBundle {
                folder: folder.to_owned(),
                manifest_sha256: Sha256::of(bytes).to_string(),
                manifest,
            };
            let export_id = found.manifest.export_id.to_string();
            self.assert_records(&export_id, folder);
            let previous = bundles.insert(export_id, found);
            assert!(previous.is_none(), "two bundles of one export: {folder} and {previous:?}");
        }
        bundles
    }

    fn assert_records(&self, export_id: &str, folder: &str) {
        let claim = format!(".tara-export/folders/{folder}.json");
        let record = format!(".tara-export/exports/{export_id}.json");
        let ending = format!("_{folder}");
        let index: Vec<&String> =
            self.below(".tara-export/index/").filter(|key| key.ends_with(&ending)).collect();
        assert_eq!(index.len(), 1, "index entries of {folder}: {index:?}");
        for key in [&claim, &record, index[0]] {
            let object = self.0.get(key).unwrap_or_else(|| panic!("{key} is missing"));
            let text = String::from_utf8_lossy(object);
            assert!(text.contains(export_id), "{key} is not {export_id}'s: {text}");
        }
    }

    /// The keys with this prefix.
    pub(crate) fn below(&self, prefix: &str) -> impl Iterator<Item = &String> {
        self.0.keys().filter(move |key| key.starts_with(prefix))
    }

    /// All keys that belong to a bundle.
    pub(crate) fn keys_of(&self, bundle: &FoundBundle) -> BTreeSet<String> {
        let FoundBundle { folder, manifest, .. } = bundle;
        let export_id = manifest.export_id;
        let ending = format!("_{folder}");
        let index = self.below(".tara-export/index/").filter(|key| key.ends_with(&ending));
        let files = self.below(folder).filter(|key| key[folder.len()..].starts_with('/'));
        index
            .chain(files)
            .cloned()
            .chain([
                format!(".tara-export/exports/{export_id}.json"),
                format!(".tara-export/folders/{folder}.json"),
            ])
            .collect()
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        // A file that is removed during the scan counts as absent.
        let Ok(entry) = entry else { continue };
        let path = format!("{prefix}{}", entry.file_name().to_str().expect("names are text"));
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if let Ok(bytes) = fs::read(entry.path()) {
            files.insert(path, bytes);
        }
    }
}

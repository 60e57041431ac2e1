//! Manifests of a store: a parsed manifest is written and parsed again unchanged, and every file
//! that it lists is in its folder, once.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use tara_export_bundle::{ArtifactPath, Manifest, to_json_pretty};
use tara_export_catalog::layout;

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    let written = to_json_pretty(&manifest);
    let again = Manifest::parse(&written).expect("a parsed manifest can be written and parsed");
    assert_eq!(again, manifest);
    assert_eq!(to_json_pretty(&again), written);
    let mut keys = BTreeSet::from([layout::folder_claim(&manifest.folder_name)]);
    keys.insert(layout::index_entry(manifest.accepted_time, &manifest.folder_name));
    keys.insert(layout::manifest(&manifest.folder_name));
    let own_keys = keys.len();
    for artifact in &manifest.artifacts {
        assert_ne!(artifact.path, ArtifactPath::manifest());
        let key = layout::artifact(&manifest.folder_name, &artifact.path);
        assert!(key.as_str().starts_with(&format!("{}/", manifest.folder_name)));
        keys.insert(key);
    }
    assert_eq!(keys.len(), own_keys + manifest.artifacts.len());
    assert!(manifest.artifacts.iter().all(|artifact| artifact.size_bytes <= manifest.size_bytes()));
});

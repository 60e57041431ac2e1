//! Names of folders and files: whatever the document name is, the bundle is in its own folder with
//! keys that S3 and file systems accept. The same applies to every name that is read from a store.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::{
    arbitrary::{Arbitrary, Unstructured},
    fuzz_target,
};
use tara_export_bundle::{
    AcceptedTime, ArtifactPath, FolderBase, FolderName, MAX_COMPONENT_BYTES, render,
};
use tara_export_catalog::layout;
use tara_export_fuzz::accepted_export;
use tara_export_store::ObjectKey;

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let Ok((stored, n)) = <(&str, u32)>::arbitrary(&mut input) else { return };
    let folder = stored.parse::<FolderName>().ok();
    let path = stored.parse::<ArtifactPath>().ok();
    for folder in folder.iter().chain([&"f".parse().expect("a valid name")]) {
        check_folder(folder, path.as_ref());
    }
    if let Ok(base) = stored.parse::<FolderBase>() {
        check_base(&base, n);
    }
    if let Some((time, folder)) =
        layout::parse_index_entry(&format!("{}{stored}", layout::index_prefix()))
    {
        check_index_entry(time, &folder);
    }
    if let Ok(export) = accepted_export(&mut input) {
        check_base(&export.folder_base, n);
        let folder = FolderName::new(&export.folder_base, n);
        let bundle = render(&export).expect("all documents are inline");
        assert!(bundle.artifacts.is_sorted_by(|one, next| one.path < next.path));
        for artifact in &bundle.artifacts {
            assert_eq!(artifact.path.as_str().parse().as_ref(), Ok(&artifact.path));
            check_folder(&folder, Some(&artifact.path));
        }
    }
});

fn check_base(base: &FolderBase, n: u32) {
    assert_eq!(base.as_str().parse().as_ref(), Ok(base));
    let folder = FolderName::new(base, n);
    assert_eq!(folder.as_str().parse().as_ref(), Ok(&folder));
    assert_eq!(
        layout::claimed_suffix(layout::folder_claim(&folder).as_str(), base),
        Some(n.max(1))
    );
    check_folder(&folder, None);
}

fn check_folder(folder: &FolderName, path: Option<&ArtifactPath>) {
    check_key(&layout::folder_claim(folder), ".tara-export/folders/");
    let time = AcceptedTime::from_micros(0).expect("a valid time");
    check_index_entry(time, folder);
    for path in path.into_iter().chain([&ArtifactPath::manifest()]) {
        check_key(&layout::artifact(folder, path), &format!("{folder}/"));
    }
}

fn check_index_entry(time: AcceptedTime, folder: &FolderName) {
    let key = layout::index_entry(time, folder);
    check_key(&key, ".tara-export/index/");
    assert_eq!(layout::parse_index_entry(key.as_str()), Some((time, folder.clone())));
}

/// Checks that the key is below the folder, also as a path on disk.
fn check_key(key: &ObjectKey, folder: &str) {
    let name = key.as_str().strip_prefix(folder).expect("the key is in its folder");
    assert!(!name.is_empty() && key.as_str().len() <= 900);
    assert_eq!(ObjectKey::new(key.as_str()).as_ref(), Ok(key));
    for component in Path::new(key.as_str()).components() {
        let Component::Normal(component) = component else { panic!("{component:?} in {key}") };
        assert!((1..=MAX_COMPONENT_BYTES).contains(&component.len()));
    }
}

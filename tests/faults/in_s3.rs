//! What lies in the bucket, seen from outside.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tara_export::{
    bundle::Manifest,
    digest::Sha256,
    proto::{Destination, Export, export::State},
    store::{Store, s3::S3Settings},
};
use tara_export_test_support::TestS3;

use crate::harness::s3::{settings, store_with};

const BASE_PATH: &str = "tara/";

/// A client that gives a silent server up soon.
pub(crate) fn impatient_store_of(server: &TestS3, read_timeout: Duration) -> Arc<dyn Store> {
    let settings = S3Settings { read_timeout, ..settings(&server.endpoint(), server.bucket()) };
    let (access_key, secret_key) = (server.access_key(), server.secret_key());
    let credentials =
        aws_sdk_s3::config::Credentials::new(access_key, secret_key, None, None, "test");
    store_with(settings, credentials)
}

/// All objects below the base path but those of probes, by their keys behind it.
pub(crate) fn objects(s3: &TestS3) -> BTreeMap<String, Vec<u8>> {
    let objects = s3.objects().into_iter().filter_map(|(key, object)| {
        Some((key.strip_prefix(BASE_PATH)?.to_owned(), object.bytes.to_vec()))
    });
    objects.filter(|(key, _)| !key.starts_with(".tara-export/probe/")).collect()
}

/// The committed bundles by their folders, each checked: its manifest lists what lies in the folder,
/// byte for byte, and nothing else lies there.
pub(crate) fn committed_bundles(s3: &TestS3) -> BTreeMap<String, Manifest> {
    let objects = objects(s3);
    let manifests = objects.iter().filter_map(|(key, bytes)| {
        Some((key.strip_suffix("/manifest.json")?.to_owned(), Manifest::parse(bytes).unwrap()))
    });
    let bundles: BTreeMap<String, Manifest> = manifests.collect();
    for (folder, manifest) in &bundles {
        check_whole(&objects, folder, manifest);
    }
    bundles
}

fn check_whole(objects: &BTreeMap<String, Vec<u8>>, folder: &str, manifest: &Manifest) {
    assert_eq!(manifest.folder_name.as_str(), folder);
    let prefix = format!("{folder}/");
    let mut paths: Vec<&str> = objects.keys().filter_map(|key| key.strip_prefix(&prefix)).collect();
    paths.retain(|path| *path != "manifest.json");
    let listed: Vec<&str> =
        manifest.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(paths, listed, "{folder} holds what its manifest lists");
    for artifact in &manifest.artifacts {
        let bytes = &objects[&format!("{folder}/{}", artifact.path)];
        assert_eq!(bytes.len() as u64, artifact.size_bytes, "{folder}/{}", artifact.path);
        assert_eq!(Sha256::of(bytes), artifact.sha256, "{folder}/{}", artifact.path);
    }
}

/// Checks an export that its caller was told is in S3.
pub(crate) fn check_in_s3(s3: &TestS3, export: &Export) -> Manifest {
    assert_eq!((export.state(), export.stored_in()), (State::Committed, Destination::S3));
    let mut bundles = committed_bundles(s3);
    let manifest = bundles.remove(&export.folder_name).expect("the bundle is in S3");
    assert_eq!(format!("exports/{}", manifest.export_id), export.name);
    manifest
}

//! Bundles in the bucket, read without the service.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tara_export_bundle::Manifest;
use tara_export_client::proto::{Destination, Export, export::State};
use tara_export_digest::Sha256;
use tara_export_store::{Store, s3::S3Settings};
use tara_export_test_support::TestS3;

use super::s3::{settings, store_with};

const BASE_PATH: &str = "tara/";

/// An S3 client with a short read timeout.
pub(crate) fn store_with_read_timeout(server: &TestS3, read_timeout: Duration) -> Arc<dyn Store> {
    let settings = S3Settings { read_timeout, ..settings(&server.endpoint(), server.bucket()) };
    let (access_key, secret_key) = (server.access_key(), server.secret_key());
    let credentials =
        aws_sdk_s3::config::Credentials::new(access_key, secret_key, None, None, "test");
    store_with(settings, credentials)
}

/// All objects below the base path except probe objects, by their keys relative to it.
pub(crate) fn objects(s3: &TestS3) -> BTreeMap<String, Vec<u8>> {
    let objects = s3.objects().into_iter().filter_map(|(key, object)| {
        Some((key.strip_prefix(BASE_PATH)?.to_owned(), object.bytes.to_vec()))
    });
    objects.filter(|(key, _)| !key.starts_with(".tara-export/probe/")).collect()
}

/// The committed bundles by folder. Asserts that each folder contains exactly what its manifest lists,
/// byte for byte.
pub(crate) fn committed_bundles(s3: &TestS3) -> BTreeMap<String, Manifest> {
    let objects = objects(s3);
    let manifests = objects.iter().filter_map(|(key, bytes)| {
        Some((key.strip_suffix("/manifest.json")?.to_owned(), Manifest::parse(bytes).unwrap()))
    });
    let bundles: BTreeMap<String, Manifest> = manifests.collect();
    for (folder, manifest) in &bundles {
        check_bundle(&objects, folder, manifest);
    }
    bundles
}

fn check_bundle(objects: &BTreeMap<String, Vec<u8>>, folder: &str, manifest: &Manifest) {
    assert_eq!(manifest.folder_name.as_str(), folder);
    let prefix = format!("{folder}/");
    let mut paths: Vec<&str> = objects.keys().filter_map(|key| key.strip_prefix(&prefix)).collect();
    paths.retain(|path| *path != "manifest.json");
    let listed: Vec<&str> =
        manifest.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(paths, listed, "{folder} contains what its manifest lists");
    for artifact in &manifest.artifacts {
        let bytes = &objects[&format!("{folder}/{}", artifact.path)];
        assert_eq!(bytes.len() as u64, artifact.size_bytes, "{folder}/{}", artifact.path);
        assert_eq!(Sha256::of(bytes), artifact.sha256, "{folder}/{}", artifact.path);
    }
}

/// Asserts that an export that is reported as stored in S3 is there. Returns its manifest.
pub(crate) fn check_in_s3(s3: &TestS3, export: &Export) -> Manifest {
    assert_eq!((export.state(), export.stored_in()), (State::Committed, Destination::S3));
    let mut bundles = committed_bundles(s3);
    let manifest = bundles.remove(&export.folder_name).expect("the bundle is in S3");
    assert_eq!(format!("exports/{}", manifest.export_id), export.name);
    manifest
}

/// The files of a bundle in the bucket, verified against its manifest.
pub(crate) fn verified_files(s3: &TestS3, export: &Export) -> BTreeMap<String, Vec<u8>> {
    let prefix = format!("tara/{}/", export.folder_name);
    let mut files: BTreeMap<String, Vec<u8>> = s3
        .objects()
        .into_iter()
        .filter_map(|(key, object)| {
            Some((key.strip_prefix(&prefix)?.to_owned(), object.bytes.into()))
        })
        .collect();
    let all = files.clone();
    let manifest = files.remove("manifest.json").expect("a manifest");
    assert_eq!(Sha256::of(&manifest).to_string(), export.manifest_sha256);
    for artifact in Manifest::parse(&manifest).unwrap().artifacts {
        let bytes = files.remove(artifact.path.as_str()).expect("every listed file exists");
        assert_eq!(Sha256::of(&bytes), artifact.sha256, "{}", artifact.path);
    }
    assert!(files.is_empty(), "not in the manifest: {:?}", files.keys());
    all
}

/// Asserts that an export that is reported as stored in S3 is there, and verifies its files.
pub(crate) fn assert_in_s3(s3: &TestS3, export: &Export) {
    assert_eq!((export.state(), export.stored_in()), (State::Committed, Destination::S3));
    let location = format!("s3://{}/tara/{}/", s3.bucket(), export.folder_name);
    assert_eq!(export.location, location);
    verified_files(s3, export);
}

//! The same with a real S3 server, where there is one.

use std::{env, sync::Arc};

use aws_sdk_s3::config::Credentials;
use tara_export::{
    adopt::{FolderOutcome, SkipReason},
    bundle::Destination,
    catalog::StoredBundle,
    digest::Sha256,
    store::{ObjectKey, Payload, Store, s3::S3Settings},
};
use uuid::Uuid;

use crate::{
    harness::s3::{settings, store_with},
    place::{FOLDER, adopt, adopted, old_files},
};

/// A store below a base path of its own.
fn real_store() -> Arc<dyn Store> {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let shared = settings(&variable("TARA_TEST_S3_ENDPOINT"), &variable("TARA_TEST_S3_BUCKET"));
    let base_path = format!("tara-export-tests/{}/", Uuid::new_v4());
    let (access_key, secret_key) =
        (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    let credentials = Credentials::new(access_key, secret_key, None, None, "test");
    store_with(S3Settings { base_path, ..shared }, credentials)
}

#[tokio::test]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn s3_real_a_folder_is_adopted_once_and_read_back() {
    let store = real_store();
    for (path, content) in old_files() {
        let key = ObjectKey::new(format!("{FOLDER}/{path}")).unwrap();
        let sha256 = Sha256::of(&content);
        store.put_if_absent(&key, Payload::new(content.into(), sha256, "x/y")).await.unwrap();
    }
    let dry = adopt(store.clone(), false).await;
    assert!(matches!(dry[FOLDER], FolderOutcome::WouldAdopt(_)), "{dry:?}");
    let export = adopted(&adopt(store.clone(), true).await);
    let again = adopt(store.clone(), true).await;
    assert!(
        matches!(again[FOLDER], FolderOutcome::Skipped { reason: SkipReason::HasManifest, .. }),
        "{again:?}"
    );
    let export_id = export["exports/".len()..].parse().unwrap();
    let bundle = StoredBundle::find(&store, export_id).await.unwrap().expect("it is found");
    assert!(bundle.export().adopted);
    assert_eq!(bundle.export().requested_destination, Destination::S3);
    for (path, content) in old_files() {
        let read = bundle.open(&path.parse().unwrap()).await.unwrap().read_all().await.unwrap();
        assert!(read == content, "{path}");
    }
}

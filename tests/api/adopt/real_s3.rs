//! Adoption in a real S3 server.

use tara_export::adopt::{FolderOutcome, SkipReason};
use tara_export_bundle::Destination;
use tara_export_catalog::StoredBundle;
use tara_export_digest::Sha256;
use tara_export_store::{ObjectKey, Payload};

use super::fixture::{FOLDER, adopt, adopted, old_files};
use crate::harness::s3::real_store;

#[tokio::test]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn s3_real_folder_is_adopted_once_and_read_back() {
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
    let bundle =
        StoredBundle::find(&store, export_id).await.unwrap().expect("the bundle to be found");
    assert!(bundle.export().adopted);
    assert_eq!(bundle.export().requested_destination, Destination::S3);
    for (path, content) in old_files() {
        let read = bundle.open(&path.parse().unwrap()).await.unwrap().read_all().await.unwrap();
        assert!(read == content, "{path}");
    }
}

//! Settings that lead to another store while exports wait: its responses are not used for them, and they continue when
//! the settings are restored or an operator relocates them.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use tara_export::export::{
    Journal, JournalLimits, Relocated, Relocation, RelocationSettings, Stores,
};
use tara_export_bundle::{AcceptedExport, StoreId};
use tara_export_catalog::{layout, records::StoreIdentity};
use tara_export_client::proto::{
    Destination, Export, ListExportsRequest, export::State, storage_check::Status as CheckStatus,
};
use tara_export_clock::Clock as _;
use tara_export_store::{Store, local::LocalStore};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use uuid::Uuid;

use crate::{
    bundles,
    following::{committed, watch},
    harness::{
        Client, Host,
        checks::checks,
        in_s3::{assert_in_s3, verified_files},
        receipt,
        s3::{store_at, store_of},
        until,
        uploads::{PART, QUICK_WITH_LARGE, bytes, naming, uploaded},
        waiting::{read, until_files, until_state},
        within,
    },
    requests::{name, request},
};

const IDENTITY: &str = "tara/.tara-export/store.json";

fn host(s3: &TestS3) -> Host {
    Host::with_s3(store_of(s3)).flags(&["--loss-confirmation=1s"]).flags(&QUICK_WITH_LARGE)
}

/// Waits until an export is pending for this reason.
async fn until_pending(client: &mut Client, name: &str, reason: &str) -> Export {
    let waiting = async {
        loop {
            let export = read(client, name).await;
            let ended = [State::Failed, State::Committed];
            assert!(!ended.contains(&export.state()), "{export:?}");
            if export.state() == State::Pending && export.state_reason == reason {
                return export;
            }
            tokio::task::yield_now().await;
        }
    };
    within(&format!("{name} {reason}"), waiting).await
}

/// Waits until the sync of an export's bundle is postponed because this is another store.
async fn until_sync_postponed(client: &mut Client, name: &str) {
    let waiting = async {
        while read(client, name).await.state_reason != "STORE_CHANGED" {
            tokio::task::yield_now().await;
        }
    };
    within("the sync to be postponed", waiting).await;
}

/// Accepts an export, whose document is in S3, during an outage of S3, and stops the server.
async fn accept_in_outage(s3: &TestS3, host: &Host) {
    let mut server = host.start().await;
    let upload = uploaded(&mut server.client, 1, &bytes(PART + 1, 1)).await;
    s3.stop();
    let stream = server.client.start_export(naming(1, &upload.name)).await.unwrap();
    until_pending(&mut server.client, &name(1), "STORE_UNAVAILABLE").await;
    server.stop().await;
    drop(stream);
    s3.restart().await.unwrap();
}

/// The paths of the journal's entries.
fn entries(host: &Host) -> Vec<PathBuf> {
    let entries = host.files().into_iter().filter(|file| file.ends_with(".export"));
    entries.map(|file| host.data_dir().join(file)).collect()
}

async fn relocate(host: &Host, s3: Arc<dyn Store>, dry_run: bool) -> Vec<Relocated> {
    let local = LocalStore::open(host.data_dir()).unwrap();
    let stores = Stores { s3: Some(s3), local: Arc::new(local) };
    let journal = Journal::open(host.data_dir(), JournalLimits::NONE).await.unwrap();
    let settings =
        RelocationSettings { retry_budget: Duration::from_secs(4), memory_bytes: 1 << 30, dry_run };
    let relocation = Relocation::new(journal, &stores, host.clock.clone(), settings).unwrap();
    let mut relocated = Vec::new();
    relocation.run(None, |one| relocated.push(one)).await.unwrap();
    relocated
}

#[tokio::test]
async fn export_waits_for_its_own_store_and_finishes_there() {
    let elsewhere = TestS3::start().await;
    for change in ["base path", "bucket", "endpoint"] {
        let s3 = TestS3::builder().extra_bucket("another").start().await.unwrap();
        let mut host = host(&s3);
        accept_in_outage(&s3, &host).await;

        host.configure_s3(Some(match change {
            "base path" => store_at(&s3, s3.bucket(), "other/"),
            "bucket" => store_at(&s3, "another", "tara/"),
            _ => store_of(&elsewhere),
        }));
        let mut server = host.start().await;
        until_pending(&mut server.client, &name(1), "STORE_CHANGED").await;
        let all = server.client.list_exports(ListExportsRequest::default()).await.unwrap();
        let listed: Vec<_> = all
            .into_inner()
            .exports
            .iter()
            .map(|export| (export.state(), export.state_reason.clone()))
            .collect();
        assert_eq!(listed, [(State::Pending, "STORE_CHANGED".to_owned())], "{change}");
        let rows = checks(&mut server.client).await;
        let row = rows.iter().find(|row| row.check == "exports.other_store").unwrap();
        assert_eq!(row.status(), CheckStatus::Warning, "{row:?}");
        assert!(row.message.starts_with("1 accepted"), "{row:?}");
        // Other exports continue.
        let export = committed(&mut server.client, request(2, "b.docx")).await;
        assert_eq!((export.state(), export.stored_in()), (State::Committed, Destination::S3));
        until("the other entry to be removed", || entries(&host).len() == 1).await;
        server.stop().await;

        host.configure_s3(Some(store_of(&s3)));
        let mut server = host.start().await;
        let export = until_state(&mut server.client, &name(1), State::Committed).await;
        assert_in_s3(&s3, &export);
        until("the journal to empty", || entries(&host).is_empty()).await;
        server.stop().await;
    }
}

/// Previous releases wrote entries without a store.
#[tokio::test]
async fn entry_without_a_store_belongs_to_the_store_at_the_upgrade() {
    let s3 = TestS3::start().await;
    let mut host = host(&s3);
    accept_in_outage(&s3, &host).await;
    let entry = entries(&host).remove(0);
    let export = AcceptedExport::decode(fs::read(&entry).unwrap().into()).unwrap();
    let unlabelled = AcceptedExport { store_id: None, ..export };
    fs::write(&entry, unlabelled.encode().concat()).unwrap();
    fs::remove_file(host.data_dir().join(".tara-export/stores.json")).unwrap();

    // The upgrade, during an outage.
    s3.stop();
    let server = host.start().await;
    server.stop().await;
    s3.restart().await.unwrap();
    host.configure_s3(Some(store_at(&s3, s3.bucket(), "other/")));
    let mut server = host.start().await;
    until_pending(&mut server.client, &name(1), "STORE_CHANGED").await;
    server.stop().await;
    host.configure_s3(Some(store_of(&s3)));
    let mut server = host.start().await;
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_in_s3(&s3, &export);
}

#[tokio::test]
async fn fallback_is_not_synced_to_another_store() {
    let s3 = TestS3::start().await;
    let mut host = host(&s3);
    // The identity of the store is not known yet.
    s3.stop();
    let mut server = host.start().await;
    let fallback = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(fallback.state(), State::FellBack);
    server.stop().await;
    s3.restart().await.unwrap();

    host.configure_s3(Some(store_at(&s3, s3.bucket(), "other/")));
    let mut server = host.start().await;
    until_sync_postponed(&mut server.client, &name(1)).await;
    let folder = format!("/{}/", fallback.folder_name);
    assert!(s3.objects().keys().all(|key| !key.contains(&folder)), "{:?}", s3.objects().keys());
    bundles::verify(&host.folder(&fallback.folder_name));
    server.stop().await;

    host.configure_s3(Some(store_of(&s3)));
    let mut server = host.start().await;
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_in_s3(&s3, &export);
}

/// The identity that was proposed during the outage becomes an alias of the store's identity.
#[tokio::test]
async fn export_accepted_before_first_contact_goes_to_that_store() {
    let s3 = TestS3::start().await;
    let mut first = host(&s3).start().await;
    committed(&mut first.client, request(9, "first.docx")).await;
    first.stop().await;
    let identity = s3.object(IDENTITY).unwrap().bytes;
    s3.stop();
    let host = host(&s3);
    let mut server = host.start().await;
    let fallback = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(fallback.state(), State::FellBack);
    server.stop().await;
    s3.restart().await.unwrap();
    let mut server = host.start().await;
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_in_s3(&s3, &export);
    assert_eq!(s3.object(IDENTITY).unwrap().bytes, identity);
}

/// A bucket that was recreated under the same name is another store.
#[tokio::test]
async fn store_without_its_identity_is_another_store() {
    let s3 = TestS3::start().await;
    let host = host(&s3);
    accept_in_outage(&s3, &host).await;
    let identity = s3.object(IDENTITY).unwrap().bytes;
    assert!(s3.remove(IDENTITY));
    let mut server = host.start().await;
    until_pending(&mut server.client, &name(1), "STORE_CHANGED").await;
    server.stop().await;
    // The store has its identity again.
    s3.put_raw(IDENTITY, identity);
    let mut server = host.start().await;
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    verified_files(&s3, &export);
}

#[tokio::test]
async fn recreated_empty_bucket_loses_no_export() {
    let s3 = TestS3::start().await;
    let host = host(&s3);
    accept_in_outage(&s3, &host).await;
    for key in s3.objects().keys() {
        assert!(s3.remove(key));
    }
    let mut server = host.start().await;
    until_pending(&mut server.client, &name(1), "STORE_CHANGED").await;
    assert_eq!(entries(&host).len(), 1);
}

#[tokio::test]
async fn document_found_at_the_second_check_is_not_lost() {
    let s3 = TestS3::start().await;
    let host = host(&s3);
    accept_in_outage(&s3, &host).await;
    let not_found = FaultRule::new(Fault::respond(404, "NoSuchKey"));
    // It can neither be copied in S3 nor read for the local store.
    s3.fail(not_found.clone().on(Operation::UploadPartCopy));
    s3.fail(not_found.on(Operation::GetObject).key_ends_with("/document"));
    let mut server = host.start_with(&["--loss-confirmation=3s"]).await;
    until_pending(&mut server.client, &name(1), "SOURCE_LOST").await;
    s3.clear_faults();
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    verified_files(&s3, &export);
}

#[tokio::test]
async fn document_missing_at_the_second_check_fails_its_export() {
    let s3 = TestS3::start().await;
    let host = host(&s3);
    accept_in_outage(&s3, &host).await;
    let key = s3.objects().into_keys().find(|key| key.ends_with("/document")).unwrap();
    assert!(s3.remove(&key));
    let mut server = host.start().await;
    let followed = watch(&mut server.client, &name(1)).await;
    assert_eq!(followed.failed().0.reason, "SOURCE_LOST");
    let lookups = s3.requests().iter().filter(|request| request.key == key).count();
    assert!(lookups >= 2, "{lookups}");
}

#[tokio::test]
async fn operator_relocates_exports_after_their_documents() {
    let s3 = TestS3::start().await;
    let mut host = host(&s3);
    accept_in_outage(&s3, &host).await;
    let new = || store_at(&s3, s3.bucket(), "other/");
    // Relocation needs the document in the new store.
    for dry_run in [true, false] {
        let relocated = relocate(&host, new(), dry_run).await;
        let stays = relocated[0].not_moved_reason.as_deref().unwrap();
        assert!(stays.contains("s3://test-bucket/other/.tara-export/uploads/"), "{stays}");
    }
    for (key, object) in s3.objects() {
        if let Some(document) = key.strip_prefix("tara/").filter(|key| key.ends_with("/document")) {
            s3.put_raw(format!("other/{document}"), object.bytes);
        }
    }
    assert_eq!(relocate(&host, new(), true).await[0].not_moved_reason, None);
    assert_eq!(relocate(&host, new(), false).await[0].not_moved_reason, None);
    assert_eq!(relocate(&host, new(), false).await, []);

    host.configure_s3(Some(new()));
    let mut server = host.start().await;
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_eq!(export.location, format!("s3://test-bucket/other/{}/", export.folder_name));
    until("the journal to empty", || entries(&host).is_empty()).await;
}

/// The response to a repeated request has the location of the bundle, and that the store has changed.
#[tokio::test]
async fn receipt_of_another_store_is_reported_as_such() {
    let s3 = TestS3::start().await;
    let mut host = host(&s3);
    let mut server = host.start().await;
    let first = committed(&mut server.client, request(1, "a.docx")).await;
    until_files(&host, &[receipt(1)]).await;
    server.stop().await;
    host.configure_s3(Some(store_at(&s3, s3.bucket(), "other/")));
    let mut server = host.start().await;
    let again = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!((&again.location, again.state_reason.as_str()), (&first.location, "STORE_CHANGED"));
    let manifest = format!("/{}/manifest.json", first.folder_name);
    assert_eq!(s3.objects().keys().filter(|key| key.ends_with(&manifest)).count(), 1);
}

/// The first server that writes to the store sets its identity; concurrent servers use the same.
#[tokio::test]
async fn concurrent_servers_agree_on_the_identity_of_an_empty_store() {
    let s3 = TestS3::start().await;
    let hosts: Vec<Host> = (0..4).map(|_| host(&s3)).collect();
    let mut servers = Vec::new();
    for host in &hosts {
        servers.push(host.start().await);
    }
    let exports = servers
        .iter_mut()
        .zip(1..)
        .map(|(server, number)| committed(&mut server.client, request(number, "a.docx")));
    for export in futures::future::join_all(exports).await {
        assert_in_s3(&s3, &export);
    }
    let identity: StoreIdentity =
        serde_json::from_slice(&s3.object(IDENTITY).unwrap().bytes).unwrap();
    for host in &hosts {
        let known = fs::read_to_string(host.data_dir().join(".tara-export/stores.json")).unwrap();
        assert!(known.contains(&identity.store_id.to_string()), "{known}");
    }
}

/// A running process detects a replaced store after a failure, even if the settings are the same.
#[tokio::test]
async fn store_replaced_in_an_outage_gets_no_waiting_bundle() {
    let s3 = TestS3::start().await;
    let host = host(&s3);
    let mut server = host.start().await;
    committed(&mut server.client, request(2, "b.docx")).await;
    s3.stop();
    let fallback = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(fallback.state(), State::FellBack);
    let identity = StoreIdentity {
        store_id: StoreId::new(Uuid::from_u128(7)),
        created_time: tara_export_bundle::AcceptedTime::new(host.clock.now()),
    };
    s3.put_raw(IDENTITY, serde_json::to_vec(&identity).unwrap());
    s3.restart().await.unwrap();
    until_sync_postponed(&mut server.client, &name(1)).await;
    let manifest = format!("/{}/manifest.json", fallback.folder_name);
    assert!(s3.objects().keys().all(|key| !key.ends_with(&manifest)));
    let export = committed(&mut server.client, request(3, "c.docx")).await;
    assert_in_s3(&s3, &export);
    assert_eq!(layout::store_identity().as_str(), ".tara-export/store.json");
}

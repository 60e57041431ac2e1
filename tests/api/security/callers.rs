//! The caller that an export records.

use futures::StreamExt as _;
use tara_export_client::{
    Client,
    proto::{Export, StartExportRequest, export::State, export_event::Event},
};
use tara_export_test_support::{Fault, FaultRule, TestS3};

use crate::{
    bundles,
    harness::{
        Host,
        s3::store_of,
        tokens::{client, flag, text},
        within,
    },
    requests::{name, request},
};

async fn completed(client: &Client, request: StartExportRequest) -> Export {
    let mut events = client.export(request);
    while let Some(event) = within("an event", events.next()).await {
        if let Some(Event::Completed(completed)) = event.unwrap().event {
            return completed.export.unwrap();
        }
    }
    panic!("no export")
}

const BOTH: [(&str, &[&str]); 2] = [("ada", &["export"]), ("bob", &["export"])];

#[tokio::test]
async fn first_caller_is_in_the_manifest_and_others_can_attach() {
    let folder = tempfile::tempdir().unwrap();
    let flag = flag(folder.path(), &BOTH);
    let host = Host::new();
    let (server, disk) = host.serve(&[&flag]).await;
    let (ada, bob) = (text("ada"), text("bob"));
    let first = completed(&client(server.address(), &ada).await, request(1, "a.docx")).await;
    assert_eq!(first.requested_by, "ada");
    let manifest = bundles::verify(&host.folder(&first.folder_name));
    assert_eq!(manifest.requested_by, "ada");
    let again = completed(&client(server.address(), &bob).await, request(1, "a.docx")).await;
    assert_eq!(again, first);
    server.shut_down().await;
    disk.finish().await;

    // The same after a restart.
    let (server, _disk) = host.serve(&[&flag]).await;
    let again = completed(&client(server.address(), &bob).await, request(1, "a.docx")).await;
    assert_eq!(again.requested_by, "ada");
    assert_eq!(bundles::folders(&host.data_dir()).len(), 1);
}

/// Two callers send the same request to two replicas, one of them in an outage: there is one bundle, with the caller of
/// the first record, and the other replica removes its local copy.
#[tokio::test]
async fn two_callers_at_two_replicas_make_one_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let flag = flag(folder.path(), &BOTH);
    let s3 = TestS3::start().await;
    let quick = ["--s3-retry-budget=2s", "--s3-outage-pause=10ms", &flag];
    let (cut_off, well) = (Host::with_s3(store_of(&s3)), Host::with_s3(store_of(&s3)));
    let (first, _disk) = cut_off.serve(&quick).await;
    let ada = client(first.address(), &text("ada")).await;
    let down = s3.fail(FaultRule::new(Fault::SERVICE_UNAVAILABLE));
    let local = completed(&ada, request(1, "a.docx")).await;
    assert_eq!((local.state(), local.requested_by.as_str()), (State::FellBack, "ada"));
    first.shut_down().await;
    s3.clear_fault(down);

    let (second, _second_disk) = well.serve(&[&flag]).await;
    let bob = client(second.address(), &text("bob")).await;
    let committed = completed(&bob, request(1, "a.docx")).await;
    assert_eq!((committed.state(), committed.requested_by.as_str()), (State::Committed, "bob"));

    let (again, _again_disk) = cut_off.serve(&["--s3-retry-budget=60s", &flag]).await;
    let ada = client(again.address(), &text("ada")).await;
    let removed = async {
        while !bundles::folders(&cut_off.data_dir()).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    within("the local copy to be removed", removed).await;
    let export = ada.get_export(name(1)).await.unwrap();
    assert_eq!((export.state(), export.requested_by.as_str()), (State::Committed, "bob"));
    assert_eq!(export.manifest_sha256, committed.manifest_sha256);
}

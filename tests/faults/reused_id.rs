//! Other content under an id that is in use, and a process that ends before it refuses it. The next process
//! cannot know whether the caller received `accepted`, so it stores the content under a derived id.

use tara_export_client::proto::{ListExportsRequest, export::State};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    following::{committed, watch},
    harness::{
        Host,
        in_s3::{check_in_s3, committed_bundles},
        s3::store_of,
        waiting::{read, until_journal_is_empty, until_state, until_status},
    },
    requests::{name, request},
};

#[tokio::test]
async fn unrefused_content_is_stored_without_affecting_the_id_owner() {
    let s3 = TestS3::start().await;
    let owner = Host::with_s3(store_of(&s3));
    let mut owner = owner.start().await;
    let first = committed(&mut owner.client, request(1, "first.docx")).await;

    let host =
        Host::with_s3(store_of(&s3)).flags(&["--shutdown-timeout=0s", "--accept-timeout=1m"]);
    let server = host.start().await;
    let held = FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("/exports/");
    let held = s3.fail(held);
    let mut client = server.client.clone();
    let caller = tokio::spawn(async move { client.start_export(request(1, "second.docx")).await });
    until_status(&server, "the claim is being written", |_| s3.fault_hits(held) > 0).await;
    server.stop().await;
    caller.await.unwrap().unwrap_err();
    s3.clear_faults();

    let mut server = host.start().await;
    until_state(&mut server.client, &name(1), State::Failed).await;
    let (failed, _) = watch(&mut server.client, &name(1)).await.failed();
    assert_eq!(failed.reason, "REQUEST_ID_REUSED");
    let derived = read(&mut server.client, &failed.stored_under).await;
    assert_eq!(check_in_s3(&s3, &derived).document_name, "second.docx");
    until_journal_is_empty(&host).await;

    // The id still returns its first export, and each export is listed once.
    let again = committed(&mut server.client, request(1, "first.docx")).await;
    assert_eq!(again.manifest_sha256, first.manifest_sha256);
    assert_eq!(read(&mut owner.client, &name(1)).await.state(), State::Committed);
    let list = server.client.list_exports(ListExportsRequest::default()).await.unwrap();
    let listed = list.into_inner().exports.into_iter();
    let listed = listed.filter(|export| export.state() == State::Committed);
    let mut listed: Vec<String> = listed.map(|export| export.name).collect();
    let mut expected = vec![name(1), failed.stored_under];
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(committed_bundles(&s3).len(), 2);
}

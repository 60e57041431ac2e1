//! Other content under an export's id, and a process that ends before it can refuse it. The next one
//! can't know what the caller was told, and keeps it.

use tara_export::proto::{ListExportsRequest, export::State};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    following::{committed, watch},
    harness::{Host, s3::store_of},
    in_s3::{check_in_s3, committed_bundles},
    requests::{name, request},
    waiting::{read, until_journal_is_empty, until_state, until_status},
};

#[tokio::test]
async fn what_nobody_refused_is_kept_and_takes_nothing_from_the_ids_owner() {
    let s3 = TestS3::start().await;
    let owners = Host::with_s3(store_of(&s3));
    let mut owners = owners.start().await;
    let first = committed(&mut owners.client, request(1, "first.docx")).await;

    let host =
        Host::with_s3(store_of(&s3)).flags(&["--shutdown-timeout=0s", "--accept-timeout=1m"]);
    let server = host.start().await;
    let held = FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("/exports/");
    let held = s3.fail(held);
    let mut client = server.client.clone();
    let caller = tokio::spawn(async move { client.start_export(request(1, "second.docx")).await });
    until_status(&server, "the claim to be on its way", |_| s3.fault_hits(held) > 0).await;
    server.stop().await;
    caller.await.unwrap().unwrap_err();
    s3.clear_faults();

    let mut server = host.start().await;
    until_state(&mut server.client, &name(1), State::Failed).await;
    let (failed, _) = watch(&mut server.client, &name(1)).await.failed();
    assert_eq!(failed.reason, "REQUEST_ID_REUSED");
    let kept = read(&mut server.client, &failed.kept_as).await;
    assert_eq!(check_in_s3(&s3, &kept).document_name, "second.docx");
    until_journal_is_empty(&host).await;

    // The id's owner is served here as everywhere, and everything is listed once.
    let again = committed(&mut server.client, request(1, "first.docx")).await;
    assert_eq!(again.manifest_sha256, first.manifest_sha256);
    assert_eq!(read(&mut owners.client, &name(1)).await.state(), State::Committed);
    let list = server.client.list_exports(ListExportsRequest::default()).await.unwrap();
    let listed = list.into_inner().exports.into_iter();
    let listed = listed.filter(|export| export.state() == State::Committed);
    let mut listed: Vec<String> = listed.map(|export| export.name).collect();
    let mut expected = vec![name(1), failed.kept_as];
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(committed_bundles(&s3).len(), 2);
}

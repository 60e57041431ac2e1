//! Objects of S3 that cannot be read now: archived, denied, or with a KMS key that is not usable. The other exports
//! are listed as before, the affected one with its reason, and calls that read it say what to do.

use std::time::Duration;

use aws_sdk_s3::config::Credentials;
use tara_export_client::proto::{
    CreateDownloadLinkRequest, DownloadArtifactRequest, DownloadBundleRequest, Export,
    GetExportRequest, GetReportRequest, ListExportsRequest, export::State,
};
use tara_export_store::s3::S3Settings;
use tara_export_test_support::{Fault, FaultRule, ListingFaults, Operation, TestS3};
use tonic::{Code, Status};

use crate::{
    following::committed,
    harness::{
        Client, Host,
        s3::{settings, store_of, store_with},
        within,
    },
    requests::{name, request},
    statuses::expect_status,
};

/// Three exports; the cache is off, so that calls read the store.
async fn exports(host: &Host) -> Vec<Export> {
    let mut server = host.start().await;
    let mut exports = Vec::new();
    for number in 1..=3 {
        exports.push(committed(&mut server.client, request(number, "report.docx")).await);
        host.clock.advance(chrono::TimeDelta::seconds(1));
    }
    server.stop().await;
    exports
}

async fn list(client: &mut Client, page_size: i32) -> Vec<Export> {
    let (mut exports, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListExportsRequest { page_size, page_token, filter: String::new() };
        let page = within("a page", client.list_exports(request)).await.unwrap().into_inner();
        exports.extend(page.exports);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return exports;
        }
    }
}

/// Asserts that the second export is listed with this reason, and the others as committed.
async fn assert_listed(client: &mut Client, exports: &[Export], reason: &str) {
    for page_size in [1, 2, 50] {
        let listed = list(client, page_size).await;
        let found: Vec<(&str, State, &str)> = listed
            .iter()
            .map(|export| (export.name.as_str(), export.state(), export.state_reason.as_str()))
            .collect();
        let (first, second, third) = (name(1), name(2), name(3));
        let expected = [
            (third.as_str(), State::Committed, ""),
            (second.as_str(), State::Quarantined, reason),
            (first.as_str(), State::Committed, ""),
        ];
        assert_eq!(found, expected, "pages of {page_size}");
        assert_eq!(listed[1].folder_name, exports[1].folder_name);
    }
}

/// The errors of all calls that read the second export or its report.
async fn reads(client: &mut Client, path: &str) -> Vec<(&'static str, Result<(), Status>)> {
    let name = name(2);
    let path = path.to_owned();
    let get = client.get_export(GetExportRequest { name: name.clone() }).await.map(|_| ());
    let report =
        client.get_report(GetReportRequest { name: name.clone(), view: 0 }).await.map(|_| ());
    let request =
        CreateDownloadLinkRequest { name: name.clone(), path: path.clone(), time_to_live: None };
    let link = client.create_download_link(request).await.map(|_| ());
    let request = DownloadArtifactRequest { name: name.clone(), path, ..Default::default() };
    let artifact = match client.download_artifact(request).await {
        Ok(stream) => drain(stream.into_inner()).await,
        Err(status) => Err(status),
    };
    let request = DownloadBundleRequest { name };
    let bundle = match client.download_bundle(request).await {
        Ok(stream) => drain(stream.into_inner()).await,
        Err(status) => Err(status),
    };
    vec![
        ("get", get),
        ("report", report),
        ("link", link),
        ("artifact", artifact),
        ("bundle", bundle),
    ]
}

async fn drain<T>(mut stream: tonic::Streaming<T>) -> Result<(), Status> {
    while within("a message", stream.message()).await?.is_some() {}
    Ok(())
}

fn assert_archived(call: &str, result: Result<(), Status>) {
    let status = result.expect_err(call);
    expect_status(&status, Code::FailedPrecondition, "ARCHIVED");
    let message = status.message();
    assert!(message.contains("archived") && message.contains("restore"), "{call}: {message}");
    for blamed in ["credential", "role", "permission", "AccessDenied"] {
        assert!(!message.contains(blamed), "{call}: {message}");
    }
}

#[tokio::test]
async fn archived_bundle_does_not_hide_others_and_names_the_restore() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&["--catalog-cache-size=0"]);
    let exports = exports(&host).await;
    // Without this server's memory of recent exports.
    let mut server = host.start().await;
    assert!(s3.archive(&format!("/{}/", exports[1].folder_name)) > 5);
    assert_listed(&mut server.client, &exports, "ARCHIVED").await;
    for (call, result) in reads(&mut server.client, "comprehensive_report.json").await {
        assert_archived(call, result);
    }
    s3.restore();
    let states: Vec<State> = list(&mut server.client, 50).await.iter().map(Export::state).collect();
    assert_eq!(states, [State::Committed; 3]);
    for (call, result) in reads(&mut server.client, "comprehensive_report.json").await {
        result.expect(call);
    }
}

#[tokio::test]
async fn server_that_wrote_a_bundle_reports_its_archive_too() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&["--catalog-cache-size=0"]);
    let mut server = host.start().await;
    for number in 1..=2 {
        committed(&mut server.client, request(number, "report.docx")).await;
    }
    s3.archive("/manifest.json");
    for (call, result) in reads(&mut server.client, "comprehensive_report.json").await {
        assert_archived(call, result);
    }
}

/// Rules by size or prefix archive documents alone.
#[tokio::test]
async fn archived_documents_keep_the_bundle_listed_as_committed() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&["--catalog-cache-size=0"]);
    let exports = exports(&host).await;
    let mut server = host.start().await;
    s3.archive("/documents/");
    assert!(list(&mut server.client, 2).await.iter().all(|e| e.state() == State::Committed));
    let document = exports[1].artifacts.iter().find(|a| a.path.starts_with("documents/")).unwrap();
    for (call, result) in reads(&mut server.client, &document.path).await {
        match call {
            "get" | "report" => result.expect(call),
            _ => assert_archived(call, result),
        }
    }
}

/// A rule for the complete base path archives records, claims and index entries too: not even the id can be read.
#[tokio::test]
async fn exports_without_readable_id_are_listed_by_their_folders() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&["--catalog-cache-size=0"]);
    let exports = exports(&host).await;
    let mut server = host.start().await;
    s3.archive(&exports[1].folder_name);
    for page_size in [1, 50] {
        let listed = list(&mut server.client, page_size).await;
        let names: Vec<&str> = listed.iter().map(|export| export.name.as_str()).collect();
        assert_eq!(names, [&name(3), "", &name(1)]);
        assert_eq!(listed[1].state_reason, "ARCHIVED");
        assert_eq!(listed[1].folder_name, exports[1].folder_name);
    }
    s3.archive("");
    let listed = list(&mut server.client, 1).await;
    assert_eq!(listed.len(), 3, "{listed:#?}");
    assert!(listed.iter().all(|export| export.state_reason == "ARCHIVED"));
}

#[tokio::test]
async fn bundle_that_s3_refuses_does_not_hide_others() {
    for (fault, reason) in [
        (Fault::ACCESS_DENIED, "STORE_DENIED"),
        (Fault::respond(400, "KMS.DisabledException"), "STORE_MISCONFIGURED"),
        (Fault::respond(400, "KMS.KMSInvalidStateException"), "STORE_MISCONFIGURED"),
        (Fault::respond(400, "InvalidRequest"), "STORE_MISCONFIGURED"),
        (Fault::INTERNAL_ERROR, "STORE_UNAVAILABLE"),
        // A proxy that refuses the content.
        (Fault::ResetBefore, "STORE_UNAVAILABLE"),
        (Fault::TruncateResponse, "STORE_UNAVAILABLE"),
    ] {
        let s3 = TestS3::start().await;
        let host = Host::with_s3(store_of(&s3)).flags(&["--catalog-cache-size=0"]);
        let exports = exports(&host).await;
        let mut server = host.start().await;
        let folder = format!("/{}/", exports[1].folder_name);
        s3.fail(FaultRule::new(fault).on(Operation::GetObject).key_contains(folder));
        assert_listed(&mut server.client, &exports, reason).await;
    }
}

#[tokio::test]
async fn object_that_s3_never_returns_does_not_hide_others() {
    let s3 = TestS3::start().await;
    let settings = S3Settings {
        operation_timeout: Duration::from_secs(3),
        ..settings(&s3.endpoint(), s3.bucket())
    };
    let credentials = Credentials::new(s3.access_key(), s3.secret_key(), None, None, "test");
    let host = Host::with_s3(store_with(settings, credentials)).flags(&["--catalog-cache-size=0"]);
    let exports = exports(&host).await;
    let mut server = host.start().await;
    let folder = format!("/{}/", exports[1].folder_name);
    s3.fail(FaultRule::new(Fault::Stall).on(Operation::GetObject).key_contains(folder));
    let states: Vec<_> =
        list(&mut server.client, 50).await.into_iter().map(|export| export.state_reason).collect();
    assert_eq!(states, ["", "STORE_UNAVAILABLE", ""]);
}

#[tokio::test]
async fn failure_of_the_entire_store_fails_the_list() {
    for (fault, code) in [
        (Fault::ResetBefore, Code::Unavailable),
        (Fault::INTERNAL_ERROR, Code::Unavailable),
        (Fault::SLOW_DOWN, Code::Unavailable),
        (Fault::EXPIRED_TOKEN, Code::FailedPrecondition),
        (Fault::ACCESS_DENIED, Code::FailedPrecondition),
    ] {
        let s3 = TestS3::start().await;
        let host = Host::with_s3(store_of(&s3)).flags(&["--catalog-cache-size=0"]);
        exports(&host).await;
        let mut server = host.start().await;
        s3.fail(FaultRule::new(fault.clone()).on(Operation::GetObject));
        let status = server.client.list_exports(ListExportsRequest::default()).await.unwrap_err();
        assert_eq!(status.code(), code, "{fault:?} {status:?}");
    }
}

#[tokio::test]
async fn every_export_is_listed_once_by_servers_without_usable_order() {
    let start_after = ListingFaults { ignores_start_after: true, ..ListingFaults::default() };
    let unordered = ListingFaults { unordered: true, ..ListingFaults::default() };
    let both = ListingFaults { unordered: true, ..start_after };
    for faults in [start_after, unordered, both] {
        let s3 = TestS3::start().await;
        s3.break_listings(faults);
        let host = Host::with_s3(store_of(&s3));
        let mut server = host.start().await;
        for number in 1..=20 {
            committed(&mut server.client, request(number, "report.docx")).await;
            host.clock.advance(chrono::TimeDelta::seconds(1));
        }
        let expected: Vec<String> = (1..=20).rev().map(name).collect();
        for page_size in [1, 3, 7, 50] {
            let listed = list(&mut server.client, page_size).await;
            let names: Vec<&String> = listed.iter().map(|export| &export.name).collect();
            assert!(names.into_iter().eq(&expected), "{faults:?}, pages of {page_size}");
        }
    }
}

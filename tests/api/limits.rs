//! Requests above a limit are refused with the name of the setting, and do not affect others.

use tara_export_client::proto::{
    GetExportRequest, ListExportsRequest, PreviewExportRequest, StartExportRequest, document::Kind,
    export::State,
};
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{committed, export, follow, refused},
    harness::{Client, Host, endpoint, within},
    requests::{document, name, request, review},
    statuses::{expect_invalid, expect_status},
};

fn with_document_of(number: u32, size_bytes: usize) -> StartExportRequest {
    let mut request = request(number, "incident report.docx");
    request.documents = vec![document(Kind::Before, vec![7; size_bytes])];
    request
}

#[tokio::test]
async fn request_above_the_size_limit_is_refused_naming_the_setting() {
    let host = Host::new().flags(&["--max-request-size=1MiB"]);
    let mut server = host.start().await;
    for size_bytes in [1024 * 1024, 40 * 1024 * 1024] {
        let status = refused(&mut server.client, with_document_of(1, size_bytes)).await;
        expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
        assert!(status.message().contains("MAX_REQUEST_SIZE"), "{}", status.message());
        assert!(status.message().contains("1048576"), "{}", status.message());
    }
    assert!(!host.data_dir().exists());
    // The connection still works, and a request within the limit is accepted.
    committed(&mut server.client, with_document_of(1, 1_000_000)).await;
}

#[tokio::test]
async fn requests_up_to_32_mib_are_accepted_by_default() {
    let host = Host::new();
    let mut server = host.start().await;
    let size_bytes = 32 * 1024 * 1024 - 4096;
    let export = committed(&mut server.client, with_document_of(1, size_bytes)).await;
    bundles::verify(&host.folder(&export.folder_name));
    let status = refused(&mut server.client, with_document_of(2, size_bytes + 4096)).await;
    expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
}

#[tokio::test]
async fn too_many_concurrent_exports_are_refused_until_some_end() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let flags = ["--s3-retry-budget=10m", "--max-concurrent-exports=2", "--admission-timeout=50ms"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let mut streams = Vec::new();
    for number in 1..=2 {
        let start = server.client.start_export(request(number, "incident report.docx"));
        streams.push(within("the response", start).await.unwrap().into_inner());
    }
    let status = refused(&mut server.client, request(3, "incident report.docx")).await;
    let info = expect_status(&status, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(info.metadata["setting"], "MAX_CONCURRENT_EXPORTS");
    let preview =
        PreviewExportRequest { review: Some(review("a.docx")), ..PreviewExportRequest::default() };
    let status = server.client.preview_export(preview).await.unwrap_err();
    expect_status(&status, Code::ResourceExhausted, "OVERLOADED");
    // Reads need no such permit.
    server.client.get_export(GetExportRequest { name: name(1) }).await.unwrap();

    s3.set(Mode::Works);
    for stream in streams {
        follow(stream).await.completed();
    }
    committed(&mut server.client, request(3, "incident report.docx")).await;
}

#[tokio::test]
async fn request_memory_is_bounded_in_bytes() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let flags = [
        "--s3-retry-budget=10m",
        "--max-request-size=1MiB",
        "--max-request-memory=2MiB",
        "--admission-timeout=50ms",
    ];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    // Each request reserves its decoded size until its export ends.
    let mut streams = Vec::new();
    for (number, size_bytes) in [(1, 10), (2, 10), (3, 1_000_000)] {
        let start = server.client.start_export(with_document_of(number, size_bytes));
        streams.push(within("the response", start).await.unwrap().into_inner());
    }
    let status = refused(&mut server.client, with_document_of(4, 1_000_000)).await;
    let info = expect_status(&status, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(info.metadata["setting"], "MAX_REQUEST_MEMORY");
    // A small request still fits.
    let start = server.client.start_export(with_document_of(5, 10));
    streams.push(within("the response", start).await.unwrap().into_inner());
    s3.set(Mode::Works);
    for stream in streams {
        follow(stream).await.completed();
    }
    committed(&mut server.client, with_document_of(4, 1_000_000)).await;
}

#[tokio::test]
async fn refused_request_releases_its_permit() {
    let flags = ["--max-concurrent-exports=1", "--admission-timeout=0s"];
    let host = Host::new().flags(&flags);
    let mut server = host.start().await;
    for _ in 0..3 {
        let status = refused(&mut server.client, request(1, "")).await;
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

#[tokio::test]
async fn small_methods_refuse_large_requests() {
    let host = Host::new();
    let mut server = host.start().await;
    for size_bytes in [100 * 1024, 3 * 1024 * 1024] {
        let filter = "x".repeat(size_bytes);
        let request = ListExportsRequest { filter, ..ListExportsRequest::default() };
        let status = server.client.list_exports(request).await.unwrap_err();
        expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
        assert!(status.message().contains("65536"), "{}", status.message());
    }
    server.client.list_exports(ListExportsRequest::default()).await.unwrap();
}

#[tokio::test]
async fn panic_in_one_export_does_not_affect_others() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m"]);
    let mut server = host.start().await;
    let mut requests = [request(1, "incident report.docx"), request(2, "incident report.docx")];
    requests[1].destination = 2;
    s3.set(Mode::PanicsAtArtifacts);
    let [panicking, healthy] = requests;
    let mut second = Client::new(endpoint(server.address).connect().await.unwrap());
    let panicking = server.client.start_export(panicking).await.unwrap().into_inner();
    export(&mut second, healthy).await.completed();
    let get = || GetExportRequest { name: name(1) };
    let waiting = async {
        loop {
            let export = second.get_export(get()).await.unwrap().into_inner().export.unwrap();
            if export.state() == State::Pending {
                return export;
            }
            tokio::task::yield_now().await;
        }
    };
    let waiting = within("the export to be pending", waiting).await;
    assert_eq!(waiting.state_reason, "INTERNAL");
    // The accepted export is not lost, and the service continues.
    s3.set(Mode::Works);
    committed(&mut server.client, request(3, "incident report.docx")).await;
    assert_eq!(follow(panicking).await.completed().state(), State::Committed);
}

#[tokio::test]
async fn panic_in_a_call_is_an_internal_error_of_that_call() {
    let s3 = FakeS3::new(Mode::PanicsAtLists);
    let host = Host::with_s3(s3.clone());
    let mut server = host.start().await;
    let status = server.client.list_exports(ListExportsRequest::default()).await.unwrap_err();
    expect_status(&status, Code::Internal, "INTERNAL");
    assert!(!format!("{status:?}").contains("injected by the test"), "{status:?}");
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

/// Uploads and sources have the same limit (`uploads_refused`, `s3_sources`).
#[tokio::test]
async fn inline_document_above_the_document_limit_is_refused() {
    let host = Host::new().flags(&["--max-document-size=1MiB"]);
    let mut server = host.start().await;
    let status = refused(&mut server.client, with_document_of(1, (1 << 20) + 1)).await;
    let description = expect_invalid(&status, "documents[0].content");
    assert!(description.contains("MAX_DOCUMENT_SIZE"), "{description}");
    assert!(host.files().is_empty(), "{:?}", host.files());
    committed(&mut server.client, with_document_of(1, 1 << 20)).await;
}

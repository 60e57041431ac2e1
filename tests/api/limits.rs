//! Too much is refused with the limit's name, and harms nobody else.

use tara_export::proto::{
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
async fn a_request_above_the_limit_is_told_which() {
    let host = Host::new().flags(&["--max-request-size=1MiB"]);
    let mut server = host.start().await;
    for size_bytes in [1024 * 1024, 40 * 1024 * 1024] {
        let status = refused(&mut server.client, with_document_of(1, size_bytes)).await;
        expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
        assert!(status.message().contains("MAX_REQUEST_SIZE"), "{}", status.message());
        assert!(status.message().contains("1048576"), "{}", status.message());
    }
    assert!(!host.data_dir().exists());
    // The connection is as good as before, and what fits is taken.
    committed(&mut server.client, with_document_of(1, 1_000_000)).await;
}

#[tokio::test]
async fn requests_up_to_32_mib_are_taken_by_default() {
    let host = Host::new();
    let mut server = host.start().await;
    let size_bytes = 32 * 1024 * 1024 - 4096;
    let export = committed(&mut server.client, with_document_of(1, size_bytes)).await;
    bundles::whole(&host.folder(&export.folder_name));
    let status = refused(&mut server.client, with_document_of(2, size_bytes + 4096)).await;
    expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
}

#[tokio::test]
async fn too_many_exports_at_once_are_refused_until_some_end() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let flags = ["--s3-retry-budget=10m", "--max-concurrent-exports=2", "--admission-timeout=50ms"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let mut streams = Vec::new();
    for number in 1..=2 {
        let start = server.client.start_export(request(number, "incident report.docx"));
        streams.push(within("the answer", start).await.unwrap().into_inner());
    }
    let status = refused(&mut server.client, request(3, "incident report.docx")).await;
    let info = expect_status(&status, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(info.metadata["setting"], "MAX_CONCURRENT_EXPORTS");
    let preview =
        PreviewExportRequest { review: Some(review("a.docx")), ..PreviewExportRequest::default() };
    let status = server.client.preview_export(preview).await.unwrap_err();
    expect_status(&status, Code::ResourceExhausted, "OVERLOADED");
    // Reads need no such room.
    server.client.get_export(GetExportRequest { name: name(1) }).await.unwrap();

    s3.set(Mode::Works);
    for stream in streams {
        follow(stream).await.completed();
    }
    committed(&mut server.client, request(3, "incident report.docx")).await;
}

#[tokio::test]
async fn requests_in_memory_are_bounded_by_bytes_too() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let flags = [
        "--s3-retry-budget=10m",
        "--max-request-size=1MiB",
        "--max-request-memory=2MiB",
        "--admission-timeout=50ms",
    ];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    // Each takes what it becomes, until its export ends.
    let mut streams = Vec::new();
    for (number, size_bytes) in [(1, 10), (2, 10), (3, 1_000_000)] {
        let start = server.client.start_export(with_document_of(number, size_bytes));
        streams.push(within("the answer", start).await.unwrap().into_inner());
    }
    let status = refused(&mut server.client, with_document_of(4, 1_000_000)).await;
    let info = expect_status(&status, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(info.metadata["setting"], "MAX_REQUEST_MEMORY");
    // A small one fits beside them.
    let start = server.client.start_export(with_document_of(5, 10));
    streams.push(within("the answer", start).await.unwrap().into_inner());
    s3.set(Mode::Works);
    for stream in streams {
        follow(stream).await.completed();
    }
    committed(&mut server.client, with_document_of(4, 1_000_000)).await;
}

#[tokio::test]
async fn a_refused_request_gives_its_room_back() {
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
async fn small_methods_take_small_requests_only() {
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
async fn a_panic_in_one_export_harms_no_other() {
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
    let waiting = within("the panic", waiting).await;
    assert_eq!(waiting.state_reason, "INTERNAL");
    // It was accepted, so it is not lost, and the service goes on.
    s3.set(Mode::Works);
    committed(&mut server.client, request(3, "incident report.docx")).await;
    assert_eq!(follow(panicking).await.completed().state(), State::Committed);
}

#[tokio::test]
async fn a_panic_in_one_call_is_that_calls_internal() {
    let s3 = FakeS3::new(Mode::PanicsAtLists);
    let host = Host::with_s3(s3.clone());
    let mut server = host.start().await;
    let status = server.client.list_exports(ListExportsRequest::default()).await.unwrap_err();
    expect_status(&status, Code::Internal, "INTERNAL");
    assert!(!format!("{status:?}").contains("the test wants"), "{status:?}");
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

/// However it comes: uploads and objects are held against the same limit (`uploads_refused`,
/// `references`).
#[tokio::test]
async fn a_document_in_its_request_is_held_against_the_limit_of_documents() {
    let host = Host::new().flags(&["--max-document-size=1MiB"]);
    let mut server = host.start().await;
    let status = refused(&mut server.client, with_document_of(1, (1 << 20) + 1)).await;
    let said = expect_invalid(&status, "documents[0].content");
    assert!(said.contains("MAX_DOCUMENT_SIZE"), "{said}");
    assert!(host.files().is_empty(), "{:?}", host.files());
    committed(&mut server.client, with_document_of(1, 1 << 20)).await;
}

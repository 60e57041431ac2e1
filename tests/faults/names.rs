//! Names and sizes at their limits, the same in S3 and on disk (guarantees, failures 15, 16 and 17).

use tara_export_client::proto::{Destination, StartExportRequest, document::Kind, export::State};
use tara_export_test_support::{Fault, FaultRule, TestS3};

use crate::{
    bundles,
    following::committed,
    harness::{Host, in_s3::check_in_s3, s3::store_of, waiting::until_state},
    requests::{document, name, request},
};

fn names() -> Vec<String> {
    let long = "長".repeat(680);
    let names = [
        "事故報告書.docx",
        "📄 report 🚀.docx",
        "caf\u{e9}.docx",
        "cafe\u{301}.docx",
        "foo..bar.docx",
        "../../etc/passwd",
        "..\\..\\windows.docx",
        "%2e%2e%2f%2e%2e%2fetc.docx",
        "\u{ff0e}\u{ff0e}\u{ff0f}full-width.docx",
        "a/b\\c:d*e?.docx",
        ".hidden",
        "CON",
        "a+b c&d=e#f.docx",
    ];
    names.iter().map(ToString::to_string).chain([format!("{long}.docx")]).collect()
}

fn to(destination: Destination, number: u32, document_name: &str) -> StartExportRequest {
    let mut message = request(number, document_name);
    message.set_destination(destination);
    message
}

#[tokio::test]
async fn document_names_map_alike_to_s3_and_disk() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    for (number, document_name) in (0..).zip(names()) {
        let remote = to(Destination::S3, number * 2, &document_name);
        let remote = check_in_s3(&s3, &committed(&mut server.client, remote).await);
        let local = to(Destination::Local, number * 2 + 1, &document_name);
        let local = committed(&mut server.client, local).await;
        let local = bundles::verify(&host.folder(&local.folder_name));
        // The manifest has the caller's name, and its form in paths is safe.
        assert_eq!((&remote.document_name, &local.document_name), (&document_name, &document_name));
        let paths = |manifest: &tara_export_bundle::Manifest| -> Vec<String> {
            manifest.artifacts.iter().map(|artifact| artifact.path.to_string()).collect()
        };
        assert_eq!(paths(&remote), paths(&local), "{document_name}");
        for part in paths(&remote).iter().flat_map(|path| path.split('/')) {
            assert!(!part.is_empty() && part.len() <= 255 && !part.starts_with('.'), "{part}");
            assert!(!part.contains(['\\', ':', '\0']), "{part}");
        }
        host.clock.advance(chrono::TimeDelta::seconds(1));
    }
    let outside = host.data_dir().parent().unwrap().to_owned();
    let beside: Vec<_> = std::fs::read_dir(outside).unwrap().collect();
    assert_eq!(beside.len(), 1, "files outside the data directory: {beside:?}");
}

#[tokio::test]
async fn empty_documents_are_stored_on_every_path() {
    let empty = |number| {
        let mut message = request(number, "empty.docx");
        message.documents =
            [Kind::Before, Kind::After, Kind::Guidelines].map(|kind| document(kind, "")).to_vec();
        message
    };
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&["--s3-outage-pause=10ms"]);
    let mut server = host.start().await;
    let sizes = |manifest: &tara_export_bundle::Manifest| -> Vec<u64> {
        let documents = manifest.artifacts.iter();
        let documents = documents.filter(|artifact| artifact.path.to_string().contains(".docx"));
        documents.map(|artifact| artifact.size_bytes).collect()
    };
    let export = committed(&mut server.client, empty(1)).await;
    assert_eq!(sizes(&check_in_s3(&s3, &export)), [0, 0, 0]);
    // Through the local store.
    s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    let local = committed(&mut server.client, empty(2)).await;
    assert_eq!(sizes(&bundles::verify(&host.folder(&local.folder_name))), [0, 0, 0]);
    s3.clear_faults();
    let export = until_state(&mut server.client, &name(2), State::Committed).await;
    assert_eq!(sizes(&check_in_s3(&s3, &export)), [0, 0, 0]);
}

//! What callers do through a proxy: exports whose progress arrives at once, uploads, downloads and errors.

use std::{fs, path::Path, time::Duration};

use futures::StreamExt as _;
use tara_export_client::{
    Client, ConnectOptions, Protocol,
    proto::{
        Document, ExportEvent,
        document::{Kind, Source},
        export::State,
        export_event::Event,
    },
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tokio::time::Instant;

use crate::{
    harness::{uploads::bytes, within},
    requests::request,
};

/// Heartbeats that must arrive while S3 does not respond. They are smaller than every proxy's buffer.
const HEARTBEATS: usize = 5;
/// The longest time between two messages: ten heartbeat intervals of the tests' server. A proxy that collects the
/// response passes on nothing until the export ends.
const MAX_SILENCE: Duration = Duration::from_secs(3);
/// More than nginx's limit of 1 MiB for a request, and more than one part in S3.
const DOCUMENT_BYTES: usize = 9 * 1024 * 1024;

const DOCUMENT: &str = "documents/before_incident_report.docx";

/// Options of a client of this protocol that trusts this authority.
pub(crate) fn options(protocol: Protocol, authority_pem: Option<&str>) -> ConnectOptions {
    ConnectOptions {
        authorities_pem: authority_pem.map(|pem| pem.as_bytes().to_vec()),
        protocol,
        ..ConnectOptions::default()
    }
}

/// Exports while S3 does not respond, and checks that messages arrive meanwhile.
pub(crate) async fn check_progress(client: &Client, s3: &TestS3, number: u32) {
    let stalled =
        FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("readable_report");
    let stalled = s3.fail(stalled);
    let mut events = client.export(request(number, "incident report.docx"));
    let (mut heartbeats, mut last) = (0, Instant::now());
    let mut next = async || -> ExportEvent {
        within("an event", events.next()).await.expect("an event").unwrap()
    };
    while heartbeats < HEARTBEATS {
        let event = next().await.event;
        assert!(last.elapsed() < MAX_SILENCE, "silent for {:?}", last.elapsed());
        last = Instant::now();
        heartbeats += usize::from(matches!(event, Some(Event::Heartbeat(_))));
        assert!(!matches!(event, Some(Event::Completed(_) | Event::Failed(_))), "{event:?}");
    }
    s3.clear_fault(stalled);
    loop {
        if let Some(Event::Completed(completed)) = next().await.event {
            assert_eq!(completed.export.unwrap().state(), State::Committed);
            return;
        }
    }
}

/// Uploads a large document, exports it and downloads it again.
pub(crate) async fn check_large_document(client: &Client, folder: &Path, number: u32) {
    let content = bytes(DOCUMENT_BYTES, number.into());
    let file = folder.join(format!("large-{number}.docx"));
    fs::write(&file, &content).unwrap();
    let uploaded = within("the upload", client.upload_file(&file, |_| {})).await.unwrap();
    let mut request = request(number, "incident report.docx");
    request.documents = vec![Document {
        kind: Kind::Before.into(),
        file_name: "before.docx".to_owned(),
        source: Some(Source::Upload(uploaded.name)),
        ..Document::default()
    }];
    let mut events = client.export(request);
    let mut name = None;
    while let Some(event) = within("an event", events.next()).await {
        if let Some(Event::Completed(completed)) = event.unwrap().event {
            name = completed.export.map(|export| export.name);
        }
    }
    let export = client.get_export(name.expect("a bundle")).await.unwrap();
    let mut download = client.open_artifact(&export.name, DOCUMENT).await.unwrap();
    let mut downloaded = Vec::new();
    while let Some(piece) = within("a piece", download.next()).await.unwrap() {
        downloaded.extend_from_slice(&piece);
    }
    assert!(downloaded == content);
}

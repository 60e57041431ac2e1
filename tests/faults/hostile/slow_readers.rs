//! Readers that pause, and readers that stop reading.

use std::time::Duration;

use tara_export_client::proto::{
    DownloadArtifactRequest, DownloadArtifactResponse, StartExportRequest, document::Kind,
    download_artifact_response::Part,
};
use tokio::time::sleep;
use tonic::{Code, Status, Streaming};

use super::peer::{GOAWAY, HEADERS, RST_STREAM, connect_with_window, framed};
use crate::{
    following::committed,
    harness::{Client, Host, endpoint, within},
    requests::{document, name, request},
    statuses::expect_status,
};

const DOCUMENT_BYTES: usize = 2 * 1024 * 1024;

fn content() -> Vec<u8> {
    (0..DOCUMENT_BYTES).map(|at| (at / 7) as u8).collect()
}

/// Exports a document. Returns its path in the bundle.
async fn export_document(client: &mut Client) -> String {
    let request = StartExportRequest {
        documents: vec![document(Kind::Before, content())],
        ..request(1, "incident report.docx")
    };
    let export = committed(client, request).await;
    let largest = export.artifacts.iter().max_by_key(|artifact| artifact.size_bytes).unwrap();
    largest.path.clone()
}

/// A client whose streams stall while they are not read.
async fn client(address: std::net::SocketAddr) -> Client {
    let endpoint = endpoint(address).initial_stream_window_size(64 * 1024);
    Client::new(endpoint.connect().await.unwrap())
}

async fn start(
    client: &mut Client,
    path: &str,
    offset: usize,
) -> Streaming<DownloadArtifactResponse> {
    let (path, offset) = (path.to_owned(), i64::try_from(offset).unwrap());
    let request = DownloadArtifactRequest { name: name(1), path, offset };
    within("the file", client.download_artifact(request)).await.unwrap().into_inner()
}

/// Reads into `content` until it has `limit` bytes or the stream ends.
async fn read(
    stream: &mut Streaming<DownloadArtifactResponse>,
    content: &mut Vec<u8>,
    limit: usize,
) -> Result<(), Status> {
    while content.len() < limit {
        match within("the next piece", stream.message()).await? {
            Some(DownloadArtifactResponse { part: Some(Part::Data(data)) }) => {
                content.extend(data);
            }
            Some(_) => {}
            None => return Ok(()),
        }
    }
    Ok(())
}

#[tokio::test]
async fn reader_that_pauses_for_less_than_the_timeout_gets_everything() {
    let host = Host::new().flags(&["--read-idle-timeout=2s"]);
    let mut server = host.start().await;
    let path = export_document(&mut server.client).await;
    let mut client = client(server.address).await;
    let (mut stream, mut received) = (start(&mut client, &path, 0).await, Vec::new());
    for part in 1..=4 {
        read(&mut stream, &mut received, DOCUMENT_BYTES / 4 * part).await.unwrap();
        // Simulates a slow client.
        sleep(Duration::from_secs(1)).await;
    }
    read(&mut stream, &mut received, usize::MAX).await.unwrap();
    assert!(received == content());
}

#[tokio::test]
async fn reader_that_returns_too_late_resumes_at_its_offset() {
    let flags =
        ["--read-idle-timeout=500ms", "--max-concurrent-downloads=1", "--admission-timeout=20s"];
    let host = Host::new().flags(&flags);
    let mut server = host.start().await;
    let path = export_document(&mut server.client).await;
    let mut client = client(server.address).await;
    let (mut stream, mut received) = (start(&mut client, &path, 0).await, Vec::new());
    read(&mut stream, &mut received, 1).await.unwrap();
    // Another download on the same connection gets the only permit, once the first has lost it.
    let (mut other, mut complete) = (start(&mut client, &path, 0).await, Vec::new());
    read(&mut other, &mut complete, usize::MAX).await.unwrap();
    assert!(complete == content());

    let status = read(&mut stream, &mut received, usize::MAX).await.unwrap_err();
    expect_status(&status, Code::Unavailable, "STREAM_ENDED_EARLY");
    assert!(status.message().contains("READ_IDLE_TIMEOUT"), "{status:?}");
    assert!(received.len() < DOCUMENT_BYTES);
    let mut rest = start(&mut client, &path, received.len()).await;
    read(&mut rest, &mut received, usize::MAX).await.unwrap();
    assert!(received == content());
}

#[tokio::test]
async fn abandoned_stream_is_reset_and_its_connection_stays() {
    let host = Host::new().flags(&["--read-idle-timeout=100ms"]);
    let mut server = host.start().await;
    let path = export_document(&mut server.client).await;
    let message = framed(&DownloadArtifactRequest { name: name(1), path, offset: 0 });
    let (mut sender, mut receiver) = connect_with_window(server.address, 0).await;
    sender.call(1, "DownloadArtifact", &message).await;
    let mut next_of = async |stream, kind| {
        while let Some(frame) = receiver.next().await {
            if (frame.stream, frame.kind) == (stream, kind) {
                return;
            }
            assert_ne!(frame.kind, GOAWAY, "{frame:?}");
        }
        panic!("the connection ended");
    };
    within("a response", next_of(1, HEADERS)).await;
    within("the reset", next_of(1, RST_STREAM)).await;
    sender.call(3, "DownloadArtifact", &message).await;
    within("another response", next_of(3, HEADERS)).await;
}

#[tokio::test]
async fn unread_download_ends_at_once_when_the_server_stops() {
    let host = Host::new();
    let mut server = host.start().await;
    let path = export_document(&mut server.client).await;
    let mut client = client(server.address).await;
    let (mut stream, mut received) = (start(&mut client, &path, 0).await, Vec::new());
    read(&mut stream, &mut received, 1).await.unwrap();
    let stopping = server.running.shut_down();
    let reading = async {
        // Either the connection or the stream ends; clients retry both.
        let status = read(&mut stream, &mut received, usize::MAX).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    };
    within("the end", async { tokio::join!(stopping, reading) }).await;
    assert!(received.len() < DOCUMENT_BYTES);
}

//! Peers that disappear without closing their connection.

use std::time::Duration;

use tokio::time::timeout;

use super::peer::{END_HEADERS, HEADERS, PING, call_headers, connect};
use crate::{following::committed, harness::Host, requests::request};

/// The peer holds the only export permit and has an hour to send its request.
#[tokio::test]
async fn peer_without_ping_response_is_closed_and_its_permit_freed() {
    let flags = [
        "--max-concurrent-exports=1",
        "--keepalive-interval=1s",
        "--request-timeout=1h",
        "--admission-timeout=10s",
    ];
    let host = Host::new().flags(&flags);
    let mut server = host.start().await;
    let (mut sender, mut receiver) = connect(server.address).await;
    sender.send(HEADERS, END_HEADERS, 1, &call_headers("StartExport")).await.unwrap();
    // The peer only reads, to detect when the server closes the connection, and keeps its own half open.
    let frames =
        timeout(Duration::from_secs(60), receiver.rest()).await.expect("the connection is closed");
    assert!(frames.iter().any(|frame| frame.kind == PING), "{frames:?}");
    committed(&mut server.client, request(1, "incident report.docx")).await;
    drop(sender);
}

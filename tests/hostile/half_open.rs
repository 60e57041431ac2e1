//! Peers that are gone without a word.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    following::committed,
    harness::Host,
    peer::{END_HEADERS, HEADERS, PING, call_headers, connect},
    requests::request,
};

/// It holds the only place for exports, and has an hour to send its request.
#[tokio::test]
async fn a_peer_that_answers_no_ping_is_taken_for_gone_and_gives_its_room_back() {
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
    // It reads, to know when it is cut off; and keeps its own half open.
    let frames = timeout(Duration::from_secs(60), receiver.rest()).await.expect("it is cut off");
    assert!(frames.iter().any(|frame| frame.kind == PING), "{frames:?}");
    committed(&mut server.client, request(1, "incident report.docx")).await;
    drop(sender);
}

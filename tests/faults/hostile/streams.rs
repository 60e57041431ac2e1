//! More calls on one connection than the limit.

use super::peer::{
    END_HEADERS, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, REFUSED_STREAM, RST_STREAM, call_headers,
    connect,
};
use crate::{
    following::committed,
    harness::{Host, within},
    requests::request,
};

#[tokio::test]
async fn calls_beyond_the_limit_are_refused() {
    let host = Host::new().flags(&["--max-concurrent-streams=10"]);
    let mut server = host.start().await;
    let (mut sender, mut receiver) = connect(server.address).await;
    let call = call_headers("StartExport");
    // Each call waits for a message that does not arrive.
    for number in 0..15 {
        sender.send(HEADERS, END_HEADERS, number * 2 + 1, &call).await.unwrap();
    }
    let refusals = async {
        let mut refused = Vec::new();
        while refused.len() < 5 {
            let frame = receiver.next().await.expect("the connection stays open");
            assert_ne!(frame.kind, GOAWAY, "{frame:?}");
            if frame.kind == RST_STREAM && frame.error() == Some(REFUSED_STREAM) {
                refused.push(frame.stream);
            }
        }
        refused
    };
    assert_eq!(within("refusals", refusals).await, [21, 23, 25, 27, 29]);
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

/// CVE-2023-44487.
#[tokio::test]
async fn rapidly_reset_calls_end_the_connection() {
    let host = Host::new();
    let mut server = host.start().await;
    let (mut sender, mut receiver) = connect(server.address).await;
    const CALLS: u32 = 100_000;
    let (call, cancelled) = (call_headers("StartExport"), 8u32.to_be_bytes());
    let sending = async {
        for number in 0..CALLS {
            let stream = number * 2 + 1;
            let sent = sender.send(HEADERS, END_HEADERS, stream, &call).await;
            if sent.is_err() || sender.send(RST_STREAM, 0, stream, &cancelled).await.is_err() {
                return number;
            }
        }
        CALLS
    };
    let both = async { tokio::join!(sending, receiver.rest()) };
    let (started, frames) = within("the end", both).await;
    assert!(started < CALLS, "all calls were accepted");
    let end = frames.iter().find(|frame| frame.kind == GOAWAY).and_then(|frame| frame.error());
    assert_eq!(end, Some(ENHANCE_YOUR_CALM));
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

//! Connections that say nothing, say it slowly, or are too many.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    following::committed,
    harness::{Host, connect, http, within},
    peer::PREFACE,
    requests::request,
};

/// Sends these bytes one by one, with a pause between them, over and over; and tells after what time the server
/// had enough of it.
async fn trickle(
    address: SocketAddr,
    bytes: impl Iterator<Item = u8>,
    pause: Duration,
) -> Duration {
    let started = Instant::now();
    let (mut receiver, mut sender) = TcpStream::connect(address).await.unwrap().into_split();
    let sending = async {
        for byte in bytes {
            if sender.write_all(&[byte]).await.is_err() {
                break;
            }
            // What is slow here is the client; nothing is waited for.
            sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let closed = async { drop(receiver.read_to_end(&mut answer).await) };
    tokio::select! {
        () = sending => {}
        () = closed => {}
    }
    started.elapsed()
}

#[tokio::test]
async fn who_says_too_little_is_cut_off_and_holds_up_nobody() {
    let host = Host::new();
    let mut server = host.start().await;
    let address = server.address;
    let second = Duration::from_secs(1);
    let endless = "x-header: y\r\n".bytes().cycle();
    let web = b"POST /x HTTP/1.1\r\nhost: x\r\n".iter().copied().chain(endless);
    let slow = async {
        tokio::join!(
            trickle(address, std::iter::empty(), second),
            trickle(address, b"P".iter().copied(), second),
            trickle(address, PREFACE[..23].iter().copied(), second),
            trickle(address, web, Duration::from_millis(200)),
        )
    };
    let others = async {
        for number in 1..=3 {
            committed(&mut server.client, request(number, "incident report.docx")).await;
        }
    };
    let patience = Duration::from_secs(50);
    let (slow, ()) = tokio::join!(timeout(patience, slow), others);
    let (silent, one_byte, preface, web) = slow.expect("all of them are cut off");
    for took in [silent, one_byte, preface] {
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
    // hyper gives HTTP/1.1 headers 30 seconds.
    assert!(web > second * 5, "cut off at once: {web:?}");
}

#[tokio::test]
async fn more_connections_than_there_may_be_wait_until_others_end() {
    let host = Host::new().flags(&["--max-connections=2"]);
    // Its client is the first.
    let server = host.start().await;
    let url = format!("http://{}/healthz", server.address);
    let second = connect(server.address).await;
    let third = http::get(&url);
    tokio::pin!(third);
    // The second is served while the third waits for one of them to end.
    let mut client = server.client.clone();
    let export = committed(&mut client, request(1, "incident report.docx"));
    tokio::select! {
        answer = &mut third => panic!("a third connection was served: {answer:?}"),
        _ = export => {}
    }
    drop(second);
    assert_eq!(within("the third's turn", third).await.0, 200);
}

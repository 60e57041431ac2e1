//! Silent connections, slow connections, and too many connections.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::peer::PREFACE;
use crate::{
    following::committed,
    harness::{Host, connect, http, within},
    requests::request,
};

/// Sends these bytes one by one, with a pause between them. Returns the time until the server closes the
/// connection.
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
            // Simulates a slow client.
            sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    let mut response = Vec::new();
    let closed = async { drop(receiver.read_to_end(&mut response).await) };
    tokio::select! {
        () = sending => {}
        () = closed => {}
    }
    started.elapsed()
}

#[tokio::test]
async fn idle_connections_are_closed_and_do_not_delay_others() {
    let host = Host::new();
    let mut server = host.start().await;
    let address = server.address;
    let second = Duration::from_secs(1);
    let endless = "x-header: y\r\n".bytes().cycle();
    let web = b"POST /x HTTP/1.1\r\nhost: localhost\r\n".iter().copied().chain(endless);
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
    let limit = Duration::from_secs(50);
    let (slow, ()) = tokio::join!(timeout(limit, slow), others);
    let (silent, one_byte, preface, web) = slow.expect("all of them are closed");
    for took in [silent, one_byte, preface] {
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
    // hyper gives HTTP/1.1 headers 30 seconds.
    assert!(web > second * 5, "closed too early: {web:?}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let host = Host::new().flags(&["--max-connections=2"]);
    // The server's own client is the first connection.
    let server = host.start().await;
    let url = format!("http://{}/healthz", server.address);
    let second = connect(server.address).await;
    let third = http::get(&url);
    tokio::pin!(third);
    // Both connections are served while the third waits.
    let mut client = server.client.clone();
    let export = committed(&mut client, request(1, "incident report.docx"));
    tokio::select! {
        response = &mut third => panic!("a third connection was served: {response:?}"),
        _ = export => {}
    }
    drop(second);
    assert_eq!(within("the response to the third connection", third).await.0, 200);
}

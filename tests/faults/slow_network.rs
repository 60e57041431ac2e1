//! A slow network connection (guarantees, failure 20).

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tara_export_client::proto::{StartExportRequest, document::Kind, export::State};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::Mutex,
};

use crate::{
    following::{committed, export},
    harness::{
        Host,
        in_s3::check_in_s3,
        s3::{s3_store, store_of},
        within,
    },
    requests::{document, request},
};

const MIB: usize = 1024 * 1024;

/// How much the line transfers at once, and how long that takes.
const PIECE_BYTES: usize = 64 * 1024;
const PIECE_TIME: Duration = Duration::from_millis(8);

/// The retry budget: much shorter than a large document takes, and longer than the bytes take that the
/// kernel buffers on one connection.
const BUDGET: Duration = Duration::from_millis(1500);

/// A proxy to a server with about 8 MiB per second for all connections together.
async fn slow_line_to(server: SocketAddr) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    // A small buffer, so that few bytes are in flight.
    socket.set_recv_buffer_size(PIECE_BYTES as u32).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(64).unwrap();
    let address = listener.local_addr().unwrap();
    let line = Arc::new(Mutex::new(()));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(forward(client, server, line.clone()));
        }
    });
    format!("http://{address}")
}

async fn forward(client: TcpStream, server: SocketAddr, line: Arc<Mutex<()>>) -> io::Result<()> {
    let (mut responses, mut requests) = TcpStream::connect(server).await?.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    tokio::spawn(async move { io::copy(&mut responses, &mut to_client).await });
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let size_bytes = from_client.read(&mut piece).await?;
        if size_bytes == 0 {
            return requests.shutdown().await;
        }
        requests.write_all(&piece[..size_bytes]).await?;
        let _guard = line.lock().await;
        tokio::time::sleep(PIECE_TIME * size_bytes as u32 / PIECE_BYTES as u32).await;
    }
}

fn large(number: u32, size_bytes: usize) -> StartExportRequest {
    let mut message = request(number, "a.docx");
    message.documents = vec![document(Kind::Before, vec![7; size_bytes])];
    message
}

#[tokio::test]
async fn slow_uplink_is_no_failure() {
    let s3 = TestS3::start().await;
    let address = s3.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    let line = slow_line_to(address).await;
    let budget = format!("--s3-retry-budget={}ms", BUDGET.as_millis());
    let store = s3_store(&line, s3.bucket(), s3.access_key(), s3.secret_key());
    let host = Host::with_s3(store).flags(&[&budget, "--s3-parallel-parts=1"]);
    let mut server = host.start().await;
    let start = Instant::now();
    let followed = export(&mut server.client, large(1, 30 * MIB)).await;
    assert!(start.elapsed() > BUDGET * 2, "{:?} is not slow", start.elapsed());
    let kinds = followed.kinds();
    assert!(!kinds.iter().any(|kind| kind.starts_with("retrying")), "{kinds:?}");
    check_in_s3(&s3, &followed.completed());
}

#[tokio::test]
async fn repeatedly_refused_document_falls_back() {
    // Longer than the longest pause between two attempts, so that a pause does not end the budget.
    let s3 = TestS3::start().await;
    let host =
        Host::with_s3(store_of(&s3)).flags(&["--s3-retry-budget=7s", "--s3-outage-pause=5m"]);
    let mut server = host.start().await;
    // Every byte arrives before the refusal, so the sender sees progress each time.
    let refused = FaultRule::new(Fault::SERVICE_UNAVAILABLE).on(Operation::PutObject);
    let refused = s3.fail(refused.key_contains(".docx"));
    let export =
        within("the end of the export", committed(&mut server.client, large(1, 4 * MIB))).await;
    assert_eq!(export.state(), State::FellBack);
    assert!(s3.fault_hits(refused) > 3, "it was not retried");
}

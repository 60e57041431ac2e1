//! The tail of the time from the call to `completed`, with hedged requests off and on: `cargo bench
//! --bench tail` with an S3 server in memory, `.ci/real-s3 minio cargo bench --bench tail` with a
//! real one.
//!
//! A proxy gives each request to S3 a response time of a seeded distribution with a long tail
//! (`tests/support/src/latency.rs`). Two servers, one with hedged requests and one without, export
//! in turns, so that other load on the machine affects both.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed benchmark ends")]

mod support;

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use clap::Parser;
use support::{
    bucket::Bucket,
    latency_proxy::LatencyProxy,
    load::through_service,
    review,
    server::Server,
    statistics::{Times, milliseconds},
};
use tara_export_client::Client;

/// Exports in one turn.
const TURN: usize = 100;

#[derive(Debug, Parser)]
struct Arguments {
    /// Exports of each server.
    #[arg(long, default_value_t = 2_000)]
    exports: usize,
    /// Concurrent callers.
    #[arg(long, default_value_t = 2)]
    callers: usize,
    /// The seed of the response times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(&arguments));
}

async fn measure(arguments: &Arguments) {
    let is_real = env::var_os("S3_BUCKET_NAME").is_some();
    let bucket = if is_real { Bucket::from_environment().await } else { Bucket::in_memory().await };
    let request = review::sample();
    let mut measured = Vec::new();
    for is_hedging in [false, true] {
        measured.push(Measured::start(is_hedging, &bucket, arguments).await);
    }
    let kind = if is_real { "a real S3 server" } else { "an S3 server in memory" };
    println!(
        "\n{} exports each, {} callers, seed {}, {kind}, milliseconds:\n",
        arguments.exports, arguments.callers, arguments.seed
    );
    let mut run_number = 0;
    let mut turns = vec![0];
    turns.extend(vec![TURN; arguments.exports / TURN]);
    turns.push(arguments.exports % TURN);
    for (turn, exports) in turns.into_iter().enumerate() {
        // The order alternates, because each server finds the store as the other left it.
        measured.reverse();
        for one in &mut measured {
            run_number += 1;
            if turn == 0 {
                // Not counted: the server measures the usual response times first.
                through_service(&one.server, &one.clients, &request, run_number, TURN).await;
                one.before = Requests::read(one.metrics);
            } else if exports > 0 {
                let (server, clients) = (&one.server, &one.clients);
                let counted = through_service(server, clients, &request, run_number, exports);
                one.times.push(counted.await.times);
            }
        }
    }
    println!("| hedging | p50 | p95 | p99 | p99 / p50 | requests of an export | sent twice |");
    println!("|---|---|---|---|---|---|---|");
    measured.sort_by_key(|one| one.is_hedging);
    for one in measured {
        one.print(arguments.exports);
    }
}

/// One server and its measurements.
struct Measured {
    is_hedging: bool,
    server: Server,
    clients: Vec<Client>,
    metrics: SocketAddr,
    /// The requests of the exports that are not counted.
    before: Requests,
    times: Vec<Times>,
}

impl Measured {
    async fn start(is_hedging: bool, bucket: &Bucket, arguments: &Arguments) -> Self {
        let proxy = LatencyProxy::start_with_tail(bucket.address, arguments.seed).expect("a proxy");
        let metrics = free_address();
        let flags =
            [format!("--s3-hedging={is_hedging}"), format!("--metrics-listen-addr={metrics}")];
        let server = Server::start_through(bucket, proxy.address, &flags);
        let mut clients = Vec::new();
        for _ in 0..arguments.callers {
            clients.push(server.client().await);
        }
        let (before, times) = (Requests::default(), Vec::new());
        Self { is_hedging, server, clients, metrics, before, times }
    }

    fn print(self, exports: usize) {
        let after = Requests::read(self.metrics);
        let (all, twice) = (after.all - self.before.all, after.twice - self.before.twice);
        let times = Times::merged(self.times);
        let at = |percent| times.percentile(percent);
        println!(
            "| {} | {} | {} | {} | {:.2} | {:.2} | {:.2} % |",
            if self.is_hedging { "on" } else { "off" },
            milliseconds(at(50)),
            milliseconds(at(95)),
            milliseconds(at(99)),
            at(99).as_secs_f64() / at(50).as_secs_f64(),
            all / exports as f64,
            100.0 * twice / (all - twice)
        );
    }
}

/// Requests to S3, from a server's metrics.
#[derive(Debug, Clone, Copy, Default)]
struct Requests {
    all: f64,
    /// The second ones of those that were sent twice.
    twice: f64,
}

impl Requests {
    fn read(metrics: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(metrics).expect("the metrics");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the metrics");
        let sum = |name: &str, matches: &dyn Fn(&str) -> bool| {
            let samples = text.lines().filter(|line| line.starts_with(name) && matches(line));
            let values = samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
            values.sum()
        };
        let is_sent = |line: &str| {
            ["won", "lost", "failed"]
                .iter()
                .any(|result| line.contains(&format!("result=\"{result}\"")))
        };
        Self {
            all: sum("tara_export_s3_requests_total{", &|_| true),
            twice: sum("tara_export_s3_hedges_total{", &is_sent),
        }
    }
}

/// An address that is free now.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address")
}

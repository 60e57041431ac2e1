//! Costs of listing and reading exports by catalogue size, and reports per second from memory:
//! `cargo bench --bench catalog`. Other sizes follow as arguments: `cargo bench --bench catalog --
//! 100 1000`. `local` measures local disks alone, `day` only an index whose bundles are all of one day.
//!
//! On disk, the index is that of a previous release. The first page is measured by a process that only reads, and all
//! pages again when the server has moved the index into shards.
//!
//! Server, clients and the in-memory S3 server share this process and this machine's loopback. Each
//! throughput measurement alternates with tonic's own unary echo of the same response, so that
//! other load on the machine affects both.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed benchmark ends")]

#[path = "../tests/harness/catalogue.rs"]
#[allow(dead_code, reason = "only the list tests use all of it")]
mod catalogue;
mod support;

use std::{
    env, fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args as _, Command, FromArgMatches as _};
use futures::{TryStreamExt as _, future::BoxFuture, future::try_join_all};
use tara_export::{
    config::{ListenSettings, Settings},
    export::Stores,
    server::{Access, RunningServer, Service},
};
use tara_export_client::{
    Client,
    proto::{
        GetReportRequest, GetReportResponse, ListExportsRequest, StartExportRequest,
        export_event::Event, export_service_client::ExportServiceClient, get_report_request::View,
    },
    session,
};
use tara_export_clock::SystemClock;
use tara_export_store::{Store, local::LocalStore};
use tara_export_test_support::{Operation, TestS3};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{Channel, Endpoint, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

use self::{catalogue::Committed, support::s3_store::store_of};

/// The default sizes of the catalogues, in bundles.
const SIZES: [u64; 3] = [100, 10_000, 1_000_000];
const PAGE_SIZE: i32 = 50;
/// Requests for each page; the median is printed.
const REPETITIONS: usize = 21;
/// Connections and concurrent calls of the throughput measurement.
const CONNECTIONS: usize = 4;
const CONCURRENT_CALLS: usize = 64;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
/// A folder's listing is cached after it has not changed for a second.
const SETTLE_TIME: Duration = Duration::from_millis(1_100);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        println!(
            "A page of {PAGE_SIZE} exports and a report, milliseconds (median of {REPETITIONS}):\n"
        );
        println!("| bundles | store | page | first time | LIST, GET | again | LIST, GET | after an export |");
        println!("|--:|---|---|--:|--:|--:|--:|--:|");
        // Cargo adds its own arguments.
        let mut sizes: Vec<u64> =
            env::args().filter_map(|argument| argument.parse().ok()).collect();
        if sizes.is_empty() {
            sizes.extend(SIZES);
        }
        let has = |name| env::args().any(|argument| argument == name);
        let (is_local, is_one_day) = (has("local"), has("day"));
        for size in sizes {
            if !is_local {
                in_s3(Catalogue::of_ten_minutes(size)).await;
            }
            if !is_one_day {
                on_disk(Catalogue::of_ten_minutes(size), "local disk").await;
            }
            on_disk(Catalogue::of_one_day(size), "local disk, one day").await;
        }
        if !is_local {
            throughput().await;
        }
    });
}

/// Bundles at regular intervals until now, so that a new export is beside the newest of them.
#[derive(Clone, Copy)]
struct Catalogue {
    size: u64,
    oldest: DateTime<Utc>,
    interval: TimeDelta,
}

impl Catalogue {
    fn new(size: u64, interval: TimeDelta) -> Self {
        let age = interval * i32::try_from(size).expect("a million");
        Self { size, oldest: Utc::now() - age, interval }
    }

    fn of_ten_minutes(size: u64) -> Self {
        Self::new(size, TimeDelta::minutes(10))
    }

    /// All within one day.
    fn of_one_day(size: u64) -> Self {
        let micros = 24 * 60 * 60 * 1_000_000 / size;
        Self::new(size, TimeDelta::microseconds(micros.try_into().expect("a day")))
    }

    /// The bundle of this number.
    fn bundle(self, number: u64) -> Committed {
        let time = self.oldest + self.interval * i32::try_from(number).expect("a million");
        Committed::new(number, time, "Ada")
    }
}

async fn in_s3(catalogue: Catalogue) {
    let s3 = TestS3::start().await;
    for number in 0..catalogue.size {
        let bundle = catalogue.bundle(number);
        for (key, content) in [bundle.index_entry(), bundle.manifest()] {
            s3.put_raw(format!("tara/{key}"), content);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_of(&s3);
    let mut server = Server::start(folder.path(), Some(store), Access::Write).await;
    pages(&mut server, catalogue, "S3 in memory", Some(&s3)).await;
    reports(&mut server, catalogue.size, "S3 in memory").await;
    server.running.shut_down().await;
}

/// Writes all index entries as a previous release does, but only the bundles that the lists read.
async fn on_disk(catalogue: Catalogue, store: &str) {
    let size = catalogue.size;
    let folder = tempfile::tempdir().expect("a folder");
    let write = |(key, content): (tara_export_store::ObjectKey, Vec<u8>)| {
        let path = folder.path().join(key.as_str());
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    };
    let read_count = PAGE_SIZE as u64 * 4;
    for number in 0..size {
        let bundle = catalogue.bundle(number);
        write(bundle.index_entry());
        let from_middle = number.abs_diff(size / 2);
        if number + read_count >= size || from_middle <= read_count || number <= read_count {
            write(bundle.manifest());
            write(bundle.record());
        }
    }
    let index = folder.path().join(".tara-export/index");
    unmoved(&folder, catalogue, store).await;
    let started = Instant::now();
    let mut server = Server::start(folder.path(), None, Access::Write).await;
    let ready = started.elapsed();
    while index.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let moved = started.elapsed();
    println!(
        "| {size} | {store} | ready, index moved after | {} | | {} | | |",
        milliseconds(ready),
        milliseconds(moved)
    );
    pages(&mut server, catalogue, store, None).await;
    reports(&mut server, size, store).await;
    server.running.shut_down().await;
}

/// Measures the first page of an index that no process moves.
async fn unmoved(folder: &TempDir, catalogue: Catalogue, store: &str) {
    tokio::time::sleep(SETTLE_TIME).await;
    let mut server = Server::start(folder.path(), None, Access::Read).await;
    let newest = catalogue.bundle(catalogue.size - 1);
    let filter = format!("accepted_time <= \"{}\"", newest.manifest.accepted_time);
    let first_time = server.page(&filter, &newest).await;
    let again = server.page(&filter, &newest).await;
    let foreign = folder.path().join(".tara-export/index/foreign");
    let mut after_change = Vec::new();
    for _ in 0..3 {
        fs::write(&foreign, "").expect("a file");
        fs::remove_file(&foreign).expect("a file");
        after_change.push(server.page(&filter, &newest).await);
    }
    println!(
        "| {} | {store}, not moved | first | {} | | {} | | {} |",
        catalogue.size,
        milliseconds(first_time),
        milliseconds(again),
        milliseconds(median(&mut after_change))
    );
    server.running.shut_down().await;
}

/// Measures the first page, one in the middle and the last, each selected by a filter.
async fn pages(server: &mut Server, catalogue: Catalogue, store: &str, s3: Option<&TestS3>) {
    let size = catalogue.size;
    let page = u64::try_from(PAGE_SIZE).expect("fifty");
    for (name, newest) in [("first", size - 1), ("middle", size / 2), ("last", page - 1)] {
        let newest = catalogue.bundle(newest);
        let filter = format!("accepted_time <= \"{}\"", newest.manifest.accepted_time);
        tokio::time::sleep(SETTLE_TIME).await;
        let (first_time, first_cost) = counted(s3, server.page(&filter, &newest)).await;
        let (_, again_cost) = counted(s3, server.page(&filter, &newest)).await;
        let mut again = Vec::new();
        for _ in 0..REPETITIONS {
            again.push(server.page(&filter, &newest).await);
        }
        let mut after_export = Vec::new();
        // Each export changes the index.
        for _ in 0..REPETITIONS.min(if size > 100_000 { 3 } else { REPETITIONS }) {
            server.export().await;
            after_export.push(server.page(&filter, &newest).await);
        }
        println!(
            "| {size} | {store} | {name} | {} | {first_cost} | {} | {again_cost} | {} |",
            milliseconds(first_time),
            milliseconds(median(&mut again)),
            milliseconds(median(&mut after_export))
        );
    }
}

/// The result of a call and the number of S3 requests that it needed.
async fn counted<T>(s3: Option<&TestS3>, call: impl Future<Output = T>) -> (T, String) {
    let Some(s3) = s3 else { return (call.await, String::new()) };
    s3.reset_requests();
    let response = call.await;
    let count = |operation| s3.requests_of(operation).len();
    let (lists, reads) = (count(Operation::ListObjectsV2), count(Operation::GetObject));
    let others = s3.requests().len() - lists - reads;
    assert_eq!(others, 0, "a page needs only lists and reads");
    (response, format!("{lists}, {reads}"))
}

async fn reports(server: &mut Server, size: u64, store: &str) {
    let name = server.export().await;
    let request = GetReportRequest { name, view: View::Json.into() };
    let first_time = server.report(&request).await;
    let mut again = Vec::new();
    for _ in 0..REPETITIONS {
        again.push(server.report(&request).await);
    }
    let again = milliseconds(median(&mut again));
    println!("| {size} | {store} | GetReport | {} | | {again} | | |", milliseconds(first_time));
}

/// Measures reports from memory and an echo of the same response, alternating.
async fn throughput() {
    let s3 = TestS3::start().await;
    let store = store_of(&s3);
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), Some(store), Access::Write).await;
    let name = server.export().await;
    println!(
        "\nUnary calls a second, {CONCURRENT_CALLS} concurrent over {CONNECTIONS} connections, {ROUNDS} alternating rounds:\n"
    );
    println!(
        "| view | response, bytes | tonic echo | GetReport | ratio | lowest and highest ratio |"
    );
    println!("|---|--:|--:|--:|--:|---|");
    for (view, title) in
        [(View::Json, "JSON"), (View::Text, "text"), (View::Structured, "structured")]
    {
        let request = GetReportRequest { name: name.clone(), view: view.into() };
        let response = server.client.get_report(request.clone()).await.expect("a report");
        let response = response.into_inner();
        let size_bytes = prost::Message::encoded_len(&response);
        let echo = start_echo(response).await;
        let (mut echoes, mut reports, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        // The first round is a warm-up.
        for round in 0..=ROUNDS {
            let echo = calls_per_second(echo, &request).await;
            let report = calls_per_second(server.address(), &request).await;
            if round > 0 {
                echoes.push(echo);
                reports.push(report);
                ratios.push(report / echo);
            }
        }
        for values in [&mut echoes, &mut reports, &mut ratios] {
            values.sort_by(f64::total_cmp);
        }
        println!(
            "| {title} | {size_bytes} | {:.0} | {:.0} | {:.2} | {:.2} – {:.2} |",
            echoes[ROUNDS / 2],
            reports[ROUNDS / 2],
            ratios[ROUNDS / 2],
            ratios[0],
            ratios[ROUNDS - 1]
        );
    }
    server.running.shut_down().await;
}

async fn calls_per_second(address: SocketAddr, request: &GetReportRequest) -> f64 {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(ExportServiceClient::new(connect(address).await));
    }
    let started = Instant::now();
    let callers = (0..CONCURRENT_CALLS).map(|caller| {
        let mut client = clients[caller % CONNECTIONS].clone();
        let request = request.clone();
        tokio::spawn(async move {
            let mut calls = 0_u32;
            while started.elapsed() < ROUND {
                client.get_report(request.clone()).await.expect("a report");
                calls += 1;
            }
            calls
        })
    });
    let calls: u32 = try_join_all(callers).await.expect("no panic").into_iter().sum();
    f64::from(calls) / started.elapsed().as_secs_f64()
}

/// Starts a plain tonic server that returns the same response to every call.
async fn start_echo(response: GetReportResponse) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(Echo(Arc::new(response)));
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

#[derive(Clone)]
struct Echo(Arc<GetReportResponse>);

impl NamedService for Echo {
    const NAME: &'static str = "tara.export.v1.ExportService";
}

impl UnaryService<GetReportRequest> for Echo {
    type Response = GetReportResponse;
    type Future = std::future::Ready<Result<Response<GetReportResponse>, Status>>;

    fn call(&mut self, _request: Request<GetReportRequest>) -> Self::Future {
        std::future::ready(Ok(Response::new(GetReportResponse::clone(&self.0))))
    }
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<GetReportResponse, GetReportRequest>::default();
            Ok(Grpc::new(codec).unary(echo, request).await)
        })
    }
}

/// The service with a store, and clients of it.
struct Server {
    running: RunningServer,
    client: ExportServiceClient<Channel>,
    exporter: Client,
    sample: StartExportRequest,
    exports: u32,
}

impl Server {
    async fn start(folder: &Path, s3: Option<Arc<dyn Store>>, access: Access) -> Self {
        let root: PathBuf = folder.to_owned();
        let local: Arc<dyn Store> = Arc::new(LocalStore::open(root.clone()).expect("a store"));
        let command =
            Settings::augment_args(Command::new("bench")).mut_args(|argument| argument.env(None));
        let data_dir = root.display().to_string();
        let matches = command.get_matches_from(["bench", "--data-dir", &data_dir]);
        let settings = Settings::from_arg_matches(&matches).expect("the defaults");
        let stores = Stores { s3, local };
        let service = Service::over(&settings, stores, access, Arc::new(SystemClock))
            .await
            .expect("a service");
        let listen = ListenSettings {
            bind_address: IpAddr::from([127, 0, 0, 1]),
            ..ListenSettings::embedded()
        };
        let running = RunningServer::start(service, &listen).await.expect("a port");
        let client = ExportServiceClient::new(connect(running.address()).await);
        let url = format!("http://{}", running.address());
        let exporter = Client::connect(&url).await.expect("a connection");
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sample-review");
        let sample = session::read(&sample).expect("the sample is readable").request;
        Self { running, client, exporter, sample, exports: 0 }
    }

    fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// Exports another bundle; returns its name.
    async fn export(&mut self) -> String {
        self.exports += 1;
        let mut request = self.sample.clone();
        if let Some(review) = &mut request.review {
            // The same name in the same second would measure the search for a free folder.
            review.document_name = format!("incident report {}.docx", self.exports);
        }
        let events: Vec<_> = self.exporter.export(request).try_collect().await.expect("an export");
        match events.into_iter().next_back().and_then(|event| event.event) {
            Some(Event::Completed(completed)) => completed.export.expect("an export").name,
            other => panic!("the export did not complete: {other:?}"),
        }
    }

    /// The time for the page with this newest bundle.
    async fn page(&mut self, filter: &str, newest: &Committed) -> Duration {
        let request = ListExportsRequest {
            page_size: PAGE_SIZE,
            filter: filter.to_owned(),
            ..ListExportsRequest::default()
        };
        let started = Instant::now();
        let page = self.client.list_exports(request).await.expect("a page").into_inner();
        let elapsed = started.elapsed();
        assert_eq!(page.exports.len(), 50);
        assert_eq!(page.exports[0].name, newest.name());
        elapsed
    }

    async fn report(&mut self, request: &GetReportRequest) -> Duration {
        let started = Instant::now();
        self.client.get_report(request.clone()).await.expect("a report");
        started.elapsed()
    }
}

async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect().await.expect("a connection")
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

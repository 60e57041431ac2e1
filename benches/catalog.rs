//! What it costs to list and to read exports as the catalogue grows, and how many reports a second
//! come from memory: `cargo bench --bench catalog`; other sizes than the usual ones come behind it, as
//! in `cargo bench --bench catalog -- 100 1000`.
//!
//! Server, clients and the S3 server in memory share this process and this machine's loopback. Each
//! measurement of throughput alternates with tonic's own unary echo of the very same answer, so that
//! what else the machine does meets both.

#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that can't go on ends")]

#[path = "../tests/harness/catalogue.rs"]
#[allow(dead_code, reason = "lists are tested with more of it")]
mod catalogue;

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
    client::{Client, session},
    clock::SystemClock,
    config::{ListenSettings, Settings},
    export::Stores,
    proto::{
        GetReportRequest, GetReportResponse, ListExportsRequest, StartExportRequest,
        export_event::Event, export_service_client::ExportServiceClient, get_report_request::View,
    },
    server::{Access, RunningServer, Service},
    store::{
        Store,
        local::LocalStore,
        s3::{S3Settings, S3Store, ServerSideEncryption},
    },
};
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

use self::catalogue::Committed;

/// Bundles of the catalogues, unless others are asked for.
const SIZES: [u64; 3] = [100, 10_000, 1_000_000];
const PAGE_SIZE: i32 = 50;
/// Times each page is asked for; the median is told.
const REPEATED: usize = 21;
/// Connections and calls at once of the throughput's measurement.
const CONNECTIONS: usize = 4;
const CALLS_AT_ONCE: usize = 64;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
/// A folder's listing is kept once it has not changed for a second.
const SETTLING: Duration = Duration::from_millis(1_100);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        println!(
            "A page of {PAGE_SIZE} exports and a report, milliseconds (median of {REPEATED}):\n"
        );
        println!("| bundles | store | page | first time | LIST, GET | again | LIST, GET | after an export |");
        println!("|--:|---|---|--:|--:|--:|--:|--:|");
        // Cargo adds arguments of its own.
        let mut sizes: Vec<u64> =
            env::args().filter_map(|argument| argument.parse().ok()).collect();
        if sizes.is_empty() {
            sizes.extend(SIZES);
        }
        for size in sizes {
            in_s3(size).await;
            on_disk(size).await;
        }
        throughput().await;
    });
}

/// The bundle of this number in a catalogue of hourly reviews.
fn bundle(number: u64) -> Committed {
    let oldest: DateTime<Utc> = "2000-01-01T00:00:00Z".parse().expect("a time");
    let minutes = i64::try_from(number).expect("a million") * 10;
    Committed::new(number, oldest + TimeDelta::minutes(minutes), "Ada")
}

async fn in_s3(size: u64) {
    let s3 = TestS3::start().await;
    for number in 0..size {
        let bundle = bundle(number);
        for (key, content) in [bundle.index_entry(), bundle.manifest()] {
            s3.put_raw(format!("tara/{key}"), content);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn Store> =
        Arc::new(S3Store::from_sdk_config(s3_settings(&s3), &s3.sdk_config()));
    let mut server = Server::start(folder, Some(store)).await;
    pages(&mut server, size, "S3 in memory", Some(&s3)).await;
    reports(&mut server, size, "S3 in memory").await;
    server.running.shut_down().await;
}

/// All index entries, and of the bundles those that are looked at: a list touches no other.
async fn on_disk(size: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |(key, content): (tara_export::store::ObjectKey, Vec<u8>)| {
        let path = folder.path().join(key.as_str());
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    };
    let looked_at = PAGE_SIZE as u64 * 4;
    for number in 0..size {
        let bundle = bundle(number);
        write(bundle.index_entry());
        let from_middle = number.abs_diff(size / 2);
        if number + looked_at >= size || from_middle <= looked_at || number <= looked_at {
            write(bundle.manifest());
            write(bundle.record());
        }
    }
    let mut server = Server::start(folder, None).await;
    pages(&mut server, size, "local disk", None).await;
    reports(&mut server, size, "local disk").await;
    server.running.shut_down().await;
}

/// The first page, one in the middle and the last, each by a filter.
async fn pages(server: &mut Server, size: u64, store: &str, s3: Option<&TestS3>) {
    let page = u64::try_from(PAGE_SIZE).expect("fifty");
    for (name, newest) in [("first", size - 1), ("middle", size / 2), ("last", page - 1)] {
        let filter = format!("accepted_time <= \"{}\"", bundle(newest).manifest.accepted_time);
        tokio::time::sleep(SETTLING).await;
        let (first_time, first_cost) = counted(s3, server.page(&filter, newest)).await;
        let (_, again_cost) = counted(s3, server.page(&filter, newest)).await;
        let mut again = Vec::new();
        for _ in 0..REPEATED {
            again.push(server.page(&filter, newest).await);
        }
        let mut after_export = Vec::new();
        // Each export changes the index.
        for _ in 0..REPEATED.min(if size > 100_000 { 3 } else { REPEATED }) {
            server.export().await;
            after_export.push(server.page(&filter, newest).await);
        }
        println!(
            "| {size} | {store} | {name} | {} | {first_cost} | {} | {again_cost} | {} |",
            milliseconds(first_time),
            milliseconds(median(&mut again)),
            milliseconds(median(&mut after_export))
        );
    }
}

/// What a call gives, and how many requests of S3 it took.
async fn counted<T>(s3: Option<&TestS3>, call: impl Future<Output = T>) -> (T, String) {
    let Some(s3) = s3 else { return (call.await, String::new()) };
    s3.reset_requests();
    let answer = call.await;
    let count = |operation| s3.requests_of(operation).len();
    let (lists, reads) = (count(Operation::ListObjectsV2), count(Operation::GetObject));
    let others = s3.requests().len() - lists - reads;
    assert_eq!(others, 0, "a page takes lists and reads only");
    (answer, format!("{lists}, {reads}"))
}

async fn reports(server: &mut Server, size: u64, store: &str) {
    let name = server.export().await;
    let request = GetReportRequest { name, view: View::Json.into() };
    let first_time = server.report(&request).await;
    let mut again = Vec::new();
    for _ in 0..REPEATED {
        again.push(server.report(&request).await);
    }
    let again = milliseconds(median(&mut again));
    println!("| {size} | {store} | GetReport | {} | | {again} | | |", milliseconds(first_time));
}

/// Reports from memory against an echo of the same answer, in turns.
async fn throughput() {
    let s3 = TestS3::start().await;
    let store: Arc<dyn Store> =
        Arc::new(S3Store::from_sdk_config(s3_settings(&s3), &s3.sdk_config()));
    let mut server = Server::start(tempfile::tempdir().expect("a folder"), Some(store)).await;
    let name = server.export().await;
    println!(
        "\nUnary calls a second, {CALLS_AT_ONCE} at once over {CONNECTIONS} connections, {ROUNDS} rounds in turns:\n"
    );
    println!(
        "| view | answer, bytes | tonic echo | GetReport | ratio | lowest and highest ratio |"
    );
    println!("|---|--:|--:|--:|--:|---|");
    for (view, title) in
        [(View::Json, "JSON"), (View::Text, "text"), (View::Structured, "structured")]
    {
        let request = GetReportRequest { name: name.clone(), view: view.into() };
        let answer = server.client.get_report(request.clone()).await.expect("a report");
        let answer = answer.into_inner();
        let size_bytes = prost::Message::encoded_len(&answer);
        let echo = start_echo(answer).await;
        let (mut echoes, mut reports, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        // The first round warms both up.
        for round in 0..=ROUNDS {
            let echo = calls_a_second(echo, &request).await;
            let report = calls_a_second(server.address(), &request).await;
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

async fn calls_a_second(address: SocketAddr, request: &GetReportRequest) -> f64 {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(ExportServiceClient::new(connect(address).await));
    }
    let started = Instant::now();
    let callers = (0..CALLS_AT_ONCE).map(|caller| {
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

/// A plain tonic server that answers every call alike.
async fn start_echo(answer: GetReportResponse) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(Echo(Arc::new(answer)));
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

/// The service over a store, and clients of it.
struct Server {
    running: RunningServer,
    client: ExportServiceClient<Channel>,
    exporter: Client,
    sample: StartExportRequest,
    exports: u32,
    _folder: TempDir,
}

impl Server {
    async fn start(folder: TempDir, s3: Option<Arc<dyn Store>>) -> Self {
        let root: PathBuf = folder.path().to_owned();
        let local: Arc<dyn Store> = Arc::new(LocalStore::open(root.clone()).expect("a store"));
        let command =
            Settings::augment_args(Command::new("bench")).mut_args(|argument| argument.env(None));
        let data_dir = root.display().to_string();
        let matches = command.get_matches_from(["bench", "--data-dir", &data_dir]);
        let settings = Settings::from_arg_matches(&matches).expect("the defaults");
        let stores = Stores { s3, local };
        let service = Service::over(&settings, stores, Access::Write, Arc::new(SystemClock))
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
        Self { running, client, exporter, sample, exports: 0, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// Makes one more bundle; its name.
    async fn export(&mut self) -> String {
        self.exports += 1;
        let mut request = self.sample.clone();
        if let Some(review) = &mut request.review {
            // One name in one second would measure the search for a free folder.
            review.document_name = format!("incident report {}.docx", self.exports);
        }
        let events: Vec<_> = self.exporter.export(request).try_collect().await.expect("an export");
        match events.into_iter().next_back().and_then(|event| event.event) {
            Some(Event::Completed(completed)) => completed.export.expect("an export").name,
            other => panic!("the export ended otherwise: {other:?}"),
        }
    }

    /// How long the page takes whose newest bundle has this number.
    async fn page(&mut self, filter: &str, newest: u64) -> Duration {
        let request = ListExportsRequest {
            page_size: PAGE_SIZE,
            filter: filter.to_owned(),
            ..ListExportsRequest::default()
        };
        let started = Instant::now();
        let page = self.client.list_exports(request).await.expect("a page").into_inner();
        let elapsed = started.elapsed();
        assert_eq!(page.exports.len(), 50);
        assert_eq!(page.exports[0].name, bundle(newest).name());
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

fn s3_settings(server: &TestS3) -> S3Settings {
    S3Settings {
        bucket: server.bucket().to_owned(),
        base_path: "tara/".to_owned(),
        region: Some(server.region().to_owned()),
        endpoint_url: Some(server.endpoint()),
        path_style: true,
        server_side_encryption: ServerSideEncryption::BucketDefault,
        expected_bucket_owner: None,
        object_lock: None,
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(5),
        operation_timeout: Duration::from_secs(60),
        concurrent_requests: 256,
        prices: Default::default(),
    }
}

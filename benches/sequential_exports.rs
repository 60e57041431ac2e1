//! Duration of one small export, from the call to `completed`, in sequence over one connection:
//! `cargo bench --bench sequential_exports`.
//!
//! The server, its client and the in-memory S3 server share this process and this machine's
//! loopback. With a latency added to every S3 request, the difference divided by the latency is the
//! number of round trips of an export.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed benchmark ends")]

mod support;

use std::{
    env,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args as _, Command, FromArgMatches as _};
use futures::TryStreamExt as _;
use support::s3_store::store_of;
use tara_export::{
    config::{ListenSettings, Settings},
    export::Stores,
    server::{Access, RunningServer, Service},
};
use tara_export_client::{
    Client,
    proto::{StartExportRequest, export_event::Event},
    session,
};
use tara_export_clock::SystemClock;
use tara_export_store::{Store, local::LocalStore};
use tara_export_test_support::TestS3;

const WARM_UP: usize = 20;
const EXPORTS: usize = 200;
/// A peer's delayed acknowledgement takes 40 ms: without TCP_NODELAY, exports wait for it.
const STALL: Duration = Duration::from_millis(40);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sample-review");
        let request = session::read(&sample).expect("the sample is readable").request;
        println!("{EXPORTS} sequential exports of the sample review (12 files and a manifest), milliseconds:\n");
        println!("| store | mean | median | p99 | largest | at 40 ms or more |");
        println!("|---|---|---|---|---|---|");
        measure("local disk", None, &request).await;
        measure("S3 server in memory", Some(Duration::ZERO), &request).await;
        measure("the same with 20 ms latency per request", Some(Duration::from_millis(20)), &request).await;
    });
}

async fn measure(name: &str, s3_latency: Option<Duration>, request: &StartExportRequest) {
    let folder = tempfile::tempdir().expect("a folder");
    let local: Arc<dyn Store> =
        Arc::new(LocalStore::open(folder.path().to_owned()).expect("a store"));
    let test_s3 = TestS3::start().await;
    let s3 = s3_latency.map(|latency| {
        test_s3.latency(latency);
        store_of(&test_s3)
    });
    let data_dir = folder.path().display().to_string();
    let command =
        Settings::augment_args(Command::new("bench")).mut_args(|argument| argument.env(None));
    let settings =
        Settings::from_arg_matches(&command.get_matches_from(["bench", "--data-dir", &data_dir]))
            .expect("the defaults");
    let service =
        Service::over(&settings, Stores { s3, local }, Access::Write, Arc::new(SystemClock))
            .await
            .expect("a service");
    let listen =
        ListenSettings { bind_address: IpAddr::from([127, 0, 0, 1]), ..ListenSettings::embedded() };
    let server = RunningServer::start(service, &listen).await.expect("a port");
    let client =
        Client::connect(&format!("http://{}", server.address())).await.expect("a connection");

    let mut times = Vec::with_capacity(EXPORTS);
    for number in 0..WARM_UP + EXPORTS {
        let mut request = request.clone();
        if let Some(review) = &mut request.review {
            // The same name in the same second would measure the search for a free folder.
            review.document_name = format!("incident report {number}.docx");
        }
        let started = Instant::now();
        let events: Vec<_> = client.export(request).try_collect().await.expect("an export");
        let elapsed = started.elapsed();
        let completed = matches!(
            events.last().and_then(|event| event.event.as_ref()),
            Some(Event::Completed(_))
        );
        assert!(completed, "the export did not complete");
        if number >= WARM_UP {
            times.push(elapsed);
        }
    }
    server.shut_down().await;

    times.sort();
    let stalls = times.iter().filter(|time| **time >= STALL).count();
    let mean = times.iter().sum::<Duration>() / u32::try_from(times.len()).expect("some hundred");
    let milliseconds = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1000.0);
    let at = |share: usize| milliseconds(times[(times.len() - 1) * share / 100]);
    println!(
        "| {name} | {} | {} | {} | {} | {stalls} |",
        milliseconds(mean),
        at(50),
        at(99),
        at(100)
    );
}

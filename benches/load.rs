//! How many small bundles a second, by how many callers export at once:
//! `.ci/real-s3 minio cargo bench --bench load`. Beside it, in turns, the same objects put by a bare loop
//! over the AWS SDK: what the store itself can take.

#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that can't go on ends")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser;
use futures::future::join_all;
use support::{bucket::Bucket, process, review, server::Server, statistics::Times};
use tara_export::{client::Client, digest::Sha256, proto::StartExportRequest};

#[derive(Debug, Parser)]
struct Arguments {
    /// How many callers export at once.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    exporters: Vec<usize>,
    /// Exports in each measurement, of all callers together.
    #[arg(long, default_value_t = 640)]
    exports: usize,
    /// Measurements of the service and of the bare loop, in turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(&arguments));
}

/// What one measurement gave.
struct Measured {
    exports_a_second: f64,
    times: Times,
    errors: usize,
    /// CPU of the service's process for each export.
    server_cpu: Duration,
    /// CPU of this process for each export.
    own_cpu: Duration,
}

async fn measure(arguments: &Arguments) {
    let bucket = Bucket::from_environment().await;
    let server = Server::start(bucket.address);
    let request = review::sample();
    let objects = Arc::new(BundleObjects::read(&bucket, &server.client().await, &request).await);
    println!(
        "\n{} exports of {} objects, {} KiB each, {} rounds in turns; times in milliseconds:\n",
        arguments.exports,
        objects.count(),
        objects.size_bytes() / 1024,
        arguments.rounds
    );
    println!("| callers | | exports a second | median | p90 | p99 | errors | CPU ms an export |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut run_number = 0;
    for exporters in arguments.exporters.iter().copied() {
        let mut clients = Vec::new();
        for _ in 0..exporters {
            clients.push(server.client().await);
        }
        let (mut own, mut bare) = (Vec::new(), Vec::new());
        // The first round warms connections up, and does not count.
        for round in 0..=arguments.rounds {
            run_number += 1;
            let exports = if round == 0 { exporters * 2 } else { arguments.exports };
            let measured = through_service(&server, &clients, &request, run_number, exports).await;
            let directly = directly(&bucket, &objects, exporters, run_number, exports).await;
            if round > 0 {
                own.push(measured);
                bare.push(directly);
            }
        }
        let own = middle(own);
        let bare = middle(bare);
        tell(exporters, "tara-export", &own);
        tell(exporters, "bare SDK loop", &bare);
        println!(
            "| {exporters} | ratio | {:.2} | | | | | |",
            own.exports_a_second / bare.exports_a_second
        );
    }
    println!("\nserver's peak memory: {} MiB", server.peak_memory_bytes() / 1024 / 1024);
}

fn tell(exporters: usize, name: &str, measured: &Measured) {
    let milliseconds =
        |percent| format!("{:.1}", measured.times.percentile(percent).as_secs_f64() * 1000.0);
    println!(
        "| {exporters} | {name} | {:.1} | {} | {} | {} | {} | server {:.1}, client {:.1} |",
        measured.exports_a_second,
        milliseconds(50),
        milliseconds(90),
        milliseconds(99),
        measured.errors,
        measured.server_cpu.as_secs_f64() * 1000.0,
        measured.own_cpu.as_secs_f64() * 1000.0,
    );
}

/// The measurement with the median throughput.
fn middle(mut measured: Vec<Measured>) -> Measured {
    measured.sort_by(|one, other| one.exports_a_second.total_cmp(&other.exports_a_second));
    let middle = measured.len() / 2;
    measured.swap_remove(middle)
}

/// Callers that each export one review after the other, until all are done together.
async fn through_service(
    server: &Server,
    clients: &[Client],
    request: &StartExportRequest,
    run_number: usize,
    exports: usize,
) -> Measured {
    let (next, cpu_before) = (Arc::new(AtomicUsize::new(0)), server.cpu());
    let callers = clients.iter().map(|client| {
        let (client, request, next) = (client.clone(), request.clone(), next.clone());
        async move {
            let (mut times, mut errors) = (Vec::new(), 0);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= exports {
                    return (times, errors);
                }
                let name = format!("load {run_number} {number}");
                match review::export(&client, review::named(&request, &name)).await {
                    Ok((_, time)) => times.push(time),
                    Err(error) => {
                        eprintln!("an export failed: {error}");
                        errors += 1;
                    }
                }
            }
        }
    });
    let mut measured = all(callers).await;
    measured.server_cpu =
        (server.cpu() - cpu_before) / u32::try_from(exports).expect("some thousand");
    measured
}

/// The same objects, in the same order, with nothing around them.
async fn directly(
    bucket: &Bucket,
    objects: &Arc<BundleObjects>,
    exporters: usize,
    run_number: usize,
    exports: usize,
) -> Measured {
    let next = Arc::new(AtomicUsize::new(0));
    let loops = (0..exporters).map(|_| {
        let (bucket, objects, next) = (bucket.clone(), objects.clone(), next.clone());
        async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= exports {
                    return (times, 0);
                }
                let started = Instant::now();
                objects.put(&bucket, &format!("bare/{run_number}/{number}/")).await;
                times.push(started.elapsed());
            }
        }
    });
    all(loops).await
}

/// Runs loops side by side, each a task of its own.
async fn all<F>(loops: impl Iterator<Item = F>) -> Measured
where
    F: Future<Output = (Vec<Duration>, usize)> + Send + 'static,
{
    let (started, cpu_before) = (Instant::now(), process::own_cpu());
    let tasks: Vec<_> = loops.map(tokio::spawn).collect();
    let (mut times, mut errors) = (Vec::new(), 0);
    for ended in join_all(tasks).await {
        let (more, failed) = ended.expect("no loop panics");
        times.extend(more);
        errors += failed;
    }
    let elapsed = started.elapsed();
    let done = u32::try_from(times.len()).expect("some thousand").max(1);
    Measured {
        exports_a_second: f64::from(done) / elapsed.as_secs_f64(),
        times: Times::new(times),
        errors,
        server_cpu: Duration::ZERO,
        own_cpu: (process::own_cpu() - cpu_before) / done,
    }
}

/// The objects that one export makes, by the round trip that they are put in.
struct BundleObjects {
    steps: [Vec<(String, Bytes)>; 3],
}

impl BundleObjects {
    /// Those of an export that is made for it.
    async fn read(bucket: &Bucket, client: &Client, request: &StartExportRequest) -> Self {
        bucket.clear().await;
        review::export(client, review::named(request, "first")).await.expect("an export");
        let mut steps = [const { Vec::new() }; 3];
        for key in bucket.keys("tara/").await {
            let step = if key.contains("/.tara-export/exports/") || key.contains("/folders/") {
                0
            } else if key.ends_with("/manifest.json") {
                2
            } else if key.contains("/.tara-export/probe/") {
                continue;
            } else {
                1
            };
            let content = bucket.read(&key).await;
            steps[step].push((key, content));
        }
        Self { steps }
    }

    fn count(&self) -> usize {
        self.steps.iter().map(Vec::len).sum()
    }

    fn size_bytes(&self) -> usize {
        self.steps.iter().flatten().map(|(_, content)| content.len()).sum()
    }

    /// Puts them below a prefix: each step side by side, one step after the other, with the look for a
    /// manifest in the first as the service does.
    async fn put(&self, bucket: &Bucket, prefix: &str) {
        let manifest = async {
            let request = bucket.client.head_object().bucket(&bucket.name);
            let _ = request.key(format!("{prefix}manifest.json")).send().await;
        };
        let [claim, artifacts, manifest_put] = &self.steps;
        let puts = |objects: &[(String, Bytes)]| {
            join_all(
                objects
                    .iter()
                    .map(|(key, content)| put(bucket, format!("{prefix}{key}"), content.clone()))
                    .collect::<Vec<_>>(),
            )
        };
        futures::join!(manifest, puts(claim));
        puts(artifacts).await;
        puts(manifest_put).await;
    }
}

async fn put(bucket: &Bucket, key: String, content: Bytes) {
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    let sha256 = BASE64.encode(Sha256::of(&content).as_bytes());
    let request = bucket.client.put_object().bucket(&bucket.name).key(key).if_none_match("*");
    let request = request.checksum_sha256(sha256).body(content.into());
    request.send().await.expect("the store takes it");
}

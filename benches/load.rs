//! Small bundles per second by number of concurrent callers: `.ci/real-s3 minio cargo bench --bench
//! load`. Alternating with it, a bare loop over the AWS SDK puts the same objects, which measures
//! the limit of the store.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed benchmark ends")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use clap::Parser;
use futures::future::join_all;
use support::{
    bucket::Bucket,
    load::{Measured, all, median_measurement, print_row, through_service},
    review,
    server::Server,
};
use tara_export_client::{Client, proto::StartExportRequest};
use tara_export_digest::Sha256;

#[derive(Debug, Parser)]
struct Arguments {
    /// Numbers of concurrent callers.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    exporters: Vec<usize>,
    /// Exports per measurement, of all callers together.
    #[arg(long, default_value_t = 640)]
    exports: usize,
    /// Alternating measurements of the service and of the bare loop.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure the service alone: it gets these cores, as taskset(1) takes them, and an S3 server in the memory of this
    /// program, which should run on the others.
    #[arg(long)]
    alone_on: Option<String>,
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
    let (bucket, server) = match &arguments.alone_on {
        Some(cores) => {
            let bucket = Bucket::in_memory().await;
            let server = Server::start_on(&bucket, cores);
            (bucket, server)
        }
        None => {
            let bucket = Bucket::from_environment().await;
            // Before the start: the server puts an object twice, to see whether the second put is refused.
            bucket.clear().await;
            let server = Server::start(bucket.address);
            (bucket, server)
        }
    };
    let request = review::sample();
    let objects = Arc::new(BundleObjects::read(&bucket, &server.client().await, &request).await);
    println!(
        "\n{} exports of {} objects, {} KiB each, {} alternating rounds; times in milliseconds:\n",
        arguments.exports,
        objects.count(),
        objects.size_bytes() / 1024,
        arguments.rounds
    );
    println!(
        "| callers | | exports per second | median | p90 | p99 | errors | CPU ms per export |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut run_number = 0;
    for exporters in arguments.exporters.iter().copied() {
        let mut clients = Vec::new();
        for _ in 0..exporters {
            clients.push(server.client().await);
        }
        let (mut own, mut bare) = (Vec::new(), Vec::new());
        // The first round is a warm-up and is not counted.
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
        let own = median_measurement(own);
        let bare = median_measurement(bare);
        print_row(exporters, "tara-export", &own);
        print_row(exporters, "bare SDK loop", &bare);
        println!(
            "| {exporters} | ratio | {:.2} | {:.2} | | {:.2} | | server {:.2} |",
            own.exports_per_second / bare.exports_per_second,
            own.times.ratio_to(&bare.times),
            own.times.percentile(99).as_secs_f64() / bare.times.percentile(99).as_secs_f64(),
            own.server_cpu.as_secs_f64() / bare.own_cpu.as_secs_f64(),
        );
    }
    println!("\nserver's peak memory: {} MiB", server.peak_memory_bytes() / 1024 / 1024);
}

/// Puts the same objects in the same order, without the service.
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

/// The objects of one export, by the step that puts them.
struct BundleObjects {
    steps: [Vec<(String, Bytes)>; 3],
}

impl BundleObjects {
    /// Exports a review and reads its objects.
    async fn read(bucket: &Bucket, client: &Client, request: &StartExportRequest) -> Self {
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

    /// Puts the objects below a prefix: the objects of a step concurrently, the steps in sequence,
    /// and the check for a manifest in the first step, like the service.
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
    request.send().await.expect("the store accepts the object");
}

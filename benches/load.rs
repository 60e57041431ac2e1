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
    time::Instant,
};

use bytes::Bytes;
use clap::Parser;
use futures::future::join_all;
use support::{
    bucket::Bucket,
    load::{Measured, all, middle, tell, through_service},
    review,
    server::Server,
};
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

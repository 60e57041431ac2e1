//! Duration of one small bundle, from the call to `completed`, compared with programs that copy the
//! same files to the same server: `.ci/real-s3 minio cargo bench --bench small_bundle`.
//!
//! The programs run in sequence, round after round, so that other load on the machine affects all
//! of them. The start of a program counts if it is started for each bundle, because a caller would
//! have to wait for it.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed benchmark ends")]

mod support;

use std::{path::Path, time::Duration};

use bytesize::ByteSize;
use clap::Parser;
use support::{
    bucket::Bucket,
    latency_proxy::LatencyProxy,
    peers::{self, Peer, Peers},
    review,
    server::Server,
    statistics::Times,
};
use tara_export_client::proto::StartExportRequest;

/// Runs of each program that are not counted.
const WARM_UP: usize = 3;

#[derive(Debug, Parser)]
struct Arguments {
    /// Runs of each program.
    #[arg(long, default_value_t = 15)]
    runs: usize,
    /// Round-trip times to the S3 server, in milliseconds.
    #[arg(long, value_delimiter = ',', default_value = "0,20")]
    round_trips: Vec<u64>,
    /// Size of each of the three documents. By default, all files have 250 KiB together.
    #[arg(long)]
    document_size: Option<ByteSize>,
    /// Measure only tara-export.
    #[arg(long)]
    alone: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let bucket = Bucket::from_environment().await;
        if !arguments.alone {
            peers::install();
        }
        for round_trip in &arguments.round_trips {
            measure(&arguments, &bucket, Duration::from_millis(*round_trip)).await;
            bucket.clear().await;
        }
    });
}

async fn measure(arguments: &Arguments, bucket: &Bucket, round_trip: Duration) {
    let address = match round_trip.is_zero() {
        true => bucket.address,
        false => LatencyProxy::start(bucket.address, round_trip).expect("a proxy").address,
    };
    let server = Server::start(address);
    let client = server.client().await;
    let request = match arguments.document_size {
        Some(size) => review::with_documents_of(size),
        None => review::quarter_mebibyte(),
    };
    let files = tempfile::tempdir().expect("a folder");
    let (count, size_bytes) = fetch_files(bucket, &client, &request, files.path()).await;
    println!(
        "\n{count} files, {} KiB, {} ms round-trip time, milliseconds of {} runs:\n",
        size_bytes / 1024,
        round_trip.as_millis(),
        arguments.runs
    );

    let peers = Peers::new(address);
    let mut boto3 = (!arguments.alone).then(|| peers.boto3(files.path()));
    // It has its own review.
    let mut python = (!arguments.alone && arguments.document_size.is_none())
        .then(|| peers.python_client(server.address()));
    let mut own = Vec::new();
    let mut others: Vec<(&str, Vec<Duration>)> = Vec::new();
    for run in 0..WARM_UP + arguments.runs {
        let request = review::named(&request, &format!("report {} {run}", round_trip.as_millis()));
        let (_, time) = review::export(&client, request).await.expect("an export");
        let mut round = Vec::new();
        if let Some(python) = &mut python {
            round.push(("tara-export, Python client", python.export("plain", &format!("p{run}"))));
            round.push(("tara-export, drop-in", python.export("dropin", &format!("d{run}"))));
        }
        if let Some(boto3) = &mut boto3 {
            round.push(("boto3, sequential", boto3.export("sequential", &format!("one/{run}/"))));
            round.push(("boto3, 16 threads", boto3.export("threads", &format!("threads/{run}/"))));
            for peer in Peer::ALL {
                let prefix = format!("{}/{run}/", peer.name());
                round.push((peer.name(), peers.copy_folder(peer, files.path(), &prefix).time));
            }
        }
        if run == 0 {
            check(bucket, &round, count).await;
        }
        if run >= WARM_UP {
            own.push(time);
            for (name, time) in round {
                match others.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, times)) => times.push(time),
                    None => others.push((name, vec![time])),
                }
            }
        }
    }

    let own = Times::new(own);
    println!("| | median (quartiles) | times tara-export |");
    println!("|---|---|---|");
    println!("| tara-export | {} | 1 |", own.in_milliseconds());
    for (name, times) in others {
        let times = Times::new(times);
        println!("| {name} | {} | {:.2} |", times.in_milliseconds(), times.ratio_to(&own));
    }
    if !round_trip.is_zero() {
        let rest = own.median().saturating_sub(round_trip * 3);
        println!("\nthree round trips and {:.1} ms", rest.as_secs_f64() * 1000.0);
    }
}

/// Downloads the files of one bundle for the other programs; returns their number and total size.
async fn fetch_files(
    bucket: &Bucket,
    client: &tara_export_client::Client,
    request: &StartExportRequest,
    folder: &Path,
) -> (usize, u64) {
    let (export, _) =
        review::export(client, review::named(request, "first")).await.expect("an export");
    let prefix = format!("tara/{}/", export.folder_name);
    bucket.download(&prefix, folder).await;
    let keys = bucket.keys(&prefix).await;
    let sizes = keys
        .iter()
        .map(|key| std::fs::metadata(folder.join(&key[prefix.len()..])).expect("a file").len());
    (keys.len(), sizes.sum())
}

/// Checks that every program has put every file.
async fn check(bucket: &Bucket, round: &[(&str, Duration)], count: usize) {
    if round.is_empty() {
        return;
    }
    for prefix in ["one", "threads"].into_iter().chain(Peer::ALL.map(Peer::name)) {
        let found = bucket.keys(&format!("{prefix}/0/")).await;
        assert_eq!(found.len(), count, "{prefix} put {found:?}");
    }
}

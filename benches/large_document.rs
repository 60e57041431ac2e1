//! One large document from a file through the service into a real server, compared with programs
//! that copy the file directly: `.ci/real-s3 minio cargo bench --bench large_document`. The
//! server's peak memory: `.ci/real-s3 minio cargo bench --bench large_document -- --peak-memory`.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed benchmark ends")]

mod support;

use std::{
    fs::{File, FileTimes},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use bytesize::ByteSize;
use clap::Parser;
use support::{
    bucket::Bucket,
    latency_proxy::LatencyProxy,
    peers::{self, Peer, Peers},
    process, review,
    server::Server,
    statistics::Times,
};
use tara_export_client::{Client, UploadedFile};
use tempfile::TempDir;

const GIB: u64 = 1024 * 1024 * 1024;

#[derive(Debug, Parser)]
struct Arguments {
    /// Runs of each program.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Size of the document.
    #[arg(long, default_value = "1GiB")]
    size: ByteSize,
    /// Measure only tara-export.
    #[arg(long)]
    alone: bool,
    /// Measure the server's memory instead; needs 10 GiB of disk.
    #[arg(long)]
    peak_memory: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let bucket = Bucket::from_environment().await;
        if arguments.peak_memory {
            measure_memory(&bucket).await;
        } else {
            if !arguments.alone {
                peers::install();
            }
            measure_time(&arguments, &bucket).await;
        }
    });
}

#[derive(Default)]
struct OwnTimes {
    upload: Vec<Duration>,
    export: Vec<Duration>,
    client_cpu: Vec<Duration>,
    server_cpu: Vec<Duration>,
}

async fn measure_time(arguments: &Arguments, bucket: &Bucket) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("document.bin");
    write_random(&file, arguments.size.as_u64());
    let server = Server::start(bucket.address);
    let client = server.client().await;
    let peers = Peers::new(bucket.address);
    let mut own = OwnTimes::default();
    let mut mc_copy = Vec::new();
    let mut others: Vec<Vec<peers::RunCost>> = vec![Vec::new(); Peer::ALL.len()];
    for run in 0..arguments.runs {
        run_own(&client, &server, &file, run, &mut own).await;
        bucket.clear().await;
        if arguments.alone {
            continue;
        }
        for (index, peer) in Peer::ALL.into_iter().enumerate() {
            let took = peers.copy_file(peer, &file, "document.bin");
            others[index].push(took);
            if peer == Peer::Mc {
                mc_copy.push(peers.copy_object("document.bin", "copy.bin").time);
            }
            bucket.clear().await;
        }
    }
    let gibibytes = arguments.size.as_u64() as f64 / GIB as f64;
    report(arguments, own, others, mc_copy, gibibytes);
    println!("server's peak memory: {} MiB", server.peak_memory_bytes() / 1024 / 1024);
    drop(server);
    count_bytes(bucket, &file, arguments.size).await;
}

/// Counts the bytes between the service and S3 for an export of a document that is already there.
async fn count_bytes(bucket: &Bucket, file: &Path, size: ByteSize) {
    let proxy = LatencyProxy::start(bucket.address, Duration::ZERO).expect("a proxy");
    let server = Server::start(proxy.address);
    let client = server.client().await;
    client.check_storage().await.expect("a check");
    let request = review::sample();
    let transferred_by = async |request| {
        let before = proxy.transferred_bytes();
        review::export(&client, request).await.expect("an export");
        proxy.transferred_bytes() - before
    };
    let without = transferred_by(review::named(&request, "without")).await;
    let uploaded = upload(&client, file).await;
    let large = review::with_upload(&request, &uploaded);
    let with = transferred_by(review::named(&large, "with")).await;
    println!(
        "between service and S3: {} KiB for an export without the document, {} KiB with {size} that are already in S3",
        without / 1024,
        with / 1024
    );
    bucket.clear().await;
}

async fn run_own(client: &Client, server: &Server, file: &Path, run: usize, own: &mut OwnTimes) {
    let (client_before, server_before) = (process::own_cpu(), server.cpu());
    let started = Instant::now();
    let uploaded = upload(client, file).await;
    own.upload.push(started.elapsed());
    own.client_cpu.push(process::own_cpu() - client_before);
    own.server_cpu.push(server.cpu() - server_before);
    let request = review::with_upload(&review::sample(), &uploaded);
    let request = review::named(&request, &format!("large {run}"));
    let (_, time) = review::export(client, request).await.expect("an export");
    own.export.push(time);
}

fn report(
    arguments: &Arguments,
    own: OwnTimes,
    others: Vec<Vec<peers::RunCost>>,
    mc_copy: Vec<Duration>,
    gibibytes: f64,
) {
    let both = own.upload.iter().zip(&own.export).map(|(upload, export)| *upload + *export);
    let both = Times::new(both.collect());
    let cpu = |times: Vec<Duration>| Times::new(times).median().as_secs_f64() / gibibytes;
    let (client_cpu, server_cpu) = (cpu(own.client_cpu), cpu(own.server_cpu));
    let (upload, export) = (Times::new(own.upload), Times::new(own.export));
    println!("\n{} in one document, seconds of {} runs:\n", arguments.size, arguments.runs);
    println!("| | median (quartiles) | times tara-export | CPU seconds a GiB |");
    println!("|---|---|---|---|");
    println!(
        "| upload by tara-export | {} | 1 | client {client_cpu:.2}, server {server_cpu:.2} |",
        upload.in_seconds()
    );
    let mut fastest: Option<(&str, Times)> = None;
    let mut mc = None;
    for (peer, runs) in Peer::ALL.into_iter().zip(others) {
        if runs.is_empty() {
            continue;
        }
        let cpu = Times::new(runs.iter().map(|run| run.cpu).collect()).median().as_secs_f64();
        let times = Times::new(runs.iter().map(|run| run.time).collect());
        let ratio = times.ratio_to(&upload);
        let cpu = cpu / gibibytes;
        println!("| {} | {} | {ratio:.2} | {cpu:.2} |", peer.name(), times.in_seconds());
        if peer == Peer::Mc {
            mc = Some(runs);
        }
        if fastest.as_ref().is_none_or(|(_, fastest)| times.median() < fastest.median()) {
            fastest = Some((peer.name(), times));
        }
    }
    println!("\n| | median (quartiles) |");
    println!("|---|---|");
    println!("| export of the uploaded document | {} |", export.in_seconds());
    println!("| upload and export | {} |", both.in_seconds());
    if let (Some(mc), Some((fastest, times))) = (mc, fastest) {
        let sums = mc.iter().zip(&mc_copy).map(|(run, copy)| run.time + *copy);
        let sums = Times::new(sums.collect());
        let copy = Times::new(mc_copy);
        println!("| mc cp inside the bucket | {} |", copy.in_seconds());
        println!("| mc cp, and mc cp inside the bucket | {} |", sums.in_seconds());
        println!(
            "\nupload: {:.2} times the fastest, {fastest}; export: {:.2} times mc's copy; both: {:.2} times upload and mc's copy",
            upload.ratio_to(&times),
            export.ratio_to(&copy),
            both.median().as_secs_f64() / (upload.median() + copy.median()).as_secs_f64(),
        );
    }
}

/// Measures the server's peak memory for several loads, each in a new process.
async fn measure_memory(bucket: &Bucket) {
    println!("\n| | server's peak memory, MiB |");
    println!("|---|---|");
    let server = Server::start(bucket.address);
    let client = server.client().await;
    client.check_storage().await.expect("a check");
    print_memory("started and checked", &server);
    for (name, count, size_bytes) in [
        ("one document of 1 GiB, uploaded and exported", 1, GIB),
        ("one document of 5 GiB, uploaded and exported", 1, 5 * GIB),
        ("8 documents of 512 MiB at once, uploaded and exported", 8, GIB / 2),
        ("16 documents of 256 MiB at once, uploaded and exported", 16, GIB / 4),
    ] {
        let server = Server::start(bucket.address);
        let (_folder, files) = sparse_files(count, size_bytes);
        let exports = files.iter().enumerate().map(|(number, file)| {
            let server = &server;
            async move {
                let client = server.client().await;
                let uploaded = upload(&client, file).await;
                let request = review::with_upload(&review::sample(), &uploaded);
                let request = review::named(&request, &format!("large {number}"));
                review::export(&client, request).await.expect("an export");
            }
        });
        futures::future::join_all(exports).await;
        print_memory(name, &server);
        bucket.clear().await;
    }
}

fn print_memory(name: &str, server: &Server) {
    println!("| {name} | {} |", server.peak_memory_bytes() / 1024 / 1024);
}

/// Uploads a file. An unchanged file would reuse the existing upload, so its modification time is
/// set.
async fn upload(client: &Client, file: &Path) -> UploadedFile {
    let now = FileTimes::new().set_modified(SystemTime::now());
    let opened = File::options().write(true).open(file).expect("the file");
    opened.set_times(now).expect("its time can be set");
    client.upload_file(file, |_| {}).await.expect("an upload")
}

/// Writes incompressible bytes (xorshift; Marsaglia 2003).
fn write_random(file: &Path, size_bytes: u64) {
    let mut writer = BufWriter::new(File::create(file).expect("a file"));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..size_bytes.div_ceil(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        writer.write_all(&state.to_le_bytes()).expect("free disk space");
    }
    writer.flush().expect("free disk space");
}

/// Sparse files, each with different content.
fn sparse_files(count: u64, size_bytes: u64) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = (0..count).map(|number| {
        let path = folder.path().join(format!("document-{number}.bin"));
        let mut file = File::create(&path).expect("a file");
        file.write_all(&number.to_le_bytes()).expect("free disk space");
        file.set_len(size_bytes).expect("a sparse file");
        path
    });
    let files = files.collect();
    (folder, files)
}

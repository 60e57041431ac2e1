//! Concurrent callers and their measurements.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use tara_export_client::{Client, proto::StartExportRequest};

use super::{process, review, server::Server, statistics::Times};

/// The result of one measurement.
pub(crate) struct Measured {
    pub(crate) exports_per_second: f64,
    pub(crate) times: Times,
    pub(crate) errors: usize,
    /// CPU time of the service's process per export.
    pub(crate) server_cpu: Duration,
    /// CPU time of this process per export.
    pub(crate) own_cpu: Duration,
}

pub(crate) fn print_row(exporters: usize, name: &str, measured: &Measured) {
    let milliseconds =
        |percent| format!("{:.1}", measured.times.percentile(percent).as_secs_f64() * 1000.0);
    println!(
        "| {exporters} | {name} | {:.1} | {} | {} | {} | {} | server {:.1}, client {:.1} |",
        measured.exports_per_second,
        milliseconds(50),
        milliseconds(90),
        milliseconds(99),
        measured.errors,
        measured.server_cpu.as_secs_f64() * 1000.0,
        measured.own_cpu.as_secs_f64() * 1000.0,
    );
}

/// The measurement with the median throughput.
pub(crate) fn median_measurement(mut measured: Vec<Measured>) -> Measured {
    measured.sort_by(|one, other| one.exports_per_second.total_cmp(&other.exports_per_second));
    let middle = measured.len() / 2;
    measured.swap_remove(middle)
}

/// Runs callers that each export in sequence until all exports are done.
pub(crate) async fn through_service(
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

/// Runs loops concurrently, each in its own task.
pub(crate) async fn all<F>(loops: impl Iterator<Item = F>) -> Measured
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
        exports_per_second: f64::from(done) / elapsed.as_secs_f64(),
        times: Times::new(times),
        errors,
        server_cpu: Duration::ZERO,
        own_cpu: (process::own_cpu() - cpu_before) / done,
    }
}

//! Delay of notifications, a backlog after a receiver's outage, and what notifications cost an export: `cargo bench
//! --bench notifications`.
//!
//! Servers, clients, receivers and an S3 server in memory share this process. Events at a fixed rate are written by the
//! call with which the engine writes them (`Outbox::settle`): two cores cannot run 100 exports a second.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed benchmark ends")]

mod support;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use clap::Parser;
use futures::future::join_all;
use support::{
    in_process::InProcess,
    review,
    statistics::{Times, milliseconds},
    webhook_receiver::{Arrival, WebhookReceiver},
};
use tara_export_digest::Sha256;
use tara_export_disk::counts::SyncCounter;
use tara_export_events::{EventType, Outbox, testing::sample};
use tara_export_test_support::Operation;
use tokio::{task::JoinHandle, time};

/// Threads that write a backlog.
const WRITERS: u32 = 8;
/// Callers of the exports that run as fast as possible.
const CALLERS: usize = 8;
/// Pairs of exports that are not counted.
const WARM_UP: usize = 20;
/// Pause after each export of a pair, for the work that follows `completed`.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug, Parser)]
struct Arguments {
    /// Events or exports per second.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Duration of each measurement of delays, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Events that wait for the receiver that is down.
    #[arg(long, default_value_t = 10_000)]
    backlog: u32,
    /// Duration of its outage, in seconds. After 120, it is tried every 30 seconds.
    #[arg(long, default_value_t = 130)]
    outage: u64,
    /// Pairs of exports, with and without notifications.
    #[arg(long, default_value_t = 2_000)]
    pairs: usize,
    /// Only these parts.
    #[arg(long, value_delimiter = ',', default_value = "delay,backlog,cost")]
    parts: Vec<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for part in &arguments.parts {
            match part.as_str() {
                "delay" => measure_delay(&arguments).await,
                "backlog" => measure_backlog(&arguments).await,
                "cost" => measure_cost(&arguments).await,
                _ => panic!("{part} is none of delay, backlog and cost"),
            }
        }
    });
}

/// From the event to the receiver's request.
async fn measure_delay(arguments: &Arguments) {
    println!("\nfrom the event to the request, milliseconds:\n");
    println!("| | events | per second | median | p99 | largest |");
    println!("|---|--:|--:|--:|--:|--:|");
    let receiver = WebhookReceiver::start().await;
    let server = InProcess::start(&[receiver.target("hook", &["committed"])]).await;
    let facts = Facts::new(server.notifications().outbox());
    let count = arguments.rate * arguments.seconds;
    facts.write_at_rate(EventType::Committed, count, arguments.rate).await;
    print_delays("events of the outbox", &receiver.take(count as usize).await);

    let count = exports_for(&server, Duration::from_secs(arguments.seconds.into())).await;
    print_delays(
        &format!("exports, {CALLERS} callers, as many as possible"),
        &receiver.take(count).await,
    );
    server.shut_down().await;
}

fn print_delays(name: &str, arrivals: &[Arrival]) {
    let (first, last) = span(arrivals);
    let rate = arrivals.len() as f64 / (last - first).as_seconds_f64();
    let delays = Times::new(arrivals.iter().map(|arrival| arrival.delay).collect());
    println!(
        "| {name} | {} | {rate:.0} | {} | {} | {} |",
        arrivals.len(),
        milliseconds(delays.median()),
        milliseconds(delays.percentile(99)),
        milliseconds(delays.percentile(100)),
    );
}

fn span(arrivals: &[Arrival]) -> (DateTime<Utc>, DateTime<Utc>) {
    let times = || arrivals.iter().map(|arrival| arrival.time);
    (times().min().expect("an event"), times().max().expect("an event"))
}

/// Exports for that long, as fast as possible. Returns the number of exports.
async fn exports_for(server: &InProcess, duration: Duration) -> usize {
    let (request, end) = (review::sample(), Instant::now() + duration);
    let next = AtomicUsize::new(0);
    let callers = (0..CALLERS).map(|_| async {
        while Instant::now() < end {
            let name = format!("report {}", next.fetch_add(1, Ordering::Relaxed));
            review::export(&server.client, review::named(&request, &name))
                .await
                .expect("an export");
        }
    });
    join_all(callers).await;
    next.into_inner()
}

/// A receiver returns after an outage, while another one gets events.
async fn measure_backlog(arguments: &Arguments) {
    let (failing, healthy) = (WebhookReceiver::start().await, WebhookReceiver::start().await);
    failing.set_down(true);
    let targets =
        [failing.target("failing", &["failed"]), healthy.target("healthy", &["committed"])];
    let server = InProcess::start(&targets).await;
    let facts = Facts::new(server.notifications().outbox());
    let outage = Instant::now();
    facts.write_backlog(EventType::Failed, arguments.backlog).await;
    println!(
        "\n{} events for a receiver that is down, written in {:.1} s; another receiver gets {} events a second:\n",
        arguments.backlog,
        outage.elapsed().as_secs_f64(),
        arguments.rate
    );

    let healthy_load = facts.start_load(EventType::Committed, arguments.rate);
    let second = arguments.rate as usize;
    // Those that waited while the backlog was written.
    healthy.take(5 * second).await;
    let before = healthy.take(arguments.seconds as usize * second).await;
    time::sleep_until((outage + Duration::from_secs(arguments.outage)).into()).await;
    // The longest wait: it returns right after it was tried.
    failing.until_refused().await;
    failing.set_down(false);
    let returned = Utc::now();
    let arrivals = failing.take(arguments.backlog as usize).await;
    healthy_load.stop().await;
    let (first, last) = span(&arrivals);
    let during = healthy.take(1).await;
    let during: Vec<Arrival> = during
        .into_iter()
        .filter(|arrival| arrival.time >= first && arrival.time <= last)
        .collect();
    let distinct: HashSet<&String> = arrivals.iter().map(|arrival| &arrival.event_id).collect();
    println!("| | seconds after its return |");
    println!("|---|--:|");
    let seconds = |time: DateTime<Utc>| (time - returned).as_seconds_f64();
    println!("| first delivery | {:.1} |", seconds(first));
    println!("| last delivery | {:.1} |", seconds(last));
    println!("\nreceived: {} requests, {} events\n", arrivals.len(), distinct.len());
    println!("| the other receiver | events | per second | median | p99 | largest |");
    println!("|---|--:|--:|--:|--:|--:|");
    print_delays("during the outage", &before);
    print_delays("between first and last delivery", &during);
    server.shut_down().await;
}

/// What notifications cost an export.
async fn measure_cost(arguments: &Arguments) {
    let receiver = WebhookReceiver::start().await;
    let off = InProcess::start(&[]).await;
    let on = InProcess::start(&[receiver.target("hook", &["committed"])]).await;
    let request = review::sample();
    let (mut times_off, mut times_on) = (Vec::new(), Vec::new());
    let (mut writes_off, mut writes_on) = (Writes::new(&off), Writes::new(&on));
    for pair in 0..WARM_UP + arguments.pairs {
        if pair == WARM_UP {
            (writes_off, writes_on) = (Writes::new(&off), Writes::new(&on));
        }
        let request = review::named(&request, &format!("report {pair}"));
        for is_on in if pair % 2 == 0 { [true, false] } else { [false, true] } {
            let (server, times) = if is_on { (&on, &mut times_on) } else { (&off, &mut times_off) };
            let (_, elapsed) =
                review::export(&server.client, request.clone()).await.expect("an export");
            if is_on {
                receiver.take(1).await;
            }
            time::sleep(PAUSE).await;
            if pair >= WARM_UP {
                times.push(elapsed);
            }
        }
    }
    let count = arguments.pairs as f64;
    let ratios = Times::new(times_on.clone()).ratio_to(&Times::new(times_off.clone()));
    println!("\n{} pairs of exports, milliseconds to `completed`:\n", arguments.pairs);
    println!("| notifications | median (quartiles) | p99 | PUT | fsyncs of files | of folders |");
    println!("|---|---|--:|--:|--:|--:|");
    for (name, times, writes) in [("off", times_off, writes_off), ("on", times_on, writes_on)] {
        let times = Times::new(times);
        let (puts, files, directories) = writes.so_far();
        let per_export = |number: usize| format!("{:.2}", number as f64 / count);
        println!(
            "| {name} | {} | {} | {} | {} | {} |",
            times.in_milliseconds(),
            milliseconds(times.percentile(99)),
            per_export(puts),
            per_export(files as usize),
            per_export(directories as usize),
        );
    }
    println!("\nratio of the medians: {ratios:.3}");
    off.shut_down().await;
    on.shut_down().await;
}

/// Counts what a server writes.
struct Writes<'a> {
    server: &'a InProcess,
    syncs: SyncCounter,
}

impl<'a> Writes<'a> {
    fn new(server: &'a InProcess) -> Self {
        server.s3.reset_requests();
        Self { server, syncs: SyncCounter::below(server.folder()) }
    }

    /// PUT requests, and fsyncs of files and folders.
    fn so_far(&self) -> (usize, u32, u32) {
        let (files, directories) = self.syncs.files_and_directories();
        (self.server.s3.requests_of(Operation::PutObject).len(), files, directories)
    }
}

/// Writes events as the engine does.
#[derive(Clone)]
struct Facts {
    outbox: Outbox,
    next: Arc<AtomicU32>,
}

/// Events at a fixed rate until it is stopped.
struct Load {
    is_stopping: Arc<AtomicBool>,
    running: JoinHandle<()>,
}

impl Load {
    async fn stop(self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.running.await.expect("the load does not panic");
    }
}

impl Facts {
    fn new(outbox: Outbox) -> Self {
        Self { outbox, next: Arc::new(AtomicU32::new(1)) }
    }

    /// Writes one event. Blocks the thread.
    fn write(&self, event_type: EventType) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let digest = Sha256::of(&number.to_le_bytes());
        let mut event = sample(event_type, number);
        event.content_digest = Some(digest);
        event.time = Utc::now();
        self.outbox.settle(digest, &event).expect("the disk works");
    }

    async fn write_at_rate(&self, event_type: EventType, count: u32, rate: u32) {
        let mut interval = time::interval(Duration::from_secs(1) / rate);
        let mut writing = Vec::new();
        for _ in 0..count {
            interval.tick().await;
            let facts = self.clone();
            writing.push(tokio::task::spawn_blocking(move || facts.write(event_type)));
        }
        for written in join_all(writing).await {
            written.expect("the disk works");
        }
    }

    fn start_load(&self, event_type: EventType, rate: u32) -> Load {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (facts, stopping) = (self.clone(), is_stopping.clone());
        let running = tokio::spawn(async move {
            while !stopping.load(Ordering::Relaxed) {
                facts.write_at_rate(event_type, rate, rate).await;
            }
        });
        Load { is_stopping, running }
    }

    async fn write_backlog(&self, event_type: EventType, count: u32) {
        let writers = (0..WRITERS).map(|_| {
            let facts = self.clone();
            tokio::task::spawn_blocking(move || {
                for _ in 0..count / WRITERS {
                    facts.write(event_type);
                }
            })
        });
        for written in join_all(writers.collect::<Vec<_>>()).await {
            written.expect("the disk works");
        }
    }
}

//! Plays a script with S3, one or two replicas, their callers and a watcher that checks the invariants.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use futures::future::join_all;
use tara_export_client::proto::{
    Completed, Destination, Export, StartExportRequest, export::State, export_event::Event,
};
use tara_export_test_support::TestS3;
use tokio::{task::JoinHandle, time::timeout};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    invariants::Invariants,
    script::{Content, Script, Step},
};
use crate::{
    harness::{
        Client, Host, TestServer,
        in_s3::store_with_read_timeout,
        waiting::{status, until_journal_is_empty},
        within,
    },
    requests::request,
};

const FLAGS: [&str; 5] = [
    "--s3-retry-budget=600ms",
    "--s3-outage-pause=10ms",
    "--shutdown-timeout=0s",
    "--accept-timeout=50ms",
    "--max-concurrent-exports=8",
];
const STORE_JOURNAL_FLAGS: [&str; 4] = [
    "--s3-bucket-name=test-bucket",
    "--journal=store",
    "--takeover-interval=100ms",
    "--takeover-age=0ms",
];
const READ_TIMEOUT: Duration = Duration::from_millis(200);
/// The pause between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How long the cleanup after the last commit may take before a restart finishes it. A value that is too
/// short fails no test.
const CLEANUP_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long all exports may take to finish after the final repair. Longer than the pauses between four
/// attempts at one export.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);

/// A busy machine can exceed the retry budget above in every attempt. The next process has a budget that
/// is long enough.
const LONG_BUDGET: [&str; 1] = ["--s3-retry-budget=60s"];
const LONG_SETTLE_TIMEOUT: Duration = Duration::from_secs(300);

/// One request and its outcome.
#[derive(Debug, Clone)]
pub(crate) struct SentRequest {
    pub(crate) replica: usize,
    pub(crate) content: Content,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No response, or one that leaves open whether the export was accepted.
    Unknown,
    Refused,
    Accepted,
}

/// All requests with their outcomes, in the order of sending.
#[derive(Debug, Default)]
pub(crate) struct SentRequests(Mutex<Vec<SentRequest>>);

impl SentRequests {
    fn add(&self, replica: usize, content: Content) -> usize {
        let mut all = self.0.lock().unwrap();
        all.push(SentRequest { replica, content, outcome: Outcome::Unknown });
        all.len() - 1
    }

    fn set_outcome(&self, number: usize, outcome: Outcome) {
        self.0.lock().unwrap()[number].outcome = outcome;
    }

    pub(crate) fn all(&self) -> Vec<SentRequest> {
        self.0.lock().unwrap().clone()
    }
}

/// Plays a script to its end. Checks the invariants throughout and at the end.
pub(crate) async fn play(script: Script) {
    let s3 = Arc::new(TestS3::start().await);
    let more: &[&str] = if script.keeps_journal_in_store { &STORE_JOURNAL_FLAGS } else { &[] };
    let new_host =
        || Host::with_s3(store_with_read_timeout(&s3, READ_TIMEOUT)).flags(&FLAGS).flags(more);
    let hosts: Arc<Vec<Host>> = Arc::new((0..script.replicas).map(|_| new_host()).collect());
    // Clocks of different machines differ by microseconds.
    for (number, host) in hosts.iter().enumerate() {
        host.clock.advance(TimeDelta::microseconds(number as i64 * 137));
    }
    let sent = Arc::new(SentRequests::default());
    let mut servers = Vec::new();
    for host in hosts.iter() {
        servers.push(host.start().await);
    }
    let invariants = Arc::new(Invariants::new(s3.clone(), hosts.clone(), sent.clone()));
    let watcher = tokio::spawn(watch(invariants.clone()));
    let mut callers: Vec<JoinHandle<()>> = Vec::new();
    for step in script.steps {
        match step {
            Step::Send { replica, content } => {
                let number = sent.add(replica, content.clone());
                let (client, sent, invariants) =
                    (servers[replica].client.clone(), sent.clone(), invariants.clone());
                callers.push(tokio::spawn(call(client, sent, number, content, invariants)));
            }
            Step::Fail(rule) => drop(s3.fail(rule)),
            Step::Latency(latency) => s3.latency(latency),
            Step::SkewMinutes(minutes) => s3.clock_skew(TimeDelta::minutes(minutes)),
            Step::Repair => repair(&s3),
            Step::Restart(replica) => restart(&hosts, &mut servers, replica, &[]).await,
            Step::Wait(time) => tokio::time::sleep(time).await,
        }
        invariants.check_counts(&servers).await;
        hosts.iter().for_each(|host| host.clock.advance(TimeDelta::milliseconds(400)));
    }
    repair(&s3);
    if script.restarts_at_end {
        restart_all(&hosts, &mut servers, &[]).await;
    }
    settle(&hosts, &mut servers).await;
    // Callers that are still subscribed receive the final event at once.
    for caller in callers {
        within("the end of a caller", caller).await.unwrap();
    }
    // Wait again for exports that were accepted only now.
    settle(&hosts, &mut servers).await;
    // If only the cleanup after a commit failed, the next start finishes it.
    let cleaned_up = async { join_all(hosts.iter().map(until_journal_is_empty)).await };
    if timeout(CLEANUP_TIMEOUT, cleaned_up).await.is_err() {
        restart_all(&hosts, &mut servers, &LONG_BUDGET).await;
        until_settled(&servers, LONG_SETTLE_TIMEOUT).await.expect("all exports finish");
        join_all(hosts.iter().map(until_journal_is_empty)).await;
    }
    watcher.abort();
    match watcher.await {
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        _ => {}
    }
    invariants.check_at_end(&mut servers).await;
    for server in servers {
        server.stop().await;
    }
}

fn repair(s3: &TestS3) {
    s3.clear_faults();
    s3.latency(Duration::ZERO);
    s3.clock_skew(TimeDelta::zero());
}

async fn restart(hosts: &[Host], servers: &mut Vec<TestServer>, replica: usize, flags: &[&str]) {
    let last = servers.len() - 1;
    servers.swap(replica, last);
    servers.pop().unwrap().stop().await;
    servers.push(hosts[replica].start_with(flags).await);
    servers.swap(replica, last);
}

async fn restart_all(hosts: &[Host], servers: &mut Vec<TestServer>, flags: &[&str]) {
    for replica in 0..servers.len() {
        restart(hosts, servers, replica, flags).await;
    }
}

/// Waits until all exports are finished.
async fn settle(hosts: &[Host], servers: &mut Vec<TestServer>) {
    if until_settled(servers, SETTLE_TIMEOUT).await.is_err() {
        restart_all(hosts, servers, &LONG_BUDGET).await;
        let settled = until_settled(servers, LONG_SETTLE_TIMEOUT).await;
        settled.expect("all exports finish");
    }
}

/// Waits until all exports are finished. Returns the status of a server that has not finished in time.
async fn until_settled(
    servers: &[TestServer],
    limit: Duration,
) -> Result<(), tara_export::export::Status> {
    for server in servers {
        let settled = async {
            loop {
                let counts = status(server).await.counts;
                if counts.running + counts.pending + counts.fell_back == 0 {
                    return;
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        if timeout(limit, settled).await.is_err() {
            return Err(status(server).await);
        }
    }
    Ok(())
}

async fn watch(invariants: Arc<Invariants>) {
    loop {
        invariants.check_always();
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

pub(crate) fn message(content: &Content) -> StartExportRequest {
    let mut message = request(content.id, content.document_name);
    message.review.as_mut().unwrap().session_id = content.label();
    message.set_destination(content.destination);
    message.set_fallback(content.fallback);
    message
}

/// Sends a request and follows its events until the stream ends.
async fn call(
    mut client: Client,
    sent: Arc<SentRequests>,
    number: usize,
    content: Content,
    invariants: Arc<Invariants>,
) {
    let started = within("the StartExport response", client.start_export(message(&content))).await;
    let mut stream = match started {
        Ok(response) => response.into_inner(),
        Err(status) => return sent.set_outcome(number, outcome_of(&status)),
    };
    while let Ok(Some(event)) = within("the next event", stream.message()).await {
        match event.event {
            Some(Event::Accepted(_)) => sent.set_outcome(number, Outcome::Accepted),
            Some(Event::Completed(Completed { export: Some(export) })) => {
                check_completed(&invariants, number, &export)
            }
            Some(Event::Failed(_)) => invariants.check_reported_failure(number),
            _ => {}
        }
    }
}

fn check_completed(invariants: &Invariants, number: usize, export: &Export) {
    if (export.state(), export.stored_in()) == (State::Committed, Destination::S3) {
        invariants.check_reported_commit(number, export);
    }
}

/// After a lost connection or a shutdown the outcome is unknown: the next process may find the request in
/// the journal.
fn outcome_of(status: &Status) -> Outcome {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match (status.code(), reason.as_deref()) {
        (_, None) | (_, Some("SHUTTING_DOWN")) => Outcome::Unknown,
        (Code::Unavailable | Code::Internal, Some("STREAM_ENDED_EARLY")) => Outcome::Unknown,
        _ => Outcome::Refused,
    }
}

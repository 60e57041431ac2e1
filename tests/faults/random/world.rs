//! Plays a script: S3, one or two replicas, their callers, and a watcher beside them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use futures::future::join_all;
use tara_export::proto::{
    Completed, Destination, Export, StartExportRequest, export::State, export_event::Event,
};
use tara_export_test_support::TestS3;
use tokio::{task::JoinHandle, time::timeout};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    laws::Laws,
    script::{Content, Script, Step},
};
use crate::{
    harness::{Client, Host, TestServer, within},
    in_s3::impatient_store_of,
    requests::request,
    waiting::{status, until_journal_is_empty},
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
/// How long S3 may be silent.
const READ_TIMEOUT: Duration = Duration::from_millis(200);
/// Between two looks of the watcher.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long the tidying up after the last commit may take before a restart does it. Too short a time
/// fails no test.
const TIDYING_PATIENCE: Duration = Duration::from_millis(1500);

/// How long everything may take to settle once nothing fails any more. Longer than the pauses between
/// four attempts at one export.
const SETTLING_PATIENCE: Duration = Duration::from_secs(20);

/// A machine with too much to do is too slow for the budget above, attempt after attempt. The next
/// process takes no such machine for an outage.
const PATIENT: [&str; 1] = ["--s3-retry-budget=60s"];
const BUSY_MACHINE_PATIENCE: Duration = Duration::from_secs(300);

/// What the callers of a replica were told of one content, put together.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) replica: usize,
    pub(crate) content: Content,
    pub(crate) answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// None came, or none that says whether the export was accepted.
    Unknown,
    Refused,
    Accepted,
}

/// What callers were told, in the order of their requests.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Vec<Sent>>);

impl Told {
    fn sent(&self, replica: usize, content: Content) -> usize {
        let mut all = self.0.lock().unwrap();
        all.push(Sent { replica, content, answer: Answer::Unknown });
        all.len() - 1
    }

    fn answered(&self, number: usize, answer: Answer) {
        self.0.lock().unwrap()[number].answer = answer;
    }

    pub(crate) fn all(&self) -> Vec<Sent> {
        self.0.lock().unwrap().clone()
    }
}

/// Plays the script of a seed to its end and checks what must hold, all the time and at last.
pub(crate) async fn play(script: Script) {
    let s3 = Arc::new(TestS3::start().await);
    let more: &[&str] = if script.keeps_journal_in_store { &STORE_JOURNAL_FLAGS } else { &[] };
    let new_host =
        || Host::with_s3(impatient_store_of(&s3, READ_TIMEOUT)).flags(&FLAGS).flags(more);
    let hosts: Arc<Vec<Host>> = Arc::new((0..script.replicas).map(|_| new_host()).collect());
    // No two machines' clocks agree to the microsecond.
    for (number, host) in hosts.iter().enumerate() {
        host.clock.advance(TimeDelta::microseconds(number as i64 * 137));
    }
    let told = Arc::new(Told::default());
    let mut servers = Vec::new();
    for host in hosts.iter() {
        servers.push(host.start().await);
    }
    let laws = Arc::new(Laws::new(s3.clone(), hosts.clone(), told.clone()));
    let watcher = tokio::spawn(watch(laws.clone()));
    let mut callers: Vec<JoinHandle<()>> = Vec::new();
    for step in script.steps {
        match step {
            Step::Send { replica, content } => {
                let number = told.sent(replica, content.clone());
                let (client, told, laws) =
                    (servers[replica].client.clone(), told.clone(), laws.clone());
                callers.push(tokio::spawn(call(client, told, number, content, laws)));
            }
            Step::Fail(rule) => drop(s3.fail(rule)),
            Step::Latency(latency) => s3.latency(latency),
            Step::SkewMinutes(minutes) => s3.clock_skew(TimeDelta::minutes(minutes)),
            Step::Repair => repair(&s3),
            Step::Restart(replica) => restart(&hosts, &mut servers, replica, &[]).await,
            Step::Pass(time) => tokio::time::sleep(time).await,
        }
        laws.check_counts(&servers).await;
        hosts.iter().for_each(|host| host.clock.advance(TimeDelta::milliseconds(400)));
    }
    repair(&s3);
    if script.restarts_at_last {
        restart_all(&hosts, &mut servers, &[]).await;
    }
    settle(&hosts, &mut servers).await;
    // Whoever still listens hears the end at once.
    for caller in callers {
        within("a caller's answer", caller).await.unwrap();
    }
    // One that was not accepted before is by now.
    settle(&hosts, &mut servers).await;
    // Where only the tidying up after a commit failed, the next start does it.
    let tidied = async { join_all(hosts.iter().map(until_journal_is_empty)).await };
    if timeout(TIDYING_PATIENCE, tidied).await.is_err() {
        restart_all(&hosts, &mut servers, &PATIENT).await;
        until_settled(&servers, BUSY_MACHINE_PATIENCE).await.expect("everything settles");
        join_all(hosts.iter().map(until_journal_is_empty)).await;
    }
    watcher.abort();
    match watcher.await {
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        _ => {}
    }
    laws.check_at_last(&mut servers).await;
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

/// Waits until nothing waits.
async fn settle(hosts: &[Host], servers: &mut Vec<TestServer>) {
    if until_settled(servers, SETTLING_PATIENCE).await.is_err() {
        restart_all(hosts, servers, &PATIENT).await;
        let settled = until_settled(servers, BUSY_MACHINE_PATIENCE).await;
        settled.expect("everything settles");
    }
}

/// Waits until nothing waits. What does, where that takes too long.
async fn until_settled(
    servers: &[TestServer],
    patience: Duration,
) -> Result<(), tara_export::export::Status> {
    for server in servers {
        let settled = async {
            loop {
                let counts = status(server).await.counts;
                if counts.running + counts.pending + counts.fell_back == 0 {
                    return;
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        if timeout(patience, settled).await.is_err() {
            return Err(status(server).await);
        }
    }
    Ok(())
}

async fn watch(laws: Arc<Laws>) {
    loop {
        laws.check_always();
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

pub(crate) fn message(content: &Content) -> StartExportRequest {
    let mut message = request(content.id, content.document_name);
    message.review.as_mut().unwrap().session_id = content.label();
    message.set_destination(content.destination);
    message.set_fallback(content.fallback);
    message
}

/// Sends a request and follows its events as far as they come.
async fn call(
    mut client: Client,
    told: Arc<Told>,
    number: usize,
    content: Content,
    laws: Arc<Laws>,
) {
    let started = within("StartExport answers", client.start_export(message(&content))).await;
    let mut stream = match started {
        Ok(answer) => answer.into_inner(),
        Err(status) => return told.answered(number, answer_of(&status)),
    };
    while let Ok(Some(event)) = within("the next event", stream.message()).await {
        match event.event {
            Some(Event::Accepted(_)) => told.answered(number, Answer::Accepted),
            Some(Event::Completed(Completed { export: Some(export) })) => {
                check_told(&laws, number, &export)
            }
            Some(Event::Failed(_)) => laws.check_told_failed(number),
            _ => {}
        }
    }
}

fn check_told(laws: &Laws, number: usize, export: &Export) {
    if (export.state(), export.stored_in()) == (State::Committed, Destination::S3) {
        laws.check_told_committed(number, export);
    }
}

/// A lost connection says nothing, nor does a server that goes down: the next may find the request
/// in the journal.
fn answer_of(status: &Status) -> Answer {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match (status.code(), reason.as_deref()) {
        (_, None) | (_, Some("SHUTTING_DOWN")) => Answer::Unknown,
        (Code::Unavailable | Code::Internal, Some("STREAM_ENDED_EARLY")) => Answer::Unknown,
        _ => Answer::Refused,
    }
}

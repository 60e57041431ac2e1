//! Scheduled jobs: what a run does, and that replicas share the runs of a job.

use std::{collections::BTreeSet, fs, path::PathBuf};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tara_export::{jobs::JobsError, server::SetupError};
use tara_export_client::proto::{
    Job, JobRun, ListJobsRequest, RunJobRequest, event::State as EventState, job_run::State,
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Code;

use crate::{
    following::committed,
    harness::{
        Host, TestServer,
        checks::{check, checks},
        s3::store_of,
        until, within,
    },
    requests::request,
    statuses::{expect_invalid, expect_status},
    webhooks::{Receiver, automation, events, give_own_name, hook, notifying, until_events},
};

fn write_jobs(host: &Host, jobs: &Value) -> PathBuf {
    fs::create_dir_all(host.data_dir()).unwrap();
    let path = host.data_dir().parent().unwrap().join("jobs.json");
    fs::write(&path, json!({"jobs": jobs}).to_string()).unwrap();
    path
}

/// The same host with these jobs.
pub(crate) fn with_jobs(host: Host, jobs: &Value) -> Host {
    let path = write_jobs(&host, jobs);
    host.flags(&["--jobs-file", path.to_str().unwrap()])
}

/// A job that delivers dead letters again.
fn redeliver(schedule: &str) -> Value {
    json!({"name": "again", "kind": "redeliver", "schedule": schedule, "max_run": "10s"})
}

pub(crate) async fn run_job(server: &TestServer, job: &str) -> Result<JobRun, tonic::Status> {
    let request = RunJobRequest { job: job.to_owned(), number: 0 };
    Ok(automation(server).await.run_job(request).await?.into_inner().run.unwrap())
}

async fn jobs(server: &TestServer) -> Vec<Job> {
    automation(server).await.list_jobs(ListJobsRequest {}).await.unwrap().into_inner().jobs
}

/// The last run of the only job, once its number is at least this one and it has ended.
async fn until_run(server: &TestServer, number: i64) -> JobRun {
    let waiting = async {
        loop {
            let last = jobs(server).await[0].last_run.clone();
            match last {
                Some(run) if run.number >= number && run.state() != State::Running => return run,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    within("the job runs", waiting).await
}

#[tokio::test]
async fn job_delivers_dead_letters_again() {
    let receiver = Receiver::start().await;
    receiver.answer(&[400]);
    let host = notifying(Host::new(), &json!([hook("hook", receiver.address)]))
        .flags(&["--notify-give-up-after=1m"]);
    let jobs_file = json!([
        {"name": "again", "kind": "redeliver"},
        {"name": "other", "kind": "redeliver", "targets": ["other"]},
    ]);
    let host = with_jobs(host, &jobs_file);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "report.docx")).await;
    receiver.until_answered().await;
    host.clock.advance(TimeDelta::minutes(2));
    server.running.notifications().unwrap().reload();
    until_events(&server, EventState::Dead, 1).await;

    let run = run_job(&server, "again").await.unwrap();
    assert_eq!((run.number, run.state(), run.tick_time), (1, State::Succeeded, None));
    assert_eq!(run.message, "1 dead letter waits for delivery again");
    receiver.until(1).await;
    until_events(&server, EventState::Delivered, 1).await;
    assert_eq!(events(&server, EventState::Dead).await, []);

    let run = run_job(&server, "other").await.unwrap();
    assert_eq!(run.state(), State::Failed);
    assert!(run.message.contains("no target other"), "{run:?}");
    let listed = jobs(&server).await;
    let states: Vec<State> =
        listed.iter().map(|job| job.last_run.as_ref().unwrap().state()).collect();
    assert_eq!(states, [State::Succeeded, State::Failed]);
    let rows = checks(&mut server.client).await;
    assert!(check(&rows, "server.jobs").message.contains("job again succeeded"), "{rows:?}");
    // A caller that follows a run by its number does not start another one.
    let followed = RunJobRequest { job: "again".to_owned(), number: 1 };
    let followed =
        automation(&server).await.run_job(followed).await.unwrap().into_inner().run.unwrap();
    assert_eq!((followed.number, followed.state()), (1, State::Succeeded));
    // The log survives a restart.
    server.stop().await;
    let server = host.start().await;
    assert_eq!(run_job(&server, "again").await.unwrap().number, 2);
    server.stop().await;
}

#[tokio::test]
async fn each_run_ends_with_one_event_for_targets_that_name_it() {
    let receiver = Receiver::start().await;
    let mut named = hook("named", receiver.address);
    named["events"] = json!(["job_ended"]);
    // Events of jobs are not among the default ones.
    let host =
        notifying(Host::new(), &json!([named, hook("other", "127.0.0.1:9".parse().unwrap())]));
    let jobs_file = json!([
        {"name": "again", "kind": "redeliver"},
        {"name": "failing", "kind": "redeliver", "targets": ["missing"]},
    ]);
    let host = with_jobs(host, &jobs_file);
    let server = host.start().await;
    run_job(&server, "again").await.unwrap();
    run_job(&server, "failing").await.unwrap();
    run_job(&server, "again").await.unwrap();
    receiver.until(3).await;
    until_events(&server, EventState::Delivered, 3).await;
    server.stop().await;
    // A restart delivers nothing again.
    let server = host.start().await;
    let mut listed: Vec<String> =
        events(&server, EventState::Delivered).await.into_iter().map(|event| event.job).collect();
    listed.sort();
    assert_eq!(listed, ["jobs/again/runs/1", "jobs/again/runs/2", "jobs/failing/runs/1"]);
    assert_eq!(events(&server, EventState::Pending).await, []);
    server.stop().await;
    let received = receiver.received();
    let mut ids: Vec<&str> = received.iter().map(|received| received.webhook_id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((received.len(), ids.len()), (3, 3));
    let failing = received.iter().find(|received| received.event["data"]["job"] == "failing");
    let failing = failing.unwrap();
    assert_eq!(failing.kind(), "job_ended");
    assert_eq!(failing.event["subject"], "jobs/failing/runs/1");
    let mut data = failing.event["data"].clone();
    assert!(data["started_time"].take().as_str().unwrap().starts_with("2026-11-22T18:37:00"));
    // Without include_names, there is no message: it may contain names.
    let expected = json!({
        "job": "failing", "run": 1, "state": "FAILED", "started_time": null,
        "artifact_count": 0, "size_bytes": 0,
    });
    assert_eq!(data, expected);
}

#[tokio::test]
async fn wrong_calls_say_what_is_allowed() {
    let host = notifying(Host::new(), &json!([hook("hook", "127.0.0.1:9".parse().unwrap())]));
    let server = host.start().await;
    assert_eq!(jobs(&server).await, []);
    let off = run_job(&server, "again").await.unwrap_err();
    expect_status(&off, Code::FailedPrecondition, "JOBS_OFF");
    server.stop().await;
    let host = with_jobs(host, &json!([redeliver("0 7 * * MON")]));
    let server = host.start().await;
    let unknown = run_job(&server, "agian").await.unwrap_err();
    expect_invalid(&unknown, "job");
    assert!(unknown.message().contains("again"), "{unknown}");
    let request = |number| RunJobRequest { job: "again".to_owned(), number };
    for number in [-1, 1] {
        let refused = automation(&server).await.run_job(request(number)).await.unwrap_err();
        expect_invalid(&refused, "number");
    }
    let listed = jobs(&server).await;
    assert_eq!((listed[0].schedule.as_str(), listed[0].timezone.as_str()), ("0 7 * * MON", "UTC"));
    assert_eq!(listed[0].next_time.unwrap().to_string(), "2026-11-23T07:00:00Z");
    server.stop().await;
}

#[tokio::test]
async fn wrong_file_stops_the_start() {
    for (jobs, part) in [
        (json!([redeliver("61 * * * *")]), "jobs[0].schedule: must be a cron expression"),
        (json!([redeliver("* * * * *")]), "NOTIFY_FILE is not set"),
    ] {
        let host = with_jobs(Host::new(), &jobs);
        let error = host.try_setup().await.unwrap_err();
        assert!(matches!(error, SetupError::Jobs(JobsError::File(_))));
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// Waits until this many schedules are recorded: from then on, ticks count.
async fn until_schedules(s3: &TestS3, count: usize) {
    let recorded = || {
        let puts = s3.requests_of(Operation::PutObject).into_iter();
        puts.filter(|request| request.key.contains("/schedules/")).count() >= count
    };
    until("the schedule is recorded", recorded).await;
}

/// Two replicas that share a bucket and run one job every minute.
fn replicas(s3: &TestS3) -> [Host; 2] {
    let targets = json!([hook("hook", "127.0.0.1:9".parse().unwrap())]);
    [0, 1].map(|number| {
        let host = notifying(Host::with_s3(store_of(s3)), &targets);
        let host = host.flags(&["--shutdown-timeout=0s"]);
        give_own_name(&host, number);
        with_jobs(host, &json!([redeliver("* * * * *")]))
    })
}

#[tokio::test]
async fn replicas_share_twenty_ticks_and_one_is_lost() {
    let s3 = TestS3::start().await;
    let hosts = replicas(&s3);
    let (first, second) = (hosts[0].start().await, hosts[1].start().await);
    for server in [&first, &second] {
        server.running.jobs().unwrap().start();
    }
    // Both know since when the job exists, so that its first tick is the next minute.
    until_schedules(&s3, 1).await;
    let mut ticks = BTreeSet::new();
    let minute = |hosts: &[Host; 2]| {
        for host in hosts {
            host.clock.advance(TimeDelta::minutes(1));
        }
    };
    for number in 1..=10 {
        minute(&hosts);
        let run = until_run(&first, number).await;
        assert_eq!((run.number, run.state()), (number, State::Succeeded), "{run:?}");
        ticks.insert(run.tick_time.unwrap().to_string());
    }
    // The end of the next run is never written: whichever replica has it is lost.
    let unwritten = s3.fail(
        FaultRule::new(Fault::SERVICE_UNAVAILABLE).on(Operation::PutObject).key_ends_with(".done"),
    );
    minute(&hosts);
    until("the run ends", || s3.fault_hits(unwritten) > 0).await;
    let last = jobs(&second).await[0].last_run.clone().unwrap();
    assert_eq!((last.number, last.state()), (11, State::Running));
    // The one that runs the job lets a caller wait for the end of the run; the other one refuses.
    let (is_first, refused) = tokio::select! {
        refused = run_job(&first, "again") => (false, refused),
        refused = run_job(&second, "again") => (true, refused),
    };
    expect_status(&refused.unwrap_err(), Code::FailedPrecondition, "JOB_RUNNING");
    let (lost, left) = if is_first { (first, second) } else { (second, first) };
    lost.stop().await;
    s3.clear_fault(unwritten);
    // After its max_run, the other one runs its tick again.
    let run = until_run(&left, 12).await;
    assert_eq!(run.tick_time, last.tick_time);
    ticks.insert(run.tick_time.unwrap().to_string());
    for number in 13..=21 {
        minute(&hosts);
        let run = until_run(&left, number).await;
        assert_eq!((run.number, run.state()), (number, State::Succeeded), "{run:?}");
        ticks.insert(run.tick_time.unwrap().to_string());
    }
    assert_eq!(ticks.len(), 20);
    left.stop().await;
}

#[tokio::test]
async fn only_the_last_missed_tick_runs_after_a_stop_and_none_of_a_new_job() {
    let s3 = TestS3::start().await;
    let targets = json!([hook("hook", "127.0.0.1:9".parse().unwrap())]);
    let host = notifying(Host::with_s3(store_of(&s3)), &targets);
    let path = write_jobs(&host, &json!([redeliver("0 * * * *")]));
    let host = host.flags(&["--jobs-file", path.to_str().unwrap()]);
    let server = host.start().await;
    server.running.jobs().unwrap().start();
    until_schedules(&s3, 1).await;
    host.clock.advance(TimeDelta::hours(2));
    assert_eq!(until_run(&server, 1).await.tick_time.unwrap().to_string(), "2026-11-22T20:00:00Z");
    server.stop().await;
    host.clock.advance(TimeDelta::hours(5));
    let server = host.start().await;
    server.running.jobs().unwrap().start();
    assert_eq!(until_run(&server, 2).await.tick_time.unwrap().to_string(), "2026-11-23T01:00:00Z");
    server.stop().await;
    // With another schedule, no tick of the past runs.
    write_jobs(&host, &json!([redeliver("30 * * * *")]));
    host.clock.advance(TimeDelta::hours(5));
    let server = host.start().await;
    server.running.jobs().unwrap().start();
    until_schedules(&s3, 2).await;
    host.clock.advance(TimeDelta::hours(1));
    assert_eq!(until_run(&server, 3).await.tick_time.unwrap().to_string(), "2026-11-23T07:30:00Z");
    server.stop().await;
}

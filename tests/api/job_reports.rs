//! Jobs of the kind `report`: their mails count what is in the stores and the journal.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tara_export_client::proto::job_run::State;

use crate::{
    fake_s3::{FakeS3, Mode},
    following::{committed, export, follow},
    harness::{Host, QUICK, mail_server::MailServer, waiting::until_journal_is_empty},
    jobs::{run_job, with_jobs},
    requests::{id, name, request, s3_or_nothing},
    webhooks::{hook, notifying},
};

const HOSTILE: &str = "x\r\nBcc: all@example.com =?utf-8?q?=0d=0a?= <script>.docx";

fn report_job(target: &str) -> Value {
    json!({"name": "daily", "kind": "report", "target": target})
}

#[tokio::test]
async fn report_counts_the_exports_since_the_last_one() {
    let mail = MailServer::start().await;
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut target = mail.target("ops", json!(["ops@example.com", "boss@example.com"]));
    target["include_names"] = json!(true);
    target["events"] = json!(["quarantined"]);
    let host = with_jobs(notifying(host, &json!([target])), &json!([report_job("ops")]));
    let mut server = host.start().await;
    // Stored before the first period: not counted.
    committed(&mut server.client, request(1, "old.docx")).await;
    host.clock.advance(TimeDelta::hours(25));
    committed(&mut server.client, request(2, "a.docx")).await;
    committed(&mut server.client, request(3, "b.docx")).await;
    s3.set(Mode::HoldsArtifacts);
    let stream = server.client.start_export(s3_or_nothing(4, HOSTILE)).await.unwrap();
    s3.until_held(1).await;
    s3.set(Mode::Down);
    follow(stream.into_inner()).await.failed();
    export(&mut server.client, request(5, "fell back.docx")).await.completed();
    // The log of runs is in S3.
    s3.set(Mode::Works);
    server.stop().await;
    let mut server = host.start().await;
    until_journal_is_empty(&host).await;
    host.clock.advance(TimeDelta::minutes(1));
    let run = run_job(&server, "daily").await.unwrap();
    assert_eq!(run.state(), State::Succeeded, "{run:?}");
    assert!(run.message.ends_with("4 exports, 1 failed, 0 outstanding"), "{run:?}");
    let sent = mail.mails();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].recipients, ["ops@example.com", "boss@example.com"]);
    assert_eq!(sent[0].subject(), "tara-export: 4 exports, 1 failed, 0 outstanding");
    let (text, html) = (sent[0].text(), sent[0].html());
    for part in ["- Stored: 3", "- Failed: 1", &name(4), "(STORE_UNAVAILABLE)"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(html.contains(&id(4)) && !html.contains("<script>"), "{html}");
    let headers = sent[0].content.split("\r\n\r\n").next().unwrap();
    assert!(!headers.contains("Bcc") && !text.contains("\nBcc"), "{headers}\n{text}");

    // The next report has only what happened since.
    host.clock.advance(TimeDelta::hours(2));
    committed(&mut server.client, request(6, "c.docx")).await;
    host.clock.advance(TimeDelta::minutes(1));
    let run = run_job(&server, "daily").await.unwrap();
    assert!(run.message.ends_with("1 export, 0 failed, 0 outstanding"), "{run:?}");
    assert_eq!(mail.mails().len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn report_lists_what_is_outstanding_and_a_refused_one_is_sent_by_the_next_run() {
    let mail = MailServer::start().await;
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let people = mail.target("people", json!("requested"));
    let mut job = report_job("people");
    job["to"] = json!(["ada@example.com"]);
    let host = with_jobs(notifying(host, &json!([people])), &json!([job]))
        .flags(&["--notify-recipients=example.com"]);
    let mut server = host.start().await;
    s3.set(Mode::HoldsArtifacts);
    let stream = server.client.start_export(request(1, "held.docx")).await.unwrap();
    s3.until_held(1).await;
    host.clock.advance(TimeDelta::hours(1));
    mail.refuse(Some("550 no such user"));
    let run = run_job(&server, "daily").await.unwrap();
    assert_eq!(run.state(), State::Failed, "{run:?}");
    assert!(
        run.message.contains("cannot send the report") && run.message.contains("550"),
        "{run:?}"
    );
    mail.refuse(None);
    let run = run_job(&server, "daily").await.unwrap();
    assert_eq!(run.state(), State::Succeeded, "{run:?}");
    let sent = mail.mails();
    assert_eq!(sent[0].recipients, ["ada@example.com"]);
    assert_eq!(sent[0].subject(), "tara-export: 1 export, 0 failed, 1 outstanding");
    let oldest = format!("Oldest of them: {}, 2026-11-22 18:37:00 UTC", name(1));
    assert!(sent[0].text().contains(&oldest), "{}", sent[0].text());
    // Without include_names.
    assert!(!sent[0].text().contains("held.docx"), "{}", sent[0].text());
    drop(stream);
    s3.set(Mode::Works);
    server.stop().await;
}

#[tokio::test]
async fn wrong_targets_and_addresses_are_faults_of_the_file() {
    let hook = hook("hook", "127.0.0.1:9".parse().unwrap());
    let mail = MailServer::start().await;
    let people = mail.target("people", json!("requested"));
    let with_to = |to: Value| {
        let mut job = report_job("people");
        job["to"] = to;
        job
    };
    for (targets, job, part) in [
        (
            None,
            report_job("ops"),
            "jobs[0].target: must be a target of kind email in NOTIFY_FILE, which is not set",
        ),
        (Some(json!([hook])), report_job("hook"), "(which has none), not \"hook\""),
        (Some(json!([hook, people])), report_job("ops"), "(people), not \"ops\""),
        (Some(json!([people])), report_job("people"), "jobs[0].to: is missing"),
        (
            Some(json!([people])),
            with_to(json!(["a@evil.com"])),
            "jobs[0].to[0]: must be in a domain",
        ),
        (Some(json!([people])), with_to(json!(["a@example.com\r\nBcc: b"])), "jobs[0].to[0]:"),
        (
            Some(json!([people])),
            with_to(json!(["a@example.com", "a@example.com"])),
            "jobs[0].to[1]: is there twice",
        ),
    ] {
        let host = Host::new().flags(&["--notify-recipients=example.com"]);
        let host = match targets {
            Some(targets) => {
                std::fs::create_dir_all(host.data_dir()).unwrap();
                notifying(host, &targets)
            }
            None => host,
        };
        let host = with_jobs(host, &json!([job]));
        let error = host.try_setup().await.unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

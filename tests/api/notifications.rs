//! Notifications of a server: which events a receiver gets, in which order, and how often.

use std::fs;

use chrono::TimeDelta;
use serde_json::json;
use tara_export_client::proto::{
    Event, EventType, ListEventsRequest, ListTargetsRequest, RetryEventsRequest,
    StartExportRequest, TestTargetRequest, event::State, target,
};
use tonic::Code;

use crate::{
    fake_s3::{FakeS3, Mode},
    following::{committed, export, follow, refused},
    harness::{Host, QUICK, waiting::until_journal_is_empty, within},
    requests::{id, name, request, s3_or_nothing},
    statuses::{expect_invalid, expect_status},
    webhooks::{
        Received, Receiver, automation, events, give_own_name, hook, notifying, until_events,
        write_targets,
    },
};

fn with_mail(number: u32, address: &str) -> StartExportRequest {
    StartExportRequest { notify_emails: vec![address.to_owned()], ..request(number, "report.docx") }
}

#[tokio::test]
async fn committed_export_is_notified_once() {
    let receiver = Receiver::start().await;
    let host = notifying(
        Host::with_s3(FakeS3::new(Mode::Works)),
        &json!([hook("hook", receiver.address)]),
    );
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "report.docx")).await;
    let received = receiver.until(1).await;
    assert_eq!((received[0].kind(), received[0].export()), ("committed", name(1).as_str()));
    assert_eq!(received[0].webhook_id(), received[0].event["id"].as_str().unwrap());
    received[0].verify_signature();
    let data = &received[0].event["data"];
    assert_eq!((&data["state"], &data["stored_in"]), (&json!("COMMITTED"), &json!("S3")));
    assert!(data["artifact_count"].as_u64().unwrap() > 5, "{data}");
    // Names need `include_names`, and so does everything that contains them.
    assert!(!received[0].event.to_string().contains("report"), "{}", received[0].event);
    let delivered = until_events(&server, State::Delivered, 1).await;
    assert_eq!(delivered[0].event_id, received[0].webhook_id());
    assert_eq!(delivered[0].r#type(), EventType::Committed);
    // Neither the same request nor a restart notifies again.
    committed(&mut server.client, request(1, "report.docx")).await;
    server.stop().await;
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "report.docx")).await;
    committed(&mut server.client, request(2, "other.docx")).await;
    let received = receiver.until(2).await;
    assert_eq!(received[1].export(), name(2));
    server.stop().await;
}

#[tokio::test]
async fn fallback_and_sync_are_notified_in_order() {
    let receiver = Receiver::start().await;
    let s3 = FakeS3::new(Mode::Down);
    let host = notifying(Host::with_s3(s3.clone()), &json!([hook("hook", receiver.address)]));
    let host = host.flags(&QUICK);
    // Its first answer fails, so that `synced` has to wait.
    receiver.answer(&[400]);
    let mut server = host.start().await;
    export(&mut server.client, request(1, "report.docx")).await;
    receiver.until_answered().await;
    s3.set(Mode::Works);
    until_journal_is_empty(&host).await;
    let pending = until_events(&server, State::Pending, 2).await;
    let kinds: Vec<EventType> = pending.iter().map(Event::r#type).collect();
    assert_eq!(kinds, [EventType::FellBack, EventType::Synced]);
    assert!(pending[0].deliveries[0].message.contains("400"), "{pending:?}");
    // A restart sends them at once, in their order.
    server.stop().await;
    let server = host.start().await;
    let received = receiver.until(2).await;
    let kinds: Vec<&str> = received.iter().map(Received::kind).collect();
    assert_eq!(kinds, ["fell_back", "synced"]);
    assert_eq!(received[0].event["data"]["state_reason"], "STORE_UNAVAILABLE");
    until_events(&server, State::Delivered, 2).await;
    server.stop().await;
}

#[tokio::test]
async fn failure_is_notified_and_survives_a_receiver_that_is_down() {
    let receiver = Receiver::start().await;
    let address = receiver.address;
    drop(receiver);
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let targets = json!([hook("hook", address)]);
    let host = notifying(Host::with_s3(s3.clone()), &targets).flags(&QUICK);
    let mut server = host.start().await;
    let start = server.client.start_export(s3_or_nothing(1, "report.docx"));
    let stream = start.await.unwrap().into_inner();
    s3.until_held(1).await;
    s3.set(Mode::Down);
    follow(stream).await.failed();
    let pending = until_events(&server, State::Pending, 1).await;
    assert_eq!(pending[0].r#type(), EventType::Failed);
    server.stop().await;
    let receiver = Receiver::at(address).await;
    let server = host.start().await;
    let received = receiver.until(1).await;
    assert_eq!((received[0].kind(), received[0].export()), ("failed", name(1).as_str()));
    server.stop().await;
}

#[tokio::test]
async fn replicas_with_one_export_notify_once() {
    let receiver = Receiver::start().await;
    let s3 = FakeS3::new(Mode::Works);
    let targets = json!([hook("hook", receiver.address)]);
    let hosts = [(); 3].map(|()| notifying(Host::with_s3(s3.clone()), &targets));
    for (number, host) in hosts.iter().enumerate() {
        give_own_name(host, number);
        let mut server = host.start().await;
        committed(&mut server.client, request(1, "report.docx")).await;
        committed(&mut server.client, request(100, "last.docx")).await;
        until_events(&server, State::Delivered, 2).await;
        server.stop().await;
    }
    let mut exports: Vec<String> =
        receiver.received().iter().map(|received| received.export().to_owned()).collect();
    exports.sort();
    let mut expected = [name(1), name(100)];
    expected.sort();
    assert_eq!(exports, expected);
}

#[tokio::test]
async fn event_of_a_lost_machine_is_delivered_by_another_replica() {
    let receiver = Receiver::start().await;
    let address = receiver.address;
    drop(receiver);
    let s3 = FakeS3::new(Mode::Works);
    let targets = json!([hook("hook", address)]);
    let flags = [
        "--journal=store",
        "--s3-bucket-name=bucket",
        "--takeover-age=0s",
        "--takeover-interval=100ms",
    ];
    let lost = notifying(Host::with_s3(s3.clone()), &targets).flags(&flags);
    let mut server = lost.start().await;
    committed(&mut server.client, request(1, "report.docx")).await;
    until_journal_is_empty(&lost).await;
    until_events(&server, State::Pending, 1).await;
    server.stop().await;
    drop(lost);
    let receiver = Receiver::at(address).await;
    let other = notifying(Host::with_s3(s3.clone()), &targets).flags(&flags);
    give_own_name(&other, 1);
    other.clock.advance(TimeDelta::seconds(5));
    let server = other.start().await;
    let received = receiver.until(1).await;
    assert_eq!((received[0].kind(), received[0].export()), ("committed", name(1).as_str()));
    until_events(&server, State::Delivered, 1).await;
    server.stop().await;
    // A third replica finds that it was delivered.
    let third = notifying(Host::with_s3(s3), &targets).flags(&flags);
    give_own_name(&third, 2);
    let mut server = third.start().await;
    committed(&mut server.client, request(2, "report.docx")).await;
    receiver.until(2).await;
    server.stop().await;
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn dead_letter_is_listed_and_delivered_again() {
    let receiver = Receiver::start().await;
    receiver.answer(&[400]);
    let targets = json!([hook("hook", receiver.address), hook("other", receiver.address)]);
    let host = notifying(Host::new(), &targets).flags(&["--notify-give-up-after=1m"]);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "report.docx")).await;
    receiver.until(1).await;
    receiver.until_answered().await;
    host.clock.advance(TimeDelta::minutes(2));
    server.running.notifications().unwrap().reload();
    let dead = until_events(&server, State::Dead, 1).await;
    let failed = &dead[0].deliveries[0];
    assert_eq!((dead[0].deliveries.len(), failed.state()), (1, State::Dead));
    assert!(failed.message.starts_with("EXPIRED") && failed.message.contains("400"), "{failed:?}");
    // After a restart, it is still there.
    server.stop().await;
    let server = host.start().await;
    until_events(&server, State::Dead, 1).await;
    let mut client = automation(&server).await;
    let missing = id(9);
    let request = RetryEventsRequest {
        event_ids: vec![dead[0].event_id.clone(), missing.clone()],
        ..Default::default()
    };
    let retried = client.retry_events(request).await.unwrap().into_inner();
    assert_eq!((retried.event_count, retried.missing_event_ids), (1, vec![missing]));
    // Only to the target that did not answer, and under the same id.
    let received = receiver.until(2).await;
    assert_eq!(received[0].webhook_id(), received[1].webhook_id());
    until_events(&server, State::Delivered, 1).await;
    assert_eq!(events(&server, State::Dead).await, []);
    assert_eq!(receiver.received().len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn events_that_were_never_written_are_rebuilt() {
    let receiver = Receiver::start().await;
    let s3 = FakeS3::new(Mode::Works);
    let silent = Host::with_s3(s3.clone());
    let mut server = silent.start().await;
    for number in 1..=3 {
        committed(&mut server.client, request(number, "report.docx")).await;
    }
    server.stop().await;
    let host = notifying(Host::with_s3(s3), &json!([hook("hook", receiver.address)]));
    let server = host.start().await;
    let request = RetryEventsRequest {
        committed_since: Some(prost_types::Timestamp::default()),
        committed_before: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        ..Default::default()
    };
    let mut client = automation(&server).await;
    let retried = client.retry_events(request.clone()).await.unwrap().into_inner();
    assert_eq!(retried.event_count, 3);
    receiver.until(3).await;
    until_events(&server, State::Delivered, 3).await;
    let again = client.retry_events(request).await.unwrap().into_inner();
    assert_eq!(again.event_count, 0);
    server.stop().await;
}

#[tokio::test]
async fn target_that_is_gone_waits_for_a_changed_file() {
    let receiver = Receiver::start().await;
    receiver.answer(&[410]);
    let host = notifying(Host::new(), &json!([hook("hook", receiver.address)]));
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "report.docx")).await;
    receiver.until_answered().await;
    let mut client = automation(&server).await;
    let listed = within("the target is disabled", async {
        loop {
            let listed = client.list_targets(ListTargetsRequest {}).await.unwrap().into_inner();
            if listed.targets[0].state() == target::State::Disabled {
                return listed;
            }
        }
    })
    .await;
    assert_eq!(listed.targets[0].pending_count, 1);
    // A file with faults changes nothing, and is reported.
    fs::write(host.data_dir().parent().unwrap().join("targets.json"), "{}").unwrap();
    server.running.notifications().unwrap().reload();
    within("the fault is reported", async {
        loop {
            let listed = client.list_targets(ListTargetsRequest {}).await.unwrap().into_inner();
            if listed.file_error.contains("targets") {
                assert_eq!(listed.targets.len(), 1);
                return;
            }
        }
    })
    .await;
    assert!(receiver.received().is_empty());
    let mut changed = hook("hook", receiver.address);
    changed["timeout"] = json!("5s");
    write_targets(&host, &json!([changed]));
    server.running.notifications().unwrap().reload();
    receiver.until(1).await;
    let listed = client.list_targets(ListTargetsRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.file_error, "");
    server.stop().await;
}

#[tokio::test]
async fn target_is_tested() {
    let receiver = Receiver::start().await;
    let host = notifying(Host::new(), &json!([hook("hook", receiver.address)]));
    let server = host.start().await;
    let mut client = automation(&server).await;
    let test = |target: &str| TestTargetRequest { target: target.to_owned() };
    let tested = client.test_target(test("hook")).await.unwrap().into_inner();
    assert!(tested.delivered, "{tested:?}");
    assert_eq!(receiver.until(1).await[0].kind(), "test");
    receiver.answer(&[500]);
    let tested = client.test_target(test("hook")).await.unwrap().into_inner();
    assert!(!tested.delivered && tested.message.contains("500"), "{tested:?}");
    let status = client.test_target(test("other")).await.unwrap_err();
    assert!(expect_invalid(&status, "target").contains("hook"));
    server.stop().await;
}

#[tokio::test]
async fn server_without_a_file_says_so() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut client = automation(&server).await;
    let status = client.list_events(ListEventsRequest::default()).await.unwrap_err();
    expect_status(&status, Code::FailedPrecondition, "NOTIFICATIONS_OFF");
    let status = client.test_target(TestTargetRequest::default()).await.unwrap_err();
    expect_status(&status, Code::FailedPrecondition, "NOTIFICATIONS_OFF");
    let listed = client.list_targets(ListTargetsRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.targets, []);
    let status = refused(&mut server.client, with_mail(1, "ada@example.com")).await;
    expect_invalid(&status, "notify_emails[0]");
    assert_eq!(host.files().iter().filter(|file| file.contains("recipients")).count(), 0);
    server.stop().await;
}

#[tokio::test]
async fn addresses_of_requests_are_checked() {
    let people = json!({
        "name": "people", "kind": "email", "smtp": "smtp://127.0.0.1:1", "from": "a@example.com",
        "to": "requested",
    });
    let host = notifying(Host::new(), &json!([people])).flags(&["--notify-recipients=example.com"]);
    let mut server = host.start().await;
    for bad in ["ada@evil.com", "ada@example.com,b@evil.com", "ada", "a\r\nBcc: b@example.com"] {
        let status = refused(&mut server.client, with_mail(1, bad)).await;
        expect_invalid(&status, "notify_emails[0]");
    }
    let many = StartExportRequest {
        notify_emails: vec!["ada@example.com".to_owned(); 11],
        ..request(1, "report.docx")
    };
    expect_invalid(&refused(&mut server.client, many).await, "notify_emails");
    assert_eq!(host.files().iter().filter(|file| file.contains("recipients")).count(), 0);
    committed(&mut server.client, with_mail(1, "Ada@Example.com")).await;
    let pending = until_events(&server, State::Pending, 1).await;
    assert_eq!(pending[0].deliveries[0].target, "people");
    // An export without addresses has no event.
    committed(&mut server.client, request(2, "report.docx")).await;
    assert_eq!(events(&server, State::Pending).await.len(), 1);
    until_journal_is_empty(&host).await;
    let left: Vec<String> =
        host.files().into_iter().filter(|file| file.contains("recipients")).collect();
    assert_eq!(left, [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn addresses_are_refused_if_the_bucket_would_keep_them() {
    let people = json!({
        "name": "people", "kind": "email", "smtp": "smtp://127.0.0.1:1", "from": "a@example.com",
        "to": "requested",
    });
    let s3 = FakeS3::new(Mode::Works);
    s3.lock_objects();
    let host = notifying(Host::with_s3(s3), &json!([people]));
    let host = host.flags(&["--notify-recipients=example.com", "--s3-bucket-name=bucket"]);
    let mut server = host.start_with(&["--journal=store"]).await;
    let status = refused(&mut server.client, with_mail(1, "ada@example.com")).await;
    expect_invalid(&status, "notify_emails");
    committed(&mut server.client, request(1, "report.docx")).await;
    server.stop().await;
    // On this machine's disk, addresses can be erased.
    let mut server = host.start().await;
    committed(&mut server.client, with_mail(2, "ada@example.com")).await;
    server.stop().await;
}

//! Batches: what is refused as a whole, outcomes of items, sending again, restarts, replicas and limits.

use std::{fs, time::Duration};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tara_export_client::proto::{
    Batch, BatchItem, BatchStartExportsRequest, GetBatchRequest, StartExportRequest,
    WatchBatchRequest, WatchBatchResponse, batch, batch_item::State, document::Source, event,
    watch_batch_response::Event,
};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    fake_s3::{FakeS3, Mode},
    following::committed,
    harness::{
        Client, Host, QUICK, checks, connect_from,
        waiting::{journal, read},
        within,
    },
    requests::{id, name, request},
    statuses::{expect_invalid, expect_status, violations},
    webhooks::{Receiver, give_own_name, hook, notifying, until_events},
};

const BATCH: &str = "b47c0000-3b0e-4c59-9d7e-000000000001";

fn batch_name() -> String {
    format!("batches/{BATCH}")
}

fn batch(requests: Vec<StartExportRequest>) -> BatchStartExportsRequest {
    BatchStartExportsRequest { batch_id: BATCH.to_owned(), requests }
}

fn requests(count: u32) -> Vec<StartExportRequest> {
    (1..=count).map(|number| request(number, &format!("{number}.docx"))).collect()
}

async fn start(client: &mut Client, batch: BatchStartExportsRequest) -> Batch {
    client.batch_start_exports(batch).await.unwrap().into_inner().batch.unwrap()
}

async fn refused(client: &mut Client, batch: BatchStartExportsRequest) -> Status {
    client.batch_start_exports(batch).await.unwrap_err()
}

async fn get(client: &mut Client) -> Batch {
    let request = GetBatchRequest { name: batch_name() };
    client.get_batch(request).await.unwrap().into_inner().batch.unwrap()
}

/// The results of a batch until it has ended.
async fn results(client: &mut Client) -> (Vec<BatchItem>, Batch) {
    let request = WatchBatchRequest { name: batch_name(), ..Default::default() };
    let mut stream = client.watch_batch(request).await.unwrap().into_inner();
    let mut items = Vec::new();
    loop {
        let message = within("a result", stream.message()).await.unwrap().unwrap();
        match message.event.unwrap() {
            Event::Item(item) => {
                items.push(item);
                assert_eq!(message.sequence, items.len() as i64);
            }
            Event::Heartbeat(_) => {}
            Event::Ended(ended) => {
                assert_eq!(message.sequence, items.len() as i64);
                assert!(stream.message().await.unwrap().is_none());
                return (items, ended);
            }
        }
    }
}

/// Waits until the report of the batch is stored.
async fn reported(client: &mut Client) -> Batch {
    let waiting = async {
        loop {
            let batch = get(client).await;
            if !batch.report_location.is_empty() {
                return batch;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within("the report", waiting).await
}

fn states(batch: &Batch) -> Vec<State> {
    batch.items.iter().map(BatchItem::state).collect()
}

fn report(s3: &FakeS3) -> Value {
    let path = s3.root().join(format!(".tara-export/batches/{BATCH}/report.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn every_item_is_exported_and_reported() {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone());
    let mut server = host.start().await;
    let started = start(&mut server.client, batch(requests(20))).await;
    assert_eq!((started.name.as_str(), started.items.len()), (batch_name().as_str(), 20));
    for (index, item) in started.items.iter().enumerate() {
        assert_eq!((item.index, &item.export), (index as i32, &name(index as u32 + 1)));
        assert!(matches!(item.state(), State::Pending | State::Committed), "{item:?}");
    }
    let (items, ended) = results(&mut server.client).await;
    assert_eq!(items.len(), 20);
    assert_eq!(ended.state(), batch::State::Ended);
    assert_eq!(ended.counts.unwrap().committed, 20);
    for item in &items {
        let export = read(&mut server.client, &item.export).await;
        assert_eq!(item.state(), State::Committed);
        assert_eq!(
            (&item.location, &item.manifest_sha256),
            (&export.location, &export.manifest_sha256)
        );
    }
    let batch = reported(&mut server.client).await;
    assert_eq!(states(&batch), [State::Committed; 20]);
    let report = report(&s3);
    assert_eq!((&report["batch"], &report["counts"]["committed"]), (&json!(BATCH), &json!(20)));
    assert_eq!(report["items"][19]["export_id"], json!(id(20)));
    assert!(batch.report_location.ends_with("/report.json"), "{}", batch.report_location);
    // Its note is moved when everything is written.
    server.stop().await;
    let notes = host.files().into_iter().filter(|file| file.contains("batches/"));
    assert_eq!(notes.collect::<Vec<_>>(), [format!(".tara-export/batches/ended/{BATCH}.json")]);
}

#[tokio::test]
async fn form_errors_name_their_request_and_start_nothing() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut wrong = requests(20);
    wrong[17].review = None;
    wrong[3].request_id = "x".to_owned();
    wrong[5].request_id = id(1);
    wrong[19].documents[0].source = Some(Source::Upload("uploads/x".to_owned()));
    let status = refused(&mut server.client, batch(wrong)).await;
    let fields: Vec<String> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        [
            "requests[3].request_id",
            "requests[5].request_id",
            "requests[17].review",
            "requests[19].documents[0].upload"
        ]
    );
    for (requests, field) in [
        (Vec::new(), "requests"),
        (vec![StartExportRequest::default(); 501], "requests"),
        (
            vec![StartExportRequest { documents: vec![Default::default(); 4], ..request(1, "a") }],
            "requests[0].documents",
        ),
    ] {
        let status = refused(&mut server.client, batch(requests)).await;
        expect_invalid(&status, field);
    }
    let unnamed = BatchStartExportsRequest { batch_id: "x".to_owned(), requests: requests(1) };
    expect_invalid(&refused(&mut server.client, unnamed).await, "batch_id");
    for invalid in ["", "batches/x", "exports/x", &format!("batches/{}", BATCH.to_uppercase())] {
        let request = GetBatchRequest { name: invalid.to_owned() };
        expect_invalid(&server.client.get_batch(request).await.unwrap_err(), "name");
    }
    let unknown = GetBatchRequest { name: batch_name() };
    let status = server.client.get_batch(unknown).await.unwrap_err();
    expect_status(&status, Code::NotFound, "BATCH_NOT_HERE");
    assert_eq!(journal(&host), Vec::<String>::new());
    assert!(!host.files().iter().any(|file| file.contains("batches")), "{:?}", host.files());
}

#[tokio::test]
async fn bad_items_do_not_affect_the_others() {
    let host = Host::with_s3(FakeS3::new(Mode::Works));
    let mut server = host.start().await;
    committed(&mut server.client, request(2, "other.docx")).await;
    let mut items = requests(5);
    // An id of other content, and an upload that does not exist.
    items[3].documents[0].source = Some(Source::Upload(format!("uploads/{}", id(9))));
    let started = start(&mut server.client, batch(items)).await;
    let reasons = |batch: &Batch| {
        let reason = |item: &BatchItem| (item.state(), item.state_reason.clone());
        batch.items.iter().map(reason).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&started)[1], (State::Refused, "REQUEST_ID_REUSED".to_owned()));
    assert_eq!(reasons(&started)[3], (State::Refused, "UPLOAD_NOT_FOUND".to_owned()));
    assert!(started.items[3].message.contains("documents[0].upload"), "{:?}", started.items[3]);
    let (_, ended) = results(&mut server.client).await;
    let counts = ended.counts.unwrap();
    assert_eq!((counts.total, counts.committed, counts.refused), (5, 3, 2));
    // Outcomes of acceptance survive, although nothing else on the disk has them.
    reported(&mut server.client).await;
    server.stop().await;
    let mut server = host.start().await;
    assert_eq!(reasons(&get(&mut server.client).await)[3].1, "UPLOAD_NOT_FOUND");
}

#[tokio::test]
async fn missing_ids_are_derived_from_the_batch() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut items = requests(2);
    items[1].request_id.clear();
    let started = start(&mut server.client, batch(items)).await;
    let derived = Uuid::new_v5(&BATCH.parse().unwrap(), b"1");
    assert_eq!(started.items[1].export, format!("exports/{derived}"));
    let unnamed = BatchStartExportsRequest { batch_id: String::new(), requests: requests(1) };
    let started = start(&mut server.client, unnamed).await;
    assert_ne!(started.name, batch_name());
}

#[tokio::test]
async fn sending_again_resumes_and_other_content_is_refused() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone());
    let mut server = host.start().await;
    let first = start(&mut server.client, batch(requests(10))).await;
    let again = start(&mut server.client, batch(requests(10))).await;
    assert_eq!(first.accepted_time, again.accepted_time);
    assert_eq!(states(&again), [State::Pending; 10]);
    let mut other = requests(10);
    other[9].review.as_mut().unwrap().reviewer = "Grace".to_owned();
    let status = refused(&mut server.client, batch(other.clone())).await;
    expect_status(&status, Code::AlreadyExists, "BATCH_ID_REUSED");
    expect_status(
        &refused(&mut server.client, batch(requests(9))).await,
        Code::AlreadyExists,
        "BATCH_ID_REUSED",
    );
    s3.set(Mode::Works);
    results(&mut server.client).await;
    reported(&mut server.client).await;
    // Also after its end, from the note.
    let again = start(&mut server.client, batch(requests(10))).await;
    assert_eq!(again.state(), batch::State::Ended);
    let status = refused(&mut server.client, batch(other)).await;
    expect_status(&status, Code::AlreadyExists, "BATCH_ID_REUSED");
    assert_eq!(exports_in(&s3), 10);
}

/// The number of manifests in the store.
fn exports_in(s3: &FakeS3) -> usize {
    let folders = fs::read_dir(s3.root()).unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|folder| folder.join("manifest.json").exists()).count()
}

#[tokio::test]
async fn two_calls_at_once_are_one_batch() {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone());
    let mut server = host.start().await;
    let mut others: Vec<Client> = (0..4).map(|_| server.client.clone()).collect();
    let calls = others.iter_mut().map(|client| start(client, batch(requests(30))));
    for batch in futures::future::join_all(calls).await {
        assert!(batch.items.iter().all(|item| item.state() != State::NotAccepted), "{batch:?}");
    }
    let (items, _) = results(&mut server.client).await;
    assert_eq!((items.len(), exports_in(&s3)), (30, 30));
}

#[tokio::test]
async fn restart_finishes_the_batch_with_one_report_and_one_event() {
    let receiver = Receiver::start().await;
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let mut target = hook("hook", receiver.address);
    target["events"] = json!(["batch_ended"]);
    let host = notifying(Host::with_s3(s3.clone()), &json!([target])).flags(&QUICK);
    let mut server = host.start().await;
    start(&mut server.client, batch(requests(40))).await;
    s3.until_held(1).await;
    server.stop().await;
    let mut server = host.start().await;
    let unfinished = get(&mut server.client).await;
    assert_eq!(unfinished.state(), batch::State::Running);
    s3.set(Mode::Works);
    let (items, ended) = results(&mut server.client).await;
    assert_eq!((items.len(), ended.counts.unwrap().committed), (40, 40));
    let received = receiver.until(1).await;
    assert_eq!(received[0].kind(), "batch_ended");
    received[0].verify_signature();
    let event = &received[0].event;
    assert_eq!(event["subject"], json!(batch_name()));
    assert_eq!(event["data"]["batch"], json!(batch_name()));
    assert_eq!(event["data"]["counts"]["committed"], json!(40));
    let location = reported(&mut server.client).await.report_location;
    assert_eq!(event["data"]["report_location"], json!(location));
    let delivered = until_events(&server, event::State::Delivered, 1).await;
    assert_eq!((delivered[0].export.as_str(), &delivered[0].batch), ("", &batch_name()));
    assert_eq!(exports_in(&s3), 40);
    // Neither a restart nor the same batch ends it again.
    server.stop().await;
    let mut server = host.start().await;
    assert_eq!(start(&mut server.client, batch(requests(40))).await.state(), batch::State::Ended);
    until_events(&server, event::State::Delivered, 1).await;
    assert_eq!(receiver.received().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn two_servers_with_one_bucket_export_and_notify_once() {
    let receiver = Receiver::start().await;
    let s3 = FakeS3::new(Mode::Works);
    let mut target = hook("hook", receiver.address);
    target["events"] = json!(["batch_ended"]);
    let hosts = [(); 2].map(|()| notifying(Host::with_s3(s3.clone()), &json!([target])));
    let mut servers = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        give_own_name(host, number);
        servers.push(host.start().await);
    }
    let mut clients: Vec<Client> = servers.iter().map(|server| server.client.clone()).collect();
    let calls = clients.iter_mut().map(|client| start(client, batch(requests(20))));
    futures::future::join_all(calls).await;
    for client in &mut clients {
        let (items, _) = results(client).await;
        assert!(items.iter().all(|item| item.state() == State::Committed), "{items:?}");
        reported(client).await;
    }
    for server in &servers {
        until_events(server, event::State::Delivered, 1).await;
    }
    assert_eq!((exports_in(&s3), receiver.received().len()), (20, 1));
    assert_eq!(report(&s3)["counts"]["committed"], json!(20));
    for server in servers {
        server.stop().await;
    }
    // A server that never had it finds the report.
    let host = Host::with_s3(s3.clone());
    let mut server = host.start().await;
    assert_eq!(get(&mut server.client).await.counts.unwrap().committed, 20);
    let again = start(&mut server.client, batch(requests(20))).await;
    assert_eq!(again.state(), batch::State::Ended);
    let status = refused(&mut server.client, batch(requests(19))).await;
    expect_status(&status, Code::AlreadyExists, "BATCH_ID_REUSED");
}

#[tokio::test]
async fn items_that_fall_back_end_and_the_report_waits_for_s3() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    start(&mut server.client, batch(requests(3))).await;
    let (items, ended) = results(&mut server.client).await;
    assert!(items.iter().all(|item| item.state() == State::FellBack), "{items:?}");
    assert_eq!((ended.counts.unwrap().fell_back, ended.report_location.as_str()), (3, ""));
    let found = checks::checks(&mut server.client).await;
    let row = checks::check(&found, "server.batches");
    assert!(row.message.contains("1 wait for their report"), "{row:?}");
    server.stop().await;
    s3.set(Mode::Works);
    let mut server = host.start().await;
    reported(&mut server.client).await;
    assert_eq!(report(&s3)["items"][0]["state"], json!("FELL_BACK"));
}

/// A batch whose last item needs more room than a journal of 1 MiB has.
fn with_large_item() -> BatchStartExportsRequest {
    let mut items = requests(4);
    let large = vec![b'x'; 2 * 1024 * 1024];
    items[3].documents[0].source = Some(Source::Content(large.into()));
    batch(items)
}

#[tokio::test]
async fn items_that_are_not_accepted_wait_for_the_batch_to_be_sent_again() {
    let host = Host::new();
    let mut server = host.start_with(&["--max-journal-bytes=1MiB"]).await;
    let started = start(&mut server.client, with_large_item()).await;
    assert_eq!(started.items[3].state(), State::NotAccepted);
    assert_eq!(started.items[3].state_reason, "LOCAL_STORE_FULL");
    assert_eq!(started.state(), batch::State::Incomplete);
    let found = checks::checks(&mut server.client).await;
    assert!(checks::check(&found, "server.batches").hint.contains("send them again"));
    server.stop().await;
    let mut server = host.start().await;
    assert_eq!(get(&mut server.client).await.state(), batch::State::Incomplete);
    let again = start(&mut server.client, with_large_item()).await;
    assert_eq!(again.counts.unwrap().not_accepted, 0);
    let (items, _) = results(&mut server.client).await;
    assert!(items.iter().all(|item| item.state() == State::Committed), "{items:?}");
}

#[tokio::test]
async fn batch_that_is_not_sent_again_ends() {
    let flags = ["--max-journal-bytes=1MiB", "--batch-resend-timeout=1h"];
    let host = Host::new().flags(&flags);
    let mut server = host.start().await;
    let started = start(&mut server.client, with_large_item()).await;
    assert_eq!(started.counts.unwrap().not_accepted, 1);
    host.clock.advance(TimeDelta::hours(2));
    let (items, ended) = results(&mut server.client).await;
    assert_eq!((items.len(), ended.counts.unwrap().committed), (4, 3));
    let last = items.iter().find(|item| item.index == 3).unwrap();
    assert_eq!(
        (last.state(), last.state_reason.as_str()),
        (State::Refused, "BATCH_NOT_SENT_AGAIN")
    );
    reported(&mut server.client).await;
}

#[tokio::test]
async fn watch_resumes_after_the_last_result() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--heartbeat-interval=100ms"]);
    let mut server = host.start().await;
    start(&mut server.client, batch(requests(5))).await;
    let watch = |run_id: &str, after_sequence| WatchBatchRequest {
        name: batch_name(),
        run_id: run_id.to_owned(),
        after_sequence,
    };
    let mut stream = server.client.watch_batch(watch("", 0)).await.unwrap().into_inner();
    // The counts arrive at once, and again while nothing happens.
    for _ in 0..2 {
        let message: WatchBatchResponse = stream.message().await.unwrap().unwrap();
        assert_eq!(message.counts.unwrap().pending, 5);
        assert!(matches!(message.event, Some(Event::Heartbeat(_))), "{message:?}");
    }
    s3.set(Mode::Works);
    let (items, _) = results(&mut server.client).await;
    let run_id = loop {
        let message = stream.message().await.unwrap().unwrap();
        if let Some(Event::Item(_)) = message.event {
            break message.run_id;
        }
    };
    let mut stream = server.client.watch_batch(watch(&run_id, 3)).await.unwrap().into_inner();
    let message = stream.message().await.unwrap().unwrap();
    // A process that has moved the note has another list, from its start.
    match message.run_id == run_id {
        true => assert_eq!(message.event, Some(Event::Item(items[3].clone()))),
        false => assert_eq!(message.sequence, 1),
    }
    let status = server.client.watch_batch(watch("", -1)).await.unwrap_err();
    expect_invalid(&status, "after_sequence");
}

#[tokio::test]
async fn batches_of_a_caller_and_of_the_server_are_limited() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let flags = ["--max-batches=3", "--max-batches-per-caller=2"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let numbered = |number: u32| BatchStartExportsRequest {
        batch_id: format!("b47c0000-3b0e-4c59-9d7e-{number:012x}"),
        requests: vec![request(number, "a.docx")],
    };
    start(&mut server.client, numbered(1)).await;
    start(&mut server.client, numbered(2)).await;
    let status = refused(&mut server.client, numbered(3)).await;
    let info = expect_status(&status, Code::ResourceExhausted, "TOO_MANY_BATCHES");
    assert_eq!(info.metadata["setting"], "MAX_BATCHES_PER_CALLER");
    let mut other = connect_from([127, 0, 0, 2], server.address).await;
    start(&mut other, numbered(3)).await;
    let mut third = connect_from([127, 0, 0, 3], server.address).await;
    let status = refused(&mut third, numbered(4)).await;
    let info = expect_status(&status, Code::ResourceExhausted, "TOO_MANY_BATCHES");
    assert_eq!(info.metadata["setting"], "MAX_BATCHES");
    // One that was sent before is no new one.
    start(&mut server.client, numbered(1)).await;
    s3.set(Mode::Works);
    results(&mut server.client).await;
    reported(&mut server.client).await;
    let waiting = async {
        while let Err(status) = third.batch_start_exports(numbered(4)).await {
            expect_status(&status, Code::ResourceExhausted, "TOO_MANY_BATCHES");
        }
    };
    within("a place for another batch", waiting).await;
}

#[tokio::test]
async fn memory_is_reserved_for_all_requests_and_returned() {
    let host = Host::new().flags(&[
        "--max-request-memory=4MiB",
        "--max-request-size=2MiB",
        "--admission-timeout=0s",
    ]);
    let mut server = host.start().await;
    let small: Vec<StartExportRequest> = requests(2);
    start(&mut server.client, batch(small)).await;
    results(&mut server.client).await;
    // Each item needs memory for what it becomes.
    let status = refused(&mut server.client, batch(requests(400))).await;
    expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
    let too_large = vec![b'x'; 3 * 1024 * 1024];
    let mut item = request(1, "a.docx");
    item.documents[0].source = Some(Source::Content(too_large.into()));
    let status = refused(&mut server.client, batch(vec![item])).await;
    expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
    let admission = server.running.engine().admission().clone();
    let waiting = async {
        while admission.reserved_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the memory is returned", waiting).await;
}

#[tokio::test]
async fn damaged_note_is_left_and_its_exports_continue() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    start(&mut server.client, batch(requests(3))).await;
    server.stop().await;
    let note = host.folder(&format!(".tara-export/batches/{BATCH}.json"));
    let text = fs::read_to_string(&note).unwrap().replace("PENDING", "COMMITTED");
    fs::write(&note, text).unwrap();
    s3.set(Mode::Works);
    let mut server = host.start().await;
    for number in 1..=3 {
        crate::harness::waiting::until_state(
            &mut server.client,
            &name(number),
            tara_export_client::proto::export::State::Committed,
        )
        .await;
    }
    // Sending it again finds them.
    start(&mut server.client, batch(requests(3))).await;
    let (items, _) = results(&mut server.client).await;
    assert_eq!(items.len(), 3);
}

#[tokio::test]
async fn notes_of_ended_batches_expire() {
    let host = Host::new().flags(&["--receipt-retention=0s", "--retention-interval=100ms"]);
    // The files' times are those of the machine.
    host.clock.advance(TimeDelta::days(36_500));
    let mut server = host.start().await;
    start(&mut server.client, batch(requests(1))).await;
    let (_, ended) = results(&mut server.client).await;
    assert_eq!(ended.counts.unwrap().committed, 1);
    let waiting = async {
        while !host.files().iter().any(|file| file.ends_with("/report.json"))
            || host.files().iter().any(|file| {
                file.contains("batches/ended/") || file.ends_with(&format!("batches/{BATCH}.json"))
            })
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within("the note expires", waiting).await;
    // The report still answers.
    assert_eq!(get(&mut server.client).await.state(), batch::State::Ended);
}

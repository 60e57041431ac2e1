//! Processes that are killed at every step of a batch. Then the batch must end, with one bundle for each item, one
//! report and one event.

use std::{collections::BTreeSet, time::Duration};

use futures::StreamExt as _;
use tara_export_client::{
    Client,
    proto::{BatchStartExportsRequest, batch, batch_item::State, watch_batch_response::Event},
};

use crate::{
    at_steps::failpoint_config,
    callers::{NO_RETRY, request as request_of},
    ledger::ExportCase,
    process::{End, until, within},
    stores::Snapshot,
    world::World,
};

const BATCH: &str = "b47c0000-3b0e-4c59-9d7e-000000000001";
const ITEMS: u32 = 40;

/// The failpoints that a batch reaches, and whether its caller has the response by then. With a number, the process is
/// killed after that many earlier passes.
const STEPS: [(&str, bool); 14] = [
    ("batch.noted", false),
    ("batch.item.recorded", false),
    ("batch.item.recorded=20", false),
    ("batch.item.recorded=39", false),
    ("batch.accepted", false),
    ("batch.answered", false),
    ("manifest.put=10", false),
    ("export.completed=20", false),
    ("receipt.written=39", false),
    ("batch.ended", true),
    ("batch.reported", true),
    ("batch.event.added", true),
    ("batch.note.ended", true),
    ("event.delivered=40", true),
];

/// The names of all steps.
pub(crate) fn steps() -> impl Iterator<Item = &'static str> {
    STEPS.into_iter().map(|(step, _)| step)
}

fn request() -> BatchStartExportsRequest {
    let requests = (1..=ITEMS).map(|number| {
        let mut request = request_of(ExportCase::new(number));
        // Otherwise they would compete for one folder.
        request.review.as_mut().unwrap().document_name = format!("report {number}.docx");
        request
    });
    let requests = requests.collect();
    BatchStartExportsRequest { batch_id: BATCH.to_owned(), requests }
}

/// Follows the batch to its end. `sends` is whether the batch is sent, perhaps again.
async fn follow(url: &str, sends: bool) {
    let client = Client::connect(url).await.unwrap();
    let mut results = match sends {
        true => client.export_batch(request()),
        false => client.watch_batch(format!("batches/{BATCH}")),
    };
    let mut indexes = BTreeSet::new();
    let following = async {
        while let Some(step) = results.next().await {
            match step.unwrap().event {
                Some(Event::Item(item)) => {
                    assert_eq!(item.state(), State::Committed, "{item:?}");
                    assert!(indexes.insert(item.index), "{item:?} twice");
                }
                Some(Event::Ended(ended)) => assert_eq!(ended.counts.unwrap().committed, 40),
                _ => {}
            }
        }
    };
    within("the batch ends", following).await;
    assert_eq!(indexes.len(), ITEMS as usize);
    let reported = async {
        loop {
            let batch = client.get_batch(format!("batches/{BATCH}")).await.unwrap();
            assert_eq!(batch.state(), batch::State::Ended);
            if !batch.report_location.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the report", reported).await;
}

async fn killed_at(step: &str, is_answered: bool) {
    let mut world =
        World::new("60s").await.notifying(|receiver| vec![receiver.target("hook")]).await;
    let mut process = world.start(&failpoint_config(step));
    let url = process.url().await.unwrap();
    let calling = async {
        let client = Client::connect(&url).await.unwrap().with_follow_policy(NO_RETRY);
        let mut results = client.export_batch(request());
        // Until the process is killed, which the client takes for a lost connection.
        while let Some(Ok(_)) = results.next().await {}
    };
    let ended = tokio::select! {
        () = async { calling.await; std::future::pending().await } => unreachable!(),
        ended = tokio::time::timeout(Duration::from_secs(90), process.ended()) => ended,
    };
    assert_eq!(ended, Ok(End::Killed), "never reached {step}");
    drop(process);
    world.check();
    // Killed again while it recovers: at the same step, if it is reached again.
    let mut process = world.start(&failpoint_config(step));
    if let Some(url) = process.url().await
        && !is_answered
    {
        let client = Client::connect(&url).await;
        if let Ok(client) = client {
            let mut results = client.with_follow_policy(NO_RETRY).export_batch(request());
            let following = async { while let Some(Ok(_)) = results.next().await {} };
            tokio::select! {
                () = following => {}
                _ = process.ended() => {}
            }
        }
    }
    process.kill();
    process.ended().await;
    drop(process);
    world.check();
    let mut process = world.start("");
    let url = process.url().await.unwrap();
    follow(&url, !is_answered).await;
    let receiver_has_it = || {
        let deliveries = world.notified.as_ref().unwrap().receiver.deliveries();
        deliveries.iter().any(|delivery| delivery.event_type == "batch_ended")
    };
    until("the event is delivered", receiver_has_it).await;
    process.terminate();
    process.ended().await;
    world.finish().await;
    let objects = Snapshot::of_s3(&world.s3);
    let reports = objects.0.keys().filter(|key| key.contains("/batches/"));
    assert_eq!(reports.count(), 1, "one report after a kill at {step}");
    assert_eq!(objects.bundles().len(), ITEMS as usize, "bundles after a kill at {step}");
    let deliveries = world.notified.as_ref().unwrap().receiver.deliveries();
    let events: BTreeSet<&str> = deliveries
        .iter()
        .filter(|delivery| delivery.event_type == "batch_ended")
        .map(|delivery| delivery.event_id.as_str())
        .collect();
    assert_eq!(events.len(), 1, "one event after a kill at {step}: {deliveries:#?}");
}

#[tokio::test]
async fn batch_that_is_killed_before_its_response_is_finished_by_sending_it_again() {
    for (step, _) in STEPS.into_iter().filter(|(_, is_answered)| !is_answered) {
        eprintln!("killed at {step}");
        killed_at(step, false).await;
    }
}

#[tokio::test]
async fn batch_that_is_killed_after_its_response_is_finished_by_a_restart() {
    for (step, _) in STEPS.into_iter().filter(|(_, is_answered)| *is_answered) {
        eprintln!("killed at {step}");
        killed_at(step, true).await;
    }
}

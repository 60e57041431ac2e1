//! A small bundle is in S3 after three round trips: all requests of one round trip are sent at once.

use std::{collections::BTreeSet, time::Duration};

use tara_export_client::proto::export::State;
use tara_export_test_support::{Fault, FaultId, FaultRule, Operation, TestS3};

use crate::{
    following::committed,
    harness::{Host, s3::store_of, within},
    requests::{name, request},
};

/// Waits for this many requests while S3 does not respond, so that none of them depends on another's response. Then
/// releases them and blocks the next ones.
async fn next_round_trip(
    s3: &TestS3,
    stalled: &mut FaultId,
    count: usize,
) -> BTreeSet<(Operation, String)> {
    let sent = async {
        loop {
            let requests = s3.requests();
            if requests.len() >= count {
                return requests;
            }
            tokio::task::yield_now().await;
        }
    };
    let requests = within("the requests of a round trip", sent).await;
    assert!(requests.iter().all(|request| request.finished.is_none()), "{requests:?}");
    s3.reset_requests();
    let next = s3.fail(FaultRule::new(Fault::Stall));
    s3.clear_fault(std::mem::replace(stalled, next));
    requests.into_iter().map(|request| (request.operation, request.key)).collect()
}

#[tokio::test]
async fn small_bundle_takes_three_round_trips() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    // The first export of a server runs the probe.
    let first = committed(&mut server.client, request(1, "first.docx")).await;
    s3.reset_requests();

    let id = name(2).replace("exports/", "");
    let folder = first.folder_name.replace("first", "second");

    let mut stalled = s3.fail(FaultRule::new(Fault::Stall));
    let mut client = server.client.clone();
    let second =
        tokio::spawn(async move { committed(&mut client, request(2, "second.docx")).await });
    let claim = next_round_trip(&s3, &mut stalled, 3).await;
    let expected = [
        (Operation::PutObject, format!("tara/.tara-export/exports/{id}.json")),
        (Operation::PutObject, format!("tara/.tara-export/folders/{folder}.json")),
        (Operation::GetObject, format!("tara/{folder}/manifest.json")),
    ];
    assert_eq!(claim, expected.into());

    let artifacts = next_round_trip(&s3, &mut stalled, first.artifacts.len() + 1).await;
    for artifact in &first.artifacts {
        let key = format!("tara/{folder}/{}", artifact.path.replace("first", "second"));
        assert!(artifacts.contains(&(Operation::PutObject, key)), "{}", artifact.path);
    }
    let index = |(_, key): &&(Operation, String)| key.starts_with("tara/.tara-export/index/");
    assert_eq!(artifacts.iter().filter(index).count(), 1);

    let manifest = next_round_trip(&s3, &mut stalled, 1).await;
    assert_eq!(manifest, [(Operation::PutObject, format!("tara/{folder}/manifest.json"))].into());
    s3.clear_fault(stalled);
    assert_eq!(within("the export", second).await.unwrap().state(), State::Committed);
}

#[tokio::test]
async fn manifest_is_sent_after_all_other_puts_are_confirmed() {
    let s3 = TestS3::start().await;
    let mut server = Host::with_s3(store_of(&s3)).start().await;
    // Long enough for concurrent requests to overlap.
    s3.latency(Duration::from_millis(50));
    committed(&mut server.client, request(1, "a.docx")).await;
    let puts = s3.requests_of(Operation::PutObject);
    let (manifests, others): (Vec<_>, Vec<_>) =
        puts.iter().partition(|put| put.key.ends_with("/manifest.json"));
    let [manifest] = manifests[..] else { panic!("{manifests:?}") };
    assert!(others.len() > 10, "{others:?}");
    for other in others {
        assert!(other.finished.is_some_and(|time| time <= manifest.started), "{}", other.key);
    }
}

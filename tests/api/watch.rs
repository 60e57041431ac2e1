//! Clients that lost their stream attach again and miss no event.

use chrono::TimeDelta;
use tara_export_client::proto::{WatchExportRequest, export_event::Event};
use tonic::Code;

use crate::{
    fake_s3::{FakeS3, Mode, SilentServer},
    following::{Followed, committed, export, follow, kind, next, next_where, watch},
    harness::{Client, Host, within},
    requests::{name, request, s3_or_nothing},
    statuses::{expect_invalid, expect_status},
};

fn is_heartbeat(event: &Event) -> bool {
    matches!(event, Event::Heartbeat(_))
}

async fn watch_after(client: &mut Client, run_id: &str, after_sequence: i64) -> Followed {
    let request = WatchExportRequest { name: name(1), run_id: run_id.to_owned(), after_sequence };
    follow(client.watch_export(request).await.unwrap().into_inner()).await
}

#[tokio::test]
async fn run_is_replayed_after_the_last_seen_event() {
    let host = Host::new();
    let mut server = host.start().await;
    let followed = export(&mut server.client, request(1, "incident report.docx")).await;
    let numbered: Vec<_> = followed.numbered().into_iter().cloned().collect();
    let run_id = numbered[0].run_id.clone();
    for seen in [0, 1, 7, numbered.len() - 1] {
        let rest = watch_after(&mut server.client, &run_id, seen as i64).await;
        assert_eq!(rest.numbered(), numbered[seen..].iter().collect::<Vec<_>>(), "after {seen}");
        rest.completed();
    }
    // Sequence numbers of another run are ignored.
    for other_run in ["", "no run", "00000000-0000-0000-0000-000000000000"] {
        let replay = watch_after(&mut server.client, other_run, 7).await;
        assert_eq!(replay.numbered(), numbered.iter().collect::<Vec<_>>(), "{other_run}");
    }
}

#[tokio::test]
async fn terminal_event_is_repeated_after_all_events_were_seen() {
    let host = Host::new();
    let mut server = host.start().await;
    let followed = export(&mut server.client, request(1, "incident report.docx")).await;
    let last = followed.numbered().last().unwrap().sequence;
    for after in [last, last + 1, i64::MAX] {
        let end = watch_after(&mut server.client, &followed.events[0].run_id, after).await;
        assert_eq!(end.completed(), followed.completed());
        assert_eq!(end.events.len(), 1);
    }
    // The same for a failure, which is also the status of the stream.
    let silent = SilentServer::start().await;
    let flags = ["--accept-timeout=10ms", "--s3-retry-budget=100ms"];
    let host = Host::with_s3(silent.store()).flags(&flags);
    let mut server = host.start().await;
    let failed = export(&mut server.client, s3_or_nothing(1, "incident report.docx")).await;
    let again = watch_after(&mut server.client, &failed.events[0].run_id, 2).await;
    assert_eq!(again.failed().0, failed.failed().0);
}

#[tokio::test]
async fn sequence_beyond_the_last_event_hides_no_later_event() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m"]);
    let mut server = host.start().await;
    let start = server.client.start_export(request(1, "incident report.docx"));
    let mut stream = start.await.unwrap().into_inner();
    let run_id = next(&mut stream).await.run_id;
    s3.until_held(1).await;
    let watch = WatchExportRequest { name: name(1), run_id, after_sequence: 1_000 };
    let watching = server.client.watch_export(watch).await.unwrap().into_inner();
    s3.set(Mode::Works);
    let watched = follow(watching).await;
    assert_eq!(watched.completed(), follow(stream).await.completed());
}

#[tokio::test]
async fn export_of_a_previous_process_has_only_a_terminal_event() {
    let host = Host::new();
    let mut server = host.start().await;
    let first = committed(&mut server.client, request(1, "incident report.docx")).await;
    server.stop().await;
    host.clock.advance(TimeDelta::hours(1));
    let mut server = host.start().await;
    let watched = watch(&mut server.client, &name(1)).await;
    assert_eq!(watched.kinds(), ["completed"]);
    assert_eq!(watched.events[0].run_id, "");
    assert_eq!(watched.completed().manifest_sha256, first.manifest_sha256);
    let progress = watched.events[0].progress.unwrap();
    assert_eq!(progress.artifacts_done as usize, first.artifacts.len() + 1);
    assert_eq!((progress.bytes_done, progress.bytes_total), (first.size_bytes, first.size_bytes));
}

#[tokio::test]
async fn watch_of_an_unknown_export_is_refused() {
    let host = Host::new();
    let mut server = host.start().await;
    let request = WatchExportRequest { name: name(7), ..WatchExportRequest::default() };
    let status = server.client.watch_export(request).await.unwrap_err();
    expect_status(&status, Code::NotFound, "EXPORT_NOT_HERE");
}

#[tokio::test]
async fn invalid_watch_request_is_refused_naming_the_field() {
    let host = Host::new();
    let mut server = host.start().await;
    let negative =
        WatchExportRequest { name: name(1), after_sequence: -1, ..WatchExportRequest::default() };
    let status = server.client.watch_export(negative).await.unwrap_err();
    expect_invalid(&status, "after_sequence");
    let nameless = WatchExportRequest { name: "1".to_owned(), ..WatchExportRequest::default() };
    expect_invalid(&server.client.watch_export(nameless).await.unwrap_err(), "name");
}

#[tokio::test]
async fn stream_without_events_sends_heartbeats() {
    let silent = SilentServer::start().await;
    let flags = ["--accept-timeout=10ms", "--s3-retry-budget=10m", "--heartbeat-interval=100ms"];
    let host = Host::with_s3(silent.store()).flags(&flags);
    let mut server = host.start().await;
    let start = server.client.start_export(request(1, "incident report.docx"));
    let mut stream = within("accepted without the store", start).await.unwrap().into_inner();
    let accepted = next(&mut stream).await;
    assert_eq!((kind(&accepted).as_str(), accepted.sequence), ("accepted", 1));
    for _ in 0..3 {
        let heartbeat = next(&mut stream).await;
        assert_eq!(kind(&heartbeat), "heartbeat");
        assert_eq!(heartbeat.sequence, 1, "it repeats the last number");
        assert_eq!((&heartbeat.name, &heartbeat.run_id), (&name(1), &accepted.run_id));
        assert_eq!(heartbeat.progress, accepted.progress);
    }
    // Heartbeats are not replayed.
    let watch = WatchExportRequest { name: name(1), ..WatchExportRequest::default() };
    let mut second = server.client.watch_export(watch).await.unwrap().into_inner();
    assert_eq!(next(&mut second).await, accepted);
}

#[tokio::test]
async fn live_watch_receives_the_same_events_as_start() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m"]);
    let mut server = host.start().await;
    let start = server.client.start_export(request(1, "incident report.docx"));
    let starting = start.await.unwrap().into_inner();
    s3.until_held(1).await;
    let watch = WatchExportRequest { name: name(1), ..WatchExportRequest::default() };
    let watching = server.client.watch_export(watch).await.unwrap().into_inner();
    s3.set(Mode::Works);
    let (started, watched) = futures::join!(follow(starting), follow(watching));
    assert_eq!(watched.numbered(), started.numbered());
    assert_eq!(watched.completed(), started.completed());
}

#[tokio::test]
async fn other_replica_follows_the_export_through_the_store() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let (one, other) = (Host::with_s3(s3.clone()), Host::with_s3(s3.clone()));
    let (one, other) =
        (one.flags(&["--s3-retry-budget=10m"]), other.flags(&["--heartbeat-interval=100ms"]));
    let (mut one, mut other) = (one.start().await, other.start().await);
    let start = one.client.start_export(request(1, "incident report.docx"));
    let stream = start.await.unwrap().into_inner();
    s3.until_held(1).await;
    let watch = WatchExportRequest { name: name(1), ..WatchExportRequest::default() };
    let mut watching = other.client.watch_export(watch).await.unwrap().into_inner();
    let heartbeat = next_where(&mut watching, is_heartbeat).await;
    assert_eq!((heartbeat.name, heartbeat.run_id), (name(1), String::new()));
    s3.set(Mode::Works);
    let (started, watched) = futures::join!(follow(stream), follow(watching));
    assert_eq!(watched.kinds().last().map(String::as_str), Some("completed"));
    assert_eq!(watched.completed().manifest_sha256, started.completed().manifest_sha256);
}

//! The client against a server that cuts, refuses, falls silent and forgets.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]
#![allow(dead_code, reason = "the fake server serves the tests of the commands too")]

mod client_fake;

use std::time::Duration;

use client_fake::{Answer, Call, End, FakeServer, Script, status};
use futures::{StreamExt as _, TryStreamExt as _};
use tara_export::{
    client::{ClientError, FollowPolicy},
    proto::{
        Accepted, Artifact, ArtifactUpdate, Completed, DownloadArtifactResponse, Export,
        ExportEvent, Heartbeat, ListExportsRequest, PreviewExportRequest, StartExportRequest,
        export_event::Event,
    },
};
use tonic::{Code, Status};

const ID: &str = "5f6e3c1a-0f0b-4b3e-9d59-5a1f6ad1f001";

fn quick() -> FollowPolicy {
    FollowPolicy {
        min_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(5),
        ..FollowPolicy::default()
    }
}

fn event(run: &str, sequence: i64, event: Event) -> ExportEvent {
    ExportEvent {
        name: format!("exports/{ID}"),
        run_id: run.to_owned(),
        sequence,
        event: Some(event),
        ..Default::default()
    }
}

fn accepted(run: &str) -> ExportEvent {
    event(run, 1, Event::Accepted(Accepted::default()))
}

fn stored(run: &str, sequence: i64) -> ExportEvent {
    let path = format!("{run}-{sequence}");
    let update = ArtifactUpdate { path, ..Default::default() };
    event(run, sequence, Event::ArtifactStored(update))
}

fn progress(run: &str, sequence: i64, bytes_done: i64) -> ExportEvent {
    let update = ArtifactUpdate { bytes_done, ..Default::default() };
    event(run, sequence, Event::ArtifactProgress(update))
}

fn heartbeat(run: &str, sequence: i64) -> ExportEvent {
    event(run, sequence, Event::Heartbeat(Heartbeat {}))
}

fn completed(run: &str, sequence: i64) -> ExportEvent {
    event(run, sequence, Event::Completed(Completed::default()))
}

fn ended_early() -> End {
    End::Status(status(Code::Unavailable, "STREAM_ENDED_EARLY", "watch again"))
}

fn request() -> StartExportRequest {
    StartExportRequest { request_id: ID.to_owned(), ..Default::default() }
}

fn start() -> Call {
    Call::Start { request_id: ID.to_owned() }
}

fn watch(run: &str, after_sequence: i64) -> Call {
    Call::Watch { name: format!("exports/{ID}"), run_id: run.to_owned(), after_sequence }
}

async fn server(answers: impl Into<Vec<Answer>>) -> FakeServer {
    let answers = answers.into().into();
    FakeServer::start(Script { answers, ..Default::default() }).await
}

async fn follow(server: &FakeServer) -> Result<Vec<ExportEvent>, ClientError> {
    server.client(quick()).await.export(request()).try_collect().await
}

#[tokio::test]
async fn an_export_that_goes_well_is_one_call() {
    let events = vec![accepted("a"), stored("a", 2), completed("a", 3)];
    let server = server([Answer::Stream(events.clone(), End::Ok)]).await;
    assert_eq!(follow(&server).await.unwrap(), events);
    assert_eq!(server.script().calls, [start()]);
}

#[tokio::test]
async fn streams_that_end_early_are_taken_up_where_they_ended() {
    let server = server([
        Answer::Stream(vec![accepted("a"), stored("a", 2)], ended_early()),
        // A server may end a stream without an error too.
        Answer::Stream(vec![stored("a", 3)], End::Ok),
        Answer::Refuse(Status::unavailable("a proxy's own words")),
        Answer::Stream(vec![stored("a", 4), completed("a", 5)], End::Ok),
    ])
    .await;
    let expected =
        [accepted("a"), stored("a", 2), stored("a", 3), stored("a", 4), completed("a", 5)];
    assert_eq!(follow(&server).await.unwrap(), expected);
    assert_eq!(server.script().calls, [start(), watch("a", 2), watch("a", 3), watch("a", 3)]);
}

#[tokio::test]
async fn a_cut_connection_is_made_again() {
    let server = server([
        Answer::Stream(vec![accepted("a"), stored("a", 2)], End::Silence),
        Answer::Stream(vec![stored("a", 3), completed("a", 4)], End::Ok),
    ])
    .await;
    let mut events = server.client(quick()).await.export(request());
    assert_eq!(events.next().await.unwrap().unwrap(), accepted("a"));
    assert_eq!(events.next().await.unwrap().unwrap(), stored("a", 2));
    server.cut();
    assert_eq!(events.next().await.unwrap().unwrap(), stored("a", 3));
    assert_eq!(events.next().await.unwrap().unwrap(), completed("a", 4));
    assert!(events.next().await.is_none());
    assert_eq!(server.script().calls, [start(), watch("a", 2)]);
}

#[tokio::test]
async fn no_event_of_a_run_comes_twice() {
    let server = server([
        Answer::Stream(vec![accepted("a"), stored("a", 2), progress("a", 2, 7)], ended_early()),
        // Replays all of it, with news of the artifact in between.
        Answer::Stream(
            vec![accepted("a"), progress("a", 1, 3), stored("a", 2), progress("a", 2, 9)],
            ended_early(),
        ),
        // A new run after a crash begins at 1, and a server goes back to the old one.
        Answer::Stream(vec![accepted("b"), stored("b", 2)], ended_early()),
        Answer::Stream(vec![accepted("a"), stored("a", 2), stored("a", 3)], ended_early()),
        Answer::Stream(vec![accepted("b"), stored("b", 2), completed("b", 3)], End::Ok),
    ])
    .await;
    let expected = [
        accepted("a"),
        stored("a", 2),
        progress("a", 2, 7),
        progress("a", 2, 9),
        accepted("b"),
        stored("b", 2),
        stored("a", 3),
        completed("b", 3),
    ];
    assert_eq!(follow(&server).await.unwrap(), expected);
    let calls = [start(), watch("a", 2), watch("a", 2), watch("b", 2), watch("a", 3)];
    assert_eq!(server.script().calls, calls);
}

#[tokio::test]
async fn a_server_that_forgot_the_export_gets_it_again() {
    let not_here = || Answer::Refuse(status(Code::NotFound, "EXPORT_NOT_HERE", "nothing known"));
    let server = server([
        Answer::Stream(vec![accepted("a")], ended_early()),
        not_here(),
        Answer::Refuse(Status::unavailable("starting")),
        not_here(),
        Answer::Stream(vec![accepted("b"), completed("b", 2)], End::Ok),
    ])
    .await;
    let expected = [accepted("a"), accepted("b"), completed("b", 2)];
    assert_eq!(follow(&server).await.unwrap(), expected);
    assert_eq!(server.script().calls, [start(), watch("a", 1), start(), watch("a", 1), start()]);
}

#[tokio::test]
async fn an_export_that_ended_before_the_call_has_only_its_end() {
    // Such an event belongs to no run.
    for sequence in [0, 1] {
        let server = server([Answer::Stream(vec![completed("", sequence)], End::Ok)]).await;
        let client = server.client(quick()).await;
        let events: Vec<_> = client.watch(format!("exports/{ID}")).try_collect().await.unwrap();
        assert_eq!(events, [completed("", sequence)]);
        assert_eq!(server.script().calls, [watch("", 0)]);
    }
}

#[tokio::test]
async fn watching_does_not_start_what_is_not_there() {
    let not_here = status(Code::NotFound, "EXPORT_NOT_HERE", "nothing known");
    let server = server([Answer::Refuse(not_here)]).await;
    let client = server.client(quick()).await;
    let error = client.watch(format!("exports/{ID}")).next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some("EXPORT_NOT_HERE"));
    assert_eq!(server.script().calls, [watch("", 0)]);
}

#[tokio::test]
async fn a_silent_stream_is_left() {
    let server = server([
        Answer::Stream(vec![accepted("a"), heartbeat("a", 1)], End::Silence),
        Answer::Stream(vec![completed("a", 2)], End::Ok),
    ])
    .await;
    let policy = FollowPolicy { silence: Duration::from_millis(100), ..quick() };
    let events: Vec<_> = server.client(policy).await.export(request()).try_collect().await.unwrap();
    assert_eq!(events, [accepted("a"), heartbeat("a", 1), completed("a", 2)]);
    assert_eq!(server.script().calls, [start(), watch("a", 1)]);
}

#[tokio::test]
async fn an_export_that_nobody_works_on_is_started_again() {
    // A server that only looks for the bundle in the store sends heartbeats without a run.
    let server = server([
        Answer::Stream(vec![accepted("a"), heartbeat("", 0)], End::Silence),
        Answer::Stream(vec![accepted("b"), heartbeat("", 0), completed("b", 2)], End::Ok),
    ])
    .await;
    // The first such heartbeat comes later than patience lasts.
    let policy = FollowPolicy { patience: Duration::ZERO, ..quick() };
    let events: Vec<_> = server.client(policy).await.export(request()).try_collect().await.unwrap();
    let expected =
        [accepted("a"), heartbeat("", 0), accepted("b"), heartbeat("", 0), completed("b", 2)];
    assert_eq!(events, expected);
    // Once: the second such heartbeat changes nothing.
    assert_eq!(server.script().calls, [start(), start()]);
}

#[tokio::test]
async fn patience_ends() {
    let server = server([Answer::Stream(vec![accepted("a")], ended_early())]).await;
    let policy = FollowPolicy { patience: Duration::from_millis(50), ..quick() };
    let mut events = server.client(policy).await.export(request());
    assert_eq!(events.next().await.unwrap().unwrap(), accepted("a"));
    match events.next().await.unwrap() {
        Err(ClientError::LostContact { name, last, .. }) => {
            assert_eq!(name, format!("exports/{ID}"));
            assert_eq!(last.code, Code::Unavailable);
        }
        other => panic!("{other:?}"),
    }
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn what_trying_again_does_not_help_ends_at_once() {
    let reused = status(Code::AlreadyExists, "REQUEST_ID_REUSED", "other content");
    let server = server([Answer::Refuse(reused)]).await;
    let error = follow(&server).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Some(Code::AlreadyExists), Some("REQUEST_ID_REUSED"))
    );
    assert_eq!(server.script().calls, [start()]);
}

#[tokio::test]
async fn a_refusal_for_want_of_the_store_is_an_answer_and_no_lost_call() {
    let unavailable = status(Code::Unavailable, "STORE_UNAVAILABLE", "S3 did not answer");
    let server = server([Answer::Refuse(unavailable)]).await;
    let error = follow(&server).await.unwrap_err();
    assert!(matches!(error, ClientError::Rejected(_)), "{error}");
    assert_eq!(error.reason(), Some("STORE_UNAVAILABLE"));
    assert_eq!(server.script().calls, [start()]);
}

#[tokio::test]
async fn a_request_without_id_gets_one() {
    let server = server([Answer::Stream(vec![completed("a", 1)], End::Ok)]).await;
    let events = server.client(quick()).await.export(StartExportRequest::default());
    let name = events.name().to_owned();
    let _: Vec<_> = events.try_collect().await.unwrap();
    let script = server.script();
    let [Call::Start { request_id }] = script.calls.as_slice() else {
        panic!("{:?}", script.calls)
    };
    assert_eq!(name, format!("exports/{request_id}"));
    assert_eq!(request_id.len(), 36);
}

#[tokio::test]
async fn every_violated_field_is_told() {
    let server = server([]).await;
    let client = server.client(quick()).await;
    let error = client.preview(PreviewExportRequest::default()).await.unwrap_err();
    assert_eq!(error.reason(), Some("INVALID_REVIEW"));
    assert_eq!(
        error.to_string(),
        "the request is wrong (InvalidArgument, INVALID_REVIEW)\n  \
         review.document_name: must not be empty\n  documents[1].kind: stands twice"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let error = tara_export::client::Client::connect("127.0.0.1:1").await.unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("can't connect to 127.0.0.1:1: "), "{message}");
    assert!(message.to_lowercase().contains("refused"), "{message}");
    for url in ["ftp://x", "http://"] {
        let error = tara_export::client::Client::connect(url).await.unwrap_err();
        assert!(matches!(error, ClientError::Url { .. }), "{url}: {error}");
    }
}

#[tokio::test]
async fn lists_go_on_to_the_last_page() {
    let export = |number: i32| Export { name: format!("exports/{number}"), ..Default::default() };
    let exports: Vec<_> = (0..5).map(export).collect();
    let script = Script { exports: exports.clone(), ..Default::default() };
    let server = FakeServer::start(script).await;
    let client = server.client(quick()).await;
    let all: Vec<_> =
        client.list_exports(ListExportsRequest::default()).try_collect().await.unwrap();
    assert_eq!(all, exports);
    assert_eq!(server.script().page_sizes.len(), 3);
    assert_eq!(client.get_export("exports/3").await.unwrap(), exports[3]);
    assert_eq!(client.get_export("exports/9").await.unwrap_err().code(), Some(Code::NotFound));
}

#[tokio::test]
async fn a_download_is_checked() {
    use tara_export::proto::download_artifact_response::Part;
    let part = |part| DownloadArtifactResponse { part: Some(part) };
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // of "abc"
    let artifact = |size_bytes, sha256: &str| Artifact {
        path: "documents/a.docx".to_owned(),
        size_bytes,
        sha256: sha256.to_owned(),
        ..Default::default()
    };
    let data = |data: &'static str| part(Part::Data(data.into()));
    for (parts, expected) in [
        (vec![part(Part::Artifact(artifact(3, sha256))), data("a"), data("bc")], Ok(())),
        (
            vec![part(Part::Artifact(artifact(3, sha256))), data("abd")],
            Err("documents/a.docx arrived damaged: its SHA-256 is "),
        ),
        (
            vec![part(Part::Artifact(artifact(4, sha256))), data("abc")],
            Err("documents/a.docx arrived damaged: 3 bytes came instead of 4"),
        ),
        (vec![data("abc")], Err("the server sent an answer that makes no sense")),
        (vec![], Err("the server sent an answer that makes no sense")),
    ] {
        let server = FakeServer::start(Script { artifact: parts, ..Default::default() }).await;
        let mut file = Vec::new();
        let client = server.client(quick()).await;
        let result = client.download_artifact("exports/1", "documents/a.docx", &mut file).await;
        match (result, expected) {
            (Ok(_), Ok(())) => assert_eq!(file, b"abc"),
            (Err(error), Err(expected)) => {
                assert!(error.to_string().starts_with(expected), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

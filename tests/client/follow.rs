//! The client against a server that drops connections, refuses calls, falls silent or loses exports.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use tara_export_client::{
    ClientError, FollowPolicy,
    proto::{
        Accepted, Artifact, ArtifactUpdate, Completed, DownloadArtifactResponse, Export,
        ExportEvent, Heartbeat, ListExportsRequest, PreviewExportRequest, StartExportRequest,
        export_event::Event,
    },
};
use tonic::{Code, Status};

use crate::fake_server::{Call, End, FakeServer, Script, ScriptedResponse, status};

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

async fn server(responses: impl Into<Vec<ScriptedResponse>>) -> FakeServer {
    let responses = responses.into().into();
    FakeServer::start(Script { responses, ..Default::default() }).await
}

async fn follow(server: &FakeServer) -> Result<Vec<ExportEvent>, ClientError> {
    server.client(quick()).await.export(request()).try_collect().await
}

#[tokio::test]
async fn successful_export_takes_one_call() {
    let events = vec![accepted("a"), stored("a", 2), completed("a", 3)];
    let server = server([ScriptedResponse::Stream(events.clone(), End::Ok)]).await;
    assert_eq!(follow(&server).await.unwrap(), events);
    assert_eq!(server.script().calls, [start()]);
}

#[tokio::test]
async fn stream_that_ends_early_is_resumed() {
    let server = server([
        ScriptedResponse::Stream(vec![accepted("a"), stored("a", 2)], ended_early()),
        // A server can also end a stream without an error.
        ScriptedResponse::Stream(vec![stored("a", 3)], End::Ok),
        ScriptedResponse::Refuse(Status::unavailable("a proxy's message")),
        ScriptedResponse::Stream(vec![stored("a", 4), completed("a", 5)], End::Ok),
    ])
    .await;
    let expected =
        [accepted("a"), stored("a", 2), stored("a", 3), stored("a", 4), completed("a", 5)];
    assert_eq!(follow(&server).await.unwrap(), expected);
    assert_eq!(server.script().calls, [start(), watch("a", 2), watch("a", 3), watch("a", 3)]);
}

#[tokio::test]
async fn lost_connection_is_reopened() {
    let server = server([
        ScriptedResponse::Stream(vec![accepted("a"), stored("a", 2)], End::Silence),
        ScriptedResponse::Stream(vec![stored("a", 3), completed("a", 4)], End::Ok),
    ])
    .await;
    let mut events = server.client(quick()).await.export(request());
    assert_eq!(events.next().await.unwrap().unwrap(), accepted("a"));
    assert_eq!(events.next().await.unwrap().unwrap(), stored("a", 2));
    server.drop_connections();
    assert_eq!(events.next().await.unwrap().unwrap(), stored("a", 3));
    assert_eq!(events.next().await.unwrap().unwrap(), completed("a", 4));
    assert!(events.next().await.is_none());
    assert_eq!(server.script().calls, [start(), watch("a", 2)]);
}

#[tokio::test]
async fn replayed_events_are_delivered_once() {
    let server = server([
        ScriptedResponse::Stream(
            vec![accepted("a"), stored("a", 2), progress("a", 2, 7)],
            ended_early(),
        ),
        // Replays all events, with new progress of the artifact.
        ScriptedResponse::Stream(
            vec![accepted("a"), progress("a", 1, 3), stored("a", 2), progress("a", 2, 9)],
            ended_early(),
        ),
        // A new run after a crash starts at 1; then a server replays the old run.
        ScriptedResponse::Stream(vec![accepted("b"), stored("b", 2)], ended_early()),
        ScriptedResponse::Stream(
            vec![accepted("a"), stored("a", 2), stored("a", 3)],
            ended_early(),
        ),
        ScriptedResponse::Stream(vec![accepted("b"), stored("b", 2), completed("b", 3)], End::Ok),
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
async fn unknown_export_is_sent_again() {
    let not_here =
        || ScriptedResponse::Refuse(status(Code::NotFound, "EXPORT_NOT_HERE", "unknown export"));
    let server = server([
        ScriptedResponse::Stream(vec![accepted("a")], ended_early()),
        not_here(),
        ScriptedResponse::Refuse(Status::unavailable("starting")),
        not_here(),
        ScriptedResponse::Stream(vec![accepted("b"), completed("b", 2)], End::Ok),
    ])
    .await;
    let expected = [accepted("a"), accepted("b"), completed("b", 2)];
    assert_eq!(follow(&server).await.unwrap(), expected);
    assert_eq!(server.script().calls, [start(), watch("a", 1), start(), watch("a", 1), start()]);
}

#[tokio::test]
async fn finished_export_has_only_its_final_event() {
    // The final event belongs to no run.
    for sequence in [0, 1] {
        let server =
            server([ScriptedResponse::Stream(vec![completed("", sequence)], End::Ok)]).await;
        let client = server.client(quick()).await;
        let events: Vec<_> = client.watch(format!("exports/{ID}")).try_collect().await.unwrap();
        assert_eq!(events, [completed("", sequence)]);
        assert_eq!(server.script().calls, [watch("", 0)]);
    }
}

#[tokio::test]
async fn watch_does_not_start_an_unknown_export() {
    let not_here = status(Code::NotFound, "EXPORT_NOT_HERE", "unknown export");
    let server = server([ScriptedResponse::Refuse(not_here)]).await;
    let client = server.client(quick()).await;
    let error = client.watch(format!("exports/{ID}")).next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some("EXPORT_NOT_HERE"));
    assert_eq!(server.script().calls, [watch("", 0)]);
}

#[tokio::test]
async fn silent_stream_is_replaced() {
    let server = server([
        ScriptedResponse::Stream(vec![accepted("a"), heartbeat("a", 1)], End::Silence),
        ScriptedResponse::Stream(vec![completed("a", 2)], End::Ok),
    ])
    .await;
    let policy = FollowPolicy { idle_timeout: Duration::from_millis(100), ..quick() };
    let events: Vec<_> = server.client(policy).await.export(request()).try_collect().await.unwrap();
    assert_eq!(events, [accepted("a"), heartbeat("a", 1), completed("a", 2)]);
    assert_eq!(server.script().calls, [start(), watch("a", 1)]);
}

#[tokio::test]
async fn export_without_a_run_is_started_again() {
    // A server that is still searching the store for the bundle sends heartbeats without a run.
    let server = server([
        ScriptedResponse::Stream(vec![accepted("a"), heartbeat("", 0)], End::Silence),
        ScriptedResponse::Stream(vec![accepted("b"), heartbeat("", 0), completed("b", 2)], End::Ok),
    ])
    .await;
    // The first such heartbeat arrives after the time limit.
    let policy = FollowPolicy { progress_timeout: Duration::ZERO, ..quick() };
    let events: Vec<_> = server.client(policy).await.export(request()).try_collect().await.unwrap();
    let expected =
        [accepted("a"), heartbeat("", 0), accepted("b"), heartbeat("", 0), completed("b", 2)];
    assert_eq!(events, expected);
    // Only once: the second such heartbeat changes nothing.
    assert_eq!(server.script().calls, [start(), start()]);
}

#[tokio::test]
async fn follow_fails_when_its_time_is_up() {
    let server = server([ScriptedResponse::Stream(vec![accepted("a")], ended_early())]).await;
    let policy = FollowPolicy { progress_timeout: Duration::from_millis(50), ..quick() };
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
async fn permanent_error_is_not_retried() {
    let reused = status(Code::AlreadyExists, "REQUEST_ID_REUSED", "other content");
    let server = server([ScriptedResponse::Refuse(reused)]).await;
    let error = follow(&server).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Some(Code::AlreadyExists), Some("REQUEST_ID_REUSED"))
    );
    assert_eq!(server.script().calls, [start()]);
}

#[tokio::test]
async fn store_unavailable_is_a_rejection_and_not_retried() {
    let unavailable = status(Code::Unavailable, "STORE_UNAVAILABLE", "S3 did not respond");
    let server = server([ScriptedResponse::Refuse(unavailable)]).await;
    let error = follow(&server).await.unwrap_err();
    assert!(matches!(error, ClientError::Rejected(_)), "{error}");
    assert_eq!(error.reason(), Some("STORE_UNAVAILABLE"));
    assert_eq!(server.script().calls, [start()]);
}

#[tokio::test]
async fn request_without_id_gets_one() {
    let server = server([ScriptedResponse::Stream(vec![completed("a", 1)], End::Ok)]).await;
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
async fn every_violated_field_is_reported() {
    let server = server([]).await;
    let client = server.client(quick()).await;
    let error = client.preview(PreviewExportRequest::default()).await.unwrap_err();
    assert_eq!(error.reason(), Some("INVALID_REVIEW"));
    assert_eq!(
        error.to_string(),
        "the request is wrong (InvalidArgument, INVALID_REVIEW)\n  \
         review.document_name: must not be empty\n  documents[1].kind: appears twice"
    );
}

#[tokio::test]
async fn connection_error_names_the_server() {
    let error = tara_export_client::Client::connect("127.0.0.1:1").await.unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("cannot connect to 127.0.0.1:1: "), "{message}");
    assert!(message.to_lowercase().contains("refused"), "{message}");
    for url in ["ftp://x", "http://"] {
        let error = tara_export_client::Client::connect(url).await.unwrap_err();
        assert!(matches!(error, ClientError::Url { .. }), "{url}: {error}");
    }
}

#[tokio::test]
async fn list_reads_all_pages() {
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
async fn download_verifies_size_and_digest() {
    use tara_export_client::proto::download_artifact_response::Part;
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
            Err("documents/a.docx is damaged: SHA-256 is "),
        ),
        (
            vec![part(Part::Artifact(artifact(4, sha256))), data("abc")],
            Err("documents/a.docx is damaged: received 3 bytes instead of 4"),
        ),
        (vec![data("abc")], Err("invalid response from the server")),
        (vec![], Err("invalid response from the server")),
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

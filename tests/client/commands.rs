//! The output of the commands without a terminal, and their exit codes.

use std::{fs, io, path::Path, time::Duration};

use clap::Parser;
use tara_export::cli::{CliError, ClientCommand, ExitStatus, Output};
use tara_export_client::{
    FollowPolicy,
    proto::{
        Accepted, Artifact, ArtifactUpdate, BundleArchive, CheckStorageResponse, Completed,
        CreateDownloadLinkRequest, CreateDownloadLinkResponse, Destination,
        DownloadArtifactResponse, DownloadBundleResponse, Export, ExportEvent, Failed, FellBack,
        GetReportResponse, Progress, StorageCheck, download_artifact_response,
        download_bundle_response, export::State, export_event::Event, get_report_response::Report,
        storage_check::Status,
    },
};
use tonic::Code;

use crate::fake_server::{Call, End, FakeServer, Script, ScriptedResponse, status};

const ID: &str = "5f6e3c1a-0f0b-4b3e-9d59-5a1f6ad1f001";
const REVIEW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample-review");

/// The command line around the commands, as in `main`.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: ClientCommand,
}

struct RunResult {
    result: Result<ExitStatus, CliError>,
    stdout: String,
    stderr: String,
}

async fn run(server: &FakeServer, arguments: &[&str]) -> RunResult {
    let policy = FollowPolicy {
        progress_timeout: Duration::from_millis(50),
        min_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(5),
        ..FollowPolicy::default()
    };
    let line = Line::try_parse_from(["tara-export"].iter().chain(arguments)).unwrap();
    let (mut out, stdout, stderr) = Output::captured();
    let result = line.command.run(server.client(policy).await, &mut out).await;
    RunResult { result, stdout: stdout.text(), stderr: stderr.text() }
}

async fn server(events: Vec<ExportEvent>, end: End) -> FakeServer {
    let responses = [ScriptedResponse::Stream(events, end)].into();
    FakeServer::start(Script { responses, ..Default::default() }).await
}

fn event(sequence: i64, event: Event) -> ExportEvent {
    ExportEvent {
        name: format!("exports/{ID}"),
        run_id: "run".to_owned(),
        sequence,
        event_time: None,
        progress: Some(Progress { artifacts_done: 1, artifacts_total: 2, ..Default::default() }),
        event: Some(event),
    }
}

fn accepted() -> ExportEvent {
    event(1, Event::Accepted(Accepted::default()))
}

fn stored() -> ExportEvent {
    let path = "documents/before_\u{1b}[31m文書.docx".to_owned();
    event(2, Event::ArtifactStored(ArtifactUpdate { path, size_bytes: 2048, ..Default::default() }))
}

fn completed(state: State, stored_in: Destination) -> ExportEvent {
    let mut export = Export {
        name: format!("exports/{ID}"),
        state_reason: "STORE_UNAVAILABLE".to_owned(),
        location: "/data/20261122_183700_a/".to_owned(),
        folder_name: "20261122_183700_a".to_owned(),
        replica: "host-1".to_owned(),
        artifact_count: 11,
        size_bytes: 1536,
        manifest_sha256: "ab".repeat(32),
        ..Default::default()
    };
    export.set_state(state);
    export.set_stored_in(stored_in);
    event(3, Event::Completed(Completed { export: Some(export) }))
}

#[tokio::test]
async fn export_prints_its_progress_and_result() {
    let events = vec![accepted(), stored(), completed(State::Committed, Destination::Local)];
    let server = server(events, End::Ok).await;
    let ran = run(&server, &["export", REVIEW, "--request-id", ID]).await;
    assert_eq!(ran.result.unwrap(), ExitStatus::Done);
    assert_eq!(
        ran.stderr,
        format!(
            "accepted exports/{ID} (in the server's memory only)\n\
             ✓ documents/before_\\u{{1b}}[31m文書.docx  2.00 KiB  (1 of 2)\n"
        )
    );
    assert_eq!(
        ran.stdout,
        format!(
            "state           committed\n\
             stored in       local store of host-1\n\
             location        /data/20261122_183700_a/\n\
             folder          20261122_183700_a\n\
             artifacts       11\n\
             size            1.50 KiB\n\
             manifest sha256 {}\n\
             export          exports/{ID}\n",
            "ab".repeat(32)
        )
    );
    assert_eq!(server.script().calls, [Call::Start { request_id: ID.to_owned() }]);
}

#[tokio::test]
async fn fallback_prints_warnings_and_exits_with_3() {
    let fell_back = Event::FellBack(FellBack {
        reason: "STORE_UNAVAILABLE".to_owned(),
        message: "no response from S3".to_owned(),
    });
    let events =
        vec![accepted(), event(2, fell_back), completed(State::FellBack, Destination::Local)];
    let server = server(events, End::Ok).await;
    let ran = run(&server, &["export", REVIEW]).await;
    assert_eq!(ran.result.unwrap().code(), 3);
    for line in [
        "! S3 COULD NOT STORE THE BUNDLE: no response from S3 (STORE_UNAVAILABLE)\n",
        "! The complete bundle is written to the server's local store instead",
        "! NOT IN S3: S3 could not store the bundle (STORE_UNAVAILABLE).",
    ] {
        assert!(ran.stderr.contains(line), "{line} is missing in {}", ran.stderr);
    }
    assert!(ran.stdout.starts_with("state           fell back\n"), "{}", ran.stdout);
    assert!(!ran.stderr.contains('\u{1b}'), "escape codes without a terminal");
}

#[tokio::test]
async fn failure_prints_its_reason_and_the_id_of_the_content() {
    let failed = Event::Failed(Failed {
        reason: "REQUEST_ID_REUSED".to_owned(),
        message: "the id belongs to another export".to_owned(),
        stored_under: "exports/other".to_owned(),
    });
    let server = server(vec![accepted(), event(2, failed)], End::Ok).await;
    let ran = run(&server, &["export", REVIEW, "--request-id", ID]).await;
    assert_eq!(ran.result.unwrap().code(), 1);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    let expected = format!(
        "✗ exports/{ID} failed: the id belongs to another export (REQUEST_ID_REUSED)\n  \
         Its content is stored under exports/other.\n"
    );
    assert!(ran.stderr.ends_with(&expected), "{}", ran.stderr);
}

#[tokio::test]
async fn failure_is_one_event_with_json_and_is_printed_despite_quiet() {
    let failed = || {
        let reason = "SOURCE_LOST".to_owned();
        event(2, Event::Failed(Failed { reason, message: "gone".to_owned(), ..Default::default() }))
    };
    let json = server(vec![failed()], End::Ok).await;
    let ran = run(&json, &["watch", ID, "--json"]).await;
    assert_eq!((ran.result.unwrap().code(), ran.stderr.as_str()), (1, ""));
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);

    let quiet = server(vec![accepted(), failed()], End::Ok).await;
    let (out, stdout, stderr) = Output::captured();
    let line = Line::try_parse_from(["tara-export", "watch", ID]).unwrap();
    let client = quiet.client(FollowPolicy::default()).await;
    line.command.run(client, &mut out.quiet(true)).await.unwrap();
    let expected = format!("✗ exports/{ID} failed: gone (SOURCE_LOST)\n");
    assert_eq!((stdout.text().as_str(), stderr.text()), ("", expected));
}

#[tokio::test]
async fn lost_contact_prints_the_command_to_resume() {
    let ended = End::Status(status(Code::Unavailable, "STREAM_ENDED_EARLY", "watch again"));
    let server = server(vec![accepted()], ended).await;
    let arguments = ["export", REVIEW, "--request-id", ID, "--fallback", "none"];
    let error = run(&server, &arguments).await.result.unwrap_err();
    assert_eq!(error.exit_status().code(), 4);
    let command = format!("tara-export export {REVIEW} --request-id {ID} --fallback none");
    assert!(error.to_string().ends_with(&command), "{error}");
}

#[tokio::test]
async fn lost_connection_is_shown_before_the_next_attempt() {
    let lost = End::Status(status(Code::Unavailable, "STREAM_ENDED_EARLY", "watch \u{1b} again"));
    let responses = [
        ScriptedResponse::Stream(vec![accepted()], lost),
        ScriptedResponse::Stream(vec![completed(State::Committed, Destination::S3)], End::Ok),
    ];
    let script = Script { responses: responses.into(), ..Default::default() };
    let server = FakeServer::start(script).await;
    let ran = run(&server, &["export", REVIEW, "--request-id", ID]).await;
    assert_eq!(ran.result.unwrap(), ExitStatus::Done);
    let expected = "! connection lost, retrying: watch \\u{1b} again";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

#[tokio::test]
async fn pending_export_exits_with_4() {
    let server = server(vec![completed(State::Pending, Destination::Unspecified)], End::Ok).await;
    let address = "http://export.example";
    let arguments = ["export", REVIEW, "--request-id", ID, "--server", address];
    let ran = run(&server, &arguments).await;
    assert_eq!(ran.result.unwrap().code(), 4);
    let next = format!("--request-id {ID} --server {address}");
    assert!(ran.stderr.contains(&next), "{}", ran.stderr);
}

#[tokio::test]
async fn json_output_is_one_line_per_event() {
    let events = vec![accepted(), completed(State::Committed, Destination::S3)];
    let server = server(events, End::Ok).await;
    let ran = run(&server, &["export", REVIEW, "--json"]).await;
    assert_eq!(ran.result.unwrap(), ExitStatus::Done);
    assert_eq!(ran.stderr, "");
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["accepted"], serde_json::json!({}));
    assert_eq!(lines[0]["sequence"], "1", "64-bit integers are strings");
    assert_eq!(lines[1]["completed"]["export"]["state"], "STATE_COMMITTED");
}

#[tokio::test]
async fn watch_accepts_an_id_without_prefix() {
    let server = server(vec![completed(State::Committed, Destination::S3)], End::Ok).await;
    let ran = run(&server, &["watch", ID]).await;
    assert_eq!(ran.result.unwrap(), ExitStatus::Done);
    assert!(ran.stdout.contains("stored in       S3\n"), "{}", ran.stdout);
    let call =
        Call::Watch { name: format!("exports/{ID}"), run_id: String::new(), after_sequence: 0 };
    assert_eq!(server.script().calls, [call]);
}

#[tokio::test]
async fn invalid_input_is_refused_before_any_call() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("session.json");
    fs::write(&session, "[]").unwrap();
    let server = FakeServer::start(Script::default()).await;
    let path = folder.path().to_str().unwrap();
    let error = run(&server, &["export", path]).await.result.unwrap_err();
    assert_eq!(error.exit_status().code(), 2);
    let expected = format!("{}: the JSON text: must be an object", session.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(server.script().calls.is_empty());
}

#[tokio::test]
async fn unknown_session_keys_print_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("session.json"), r#"{"theme":"dark"}"#).unwrap();
    let server = server(vec![completed(State::Committed, Destination::S3)], End::Ok).await;
    let ran = run(&server, &["export", folder.path().to_str().unwrap(), "--json"]).await;
    assert_eq!(ran.stderr, "warning: theme: not a key of a review, ignored\n");
}

#[tokio::test]
async fn replaced_values_print_warnings_and_are_sent() {
    let folder = tempfile::tempdir().unwrap();
    let session =
        r#"{"document_name": "a", "chat_history": [{"content": "cut \ud83d", "score": NaN}]}"#;
    fs::write(folder.path().join("session.json"), session).unwrap();
    let request = folder.path().join("request.json");
    let chat = r#"[{"content": "cut \ud83d", "score": NaN}]"#;
    fs::write(&request, format!(r#"{{"review": {{"documentName": "a", "chatHistory": {chat}}}}}"#))
        .unwrap();
    for (path, place) in [(folder.path(), ""), (request.as_path(), "review.")] {
        let server = server(vec![completed(State::Committed, Destination::S3)], End::Ok).await;
        let ran = run(&server, &["export", path.to_str().unwrap(), "--json"]).await;
        assert_eq!(ran.result.unwrap(), ExitStatus::Done);
        let history = if place.is_empty() { "chat_history" } else { "review.chatHistory" };
        let warnings: Vec<_> = ran.stderr.lines().filter(|line| line.contains(history)).collect();
        assert!(warnings[0].starts_with(&format!("warning: {history}[0].content: contains half")));
        assert!(warnings[1].starts_with(&format!("warning: {history}[0].score: is not a finite")));
        let expected =
            [("chat_history[0].content", "NOT_UNICODE"), ("chat_history[0].score", "NOT_FINITE")];
        let expected = expected.map(|(path, reason)| (path.to_owned(), reason.to_owned()));
        assert_eq!(server.script().replacements, expected);
    }
}

#[tokio::test]
async fn many_warnings_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let keys: Vec<_> = (0..150).map(|key| format!("\"key{key}\": 1")).collect();
    fs::write(folder.path().join("session.json"), format!("{{{}}}", keys.join(","))).unwrap();
    let server = server(vec![completed(State::Committed, Destination::S3)], End::Ok).await;
    let ran = run(&server, &["export", folder.path().to_str().unwrap(), "--json"]).await;
    assert_eq!(ran.stderr.lines().count(), 101);
    assert!(ran.stderr.contains("warning: 50 more"), "{}", ran.stderr);
}

#[tokio::test]
async fn example_request_is_accepted() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/request.json");
    let server = server(vec![completed(State::Committed, Destination::S3)], End::Ok).await;
    assert_eq!(run(&server, &["export", path]).await.result.unwrap(), ExitStatus::Done);
}

fn export(number: i64, document_name: &str, state: State) -> Export {
    let mut export = Export {
        name: format!("exports/{number}"),
        document_name: document_name.to_owned(),
        size_bytes: 1024 * number,
        accepted_time: Some(prost_types::Timestamp { seconds: 1_795_372_620, nanos: 0 }),
        ..Default::default()
    };
    export.set_state(state);
    export.set_stored_in(if state == State::Running {
        Destination::Unspecified
    } else {
        Destination::S3
    });
    export
}

fn three_exports() -> Script {
    let exports = vec![
        export(1, "文書.docx", State::Committed),
        export(200, "a.docx", State::Running),
        export(3, "b.docx", State::FellBack),
    ];
    Script { exports, ..Default::default() }
}

#[tokio::test]
async fn list_prints_an_aligned_table() {
    let server = FakeServer::start(three_exports()).await;
    let ran = run(&server, &["list"]).await;
    assert_eq!(ran.result.unwrap(), ExitStatus::Done);
    assert_eq!(
        ran.stdout,
        "ACCEPTED              STATE      STORED IN  DOCUMENT         SIZE  NAME\n\
         2026-11-22 18:37:00Z  committed  S3         文書.docx    1.00 KiB  exports/1\n\
         2026-11-22 18:37:00Z  running    -          a.docx     200.00 KiB  exports/200\n\
         2026-11-22 18:37:00Z  fell back  S3         b.docx       3.00 KiB  exports/3\n"
    );
}

#[tokio::test]
async fn list_applies_limit_and_filter() {
    let server = FakeServer::start(three_exports()).await;
    for (arguments, expected) in [
        (&["list", "--limit", "3"][..], &["exports/1", "exports/200", "exports/3"][..]),
        (&["list", "--limit", "1"], &["exports/1"]),
        (&["list", "--limit", "0"], &["exports/1", "exports/200", "exports/3"]),
        (&["list", "--filter", "a.docx"], &["exports/200"]),
    ] {
        let ran = run(&server, arguments).await;
        let names: Vec<_> = ran
            .stdout
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().last().unwrap())
            .collect();
        assert_eq!(names, expected, "{arguments:?}");
    }
    let ran = run(&server, &["list", "--filter", "nothing"]).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", "no exports\n"));
    let ran = run(&server, &["list", "--json"]).await;
    assert_eq!(ran.stdout.lines().count(), 2, "one line per page: {}", ran.stdout);
}

/// The printed table on a terminal of this width.
async fn on_terminal(server: &FakeServer, width: usize, arguments: &[&str]) -> String {
    let line = Line::try_parse_from(["tara-export"].iter().chain(arguments)).unwrap();
    let (mut out, stdout, _) = Output::captured_on_terminal(width);
    let client = server.client(FollowPolicy::default()).await;
    line.command.run(client, &mut out).await.unwrap();
    stdout.text()
}

#[tokio::test]
async fn tables_fit_the_terminal() {
    let mut exports = vec![
        export(1, "incident_report_with_a_very_long_name_文書_文書_文書.docx", State::Committed),
        export(2, "a.docx", State::Pending),
    ];
    for (export, id) in exports.iter_mut().zip([ID, "5f6e3c1a-0000-4b3e-9d59-5a1f6ad1f001"]) {
        export.name = format!("exports/{id}");
    }
    exports[1].state_reason = "NOT_RUNNING".to_owned();
    let script = Script { exports, ..Default::default() };
    let server = FakeServer::start(script).await;
    assert_eq!(
        on_terminal(&server, 80, &["list"]).await,
        "ACCEPTED          STATE                  DOCUMENT              SIZE  NAME\n\
         2026-11-22 18:37  committed              incident_report…  1.00 KiB  5f6e3c1a-0f\n\
         2026-11-22 18:37  accepted, not running  a.docx            2.00 KiB  5f6e3c1a-00\n"
    );
    for width in [40, 60, 80, 100, 132] {
        for line in on_terminal(&server, width, &["list"]).await.lines() {
            assert!(unicode_width::UnicodeWidthStr::width(line) <= width, "{width}: {line}");
        }
    }
    let wide = on_terminal(&server, 40, &["list", "--wide"]).await;
    assert_eq!(wide, run(&server, &["list"]).await.stdout);
    // What a terminal shows is accepted as a name.
    let watch = run(&server, &["watch", "5f6e3c1a-0f"]).await;
    assert!(watch.result.is_err(), "the script has no stream");
    let called = server.script().calls.pop();
    assert!(matches!(called, Some(Call::Watch { name, .. }) if name == format!("exports/{ID}")));
    let ambiguous = run(&server, &["watch", "5f6e3c1a"]).await.result.unwrap_err();
    assert_eq!(ambiguous.exit_status().code(), 2);
    for candidate in [ID, "5f6e3c1a-0000", "a.docx"] {
        assert!(ambiguous.to_string().contains(candidate), "{ambiguous}");
    }
    let unknown = run(&server, &["watch", "77aa77aa"]).await.result.unwrap_err();
    assert_eq!(unknown.exit_status().code(), 1, "{unknown}");
}

#[tokio::test]
async fn list_prints_at_most_50_exports_and_mentions_the_others() {
    let exports = (0..120).map(|number| export(number, "a.docx", State::Committed)).collect();
    let server = FakeServer::start(Script { exports, ..Default::default() }).await;
    let ran = run(&server, &["list"]).await;
    assert_eq!(ran.stdout.lines().count(), 51);
    assert!(ran.stderr.contains("--limit 0 for all"), "{}", ran.stderr);
    let ran = run(&server, &["list", "--limit", "0"]).await;
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (121, ""));
}

fn closed_pipe() -> Box<dyn io::Write + Send> {
    struct Closed;
    impl io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    Box::new(Closed)
}

#[tokio::test]
async fn closed_output_ends_a_list_but_not_an_export() {
    let list = FakeServer::start(three_exports()).await;
    let mut out = Output::to_writers(closed_pipe(), Box::new(io::sink()));
    let line = Line::try_parse_from(["tara-export", "list"]).unwrap();
    let client = list.client(FollowPolicy::default()).await;
    assert_eq!(line.command.run(client, &mut out).await.unwrap(), ExitStatus::Done);
    assert_eq!(list.script().page_sizes.len(), 1, "the second page is not requested");

    let events = vec![accepted(), completed(State::FellBack, Destination::Local)];
    let export = server(events, End::Ok).await;
    let mut out = Output::to_writers(closed_pipe(), Box::new(io::sink()));
    let line = Line::try_parse_from(["tara-export", "export", REVIEW, "--json"]).unwrap();
    let client = export.client(FollowPolicy::default()).await;
    assert_eq!(line.command.run(client, &mut out).await.unwrap(), ExitStatus::FellBack);
}

#[tokio::test]
async fn report_is_printed_byte_for_byte() {
    let text = "TITLE\u{7}\n\tä";
    let report =
        |report| Some(Ok(GetReportResponse { sha256: String::new(), report: Some(report) }));
    let server = FakeServer::start(Script {
        report: report(Report::Text(text.to_owned())),
        ..Default::default()
    })
    .await;
    assert_eq!(run(&server, &["report", ID]).await.stdout, text);
    let json = "{\n  \"a\": 1\n}\n";
    server.script().report = report(Report::Json(json.into()));
    assert_eq!(run(&server, &["report", ID, "--view", "json"]).await.stdout, json);
    server.script().report = report(Report::Structured(Default::default()));
    assert_eq!(run(&server, &["report", ID, "--view", "structured"]).await.stdout, "{}\n");
    assert_eq!(
        run(&server, &["report", ID, "--view", "structured", "--json"]).await.stdout,
        "{\"structured\":{}}\n"
    );
}

/// A bundle file with the content "abc".
fn abc(path: &str) -> Vec<DownloadArtifactResponse> {
    let artifact = Artifact {
        path: path.to_owned(),
        size_bytes: 3,
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
        ..Default::default()
    };
    [
        download_artifact_response::Part::Artifact(artifact),
        download_artifact_response::Part::Data("abc".into()),
    ]
    .map(|part| DownloadArtifactResponse { part: Some(part) })
    .into()
}

#[tokio::test]
async fn report_too_large_for_a_response_is_downloaded() {
    let too_large = status(Code::FailedPrecondition, "REPORT_TOO_LARGE", "download it");
    let script = Script {
        report: Some(Err(too_large)),
        artifact: abc("readable_report.txt"),
        ..Default::default()
    };
    let server = FakeServer::start(script).await;
    assert_eq!(run(&server, &["report", ID]).await.stdout, "abc");
    let error = run(&server, &["report", ID, "--json"]).await.result.unwrap_err();
    assert_eq!(error.exit_status(), ExitStatus::Failed);
}

fn file_names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn bundle(file_name: &str) -> Vec<DownloadBundleResponse> {
    let archive = BundleArchive { file_name: file_name.to_owned(), media_type: String::new() };
    [
        download_bundle_response::Part::Archive(archive),
        download_bundle_response::Part::Data("PK".into()),
        download_bundle_response::Part::Data("zip".into()),
    ]
    .map(|part| DownloadBundleResponse { part: Some(part) })
    .into()
}

#[tokio::test]
async fn bundle_download_never_overwrites_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let script = Script { bundle: bundle("20261122_a.zip"), ..Default::default() };
    let server = FakeServer::start(script).await;
    let ran = run(&server, &["download", ID, "--output", path]).await;
    assert_eq!(ran.result.unwrap(), ExitStatus::Done);
    assert_eq!(ran.stdout, format!("{path}/20261122_a.zip  5 B\n"));
    assert_eq!(fs::read(folder.path().join("20261122_a.zip")).unwrap(), b"PKzip");

    // A second download does not overwrite it.
    server.script().bundle.pop();
    let error = run(&server, &["download", ID, "--output", path]).await.result.unwrap_err();
    let expected =
        format!("{path}/20261122_a.zip already exists; choose another name with --output");
    assert_eq!((error.to_string(), error.exit_status()), (expected, ExitStatus::Failed));
    assert_eq!(fs::read(folder.path().join("20261122_a.zip")).unwrap(), b"PKzip");
    assert_eq!(file_names(folder.path()), ["20261122_a.zip"]);
}

#[tokio::test]
async fn archive_name_cannot_escape_the_output_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for name in ["../evil.zip", "/tmp/evil.zip", "..", "", "a\\b.zip", "a\nb.zip"] {
        let server = FakeServer::start(Script { bundle: bundle(name), ..Default::default() }).await;
        let ran = run(&server, &["download", ID, "--output", path]).await;
        assert!(ran.result.is_err(), "{name:?}");
        assert!(file_names(folder.path()).is_empty(), "{name:?}");
    }
}

#[tokio::test]
async fn damaged_artifact_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("report.txt");
    let arguments = ["download", ID, "--artifact", "a/b.txt", "--output", output.to_str().unwrap()];
    let mut parts = abc("a/b.txt");
    let data = parts.pop().unwrap();
    let server = FakeServer::start(Script { artifact: parts, ..Default::default() }).await;
    let error = run(&server, &arguments).await.result.unwrap_err();
    assert!(error.to_string().starts_with("a/b.txt is damaged"), "{error}");
    assert!(file_names(folder.path()).is_empty());
    server.script().artifact.push(data);
    assert_eq!(run(&server, &arguments).await.result.unwrap(), ExitStatus::Done);
    assert_eq!(fs::read(output).unwrap(), b"abc");
    assert_eq!(file_names(folder.path()), ["report.txt"]);
}

#[tokio::test]
async fn check_prints_rows_with_hints() {
    let check = |name: &str, status: Status, hint: &str| {
        let mut check = StorageCheck {
            check: name.to_owned(),
            message: "found".to_owned(),
            hint: hint.to_owned(),
            duration: Some(prost_types::Duration { seconds: 1, nanos: 5_000_000 }),
            ..Default::default()
        };
        check.set_status(status);
        check
    };
    let mut checks = vec![
        check("local.writable", Status::Passed, ""),
        check("s3.lifecycle", Status::Warning, "add a rule"),
        check("s3.put", Status::Skipped, ""),
    ];
    let script =
        Script { checks: CheckStorageResponse { checks: checks.clone() }, ..Default::default() };
    let server = FakeServer::start(script).await;
    let ran = run(&server, &["check"]).await;
    assert_eq!(ran.result.unwrap().code(), 0, "a warning is no failure");
    assert_eq!(
        ran.stdout,
        "✓  local.writable  1005 ms  found\n\
         !  s3.lifecycle    1005 ms  found\n  → add a rule\n\
         –  s3.put          1005 ms  found\n"
    );
    checks.push(check("s3.reachable", Status::Failed, "open the port"));
    server.script().checks = CheckStorageResponse { checks };
    let ran = run(&server, &["check"]).await;
    assert_eq!(ran.result.unwrap().code(), 1);
    assert!(ran.stdout.ends_with("✗  s3.reachable    1005 ms  found\n  → open the port\n"));
    let ran = run(&server, &["check", "--json"]).await;
    assert_eq!((ran.result.unwrap().code(), ran.stdout.lines().count()), (1, 1));
}

#[test]
fn help_of_every_command_lists_the_exit_codes() {
    use clap::CommandFactory as _;
    let mut line = Line::command();
    line.build();
    check_help(&mut line);
    line.debug_assert();
}

/// Checks the help of every command that can be executed.
fn check_help(parent: &mut clap::Command) {
    for command in parent.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let help = command.render_long_help().to_string();
        assert!(help.contains("3  fell back"), "{help}");
        match command.has_subcommands() {
            true => check_help(command),
            false => {
                assert!(help.contains("TARA_EXPORT_SERVER"), "{help}");
                let position = |text: &str| help.find(text).unwrap_or_else(|| panic!("{help}"));
                assert!(position("--json") < position("Connection:"), "{help}");
                assert!(position("Connection:") < position("--server"), "{help}");
            }
        }
    }
}

#[tokio::test]
async fn link_prints_its_expiry_on_stderr() {
    let expire_time = Some(prost_types::Timestamp { seconds: 1_795_372_620, nanos: 0 });
    let uri = "https://bucket.example/a?X-Amz-Signature=00".to_owned();
    let link = Some(Ok(CreateDownloadLinkResponse { uri: uri.clone(), expire_time }));
    let server = FakeServer::start(Script { link, ..Default::default() }).await;
    let ran = run(&server, &["link", ID, "manifest.json", "--ttl", "1h"]).await;
    assert_eq!(ran.result.unwrap(), ExitStatus::Done);
    assert_eq!(ran.stdout, format!("{uri}\n"));
    let warning = "Everyone with this link can read the file until 2026-11-22 18:37:00Z\n";
    assert_eq!(ran.stderr, warning);
    let json = run(&server, &["link", &format!("exports/{ID}"), "manifest.json", "--json"]).await;
    let expected = format!("{{\"uri\":\"{uri}\",\"expireTime\":\"2026-11-22T18:37:00Z\"}}\n");
    assert_eq!(json.stdout, expected);
    let link_request = |time_to_live| CreateDownloadLinkRequest {
        name: format!("exports/{ID}"),
        path: "manifest.json".to_owned(),
        time_to_live,
    };
    let hour = prost_types::Duration { seconds: 3600, nanos: 0 };
    assert_eq!(server.script().link_requests, [link_request(Some(hour)), link_request(None)]);
}

#[tokio::test]
async fn link_to_a_local_bundle_is_refused_with_a_hint() {
    let refusal = status(Code::FailedPrecondition, "STORED_LOCALLY", "DownloadArtifact reads it");
    let server = FakeServer::start(Script { link: Some(Err(refusal)), ..Default::default() }).await;
    let error = run(&server, &["link", ID, "manifest.json"]).await.result.unwrap_err();
    assert_eq!(error.exit_status().code(), 1);
    assert!(error.to_string().contains("DownloadArtifact"), "{error}");
}

//! `tara-export batch` against a real server: results, the report, exit codes, and a server that is restarted.

use std::{fs, path::Path};

use clap::Parser as _;
use serde_json::{Value, json};
use tara_export::cli::{CliError, ClientCommand, ExitStatus, Output};
use tara_export_client::Client;
use tara_export_test_support::World;

/// The command line around the commands, as in `main`.
#[derive(clap::Parser)]
struct Line {
    #[command(subcommand)]
    command: ClientCommand,
}

struct Ran {
    result: Result<ExitStatus, CliError>,
    stdout: String,
    stderr: String,
}

async fn run(world: &World, arguments: &[&str]) -> Ran {
    let line = Line::try_parse_from(["tara-export", "batch"].iter().chain(arguments)).unwrap();
    let (mut out, stdout, stderr) = Output::captured();
    let client = Client::connect(&format!("http://{}", world.grpc())).await.unwrap();
    let result = line.command.run(client, &mut out).await;
    Ran { result, stdout: stdout.text(), stderr: stderr.text() }
}

async fn world() -> World {
    World::start(Path::new(env!("CARGO_BIN_EXE_tara-export"))).await.unwrap()
}

/// A file with these requests, one on each line, and empty lines between them.
fn lines(folder: &Path, name: &str, requests: &[Value]) -> String {
    let text: Vec<String> = requests.iter().map(|request| format!("{request}\n\n")).collect();
    let path = folder.join(name);
    fs::write(&path, text.concat()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn request(id: u32, document_name: &str) -> Value {
    json!({
        "requestId": format!("6f1c7a52-3b0e-4c59-9d7e-{id:012x}"),
        "review": {
            "documentName": document_name,
            "suggestions": [{"name": "Summary", "items": [{"description": "Say when."}]}],
        },
    })
}

#[tokio::test]
async fn folders_and_lines_are_exported_and_reported() {
    let mut world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let sample = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample-review"));
    for name in ["a", "b"] {
        let session = folder.path().join("reviews").join(name);
        fs::create_dir_all(&session).unwrap();
        fs::copy(sample.join("session.json"), session.join("session.json")).unwrap();
    }
    let reviews = folder.path().join("reviews");
    let file = lines(folder.path(), "more.ndjson", &[request(1, "1.docx"), request(2, "2.docx")]);
    let report = folder.path().join("report.ndjson");
    let arguments = [reviews.to_str().unwrap(), &file, "--report", report.to_str().unwrap()];
    let ran = run(&world, &arguments).await;
    assert_eq!(ran.result.unwrap(), ExitStatus::Done, "{}{}", ran.stdout, ran.stderr);
    let summary = "4 of 4 exported: 4 committed, 0 fell back, 0 refused, 0 failed\n";
    assert_eq!(ran.stdout, summary);
    let text = fs::read_to_string(&report).unwrap();
    let items: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(items.len(), 4);
    assert!(items.iter().all(|item| item["state"] == "STATE_COMMITTED"), "{items:?}");
    // A report is not overwritten.
    let again = run(&world, &arguments).await;
    assert!(again.result.unwrap_err().to_string().contains("choose another file for --report"));
    world.run_command("s3 down").await.unwrap();
    let file = lines(folder.path(), "down.ndjson", &[request(3, "3.docx")]);
    let ran = run(&world, &[&file]).await;
    assert_eq!(ran.result.unwrap(), ExitStatus::FellBack);
    assert!(ran.stdout.contains("fell back"), "{}", ran.stdout);
}

#[tokio::test]
async fn failures_are_listed_with_their_line() {
    let world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let first = lines(folder.path(), "first.ndjson", &[request(1, "1.docx")]);
    assert_eq!(run(&world, &[&first]).await.result.unwrap(), ExitStatus::Done);
    let second = [request(2, "2.docx"), request(1, "other.docx")];
    let second = lines(folder.path(), "second.ndjson", &second);
    let ran = run(&world, &[&second]).await;
    assert_eq!(ran.result.unwrap(), ExitStatus::Failed);
    let row = ran.stdout.lines().next().unwrap();
    assert!(row.starts_with(&format!("{second}:3  exports/6f1c7a52-")), "{row}");
    assert!(row.contains("refused  REQUEST_ID_REUSED"), "{row}");
    assert!(
        ran.stdout.ends_with("1 of 2 exported: 1 committed, 0 fell back, 1 refused, 0 failed\n")
    );
    for (text, expected) in [("{\"x\": 1}", ":1: "), ("", "nothing to export")] {
        let path = folder.path().join("bad.ndjson");
        fs::write(&path, text).unwrap();
        let error = run(&world, &[path.to_str().unwrap()]).await.result.unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Usage);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn batch_continues_after_a_restart_of_the_server() {
    let mut world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let requests: Vec<Value> = (1..=20).map(|id| request(id, &format!("{id}.docx"))).collect();
    let file = lines(folder.path(), "requests.ndjson", &requests);
    world.run_command("hold").await.unwrap();
    let url = format!("http://{}", world.grpc());
    let first = format!("exports/{}", requests[0]["requestId"].as_str().unwrap());
    let running = async {
        let line = Line::try_parse_from(["tara-export", "batch", &file, "--json"]).unwrap();
        let (mut out, stdout, _) = Output::captured();
        let client = Client::connect(&url).await.unwrap();
        (line.command.run(client, &mut out).await, stdout.text())
    };
    let restarting = async {
        let watching = Client::connect(&url).await.unwrap();
        // Until an item is accepted.
        while watching.get_export(&first).await.is_err() {
            tokio::task::yield_now().await;
        }
        world.run_command("restart").await.unwrap();
        world.run_command("release").await.unwrap();
    };
    let ((result, stdout), ()) = futures::join!(running, restarting);
    assert_eq!(result.unwrap(), ExitStatus::Done, "{stdout}");
    assert_eq!(stdout.matches("\"item\"").count(), 20);
}

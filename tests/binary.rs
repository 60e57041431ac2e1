//! The built binary as a person runs it: processes, files, exit codes.

#![allow(clippy::expect_used, reason = "a test that can't go on fails")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// The binary, deaf to this process's environment.
fn tara_export(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tara-export"));
    command.env_clear().env("DATA_DIR", data_dir).args(arguments);
    command
}

fn run(data_dir: &Path, arguments: &[&str]) -> Output {
    tara_export(data_dir, arguments).output().expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn sample() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample-review")
}

fn bundles(data_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data_dir).expect("the data directory is there");
    let folders = entries.map(|entry| entry.expect("an entry").path());
    folders.filter(|folder| folder.join("manifest.json").exists()).collect()
}

/// A server that is killed when the test ends.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(data_dir: &Path) -> Self {
        let mut child = tara_export(data_dir, &["serve", "--port", "0", "--log-format", "json"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let line = lines.next().expect("a line").expect("text");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let url = format!("http://{}", line["address"].as_str().expect("an address"));
        // The pipe must not fill up while the server runs.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_main_job_needs_nothing_but_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), &["export", sample()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("committed"));
    assert!(stderr(&output).contains("no S3 bucket is set (S3_BUCKET_NAME)"));
    // Every file is told as it lands, the manifest last.
    let landed: Vec<String> =
        stderr(&output).lines().filter(|line| line.starts_with('✓')).map(str::to_owned).collect();
    assert_eq!(landed.len(), 13, "{landed:?}");
    assert!(landed[12].contains("manifest.json"));
    let bundles = bundles(folder.path());
    assert_eq!(bundles.len(), 1);
    for name in ["before", "after", "guidelines"] {
        let original = fs::read(format!("{}/{name}.docx", sample())).expect("a document");
        let path = bundles[0].join(format!("documents/{name}_incident_report_0000.docx"));
        assert_eq!(fs::read(path).expect("a document in the bundle"), original);
    }
}

#[test]
fn commands_speak_to_a_server_and_to_its_data_without_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let id = "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
    let arguments = ["export", sample(), "--server", &server.url, "--request-id", id];
    let first = run(folder.path(), &arguments);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    let again = run(folder.path(), &arguments);
    assert_eq!(stdout(&again), stdout(&first));
    assert_eq!(bundles(folder.path()).len(), 1);

    // Reading needs no lock, so it works beside the server.
    let listed = run(folder.path(), &["list"]);
    assert!(stdout(&listed).contains(id), "{}", stderr(&listed));
    let report = run(folder.path(), &["report", id]);
    assert!(stdout(&report).starts_with("DOCUMENT REVIEW REPORT"), "{}", stderr(&report));
    let check = run(folder.path(), &["check", "--server", &server.url]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));

    // Writing does: the second process is told who has it.
    let second = run(folder.path(), &["export", sample()]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains(&format!("process {}", server.child.id())),
        "{}",
        stderr(&second)
    );
}

#[test]
fn health_tells_whether_a_server_takes_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let port = server.url.rsplit(':').next().expect("a port").to_owned();
    // As in the image: the server of this machine, by the variable that it listens by.
    let by_port = || tara_export(folder.path(), &["health"]).env("PORT", &port).output();
    let output = by_port().expect("the binary starts");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "serving\n"));
    let by_url = run(folder.path(), &["health", "--server", &server.url]);
    assert_eq!(by_url.status.code(), Some(0), "{}", stderr(&by_url));
    drop(server);
    let output = by_port().expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("can't connect"), "{}", stderr(&output));
}

#[test]
fn a_server_that_is_asked_to_stop_stops_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path());
    let kill = Command::new("kill").arg(server.child.id().to_string()).status().expect("kill runs");
    assert!(kill.success());
    let status = server.child.wait().expect("the server ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn wrong_settings_and_input_stop_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    for (arguments, expected) in [
        (vec!["serve", "--port", "99999"], "PORT must be a whole number from 0 to 65535"),
        (vec!["list", "--max-request-memory", "1MiB"], "MAX_REQUEST_SIZE"),
        (vec!["export", "/nowhere"], "/nowhere"),
    ] {
        let output = run(&data_dir, &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
    let written = fs::read_dir(&data_dir).map(|entries| entries.count()).unwrap_or(0);
    assert!(written <= 1, "only the lock's folder");
}

#[test]
fn folders_of_before_are_adopted_where_no_server_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = folder.path().join("20240229_235959_incident_report");
    fs::create_dir_all(old.join("logs")).expect("a folder");
    fs::write(old.join("readable_report.txt"), "DOCUMENT REVIEW REPORT\n").expect("a file");
    fs::write(old.join("logs/chat_history.json"), "{}").expect("a file");
    let dry = run(folder.path(), &["adopt"]);
    assert_eq!(dry.status.code(), Some(0), "{}", stderr(&dry));
    assert!(stdout(&dry).contains("(TOO_NEW)"), "{}", stdout(&dry));
    let dry = run(folder.path(), &["adopt", "--min-age", "0s"]);
    assert!(stdout(&dry).starts_with("would adopt"), "{}", stdout(&dry));
    assert!(bundles(folder.path()).is_empty());

    // A server has the directory: only telling is allowed.
    let server = Server::start(folder.path());
    let refused = run(folder.path(), &["adopt", "--min-age", "0s", "--write"]);
    assert_eq!(refused.status.code(), Some(1));
    let holder = format!("process {}", server.child.id());
    assert!(stderr(&refused).contains(&holder), "{}", stderr(&refused));
    assert!(stdout(&run(folder.path(), &["adopt", "--min-age", "0s"])).starts_with("would adopt"));
    drop(server);

    let written = run(folder.path(), &["adopt", "--min-age", "0s", "--write"]);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    assert!(stdout(&written).starts_with("adopted"), "{}", stdout(&written));
    assert_eq!(bundles(folder.path()), [old]);
    let listed = run(folder.path(), &["list"]);
    assert!(stdout(&listed).contains("committed, adopted"), "{}", stdout(&listed));
    let name = stdout(&listed).split_whitespace().last().expect("a name").to_owned();
    let report = run(folder.path(), &["report", &name]);
    assert_eq!(stdout(&report), "DOCUMENT REVIEW REPORT\n", "{}", stderr(&report));
}

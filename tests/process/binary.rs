//! The built binary on the command line: processes, files, exit codes.

#![allow(clippy::expect_used, reason = "a test that cannot continue fails")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// The binary without the environment of this process.
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
    let entries = fs::read_dir(data_dir).expect("the data directory exists");
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
fn export_needs_only_a_data_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), &["export", sample()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("committed"));
    assert!(stderr(&output).contains("no S3 bucket is set (S3_BUCKET_NAME)"));
    // Every stored file is reported, the manifest last.
    let stored: Vec<String> =
        stderr(&output).lines().filter(|line| line.starts_with('✓')).map(str::to_owned).collect();
    assert_eq!(stored.len(), 13, "{stored:?}");
    assert!(stored[12].contains("manifest.json"));
    let bundles = bundles(folder.path());
    assert_eq!(bundles.len(), 1);
    for name in ["before", "after", "guidelines"] {
        let original = fs::read(format!("{}/{name}.docx", sample())).expect("a document");
        let path = bundles[0].join(format!("documents/{name}_incident_report_0000.docx"));
        assert_eq!(fs::read(path).expect("a document in the bundle"), original);
    }
}

#[test]
fn commands_work_with_and_without_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let id = "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
    let arguments = ["export", sample(), "--server", &server.url, "--request-id", id];
    let first = run(folder.path(), &arguments);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    let again = run(folder.path(), &arguments);
    assert_eq!(stdout(&again), stdout(&first));
    assert_eq!(bundles(folder.path()).len(), 1);

    // Reading needs no lock, so it works while a server runs.
    let listed = run(folder.path(), &["list"]);
    assert!(stdout(&listed).contains(id), "{}", stderr(&listed));
    let report = run(folder.path(), &["report", id]);
    assert!(stdout(&report).starts_with("DOCUMENT REVIEW REPORT"), "{}", stderr(&report));
    let check = run(folder.path(), &["check", "--server", &server.url]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));

    // Writing needs the lock. The error names its holder.
    let second = run(folder.path(), &["export", sample()]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains(&format!("process {}", server.child.id())),
        "{}",
        stderr(&second)
    );
    assert!(
        stderr(&second).contains(&format!("use --server {}", server.url)),
        "{}",
        stderr(&second)
    );
}

/// Replaces the lock file by a copy, whose lock is independent of the server's.
fn break_lock(data_dir: &Path) -> PathBuf {
    let (lock, copy) =
        (data_dir.join(".tara-export/lock"), data_dir.join(".tara-export/lock.copy"));
    fs::copy(&lock, &copy).expect("a copy");
    fs::rename(copy, &lock).expect("its new name");
    lock
}

#[test]
fn second_process_with_a_broken_lock_sees_the_heartbeat() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path());
    break_lock(folder.path());
    for arguments in [&["serve", "--port", "0"][..], &["export", sample()]] {
        let second = run(folder.path(), arguments);
        assert_eq!(second.status.code(), Some(1), "{}", stderr(&second));
        let holder = format!("process {} on ", server.child.id());
        assert!(stderr(&second).contains(&holder), "{}", stderr(&second));
        assert!(stderr(&second).contains(", started 20"), "{}", stderr(&second));
    }
    assert!(server.child.try_wait().expect("its state").is_none(), "the first process continues");
}

#[test]
fn server_ends_when_another_process_takes_its_data_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path());
    let lock = break_lock(folder.path());
    // Like a server on another machine that does not see the lock.
    let foreign = "process 7 on server-b, started 2026-11-22T18:37:00Z\n\
                   holder 0192f0c1-7a3e-4d52-9b6f-2c8d1e5a4b70\nbeat 00000000000000000001\n";
    fs::write(&lock, foreign).expect("a heartbeat");
    let status = server.child.wait().expect("the server ends");
    assert_eq!(status.code(), Some(6));
    assert_eq!(
        fs::read_to_string(lock).expect("a file"),
        foreign,
        "the server no longer writes the lock file"
    );
}

#[test]
fn server_starts_at_once_after_a_killed_one() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(Server::start(folder.path()));
    // The first log line says that it listens, so it did not watch the old heartbeat.
    let mut next = Server::start(folder.path());
    let kill = Command::new("kill").arg(next.child.id().to_string()).status().expect("kill runs");
    assert!(kill.success());
    assert_eq!(next.child.wait().expect("it ends").code(), Some(0));
    // A server that ended in order removed its heartbeat, which is visible to other machines.
    let lock = fs::read_to_string(folder.path().join(".tara-export/lock")).expect("a file");
    assert!(!lock.contains("beat"), "{lock}");
}

#[test]
fn health_reports_whether_a_server_accepts_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let port = server.url.rsplit(':').next().expect("a port").to_owned();
    // Like the image's health check: the server on this machine, by its PORT variable.
    let by_port = || tara_export(folder.path(), &["health"]).env("PORT", &port).output();
    let output = by_port().expect("the binary starts");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "serving\n"));
    let by_url = run(folder.path(), &["health", "--server", &server.url]);
    assert_eq!(by_url.status.code(), Some(0), "{}", stderr(&by_url));
    drop(server);
    let output = by_port().expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot connect"), "{}", stderr(&output));
}

#[test]
fn sigterm_exits_with_0() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path());
    let kill = Command::new("kill").arg(server.child.id().to_string()).status().expect("kill runs");
    assert!(kill.success());
    let status = server.child.wait().expect("the server ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn invalid_settings_and_input_fail_before_any_write() {
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
    assert!(written <= 1, "only the folder of the lock");
}

#[test]
fn old_folders_are_adopted_only_while_no_server_runs() {
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

    // A server has locked the directory: only a dry run is allowed.
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

/// Runs a script in a folder with a document of 1,700 bytes. Its variable `$T` is the binary.
fn script(folder: &Path, server: &Server, script: &str) -> Output {
    let mut command = Command::new("timeout");
    command.args(["60", "bash", "-c", script]).current_dir(folder);
    command.env("T", env!("CARGO_BIN_EXE_tara-export")).env("TARA_EXPORT_SERVER", &server.url);
    command.output().expect("bash starts")
}

#[test]
fn upload_sends_every_byte_or_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"));
    let folder = folder.path();
    fs::write(folder.join("before.docx"), "before document\n\n".repeat(100)).expect("a file");
    fs::create_dir(folder.join("folder")).expect("a folder");
    for (command, expected) in [
        ("$T upload before.docx", Ok("1.66 KiB")),
        ("ln -s before.docx link; $T upload link", Ok("1.66 KiB")),
        ("$T upload /dev/stdin < before.docx", Ok("1.66 KiB")),
        ("$T upload /proc/version", Ok("B")),
        ("$T upload <(cat before.docx)", Ok("1.66 KiB")),
        ("mkfifo pipe; (cat before.docx > pipe &); $T upload pipe", Ok("1.66 KiB")),
        ("cat before.docx | $T upload /dev/stdin", Ok("1.66 KiB")),
        ("$T upload /dev/null", Err("a device")),
        ("$T upload folder", Err("a folder")),
        ("ln -s gone.docx dangling; $T upload dangling", Err("a link that leads nowhere")),
    ] {
        let output = script(folder, &server, command);
        let text = stderr(&output);
        match expected {
            Ok(size) => {
                assert_eq!(output.status.code(), Some(0), "{command}: {text}");
                assert!(text.contains(size) && !text.contains("  0 B"), "{command}: {text}");
            }
            Err(reason) => {
                assert!(matches!(output.status.code(), Some(1 | 2)), "{command}: {text}");
                assert!(text.contains(reason) && text.contains("file"), "{command}: {text}");
                assert_eq!(stdout(&output), "");
            }
        }
    }
}

#[test]
fn export_refuses_a_document_that_is_no_plain_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"));
    for (command, reason) in [
        ("ln -s ../gone.docx review/before.docx", "a link that leads nowhere"),
        ("mkfifo review/before.docx", "a pipe"),
        ("mkdir review/before.docx", "a folder"),
    ] {
        let prepared =
            "rm -rf review; mkdir review; echo '{\"document_name\": \"a\"}' > review/session.json";
        let command = format!("{prepared}; {command}; $T export review");
        let output = script(folder.path(), &server, &command);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let expected = format!("before.docx: it is {reason}");
        assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    }
}

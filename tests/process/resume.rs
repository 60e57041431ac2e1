//! Commands without a server and exports that previous commands accepted: Ctrl-C, what reading commands show, and
//! `resume`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tempfile::TempDir;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample-review");
const ID: &str = "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
const NAME: &str = "exports/6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";

/// A data directory, and an S3 server.
struct World {
    folder: TempDir,
    s3: TestS3,
}

impl World {
    async fn start() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), s3: TestS3::start().await }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tara-export"));
        command
            .env_clear()
            .env("DATA_DIR", self.folder.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(self.s3.environment())
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts an export while S3 does not respond, and interrupts it after it was accepted. Returns what it printed
    /// after that.
    fn interrupt(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let stalled = self.s3.fail(FaultRule::new(Fault::Stall).on(Operation::PutObject));
        let mut child = self.command(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("accepted") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "the export is not accepted");
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        let code = child.wait().unwrap().code();
        self.s3.clear_fault(stalled);
        (rest, code)
    }

    /// The files of the journal with their contents.
    fn journal(&self) -> Vec<(String, Vec<u8>)> {
        let folder = self.folder.path().join(".tara-export/journal");
        let mut files = files_below(&folder);
        files.sort();
        files
    }
}

fn files_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files_below(&path),
            false => vec![(path.display().to_string(), fs::read(&path).unwrap())],
        })
        .collect()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_export_names_the_command_that_finishes_it() {
    let world = World::start().await;
    let data_dir = world.folder.path().display().to_string();
    let (printed, code) =
        world.interrupt(&["export", SAMPLE, "--request-id", ID, "--data-dir", &data_dir]);
    assert_eq!(code, Some(4), "{printed}");
    let next = format!("tara-export resume {NAME} --data-dir {data_dir}");
    assert!(
        printed.contains(&format!(
            "{NAME} is accepted and not finished. To finish it, run:\n  {next}\n"
        )),
        "{printed}"
    );
    // The stop was regular: it counts against no entry.
    assert!(files_below(&world.folder.path().join(".tara-export/journal/attempts")).is_empty());

    let arguments: Vec<&str> = next.split(' ').skip(1).collect();
    let resumed = world.run(&arguments);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    assert!(
        stdout(&resumed).starts_with(&format!("✓ {NAME} committed: s3://")),
        "{}",
        stdout(&resumed)
    );
    assert!(world.s3.objects().keys().any(|key| key.ends_with("/manifest.json")));
    let again = world.run(&arguments);
    assert_eq!(again.status.code(), Some(1), "{}", stderr(&again));
    assert!(stderr(&again).contains("no export matches"), "{}", stderr(&again));
    let nothing = world.run(&["resume"]);
    assert_eq!((nothing.status.code(), stdout(&nothing).as_str()), (Some(0), ""));
}

#[test]
fn signal_before_acceptance_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tara-export"))
        .env_clear()
        .env("DATA_DIR", folder.path())
        .args(["upload", "/dev/stdin", "--json"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("no S3 bucket is set"), "{line}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains(r#""code":"INTERRUPTED""#), "{rest}");
    assert!(files_below(&folder.path().join(".tara-export/journal")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_report_accepted_exports_and_change_nothing() {
    let world = World::start().await;
    world.interrupt(&["export", SAMPLE, "--request-id", ID]);
    let journal = world.journal();
    assert_eq!(journal.len(), 1, "{journal:?}");

    let listed = world.run(&["list"]);
    let row = stdout(&listed).lines().nth(1).unwrap().to_owned();
    assert!(row.contains("accepted, not running") && row.ends_with(NAME), "{row}");
    let watched = world.run(&["watch", ID]);
    assert_eq!(watched.status.code(), Some(4));
    assert!(
        stdout(&watched).starts_with("state           accepted, not running\n"),
        "{}",
        stdout(&watched)
    );
    assert!(
        stderr(&watched).contains(&format!("  tara-export resume {NAME}\n")),
        "{}",
        stderr(&watched)
    );
    let report = world.run(&["report", ID]);
    assert_eq!(report.status.code(), Some(1));
    assert!(stderr(&report).contains("accepted and not running"), "{}", stderr(&report));
    assert!(stderr(&report).contains(&format!("tara-export resume {NAME}")), "{}", stderr(&report));
    let check = world.run(&["check"]);
    assert_eq!(check.status.code(), Some(0));
    assert!(
        stdout(&check).contains("1 exports are accepted and not running"),
        "{}",
        stdout(&check)
    );
    assert!(stdout(&check).contains("tara-export resume"), "{}", stdout(&check));

    // Neither does a command that stores another export.
    let other = world.run(&["export", SAMPLE]);
    assert_eq!(other.status.code(), Some(0), "{}", stderr(&other));
    assert!(
        stderr(&other).ends_with("1 accepted export in this data directory is not finished. To finish it, run:\n  tara-export resume\n"),
        "{}",
        stderr(&other)
    );
    assert_eq!(world.journal(), journal);
    // The export itself continues if it is requested again.
    let again = world.run(&["export", SAMPLE, "--request-id", ID]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert!(world.journal().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_finishes_all_exports_while_a_stop_keeps_them() {
    let world = World::start().await;
    for _ in 0..3 {
        world.interrupt(&["export", SAMPLE]);
    }
    let resumed = world.run(&["resume", "--json"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    let lines: Vec<serde_json::Value> =
        stdout(&resumed).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|export| export["state"] == "STATE_COMMITTED"), "{lines:?}");
    assert!(world.journal().is_empty());

    world.s3.stop();
    let unreachable = world.run(&["export", SAMPLE, "--s3-retry-budget", "200ms"]);
    assert_eq!(unreachable.status.code(), Some(3), "{}", stderr(&unreachable));
    assert!(
        stderr(&unreachable).ends_with("  tara-export resume --s3-retry-budget 200ms\n"),
        "{}",
        stderr(&unreachable)
    );
    let resumed = world.run(&["resume", "--s3-retry-budget", "200ms"]);
    assert_eq!(resumed.status.code(), Some(3), "{}", stderr(&resumed));
    assert!(stdout(&resumed).contains("is only in the local store"), "{}", stdout(&resumed));
    world.s3.restart().await.unwrap();
    let resumed = world.run(&["resume"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    assert!(stdout(&resumed).contains("committed: s3://"), "{}", stdout(&resumed));
}

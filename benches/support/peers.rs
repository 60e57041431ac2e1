//! The programs for comparison (`benches/peers/install`).

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::process;

/// A program that copies files to S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    S5cmd,
    Mc,
    Rclone,
    Aws,
}

/// The cost of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunCost {
    pub(crate) time: Duration,
    /// CPU time of the program.
    pub(crate) cpu: Duration,
}

impl Peer {
    pub(crate) const ALL: [Self; 4] = [Self::Mc, Self::S5cmd, Self::Rclone, Self::Aws];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::S5cmd => "s5cmd",
            Self::Mc => "mc",
            Self::Rclone => "rclone",
            Self::Aws => "aws-cli",
        }
    }
}

/// The programs, set up for one server.
pub(crate) struct Peers {
    tools: PathBuf,
    bucket: String,
    endpoint: String,
    /// Settings of the programs, separate from the user's own.
    settings: TempDir,
}

/// Installs missing programs; takes minutes the first time.
pub(crate) fn install() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/install");
    let status = Command::new(script).status().expect("benches/peers/install can be run");
    assert!(status.success(), "benches/peers/install failed");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

impl Peers {
    /// The programs, configured for the bucket of the environment at this address.
    pub(crate) fn new(s3: SocketAddr) -> Self {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools");
        let settings = tempfile::tempdir().expect("a folder");
        let endpoint = format!("http://{s3}");
        let aws = "[default]\ns3 =\n  addressing_style = path\n";
        fs::write(settings.path().join("aws"), aws).expect("a file");
        Self { tools, bucket: variable("S3_BUCKET_NAME"), endpoint, settings }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.tools.join(program));
        let (key, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
        let host = self.endpoint.trim_start_matches("http://");
        command
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_CONFIG_FILE", self.settings.path().join("aws"))
            .env("S3_ENDPOINT_URL", &self.endpoint)
            .env("MC_CONFIG_DIR", self.settings.path().join("mc"))
            .env("MC_HOST_bench", format!("http://{key}:{secret}@{host}"))
            .env("RCLONE_CONFIG", self.settings.path().join("rclone"))
            .env("RCLONE_LOG_LEVEL", "ERROR")
            .env("RCLONE_S3_PROVIDER", "Minio")
            .env("RCLONE_S3_ENV_AUTH", "true")
            .env("RCLONE_S3_ENDPOINT", &self.endpoint)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Copies the files of a folder below a prefix, which ends with `/`.
    pub(crate) fn copy_folder(&self, peer: Peer, folder: &Path, prefix: &str) -> RunCost {
        let (bucket, from) = (&self.bucket, format!("{}/", folder.display()));
        let s3 = format!("s3://{bucket}/{prefix}");
        let mut command = match peer {
            Peer::S5cmd => self.arguments("peers/bin/s5cmd", &["cp", &from, &s3]),
            Peer::Mc => {
                let to = format!("bench/{bucket}/{prefix}");
                self.arguments("bin/mc", &["--quiet", "cp", "--recursive", &from, &to])
            }
            Peer::Rclone => {
                // Thirteen concurrent files instead of four and no listing first: its fastest
                // options here.
                let to = format!(":s3:{bucket}/{prefix}");
                let options = ["copy", "--transfers", "16", "--no-traverse"];
                let mut command = self.arguments("bin/rclone", &options);
                command.args(["--s3-no-check-bucket", "--ignore-times", &from, &to]);
                command
            }
            Peer::Aws => {
                self.arguments("peers/bin/aws", &["s3", "cp", "--recursive", "--quiet", &from, &s3])
            }
        };
        run(&mut command)
    }

    /// Copies one file.
    pub(crate) fn copy_file(&self, peer: Peer, file: &Path, key: &str) -> RunCost {
        let (bucket, from) = (&self.bucket, file.display().to_string());
        let s3 = format!("s3://{bucket}/{key}");
        let mut command = match peer {
            Peer::S5cmd => self.arguments("peers/bin/s5cmd", &["cp", &from, &s3]),
            Peer::Mc => {
                let to = format!("bench/{bucket}/{key}");
                self.arguments("bin/mc", &["--quiet", "cp", &from, &to])
            }
            Peer::Rclone => {
                let to = format!(":s3:{bucket}/{key}");
                self.arguments("bin/rclone", &["copyto", "--s3-no-check-bucket", &from, &to])
            }
            Peer::Aws => self.arguments("peers/bin/aws", &["s3", "cp", "--quiet", &from, &s3]),
        };
        run(&mut command)
    }

    /// Copies an object inside the bucket, with mc.
    pub(crate) fn copy_object(&self, from: &str, to: &str) -> RunCost {
        let full = |key: &str| format!("bench/{}/{key}", self.bucket);
        run(&mut self.arguments("bin/mc", &["--quiet", "cp", &full(from), &full(to)]))
    }

    /// Starts boto3 for a folder's files; its client is created once. Modes: `sequential`, `threads`.
    pub(crate) fn boto3(&self, folder: &Path) -> Worker {
        self.worker("boto3_exporter.py", folder.as_os_str())
    }

    /// Starts the Python client for a server at `HOST:PORT`; its connection is created once. Modes: `plain`, `dropin`.
    pub(crate) fn python_client(&self, server: &str) -> Worker {
        self.worker("python_client.py", OsStr::new(server))
    }

    fn worker(&self, script: &str, argument: &OsStr) -> Worker {
        let mut command = self.command("peers/bin/python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(script);
        command.arg(script).arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python starts");
        let responses = BufReader::new(child.stdout.take().expect("its standard output"));
        Worker { commands: child.stdin.take(), responses, child }
    }

    fn arguments(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(program);
        command.args(arguments);
        command
    }
}

fn run(command: &mut Command) -> RunCost {
    let cpu_before = process::ended_children_cpu();
    let started = Instant::now();
    let status = command.status().expect("the program starts");
    let time = started.elapsed();
    assert!(status.success(), "{command:?} failed");
    RunCost { time, cpu: process::ended_children_cpu() - cpu_before }
}

/// A Python program in its own process, ready for commands.
pub(crate) struct Worker {
    child: Child,
    commands: Option<ChildStdin>,
    responses: BufReader<ChildStdout>,
}

impl Worker {
    /// Exports once in this mode; `name` is new for each run. Returns the time that the program measured.
    pub(crate) fn export(&mut self, mode: &str, name: &str) -> Duration {
        let commands = self.commands.as_mut().expect("it is open until this is dropped");
        writeln!(commands, "{mode} {name}").expect("python listens");
        let mut response = String::new();
        self.responses.read_line(&mut response).expect("python responds");
        Duration::from_secs_f64(response.trim().parse().expect("seconds"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The process ends at the end of its input.
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

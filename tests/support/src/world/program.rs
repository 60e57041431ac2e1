//! The built server as a process.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// Settings for tests: held requests and a busy machine do not look like an outage, S3 is retried
/// at once when it is back, and waiting streams send heartbeats.
const SETTINGS: [(&str, &str); 6] = [
    ("S3_RETRY_BUDGET", "2m"),
    ("S3_READ_TIMEOUT", "2m"),
    ("ACCEPT_TIMEOUT", "1m"),
    ("S3_OUTAGE_PAUSE", "0s"),
    ("HEARTBEAT_INTERVAL", "1s"),
    ("LOG_FORMAT", "json"),
];

/// A running server.
#[derive(Debug)]
pub(crate) struct Program {
    binary: PathBuf,
    environment: Vec<(String, String)>,
    port: u16,
    child: Child,
}

impl Program {
    pub(crate) async fn start(
        binary: &Path,
        folder: &Path,
        s3: &[(&'static str, String)],
        more: &[(String, String)],
    ) -> io::Result<Self> {
        // The port stays the same after a restart.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut environment: Vec<(String, String)> =
            s3.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        environment.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let data_dir = folder.join("exports");
        environment.push(("DATA_DIR".to_owned(), data_dir.display().to_string()));
        environment.push(("PORT".to_owned(), port.to_string()));
        environment.extend_from_slice(more);
        let child = spawn(binary, &environment).await?;
        Ok(Self { binary: binary.to_owned(), environment, port, child })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        SocketAddr::from(([127, 0, 0, 1], self.port)).to_string()
    }

    /// Kills the process and starts another on the same port and data directory.
    pub(crate) async fn restart(&mut self) -> io::Result<()> {
        self.end().await?;
        self.child = spawn(&self.binary, &self.environment).await?;
        Ok(())
    }

    pub(crate) async fn end(&mut self) -> io::Result<()> {
        self.child.kill().await
    }
}

/// Starts the process and waits until it logs that it listens.
async fn spawn(binary: &Path, environment: &[(String, String)]) -> io::Result<Child> {
    let mut command = Command::new(binary);
    command.arg("serve").envs(environment.iter().map(|(name, value)| (name, value)));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", binary.display())))?;
    let log = child.stderr.take().ok_or_else(|| io::Error::other("the server has no log"))?;
    let mut lines = BufReader::new(log).lines();
    loop {
        match lines.next_line().await? {
            Some(line) if line.contains("\"listening") => break,
            // Show the error to the developer who runs the tests.
            Some(line) => eprintln!("{line}"),
            None => return Err(io::Error::other("the server did not start")),
        }
    }
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("{line}");
        }
    });
    Ok(child)
}

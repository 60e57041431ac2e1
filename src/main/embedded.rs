//! Commands without `--server`: they run against a server in this process.

use std::{sync::Arc, time::Duration};

use tara_export::{
    cli::{
        CliError, ClientCommand, CommandFailure, ExitStatus, Interruption, Output, ResumeCommand,
    },
    config::{ListenSettings, Settings, value},
    data_dir::{DataDirError, DataDirLock, DataDirUser, HeartbeatTiming},
    export::journal::read_accepted,
    server::{Access, Deadline, RunningServer, Service, Stopping},
};
use tara_export_client::Client;
use tara_export_clock::SystemClock;
use tara_export_store::local::LocalStore;

use crate::StopRequest;

/// Time limit of the shutdown after Ctrl-C. Accepted exports stay in the journal.
const INTERRUPTED_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval between checks whether resumed exports make progress.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// Checks without progress after which the resumed exports cannot be finished now.
const IDLE_CHECKS: u32 = 3;

/// Runs a command against the given server, or against one in this process.
pub(crate) async fn run_client(
    command: ClientCommand,
    settings: &Settings,
    output: &mut Output,
) -> Result<ExitStatus, CommandFailure> {
    if let Some(client) = command.server().connect().await? {
        if !command.stores() {
            return Ok(command.run(client, output).await?);
        }
        let stop = StopRequest::receive()?;
        let result = tokio::select! {
            result = command.run(client, output) => Some(result),
            () = stop.wait() => None,
        };
        return match result {
            Some(result) => Ok(result?),
            None if output.print_interruption() => Ok(ExitStatus::Unknown),
            None => Err(interrupted()),
        };
    }
    if !command.writes() {
        return read(command, settings, output).await;
    }
    let lock = lock_data_dir(settings).await?;
    let stop = StopRequest::receive()?;
    if command.stores() && value(&settings.store.s3_bucket_name).is_none() {
        output.note(&format!(
            "no S3 bucket is set (S3_BUCKET_NAME): the bundle is stored in {} on this machine",
            settings.disk.data_dir.display()
        ));
    }
    let embedded = Embedded::start(settings, Access::Command).await?;
    let working = or_replaced(Some(&lock), command.run(embedded.client.clone(), output));
    let result = tokio::select! {
        result = working => Some(result),
        () = stop.wait() => None,
    };
    embedded.stop(result, lock, output).await
}

/// Runs a command that only reads the data directory and the stores.
async fn read(
    command: ClientCommand,
    settings: &Settings,
    output: &mut Output,
) -> Result<ExitStatus, CommandFailure> {
    let embedded = Embedded::start(settings, Access::Read).await?;
    let data_dir = settings.disk.data_dir.clone();
    let user = tokio::task::spawn_blocking(move || DataDirUser::find(&data_dir)).await;
    if let Ok(Some(DataDirUser { holder, address })) = user
        && embedded.server.engine().left().is_some_and(|left| left.count() > 0)
    {
        let address = address.map(|url| format!("; for their progress, use --server {url}"));
        output.note(&format!(
            "{holder} uses {} and works on its exports{}",
            settings.disk.data_dir.display(),
            address.unwrap_or_default()
        ));
    }
    let result = command.run(embedded.client.clone(), output).await;
    let status = match &result {
        Ok(status) => *status,
        Err(error) => error.exit_status(),
    };
    embedded.shut_down(status, ListenSettings::embedded().shutdown_timeout).await;
    Ok(result?)
}

/// Finishes the accepted exports of the data directory.
pub(crate) async fn run_resume(
    command: ResumeCommand,
    settings: &Settings,
    output: &mut Output,
) -> Result<ExitStatus, CommandFailure> {
    let lock = lock_data_dir(settings).await?;
    let accepted = read_accepted(&settings.disk.data_dir)
        .map_err(|error| failed("READ_FAILED", error.to_string()))?;
    let all: Vec<String> =
        accepted.headers.iter().map(|header| format!("exports/{}", header.export_id)).collect();
    let names = command.selected(&all)?;
    if !accepted.unreadable.is_empty() {
        output.note(&format!(
            "{} accepted exports cannot be read; a server reports the reasons in `tara-export check`",
            accepted.unreadable.len()
        ));
    }
    if names.is_empty() {
        output.note(&format!("nothing to resume in {}", settings.disk.data_dir.display()));
        lock.release_at_exit();
        let is_complete = accepted.unreadable.is_empty();
        return Ok(if is_complete { ExitStatus::Done } else { ExitStatus::Failed });
    }
    let stop = StopRequest::receive()?;
    let access = if command.exports.is_empty() { Access::Write } else { Access::Command };
    let embedded = Embedded::start(settings, access).await?;
    let engine = embedded.server.engine().clone();
    if access == Access::Command {
        for header in &accepted.headers {
            if names.contains(&format!("exports/{}", header.export_id)) {
                engine.load_pending(header.export_id).await;
            }
        }
    }
    output.note(&format!("resuming {} of {} accepted exports", names.len(), accepted.count));
    output.set_interruption(Interruption {
        message: "Unfinished exports stay accepted. To finish them, run:".to_owned(),
        command: "tara-export resume".to_owned(),
    });
    let working = async {
        let mut idle_checks = 0;
        while idle_checks < IDLE_CHECKS {
            tokio::time::sleep(IDLE_CHECK_INTERVAL).await;
            idle_checks = if engine.is_idle() { idle_checks + 1 } else { 0 };
        }
        command.report(&embedded.client, &names, output).await
    };
    let result = tokio::select! {
        result = or_replaced(Some(&lock), working) => Some(result),
        () = stop.wait() => None,
    };
    embedded.stop(result, lock, output).await
}

/// A server in this process, and a client of it.
struct Embedded {
    server: RunningServer,
    client: Client,
}

impl Embedded {
    async fn start(settings: &Settings, access: Access) -> Result<Self, CommandFailure> {
        let server = start_server(&ListenSettings::embedded(), settings, access)
            .await
            .map_err(|message| failed("START_FAILED", message))?;
        let url = format!("http://{}", server.address());
        let client = Client::connect(&url).await.map_err(CliError::from)?;
        Ok(Self { server, client })
    }

    /// Stops the server after the result of a command, or after a signal if there is none. Mentions accepted exports
    /// that are not finished.
    async fn stop(
        self,
        result: Option<Result<ExitStatus, CommandFailure>>,
        lock: DataDirLock,
        output: &mut Output,
    ) -> Result<ExitStatus, CommandFailure> {
        let engine = self.server.engine().clone();
        let (status, timeout) = match &result {
            Some(Ok(status)) => (*status, ListenSettings::embedded().shutdown_timeout),
            Some(Err(failure)) => (failure.status, ListenSettings::embedded().shutdown_timeout),
            None => (ExitStatus::Unknown, INTERRUPTED_SHUTDOWN_TIMEOUT),
        };
        // Before the shutdown, which ends the process if it takes too long.
        let is_printed = result.is_none() && output.print_interruption();
        let is_clean = self.shut_down(status, timeout).await;
        match is_clean {
            true => lock.release_at_exit(),
            false => lock.hold_until_exit(),
        }
        let was_interrupted = result.is_none();
        let result = result.unwrap_or(Ok(status));
        match engine.unfinished_count() {
            _ if is_printed => result,
            0 if was_interrupted => Err(interrupted()),
            0 => result,
            count => {
                output.note(&match count {
                    1 => "1 accepted export in this data directory is not finished. To finish it, run:".to_owned(),
                    count => format!(
                        "{count} accepted exports in this data directory are not finished. To finish them, run:"
                    ),
                });
                output.command("tara-export resume");
                result
            }
        }
    }

    /// Stops the server. The result is known: work that hangs from here on must not block the command.
    async fn shut_down(self, status: ExitStatus, timeout: Duration) -> bool {
        let (deadline, stopping) = (Deadline::from_now(timeout), Stopping::default());
        if let Err(error) = stopping.end_at(deadline, status.code()) {
            tracing::debug!(%error, "cannot start the thread that enforces the shutdown deadline");
        }
        self.server.shut_down_by(deadline, &stopping).await
    }
}

/// A signal before anything was accepted.
fn interrupted() -> CommandFailure {
    failed("INTERRUPTED", "interrupted before an export was accepted".to_owned())
}

fn failed(code: &str, message: String) -> CommandFailure {
    CommandFailure::new(code, message, ExitStatus::Failed)
}

/// Runs work on the data directory. Fails if another process takes the directory meanwhile.
pub(crate) async fn or_replaced(
    lock: Option<&DataDirLock>,
    work: impl Future<Output = Result<ExitStatus, CliError>>,
) -> Result<ExitStatus, CommandFailure> {
    let Some(lock) = lock else { return Ok(work.await?) };
    tokio::select! {
        result = work => Ok(result?),
        other = lock.replaced() => {
            let message = format!(
                "another process ({other}) took the data directory because its lock has no effect: it continues the \
                 accepted exports; set a separate DATA_DIR for each process, or use a file system that supports locks"
            );
            Err(CommandFailure::new("DATA_DIR_TAKEN", message, ExitStatus::Unknown))
        }
    }
}

/// Releases the data directory at the end of a command.
pub(crate) fn release(lock: DataDirLock, is_clean: bool) {
    if is_clean { lock.release_at_exit() } else { lock.hold_until_exit() }
}

pub(crate) async fn start_server(
    listen: &ListenSettings,
    settings: &Settings,
    access: Access,
) -> Result<RunningServer, String> {
    let service = Service::new(settings, access, Arc::new(SystemClock))
        .await
        .map_err(|error| error.to_string())?;
    RunningServer::start(service, listen).await.map_err(|error| error.to_string())
}

/// Locks the data directory and removes the temporary files of a killed process.
pub(crate) async fn lock_data_dir(settings: &Settings) -> Result<DataDirLock, CommandFailure> {
    let lock = DataDirLock::acquire(&settings.disk.data_dir, HeartbeatTiming::default()).await;
    let lock = lock.map_err(|error| data_dir_failure(&error))?;
    let store = LocalStore::open(settings.disk.data_dir.clone())
        .map_err(|error| failed("DATA_DIR_UNUSABLE", error.to_string()))?;
    let cleaned = store.clean_temporary_files().await;
    cleaned.map_err(|error| failed("DATA_DIR_UNUSABLE", error.to_string()))?;
    Ok(lock)
}

fn data_dir_failure(error: &DataDirError) -> CommandFailure {
    match error {
        DataDirError::Held { path, holder, address } => {
            let path = path.display();
            let message = match address {
                Some(url) => format!(
                    "the data directory {path} is in use by a server ({holder}): use --server {url}, or set DATA_DIR \
                     to another directory"
                ),
                None => error.to_string(),
            };
            failed("DATA_DIR_IN_USE", message)
        }
        DataDirError::HeldWithoutLock { .. } => failed("DATA_DIR_IN_USE", error.to_string()),
        DataDirError::Unusable { .. } => failed("DATA_DIR_UNUSABLE", error.to_string()),
    }
}

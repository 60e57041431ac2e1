//! The `tara-export` binary: the server and its commands.

use std::{ffi::OsStr, io, process::ExitCode, sync::Arc, time::Duration};

use clap::{
    Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, builder::Resettable,
};
use tara_export::{
    adopt::Adoption,
    cli::{
        ADOPT_HELP, AdoptCommand, BacklogAction, BacklogCommand, CliError, ClientCommand,
        ExitStatus, HealthCommand, JournalAction, JournalCommand, MoveCommand, Output,
        RetryCommand,
    },
    config::{ListenSettings, LogSettings, Settings, TelemetrySettings, value},
    data_dir::{DataDirLock, HeartbeatTiming},
    export::{Relocated, journal::retry},
    server::{
        Access, Deadline, HUNG, RunningServer, Service, StopSignal, Stopping, open_relocation,
        open_stores,
    },
    telemetry::{Telemetry, start_logging},
};
use tara_export_client::Client;
use tara_export_clock::SystemClock;
use tara_export_store::local::LocalStore;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Returns freed memory to the system after a load; glibc's allocator keeps most of it (docs/adr/0017).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns a completed document review into an audit bundle in S3 or on local disk
///
/// Without --server, a command starts a server in its own process, with the server settings
/// below.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    log: LogSettings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve gRPC, gRPC-Web, /healthz and /livez
    #[command(after_help = SERVE_EXIT_CODES)]
    Serve(Box<Serve>),
    #[command(flatten)]
    Client(ClientCommand),
    /// Turn folders that the review application wrote before this service existed into bundles
    #[command(after_help = ADOPT_HELP)]
    Adopt(AdoptCommand),
    /// Manage the unfinished exports in DATA_DIR while no server uses it
    Backlog(BacklogCommand),
    /// Manage the journal of DATA_DIR, with or without a running server
    Journal(JournalCommand),
    /// Check whether a server accepts calls or makes progress: exit code 0 if it does
    Health(HealthCommand),
}

/// Exit codes of `serve`, shown after its help.
const SERVE_EXIT_CODES: &str = "\
Exit codes:
  0  clean shutdown
  1  could not start
  2  wrong usage
  5  ended at SHUTDOWN_TIMEOUT because work hung; the log names the work. Nothing accepted is lost
  6  another process took DATA_DIR because its lock has no effect. Nothing accepted is lost";

/// The exit code of a server after another process took its data directory.
const REPLACED: u8 = 6;
/// Time limit of the shutdown after another process took the data directory.
const REPLACED_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    listen: ListenSettings,
    #[command(flatten)]
    telemetry: TelemetrySettings,
}

fn main() -> ExitCode {
    tara_export_memory::return_freed_memory_at_once();
    let _failpoints = tara_export_failpoint::from_environment();
    // All commands share the settings, which would fill the short help (-h).
    let command = Cli::command().mut_args(|argument| match argument.get_id().as_str() {
        "help" | "version" => argument,
        _ => argument.global(true).hide_short_help(true),
    });
    let command = without_empty_variables(command);
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(&format!("cannot start the async runtime: {error}"), ExitStatus::Failed);
        }
    };
    if let Err(message) = cli.settings.check() {
        return fail(&message, ExitStatus::Usage);
    }
    match cli.command {
        Command::Serve(command) => {
            let Serve { listen, telemetry } = *command;
            if let Err(message) = listen.check() {
                return fail(&message, ExitStatus::Usage);
            }
            // Before the server is reachable, so that any signal causes a clean shutdown.
            let stop_signal = match StopSignal::receive(listen.shutdown_timeout) {
                Ok(stop_signal) => stop_signal,
                Err(error) => {
                    let message = format!("cannot receive signals: {error}");
                    return fail(&message, ExitStatus::Failed);
                }
            };
            let served = runtime.block_on(async {
                let telemetry = Telemetry::start(&cli.log, &telemetry).await;
                let telemetry = telemetry.map_err(|error| error.to_string())?;
                let served = serve(&listen, &cli.settings, &telemetry, &stop_signal).await;
                let timeout = match &served {
                    Ok(stopped) => stopped.deadline.remaining(),
                    Err(_) => listen.shutdown_timeout,
                };
                telemetry.shut_down(timeout).await;
                served
            });
            // All required work is done. Does not wait for threads that hang.
            runtime.shutdown_background();
            match served {
                Ok(Stopped { result: ShutdownResult::Clean, .. }) => ExitCode::SUCCESS,
                Ok(Stopped { result: ShutdownResult::Hung, .. }) => HUNG.into(),
                Ok(Stopped { result: ShutdownResult::Replaced, .. }) => REPLACED.into(),
                Err(message) => fail(&message, ExitStatus::Failed),
            }
        }
        Command::Client(command) => {
            start_logging(&cli.log);
            let result = runtime.block_on(run_client(command, &cli.settings));
            runtime.shutdown_background();
            exit_code(result)
        }
        Command::Adopt(command) => {
            start_logging(&cli.log);
            let result = runtime.block_on(run_adopt(command, &cli.settings));
            runtime.shutdown_background();
            exit_code(result)
        }
        Command::Backlog(BacklogCommand { action: BacklogAction::Move(command) }) => {
            start_logging(&cli.log);
            let result = runtime.block_on(move_backlog(&command, &cli.settings));
            runtime.shutdown_background();
            exit_code(result)
        }
        Command::Journal(JournalCommand { action: JournalAction::Retry(command) }) => {
            start_logging(&cli.log);
            exit_code(retry_entry(&command, &cli.settings))
        }
        Command::Health(command) => {
            start_logging(&cli.log);
            let result = runtime.block_on(command.run(&mut Output::of_process()));
            runtime.shutdown_background();
            exit_code(with_exit_status(result))
        }
    }
}

/// The command, where an empty variable is equivalent to an unset one. The exception is a value itself: an empty
/// `S3_BASE_PATH` is the complete bucket.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| {
        let is_empty = |name: &OsStr| {
            name != "S3_BASE_PATH"
                && std::env::var_os(name)
                    .is_some_and(|value| value.to_string_lossy().trim().is_empty())
        };
        match argument.get_env().is_some_and(is_empty) {
            true => argument.env(Resettable::Reset),
            false => argument,
        }
    });
    command.mut_subcommands(without_empty_variables)
}

fn exit_code(result: Result<ExitStatus, (String, ExitStatus)>) -> ExitCode {
    match result {
        Ok(status) => status.into(),
        Err((message, status)) => fail(&message, status),
    }
}

fn fail(message: &str, status: ExitStatus) -> ExitCode {
    eprintln!("error: {message}");
    status.into()
}

/// How a server stopped.
struct Stopped {
    deadline: Deadline,
    result: ShutdownResult,
}

/// The result of a shutdown.
enum ShutdownResult {
    Clean,
    Hung,
    /// Another process took the data directory.
    Replaced,
}

/// Serves until a stop signal. The data directory stays locked until the process ends.
async fn serve(
    listen: &ListenSettings,
    settings: &Settings,
    telemetry: &Telemetry,
    stop_signal: &StopSignal,
) -> Result<Stopped, String> {
    stop_signal.stopping().set_phase("startup");
    let mut hang_up =
        signal(SignalKind::hangup()).map_err(|error| format!("cannot receive signals: {error}"))?;
    let stopped_early = |deadline| {
        tracing::info!("stopping during startup");
        Ok(Stopped { deadline, result: ShutdownResult::Clean })
    };
    let lock = tokio::select! {
        lock = lock_data_dir(settings) => lock?,
        deadline = stop_signal.wait() => return stopped_early(deadline),
    };
    let starting = start_server(listen, settings, Access::Write);
    let server = tokio::select! {
        started = starting => started,
        deadline = stop_signal.wait() => {
            lock.hold_until_exit();
            return stopped_early(deadline);
        }
    };
    let server = match server {
        Ok(server) => server,
        Err(message) => {
            lock.hold_until_exit();
            return Err(message);
        }
    };
    let metrics = telemetry.metrics_address().map(tracing::field::display);
    match value(&settings.store.s3_bucket_name) {
        Some(bucket) => {
            tracing::info!(address = %server.listen_address(), metrics, bucket, "listening");
        }
        None => tracing::warn!(
            address = %server.listen_address(), metrics, data_dir = %settings.disk.data_dir.display(),
            "listening WITHOUT an S3 bucket: bundles stay on this machine's disk; set S3_BUCKET_NAME to store them in S3"
        ),
    }
    if let Some(warning) = settings.disk_warning() {
        tracing::warn!(data_dir = %settings.disk.data_dir.display(), "{warning}");
    }
    for warning in listen.security.claim_warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(warning) = listen.warning() {
        tracing::warn!(address = %server.listen_address(), "{warning}");
    }
    let engine = server.engine().clone();
    tokio::spawn(async move { engine.check_s3().await });
    let reload = server.reload();
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            tracing::info!(
                "SIGHUP: reloading certificates, tokens, keys and the credentials for S3"
            );
            reload.notify_one();
        }
    });
    let deadline = tokio::select! {
        deadline = stop_signal.wait() => deadline,
        other = lock.replaced() => {
            tracing::error!(
                data_dir = %settings.disk.data_dir.display(), %other,
                "another process took the data directory because its lock has no effect: this server stops; set a \
                 separate DATA_DIR for each server, or use a file system that supports locks"
            );
            return Ok(end_replaced(server, lock).await);
        }
    };
    tracing::info!("stopping");
    let is_clean = server.shut_down_by(deadline, stop_signal.stopping()).await;
    if is_clean {
        lock.release_at_exit();
        Ok(Stopped { deadline, result: ShutdownResult::Clean })
    } else {
        lock.hold_until_exit();
        Ok(Stopped { deadline, result: ShutdownResult::Hung })
    }
}

/// Stops a server after another process took its data directory. Does not wait for exports: the other process
/// continues them.
async fn end_replaced(server: RunningServer, lock: DataDirLock) -> Stopped {
    let (deadline, stopping) = (Deadline::from_now(REPLACED_SHUTDOWN_TIMEOUT), Stopping::default());
    if let Err(error) = stopping.end_at(deadline, REPLACED) {
        tracing::debug!(%error, "cannot start the thread that enforces the shutdown deadline");
    }
    server.shut_down_by(deadline, &stopping).await;
    lock.hold_until_exit();
    Stopped { deadline, result: ShutdownResult::Replaced }
}

/// Runs a command against the given server, or against one in this process.
async fn run_client(
    command: ClientCommand,
    settings: &Settings,
) -> Result<ExitStatus, (String, ExitStatus)> {
    let failed = |message: String| (message, ExitStatus::Failed);
    let mut output = Output::of_process();
    match command.server().connect().await {
        Ok(Some(client)) => return with_exit_status(command.run(client, &mut output).await),
        Ok(None) => {}
        Err(error) => return with_exit_status(Err(error)),
    }
    // Read-only commands do not lock the directory.
    let lock = match command.writes() {
        true => Some(lock_data_dir(settings).await.map_err(failed)?),
        false => None,
    };
    if command.writes() && value(&settings.store.s3_bucket_name).is_none() {
        eprintln!(
            "no S3 bucket is set (S3_BUCKET_NAME): the bundle is stored in {} on this machine",
            settings.disk.data_dir.display()
        );
    }
    let access = if command.writes() { Access::Write } else { Access::Read };
    let listen = ListenSettings::embedded();
    let server = start_server(&listen, settings, access).await.map_err(failed)?;
    let url = format!("http://{}", server.address());
    let client = Client::connect(&url).await.map_err(|error| failed(error.to_string()))?;
    let result = or_replaced(lock.as_ref(), command.run(client, &mut output)).await;
    // The result is known: work that hangs from here on must not block the command.
    let status = match &result {
        Ok(status) | Err((_, status)) => *status,
    };
    let (deadline, stopping) = (Deadline::from_now(listen.shutdown_timeout), Stopping::default());
    if let Err(error) = stopping.end_at(deadline, status.code()) {
        tracing::debug!(%error, "cannot start the thread that enforces the shutdown deadline");
    }
    let is_clean = server.shut_down_by(deadline, &stopping).await;
    if let Some(lock) = lock {
        release(lock, is_clean);
    }
    result
}

/// Runs work on the data directory. Fails if another process takes the directory meanwhile.
async fn or_replaced(
    lock: Option<&DataDirLock>,
    work: impl Future<Output = Result<ExitStatus, CliError>>,
) -> Result<ExitStatus, (String, ExitStatus)> {
    let Some(lock) = lock else { return with_exit_status(work.await) };
    tokio::select! {
        result = work => with_exit_status(result),
        other = lock.replaced() => {
            let message = format!(
                "another process ({other}) took the data directory because its lock has no effect: it continues the \
                 accepted exports; set a separate DATA_DIR for each process, or use a file system that supports locks"
            );
            Err((message, ExitStatus::Unknown))
        }
    }
}

/// Releases the data directory at the end of a command.
fn release(lock: DataDirLock, is_clean: bool) {
    if is_clean { lock.release_at_exit() } else { lock.hold_until_exit() }
}

/// Adopts bundles directly in the store, without a server.
async fn run_adopt(
    command: AdoptCommand,
    settings: &Settings,
) -> Result<ExitStatus, (String, ExitStatus)> {
    let failed = |message: String| (message, ExitStatus::Failed);
    let stores = open_stores(settings).await.map_err(|error| failed(error.to_string()))?;
    let s3 = stores.s3.filter(|_| !command.local);
    // Several replicas can write to S3 at the same time.
    let lock = match s3.is_none() && command.write {
        true => Some(lock_data_dir(settings).await.map_err(failed)?),
        false => None,
    };
    let adoption = Adoption::new(
        s3.unwrap_or(stores.local),
        Arc::new(SystemClock),
        command.settings(settings.store.allow_unsafe_store),
    )
    .await
    .map_err(|error| failed(error.to_string()))?;
    // From here on, a signal ends the adoption and keeps its results so far.
    let stop_signal = AdoptionSignal::receive()
        .map_err(|error| failed(format!("cannot receive signals: {error}")))?;
    let mut output = Output::of_process();
    let adopting = command.run(adoption, stop_signal.wait(), &mut output);
    let result = or_replaced(lock.as_ref(), adopting).await;
    if let Some(lock) = lock {
        release(lock, true);
    }
    result
}

/// Takes an entry out of quarantine. Works with or without a server that uses the data directory.
fn retry_entry(
    command: &RetryCommand,
    settings: &Settings,
) -> Result<ExitStatus, (String, ExitStatus)> {
    let export_id = command.export_id().parse().map_err(|_| {
        let message =
            format!("{:?} is not an export: pass exports/{{id}}, or only the id", command.export);
        (message, ExitStatus::Usage)
    })?;
    let retried = retry(&settings.disk.data_dir, export_id)
        .map_err(|error| (error.to_string(), ExitStatus::Failed))?;
    with_exit_status(command.report(&retried.reason, &mut Output::of_process()))
}

/// Binds exports that wait for another store to the configured store. Requires that no server uses the data
/// directory.
async fn move_backlog(
    command: &MoveCommand,
    settings: &Settings,
) -> Result<ExitStatus, (String, ExitStatus)> {
    let failed = |message: String| (message, ExitStatus::Failed);
    let only = command.export_id().map(str::parse).transpose().map_err(|_| {
        let message =
            format!("{:?} is not an export: pass exports/{{id}}, or only the id", command.export);
        (message, ExitStatus::Usage)
    })?;
    let lock = lock_data_dir(settings).await.map_err(failed)?;
    let relocation = open_relocation(settings, command.dry_run, Arc::new(SystemClock)).await;
    let relocation = relocation.map_err(failed)?;
    let moving = async {
        let mut relocated = Vec::new();
        let record = |one: Relocated| {
            relocated.push((format!("exports/{}", one.export_id), one.not_moved_reason))
        };
        let moved = relocation.run(only, record).await;
        let status = command.report(&relocation.target(), &relocated, &mut Output::of_process())?;
        moved.map_err(|error| CliError::Internal(error.to_string()))?;
        Ok(status)
    };
    let result = or_replaced(Some(&lock), moving).await;
    release(lock, true);
    result
}

fn with_exit_status(
    result: Result<ExitStatus, CliError>,
) -> Result<ExitStatus, (String, ExitStatus)> {
    result.map_err(|error| (error.to_string(), error.exit_status()))
}

async fn start_server(
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
async fn lock_data_dir(settings: &Settings) -> Result<DataDirLock, String> {
    let lock = DataDirLock::acquire(&settings.disk.data_dir, HeartbeatTiming::default()).await;
    let lock = lock.map_err(|error| error.to_string())?;
    let store =
        LocalStore::open(settings.disk.data_dir.clone()).map_err(|error| error.to_string())?;
    store.clean_temporary_files().await.map_err(|error| error.to_string())?;
    Ok(lock)
}

/// SIGTERM or SIGINT: ends an adoption after the folders in progress.
struct AdoptionSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl AdoptionSignal {
    /// Installs handlers for the signals, which would otherwise end the process.
    fn receive() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the first signal.
    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

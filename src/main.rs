//! The `tara-export` binary: the server and its commands.

#[path = "main/embedded.rs"]
mod embedded;
#[path = "main/generated.rs"]
mod generated;

use std::{ffi::OsStr, process::ExitCode, sync::Arc, time::Duration};

use anstyle::{AnsiColor, Style};
use clap::{
    ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::Resettable,
};
use tara_export::{
    adopt::Adoption,
    cli::{
        ADOPT_HELP, AdoptCommand, BacklogAction, BacklogCommand, CliError, ClientCommand,
        CommandFailure, EXIT_CODES, ExitStatus, HealthCommand, JournalAction, JournalCommand,
        MoveCommand, NotifyCommand, Output, OutputArguments, ResumeCommand, RetryCommand,
        given_settings, has_colour, is_json,
    },
    config::{ListenSettings, LogSettings, Settings, TelemetrySettings, value},
    data_dir::DataDirLock,
    export::{Relocated, journal::retry},
    jobs::Jobs,
    notifications::Notifications,
    server::{
        Access, Deadline, HUNG, RunningServer, StopSignal, Stopping, open_relocation, open_stores,
        target_context,
    },
    telemetry::{Telemetry, start_logging},
};
use tara_export_clock::SystemClock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    embedded::{lock_data_dir, or_replaced, release, run_client, run_resume, start_server},
    generated::{CompletionsCommand, ManCommand},
};

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
    output: OutputArguments,
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
    /// Finish accepted exports of DATA_DIR, for example after Ctrl-C
    #[command(after_help = EXIT_CODES)]
    Resume(ResumeCommand),
    /// Manage the unfinished exports in DATA_DIR while no server uses it
    Backlog(BacklogCommand),
    /// Manage the journal of DATA_DIR, with or without a running server
    Journal(JournalCommand),
    /// Check a file of notification targets, or send a test event, without a server
    #[command(after_help = EXIT_CODES)]
    Notify(NotifyCommand),
    /// Check whether a server accepts calls or makes progress: exit code 0 if it does
    Health(HealthCommand),
    /// Print completions for a shell
    Completions(CompletionsCommand),
    /// Print the man page, or write one for each command
    Man(ManCommand),
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
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() && std::env::args_os().any(|word| word == "--json") => {
            let message = error.render().to_string();
            let message = message.trim_start_matches("error: ").trim_end();
            return Printer { is_json: true }.fail(&CommandFailure::new(
                "USAGE",
                message,
                ExitStatus::Usage,
            ));
        }
        Err(error) => error.exit(),
    };
    let printer = Printer { is_json: is_json(&matches) };
    match run(&matches) {
        Ok(code) => code,
        Err(mut failure) => {
            if !failure.next_command.is_empty() {
                failure.next_command.push_str(&given(&matches));
            }
            printer.fail(&failure)
        }
    }
}

/// The command line. All commands share the settings, which would fill the short help (-h).
fn command() -> clap::Command {
    let command = Cli::command().mut_args(|argument| match argument.get_id().as_str() {
        "help" | "version" => argument,
        "quiet" | "verbose" => argument.global(true),
        _ => argument.global(true).hide_short_help(true),
    });
    without_empty_variables(command)
}

/// The command line for completions and man pages: settings belong to the program and to `serve`, and would hide the
/// own options of the other commands.
fn own_options() -> clap::Command {
    Cli::command()
        .mut_args(|argument| match argument.get_id().as_str() {
            "quiet" | "verbose" => argument.global(true),
            _ => argument,
        })
        .mut_subcommand("serve", Settings::augment_args)
}

/// Runs the command of a command line.
fn run(matches: &ArgMatches) -> Result<ExitCode, CommandFailure> {
    let mut cli = Cli::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
    if let Some(level) = cli.output.log_level() {
        cli.log.set_level(level);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cli.settings.limits.worker_threads())
        .enable_all()
        .build()
        .map_err(|error| failed(format!("cannot start the async runtime: {error}")))?;
    let Cli { command, output, settings, log } = cli;
    settings.check().map_err(usage)?;
    let command = match command {
        Command::Serve(command) => return run_server(*command, &settings, &log, runtime),
        command => command,
    };
    start_logging(&log);
    let mut output = Output::of_process().quiet(output.quiet).with_settings(given(matches));
    let result = runtime.block_on(async {
        let output = &mut output;
        match command {
            // It has returned already.
            Command::Serve(_) => Ok(ExitStatus::Done),
            Command::Client(command) => run_client(command, &settings, output).await,
            Command::Adopt(command) => run_adopt(command, &settings, output).await,
            Command::Resume(command) => run_resume(command, &settings, output).await,
            Command::Backlog(BacklogCommand { action: BacklogAction::Move(command) }) => {
                move_backlog(&command, &settings, output).await
            }
            Command::Journal(JournalCommand { action: JournalAction::Retry(command) }) => {
                retry_entry(&command, &settings, output)
            }
            Command::Notify(command) => run_notify(command, &settings, output).await,
            Command::Health(command) => Ok(command.run(output).await?),
            Command::Completions(completions) => completions.run(own_options(), output),
            Command::Man(man) => man.run(own_options(), output),
        }
    });
    runtime.shutdown_background();
    Ok(result?.into())
}

/// Runs `serve`.
fn run_server(
    command: Serve,
    settings: &Settings,
    log: &LogSettings,
    runtime: tokio::runtime::Runtime,
) -> Result<ExitCode, CommandFailure> {
    let Serve { listen, telemetry } = command;
    listen.check().map_err(usage)?;
    // Before the server is reachable, so that any signal causes a clean shutdown.
    let stop_signal = StopSignal::receive(listen.shutdown_timeout)
        .map_err(|error| failed(format!("cannot receive signals: {error}")))?;
    let served = runtime.block_on(async {
        let telemetry = Telemetry::start(log, &telemetry).await;
        let telemetry = telemetry.map_err(|error| failed(error.to_string()))?;
        let served = serve(&listen, settings, &telemetry, &stop_signal).await;
        let timeout = match &served {
            Ok(stopped) => stopped.deadline.remaining(),
            Err(_) => listen.shutdown_timeout,
        };
        telemetry.shut_down(timeout).await;
        served
    });
    // All required work is done. Does not wait for threads that hang.
    runtime.shutdown_background();
    Ok(match served?.result {
        ShutdownResult::Clean => ExitCode::SUCCESS,
        ShutdownResult::Hung => HUNG.into(),
        ShutdownResult::Replaced => REPLACED.into(),
    })
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

/// The settings of a command line, for the commands that messages name.
fn given(matches: &ArgMatches) -> String {
    given_settings(&Settings::augment_args(clap::Command::new("settings")), matches)
}

fn failed(message: String) -> CommandFailure {
    CommandFailure::new("FAILED", message, ExitStatus::Failed)
}

fn usage(message: String) -> CommandFailure {
    CommandFailure::new("INVALID_SETTING", message, ExitStatus::Usage)
}

/// Prints errors.
struct Printer {
    is_json: bool,
}

impl Printer {
    fn fail(&self, failure: &CommandFailure) -> ExitCode {
        match self.is_json {
            true => eprintln!("{}", failure.json()),
            false => {
                let style = match has_colour(&std::io::stderr()) {
                    true => AnsiColor::Red.on_default().bold(),
                    false => Style::new(),
                };
                eprintln!("{style}error:{style:#} {}", failure.text());
            }
        }
        failure.status.into()
    }
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
) -> Result<Stopped, CommandFailure> {
    stop_signal.stopping().set_phase("startup");
    let mut hang_up = signal(SignalKind::hangup())
        .map_err(|error| failed(format!("cannot receive signals: {error}")))?;
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
            return Err(failed(message));
        }
    };
    lock.set_address(&server.listen_address().local_url(listen.security.has_tls()));
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
    server.jobs().iter().for_each(Jobs::start);
    let (reload, notifications) = (server.reload(), server.notifications());
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            tracing::info!(
                "SIGHUP: reloading certificates, tokens, keys, the credentials for S3 and NOTIFY_FILE"
            );
            reload.notify_one();
            notifications.iter().for_each(Notifications::reload);
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

/// Runs a command on a file of targets.
async fn run_notify(
    command: NotifyCommand,
    settings: &Settings,
    output: &mut Output,
) -> Result<ExitStatus, CommandFailure> {
    let context =
        target_context(settings, command.file()).await.map_err(|error| usage(error.to_string()))?;
    Ok(command.run(context, &SystemClock, output).await?)
}

/// Adopts bundles directly in the store, without a server.
async fn run_adopt(
    command: AdoptCommand,
    settings: &Settings,
    output: &mut Output,
) -> Result<ExitStatus, CommandFailure> {
    let stores = open_stores(settings).await.map_err(|error| failed(error.to_string()))?;
    let s3 = stores.s3.filter(|_| !command.local);
    // Several replicas can write to S3 at the same time.
    let lock = match s3.is_none() && command.write {
        true => Some(lock_data_dir(settings).await?),
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
    let stop_signal = StopRequest::receive()?;
    let adopting = command.run(adoption, stop_signal.wait(), output);
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
    output: &mut Output,
) -> Result<ExitStatus, CommandFailure> {
    let export_id = command.export_id().parse().map_err(|_| not_an_export(&command.export))?;
    let retried =
        retry(&settings.disk.data_dir, export_id).map_err(|error| failed(error.to_string()))?;
    Ok(command.report(&retried.reason, output)?)
}

fn not_an_export(argument: &str) -> CommandFailure {
    let message = format!("{argument:?} is not an export: pass exports/{{id}}, or only the id");
    CommandFailure::new("USAGE", message, ExitStatus::Usage)
}

/// Binds exports that wait for another store to the configured store. Requires that no server uses the data
/// directory.
async fn move_backlog(
    command: &MoveCommand,
    settings: &Settings,
    output: &mut Output,
) -> Result<ExitStatus, CommandFailure> {
    let only = command
        .export_id()
        .map(str::parse)
        .transpose()
        .map_err(|_| not_an_export(command.export.as_deref().unwrap_or_default()))?;
    let lock = lock_data_dir(settings).await?;
    let relocation = open_relocation(settings, command.dry_run, Arc::new(SystemClock)).await;
    let relocation = relocation.map_err(failed)?;
    let moving = async {
        let mut relocated = Vec::new();
        let record = |one: Relocated| {
            relocated.push((format!("exports/{}", one.export_id), one.not_moved_reason))
        };
        let moved = relocation.run(only, record).await;
        let status = command.report(&relocation.target(), &relocated, output)?;
        moved.map_err(|error| CliError::Internal(error.to_string()))?;
        Ok(status)
    };
    let result = or_replaced(Some(&lock), moving).await;
    release(lock, true);
    result
}

/// SIGTERM or SIGINT: ends a command in order.
struct StopRequest {
    terminate: Signal,
    interrupt: Signal,
}

impl StopRequest {
    /// Installs handlers for the signals, which would otherwise end the process.
    fn receive() -> Result<Self, CommandFailure> {
        let failed = |error| failed(format!("cannot receive signals: {error}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
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

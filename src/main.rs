//! The `tara-export` binary: the server, and commands that speak to one.

use std::{io, process::ExitCode, sync::Arc};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tara_export::{
    adopt::Adoption,
    cli::{
        ADOPT_HELP, AdoptCommand, ClientCommand, ExitStatus, HealthCommand, JournalAction,
        JournalCommand, Output, RetryCommand,
    },
    client::Client,
    clock::SystemClock,
    config::{ListenSettings, LogSettings, Settings, TelemetrySettings, value},
    data_dir::DataDirLock,
    export::journal::retry,
    server::{Access, Deadline, HUNG, RunningServer, Service, StopSignal, Stopping, open_stores},
    store::local::LocalStore,
    telemetry::{Telemetry, start_logging},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Returns the memory that a load took to the system; glibc's own keeps most of it (docs/adr/0017).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns a completed document review into an audit bundle in S3 or on local disk
///
/// Without --server, the commands start a server of their own in this process, with the server
/// settings below.
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
    /// Make bundles of folders that the review application wrote before this service existed
    #[command(after_help = ADOPT_HELP)]
    Adopt(AdoptCommand),
    /// Work on the journal of DATA_DIR, beside a running server or without one
    Journal(JournalCommand),
    /// Ask whether a server takes calls, or whether it makes progress, for health checks: exit code 0 if it does
    Health(HealthCommand),
}

/// What the exit codes of `serve` mean; for the end of its help.
const SERVE_EXIT_CODES: &str = "\
Exit codes:
  0  stopped in order
  1  could not start
  2  wrong usage
  5  stopped at the end of SHUTDOWN_TIMEOUT while work hung; the log says which. Nothing accepted is lost";

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    listen: ListenSettings,
    #[command(flatten)]
    telemetry: TelemetrySettings,
}

fn main() -> ExitCode {
    tara_export_memory::return_freed_memory_at_once();
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    // Settings are the same for all commands, and would fill the short help (-h).
    let command = Cli::command().mut_args(|argument| match argument.get_id().as_str() {
        "help" | "version" => argument,
        _ => argument.global(true).hide_short_help(true),
    });
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no async runtime: {error}"), ExitStatus::Failed),
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
            // Before anybody can know of the server: a signal ends it in order.
            let stop_signal = match StopSignal::receive(listen.shutdown_timeout) {
                Ok(stop_signal) => stop_signal,
                Err(error) => {
                    let message = format!("signals can't be received: {error}");
                    return fail(&message, ExitStatus::Failed);
                }
            };
            let served = runtime.block_on(async {
                let telemetry = Telemetry::start(&cli.log, &telemetry).await;
                let telemetry = telemetry.map_err(|error| error.to_string())?;
                let served = serve(&listen, &cli.settings, &telemetry, &stop_signal).await;
                let patience = match &served {
                    Ok(stopped) => stopped.deadline.rest(),
                    Err(_) => listen.shutdown_timeout,
                };
                telemetry.shut_down(patience).await;
                served
            });
            // What must be done was waited for, and a thread that hangs must not keep the process.
            runtime.shutdown_background();
            match served {
                Ok(Stopped { in_order: true, .. }) => ExitCode::SUCCESS,
                Ok(_) => HUNG.into(),
                Err(message) => fail(&message, ExitStatus::Failed),
            }
        }
        Command::Client(command) => {
            start_logging(&cli.log);
            let result = runtime.block_on(run_client(command, &cli.settings));
            runtime.shutdown_background();
            ended(result)
        }
        Command::Adopt(command) => {
            start_logging(&cli.log);
            let result = runtime.block_on(run_adopt(command, &cli.settings));
            runtime.shutdown_background();
            ended(result)
        }
        Command::Journal(JournalCommand { action: JournalAction::Retry(command) }) => {
            start_logging(&cli.log);
            ended(retry_entry(&command, &cli.settings))
        }
        Command::Health(command) => {
            start_logging(&cli.log);
            let result = runtime.block_on(command.run(&mut Output::of_process()));
            runtime.shutdown_background();
            ended(told(result))
        }
    }
}

fn ended(result: Result<ExitStatus, (String, ExitStatus)>) -> ExitCode {
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
    /// Whether nothing hung.
    in_order: bool,
}

/// Serves until it is told to stop. The data directory stays locked until the process ends.
async fn serve(
    listen: &ListenSettings,
    settings: &Settings,
    telemetry: &Telemetry,
    stop_signal: &StopSignal,
) -> Result<Stopped, String> {
    stop_signal.stopping().waits_for("the start");
    let mut hang_up = signal(SignalKind::hangup())
        .map_err(|error| format!("signals can't be received: {error}"))?;
    let starting = async {
        lock_data_dir(settings).await?.hold_until_exit();
        start_server(listen, settings, Access::Write).await
    };
    let server = tokio::select! {
        started = starting => started?,
        deadline = stop_signal.wait() => {
            tracing::info!("stopping before the start was done");
            return Ok(Stopped { deadline, in_order: true });
        }
    };
    let metrics = telemetry.metrics_address().map(tracing::field::display);
    match value(&settings.s3_bucket_name) {
        Some(bucket) => {
            tracing::info!(address = %server.address(), metrics, bucket, "listening");
        }
        None => tracing::warn!(
            address = %server.address(), metrics, data_dir = %settings.data_dir.display(),
            "listening WITHOUT an S3 bucket: bundles stay on this machine's disk; set S3_BUCKET_NAME to store them in S3"
        ),
    }
    if let Some(warning) = settings.disk_warning() {
        tracing::warn!(data_dir = %settings.data_dir.display(), "{warning}");
    }
    if let Some(warning) = listen.security.warning(listen.bind_address) {
        tracing::warn!(address = %server.address(), "{warning}");
    }
    let engine = server.engine().clone();
    tokio::spawn(async move { engine.check_s3().await });
    let look_again = server.look_again();
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            tracing::info!("SIGHUP: reading the files of certificates, tokens and keys again");
            look_again.notify_one();
        }
    });
    let deadline = stop_signal.wait().await;
    tracing::info!("stopping");
    let in_order = server.shut_down_by(deadline, stop_signal.stopping()).await;
    Ok(Stopped { deadline, in_order })
}

/// Runs a command against the server it names, or against one in this process.
async fn run_client(
    command: ClientCommand,
    settings: &Settings,
) -> Result<ExitStatus, (String, ExitStatus)> {
    let failed = |message: String| (message, ExitStatus::Failed);
    let mut output = Output::of_process();
    match command.server().connect().await {
        Ok(Some(client)) => return told(command.run(client, &mut output).await),
        Ok(None) => {}
        Err(error) => return told(Err(error)),
    }
    // Commands that only read leave the directory to whoever writes.
    if command.writes() {
        lock_data_dir(settings).await.map_err(failed)?.hold_until_exit();
    }
    if command.writes() && value(&settings.s3_bucket_name).is_none() {
        eprintln!(
            "no S3 bucket is set (S3_BUCKET_NAME): the bundle goes to {} on this machine",
            settings.data_dir.display()
        );
    }
    let access = if command.writes() { Access::Write } else { Access::Read };
    let listen = ListenSettings::embedded();
    let server = start_server(&listen, settings, access).await.map_err(failed)?;
    let url = format!("http://{}", server.address());
    let client = Client::connect(&url).await.map_err(|error| failed(error.to_string()))?;
    let result = told(command.run(client, &mut output).await);
    // The result is known: what hangs from here on must not keep the command.
    let status = match &result {
        Ok(status) | Err((_, status)) => *status,
    };
    let (deadline, stopping) = (Deadline::from_now(listen.shutdown_timeout), Stopping::default());
    if let Err(error) = stopping.end_at(deadline, status.code()) {
        tracing::debug!(%error, "the process has no last resort");
    }
    server.shut_down_by(deadline, &stopping).await;
    result
}

/// Adopts what lies in the store itself; there is no server in between.
async fn run_adopt(
    command: AdoptCommand,
    settings: &Settings,
) -> Result<ExitStatus, (String, ExitStatus)> {
    let failed = |message: String| (message, ExitStatus::Failed);
    let stores = open_stores(settings).await.map_err(|error| failed(error.to_string()))?;
    let s3 = stores.s3.filter(|_| !command.local);
    // In S3 any number of replicas write side by side.
    if s3.is_none() && command.write {
        lock_data_dir(settings).await.map_err(failed)?.hold_until_exit();
    }
    let adoption = Adoption::new(
        s3.unwrap_or(stores.local),
        Arc::new(SystemClock),
        command.settings(settings.allow_unsafe_store),
    )
    .await
    .map_err(|error| failed(error.to_string()))?;
    // From here on, a signal ends it with what was done so far.
    let stop_signal = AdoptionSignal::receive()
        .map_err(|error| failed(format!("signals can't be received: {error}")))?;
    let result = command.run(adoption, stop_signal.wait(), &mut Output::of_process()).await;
    told(result)
}

/// Takes an entry out of quarantine. A server that has the data directory may run beside it.
fn retry_entry(
    command: &RetryCommand,
    settings: &Settings,
) -> Result<ExitStatus, (String, ExitStatus)> {
    let export_id = command.export_id().parse().map_err(|_| {
        let message = format!("{:?} is no export: exports/{{id}}, or the id alone", command.export);
        (message, ExitStatus::Usage)
    })?;
    let retried = retry(&settings.data_dir, export_id)
        .map_err(|error| (error.to_string(), ExitStatus::Failed))?;
    told(command.report(&retried.reason, &mut Output::of_process()))
}

fn told(
    result: Result<ExitStatus, tara_export::cli::CliError>,
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

/// Takes the data directory, and clears away what a process left there that was killed.
async fn lock_data_dir(settings: &Settings) -> Result<DataDirLock, String> {
    let lock = DataDirLock::acquire(&settings.data_dir).map_err(|error| error.to_string())?;
    let store = LocalStore::open(settings.data_dir.clone()).map_err(|error| error.to_string())?;
    store.clean_temporary_files().await.map_err(|error| error.to_string())?;
    Ok(lock)
}

/// SIGTERM or SIGINT, which end an adoption after the folders that it is at.
struct AdoptionSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl AdoptionSignal {
    /// Takes the signals, which end the process otherwise.
    fn receive() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the first of them.
    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

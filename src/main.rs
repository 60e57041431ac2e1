//! The `tara-export` binary: the server, and commands that speak to one.

use std::{process::ExitCode, sync::Arc};

use clap::{Args, Parser, Subcommand};
use tara_export::{
    clock::SystemClock,
    config::{ListenSettings, LogSettings, Settings, value},
    data_dir::DataDirLock,
    server::{RunningServer, Service},
    store::local::LocalStore,
    telemetry::{DefaultLevel, start_logging},
};

/// Turns a completed document review into an audit bundle in S3 or on local disk
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogSettings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve gRPC, gRPC-Web and /healthz
    Serve(Serve),
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    listen: ListenSettings,
    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no async runtime: {error}")),
    };
    let result = match cli.command {
        Command::Serve(command) => {
            start_logging(&cli.log, DefaultLevel::Info);
            runtime.block_on(serve(command))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::FAILURE
}

async fn serve(command: Serve) -> Result<(), String> {
    let Serve { listen, settings } = command;
    settings.check()?;
    let lock = DataDirLock::acquire(&settings.data_dir).map_err(|error| error.to_string())?;
    let service =
        Service::new(&settings, Arc::new(SystemClock)).await.map_err(|error| error.to_string())?;
    let engine = service.engine().clone();
    let server = RunningServer::start(service, &listen).await.map_err(|error| {
        format!(
            "can't listen on {}:{} (BIND_ADDRESS, PORT): {error}",
            listen.bind_address, listen.port
        )
    })?;
    match value(&settings.s3_bucket_name) {
        Some(bucket) => tracing::info!(address = %server.address(), bucket, "listening"),
        None => tracing::warn!(
            address = %server.address(), data_dir = %settings.data_dir.display(),
            "listening WITHOUT an S3 bucket: bundles stay on this machine's disk; set S3_BUCKET_NAME to store them in S3"
        ),
    }
    let _ = LocalStore::open(settings.data_dir.clone());
    tokio::spawn(async move { engine.check_s3().await });
    stop_signal().await.map_err(|error| format!("signals can't be received: {error}"))?;
    tracing::info!("stopping");
    server.shut_down().await;
    drop(lock);
    Ok(())
}

/// Waits for SIGTERM or SIGINT.
async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

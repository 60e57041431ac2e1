//! The client commands: arguments, runs, and what a person sees of them.
//!
//! Each command runs against a connected [`Client`]. Who composes them connects to the server that
//! [`ClientCommand::server`] names, or to one of its own. [`AdoptCommand`] works on a store,
//! [`JournalCommand`] on a data directory, and [`HealthCommand`] asks only a server that is there.

mod adopt;
mod check;
mod download;
mod export;
mod format;
mod health;
mod journal;
mod link;
mod list;
mod output;
mod progress;
mod report;
mod server;
mod upload;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use tonic::Code;

pub use adopt::{ADOPT_HELP, AdoptCommand};
pub use check::CheckCommand;
pub use download::DownloadCommand;
pub use export::ExportCommand;
pub use health::HealthCommand;
pub use journal::{JournalAction, JournalCommand, RetryCommand};
pub use link::LinkCommand;
pub use list::ListCommand;
pub use output::{Captured, Output};
pub use report::ReportCommand;
pub use server::ServerArguments;
pub use upload::UploadCommand;
pub use watch::WatchCommand;

use crate::client::{Client, ClientError, session::InputError};

/// What the exit codes mean; for the end of `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done: what was asked for was done, where it was asked for
  1  failed
  2  wrong usage or bad input
  3  fell back: the bundle is whole, but in the local store, and S3 was asked for
  4  unknown or pending: contact was lost; run again with the same --request-id";

/// The commands that speak to a server.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Export a completed review as an audit bundle
    #[command(after_help = EXIT_CODES)]
    Export(ExportCommand),
    /// Follow an export that was started before
    #[command(after_help = EXIT_CODES)]
    Watch(WatchCommand),
    /// List exports, newest first
    #[command(after_help = EXIT_CODES)]
    List(ListCommand),
    /// Show a bundle's report
    #[command(after_help = EXIT_CODES)]
    Report(ReportCommand),
    /// Download a bundle as a ZIP file, or one of its files
    #[command(after_help = EXIT_CODES)]
    Download(DownloadCommand),
    /// Upload a document that a request is to name
    #[command(after_help = EXIT_CODES)]
    Upload(UploadCommand),
    /// Make a link by which anybody can download one file of a bundle in S3, for a time
    #[command(after_help = EXIT_CODES)]
    Link(LinkCommand),
    /// Check the server's stores, and say what to do about what is wrong
    #[command(after_help = EXIT_CODES)]
    Check(CheckCommand),
}

impl ClientCommand {
    /// The server that the caller named; without one the command works on an embedded server.
    pub fn server(&self) -> &ServerArguments {
        match self {
            Self::Export(command) => &command.server,
            Self::Watch(command) => &command.server,
            Self::List(command) => &command.server,
            Self::Report(command) => &command.server,
            Self::Download(command) => &command.server,
            Self::Upload(command) => &command.server,
            Self::Link(command) => &command.server,
            Self::Check(command) => &command.server,
        }
    }

    /// Whether an embedded server needs the data directory for itself.
    pub fn writes(&self) -> bool {
        matches!(self, Self::Export(_) | Self::Upload(_))
    }

    /// Runs the command.
    ///
    /// # Errors
    /// What a person should be told, with [`CliError::exit_status`].
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        match self {
            Self::Export(command) => command.run(client, out).await,
            Self::Watch(command) => command.run(client, out).await,
            Self::List(command) => command.run(client, out).await,
            Self::Report(command) => command.run(client, out).await,
            Self::Download(command) => command.run(client, out).await,
            Self::Upload(command) => command.run(client, out).await,
            Self::Link(command) => command.run(client, out).await,
            Self::Check(command) => command.run(client, out).await,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// What was asked for was done.
    Done,
    /// It was not.
    Failed,
    /// The arguments or the input can't be used.
    Usage,
    /// The bundle is whole, but in the local store.
    FellBack,
    /// Whether there will be a bundle is not known yet.
    Unknown,
}

impl ExitStatus {
    /// The process's exit code, as [`EXIT_CODES`] says.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::FellBack => 3,
            Self::Unknown => 4,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        status.code().into()
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The server refused, or was not reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The input can't be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The terminal, pipe or file can't be written.
    #[error("can't write: {0}")]
    Write(#[from] std::io::Error),
    /// A file that an argument names can't be read.
    #[error("can't read {}: {source}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What stands there can't be a token.
    #[error("{place} has no token that a header can carry")]
    Token {
        /// The file or variable.
        place: String,
    },
    /// A file is in the way of what is to be written.
    #[error("{0} exists already; choose another name with --output")]
    Exists(String),
    /// The server's name for a file can't be used on this system.
    #[error(
        "cannot write a file named \"{name}\": the name {reason}; choose another with --output"
    )]
    FileName {
        /// The name, printable.
        name: String,
        /// The violated rule.
        reason: &'static str,
    },
    /// Contact to a running export was lost.
    #[error(
        "{source}\nWhether there is a bundle is not known. To find out, or to finish it, run:\n  {command}"
    )]
    OutcomeUnknown {
        /// What happened.
        source: ClientError,
        /// The command that goes on with the same export.
        command: String,
    },
    /// A fault of this program.
    #[error("{0}")]
    Internal(String),
}

impl CliError {
    /// The exit status that goes with the error.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Input(_) | Self::ReadFile { .. } | Self::Token { .. } => ExitStatus::Usage,
            Self::Client(ClientError::LostContact { .. }) | Self::OutcomeUnknown { .. } => {
                ExitStatus::Unknown
            }
            Self::Client(ClientError::Url { .. } | ClientError::RequestTooLarge { .. }) => {
                ExitStatus::Usage
            }
            Self::Client(error) if error.code() == Some(Code::InvalidArgument) => ExitStatus::Usage,
            Self::Client(_)
            | Self::Write(_)
            | Self::Exists(_)
            | Self::FileName { .. }
            | Self::Internal(_) => ExitStatus::Failed,
        }
    }
}

/// The resource name of an export that a person named: exports/{id}, or the id alone.
fn resource_name(name: &str) -> String {
    if name.starts_with("exports/") { name.to_owned() } else { format!("exports/{name}") }
}

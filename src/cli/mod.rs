//! The commands: arguments, execution and output.
//!
//! Each [`ClientCommand`] runs against a connected [`Client`]. `main` connects to the server that
//! [`ClientCommand::server`] names, or to an embedded one. [`AdoptCommand`] works on a store, [`JournalCommand`] and
//! [`BacklogCommand`] on a data directory, [`NotifyCommand`] on a file of targets, and [`HealthCommand`] never starts an
//! embedded server.

mod adopt;
mod arguments;
mod backlog;
mod batch;
mod check;
mod download;
mod events;
mod export;
mod failure;
mod filter;
mod format;
mod health;
mod job;
mod journal;
mod link;
mod list;
mod names;
mod notify;
mod output;
mod pages;
mod progress;
mod report;
mod resume;
mod server;
mod table;
mod times;
mod upload;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use tonic::Code;

pub use adopt::{ADOPT_HELP, AdoptCommand};
pub use arguments::{OutputArguments, given_settings, is_json};
pub use backlog::{BacklogAction, BacklogCommand, MoveCommand};
pub use batch::BatchCommand;
pub use check::CheckCommand;
pub use download::DownloadCommand;
pub use events::{EventsAction, EventsCommand, ListEventsCommand, RetryEventsCommand};
pub use export::ExportCommand;
pub use failure::CommandFailure;
pub use health::HealthCommand;
pub use job::{JobAction, JobCommand, ListJobsCommand, RunJobCommand};
pub use journal::{JournalAction, JournalCommand, RetryCommand};
pub use link::LinkCommand;
pub use list::ListCommand;
pub use notify::{CheckTargetsCommand, NotifyAction, NotifyCommand, TestTargetCommand};
pub use output::{Captured, Interruption, Output, has_colour};
pub use report::ReportCommand;
pub use resume::ResumeCommand;
pub use server::ServerArguments;
pub use upload::UploadCommand;
pub use watch::WatchCommand;

use tara_export_client::{Client, ClientError, session::InputError};

use self::server::shell_word;

/// The exit codes, for the end of `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; a bundle is in the requested store
  1  failed
  2  wrong usage or bad input
  3  fell back: S3 was requested, and the complete bundle is in the local store
  4  unknown, or not finished: the message has the command that continues";

/// The commands that call a server.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Export a completed review as an audit bundle
    #[command(after_help = EXIT_CODES)]
    Export(ExportCommand),
    /// Export many completed reviews
    #[command(after_help = EXIT_CODES)]
    Batch(BatchCommand),
    /// Follow an existing export to its end
    #[command(after_help = EXIT_CODES)]
    Watch(WatchCommand),
    /// List exports, newest first
    #[command(after_help = EXIT_CODES)]
    List(ListCommand),
    /// Show a bundle's report
    #[command(after_help = EXIT_CODES)]
    Report(ReportCommand),
    /// Download a bundle as a ZIP file, or one artifact
    #[command(after_help = EXIT_CODES)]
    Download(DownloadCommand),
    /// Upload a document, so that a request can name it
    #[command(after_help = EXIT_CODES)]
    Upload(UploadCommand),
    /// Create a temporary link that lets anyone download one artifact of a bundle in S3
    #[command(after_help = EXIT_CODES)]
    Link(LinkCommand),
    /// Check the server's stores, and print how to fix problems
    #[command(after_help = EXIT_CODES)]
    Check(CheckCommand),
    /// List notifications, or deliver dead letters again
    #[command(after_help = EXIT_CODES)]
    Events(EventsCommand),
    /// List scheduled jobs, or run one now
    #[command(after_help = EXIT_CODES)]
    Job(JobCommand),
}

impl ClientCommand {
    /// The server to call; if it names none, the command uses an embedded server.
    pub fn server(&self) -> &ServerArguments {
        match self {
            Self::Export(command) => &command.server,
            Self::Batch(command) => &command.server,
            Self::Watch(command) => &command.server,
            Self::List(command) => &command.server,
            Self::Report(command) => &command.server,
            Self::Download(command) => &command.server,
            Self::Upload(command) => &command.server,
            Self::Link(command) => &command.server,
            Self::Check(command) => &command.server,
            Self::Events(command) => command.server(),
            Self::Job(command) => command.server(),
        }
    }

    /// Whether an embedded server needs the lock of the data directory.
    pub fn writes(&self) -> bool {
        match self {
            Self::Export(command) => !command.dry_run,
            Self::Batch(_) | Self::Upload(_) | Self::Events(_) | Self::Job(_) => true,
            _ => false,
        }
    }

    /// Whether it stores bundles or documents.
    pub fn stores(&self) -> bool {
        match self {
            Self::Export(command) => !command.dry_run,
            Self::Batch(_) | Self::Upload(_) => true,
            _ => false,
        }
    }

    /// Runs the command.
    ///
    /// # Errors
    /// The message to print, with [`CliError::exit_status`].
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        match self {
            Self::Export(command) => command.run(client, out).await,
            Self::Batch(command) => command.run(client, out).await,
            Self::Watch(command) => command.run(client, out).await,
            Self::List(command) => command.run(client, out).await,
            Self::Report(command) => command.run(client, out).await,
            Self::Download(command) => command.run(client, out).await,
            Self::Upload(command) => command.run(client, out).await,
            Self::Link(command) => command.run(client, out).await,
            Self::Check(command) => command.run(client, out).await,
            Self::Events(command) => command.run(client, out).await,
            Self::Job(command) => command.run(client, out).await,
        }
    }
}

/// The result of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// The command succeeded.
    Done,
    /// The command failed.
    Failed,
    /// The arguments or the input are invalid.
    Usage,
    /// The complete bundle is in the local store instead of S3.
    FellBack,
    /// It is not known yet whether there will be a bundle.
    Unknown,
}

impl ExitStatus {
    /// The process's exit code, as listed in [`EXIT_CODES`].
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

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The server refused the call or could not be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The input cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The terminal, pipe or file cannot be written.
    #[error("cannot write: {0}")]
    Write(#[from] std::io::Error),
    /// A file that an argument names cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file or variable has no valid token.
    #[error("{origin} contains no token that an HTTP header can carry")]
    Token {
        /// The file or variable.
        origin: String,
    },
    /// The output file exists.
    #[error("{0} already exists; choose another name with --output")]
    Exists(String),
    /// The server's name for a file is invalid on this system.
    #[error(
        "cannot write a file named \"{name}\": the name {reason}; choose another with --output"
    )]
    FileName {
        /// The name, with control characters escaped.
        name: String,
        /// The violated rule.
        reason: &'static str,
    },
    /// Contact to a running export was lost.
    #[error(
        "{source}\nIt is not known whether there is a bundle. To find out, or to finish the export, run:\n  {command}"
    )]
    OutcomeUnknown {
        /// The cause.
        source: ClientError,
        /// The command that continues the export.
        command: String,
    },
    /// The server refused a call, and another command helps.
    #[error("{source}\n  {command}")]
    WithNext {
        /// The cause.
        source: ClientError,
        /// The command that helps.
        command: String,
    },
    /// The file of targets has faults, or does not suit the arguments.
    #[error("{0}")]
    Targets(String),
    /// The files of a batch have no request.
    #[error("nothing to export: the files have no request")]
    NoRequests,
    /// An argument is invalid.
    #[error("{0}")]
    Usage(String),
    /// No export has the name that an argument starts.
    #[error("no export matches {argument:?}{}", searched(*is_search_limited))]
    NoMatch {
        /// The argument.
        argument: String,
        /// The number of exports that were searched, if there are more.
        is_search_limited: Option<usize>,
    },
    /// Several exports have the name that an argument starts.
    #[error(
        "{argument:?} is the start of {} exports; pass more of its characters:{}",
        candidates.len() + more, candidate_lines(candidates, *more)
    )]
    Ambiguous {
        /// The argument.
        argument: String,
        /// The first exports, printable.
        candidates: Vec<String>,
        /// The number of the others.
        more: usize,
    },
    /// An internal error.
    #[error("{0}")]
    Internal(String),
}

impl CliError {
    /// The exit status for the error.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Input(_)
            | Self::ReadFile { .. }
            | Self::Token { .. }
            | Self::Targets(_)
            | Self::Usage(_)
            | Self::Ambiguous { .. }
            | Self::NoRequests => ExitStatus::Usage,
            Self::Client(ClientError::LostContact { .. }) | Self::OutcomeUnknown { .. } => {
                ExitStatus::Unknown
            }
            Self::Client(ClientError::Url { .. } | ClientError::RequestTooLarge { .. }) => {
                ExitStatus::Usage
            }
            Self::Client(error) if error.code() == Some(Code::InvalidArgument) => ExitStatus::Usage,
            Self::Client(_)
            | Self::WithNext { .. }
            | Self::Write(_)
            | Self::Exists(_)
            | Self::FileName { .. }
            | Self::NoMatch { .. }
            | Self::Internal(_) => ExitStatus::Failed,
        }
    }
}

impl ServerArguments {
    /// Adds the command that helps to a refusal of a read, if there is one.
    fn with_next(&self, source: ClientError, name: &str, artifact: Option<&str>) -> CliError {
        let server = self.command_arguments();
        let command = match (source.reason(), artifact) {
            // Without a server, only an accepted export that is not running has no bundle.
            (Some("EXPORT_NOT_COMMITTED"), _) if server.is_empty() => {
                format!("tara-export resume {name}")
            }
            (Some("EXPORT_NOT_COMMITTED"), _) => format!("tara-export watch {name}{server}"),
            (Some("STORED_LOCALLY"), Some(path)) => {
                format!("tara-export download {name} --artifact {}{server}", shell_word(path))
            }
            (Some("EXPORT_NOT_FOUND"), _) => format!("tara-export list{server}"),
            _ => return source.into(),
        };
        CliError::WithNext { source, command }
    }
}

fn searched(limit: Option<usize>) -> String {
    limit
        .map(|limit| format!(" among the newest {limit}; pass the complete id"))
        .unwrap_or_default()
}

fn candidate_lines(candidates: &[String], more: usize) -> String {
    let mut lines: String = candidates.iter().map(|line| format!("\n  {line}")).collect();
    if more > 0 {
        lines.push_str(&format!("\n  and {more} more"));
    }
    lines
}

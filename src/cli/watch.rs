//! `watch`: follows an export to its end. `export` uses the same code.

use clap::Args;
use futures::StreamExt as _;
use tara_export_client::{
    Client, ClientError, EventStream,
    proto::{Destination, Export, Failed, export::State, export_event::Event},
    to_json,
};

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{self, printable, printable_json, size},
    progress::ProgressView,
    resource_name,
};

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub struct WatchCommand {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
    /// Export, as exports/ID or ID
    pub name: String,
    /// Print each event as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
}

impl WatchCommand {
    /// Follows the export to its end.
    ///
    /// # Errors
    /// If the call fails or contact is lost.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        Ok(follow(client.watch(resource_name(&self.name)), self.json, out).await?)
    }
}

/// Why following an export failed before the export ended.
#[derive(Debug)]
pub(super) enum FollowError {
    /// The call failed, or contact was lost.
    Client(ClientError),
    /// The output cannot be written.
    Write(std::io::Error),
}

impl From<ClientError> for FollowError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<std::io::Error> for FollowError {
    fn from(error: std::io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<FollowError> for CliError {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Client(error) => error.into(),
            FollowError::Write(error) => error.into(),
        }
    }
}

/// Shows an export's events until it ends, and prints its result.
pub(super) async fn follow(
    mut events: EventStream,
    json: bool,
    out: &mut Output,
) -> Result<ExitStatus, FollowError> {
    let mut view = if json { ProgressView::None } else { ProgressView::for_terminal(out) };
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                view.finish();
                return Err(error.into());
            }
        };
        if json {
            out.line(&printable_json(&to_json(&event)))?;
        }
        view.show(&event, out);
        match event.event {
            Some(Event::Completed(completed)) => {
                view.finish();
                let export = completed.export.unwrap_or_default();
                if !json {
                    print_result(&export, out)?;
                }
                return Ok(exit_status(&export));
            }
            Some(Event::Failed(failed)) => {
                view.finish();
                print_failure(&event.name, &failed, out);
                return Ok(ExitStatus::Failed);
            }
            _ => {}
        }
    }
    view.finish();
    Err(ClientError::Protocol("a stream that ended without the export's result").into())
}

fn exit_status(export: &Export) -> ExitStatus {
    match export.state() {
        State::Committed => ExitStatus::Done,
        State::FellBack => ExitStatus::FellBack,
        State::Pending | State::Running => ExitStatus::Unknown,
        State::Failed | State::Quarantined | State::Unspecified => ExitStatus::Failed,
    }
}

fn print_result(export: &Export, out: &mut Output) -> std::io::Result<()> {
    let stored_in = match export.stored_in() {
        Destination::S3 => "S3".to_owned(),
        Destination::Local => format!("local store of {}", printable(&export.replica)),
        Destination::Unspecified => "nowhere yet".to_owned(),
    };
    for (label, value) in [
        ("state", format::state(export).to_owned()),
        ("stored in", stored_in),
        ("location", printable(&export.location)),
        ("folder", printable(&export.folder_name)),
        ("artifacts", export.artifact_count.to_string()),
        ("size", size(export.size_bytes)),
        ("manifest sha256", printable(&export.manifest_sha256)),
        ("export", printable(&export.name)),
    ] {
        out.line(&format!("{label:<16} {value}"))?;
    }
    if export.state() == State::FellBack {
        out.note("");
        // The reason is unknown for a bundle that was read from the store.
        let reason = match printable(&export.state_reason) {
            reason if reason.is_empty() => String::new(),
            reason => format!(" ({reason})"),
        };
        out.note(&format!(
            "! NOT IN S3: S3 could not store the bundle{reason}. The complete bundle is only in the \
             server's local store. A server on that machine sends it to S3 as soon as S3 accepts it."
        ));
    }
    Ok(())
}

fn print_failure(name: &str, failed: &Failed, out: &mut Output) {
    let (name, reason) = (printable(name), printable(&failed.reason));
    out.note(&format!("✗ {name} failed: {} ({reason})", printable(&failed.message)));
    if !failed.stored_under.is_empty() {
        out.note(&format!("  Its content is stored under {}.", printable(&failed.stored_under)));
    }
}

//! `watch`, and following an export to its end, which `export` does too.

use clap::Args;
use futures::StreamExt as _;

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{self, printable, printable_json, size},
    progress::ProgressView,
    resource_name,
};
use crate::{
    client::{Client, ClientError, EventStream, to_json},
    proto::{Destination, Export, Failed, export::State, export_event::Event},
};

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub struct WatchCommand {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take the comment for the command's own")]
    pub server: ServerArguments,
    /// The export, exports/ID or the ID alone
    pub name: String,
    /// Print each event as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
}

impl WatchCommand {
    /// Follows the export to its end.
    ///
    /// # Errors
    /// The server's refusal, or lost contact.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        Ok(follow(client.watch(resource_name(&self.name)), self.json, out).await?)
    }
}

/// Why following ended without an end of the export.
#[derive(Debug)]
pub(super) enum FollowError {
    /// The server refused, or contact was lost.
    Client(ClientError),
    /// The result can't be written.
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

/// Shows an export's events until it ends, and then its result.
pub(super) async fn follow(
    mut events: EventStream,
    json: bool,
    out: &mut Output,
) -> Result<ExitStatus, FollowError> {
    let mut view = if json { ProgressView::None } else { ProgressView::for_person(out) };
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
    Err(ClientError::Protocol("an export that ended without saying how").into())
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
        // A bundle that is read back later does not say why.
        let reason = match printable(&export.state_reason) {
            reason if reason.is_empty() => String::new(),
            reason => format!(" ({reason})"),
        };
        out.note(&format!(
            "! NOT IN S3: S3 could not take the bundle{reason}. It is whole, in the server's local \
             store only. A server that runs there sends it to S3 as soon as S3 takes it."
        ));
    }
    Ok(())
}

fn print_failure(name: &str, failed: &Failed, out: &mut Output) {
    let (name, reason) = (printable(name), printable(&failed.reason));
    out.note(&format!("✗ {name} failed: {} ({reason})", printable(&failed.message)));
    if !failed.kept_as.is_empty() {
        out.note(&format!("  Its content was kept as {}.", printable(&failed.kept_as)));
    }
}

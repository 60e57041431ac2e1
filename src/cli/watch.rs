//! `watch`: follows an export to its end. `export` uses the same code.

use clap::Args;
use futures::StreamExt as _;
use tara_export_client::{
    Client, ClientError, EventStream, Reconnect,
    proto::{Destination, Export, Failed, export::State, export_event::Event},
    to_json,
};
use tokio::sync::mpsc;

use super::{
    CliError, ExitStatus, Interruption, Output, ServerArguments,
    format::{self, NOT_RUNNING, printable, printable_json, size},
    names::export_name,
    progress::ProgressView,
};

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub struct WatchCommand {
    /// Export, as exports/ID, an ID or its start, or the bundle's folder
    pub name: String,
    /// Print each event as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

impl WatchCommand {
    /// Follows the export to its end.
    ///
    /// # Errors
    /// If the call fails or contact is lost.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let name = export_name(&client, &self.name).await?;
        let (client, reconnects) = observed(client);
        let following = Following { events: client.watch(name), reconnects };
        Ok(follow(following, self.json, None, out).await?)
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

/// The events of an export, and the lost connections meanwhile.
pub(super) struct Following {
    pub(super) events: EventStream,
    pub(super) reconnects: mpsc::UnboundedReceiver<Reconnect>,
}

/// The client, and its lost connections. There are few: each is followed by a pause.
pub(super) fn observed(client: Client) -> (Client, mpsc::UnboundedReceiver<Reconnect>) {
    let (sender, reconnects) = mpsc::unbounded_channel();
    // The receiver is gone after the end of the stream.
    let client = client.on_reconnect(move |reconnect| drop(sender.send(reconnect)));
    (client, reconnects)
}

/// Shows an export's events until it ends, and prints its result. `accepted` is printed if a signal ends the command
/// after acceptance.
pub(super) async fn follow(
    following: Following,
    json: bool,
    accepted: Option<Interruption>,
    out: &mut Output,
) -> Result<ExitStatus, FollowError> {
    let (mut accepted, Following { mut events, mut reconnects }) = (accepted, following);
    let mut view = if json { ProgressView::None } else { ProgressView::for_terminal(out) };
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            Some(reconnect) = reconnects.recv() => {
                view.show_reconnect(&reconnect, out);
                continue;
            }
        };
        let Some(event) = event else { break };
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
        if let Some(Event::Accepted(_)) = &event.event
            && let Some(accepted) = accepted.take()
        {
            out.set_interruption(accepted);
        }
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
                // With --json, the event is on standard output.
                if !json {
                    print_failure(&event.name, &failed, out);
                }
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
        out.line(&format!("{label:<15} {value}"))?;
    }
    if export.state_reason == NOT_RUNNING {
        out.note("The export is accepted, and no process works on it. To finish it, run:");
        out.command(&format!("tara-export resume {}", printable(&export.name)));
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
    out.problem(&format!("✗ {name} failed: {} ({reason})", printable(&failed.message)));
    if !failed.stored_under.is_empty() {
        out.problem(&format!("  Its content is stored under {}.", printable(&failed.stored_under)));
    }
}

//! `notify`: checks a file of targets, and sends a test event, without a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use tara_export_bundle::ExportId;
use tara_export_clock::Clock;
use tara_export_events::Event;
use tara_export_notify::{EmailAddress, Target, TargetContext, Targets};

use super::{CliError, ExitStatus, Output, format::printable_json};

/// Check a file of notification targets, or send a test event
#[derive(Debug, Args)]
pub struct NotifyCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: NotifyAction,
}

/// The subcommands of `notify`.
#[derive(Debug, Subcommand)]
pub enum NotifyAction {
    /// Check a file of targets, and that each target can be reached; sends no event
    #[command(after_help = super::EXIT_CODES)]
    Check(CheckTargetsCommand),
    /// Send a test event to one target of a file
    #[command(after_help = super::EXIT_CODES)]
    Test(TestTargetCommand),
}

/// Arguments of `notify check`.
#[derive(Debug, Args)]
pub struct CheckTargetsCommand {
    /// File of targets, as NOTIFY_FILE
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only check the file
    #[arg(long)]
    pub offline: bool,
    /// Print one line of JSON for each target
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `notify test`.
#[derive(Debug, Args)]
pub struct TestTargetCommand {
    /// File of targets, as NOTIFY_FILE
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Name of the target
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// Recipient, for a target that sends mails only to the notify_emails of a request
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<String>,
    /// Print the result as one line of JSON
    #[arg(long)]
    pub json: bool,
}

impl NotifyCommand {
    /// The file of targets.
    pub fn file(&self) -> &PathBuf {
        match &self.action {
            NotifyAction::Check(command) => &command.file,
            NotifyAction::Test(command) => &command.file,
        }
    }

    /// Runs the subcommand.
    ///
    /// # Errors
    /// If the file has faults, or the output cannot be written.
    pub async fn run(
        self,
        context: TargetContext,
        clock: &dyn Clock,
        out: &mut Output,
    ) -> Result<ExitStatus, CliError> {
        let targets = Targets::load(self.file(), &context)
            .map_err(|error| CliError::Targets(error.to_string()))?;
        match self.action {
            NotifyAction::Check(command) => command.run(&targets, out).await,
            NotifyAction::Test(command) => command.run(&targets, clock, out).await,
        }
    }
}

impl CheckTargetsCommand {
    async fn run(self, targets: &Targets, out: &mut Output) -> Result<ExitStatus, CliError> {
        let mut status = ExitStatus::Done;
        for target in targets.iter() {
            let checked = match self.offline {
                true => Ok(()),
                false => target.sender.check().await,
            };
            if checked.is_err() {
                status = ExitStatus::Failed;
            }
            if self.json {
                let error = checked.as_ref().err().map(ToString::to_string);
                out.line(&result_json(target, error))?;
                continue;
            }
            let described = format!("{} ({})", target.name, target.kind.as_str());
            out.line(&match checked {
                Ok(()) if self.offline => format!("✓ {described}"),
                Ok(()) => format!("✓ {described} can be reached"),
                Err(error) => format!("✗ {described}: {error}"),
            })?;
        }
        Ok(status)
    }
}

impl TestTargetCommand {
    async fn run(
        self,
        targets: &Targets,
        clock: &dyn Clock,
        out: &mut Output,
    ) -> Result<ExitStatus, CliError> {
        let Some(target) = targets.get(&self.target) else {
            let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
            return Err(CliError::Targets(format!(
                "the file has no target {:?}; it has {}",
                self.target,
                names.join(", ")
            )));
        };
        let mut event = Event::test(ExportId::new(clock.new_id()), clock.now());
        event.recipients = self.recipients(target)?;
        let sent = target.sender.send(&[event]).await;
        if self.json {
            let error = sent.as_ref().err().map(ToString::to_string);
            let status = if sent.is_ok() { ExitStatus::Done } else { ExitStatus::Failed };
            out.line(&result_json(target, error))?;
            return Ok(status);
        }
        match sent {
            Ok(()) => {
                out.line(&format!("✓ {} took the test event", target.name))?;
                Ok(ExitStatus::Done)
            }
            Err(error) => {
                out.line(&format!("✗ {}: {error}", target.name))?;
                Ok(ExitStatus::Failed)
            }
        }
    }

    fn recipients(&self, target: &Target) -> Result<Vec<String>, CliError> {
        match (&self.to, target.is_for_requested) {
            (None, false) => Ok(Vec::new()),
            (None, true) => Err(CliError::Targets(format!(
                "{} sends mails only to the notify_emails of a request: add --to ADDRESS",
                target.name
            ))),
            (Some(_), false) => Err(CliError::Targets(format!(
                "{} has its own recipients: leave out --to",
                target.name
            ))),
            (Some(address), true) => EmailAddress::parse(address)
                .map(|address| vec![address.as_str().to_owned()])
                .map_err(|error| CliError::Targets(format!("--to: {error}"))),
        }
    }
}

/// The result for a target as one line of JSON.
fn result_json(target: &Target, error: Option<String>) -> String {
    let result = json!({
        "target": target.name.as_str(),
        "kind": target.kind.as_str(),
        "succeeded": error.is_none(),
        "error": error,
    });
    printable_json(&result.to_string())
}

//! `journal`: manages the journal entries in a data directory.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, ExitStatus, Output, format::printable_json};

/// Manage the journal in DATA_DIR; a server may use it meanwhile
#[derive(Debug, Args)]
pub struct JournalCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: JournalAction,
}

/// The subcommands of `journal`.
#[derive(Debug, Subcommand)]
pub enum JournalAction {
    /// Take an accepted export out of quarantine and reset its count of attempts
    ///
    /// A running server retries it within seconds; otherwise, the server retries it when it starts next.
    #[command(after_help = super::EXIT_CODES)]
    Retry(RetryCommand),
}

/// Arguments of `journal retry`.
#[derive(Debug, Args)]
pub struct RetryCommand {
    /// Export, as exports/{id} or {id}
    #[arg(value_name = "ID")]
    pub export: String,
    /// Print the result as one line of JSON
    #[arg(long)]
    pub json: bool,
}

impl RetryCommand {
    /// The export's id.
    pub fn export_id(&self) -> &str {
        self.export.strip_prefix("exports/").unwrap_or(&self.export)
    }

    /// Prints that the export is out of quarantine, and the reason why it was quarantined.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn report(&self, reason: &str, out: &mut Output) -> Result<ExitStatus, CliError> {
        if self.json {
            let name = format!("exports/{}", self.export_id());
            let retried = json!({ "name": name, "quarantineReason": reason });
            out.line(&printable_json(&retried.to_string()))?;
            return Ok(ExitStatus::Done);
        }
        out.line(&format!(
            "exports/{} is out of quarantine. The reason for the quarantine was: {reason}",
            self.export_id()
        ))?;
        out.line(
            "A running server retries it within seconds; otherwise, the server retries it when it starts next.",
        )?;
        Ok(ExitStatus::Done)
    }
}

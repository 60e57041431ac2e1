//! `journal`: what an operator does with the entries of a data directory's journal.

use clap::{Args, Subcommand};

use super::{CliError, ExitStatus, Output};

/// Work on the journal of DATA_DIR, beside a running server or without one
#[derive(Debug, Args)]
pub struct JournalCommand {
    /// What to do.
    #[command(subcommand)]
    pub action: JournalAction,
}

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub enum JournalAction {
    /// Take an accepted export out of quarantine, to be tried again from a clean count
    ///
    /// A running server tries it again within seconds; without one, the next start does.
    #[command(after_help = super::EXIT_CODES)]
    Retry(RetryCommand),
}

/// Takes an export out of quarantine.
#[derive(Debug, Args)]
pub struct RetryCommand {
    /// The export: exports/{id}, or the id alone
    #[arg(value_name = "ID")]
    pub export: String,
}

impl RetryCommand {
    /// The export's id.
    pub fn export_id(&self) -> &str {
        self.export.strip_prefix("exports/").unwrap_or(&self.export)
    }

    /// Reports what was done: the export is out of quarantine, where it was for this reason.
    ///
    /// # Errors
    /// Where the terminal or pipe can't be written.
    pub fn report(&self, reason: &str, out: &mut Output) -> Result<ExitStatus, CliError> {
        out.line(&format!(
            "exports/{} is out of quarantine. It was there because: {reason}",
            self.export_id()
        ))?;
        out.line(
            "A running server tries it again within seconds; without one, the next start does.",
        )?;
        Ok(ExitStatus::Done)
    }
}

//! `backlog`: manages the unfinished exports in a data directory.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, ExitStatus, Output, format::printable_json};

/// Manage the unfinished exports in DATA_DIR; no server may use it meanwhile
#[derive(Debug, Args)]
pub struct BacklogCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: BacklogAction,
}

/// The subcommands of `backlog`.
#[derive(Debug, Subcommand)]
pub enum BacklogAction {
    /// Bind exports that wait for a previous store (STORE_CHANGED) to the configured one
    ///
    /// Every document that such an export names must be in the configured store, unchanged since acceptance: first
    /// copy .tara-export/uploads/ there from the previous store. The server finishes the moved exports when it starts
    /// next. A bundle that is already in the previous store is created a second time.
    #[command(after_help = super::EXIT_CODES)]
    Move(MoveCommand),
}

/// Arguments of `backlog move`.
#[derive(Debug, Args)]
pub struct MoveCommand {
    /// Export, as exports/{id} or {id}; by default, all exports that wait for another store
    #[arg(value_name = "ID")]
    pub export: Option<String>,

    /// Print the result without changing anything
    #[arg(long)]
    pub dry_run: bool,

    /// Print one line of JSON for each export
    #[arg(long)]
    pub json: bool,
}

impl MoveCommand {
    /// The id of the named export, if any.
    pub fn export_id(&self) -> Option<&str> {
        self.export.as_deref().map(|export| export.strip_prefix("exports/").unwrap_or(export))
    }

    /// Prints the outcome for each export, with the reason if it was not moved.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn report(
        &self,
        target: &str,
        relocated: &[(String, Option<String>)],
        out: &mut Output,
    ) -> Result<ExitStatus, CliError> {
        let would = if self.dry_run { "can be moved" } else { "moved" };
        let mut moved = 0;
        for (export, stays) in relocated {
            if self.json {
                moved += usize::from(stays.is_none());
                let is_moved = stays.is_none() && !self.dry_run;
                let line = json!({ "name": export, "moved": is_moved, "staysReason": stays });
                out.line(&printable_json(&line.to_string()))?;
                continue;
            }
            match stays {
                None => {
                    moved += 1;
                    out.line(&format!("{export} {would}"))?;
                }
                Some(reason) => out.line(&format!("{export} stays: {reason}"))?,
            }
        }
        let stay = relocated.len() - moved;
        if self.json {
            return Ok(if stay == 0 { ExitStatus::Done } else { ExitStatus::Failed });
        }
        if relocated.is_empty() {
            out.line("No export waits for another store.")?;
        } else {
            out.line(&format!("{moved} {would} to {target}, {stay} stay"))?;
        }
        Ok(if stay == 0 { ExitStatus::Done } else { ExitStatus::Failed })
    }
}

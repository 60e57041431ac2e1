//! `check`: runs the server's preflight and prints a hint for each problem.

use clap::Args;
use tara_export_client::{
    Client,
    proto::{CheckStorageResponse, StorageCheck, storage_check::Status},
    to_json,
};

use unicode_width::UnicodeWidthStr as _;

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{printable, printable_json},
    table::{Column, GAP, Table, wrapped},
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckCommand {
    /// Print the server's response as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

impl CheckCommand {
    /// Prints a row for each check, with a hint if the operator has to act. If a check failed, the status is
    /// [`ExitStatus::Failed`].
    ///
    /// # Errors
    /// If the call fails.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let response = client.check_storage().await?;
        if self.json {
            out.line(&printable_json(&to_json(&response)))?;
        } else {
            print(&response, out)?;
        }
        let has_failed = response.checks.iter().any(|check| check.status() == Status::Failed);
        Ok(if has_failed { ExitStatus::Failed } else { ExitStatus::Done })
    }
}

/// The narrowest terminal on which durations are printed.
const MIN_WIDTH_WITH_DURATIONS: usize = 100;

fn print(response: &CheckStorageResponse, out: &mut Output) -> std::io::Result<()> {
    let is_narrow = out.width().is_some_and(|width| width < MIN_WIDTH_WITH_DURATIONS);
    let mut table = Table::new(
        [Column::new(""), Column::new(""), Column::new("").drops(u8::from(is_narrow))],
        is_narrow.then_some(0),
    );
    let rows: Vec<_> = response.checks.iter().map(row).collect();
    let labels = table.lines(&rows);
    let indent = table.width() + GAP.len();
    let message_width = out.width().map(|width| width.saturating_sub(indent));
    let hint_width = out.width().map(|width| width.saturating_sub(HINT_INDENT));
    for (mut label, check) in labels.into_iter().zip(&response.checks) {
        for line in wrapped(&printable(&check.message), message_width) {
            let blanks = " ".repeat(indent.saturating_sub(label.width()));
            out.line(&format!("{label}{blanks}{line}"))?;
            label.clear();
        }
        let mut start = "→";
        for line in wrapped(&printable(&check.hint), hint_width) {
            if !line.is_empty() {
                out.line(&format!("  {start} {line}"))?;
            }
            start = " ";
        }
    }
    Ok(())
}

/// The width before a hint.
const HINT_INDENT: usize = 4;

fn row(check: &StorageCheck) -> [String; 3] {
    let sign = match check.status() {
        Status::Passed => "✓",
        Status::Warning => "!",
        Status::Failed => "✗",
        Status::Skipped | Status::Unspecified => "–",
    };
    let duration = check.duration.unwrap_or_default();
    let milliseconds =
        duration.seconds.saturating_mul(1000) + i64::from(duration.nanos) / 1_000_000;
    [sign.to_owned(), printable(&check.check), format!("{milliseconds} ms")]
}

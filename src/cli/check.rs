//! `check`: runs the server's preflight and prints a hint for each problem.

use clap::Args;
use tara_export_client::{
    Client,
    proto::{CheckStorageResponse, StorageCheck, storage_check::Status},
    to_json,
};

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{Table, printable, printable_json},
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckCommand {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
    /// Print the server's response as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
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

fn print(response: &CheckStorageResponse, out: &mut Output) -> std::io::Result<()> {
    let rows: Vec<_> = response.checks.iter().map(row).collect();
    let lines = Table::new([false; 4]).lines(&rows);
    for (line, check) in lines.into_iter().zip(&response.checks) {
        out.line(&line)?;
        if !check.hint.is_empty() {
            out.line(&format!("  → {}", printable(&check.hint)))?;
        }
    }
    Ok(())
}

fn row(check: &StorageCheck) -> [String; 4] {
    let sign = match check.status() {
        Status::Passed => "✓",
        Status::Warning => "!",
        Status::Failed => "✗",
        Status::Skipped | Status::Unspecified => "–",
    };
    let duration = check.duration.unwrap_or_default();
    let milliseconds =
        duration.seconds.saturating_mul(1000) + i64::from(duration.nanos) / 1_000_000;
    [
        sign.to_owned(),
        printable(&check.check),
        format!("{milliseconds} ms"),
        printable(&check.message),
    ]
}

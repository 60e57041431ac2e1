//! `resume`: finishes accepted exports of a data directory without a server.

use clap::Args;

use super::{
    CliError, ExitStatus, Output,
    format::{printable, printable_json},
    names,
};
use tara_export_client::{
    Client,
    proto::{Export, export::State},
    to_json,
};

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub struct ResumeCommand {
    /// Exports, as exports/ID, an ID or the start of one; by default, all unfinished exports of DATA_DIR
    #[arg(value_name = "EXPORT")]
    pub exports: Vec<String>,
    /// Print each export as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
}

impl ResumeCommand {
    /// Those of the accepted exports that the arguments name; without arguments, all of them.
    ///
    /// # Errors
    /// If an argument names none, or several.
    pub fn selected(&self, accepted: &[String]) -> Result<Vec<String>, CliError> {
        if self.exports.is_empty() {
            return Ok(accepted.to_vec());
        }
        self.exports.iter().map(|export| names::among(export, accepted)).collect()
    }

    /// Prints how the exports ended.
    ///
    /// # Errors
    /// If a call fails, or the output cannot be written.
    pub async fn report(
        &self,
        client: &Client,
        names: &[String],
        out: &mut Output,
    ) -> Result<ExitStatus, CliError> {
        let (mut fell_back, mut unfinished, mut failed) = (0, 0, 0);
        for name in names {
            let export = client.get_export(name).await?;
            match export.state() {
                State::Committed => {}
                State::FellBack => fell_back += 1,
                State::Pending | State::Running => unfinished += 1,
                State::Failed | State::Quarantined | State::Unspecified => failed += 1,
            }
            match self.json {
                true => out.line(&printable_json(&to_json(&export)))?,
                false => out.line(&line(&export))?,
            }
        }
        if unfinished > 0 {
            out.note("Unfinished exports stay accepted. To see why, run:");
            out.command("tara-export check");
        }
        Ok(match (failed, unfinished, fell_back) {
            (0, 0, 0) => ExitStatus::Done,
            (0, 0, _) => ExitStatus::FellBack,
            (0, ..) => ExitStatus::Unknown,
            _ => ExitStatus::Failed,
        })
    }
}

fn line(export: &Export) -> String {
    let name = printable(&export.name);
    let reason = match export.state_reason.as_str() {
        "" => String::new(),
        reason => format!(" ({})", printable(reason)),
    };
    match export.state() {
        State::Committed => format!("✓ {name} committed: {}", printable(&export.location)),
        State::FellBack => {
            format!("! {name} is only in the local store{reason}: {}", printable(&export.location))
        }
        State::Pending | State::Running => format!("– {name} is not finished{reason}"),
        State::Failed | State::Quarantined | State::Unspecified => {
            format!("✗ {name} {}{reason}", super::format::state(export))
        }
    }
}

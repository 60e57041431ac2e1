//! `report`: prints a bundle's report.

use clap::{Args, ValueEnum};
use tara_export_client::{
    Client, ClientError,
    proto::{get_report_request::View, get_report_response::Report},
    to_json, to_json_pretty,
};

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{printable_json, printable_lines},
    names::export_name,
};

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportCommand {
    /// Export, as exports/ID, an ID or its start, or the bundle's folder
    pub name: String,
    /// Format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub view: ViewArgument,
    /// Print the server's response as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

/// A report format on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ViewArgument {
    /// readable_report.txt, byte for byte
    Text,
    /// comprehensive_report.json, byte for byte
    Json,
    /// The report as an API message, in proto3 JSON
    Structured,
}

impl ViewArgument {
    /// The artifact that the view prints unchanged.
    fn artifact(self) -> Option<&'static str> {
        match self {
            Self::Text => Some("readable_report.txt"),
            Self::Json => Some("comprehensive_report.json"),
            Self::Structured => None,
        }
    }
}

impl ReportCommand {
    /// Prints the report.
    ///
    /// # Errors
    /// If the call fails, for example because the export is unknown.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let name = export_name(&client, &self.name).await?;
        let view = match self.view {
            ViewArgument::Text => View::Text,
            ViewArgument::Json => View::Json,
            ViewArgument::Structured => View::Structured,
        };
        let response = match (client.get_report(&name, view).await, self.view.artifact()) {
            (Err(error), Some(path)) if is_too_large(&error) && !self.json => {
                return download(&client, &name, path, out).await;
            }
            (response, _) => response.map_err(|error| self.server.with_next(error, &name, None))?,
        };
        if self.json {
            out.line(&printable_json(&to_json(&response)))?;
            return Ok(ExitStatus::Done);
        }
        match response.report {
            Some(Report::Text(text)) => print(text.as_bytes(), out)?,
            Some(Report::Json(json)) => print(&json, out)?,
            Some(Report::Structured(report)) => {
                out.line(&printable_json(&to_json_pretty(&report)))?
            }
            None => return Err(ClientError::Protocol("GetReport response without a report").into()),
        }
        Ok(ExitStatus::Done)
    }
}

/// Every report is smaller, because a request has at most 64 MiB.
const LARGEST_REPORT_BYTES: usize = 256 * 1024 * 1024;

/// Downloads the artifact of a report that is too large for one response.
async fn download(
    client: &Client,
    name: &str,
    path: &str,
    out: &mut Output,
) -> Result<ExitStatus, CliError> {
    let mut report = client.open_artifact(name, path).await?;
    let mut bytes = Vec::new();
    // Nothing is printed before the digest is verified.
    while let Some(data) = report.next().await? {
        if bytes.len() + data.len() > LARGEST_REPORT_BYTES {
            return Err(ClientError::Protocol("a report of more than 256 MiB").into());
        }
        bytes.extend_from_slice(&data);
    }
    print(&bytes, out)?;
    Ok(ExitStatus::Done)
}

fn is_too_large(error: &ClientError) -> bool {
    error.reason() == Some("REPORT_TOO_LARGE")
}

/// Prints the bytes unchanged to a file or pipe. Escapes control characters on a terminal.
fn print(bytes: &[u8], out: &mut Output) -> std::io::Result<()> {
    if out.stdout_is_terminal() {
        out.bytes(printable_lines(&String::from_utf8_lossy(bytes)).as_bytes())
    } else {
        out.bytes(bytes)
    }
}

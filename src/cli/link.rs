//! `link`: a link by which others download one file of a bundle.

use std::time::Duration;

use clap::Args;

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{printable, printable_json, time},
    resource_name,
};
use crate::client::{Client, to_json};

/// Arguments of `link`.
#[derive(Debug, Args)]
pub struct LinkCommand {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take the comment for the command's own")]
    pub server: ServerArguments,
    /// The export, exports/ID or the ID alone; its bundle must be in S3
    pub name: String,
    /// The file's path within the bundle, such as readable_report.txt
    pub path: String,
    /// How long the link is to live, 1s to 7d; unset: 15 minutes. It dies earlier where the server's own
    /// credentials do
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub ttl: Option<Duration>,
    /// Print the answer as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
}

impl LinkCommand {
    /// Prints the link, and when it dies.
    ///
    /// # Errors
    /// The server's refusal, such as STORED_LOCALLY.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let name = resource_name(&self.name);
        let link = client.create_download_link(name, self.path, self.ttl).await?;
        if self.json {
            out.line(&printable_json(&to_json(&link)))?;
        } else {
            out.line(&printable(&link.uri))?;
            out.note(&format!(
                "whoever has this link can read the file until {}",
                time(link.expire_time.as_ref())
            ));
        }
        Ok(ExitStatus::Done)
    }
}

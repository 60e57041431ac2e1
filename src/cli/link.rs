//! `link`: creates a link to download one artifact.

use std::time::Duration;

use clap::Args;
use tara_export_client::{Client, to_json};

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{printable, printable_json, time},
    names::export_name,
};

/// Arguments of `link`.
#[derive(Debug, Args)]
pub struct LinkCommand {
    /// Export, as exports/ID, an ID or its start, or the bundle's folder; its bundle must be in S3
    pub name: String,
    /// Path of the artifact within the bundle, such as readable_report.txt
    pub path: String,
    /// Lifetime of the link, 1s to 7d; by default 15 minutes. The link expires earlier if the server's
    /// credentials do
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub ttl: Option<Duration>,
    /// Print the response as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

impl LinkCommand {
    /// Prints the link and its expiry time.
    ///
    /// # Errors
    /// If the call fails, for example with STORED_LOCALLY.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let name = export_name(&client, &self.name).await?;
        let link = client.create_download_link(&name, &self.path, self.ttl).await;
        let link = link.map_err(|error| self.server.with_next(error, &name, Some(&self.path)))?;
        if self.json {
            out.line(&printable_json(&to_json(&link)))?;
        } else {
            out.line(&printable(&link.uri))?;
            out.note(&format!(
                "Everyone with this link can read the file until {}",
                time(link.expire_time.as_ref())
            ));
        }
        Ok(ExitStatus::Done)
    }
}

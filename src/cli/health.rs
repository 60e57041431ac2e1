//! `health`: is a server there that takes calls? For health checks in containers without a shell.

use clap::Args;

use super::{CliError, ExitStatus, Output, ServerArguments};
use crate::client::is_serving;

/// Arguments of `health`.
#[derive(Debug, Args)]
pub struct HealthCommand {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take the comment for the command's own")]
    pub server: ServerArguments,
    /// Port of the server on this machine, where no other is named
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub port: u16,
}

impl HealthCommand {
    /// Asks the server's health service.
    ///
    /// # Errors
    /// Where no answer comes.
    pub async fn run(self, out: &mut Output) -> Result<ExitStatus, CliError> {
        let options = self.server.options()?;
        let url = self.server.server.unwrap_or_else(|| format!("http://127.0.0.1:{}", self.port));
        if is_serving(&url, options).await? {
            out.line("serving")?;
            Ok(ExitStatus::Done)
        } else {
            out.line("not serving: shutting down")?;
            Ok(ExitStatus::Failed)
        }
    }
}

//! `health`: is a server there that takes calls, or makes progress? For health checks in containers without a shell.

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
    /// What to ask for: without it, whether the server takes calls; `liveness`: whether it makes progress, or
    /// needs a restart; `accepting`: whether it would accept an export
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub service: String,
}

impl HealthCommand {
    /// Asks the server's health service.
    ///
    /// # Errors
    /// Where no answer comes.
    pub async fn run(self, out: &mut Output) -> Result<ExitStatus, CliError> {
        let options = self.server.options()?;
        let url = self.server.server.unwrap_or_else(|| format!("http://127.0.0.1:{}", self.port));
        if is_serving(&url, &self.service, options).await? {
            out.line("serving")?;
            Ok(ExitStatus::Done)
        } else {
            out.line(&format!("not serving: {}", reason(&self.service)))?;
            Ok(ExitStatus::Failed)
        }
    }
}

/// What NOT_SERVING means under this name.
fn reason(service: &str) -> &'static str {
    match service {
        "liveness" => {
            "it makes no progress; `tara-export check` and its log say which threads, a restart may help"
        }
        "accepting" => {
            "it accepts no export now; `tara-export check` and its log say why, a restart does not help"
        }
        _ => "shutting down",
    }
}

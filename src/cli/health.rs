//! `health`: checks whether a server accepts calls or makes progress, for health checks in containers without a shell.

use clap::Args;
use serde_json::json;
use tara_export_client::is_serving;

use super::{CliError, ExitStatus, Output, ServerArguments};

/// Arguments of `health`.
#[derive(Debug, Args)]
pub struct HealthCommand {
    /// Unix socket of the server on this machine; ignored with --server
    #[arg(long, env = "UNIX_SOCKET", value_name = "PATH")]
    pub unix_socket: Option<String>,
    /// Port of the server on this machine; ignored with --server and --unix-socket
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// Health service to check. `liveness`: the server makes progress and needs no restart; `accepting`: it accepts
    /// exports; by default: it accepts calls
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub service: String,
    /// Print the result as one line of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

impl HealthCommand {
    /// Calls the server's health service.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn run(self, out: &mut Output) -> Result<ExitStatus, CliError> {
        let options = self.server.options()?;
        let socket = self.unix_socket.filter(|path| !path.trim().is_empty());
        let url = self.server.server.unwrap_or_else(|| match socket {
            Some(path) if path.starts_with("unix:") => path,
            Some(path) => format!("unix:{path}"),
            None => format!("http://127.0.0.1:{}", self.port),
        });
        let is_serving = is_serving(&url, &self.service, options).await?;
        if self.json {
            out.line(&json!({ "serving": is_serving }).to_string())?;
            return Ok(if is_serving { ExitStatus::Done } else { ExitStatus::Failed });
        }
        if is_serving {
            out.line("serving")?;
            Ok(ExitStatus::Done)
        } else {
            out.line(&format!("not serving: {}", reason(&self.service)))?;
            Ok(ExitStatus::Failed)
        }
    }
}

/// The meaning of NOT_SERVING for this service.
fn reason(service: &str) -> &'static str {
    match service {
        "liveness" => {
            "the server makes no progress; `tara-export check` and its log name the threads; a restart may help"
        }
        "accepting" => {
            "the server accepts no exports; `tara-export check` and its log give the reason; a restart does not help"
        }
        _ => "the server is shutting down",
    }
}

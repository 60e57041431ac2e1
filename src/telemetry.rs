//! Logs and the names of metrics.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::{LogFormat, LogSettings, value};

/// Who logs, which decides what a setting leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logger {
    /// A server: what happens, for people on a terminal, else for programs.
    Server,
    /// A command: what goes wrong, for people.
    Command,
}

/// Sends logs to standard error, from here on.
pub fn start_logging(settings: &LogSettings, logger: Logger) {
    let default_filter = match logger {
        Logger::Server => "info",
        Logger::Command => "error",
    };
    let filter = value(&settings.log_level).unwrap_or_else(|| default_filter.to_owned());
    let as_text = match settings.log_format {
        LogFormat::Auto => logger == Logger::Command || io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = if as_text {
        lines.with_ansi(io::stderr().is_terminal()).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    tracing_subscriber::registry().with(EnvFilter::new(filter)).with(lines).init();
}

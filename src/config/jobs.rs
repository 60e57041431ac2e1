//! Settings of scheduled jobs.

use std::path::PathBuf;

use clap::Args;

use super::{
    Optional,
    parse::{file, optional},
};

/// Scheduled jobs. None by default.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Job settings")]
pub struct JobSettings {
    /// File with the scheduled jobs (JSON), read at startup; unset: no jobs
    #[arg(long, env = "JOBS_FILE", value_parser = optional("JOBS_FILE", file))]
    pub jobs_file: Option<Optional<PathBuf>>,
}

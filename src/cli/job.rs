//! `job`: lists the scheduled jobs of a server, and runs one.

use clap::{Args, Subcommand};
use tara_export_client::{
    Client,
    proto::{Job, JobRun, job_run::State},
    to_json,
};

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{printable, printable_json, time},
    table::{Column, Table},
};

/// List scheduled jobs, or run one now
#[derive(Debug, Args)]
pub struct JobCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: JobAction,
}

/// The subcommands of `job`.
#[derive(Debug, Subcommand)]
pub enum JobAction {
    /// List the jobs of JOBS_FILE, with their next and last runs
    #[command(after_help = super::EXIT_CODES)]
    List(ListJobsCommand),
    /// Run a job now, whatever its schedule, and wait for its end
    #[command(after_help = super::EXIT_CODES)]
    Run(RunJobCommand),
}

/// Arguments of `job list`.
#[derive(Debug, Args)]
pub struct ListJobsCommand {
    /// Print all columns, complete, whatever the width of the terminal
    #[arg(long, conflicts_with = "json")]
    pub wide: bool,
    /// Print the jobs as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

/// Arguments of `job run`.
#[derive(Debug, Args)]
pub struct RunJobCommand {
    /// Name of the job
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Print the run as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

impl JobCommand {
    /// The server to call.
    pub fn server(&self) -> &ServerArguments {
        match &self.action {
            JobAction::List(command) => &command.server,
            JobAction::Run(command) => &command.server,
        }
    }

    /// Runs the subcommand.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        match self.action {
            JobAction::List(command) => command.run(client, out).await,
            JobAction::Run(command) => command.run(client, out).await,
        }
    }
}

impl ListJobsCommand {
    async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let response = client.list_jobs().await?;
        if self.json {
            out.line(&printable_json(&to_json(&response)))?;
            return Ok(ExitStatus::Done);
        }
        if response.jobs.is_empty() {
            out.note("no jobs: the server's JOBS_FILE is not set, or has none");
            return Ok(ExitStatus::Done);
        }
        let columns = [
            Column::new("NAME"),
            Column::new("KIND").drops(2),
            Column::new("SCHEDULE").drops(1),
            Column::new("NEXT"),
            Column::new("LAST RUN").shrinks_to(26, 12),
        ];
        let mut table = Table::new(columns, out.width().filter(|_| !self.wide));
        let rows = response.jobs.iter().map(row);
        let rows: Vec<_> = table.head().into_iter().chain(rows).collect();
        for line in table.lines(&rows) {
            out.line(&line)?;
        }
        Ok(ExitStatus::Done)
    }
}

impl RunJobCommand {
    async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let run = client.run_job(self.name).await?;
        if self.json {
            out.line(&printable_json(&to_json(&run)))?;
        } else {
            out.line(&format!("run {} {}", run.number, outcome(&run)))?;
        }
        let has_succeeded = run.state() == State::Succeeded;
        Ok(if has_succeeded { ExitStatus::Done } else { ExitStatus::Failed })
    }
}

fn row(job: &Job) -> [String; 5] {
    let schedule = match (job.schedule.as_str(), job.timezone.as_str()) {
        ("", _) => "-".to_owned(),
        (schedule, "UTC") => printable(schedule),
        (schedule, timezone) => format!("{} {}", printable(schedule), printable(timezone)),
    };
    let next = job.next_time.as_ref().map_or_else(|| "-".to_owned(), |next| time(Some(next)));
    let last = job.last_run.as_ref().map_or_else(
        || "-".to_owned(),
        |run| format!("{} {}", time(run.start_time.as_ref()), outcome(run)),
    );
    [printable(&job.name), printable(&job.kind), schedule, next, last]
}

/// How a run ended, in words.
fn outcome(run: &JobRun) -> String {
    let state = match run.state() {
        State::Running => return "has not ended".to_owned(),
        State::Succeeded => "succeeded",
        State::Failed => "failed",
        State::Unspecified => "is in an unknown state",
    };
    match run.message.as_str() {
        "" => state.to_owned(),
        message => format!("{state}: {}", printable(message)),
    }
}

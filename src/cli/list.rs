//! `list`: lists exports, newest first.

use clap::{Args, ValueEnum};
use prost_types::Timestamp;
use tara_export_client::{
    Client,
    proto::{Export, ListExportsRequest},
    to_json,
};

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    filter::{self, Conditions},
    format::{printable, printable_json, short_time, size, state, stored_in, time},
    pages::Pages,
    table::{Column, Table, unique_starts},
    times::time_argument,
};

/// The number of exports without `--limit`.
const DEFAULT_LIMIT: usize = 50;

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListCommand {
    /// Only exports that were accepted at this time or later: 2026-11-30, 2026-11-30T14:00:00Z, or an age such as 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = time_argument)]
    pub since: Option<Timestamp>,
    /// Only exports that were accepted before this time
    #[arg(long, value_name = "TIME", value_parser = time_argument)]
    pub until: Option<Timestamp>,
    /// Only exports in this state
    #[arg(long, value_enum)]
    pub state: Option<StateArgument>,
    /// Only exports of this reviewer: the complete name
    #[arg(long, value_name = "NAME")]
    pub reviewer: Option<String>,
    /// Conditions joined by AND, such as 'document_name:"incident" AND state = committed'
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    pub filter: String,
    /// Maximum number of exports; 0: all
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
    pub limit: usize,
    /// Print all columns, complete, whatever the width of the terminal
    #[arg(long, conflicts_with = "json")]
    pub wide: bool,
    /// Print each page as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

/// A state on the command line, in the words of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateArgument {
    /// A process works on it
    Running,
    /// Accepted and not committed yet
    Pending,
    /// Complete in the local store, because S3 failed
    FellBack,
    /// Complete in the requested store
    Committed,
    /// Ended without a bundle
    Failed,
    /// Cannot be processed or read
    Quarantined,
}

impl StateArgument {
    fn of_api(self) -> &'static str {
        match self {
            Self::Running => "STATE_RUNNING",
            Self::Pending => "STATE_PENDING",
            Self::FellBack => "STATE_FELL_BACK",
            Self::Committed => "STATE_COMMITTED",
            Self::Failed => "STATE_FAILED",
            Self::Quarantined => "STATE_QUARANTINED",
        }
    }
}

impl ListCommand {
    /// Prints the exports page by page.
    ///
    /// # Errors
    /// If a call fails, for example because of an invalid filter.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let width = out.width().filter(|_| !self.wide);
        let mut table = Table::new(columns(), width);
        let request = ListExportsRequest { filter: self.conditions(), ..Default::default() };
        let mut pages = Pages::new(client, request, limit);
        let mut count = 0;
        while !out.is_closed()
            && let Some(page) = pages.next().await?
        {
            count += page.exports.len();
            if self.json {
                out.line(&printable_json(&to_json(&page)))?;
                continue;
            }
            if page.exports.is_empty() {
                continue;
            }
            // The heading is printed with the first row, so an empty list prints none.
            let mut rows: Vec<_> = table.head().into_iter().collect();
            match width {
                Some(_) => rows.extend(short_rows(&page.exports)),
                None => rows.extend(page.exports.iter().map(row)),
            }
            for line in table.lines(&rows) {
                out.line(&line)?;
            }
        }
        if !self.json && count == 0 {
            out.note("no exports");
        }
        if !self.json && count == limit && pages.has_more() {
            out.note(&format!("the newest {count}; for more, use --limit N, or --limit 0 for all"));
        }
        Ok(ExitStatus::Done)
    }

    /// The filter for the server.
    fn conditions(&self) -> String {
        let mut conditions = Conditions::default();
        if let Some(since) = &self.since {
            conditions.add("accepted_time >=", &rfc3339(since));
        }
        if let Some(until) = &self.until {
            conditions.add("accepted_time <", &rfc3339(until));
        }
        if let Some(state) = self.state {
            conditions.add("state =", state.of_api());
        }
        if let Some(reviewer) = &self.reviewer {
            conditions.add("reviewer =", reviewer);
        }
        conditions.after(&filter::in_api_words(&self.filter))
    }
}

fn rfc3339(time: &Timestamp) -> String {
    let nanos = time.nanos.try_into().unwrap_or_default();
    chrono::DateTime::from_timestamp(time.seconds, nanos)
        .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
        .unwrap_or_default()
}

fn columns() -> [Column; 6] {
    [
        Column::new("ACCEPTED").drops(1),
        Column::new("STATE").shrinks_last(9),
        Column::new("STORED IN").drops(3),
        Column::new("DOCUMENT").shrinks_to(16, 8),
        Column::new("SIZE").right().drops(2),
        Column::new("NAME"),
    ]
}

fn row(export: &Export) -> [String; 6] {
    [
        time(export.accepted_time.as_ref()),
        state(export).to_owned(),
        stored_in(export).to_owned(),
        printable(&export.document_name),
        size(export.size_bytes),
        printable(&export.name),
    ]
}

/// The rows of a page for a terminal, with the unique starts of ids.
fn short_rows(exports: &[Export]) -> impl Iterator<Item = [String; 6]> {
    let ids: Vec<String> = exports
        .iter()
        .map(|export| printable(export.name.strip_prefix("exports/").unwrap_or(&export.name)))
        .collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    exports.iter().zip(unique_starts(&ids)).map(|(export, id)| {
        let [_, state, stored_in, document, size, _] = row(export);
        [short_time(export.accepted_time.as_ref()), state, stored_in, document, size, id]
    })
}

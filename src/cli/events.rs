//! `events`: lists the notifications of a server, and delivers dead letters again.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use prost_types::Timestamp;
use tara_export_client::{
    Client,
    proto::{Delivery, Event, EventType, ListEventsRequest, RetryEventsRequest, event::State},
    to_json,
};

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{printable, printable_json, short_time, time},
    names::export_name,
    pages::Pages,
    table::{Column, Table, wrapped},
    times::time_argument,
};

/// List notifications, or deliver dead letters again
#[derive(Debug, Args)]
pub struct EventsCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: EventsAction,
}

/// The subcommands of `events`.
#[derive(Debug, Subcommand)]
pub enum EventsAction {
    /// List the events of a server, oldest first: by default those that wait and dead letters
    #[command(after_help = super::EXIT_CODES)]
    List(ListEventsCommand),
    /// Deliver dead letters again, or rebuild the events of committed exports
    #[command(after_help = super::EXIT_CODES)]
    Retry(RetryEventsCommand),
}

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EventStateArgument {
    /// A target has not answered yet.
    Pending,
    /// Every target answered.
    Delivered,
    /// Given up.
    Dead,
}

/// Arguments of `events list`.
#[derive(Debug, Args)]
pub struct ListEventsCommand {
    /// Only events in this state; by default, pending and dead ones
    #[arg(long, value_enum)]
    pub state: Option<EventStateArgument>,
    /// Only events of this target
    #[arg(long, value_name = "NAME", default_value = "")]
    pub target: String,
    /// Only events of this export, exports/{id} or {id}
    #[arg(long, value_name = "ID")]
    pub export: Option<String>,
    /// Maximum number of events; by default, all
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
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

/// Arguments of `events retry`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").args(["event_ids", "all", "since"]).required(true)))]
pub struct RetryEventsCommand {
    /// Ids of dead letters
    #[arg(value_name = "EVENT_ID")]
    pub event_ids: Vec<String>,
    /// All dead letters
    #[arg(long)]
    pub all: bool,
    /// Only to this target
    #[arg(long, value_name = "NAME", default_value = "", conflicts_with = "since")]
    pub target: String,
    /// Rebuild the events of exports that were committed at this time or later (2026-11-30T14:00:00Z, 2026-11-30, or an age such as 12h), if the server has none
    #[arg(long, value_name = "TIME", value_parser = time_argument)]
    pub since: Option<Timestamp>,
    /// With --since: only exports that were committed before this time
    #[arg(long, value_name = "TIME", value_parser = time_argument, requires = "since")]
    pub until: Option<Timestamp>,
    /// Print the server's response as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

impl EventsCommand {
    /// The server to call.
    pub fn server(&self) -> &ServerArguments {
        match &self.action {
            EventsAction::List(command) => &command.server,
            EventsAction::Retry(command) => &command.server,
        }
    }

    /// Runs the subcommand.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        match self.action {
            EventsAction::List(command) => command.run(client, out).await,
            EventsAction::Retry(command) => command.run(client, out).await,
        }
    }
}

impl ListEventsCommand {
    async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let width = out.width().filter(|_| !self.wide);
        let mut table = Table::new(columns(), width);
        let mut count = 0;
        let state = match self.state {
            None => State::Unspecified,
            Some(EventStateArgument::Pending) => State::Pending,
            Some(EventStateArgument::Delivered) => State::Delivered,
            Some(EventStateArgument::Dead) => State::Dead,
        };
        let export = match &self.export {
            Some(export) => export_name(&client, export).await?,
            None => String::new(),
        };
        let request = ListEventsRequest {
            state: state.into(),
            target: self.target,
            export,
            ..Default::default()
        };
        let mut pages = Pages::new(client, request, self.limit.unwrap_or(usize::MAX));
        while !out.is_closed()
            && let Some(page) = pages.next().await?
        {
            count += page.events.len();
            if self.json {
                out.line(&printable_json(&to_json(&page)))?;
                continue;
            }
            if page.events.is_empty() {
                continue;
            }
            let head = table.head();
            let heads = usize::from(head.is_some());
            let rows = page.events.iter().map(|event| row(event, width.is_some()));
            let rows: Vec<_> = head.into_iter().chain(rows).collect();
            for (number, line) in table.lines(&rows).into_iter().enumerate() {
                out.line(&line)?;
                let event = number.checked_sub(heads).and_then(|number| page.events.get(number));
                for delivery in event.into_iter().flat_map(|event| &event.deliveries) {
                    let text = delivery_text(delivery);
                    for line in wrapped(&text, width.map(|width| width.saturating_sub(2))) {
                        out.line(&format!("  {line}"))?;
                    }
                }
            }
        }
        if !self.json && count == 0 {
            out.note("no events");
        }
        Ok(ExitStatus::Done)
    }
}

impl RetryEventsCommand {
    async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let request = RetryEventsRequest {
            event_ids: self.event_ids,
            all_dead: self.all,
            target: self.target,
            committed_since: self.since,
            committed_before: self.until,
        };
        let response = client.retry_events(request).await?;
        let is_complete = response.missing_event_ids.is_empty();
        if self.json {
            out.line(&printable_json(&to_json(&response)))?;
            return Ok(if is_complete { ExitStatus::Done } else { ExitStatus::Failed });
        }
        out.line(&match response.event_count {
            1 => "1 event waits for delivery again".to_owned(),
            count => format!("{count} events wait for delivery again"),
        })?;
        for event_id in &response.missing_event_ids {
            out.note(&format!("{} is no dead letter of this server", printable(event_id)));
        }
        Ok(if is_complete { ExitStatus::Done } else { ExitStatus::Failed })
    }
}

fn columns() -> [Column; 5] {
    [
        Column::new("TIME").drops(1),
        Column::new("EVENT"),
        // The lines of the targets have it too.
        Column::new("STATE").drops(2),
        Column::new("EXPORT"),
        Column::new("ID"),
    ]
}

/// The row of an event; short for a terminal. Its id is complete: `retry` needs it.
fn row(event: &Event, is_short: bool) -> [String; 5] {
    // Only one of them is set.
    let subject = [event.export.as_str(), &event.batch, &event.job].concat();
    let (time, export) = match is_short {
        true => {
            let id = subject.strip_prefix("exports/").map(|id| id.chars().take(8).collect());
            (short_time(event.time.as_ref()), printable(&id.unwrap_or(subject)))
        }
        false => (time(event.time.as_ref()), printable(&subject)),
    };
    [
        time,
        event_type(event.r#type()).to_owned(),
        state_text(event.state()).to_owned(),
        export,
        printable(&event.event_id),
    ]
}

fn delivery_text(delivery: &Delivery) -> String {
    let target = printable(&delivery.target);
    let mut text = format!("{target}: {}", state_text(delivery.state()));
    if !delivery.message.is_empty() {
        text.push_str(&format!(", {}", printable(&delivery.message)));
    }
    if delivery.next_try_time.is_some() {
        text.push_str(&format!("; next try {}", time(delivery.next_try_time.as_ref())));
    }
    text
}

fn state_text(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Delivered => "delivered",
        State::Dead => "dead",
        State::Unspecified => "unknown",
    }
}

fn event_type(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Committed => "committed",
        EventType::FellBack => "fell back",
        EventType::Synced => "synced",
        EventType::Failed => "failed",
        EventType::Quarantined => "quarantined",
        EventType::BatchEnded => "batch ended",
        EventType::JobEnded => "job ended",
        EventType::Unspecified => "unknown",
    }
}

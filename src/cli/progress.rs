//! Human-readable progress of an export: bars on a terminal, lines otherwise.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tara_export_client::{
    Reconnect,
    proto::{ArtifactUpdate, ExportEvent, accepted::Durability, export_event::Event},
};

use super::{
    Output,
    format::{printable, progress, size},
    output::with_colour,
};

/// Shows events as they arrive.
pub(super) enum ProgressView {
    /// Shows nothing, because the command prints the events as JSON.
    None,
    /// Prints a line for each notable event.
    Lines,
    /// Draws progress bars.
    Bars(Bars),
}

impl ProgressView {
    /// Bars if standard error is a terminal, lines otherwise.
    pub(super) fn for_terminal(out: &Output) -> Self {
        if out.stderr_is_terminal() {
            Self::Bars(Bars::new(out.stderr_has_colour()))
        } else {
            Self::Lines
        }
    }

    pub(super) fn show(&mut self, event: &ExportEvent, out: &mut Output) {
        match self {
            Self::None => {}
            Self::Lines => {
                if let Some(line) = line(event) {
                    out.note(&line);
                }
            }
            Self::Bars(bars) => bars.show(event),
        }
    }

    /// Shows that the connection was lost.
    pub(super) fn show_reconnect(&mut self, reconnect: &Reconnect, out: &mut Output) {
        let line = format!("! connection lost, retrying: {}", printable(&reconnect.message));
        match self {
            Self::None => {}
            Self::Lines => out.note(&line),
            Self::Bars(bars) => bars.show_problem("connection lost, retrying", &line),
        }
    }

    /// Removes the bars, so that the output that follows starts on a clean line.
    pub(super) fn finish(self) {
        if let Self::Bars(bars) = self {
            bars.finish();
        }
    }
}

/// The line for an event; `None` if it is not notable.
fn line(event: &ExportEvent) -> Option<String> {
    Some(match event.event.as_ref()? {
        Event::Accepted(accepted) => {
            let verb = if accepted.resumed { "resumed" } else { "accepted" };
            let durability = match accepted.durability() {
                Durability::Unspecified => "in the server's memory only",
                Durability::LocalDisk => "on the server's disk",
                Durability::Store => "in the store",
            };
            format!("{verb} {} ({durability})", printable(&event.name))
        }
        Event::ArtifactStored(artifact) => format!(
            "✓ {}  {}  ({})",
            printable(&artifact.path),
            size(artifact.size_bytes),
            progress(event)
        ),
        Event::ArtifactRetrying(artifact) => retrying(artifact),
        Event::FellBack(fell_back) => format!(
            "! S3 COULD NOT STORE THE BUNDLE: {} ({})\n! The complete bundle is written to the \
             server's local store instead.",
            printable(&fell_back.message),
            printable(&fell_back.reason)
        ),
        Event::ArtifactStarted(_)
        | Event::ArtifactProgress(_)
        | Event::Heartbeat(_)
        | Event::Completed(_)
        | Event::Failed(_) => return None,
    })
}

/// What the export waits for, in place of the bundle's bar; `None` if it makes progress.
fn waiting(event: &ExportEvent, has_files: bool) -> Option<String> {
    match event.event.as_ref()? {
        Event::ArtifactRetrying(artifact) => {
            Some(format!("the store fails, retrying (attempt {})", artifact.attempt))
        }
        Event::FellBack(_) => Some("S3 failed, writing to the server's local store".to_owned()),
        Event::Accepted(_) if !has_files => Some("accepted, waiting for the store".to_owned()),
        _ => None,
    }
}

fn retrying(artifact: &ArtifactUpdate) -> String {
    format!(
        "! the store fails, retrying {} (attempt {}): {}",
        printable(&artifact.path),
        artifact.attempt,
        printable(&artifact.reason)
    )
}

/// A bar for each artifact in flight, and one for the bundle.
pub(super) struct Bars {
    bars: MultiProgress,
    overall: ProgressBar,
    in_flight: BTreeMap<String, ProgressBar>,
    has_colour: bool,
}

/// The bar of the bundle once its files are known.
const OVERALL: &str = "{spinner} {bar:30} {pos} of {len} files  {msg}";
/// In its place before that, and while something fails.
const WAITING: &str = "{spinner} {msg}";

impl Bars {
    fn new(has_colour: bool) -> Self {
        let bars = MultiProgress::new();
        let overall = bars.add(ProgressBar::new(0));
        overall.set_style(style(WAITING));
        overall.set_message("sending the request");
        overall.enable_steady_tick(Duration::from_millis(100));
        Self { bars, overall, in_flight: BTreeMap::new(), has_colour }
    }

    /// Prints a line, and shows a problem in place of the bundle's bar until the next progress.
    fn show_problem(&mut self, problem: &str, line: &str) {
        self.overall.set_style(style(WAITING));
        self.overall.set_message(problem.to_owned());
        self.print(line);
    }

    fn print(&self, line: &str) {
        // Fails only if the terminal is closed.
        let _ = self.bars.println(with_colour(line, self.has_colour));
    }

    fn show(&mut self, event: &ExportEvent) {
        let progress = event.progress.filter(|progress| progress.artifacts_total > 0);
        if let Some(problem) = waiting(event, progress.is_some()) {
            self.overall.set_style(style(WAITING));
            self.overall.set_message(problem);
        } else if let Some(progress) = progress {
            self.overall.set_length(progress.artifacts_total.try_into().unwrap_or_default());
            self.overall.set_position(progress.artifacts_done.try_into().unwrap_or_default());
            let (done, total) = (size(progress.bytes_done), size(progress.bytes_total));
            self.overall.set_message(format!("{done} of {total}"));
            self.overall.set_style(style(OVERALL));
        }
        match &event.event {
            Some(Event::ArtifactStarted(artifact) | Event::ArtifactProgress(artifact)) => {
                self.bar(artifact).set_position(artifact.bytes_done.try_into().unwrap_or_default());
            }
            Some(Event::ArtifactStored(artifact)) => self.remove(&artifact.path),
            Some(Event::FellBack(_)) => self.remove_all(),
            _ => {}
        }
        if let Some(line) = line(event) {
            self.print(&line);
        }
    }

    /// The artifact's bar. Creates it if there is none, for example after a reconnect.
    fn bar(&mut self, artifact: &ArtifactUpdate) -> &ProgressBar {
        self.in_flight.entry(artifact.path.clone()).or_insert_with(|| {
            let length = artifact.size_bytes.try_into().unwrap_or_default();
            let bar = self.bars.insert_before(&self.overall, ProgressBar::new(length));
            // A long path is cut at the end of the terminal.
            bar.set_style(style("  {bar:20} {bytes:>10} of {total_bytes}  {wide_msg}"));
            bar.set_message(printable(&artifact.path));
            bar
        })
    }

    fn remove(&mut self, path: &str) {
        if let Some(bar) = self.in_flight.remove(path) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn remove_all(&mut self) {
        for bar in std::mem::take(&mut self.in_flight).into_values() {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn finish(mut self) {
        self.remove_all();
        self.overall.finish_and_clear();
    }
}

/// A style from one of this program's templates, all of which are valid.
pub(super) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

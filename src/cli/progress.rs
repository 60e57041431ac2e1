//! Human-readable progress of an export: bars on a terminal, lines otherwise.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tara_export_client::proto::{
    ArtifactUpdate, ExportEvent, accepted::Durability, export_event::Event,
};

use super::{
    Output,
    format::{printable, progress, size},
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
        if out.stderr_is_terminal() { Self::Bars(Bars::new()) } else { Self::Lines }
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

fn retrying(artifact: &ArtifactUpdate) -> String {
    format!(
        "! {}: retrying (attempt {}): {}",
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
}

impl Bars {
    fn new() -> Self {
        let bars = MultiProgress::new();
        let overall = bars.add(ProgressBar::new(0));
        overall.set_style(style("{spinner} {bar:30} {pos} of {len} files  {msg}"));
        overall.enable_steady_tick(Duration::from_millis(100));
        Self { bars, overall, in_flight: BTreeMap::new() }
    }

    fn show(&mut self, event: &ExportEvent) {
        if let Some(progress) = event.progress {
            self.overall.set_length(progress.artifacts_total.try_into().unwrap_or_default());
            self.overall.set_position(progress.artifacts_done.try_into().unwrap_or_default());
            let (done, total) = (size(progress.bytes_done), size(progress.bytes_total));
            self.overall.set_message(format!("{done} of {total}"));
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
            // Fails only if the terminal is closed.
            let _ = self.bars.println(line);
        }
    }

    /// The artifact's bar. Creates it if there is none, for example after a reconnect.
    fn bar(&mut self, artifact: &ArtifactUpdate) -> &ProgressBar {
        self.in_flight.entry(artifact.path.clone()).or_insert_with(|| {
            let length = artifact.size_bytes.try_into().unwrap_or_default();
            let bar = self.bars.insert_before(&self.overall, ProgressBar::new(length));
            bar.set_style(style("  {bar:30} {bytes:>10} of {total_bytes}  {msg}"));
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

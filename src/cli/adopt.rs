//! `adopt`: turns folders that the review application wrote before this service existed into bundles.

use std::{pin::pin, time::Duration};

use clap::Args;
use futures::StreamExt as _;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::time::{self, MissedTickBehavior};

use super::{
    CliError, ExitStatus, Output,
    format::{printable, size},
    progress::style,
};
use crate::adopt::{AdoptSettings, Adoption, FolderOutcome, FolderReport, Found, SkipReason};

/// How often the progress line is redrawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);

/// The end of `adopt --help`.
pub const ADOPT_HELP: &str = "\
Scans the folders in S3_BUCKET_NAME below S3_BASE_PATH, or in DATA_DIR if no bucket is set or with
--local. A folder that has a name (20261122_183700_incident_report, UTC) and files of the review
application, and no manifest, gets a record, a claim, an index entry and a manifest. The manifest
lists every file with its size and SHA-256 and is marked adopted. Existing files are not changed,
moved or deleted. Afterwards list, report, download and link work on the bundle.

Without --write, the command writes nothing: it prints what it would adopt, and why it would skip a
folder. You can stop it (Ctrl-C) at any time and run it again: adopted folders are skipped. With
--write and bundles in DATA_DIR, the command locks DATA_DIR, so no server may use it meanwhile.

Exit codes:
  0  done; skipped folders are not failures
  1  a folder failed, or the command was stopped: run it again
  2  wrong usage";

/// Arguments of `adopt`.
#[derive(Debug, Args)]
pub struct AdoptCommand {
    /// Adopt the folders; without it, only print what would be adopted
    #[arg(long)]
    pub write: bool,
    /// Adopt the folders in DATA_DIR even if a bucket is set
    #[arg(long)]
    pub local: bool,
    /// Minimum age of a folder's newest file, such as 90s, 1h or 2days: younger folders may still be incomplete
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = humantime::parse_duration)]
    pub min_age: Duration,
    /// Print one line of JSON for each folder, and one with the totals
    #[arg(long)]
    pub json: bool,
}

impl AdoptCommand {
    /// The settings for [`Adoption::new`].
    pub fn settings(&self, allow_unsafe_store: bool) -> AdoptSettings {
        AdoptSettings { write: self.write, min_age: self.min_age, allow_unsafe_store }
    }

    /// Adopts the folders and prints the outcome of each. Stops early when `stop` completes.
    ///
    /// # Errors
    /// If the folders cannot be listed or the output cannot be written.
    pub async fn run(
        self,
        adoption: Adoption,
        stop: impl Future<Output = ()>,
        out: &mut Output,
    ) -> Result<ExitStatus, CliError> {
        let mut totals = Totals::default();
        let bar = bar(out);
        let mut folders = pin!(adoption.folders());
        let mut stop = pin!(stop);
        let mut redraw = time::interval(REDRAW_INTERVAL);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let report = tokio::select! {
                biased;
                () = &mut stop => {
                    totals.stopped = true;
                    break;
                }
                report = folders.next() => report,
                _ = redraw.tick() => {
                    bar.set_message(totals.progress(adoption.read_bytes()));
                    continue;
                }
            };
            let Some(report) = report else { break };
            let report = report.map_err(|error| CliError::Internal(error.to_string()))?;
            totals.count(&report);
            let line = if self.json { Some(json(&report).to_string()) } else { line(&report) };
            if let Some(line) = line {
                bar.suspend(|| out.line(&line))?;
            }
        }
        bar.finish_and_clear();
        if self.json {
            out.line(&json!({ "summary": totals.json() }).to_string())?;
        } else {
            for line in totals.lines(&adoption) {
                out.note(&line);
            }
        }
        Ok(if totals.failed > 0 || totals.stopped { ExitStatus::Failed } else { ExitStatus::Done })
    }
}

fn bar(out: &Output) -> ProgressBar {
    if !out.stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// One human-readable line; `None` if the folder is already a bundle.
fn line(report: &FolderReport) -> Option<String> {
    let folder = printable(&report.folder);
    let contents = |found: &Found| {
        let size = size(i64::try_from(found.size_bytes).unwrap_or(i64::MAX));
        format!("{} files, {size}, of {}", found.files, printable(&found.document_name))
    };
    Some(match &report.outcome {
        FolderOutcome::WouldAdopt(found) => format!("would adopt  {folder}: {}", contents(found)),
        FolderOutcome::Adopted { found, export } => {
            format!("adopted      {folder}: {} as {export}", contents(found))
        }
        FolderOutcome::Skipped { reason: SkipReason::HasManifest, .. } => return None,
        FolderOutcome::Skipped { reason, message } => {
            format!("skipped      {folder}: {} ({reason})", printable(message))
        }
        FolderOutcome::Failed { message } => {
            format!("FAILED       {folder}: {}", printable(message))
        }
    })
}

/// The report as JSON.
fn json(report: &FolderReport) -> Value {
    let mut value = match &report.outcome {
        FolderOutcome::WouldAdopt(found) => found_json("WOULD_ADOPT", found),
        FolderOutcome::Adopted { found, export } => {
            let mut value = found_json("ADOPTED", found);
            value["export"] = json!(export);
            value
        }
        FolderOutcome::Skipped { reason, message } => {
            json!({ "outcome": "SKIPPED", "reason": reason.as_str(), "message": message })
        }
        FolderOutcome::Failed { message } => json!({ "outcome": "FAILED", "message": message }),
    };
    value["folder"] = json!(report.folder);
    value
}

fn found_json(outcome: &str, found: &Found) -> Value {
    json!({
        "outcome": outcome,
        "files": found.files,
        "sizeBytes": found.size_bytes,
        "documentName": found.document_name,
    })
}

/// The outcomes of all folders.
#[derive(Debug, Default)]
struct Totals {
    adopted: u64,
    would_adopt: u64,
    have_manifest: u64,
    skipped: u64,
    failed: u64,
    files: u64,
    size_bytes: u64,
    stopped: bool,
}

impl Totals {
    fn count(&mut self, report: &FolderReport) {
        let found = match &report.outcome {
            FolderOutcome::WouldAdopt(found) => {
                self.would_adopt += 1;
                Some(found)
            }
            FolderOutcome::Adopted { found, .. } => {
                self.adopted += 1;
                Some(found)
            }
            FolderOutcome::Skipped { reason: SkipReason::HasManifest, .. } => {
                self.have_manifest += 1;
                None
            }
            FolderOutcome::Skipped { .. } => {
                self.skipped += 1;
                None
            }
            FolderOutcome::Failed { .. } => {
                self.failed += 1;
                None
            }
        };
        if let Some(found) = found {
            self.files += found.files as u64;
            self.size_bytes = self.size_bytes.saturating_add(found.size_bytes);
        }
    }

    fn folders(&self) -> u64 {
        self.adopted + self.would_adopt + self.have_manifest + self.skipped + self.failed
    }

    fn size(&self) -> String {
        size(i64::try_from(self.size_bytes).unwrap_or(i64::MAX))
    }

    fn progress(&self, read_bytes: u64) -> String {
        let read = size(i64::try_from(read_bytes).unwrap_or(i64::MAX));
        format!("{} folders, {} adopted, {read} read", self.folders(), self.adopted)
    }

    fn lines(&self, adoption: &Adoption) -> Vec<String> {
        let (done, count) = match adoption.settings().write {
            true => ("adopted", self.adopted),
            false => ("would be adopted", self.would_adopt),
        };
        let totals = format!(
            "{} folders in {}: {count} {done} ({} files, {}), {} are already bundles, {} skipped, {} failed",
            self.folders(),
            printable(&adoption.location()),
            self.files,
            self.size(),
            self.have_manifest,
            self.skipped,
            self.failed,
        );
        let stopped =
            self.stopped.then(|| "Stopped early. To continue, run the command again.".to_owned());
        let dry = (!adoption.settings().write && self.would_adopt > 0)
            .then(|| "Nothing was written. To adopt these folders, add --write.".to_owned());
        [Some(totals), stopped, dry].into_iter().flatten().collect()
    }

    fn json(&self) -> Value {
        json!({
            "folders": self.folders(),
            "adopted": self.adopted,
            "wouldAdopt": self.would_adopt,
            "haveManifest": self.have_manifest,
            "skipped": self.skipped,
            "failed": self.failed,
            "files": self.files,
            "sizeBytes": self.size_bytes,
            "stopped": self.stopped,
        })
    }
}

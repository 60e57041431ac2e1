//! `adopt`: makes bundles of folders that the review application wrote before this service existed.

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

/// How often the number of bytes read is drawn anew.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);

/// More about it, for `--help`.
pub const ADOPT_HELP: &str = "\
Looks through the folders of S3_BUCKET_NAME below S3_BASE_PATH, or of DATA_DIR where no bucket is set or
with --local. A folder named as the review application named its own (20261122_183700_incident_report,
UTC), with its files and without a manifest, gets a record, a claim, an entry in the index and a
manifest that lists every file with its size and SHA-256 and is marked adopted. No file of a folder is
changed, moved or deleted. Afterwards list, report, download and link work on it.

Nothing is written without --write: only told what would be done, and why a folder would be skipped. It
can be stopped (Ctrl-C) at any time and repeated: what is adopted is left alone. --write takes
DATA_DIR's lock where the bundles are there, so no server may run on it meanwhile.

Exit codes:
  0  done; skipped folders are none of its business
  1  a folder failed, or it was stopped: run it again
  2  wrong usage";

/// Arguments of `adopt`.
#[derive(Debug, Args)]
pub struct AdoptCommand {
    /// Write; without it, only tell what would be done
    #[arg(long)]
    pub write: bool,
    /// Adopt what lies in DATA_DIR, also where a bucket is set
    #[arg(long)]
    pub local: bool,
    /// How old the newest file of a folder must be, such as 90s, 1h or 2days: younger folders may still be
    /// written
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = humantime::parse_duration)]
    pub min_age: Duration,
    /// Print a line of JSON for each folder, and one with the sums
    #[arg(long)]
    pub json: bool,
}

impl AdoptCommand {
    /// What the arguments ask for.
    pub fn settings(&self, allow_unsafe_store: bool) -> AdoptSettings {
        AdoptSettings { write: self.write, min_age: self.min_age, allow_unsafe_store }
    }

    /// Adopts, and tells of each folder. Ends early where `stop` ends.
    ///
    /// # Errors
    /// Where the folders can't be listed, or nothing can be told.
    pub async fn run(
        self,
        adoption: Adoption,
        stop: impl Future<Output = ()>,
        out: &mut Output,
    ) -> Result<ExitStatus, CliError> {
        let mut sums = Sums::default();
        let bar = bar(out);
        let mut folders = pin!(adoption.folders());
        let mut stop = pin!(stop);
        let mut redraw = time::interval(REDRAW_INTERVAL);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let report = tokio::select! {
                biased;
                () = &mut stop => {
                    sums.stopped = true;
                    break;
                }
                report = folders.next() => report,
                _ = redraw.tick() => {
                    bar.set_message(sums.progress(adoption.read_bytes()));
                    continue;
                }
            };
            let Some(report) = report else { break };
            let report = report.map_err(|error| CliError::Internal(error.to_string()))?;
            sums.count(&report);
            let line = if self.json { Some(json(&report).to_string()) } else { line(&report) };
            if let Some(line) = line {
                bar.suspend(|| out.line(&line))?;
            }
        }
        bar.finish_and_clear();
        if self.json {
            out.line(&json!({ "summary": sums.json() }).to_string())?;
        } else {
            for line in sums.lines(&adoption) {
                out.note(&line);
            }
        }
        Ok(if sums.failed > 0 || sums.stopped { ExitStatus::Failed } else { ExitStatus::Done })
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

/// A folder in a line for a person; none for what is a bundle already.
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

/// The same as JSON, for programs.
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

/// What became of all folders.
#[derive(Debug, Default)]
struct Sums {
    adopted: u64,
    would_adopt: u64,
    have_manifest: u64,
    skipped: u64,
    failed: u64,
    files: u64,
    size_bytes: u64,
    stopped: bool,
}

impl Sums {
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
        let sums = format!(
            "{} folders in {}: {count} {done} ({} files, {}), {} are bundles already, {} skipped, {} failed",
            self.folders(),
            printable(&adoption.location()),
            self.files,
            self.size(),
            self.have_manifest,
            self.skipped,
            self.failed,
        );
        let stopped =
            self.stopped.then(|| "STOPPED before the end: run it again to go on".to_owned());
        let dry = (!adoption.settings().write && self.would_adopt > 0)
            .then(|| "Nothing was written. To adopt them, add --write".to_owned());
        [Some(sums), stopped, dry].into_iter().flatten().collect()
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

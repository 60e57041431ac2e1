//! `JOBS_FILE`.

use std::{path::Path, time::Duration};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tara_export_settings_file::{Faults, Fields, InvalidFile, LoadError, quoted, read_text};

use super::{Job, JobKind, Pull, Redeliver, Report, Schedule};

/// Maximum number of jobs in a file.
const MAX_JOBS: usize = 16;
/// Maximum number of targets that a job names.
const MAX_TARGETS: usize = 16;
/// Maximum number of addresses that a job names.
const MAX_ADDRESSES: usize = 50;
/// The range and the default of `max_run`.
const MAX_RUN: (Duration, Duration, Duration) =
    (Duration::from_secs(10), Duration::from_secs(24 * 3_600), Duration::from_secs(10 * 60));
/// The range and the default of `limit`. A page starts with the last session of the page before, so one is not enough.
const LIMITS: (u64, u64, u64) = (2, 500, 100);
/// The range and the default of `overlap`.
const OVERLAPS: (Duration, Duration, Duration) =
    (Duration::ZERO, Duration::from_secs(7 * 24 * 3_600), Duration::from_secs(3_600));
/// The range and the default of `timeout`.
const TIMEOUTS: (Duration, Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(5 * 60), Duration::from_secs(60));

/// The setting that names the file.
pub const SETTING: &str = "JOBS_FILE";

/// The jobs of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jobs {
    jobs: Vec<Job>,
}

impl Jobs {
    /// Reads the jobs of a file of at most 1 MiB. Blocks the thread.
    ///
    /// # Errors
    /// If the file cannot be read, or has faults; contains no secrets.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text =
            read_text(path).map_err(|source| LoadError::unreadable(path, SETTING, source))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(|source| LoadError::invalid(path, SETTING, source))
    }

    /// Reads the jobs of a file's text. Relative paths in it start from the folder.
    ///
    /// # Errors
    /// Every fault of the text, each with its path, its value and what is allowed.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, InvalidFile> {
        let mut faults = Faults::default();
        let jobs = read(text, folder, &mut faults);
        faults.into_result(Self { jobs })
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    /// The job of this name.
    pub fn get(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.name.as_str() == name)
    }
}

fn read(text: &str, folder: &Path, faults: &mut Faults) -> Vec<Job> {
    let Some(mut file) = Fields::of_text(text, faults) else { return Vec::new() };
    // The location of docs/jobs.schema.json, for editors.
    file.text("$schema", faults);
    let listed = file.objects("jobs", MAX_JOBS, faults);
    file.end(faults);
    let mut jobs: Vec<Job> = Vec::new();
    for fields in listed {
        let path = fields.path_of("name");
        let Some(job) = read_job(fields, folder, faults) else { continue };
        if jobs.iter().any(|other| other.name == job.name) {
            faults.add(path, format!("\"{}\" is the name of another job", job.name));
        }
        jobs.push(job);
    }
    jobs
}

/// Reads one job. `None` after a fault.
fn read_job(mut fields: Fields, folder: &Path, faults: &mut Faults) -> Option<Job> {
    let name = fields.name("name", faults);
    let kind = fields.required_text("kind", faults);
    let schedule = read_schedule(&mut fields, faults);
    let max_run = fields.duration("max_run", MAX_RUN.0..=MAX_RUN.1, faults).unwrap_or(MAX_RUN.2);
    let kind = match kind?.as_str() {
        "redeliver" => {
            let targets = fields.texts("targets", MAX_TARGETS, faults).unwrap_or_default();
            JobKind::Redeliver(Redeliver { targets })
        }
        "pull" => JobKind::Pull(read_pull(&mut fields, folder, faults)),
        "report" => {
            let target = fields.required_text("target", faults);
            let to = read_addresses(&mut fields, faults);
            JobKind::Report(Report { target: target.unwrap_or_default(), to })
        }
        other => {
            let allowed = JobKind::NAMES.join(", ");
            let message = format!("must be one of {allowed}, not {}", quoted(other));
            faults.add(fields.path_of("kind"), message);
            return None;
        }
    };
    fields.end(faults);
    Some(Job { name: name?, schedule, max_run, kind })
}

fn read_pull(fields: &mut Fields, folder: &Path, faults: &mut Faults) -> Pull {
    let url = fields.required_text("url", faults);
    let private_network = fields.flag("private_network", false, faults);
    let token_file = fields.file("token_file", folder, faults);
    let limit = fields.number("limit", LIMITS.0..=LIMITS.1, faults).unwrap_or(LIMITS.2);
    let overlap = fields.duration("overlap", OVERLAPS.0..=OVERLAPS.1, faults).unwrap_or(OVERLAPS.2);
    let timeout = fields.duration("timeout", TIMEOUTS.0..=TIMEOUTS.1, faults).unwrap_or(TIMEOUTS.2);
    let since = fields.text("since", faults).and_then(|text| {
        let since = DateTime::parse_from_rfc3339(&text).map(|time| time.with_timezone(&Utc));
        if since.is_err() {
            let message =
                format!("must be a time such as 2026-11-30T00:00:00Z, not {}", quoted(&text));
            faults.add(fields.path_of("since"), message);
        }
        since.ok()
    });
    Pull {
        url: url.unwrap_or_default(),
        private_network,
        token_file,
        // Within its range, it fits.
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        overlap,
        since,
        timeout,
    }
}

/// The addresses of `to`; empty without it.
fn read_addresses(fields: &mut Fields, faults: &mut Faults) -> Vec<String> {
    let addresses = fields.texts("to", MAX_ADDRESSES, faults);
    if addresses.as_ref().is_some_and(Vec::is_empty) {
        faults.add(fields.path_of("to"), format!("must have 1 to {MAX_ADDRESSES} addresses"));
    }
    addresses.unwrap_or_default()
}

fn read_schedule(fields: &mut Fields, faults: &mut Faults) -> Option<Schedule> {
    let timezone = match fields.text("timezone", faults) {
        None => Tz::UTC,
        Some(text) => text.parse().unwrap_or_else(|_| {
            let message = format!(
                "must be a name of the time zone database, such as Europe/Berlin, not {}",
                quoted(&text)
            );
            faults.add(fields.path_of("timezone"), message);
            Tz::UTC
        }),
    };
    let expression = fields.text("schedule", faults)?;
    Schedule::new(&expression, timezone)
        .map_err(|error| {
            faults.add(fields.path_of("schedule"), format!("{error}, not {}", quoted(&expression)));
        })
        .ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Jobs, InvalidFile> {
        Jobs::parse(text, Path::new("/etc/tara"))
    }

    fn with(fields: &str) -> String {
        format!(r#"{{"jobs": [{{"name": "a", "kind": "redeliver", {fields}}}]}}"#)
    }

    #[test]
    fn defaults_and_all_fields_are_read() {
        let jobs = parse(
            r#"{"$schema": "jobs.schema.json", "jobs": [
              {"name": "all", "kind": "redeliver"},
              {"name": "hook", "kind": "redeliver", "targets": ["hook"], "max_run": "1h",
               "schedule": "*/5 * * * *", "timezone": "Europe/Berlin"}]}"#,
        );
        let jobs = jobs.unwrap();
        let (all, hook) = (jobs.get("all").unwrap(), jobs.get("hook").unwrap());
        assert_eq!((all.max_run, &all.schedule), (Duration::from_secs(600), &None));
        assert_eq!(all.kind, JobKind::Redeliver(Redeliver { targets: Vec::new() }));
        assert_eq!(hook.max_run, Duration::from_secs(3_600));
        assert_eq!(hook.kind, JobKind::Redeliver(Redeliver { targets: vec!["hook".to_owned()] }));
        assert_eq!(hook.schedule.as_ref().unwrap().timezone(), Tz::Europe__Berlin);
        assert_ne!(all.schedule_digest(), hook.schedule_digest());
        assert_eq!(jobs.iter().count(), 2);
    }

    #[test]
    fn settings_of_pull_have_defaults_and_a_relative_file() {
        let jobs = parse(
            r#"{"jobs": [
              {"name": "a", "kind": "pull", "url": "https://example.com/completed"},
              {"name": "b", "kind": "pull", "url": "http://localhost:1/", "private_network": true,
               "token_file": "token", "limit": 500, "overlap": "0s", "timeout": "5m",
               "since": "2026-11-30T01:00:00+01:00"}]}"#,
        );
        let jobs = jobs.unwrap();
        let settings = |name: &str| match &jobs.get(name).unwrap().kind {
            JobKind::Pull(pull) => pull.clone(),
            other => panic!("{other:?}"),
        };
        let (a, b) = (settings("a"), settings("b"));
        assert_eq!((a.limit, a.overlap, a.timeout), (100, Duration::from_secs(3_600), TIMEOUTS.2));
        assert_eq!((a.token_file, a.since, a.private_network), (None, None, false));
        assert_eq!(b.token_file.as_deref(), Some(Path::new("/etc/tara/token")));
        assert_eq!((b.limit, b.overlap, b.private_network), (500, Duration::ZERO, true));
        assert_eq!(b.since.unwrap().to_rfc3339(), "2026-11-30T00:00:00+00:00");
    }

    #[test]
    fn every_fault_has_its_path_and_what_is_allowed() {
        let unnamed = |fields: &str| format!(r#"{{"jobs": [{{{fields}}}]}}"#);
        let report = |fields: &str| {
            unnamed(&format!(r#""name": "a", "kind": "report", "target": "ops", {fields}"#))
        };
        let pull = |fields: &str| {
            unnamed(&format!(r#""name": "a", "kind": "pull", "url": "https://x", {fields}"#))
        };
        for (text, path, part) in [
            ("{}".to_owned(), "jobs", "is missing"),
            (r#"{"jobs": [], "x": 1}"#.to_owned(), "x", "is unknown"),
            (unnamed(r#""kind": "redeliver""#), "jobs[0].name", "is missing"),
            (unnamed(r#""kind": "redeliver", "name": "A""#), "jobs[0].name", "1 to 32"),
            (unnamed(r#""name": "a""#), "jobs[0].kind", "is missing"),
            (unnamed(r#""name": "a", "kind": "x""#), "jobs[0].kind", "redeliver"),
            (with(r#""max_run": "1s""#), "jobs[0].max_run", "10s"),
            (with(r#""schedule": "* *""#), "jobs[0].schedule", "five fields"),
            (with(r#""schedule": 5"#), "jobs[0].schedule", "a text"),
            (with(r#""timezone": "Mars""#), "jobs[0].timezone", "Europe/Berlin"),
            (with(r#""targets": "hook""#), "jobs[0].targets", "a list of texts"),
            (with(r#""url": "x""#), "jobs[0].url", "is unknown"),
            (unnamed(r#""name": "a", "kind": "report""#), "jobs[0].target", "is missing"),
            (report(r#""to": []"#), "jobs[0].to", "1 to 50"),
            (report(r#""to": "a@example.com""#), "jobs[0].to", "a list of texts"),
            (unnamed(r#""name": "a", "kind": "pull""#), "jobs[0].url", "is missing"),
            (pull(r#""limit": 1"#), "jobs[0].limit", "from 2 to 500"),
            (pull(r#""limit": 501"#), "jobs[0].limit", "from 2 to 500"),
            (pull(r#""limit": 1.5"#), "jobs[0].limit", "from 2 to 500"),
            (pull(r#""limit": "9""#), "jobs[0].limit", "from 2 to 500, not a text"),
            (pull(r#""overlap": "8d""#), "jobs[0].overlap", "7days"),
            (pull(r#""timeout": "0s""#), "jobs[0].timeout", "1s"),
            (pull(r#""since": "today""#), "jobs[0].since", "2026-11-30T00:00:00Z"),
            (pull(r#""target": "ops""#), "jobs[0].target", "is unknown"),
            (report(r#""targets": ["ops"]"#), "jobs[0].targets", "is unknown"),
            (with(r#""max_run": "1"#), "", "not JSON"),
        ] {
            let error = parse(&text).unwrap_err();
            let is_expected = |fault: &tara_export_settings_file::Fault| {
                fault.path == path && fault.message.contains(part)
            };
            assert!(error.faults.iter().any(is_expected), "{text}: {error}");
        }
        let job = r#"{"name": "a", "kind": "redeliver"}"#;
        let twice = format!(r#"{{"jobs": [{job}, {job}]}}"#);
        assert!(parse(&twice).unwrap_err().to_string().contains("another job"));
    }
}

//! Jobs that send a mail about the exports since their last mail.
//!
//! Bundles are counted as ListExports lists them. Failures, and exports without a bundle, are those of this machine's
//! journal.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tara_export_catalog::{Export, ExportState, Filter, ListQuery, Page, ReadError};
use tara_export_jobs::Report as Settings;
use tara_export_notify::{
    EmailAddress, Report, ReportCounts, ReportMailer, ReportNote, ReportedExport, ReportedExports,
    SendErrorKind,
};
use tara_export_store::StoreKind;
use tokio::time;

use super::{JobsContext, counted, run::Run};
use crate::export::journal::MAX_FAILURES_LISTED;

/// What a cursor of these jobs is a position in.
const SOURCE: &str = "report";
/// The period of a job's first report.
const FIRST_PERIOD: TimeDelta = TimeDelta::hours(24);
/// The longest period.
const LONGEST_PERIOD: TimeDelta = TimeDelta::days(31);
/// Exports on one page of the catalogue.
const PAGE_SIZE: usize = 500;
/// Exports that are counted at most, and bundles on this disk that are looked through at most.
const MAX_EXPORTS: usize = 20_000;
/// Exports of each list in a mail.
const MAX_LISTED: usize = 100;
/// How long a page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses before the mail is sent again.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

/// Sends a report. Returns what was sent.
pub(super) async fn run(run: &Run<'_>, settings: &Settings) -> Result<String, String> {
    let context = &run.shared.context;
    let mailer = mailer(context, &settings.target)?;
    let to: Vec<EmailAddress> =
        settings.to.iter().filter_map(|text| EmailAddress::parse(text).ok()).collect();
    let until = run.tick.unwrap_or(run.started);
    let last = run.shared.log.cursor(&run.job.name, SOURCE).await;
    let last = last.map_err(|error| format!("cannot read the time of the last report: {error}"))?;
    // The clock of the last run's machine may have been fast.
    let since = last.unwrap_or(until - FIRST_PERIOD).clamp(until - LONGEST_PERIOD, until);
    let report = report(context, since, until).await?;
    send(&mailer, &report, &to, run).await?;
    // A run that was called for may have had a later end than this tick.
    let reported = last.map_or(until, |last| last.max(until));
    let recorded = run.shared.log.advance(&run.job.name, (run.number, 1), SOURCE, reported).await;
    recorded.map_err(|error| {
        format!("the mail was sent, but the next one repeats its period: {error}")
    })?;
    Ok(format!(
        "sent a report from {} to {}: {}, {} failed, {} outstanding",
        shown(since),
        shown(until),
        counted(report.accepted.total(), "export"),
        report.failures.count,
        report.outstanding.count
    ))
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The target, which the file that is in force may no longer have.
fn mailer(context: &JobsContext, name: &str) -> Result<ReportMailer, String> {
    let targets = context.notifications.as_ref().map(|found| found.targets()).unwrap_or_default();
    let target = targets.into_iter().find(|view| view.target.name.as_str() == name);
    target
        .and_then(|view| view.target.reports)
        .ok_or_else(|| format!("TARGET_UNKNOWN: NOTIFY_FILE has no target {name} of kind email"))
}

/// Sends the mail, and once more after a failure that may pass.
async fn send(
    mailer: &ReportMailer,
    report: &Report,
    to: &[EmailAddress],
    run: &Run<'_>,
) -> Result<(), String> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let Err(error) = mailer.send(report, to).await else { return Ok(()) };
        let may_pass = matches!(error.kind, SendErrorKind::Unavailable | SendErrorKind::Refused);
        let message = format!("cannot send the report: {error}");
        match pauses.next().filter(|_| may_pass) {
            Some(pause) => {
                run.set_progress(message);
                time::sleep(pause).await;
            }
            None => return Err(message),
        }
    }
}

/// Counts the exports of a period.
async fn report(
    context: &JobsContext,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Report, String> {
    let status = context.engine.status().await;
    let failures = context.engine.failures().await;
    let (Some(status), Some(failures)) = (status, failures) else {
        return Err("cannot read the exports of this server's disk".to_owned());
    };
    let without_bundle = context.engine.exports_without_bundle().await;
    let mut notes = Vec::new();
    let accepted = count(context, since, until, &without_bundle, &mut notes).await?;
    let is_in_period = |time: DateTime<Utc>| time >= since && time < until;
    let failed = failures.newest.iter().filter(|failed| is_in_period(failed.failed_time()));
    let failed: Vec<ReportedExport> = failed
        .map(|failed| ReportedExport {
            message: failed.failure().message.clone(),
            ..reported(failed.export(), failed.failed_time())
        })
        .collect();
    if failed.len() == MAX_FAILURES_LISTED {
        notes.push(ReportNote::Limit(MAX_FAILURES_LISTED));
    }
    let mut outstanding = fell_back(context, &mut notes).await?;
    let is_unfinished =
        |export: &&Export| matches!(export.state, ExportState::Running | ExportState::Pending);
    outstanding.extend(without_bundle.iter().filter(is_unfinished).map(outstanding_export));
    outstanding.sort_by_key(|export| (export.time, export.export_id));
    let mut outstanding = listed(outstanding);
    if status.unread > 0 {
        outstanding.count += status.unread;
        notes.push(ReportNote::Unread(as_size(status.unread)));
    }
    if status.counts.quarantined > 0 {
        notes.push(ReportNote::Quarantined(as_size(status.counts.quarantined)));
    }
    notes.dedup();
    let id = context.clock.new_id();
    Ok(Report { id, since, until, accepted, failures: listed(failed), outstanding, notes })
}

fn as_size(count: u64) -> usize {
    count.try_into().unwrap_or(usize::MAX)
}

fn listed(mut exports: Vec<ReportedExport>) -> ReportedExports {
    let count = exports.len() as u64;
    exports.truncate(MAX_LISTED);
    ReportedExports { count, first: exports }
}

fn reported(export: &Export, time: DateTime<Utc>) -> ReportedExport {
    ReportedExport {
        export_id: export.export_id,
        time,
        document_name: export.document_name.clone(),
        reviewer: export.reviewer.clone(),
        reason: export.state_reason.clone(),
        message: String::new(),
    }
}

fn outstanding_export(export: &Export) -> ReportedExport {
    reported(export, export.accepted_time.as_datetime())
}

/// The exports that were accepted in the period, by their state now. If S3 does not respond, those that are not in S3.
async fn count(
    context: &JobsContext,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    without_bundle: &[Export],
    notes: &mut Vec<ReportNote>,
) -> Result<ReportCounts, String> {
    let exact = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let period =
        format!("accepted_time >= \"{}\" AND accepted_time < \"{}\"", exact(since), exact(until));
    let listing = list(context, &period, without_bundle.to_vec()).await;
    let listing = match listing {
        Err(error) if context.catalog.store(StoreKind::S3).is_some() => {
            tracing::warn!(%error, "a report does not count the bundles in S3");
            notes.push(ReportNote::StoreUnavailable);
            let local = format!("{period} AND stored_in = DESTINATION_LOCAL");
            let mut listing = list(context, &local, Vec::new()).await?;
            let is_in_period = |export: &&Export| {
                let time = export.accepted_time.as_datetime();
                time >= since && time < until
            };
            listing.exports.extend(without_bundle.iter().filter(is_in_period).cloned());
            listing
        }
        listing => listing?,
    };
    if listing.is_cut {
        notes.push(ReportNote::Limit(MAX_EXPORTS));
    }
    let mut counts = ReportCounts::default();
    for export in listing.exports.iter().filter(|export| !export.adopted) {
        *match export.state {
            ExportState::Committed => &mut counts.committed,
            ExportState::FellBack => &mut counts.fell_back,
            ExportState::Running | ExportState::Pending => &mut counts.pending,
            ExportState::Failed => &mut counts.failed,
            ExportState::Quarantined => &mut counts.quarantined,
        } += 1;
    }
    Ok(counts)
}

/// The bundles that are not in S3 yet.
async fn fell_back(
    context: &JobsContext,
    notes: &mut Vec<ReportNote>,
) -> Result<Vec<ReportedExport>, String> {
    let filter = "state = STATE_FELL_BACK AND stored_in = DESTINATION_LOCAL";
    let listing = list(context, filter, Vec::new()).await?;
    if listing.is_cut {
        notes.push(ReportNote::Limit(MAX_EXPORTS));
    }
    Ok(listing.exports.iter().map(outstanding_export).collect())
}

/// Exports, the last accepted ones first.
struct Listing {
    exports: Vec<Export>,
    /// Whether there are more than [`MAX_EXPORTS`].
    is_cut: bool,
}

async fn list(
    context: &JobsContext,
    filter: &str,
    running: Vec<Export>,
) -> Result<Listing, String> {
    let filter = Filter::parse(filter).map_err(|error| format!("{filter}: {error}"))?;
    let mut listing = Listing { exports: Vec::new(), is_cut: false };
    let mut after = None;
    loop {
        let query = ListQuery { filter: filter.clone(), after, page_size: PAGE_SIZE };
        let reading = context.catalog.list(&query, running.clone());
        let page: Result<Page, ReadError> = time::timeout(PAGE_TIMEOUT, reading)
            .await
            .map_err(|_| "cannot list exports: the store does not respond".to_owned())?;
        let page = page.map_err(|error| format!("cannot list exports: {error}"))?;
        // Their files are not counted.
        let exports = page.exports.into_iter();
        listing.exports.extend(exports.map(|export| Export { artifacts: Vec::new(), ..export }));
        match page.next {
            None => return Ok(listing),
            Some(_) if listing.exports.len() >= MAX_EXPORTS => {
                listing.exports.truncate(MAX_EXPORTS);
                listing.is_cut = true;
                return Ok(listing);
            }
            Some(next) => after = Some(next),
        }
    }
}

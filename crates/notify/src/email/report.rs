//! The values that the templates of reports use.

use serde::Serialize;
use serde_json::Value;
use tara_export_events::Names;

use super::{
    catalogue::{Labels, Locale, Texts},
    digest::{NAME_LIMIT_BYTES, TEXT_LIMIT_BYTES, shown_time},
    line::one_line,
};
use crate::{Report, ReportNote, ReportedExport, ReportedExports};

#[derive(Serialize)]
struct Values<'a> {
    locale: &'static str,
    summary: String,
    period: &'a str,
    since: String,
    until: String,
    accepted: &'a str,
    counts: Vec<Count<'a>>,
    sections: [Section<'a>; 2],
    oldest: Option<Oldest<'a>>,
    notes: Vec<String>,
    labels: &'a Labels,
    footer: &'a str,
}

#[derive(Serialize)]
struct Count<'a> {
    state: &'a str,
    count: u64,
}

/// A list of exports; without any, `nothing` is shown instead.
#[derive(Serialize)]
struct Section<'a> {
    title: &'a str,
    rows: Vec<Row<'a>>,
    more: Option<String>,
    nothing: &'a str,
}

#[derive(Serialize)]
struct Row<'a> {
    export: String,
    document: String,
    reviewer: String,
    time: String,
    reason: &'a str,
    reason_code: String,
    details: String,
}

#[derive(Serialize)]
struct Oldest<'a> {
    label: &'a str,
    export: String,
    time: String,
}

/// The values of a report whose lists have at most `row_count` exports. Each text is one line without control
/// characters.
pub(super) fn values(report: &Report, row_count: usize, names: Names, locale: Locale) -> Value {
    let texts = locale.texts();
    let words = &texts.report;
    let accepted = &report.accepted;
    let counts = [
        (&words.states.committed, accepted.committed),
        (&words.states.fell_back, accepted.fell_back),
        (&words.states.pending, accepted.pending),
        (&words.states.failed, accepted.failed),
        (&words.states.quarantined, accepted.quarantined),
    ];
    let counted = |text, count: u64| locale.counted(text, count.try_into().unwrap_or(usize::MAX));
    let summary = [
        counted(&words.exports, accepted.total()),
        counted(&words.failed, report.failures.count),
        counted(&words.outstanding, report.outstanding.count),
    ];
    let section = |title, exports: &ReportedExports| {
        let rows: Vec<Row<'_>> =
            exports.first.iter().take(row_count).map(|export| row(export, names, texts)).collect();
        let more = exports.count.saturating_sub(rows.len() as u64);
        let more = (more > 0).then(|| counted(&texts.more, more));
        Section { title, rows, more, nothing: &words.nothing }
    };
    let values = Values {
        locale: locale.as_str(),
        summary: summary.join(&texts.separator),
        period: &words.period,
        since: shown_time(report.since),
        until: shown_time(report.until),
        accepted: &words.accepted,
        counts: counts.into_iter().map(|(state, count)| Count { state, count }).collect(),
        sections: [
            section(&words.failures, &report.failures),
            section(&words.outstanding_exports, &report.outstanding),
        ],
        oldest: report.outstanding.first.first().map(|oldest| Oldest {
            label: &words.oldest,
            export: format!("exports/{}", oldest.export_id),
            time: shown_time(oldest.time),
        }),
        notes: report
            .notes
            .iter()
            .map(|note| match note {
                ReportNote::Limit(count) => locale.counted(&words.cut, *count),
                ReportNote::Unread(count) => locale.counted(&words.unread, *count),
                ReportNote::Quarantined(count) => locale.counted(&words.quarantined, *count),
                ReportNote::StoreUnavailable => words.store_unavailable.clone(),
            })
            .collect(),
        labels: &texts.labels,
        footer: &texts.footer,
    };
    serde_json::to_value(values).unwrap_or_default()
}

fn row<'a>(export: &ReportedExport, names: Names, texts: &'a Texts) -> Row<'a> {
    let named = |text: &str, limit_bytes| match names {
        Names::Included => one_line(text, limit_bytes),
        Names::Omitted => String::new(),
    };
    Row {
        export: format!("exports/{}", export.export_id),
        document: named(&export.document_name, NAME_LIMIT_BYTES),
        reviewer: named(&export.reviewer, NAME_LIMIT_BYTES),
        time: shown_time(export.time),
        reason: match export.reason.as_str() {
            "" => "",
            code => texts.reason(code),
        },
        reason_code: one_line(&export.reason, NAME_LIMIT_BYTES),
        details: named(&export.message, TEXT_LIMIT_BYTES),
    }
}

#[cfg(test)]
mod tests;

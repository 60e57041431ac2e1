#![allow(clippy::unwrap_used)]

use chrono::{DateTime, TimeDelta};
use tara_export_bundle::ExportId;
use uuid::Uuid;

use super::*;
use crate::{
    ReportCounts,
    email::layout::{Layout, Rendered},
};

const HOSTILE: &str = "\"</bdi><script>alert(1)</script> {{ 7 * 7 }}\r\nBcc: b@example.com\u{202e}";

fn exported(number: u32, name: &str) -> ReportedExport {
    ReportedExport {
        export_id: ExportId::new(Uuid::from_u128(number.into())),
        time: DateTime::from_timestamp(1_700_000_000 + i64::from(number), 0).unwrap(),
        document_name: name.to_owned(),
        reviewer: "Ada".to_owned(),
        reason: "STORE_DENIED".to_owned(),
        message: format!("access to {name} was denied"),
    }
}

fn report(failures: u64, outstanding: u64, name: &str) -> Report {
    let until = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let exports = |count: u64| ReportedExports {
        count,
        first: (0..count.min(100)).map(|number| exported(number as u32, name)).collect(),
    };
    Report {
        id: Uuid::from_u128(1),
        since: until - TimeDelta::days(1),
        until,
        accepted: ReportCounts { committed: 97, failed: 3, ..ReportCounts::default() },
        failures: exports(failures),
        outstanding: exports(outstanding),
        notes: Vec::new(),
    }
}

fn render(report: &Report, names: Names, locale: Locale) -> Rendered {
    Layout::read(None, None, locale, names).unwrap().render_report(report).unwrap()
}

#[test]
fn report_has_counts_failures_and_the_oldest_outstanding_export() {
    let rendered = render(&report(1, 2, "Report.docx"), Names::Included, Locale::English);
    assert_eq!(rendered.subject, "tara-export: 100 exports, 1 failed, 2 outstanding");
    let expected = "\
100 exports, 1 failed, 2 outstanding

Period: 2023-11-13 22:13:20 UTC – 2023-11-14 22:13:20 UTC

Exports accepted in this period
- Stored: 97
- Fell back to local disk: 0
- Not finished: 0
- Failed: 3
- Quarantined: 0

Oldest of them: exports/00000000-0000-0000-0000-000000000000, 2023-11-14 22:13:20 UTC

Exports that failed in this period
- Export: exports/00000000-0000-0000-0000-000000000000
  Document: Report.docx
  Reviewer: Ada
  Time: 2023-11-14 22:13:20 UTC
  Reason: The store rejected the credentials or permissions of the service. (STORE_DENIED)
  Details: access to Report.docx was denied

Exports that are not in their destination, the oldest first
";
    assert!(rendered.text.starts_with(expected), "{}", rendered.text);
    assert!(rendered.html.contains("<td>Stored</td>"), "{}", rendered.html);
}

#[test]
fn empty_report_says_so_in_every_language() {
    for locale in Locale::ALL {
        let mut report = report(0, 0, "");
        report.notes = vec![
            ReportNote::Limit(20_000),
            ReportNote::Unread(2),
            ReportNote::Quarantined(1),
            ReportNote::StoreUnavailable,
        ];
        let rendered = render(&report, Names::Included, locale);
        let nothing = format!("\n{}\n", locale.texts().report.nothing);
        assert_eq!(rendered.text.matches(&nothing).count(), 2, "{}", rendered.text);
        for part in [&rendered.subject, &rendered.text, &rendered.html] {
            assert!(!part.contains("{count}") && !part.contains("{{"), "{part}");
        }
        for part in [&rendered.text, &rendered.html] {
            assert!(part.contains("20000") && part.contains("tara-export check"), "{part}");
        }
    }
}

#[test]
fn hostile_names_are_text_on_one_line_and_are_omitted_without_include_names() {
    let report = report(1, 1, HOSTILE);
    let rendered = render(&report, Names::Included, Locale::English);
    assert!(!rendered.html.contains("<script>"), "{}", rendered.html);
    for part in [&rendered.subject, &rendered.text, &rendered.html] {
        assert!(!part.contains('\r') && !part.contains('\u{202e}'), "{part}");
        assert!(!part.lines().any(|line| line.trim_start().starts_with("Bcc:")), "{part}");
    }
    let rendered = render(&report, Names::Omitted, Locale::English);
    for part in [&rendered.subject, &rendered.text, &rendered.html] {
        assert!(!part.contains("alert") && !part.contains("Ada"), "{part}");
    }
}

#[test]
fn long_lists_are_cut_and_counted() {
    let rendered =
        render(&report(150, 20_000, &"<".repeat(5_000)), Names::Included, Locale::English);
    let rows = rendered.text.matches("- Export: ").count();
    assert!((2..=200).contains(&rows), "{rows}");
    let shown = rows as u64 / 2;
    let more = format!("and {} more", 20_000 - shown);
    assert!(rendered.text.contains(&more), "{}", &rendered.text[rendered.text.len() - 200..]);
}

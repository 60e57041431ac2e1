//! Formats values for output.

use chrono::DateTime;
use indicatif::HumanBytes;
use prost_types::Timestamp;
use tara_export_client::is_unprintable;
use tara_export_client::proto::{Destination, Export, ExportEvent, Progress, export::State};
use unicode_width::UnicodeWidthStr as _;

pub(super) use tara_export_client::printable;

/// Like [`printable`], but keeps line feeds and tabs.
pub(super) fn printable_lines(text: &str) -> String {
    let is_kept = |character| matches!(character, '\n' | '\t');
    let mut lines = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_kept) {
        let (text, end) = piece.split_at(piece.trim_end_matches(is_kept).len());
        lines.push_str(&printable(text));
        lines.push_str(end);
    }
    lines
}

/// Escapes control characters in JSON. They occur only in its strings, so the value does not change.
pub(super) fn printable_json(json: &str) -> String {
    let mut printable = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && is_unprintable(character) {
            printable.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            printable.push(character);
        }
    }
    printable
}

/// A size in bytes, such as `16.00 KiB`.
pub(super) fn size(bytes: i64) -> String {
    HumanBytes(bytes.try_into().unwrap_or_default()).to_string()
}

/// A time in UTC with a precision of one second.
pub(super) fn time(timestamp: Option<&Timestamp>) -> String {
    timestamp
        .and_then(|time| DateTime::from_timestamp(time.seconds, time.nanos.try_into().ok()?))
        .map_or_else(|| "-".to_owned(), |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// The name of an export's state.
pub(super) fn state(export: &Export) -> &'static str {
    match State::try_from(export.state) {
        Ok(State::Running) => "running",
        Ok(State::Pending) => "pending",
        Ok(State::FellBack) => "fell back",
        Ok(State::Committed) if export.adopted => "committed, adopted",
        Ok(State::Committed) => "committed",
        Ok(State::Failed) => "failed",
        Ok(State::Quarantined) => "quarantined",
        Ok(State::Unspecified) | Err(_) => "unknown",
    }
}

/// The name of the store that has the export's bundle.
pub(super) fn stored_in(export: &Export) -> &'static str {
    match Destination::try_from(export.stored_in) {
        Ok(Destination::S3) => "S3",
        Ok(Destination::Local) => "local",
        Ok(Destination::Unspecified) | Err(_) => "-",
    }
}

/// The number of stored artifacts, such as `3 of 12`.
pub(super) fn progress(event: &ExportEvent) -> String {
    let Progress { artifacts_done, artifacts_total, .. } = event.progress.unwrap_or_default();
    format!("{artifacts_done} of {artifacts_total}")
}

/// Formats rows in aligned columns, whose widths never shrink from one batch of rows to the next.
pub(super) struct Table<const COLUMNS: usize> {
    widths: [usize; COLUMNS],
    right_aligned: [bool; COLUMNS],
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(super) fn new(right_aligned: [bool; COLUMNS]) -> Self {
        Self { widths: [0; COLUMNS], right_aligned }
    }

    /// The rows as lines without trailing spaces.
    pub(super) fn lines(&mut self, rows: &[[String; COLUMNS]]) -> Vec<String> {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String; COLUMNS]) -> String {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            if index > 0 {
                line.push_str("  ");
            }
            let blanks = " ".repeat(self.widths[index].saturating_sub(cell.width()));
            if self.right_aligned[index] {
                line.push_str(&blanks);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&blanks);
            }
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\u{1b}[31m\n\u{202e}ä 文"), "a\\u{1b}[31m\\u{a}\\u{202e}ä 文");
        assert_eq!(printable_lines("a\n\tb\r\n\n"), "a\n\tb\\u{d}\n\n");
        assert_eq!(printable_json("{\n\"a\u{9b}\u{202e}\"}"), "{\n\"a\\u009b\\u202e\"}");
    }

    #[test]
    fn columns_are_aligned_by_display_width() {
        let mut table = Table::new([false, true, false]);
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let lines = table.lines(&[row(["文書", "1", "x"]), row(["abc", "100", ""])]);
        assert_eq!(lines, ["文書    1  x", "abc   100"]);
        // The next batch keeps the widths of the previous one.
        assert_eq!(table.lines(&[row(["a", "2", "y"])]), ["a       2  y"]);
    }

    #[test]
    fn times_are_in_utc_with_seconds() {
        let time = |seconds| super::time(Some(&Timestamp { seconds, nanos: 999_999_999 }));
        assert_eq!(time(1_795_372_620), "2026-11-22 18:37:00Z");
        assert_eq!(time(i64::MAX), "-");
        assert_eq!(super::time(None), "-");
    }
}

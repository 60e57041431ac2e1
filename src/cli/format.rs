//! Formats values for output.

use chrono::DateTime;
use indicatif::HumanBytes;
use prost_types::Timestamp;
use tara_export_client::is_unprintable;
use tara_export_client::proto::{Destination, Export, ExportEvent, Progress, export::State};

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

/// The state reason of an accepted export that no process works on.
pub(super) const NOT_RUNNING: &str = "NOT_RUNNING";

/// The name of an export's state.
pub(super) fn state(export: &Export) -> &'static str {
    match State::try_from(export.state) {
        Ok(State::Running) => "running",
        Ok(State::Pending) if export.state_reason == NOT_RUNNING => "accepted, not running",
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

/// A time in UTC with a precision of one minute, for narrow terminals.
pub(super) fn short_time(timestamp: Option<&Timestamp>) -> String {
    let time = time(timestamp);
    time.get(..16).map_or(time.clone(), str::to_owned)
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
    fn times_are_in_utc_with_seconds() {
        let time = |seconds| super::time(Some(&Timestamp { seconds, nanos: 999_999_999 }));
        assert_eq!(time(1_795_372_620), "2026-11-22 18:37:00Z");
        assert_eq!(time(i64::MAX), "-");
        assert_eq!(super::time(None), "-");
        let seconds = 1_795_372_620;
        assert_eq!(short_time(Some(&Timestamp { seconds, nanos: 0 })), "2026-11-22 18:37");
        assert_eq!(short_time(None), "-");
    }
}

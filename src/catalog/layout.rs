//! The names under which a store keeps bundles and the service's own records (design, section 3).

use chrono::DateTime;

use crate::{
    bundle::{AcceptedTime, ArtifactPath, ExportId, FolderName},
    store::ObjectKey,
};

/// Everything of the service's own lies below this.
const OWN: &str = ".tara-export";
/// Digits of an index entry's inverted time.
const TIME_DIGITS: usize = 16;

/// A file of a bundle.
pub fn artifact(folder: &FolderName, path: &ArtifactPath) -> ObjectKey {
    key(format!("{folder}/{path}"))
}

/// A bundle's manifest: its presence is the commit.
pub fn manifest(folder: &FolderName) -> ObjectKey {
    artifact(folder, &ArtifactPath::manifest())
}

/// The record of an export: what every replica adopts that is sent the same request.
pub fn record(export_id: ExportId) -> ObjectKey {
    key(format!("{OWN}/exports/{export_id}.json"))
}

/// Says which export a folder belongs to.
pub fn folder_claim(folder: &FolderName) -> ObjectKey {
    key(format!("{OWN}/folders/{folder}.json"))
}

/// A bundle's entry of the index, whose names ascend from the newest bundle to the oldest.
pub fn index_entry(time: AcceptedTime, folder: &FolderName) -> ObjectKey {
    key(format!("{}{}_{folder}", index_prefix(), inverted(time)))
}

/// What the names of all index entries start with.
pub fn index_prefix() -> String {
    format!("{OWN}/index/")
}

/// Sorts before every index entry of this time, and after those of any later time.
pub fn index_position(time: AcceptedTime) -> String {
    format!("{}{}", index_prefix(), inverted(time))
}

/// Reads an index entry's name; none for a stranger's file.
pub fn parse_index_entry(key: &str) -> Option<(AcceptedTime, FolderName)> {
    let (digits, folder) = key.strip_prefix(&index_prefix())?.split_once('_')?;
    if digits.len() != TIME_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros = AcceptedTime::LATEST_MICROS.checked_sub(digits.parse().ok()?)?;
    let time = DateTime::from_timestamp_micros(micros)?;
    Some((AcceptedTime::new(time), folder.parse().ok()?))
}

fn inverted(time: AcceptedTime) -> String {
    format!("{:0TIME_DIGITS$}", AcceptedTime::LATEST_MICROS - time.micros())
}

/// The key with this text, which is made of an export id, a folder's name or an artifact's path.
#[allow(clippy::expect_used, reason = "see the comment on the proof")]
fn key(text: String) -> ObjectKey {
    // Folder names and the parts of artifact paths are components of at most 255 bytes without
    // separators or control characters, and a folder's name is at most 224 bytes, so that the
    // index's 17 and the claim's 5 further bytes fit: their types were built that way.
    ObjectKey::new(text).expect("folder names and artifact paths are safe components")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bundle::FolderBase;

    fn time(text: &str) -> AcceptedTime {
        AcceptedTime::new(text.parse().unwrap())
    }

    #[test]
    fn a_plain_listing_of_the_index_is_newest_first() {
        let times = [
            "1970-01-01T00:00:00Z",
            "2026-11-22T18:37:00.000001Z",
            "2026-11-22T18:37:00.000002Z",
            "2285-01-01T00:00:00Z",
        ];
        let mut names: Vec<String> = Vec::new();
        for text in times {
            let folder = FolderName::new(&FolderBase::new(&time(text), "a_b.docx"), 2);
            let name = index_entry(time(text), &folder).to_string();
            assert_eq!(parse_index_entry(&name), Some((time(text), folder)));
            assert!(index_position(time(text)) < name);
            names.push(name);
        }
        names.reverse();
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn the_longest_names_fit() {
        let folder = FolderName::new(
            &FolderBase::new(&time("2026-11-22T18:37:00Z"), &"字".repeat(900)),
            10_000,
        );
        index_entry(time("2026-11-22T18:37:00Z"), &folder);
        folder_claim(&folder);
        manifest(&folder);
    }

    #[test]
    fn strangers_in_the_index_are_not_entries() {
        for name in [
            "",
            "x",
            "1_a",
            "12345678901234567_a",
            "999999999999999a_a",
            "9999999999999999_",
            "9999999999999999_a/b",
        ] {
            assert_eq!(parse_index_entry(&format!("{}{name}", index_prefix())), None, "{name}");
        }
    }
}

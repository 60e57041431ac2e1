//! The names under which a store keeps bundles and the service's own records (design, section 3).

use uuid::Uuid;

use crate::{
    bundle::{AcceptedTime, ArtifactPath, ExportId, FolderBase, FolderName},
    digest::Sha256,
    store::ObjectKey,
};

/// Everything of the service's own lies below this.
const OWN: &str = ".tara-export";
/// Digits of an index entry's inverted time.
const TIME_DIGITS: usize = 16;

/// What the names of all records of the service's own start with.
pub fn own_prefix() -> String {
    format!("{OWN}/")
}

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

/// An accepted export that survives its machine. The digest keeps apart what was accepted under one
/// id with different content.
pub fn journal_entry(export_id: ExportId, content_digest: Sha256) -> ObjectKey {
    key(format!("{}{export_id}-{content_digest}", journal_prefix()))
}

/// What the names of all journal entries in a store start with.
pub fn journal_prefix() -> String {
    format!("{OWN}/journal/")
}

/// Reads a journal entry's name; none for a stranger's file.
pub fn parse_journal_entry(key: &str) -> Option<(ExportId, Sha256)> {
    let (export_id, content_digest) = key.strip_prefix(&journal_prefix())?.rsplit_once('-')?;
    Some((export_id.parse().ok()?, content_digest.parse().ok()?))
}

/// What is known of an upload from its beginning.
pub fn upload_record(upload_id: Uuid) -> ObjectKey {
    key(format!("{}{upload_id}/upload.json", uploads_prefix()))
}

/// How far an upload had come. Names ascend from the furthest to the first.
pub fn upload_checkpoint(upload_id: Uuid, offset_bytes: u64) -> ObjectKey {
    let inverted = u64::MAX - offset_bytes;
    key(format!("{}{inverted:020}.json", upload_checkpoints(upload_id)))
}

/// What the names of an upload's checkpoints start with.
pub fn upload_checkpoints(upload_id: Uuid) -> String {
    format!("{}{upload_id}/checkpoints/", uploads_prefix())
}

/// Reads a checkpoint's name: its offset.
pub fn parse_upload_checkpoint(key: &str, upload_id: Uuid) -> Option<u64> {
    let digits = key.strip_prefix(&upload_checkpoints(upload_id))?.strip_suffix(".json")?;
    u64::MAX.checked_sub(digits.parse().ok()?)
}

/// The document that was uploaded.
pub fn upload_document(upload_id: Uuid) -> ObjectKey {
    key(format!("{}{upload_id}/document", uploads_prefix()))
}

/// What is known of a finished upload: its presence says that the document is there and was checked.
pub fn upload_finished(upload_id: Uuid) -> ObjectKey {
    key(format!("{}{upload_id}/finished.json", uploads_prefix()))
}

/// Says that an upload was given up.
pub fn upload_aborted(upload_id: Uuid) -> ObjectKey {
    key(format!("{}{upload_id}/aborted.json", uploads_prefix()))
}

/// What the names of all that belongs to uploads start with.
pub fn uploads_prefix() -> String {
    format!("{OWN}/uploads/")
}

/// What the names of all folder claims start with.
pub fn claims_prefix() -> String {
    format!("{OWN}/folders/")
}

/// Sorts before every claim on a folder of this base.
pub fn before_claims_of(base: &FolderBase) -> String {
    format!("{}{base}", claims_prefix())
}

/// Whether a key lies among the claims on folders of this base, or of a base that starts with it.
pub fn may_be_claim_of(key: &str, base: &FolderBase) -> bool {
    key.starts_with(&before_claims_of(base))
}

/// Which folder of the base a claim is on: the `n` of [`FolderName::new`]; none for another base.
pub fn claimed_suffix(key: &str, base: &FolderBase) -> Option<u32> {
    let rest = key.strip_prefix(&before_claims_of(base))?.strip_suffix(".json")?;
    if rest.is_empty() {
        return Some(1);
    }
    let digits = rest.strip_prefix('_')?;
    let suffix: u32 = digits.parse().ok().filter(|suffix| *suffix > 1)?;
    (suffix.to_string() == digits).then_some(suffix)
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
    Some((AcceptedTime::from_micros(micros)?, folder.parse().ok()?))
}

fn inverted(time: AcceptedTime) -> String {
    format!("{:0TIME_DIGITS$}", AcceptedTime::LATEST_MICROS - time.micros())
}

/// The key with this text, which is made of an export id, a folder's name or an artifact's path.
#[allow(clippy::expect_used, reason = "see the comment on the proof")]
fn key(text: String) -> ObjectKey {
    // Folder names and the parts of artifact paths are components of at most 255 bytes without
    // separators or control characters, and a folder's name is at most 227 bytes, so that the
    // index's 17 and the claim's 5 further bytes fit: their types were built that way.
    ObjectKey::new(text).expect("folder names and artifact paths are safe components")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn time(text: &str) -> AcceptedTime {
        AcceptedTime::new(text.parse().unwrap())
    }

    #[test]
    fn claims_tell_the_folder_of_their_base() {
        let base = FolderBase::new(&time("2026-11-22T18:37:00Z"), "report.docx");
        for suffix in [1, 2, 10, 10_000] {
            let key = folder_claim(&FolderName::new(&base, suffix));
            assert!(key.as_str() > before_claims_of(&base).as_str());
            assert!(may_be_claim_of(key.as_str(), &base));
            assert_eq!(claimed_suffix(key.as_str(), &base), Some(suffix));
        }
        for other in ["_1", "_02", "_x", "s", "_2_3"] {
            let key = format!("{}{base}{other}.json", claims_prefix());
            assert_eq!(claimed_suffix(&key, &base), None, "{key}");
        }
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
            // Whoever else writes to a bucket may name an object so; no folder has such a name.
            &format!("9999999999999999_{}", "x".repeat(239)),
        ] {
            assert_eq!(parse_index_entry(&format!("{}{name}", index_prefix())), None, "{name}");
        }
    }
}

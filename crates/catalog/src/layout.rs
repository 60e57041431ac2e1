//! Object keys of bundles and of the service's own records (design, section 3).

use tara_export_bundle::{AcceptedTime, ArtifactPath, ExportId, FolderBase, FolderName};
use tara_export_digest::Sha256;
use tara_export_store::ObjectKey;
use uuid::Uuid;

/// The folder of the service's own objects.
const SERVICE_FOLDER: &str = ".tara-export";
/// The suffix of an end marker's name.
const END_MARKER_SUFFIX: &str = ".ended";
/// Digits of an index entry's inverted time.
const TIME_DIGITS: usize = 16;

/// The prefix of all of the service's own objects.
pub fn service_prefix() -> String {
    format!("{SERVICE_FOLDER}/")
}

/// The store identity.
pub fn store_identity() -> ObjectKey {
    key(format!("{SERVICE_FOLDER}/store.json"))
}

/// A file of a bundle.
pub fn artifact(folder: &FolderName, path: &ArtifactPath) -> ObjectKey {
    permanent_key(format!("{folder}/{path}"))
}

/// A bundle's manifest: its presence is the commit.
pub fn manifest(folder: &FolderName) -> ObjectKey {
    artifact(folder, &ArtifactPath::manifest())
}

/// The record of an export: every replica that receives the same request adopts it.
pub fn record(export_id: ExportId) -> ObjectKey {
    permanent_key(format!("{SERVICE_FOLDER}/exports/{export_id}.json"))
}

/// The claim of a folder: which export the folder belongs to.
pub fn folder_claim(folder: &FolderName) -> ObjectKey {
    permanent_key(format!("{SERVICE_FOLDER}/folders/{folder}.json"))
}

/// A journal entry: an accepted export that survives the loss of its machine. The digest distinguishes
/// exports that were accepted under one id with different content.
pub fn journal_entry(export_id: ExportId, content_digest: Sha256) -> ObjectKey {
    key(format!("{}{export_id}-{content_digest}", journal_prefix()))
}

/// The end marker of a journal entry: its export has ended, but the entry itself cannot be deleted.
/// In a listing it follows its entry.
pub fn journal_end_marker(export_id: ExportId, content_digest: Sha256) -> ObjectKey {
    key(format!("{}{END_MARKER_SUFFIX}", journal_entry(export_id, content_digest)))
}

/// The recipients of a journal entry: whom its export notifies. In a listing it follows its entry and the end marker.
pub fn journal_recipients(export_id: ExportId, content_digest: Sha256) -> ObjectKey {
    key(format!("{}.recipients", journal_entry(export_id, content_digest)))
}

/// The claim on an event: which machine delivers it.
pub fn event_claim(event_id: Uuid) -> ObjectKey {
    key(format!("{}{event_id}.json", events_prefix()))
}

/// The end of an event: its owner delivered it, or gave it up.
pub fn event_done(event_id: Uuid) -> ObjectKey {
    key(format!("{}{event_id}.done", events_prefix()))
}

/// The turn of one machine to deliver an event that its owner has not delivered for long.
pub fn event_turn(event_id: Uuid, slot: u32) -> ObjectKey {
    key(format!("{}{event_id}.try-{slot}", events_prefix()))
}

/// Parses the key of an event's object, and returns what follows the id, such as `.json`.
pub fn parse_event(key: &str) -> Option<(Uuid, &str)> {
    const ID_BYTES: usize = 36;
    let (event_id, suffix) = key.strip_prefix(&events_prefix())?.split_at_checked(ID_BYTES)?;
    Some((event_id.parse().ok()?, suffix))
}

/// The prefix of all objects of events.
pub fn events_prefix() -> String {
    format!("{SERVICE_FOLDER}/events/")
}

/// The report of a batch that has ended.
pub fn batch_report(batch_id: Uuid) -> ObjectKey {
    key(format!("{}{batch_id}/report.json", batches_prefix()))
}

/// The prefix of all reports of batches.
pub fn batches_prefix() -> String {
    format!("{SERVICE_FOLDER}/batches/")
}

/// The start of a job's run. Names sort from the last run to the first; its end is before it.
pub fn job_run(job: &str, number: u64) -> ObjectKey {
    key(format!("{}{:020}.json", job_runs(job), u64::MAX - number))
}

/// The end of a job's run.
pub fn job_run_end(job: &str, number: u64) -> ObjectKey {
    key(format!("{}{:020}.done", job_runs(job), u64::MAX - number))
}

/// The prefix of a job's runs.
pub fn job_runs(job: &str) -> String {
    format!("{}{job}/runs/", jobs_prefix())
}

/// Parses the key of the start or the end of a job's run. Returns its number, and whether it is the end.
pub fn parse_job_run(key: &str, job: &str) -> Option<(u64, bool)> {
    let (digits, suffix) = key.strip_prefix(&job_runs(job))?.split_once('.')?;
    let is_end = match suffix {
        "json" => false,
        "done" => true,
        _ => return None,
    };
    Some((u64::MAX.checked_sub(digits.parse().ok()?)?, is_end))
}

/// The schedule that a job has had since a time. Names sort from the newest to the oldest.
pub fn job_schedule(job: &str, since: AcceptedTime, digest: &str) -> ObjectKey {
    key(format!("{}{}-{digest}.json", job_schedules(job), inverted(since)))
}

/// The prefix of a job's schedules.
pub fn job_schedules(job: &str) -> String {
    format!("{}{job}/schedules/", jobs_prefix())
}

/// Parses the key of a job's schedule: its digest.
pub fn parse_job_schedule<'a>(key: &'a str, job: &str) -> Option<&'a str> {
    let (_, digest) =
        key.strip_prefix(&job_schedules(job))?.strip_suffix(".json")?.split_once('-')?;
    Some(digest)
}

/// A time up to which a run of a job has done its work. Names sort from the last run and its last step to the first.
pub fn job_cursor(job: &str, number: u64, step: u64) -> ObjectKey {
    key(format!("{}{:020}-{:020}.json", job_cursors(job), u64::MAX - number, u64::MAX - step))
}

/// The prefix of a job's cursors.
pub fn job_cursors(job: &str) -> String {
    format!("{}{job}/cursors/", jobs_prefix())
}

/// The prefix of all objects of jobs.
pub fn jobs_prefix() -> String {
    format!("{SERVICE_FOLDER}/jobs/")
}

/// Where accepted exports are stored until they are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalLocation {
    /// On the server's disk.
    Local,
    /// On the server's disk and in the store under [`journal_entry`], so that an export survives the
    /// loss of its machine.
    Store,
}

/// The prefix of all journal entries in a store.
pub fn journal_prefix() -> String {
    format!("{SERVICE_FOLDER}/journal/")
}

/// The key of the journal entry that an end marker belongs to; `None` if the key is not an end marker.
pub fn entry_of_end_marker(key: &str) -> Option<&str> {
    key.strip_suffix(END_MARKER_SUFFIX)
}

/// Parses a journal entry's key; `None` for a foreign object or an end marker.
pub fn parse_journal_entry(key: &str) -> Option<(ExportId, Sha256)> {
    let (export_id, content_digest) = key.strip_prefix(&journal_prefix())?.rsplit_once('-')?;
    Some((export_id.parse().ok()?, content_digest.parse().ok()?))
}

/// The record of an upload, written when it is created.
pub fn upload_record(upload_id: Uuid) -> ObjectKey {
    key(format!("{}{upload_id}/upload.json", uploads_prefix()))
}

/// A checkpoint: how far an upload has come. Names sort from the furthest to the first.
pub fn upload_checkpoint(upload_id: Uuid, offset_bytes: u64) -> ObjectKey {
    let inverted = u64::MAX - offset_bytes;
    key(format!("{}{inverted:020}.json", upload_checkpoints(upload_id)))
}

/// The prefix of an upload's checkpoints.
pub fn upload_checkpoints(upload_id: Uuid) -> String {
    format!("{}{upload_id}/checkpoints/", uploads_prefix())
}

/// Parses a checkpoint's key and returns its offset.
pub fn parse_upload_checkpoint(key: &str, upload_id: Uuid) -> Option<u64> {
    let digits = key.strip_prefix(&upload_checkpoints(upload_id))?.strip_suffix(".json")?;
    u64::MAX.checked_sub(digits.parse().ok()?)
}

/// A piece of an upload: the bytes of a chunk until its part is complete. The digest in its name lets two calls with
/// different bytes put different objects.
pub fn upload_piece(upload_id: Uuid, offset_bytes: u64, sha256: Sha256) -> ObjectKey {
    key(format!("{}{upload_id}/pieces/{offset_bytes}-{sha256}", uploads_prefix()))
}

/// The document that was uploaded.
pub fn upload_document(upload_id: Uuid) -> ObjectKey {
    key(format!("{}{upload_id}/document", uploads_prefix()))
}

/// The record of a finished upload: if it exists, the document is stored and verified.
pub fn upload_finished(upload_id: Uuid) -> ObjectKey {
    key(format!("{}{upload_id}/finished.json", uploads_prefix()))
}

/// The record of an aborted upload.
pub fn upload_aborted(upload_id: Uuid) -> ObjectKey {
    key(format!("{}{upload_id}/aborted.json", uploads_prefix()))
}

/// The upload that a request got at attempt `number`, counted from 0. Names sort from the last to the first.
pub fn upload_attempt(request: Sha256, number: u64) -> ObjectKey {
    let inverted = u64::MAX - number;
    key(format!("{}{inverted:020}.json", upload_attempts(request)))
}

/// The prefix of a request's attempts.
pub fn upload_attempts(request: Sha256) -> String {
    format!("{}requests/{request}/", uploads_prefix())
}

/// Parses the key of a request's attempt and returns its number.
pub fn parse_upload_attempt(key: &str, request: Sha256) -> Option<u64> {
    let digits = key.strip_prefix(&upload_attempts(request))?.strip_suffix(".json")?;
    u64::MAX.checked_sub(digits.parse().ok()?)
}

/// The entry of an upload in the list of uploads with this content. Names sort from the newest to the oldest.
pub fn upload_of_content(
    sha256: Sha256,
    size_bytes: u64,
    created_time: AcceptedTime,
    upload_id: Uuid,
) -> ObjectKey {
    let prefix = uploads_of_content(sha256, size_bytes);
    key(format!("{prefix}{}-{upload_id}.json", inverted(created_time)))
}

/// The prefix of the uploads with this content.
pub fn uploads_of_content(sha256: Sha256, size_bytes: u64) -> String {
    format!("{}contents/{sha256}-{size_bytes}/", uploads_prefix())
}

/// Parses the key of an upload in the list of its content.
pub fn parse_upload_of_content(key: &str, sha256: Sha256, size_bytes: u64) -> Option<Uuid> {
    let name = key.strip_prefix(&uploads_of_content(sha256, size_bytes))?;
    let (_, upload_id) = name.strip_suffix(".json")?.split_once('-')?;
    upload_id.parse().ok()
}

/// The prefix of all objects of uploads.
pub fn uploads_prefix() -> String {
    format!("{SERVICE_FOLDER}/uploads/")
}

/// The prefix of all folder claims.
pub fn claims_prefix() -> String {
    format!("{SERVICE_FOLDER}/folders/")
}

/// A key that sorts before every claim of a folder with this base.
pub fn claims_start(base: &FolderBase) -> String {
    format!("{}{base}", claims_prefix())
}

/// Whether a key can be the claim of a folder with this base, or with a base that starts with it.
pub fn may_be_claim_of(key: &str, base: &FolderBase) -> bool {
    key.starts_with(&claims_start(base))
}

/// The suffix of a claimed folder, as in [`FolderName::new`]; `None` for another base.
pub fn claimed_suffix(key: &str, base: &FolderBase) -> Option<u32> {
    let rest = key.strip_prefix(&claims_start(base))?.strip_suffix(".json")?;
    if rest.is_empty() {
        return Some(1);
    }
    let digits = rest.strip_prefix('_')?;
    let suffix: u32 = digits.parse().ok().filter(|suffix| *suffix > 1)?;
    (suffix.to_string() == digits).then_some(suffix)
}

/// The index entry of a bundle. Names sort from the newest bundle to the oldest.
pub fn index_entry(time: AcceptedTime, folder: &FolderName) -> ObjectKey {
    permanent_key(format!("{}{}_{folder}", index_prefix(), inverted(time)))
}

/// The prefix of all index entries.
pub fn index_prefix() -> String {
    format!("{SERVICE_FOLDER}/index/")
}

/// A key that sorts before every index entry of this time and after those of any later time.
pub fn index_position(time: AcceptedTime) -> String {
    format!("{}{}", index_prefix(), inverted(time))
}

/// Parses an index entry's key; `None` for a foreign object.
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

/// The key with this text, which consists of an export id, a folder name or an artifact path.
#[allow(clippy::expect_used, reason = "the comment below explains why it is valid")]
fn key(text: String) -> ObjectKey {
    // Folder names and the parts of artifact paths are components of at most 255 bytes without
    // separators or control characters, and a folder's name is at most 227 bytes, so that the
    // index's 17 and the claim's 5 further bytes fit: the types guarantee this.
    ObjectKey::new(text).expect("folder names and artifact paths are safe components")
}

/// The same for an object that the service never deletes from S3, and that all who put it compare if it exists
/// (docs/adr/0031-hedged-requests.md has a table of all keys).
#[allow(clippy::expect_used, reason = "the comment above explains why it is valid")]
fn permanent_key(text: String) -> ObjectKey {
    ObjectKey::permanent(text).expect("folder names and artifact paths are safe components")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn time(text: &str) -> AcceptedTime {
        AcceptedTime::new(text.parse().unwrap())
    }

    /// A put that is sent twice may take effect late, and must not restore a deleted object.
    #[test]
    fn only_objects_that_are_never_deleted_are_permanent() {
        let (id, uuid, digest) = (ExportId::new(Uuid::nil()), Uuid::nil(), Sha256::of(b""));
        let time = time("2026-11-22T18:37:00Z");
        let folder = FolderName::new(&FolderBase::new(&time, "report.docx"), 1);
        let permanent =
            [record(id), folder_claim(&folder), manifest(&folder), index_entry(time, &folder)];
        for key in permanent {
            assert!(key.is_permanent(), "{key}");
        }
        for key in [
            journal_entry(id, digest),
            journal_end_marker(id, digest),
            journal_recipients(id, digest),
            store_identity(),
            event_claim(uuid),
            event_done(uuid),
            event_turn(uuid, 1),
            batch_report(uuid),
            job_run("job", 1),
            job_run_end("job", 1),
            job_schedule("job", time, "digest"),
            job_cursor("job", 1, 1),
            upload_record(uuid),
            upload_checkpoint(uuid, 1),
            upload_piece(uuid, 1, digest),
            upload_document(uuid),
            upload_finished(uuid),
            upload_aborted(uuid),
            upload_attempt(digest, 1),
            upload_of_content(digest, 1, time, uuid),
        ] {
            assert!(!key.is_permanent(), "{key}");
        }
    }

    #[test]
    fn claim_key_yields_the_folder_of_its_base() {
        let base = FolderBase::new(&time("2026-11-22T18:37:00Z"), "report.docx");
        for suffix in [1, 2, 10, 10_000] {
            let key = folder_claim(&FolderName::new(&base, suffix));
            assert!(key.as_str() > claims_start(&base).as_str());
            assert!(may_be_claim_of(key.as_str(), &base));
            assert_eq!(claimed_suffix(key.as_str(), &base), Some(suffix));
        }
        for other in ["_1", "_02", "_x", "s", "_2_3"] {
            let key = format!("{}{base}{other}.json", claims_prefix());
            assert_eq!(claimed_suffix(&key, &base), None, "{key}");
        }
    }

    #[test]
    fn end_marker_follows_its_entry_in_a_listing() {
        let id = |number: u128| ExportId::new(Uuid::from_u128(number));
        let digest = |byte: u8| Sha256::of(&[byte]);
        let mut keys = Vec::new();
        for number in 0..20 {
            for byte in 0..3 {
                keys.push(journal_entry(id(number), digest(byte)).to_string());
                keys.push(journal_end_marker(id(number), digest(byte)).to_string());
            }
        }
        keys.sort();
        for pair in keys.chunks(2) {
            assert!(parse_journal_entry(&pair[0]).is_some());
            assert_eq!(entry_of_end_marker(&pair[1]), Some(pair[0].as_str()));
            assert_eq!(
                (parse_journal_entry(&pair[1]), entry_of_end_marker(&pair[0])),
                (None, None)
            );
        }
    }

    #[test]
    fn index_listing_is_newest_first() {
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
    fn last_attempt_and_newest_upload_are_listed_first() {
        let sha256 = Sha256::of(b"x");
        let attempts = [0, 1, 2, 10, 1_000_000];
        let mut names: Vec<String> =
            attempts.iter().map(|number| upload_attempt(sha256, *number).to_string()).collect();
        for (name, number) in names.iter().zip(attempts) {
            assert_eq!(parse_upload_attempt(name, sha256), Some(number));
            assert_eq!(parse_upload_attempt(name, Sha256::of(b"y")), None);
        }
        names.reverse();
        assert!(names.is_sorted(), "{names:?}");

        let upload_id = Uuid::from_u128(7);
        let of = |text| upload_of_content(sha256, 1, time(text), upload_id).to_string();
        let (older, newer) = (of("2026-11-22T18:37:00Z"), of("2026-11-22T18:37:00.000001Z"));
        assert!(newer < older);
        assert_eq!(parse_upload_of_content(&older, sha256, 1), Some(upload_id));
        assert_eq!(parse_upload_of_content(&older, sha256, 2), None);
        assert_eq!(parse_upload_of_content("x", sha256, 1), None);
    }

    #[test]
    fn longest_names_fit() {
        let folder = FolderName::new(
            &FolderBase::new(&time("2026-11-22T18:37:00Z"), &"字".repeat(900)),
            10_000,
        );
        index_entry(time("2026-11-22T18:37:00Z"), &folder);
        folder_claim(&folder);
        manifest(&folder);
    }

    #[test]
    fn foreign_objects_are_not_index_entries() {
        for name in [
            "",
            "x",
            "1_a",
            "12345678901234567_a",
            "999999999999999a_a",
            "9999999999999999_",
            "9999999999999999_a/b",
            // Another program can write such an object; no folder has such a name.
            &format!("9999999999999999_{}", "x".repeat(239)),
        ] {
            assert_eq!(parse_index_entry(&format!("{}{name}", index_prefix())), None, "{name}");
        }
    }
}

//! Journal entries: writing or loading one takes no more memory than was reserved for it, whatever the
//! file's header claims.

use std::{fs, path::Path, sync::Arc};

use tara_export::export::{
    JournalLimits,
    journal::{Journal, JournalEntry, LoadError},
};
use tara_export_bundle::{
    AcceptedExport, AcceptedTime, Destination, ExportContent, ExportId, Fallback, FeedbackItem,
    FeedbackSection, FolderBase, FormatVersion, Json, JsonObject, Review, render,
};
use tara_export_digest::Sha256;
use tempfile::TempDir;
use uuid::Uuid;

use crate::allocator::{alone, peak_during, peak_of};

const MIB: u64 = 1024 * 1024;
/// A growing buffer counts together with the previous one.
const FACTOR: u64 = 2;
/// Memory for reading a folder and a header.
const OVERHEAD_BYTES: u64 = MIB;

fn accepted(review: Review) -> AcceptedExport {
    let accepted_time = AcceptedTime::new(chrono::DateTime::UNIX_EPOCH);
    let review = Review { document_name: "a.docx".into(), ..review };
    let content = ExportContent {
        review,
        documents: Vec::new(),
        destination: None,
        fallback: Fallback::Local,
    };
    AcceptedExport {
        export_id: ExportId::new(Uuid::from_u128(7)),
        content_digest: content.digest(FormatVersion::CURRENT),
        folder_base: FolderBase::new(&accepted_time, "a.docx"),
        content: Arc::new(content),
        accepted_time,
        format_version: FormatVersion::CURRENT,
        destination: Destination::S3,
        requested_by: String::new(),
        store_id: None,
        read_digests: Default::default(),
    }
}

/// An entry with this content, valid or not, correct digests and this footprint in its header.
fn entry(export: &AcceptedExport, version: u32, content: &[u8], footprint_bytes: u64) -> Vec<u8> {
    let mut header: serde_json::Value = serde_json::from_slice(&export.encode()[1]).unwrap();
    let fields = header.as_object_mut().unwrap();
    fields.insert("content_size_bytes".into(), content.len().into());
    fields.insert("body_size_bytes".into(), content.len().into());
    fields.insert("body_sha256".into(), Sha256::of(content).to_string().into());
    fields.insert("footprint_bytes".into(), footprint_bytes.into());
    let header = format!("{header}\n");
    let prefix = format!("tara-export/accepted v{version:04} {:020} ", header.len());
    let digest = Sha256::of(format!("{prefix}{header}").as_bytes());
    [format!("{prefix}{digest}\n{header}").as_bytes(), content].concat()
}

async fn journal(folder: &TempDir) -> Journal {
    let limits = JournalLimits::NONE;
    Journal::open(folder.path().to_owned(), limits).await.unwrap()
}

async fn written(folder: &Path, export: &AcceptedExport, entry: &[u8]) {
    let journal = folder.join(".tara-export/journal");
    fs::create_dir_all(&journal).unwrap();
    let name = format!("{}-{}.export", export.export_id, export.content_digest);
    fs::write(journal.join(name), entry).unwrap();
}

/// A CBOR list that repeats one element.
fn list(count: u32, element: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x9a];
    bytes.extend(count.to_be_bytes());
    bytes.extend(element.repeat(count as usize));
    bytes
}

/// A CBOR body whose review has one value under this key.
fn body(key: u8, value: &[u8]) -> Vec<u8> {
    [&[0xa2, 0x61, b'r', 0xa1, 0x61, key][..], value, b"\x61f\x65local"].concat()
}

fn hostile() -> Vec<(&'static str, u32, Vec<u8>)> {
    const COUNT: u32 = 1_000_000;
    let items = [&b"\x81\xa1\x61i"[..], &list(COUNT, &[0xa0])].concat();
    let json = |value: &str| format!(r#"{{"review":{{{value}}}}}"#).into_bytes();
    let repeated = |element: &str| vec![element; COUNT as usize].join(",");
    vec![
        ("empty items", 3, body(b'1', &items)),
        ("empty sections", 3, body(b'2', &list(COUNT, &[0xa0]))),
        ("empty texts", 3, body(b'c', &list(COUNT, &[0x60]))),
        ("empty objects", 3, body(b'a', &list(COUNT, &[0xa0]))),
        ("objects of one null", 3, body(b'h', &list(COUNT, b"\xa1\x60\xf6"))),
        ("lists of one", 3, body(b'm', &[&b"\xa1\x60"[..], &list(COUNT, b"\x81\xf6")].concat())),
        ("nested", 3, body(b'm', &[&b"\xa1\x60"[..], &vec![0x81; COUNT as usize]].concat())),
        ("a huge list", 3, body(b'c', b"\x9b\x10\0\0\0\0\0\0\0")),
        ("a huge text", 3, body(b'n', b"\x7b\x10\0\0\0\0\0\0\0")),
        ("endless lists", 3, vec![0x9f; COUNT as usize]),
        (
            "a text in pieces",
            3,
            body(b'n', &[&b"\x7f"[..], &b"\x61a".repeat(COUNT as usize)].concat()),
        ),
        (
            "empty items in JSON",
            1,
            json(&format!(
                r#""suggestions":[{{"name":"","items":[{}]}}]"#,
                repeated(r#"{"additional_fields":{}}"#)
            )),
        ),
        (
            "lists in JSON",
            1,
            json(&format!(r#""performance_metrics":{{"":[{}]}}"#, repeated("[0]"))),
        ),
        ("objects in JSON", 1, json(&format!(r#""chat_history":[{}]"#, repeated(r#"{"":0}"#)))),
        ("nested JSON", 1, json(&"\"a\":{".repeat(COUNT as usize))),
        (
            "escapes in JSON",
            1,
            json(&format!(r#""session_id":"{}""#, "\\u0001".repeat(COUNT as usize))),
        ),
    ]
}

#[test]
fn hostile_entries_load_within_their_reservation() {
    alone(async {
        let export = accepted(Review::default());
        for (case, version, content) in hostile() {
            for footprint_bytes in [0, 32 * MIB, u64::MAX] {
                let folder = tempfile::tempdir().unwrap();
                let bytes = entry(&export, version, &content, footprint_bytes);
                written(folder.path(), &export, &bytes).await;
                let size_bytes = bytes.len() as u64;
                drop(bytes);
                let journal = journal(&folder).await;
                let found = journal.find(export.export_id).await.unwrap();
                let [entry]: [JournalEntry; 1] = found.entries.try_into().unwrap();
                assert!(entry.memory_bytes >= size_bytes);
                let reserved_bytes = entry.memory_bytes.min(64 * MIB);
                let (result, peak) = peak_during(journal.load(&entry, reserved_bytes)).await;
                assert!(
                    matches!(result, Err(LoadError::OverBudget { .. } | LoadError::Damaged { .. })),
                    "{case}: {result:?}"
                );
                let bound = FACTOR * reserved_bytes + OVERHEAD_BYTES;
                assert!(peak as u64 <= bound, "{case}: {peak} bytes, {reserved_bytes} reserved");
            }
        }
    });
}

fn honest() -> Vec<(&'static str, Review)> {
    let section = |items| vec![FeedbackSection { name: "s".into(), items }];
    let object = |key: &str, value| JsonObject([(key.to_owned(), value)].into());
    let item = FeedbackItem {
        id: Some("0-1".into()),
        description: Some("Gap of 40 minutes. ".repeat(20)),
        additional_fields: object("reviewed_by", Json::String("B".into())),
        ..FeedbackItem::default()
    };
    vec![
        (
            "empty items",
            Review {
                suggestions: section(vec![FeedbackItem::default(); 100_000]),
                ..Review::default()
            },
        ),
        ("items", Review { accepted: section(vec![item; 20_000]), ..Review::default() }),
        ("logs", Review { audit_logs: vec![object("a", Json::Null); 50_000], ..Review::default() }),
        (
            "numbers",
            Review {
                performance_metrics: object("n", Json::Array(vec![Json::Bool(true); 300_000])),
                ..Review::default()
            },
        ),
        (
            "control characters",
            Review { section_names: vec!["\u{1}".repeat(2_000_000)], ..Review::default() },
        ),
    ]
}

#[test]
fn exports_are_recorded_loaded_and_rendered_within_their_footprint() {
    alone(async {
        for (case, review) in honest() {
            let export = accepted(review);
            let footprint_bytes = export.content.footprint_bytes();
            let folder = tempfile::tempdir().unwrap();
            let journal = journal(&folder).await;
            let bound = FACTOR * footprint_bytes + OVERHEAD_BYTES;
            let (recorded, peak) = peak_during(journal.record(&export)).await;
            let entry = recorded.unwrap();
            assert!(peak as u64 <= bound, "{case}: {peak} bytes to record, of {footprint_bytes}");
            assert_eq!(entry.memory_bytes, footprint_bytes, "{case}");
            let (rerecorded, peak) = peak_during(journal.record(&export)).await;
            assert!(rerecorded.is_ok());
            assert!(peak as u64 <= bound, "{case}: {peak} bytes to compare, of {footprint_bytes}");
            let (loaded, peak) = peak_during(journal.load(&entry, footprint_bytes)).await;
            assert!(peak as u64 <= bound, "{case}: {peak} bytes to load, of {footprint_bytes}");
            let loaded = loaded.unwrap();
            assert!(loaded == export, "{case}");
            let (bundle, peak) = peak_of(|| render(&loaded).unwrap());
            assert!(peak as u64 <= bound, "{case}: {peak} bytes to render, of {footprint_bytes}");
            drop(bundle);
        }
    });
}

/// Memory for an entry that a scan only counts. A growing buffer counts together with the previous one.
const COUNTED_BYTES: u64 = 20;
/// Memory for an entry whose key a scan keeps.
const KEPT_BYTES: u64 = 256;

#[test]
fn large_journal_takes_a_few_bytes_per_entry() {
    const ENTRIES: u32 = 20_000;
    alone(async {
        let folder = tempfile::tempdir().unwrap();
        let first = accepted(Review::default());
        for number in 0..ENTRIES {
            let export_id = ExportId::new(Uuid::from_u128(number.into()));
            let export = AcceptedExport { export_id, ..first.clone() };
            written(folder.path(), &export, &export.encode().concat()).await;
        }
        let entries = u64::from(ENTRIES);
        let (journal, peak) = peak_during(journal(&folder)).await;
        let bound = entries * COUNTED_BYTES + OVERHEAD_BYTES;
        assert!(peak as u64 <= bound, "{peak} bytes to open, at most {bound}");
        assert_eq!(journal.size().count, entries);
        for (limit, bytes) in [(1_000, COUNTED_BYTES), (ENTRIES as usize, KEPT_BYTES)] {
            let scanning = async {
                let mut scan = journal.scan(None, limit, Arc::new(|_, _| false)).await.unwrap();
                loop {
                    if let Some(scanned) = scan.advance().await.unwrap() {
                        return scanned;
                    }
                }
            };
            let (scanned, peak) = peak_during(scanning).await;
            assert_eq!((scanned.count, scanned.keys.len()), (entries, limit));
            let bound = entries * bytes + OVERHEAD_BYTES;
            assert!(peak as u64 <= bound, "{peak} bytes to scan for {limit}, at most {bound}");
        }
    });
}

//! Reads a bundle's metadata from the files of the review application.

use serde::Deserialize;
use serde_json::{Map, Value};
use tara_export_bundle::{AdoptedReview, ArtifactPath, FolderBase};

use super::files::{File, ReadFile};

/// Larger files are not read for metadata.
const FILE_LIMIT_BYTES: u64 = 2 * 1024 * 1024;
/// Longer values are ignored. The API has the same limit.
const VALUE_LIMIT_BYTES: usize = 2048;
/// Maximum size of all values in a manifest: three values, with up to six bytes for each escaped byte.
pub(super) const MAX_BYTES: usize = 3 * 6 * VALUE_LIMIT_BYTES;
/// Files with metadata, in order of priority.
static SOURCES: [ArtifactPath; 3] = [
    ArtifactPath::comprehensive_report(),
    ArtifactPath::activity_log(),
    ArtifactPath::audit_logs(),
];

/// Whether the file is read for metadata.
pub(super) fn is_source(file: &File) -> bool {
    SOURCES.contains(&file.path) && file.size_bytes <= FILE_LIMIT_BYTES
}

/// The head of a file. The remaining content is skipped without being held in memory.
#[derive(Default, Deserialize)]
struct Head {
    #[serde(default)]
    export_metadata: Value,
    #[serde(default)]
    export_info: Value,
}

/// The metadata from the files: each value is from the first file that has it. The default of the document's name is
/// the folder's name.
pub(super) fn review(folder: &FolderBase, files: &[ReadFile]) -> AdoptedReview {
    let heads: Vec<Map<String, Value>> = SOURCES
        .iter()
        .filter_map(|path| files.iter().find(|file| file.artifact.path == *path))
        .filter_map(|file| head(file.content.as_deref()?))
        .collect();
    let first = |key: &str| {
        let values = heads.iter().filter_map(|head| head.get(key)?.as_str());
        values.map(str::trim).find(|value| !value.is_empty() && value.len() <= VALUE_LIMIT_BYTES)
    };
    AdoptedReview {
        document_name: first("document_name").unwrap_or_else(|| folder.stem()).to_owned(),
        session_id: first("session_id").unwrap_or_default().to_owned(),
        reviewer: first("reviewer").unwrap_or_default().to_owned(),
    }
}

/// The head of a file. `None` if the file has another format.
fn head(content: &[u8]) -> Option<Map<String, Value>> {
    let head: Head = serde_json::from_slice(content).ok()?;
    match (head.export_metadata, head.export_info) {
        (Value::Object(head), _) | (_, Value::Object(head)) => Some(head),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tara_export_bundle::AdoptedBundle;
    use tara_export_digest::Sha256;

    use super::*;

    fn metadata(files: &[(&str, &str)]) -> [String; 3] {
        let files: Vec<ReadFile> = files
            .iter()
            .map(|(path, content)| ReadFile {
                artifact: AdoptedBundle::artifact(path.parse().unwrap(), 0, Sha256::of(b"")),
                content: Some(content.to_string().into()),
            })
            .collect();
        let folder = "20240229_235959_incident_report".parse().unwrap();
        let AdoptedReview { document_name, session_id, reviewer } = review(&folder, &files);
        [document_name, session_id, reviewer]
    }

    #[test]
    fn first_file_with_a_value_wins() {
        let report = r#"{"x": [1e999999], "export_metadata": {"document_name": "a b.docx", "session_id": ""}}"#;
        let report = report.replace("1e999999", "1");
        let log = r#"{"export_info": {"document_name": "other", "session_id": "s-1"}, "activity_log": []}"#;
        let audit = r#"{"export_info": {"session_id": "s-2", "reviewer": "Ada"}}"#;
        let all = [
            ("logs/audit_logs.json", audit),
            ("comprehensive_report.json", &report),
            ("logs/activity_log.json", log),
        ];
        assert_eq!(metadata(&all), ["a b.docx", "s-1", "Ada"]);
    }

    #[test]
    fn unreadable_files_have_no_metadata() {
        let long = format!(r#"{{"export_metadata": {{"document_name": "{}"}}}}"#, "x".repeat(2049));
        for report in [
            "",
            "{",
            "[]",
            "7",
            r#"{"export_metadata": "x"}"#,
            r#"{"export_metadata": {"document_name": 7}}"#,
            &long,
        ] {
            let metadata = metadata(&[("comprehensive_report.json", report)]);
            assert_eq!(metadata, ["incident_report", "", ""], "{report}");
        }
    }
}

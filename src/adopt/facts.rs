//! What the review application's own files say of a bundle.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::files::{File, ReadFile};
use crate::bundle::{AdoptedReview, ArtifactPath, FolderBase};

/// Files that are larger are not asked.
const LIMIT_BYTES: u64 = 2 * 1024 * 1024;
/// Longer values are none that the application gave; the API allows as much.
const VALUE_LIMIT_BYTES: usize = 2048;
/// Bytes that all values together have in a manifest at most: three, each byte escaped as six.
pub(super) const MOST_BYTES: usize = 3 * 6 * VALUE_LIMIT_BYTES;
/// Who is asked, in this order.
static SOURCES: [ArtifactPath; 3] = [
    ArtifactPath::comprehensive_report(),
    ArtifactPath::activity_log(),
    ArtifactPath::audit_logs(),
];

/// Whether a file is asked. `File` has its size.
pub(super) fn is_source(file: &File) -> bool {
    SOURCES.contains(&file.path) && file.size_bytes <= LIMIT_BYTES
}

/// The head of a source: what is beside it is passed over without taking memory.
#[derive(Default, Deserialize)]
struct Head {
    #[serde(default)]
    export_metadata: Value,
    #[serde(default)]
    export_info: Value,
}

/// What the files tell; the first that tells a thing is believed. The document is named as the folder is
/// where none tells its name.
pub(super) fn facts(folder: &FolderBase, files: &[ReadFile]) -> AdoptedReview {
    let heads: Vec<Map<String, Value>> = SOURCES
        .iter()
        .filter_map(|path| files.iter().find(|file| file.artifact.path == *path))
        .filter_map(|file| head(file.content.as_deref()?))
        .collect();
    let told = |key: &str| {
        let values = heads.iter().filter_map(|head| head.get(key)?.as_str());
        values.map(str::trim).find(|value| !value.is_empty() && value.len() <= VALUE_LIMIT_BYTES)
    };
    AdoptedReview {
        document_name: told("document_name").unwrap_or_else(|| folder.stem()).to_owned(),
        session_id: told("session_id").unwrap_or_default().to_owned(),
        reviewer: told("reviewer").unwrap_or_default().to_owned(),
    }
}

/// A source's head; none where the file is in no form that has one.
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
    use super::*;
    use crate::{bundle::AdoptedBundle, digest::Sha256};

    fn told(files: &[(&str, &str)]) -> [String; 3] {
        let files: Vec<ReadFile> = files
            .iter()
            .map(|(path, content)| ReadFile {
                artifact: AdoptedBundle::artifact(path.parse().unwrap(), 0, Sha256::of(b"")),
                content: Some(content.to_string().into()),
            })
            .collect();
        let folder = "20240229_235959_incident_report".parse().unwrap();
        let AdoptedReview { document_name, session_id, reviewer } = facts(&folder, &files);
        [document_name, session_id, reviewer]
    }

    #[test]
    fn the_first_file_that_tells_a_thing_is_believed() {
        let report = r#"{"x": [1e999999], "export_metadata": {"document_name": "a b.docx", "session_id": ""}}"#;
        let report = report.replace("1e999999", "1");
        let log = r#"{"export_info": {"document_name": "other", "session_id": "s-1"}, "activity_log": []}"#;
        let audit = r#"{"export_info": {"session_id": "s-2", "reviewer": "Ada"}}"#;
        let all = [
            ("logs/audit_logs.json", audit),
            ("comprehensive_report.json", &report),
            ("logs/activity_log.json", log),
        ];
        assert_eq!(told(&all), ["a b.docx", "s-1", "Ada"]);
    }

    #[test]
    fn what_can_not_be_read_tells_nothing() {
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
            let told = told(&[("comprehensive_report.json", report)]);
            assert_eq!(told, ["incident_report", "", ""], "{report}");
        }
    }
}

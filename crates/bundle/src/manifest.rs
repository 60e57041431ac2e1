//! `manifest.json`: the list of a bundle's files. It is stored last and commits the bundle.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tara_export_digest::Sha256;

use super::{
    AcceptedExport, AcceptedTime, ArtifactPath, Bundle, ExportId, FolderName, Omitted, Replacement,
};

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`Manifest::SCHEMA`].
    pub schema: String,
    /// The export of the bundle.
    pub export_id: ExportId,
    /// The bundle's folder.
    pub folder_name: FolderName,
    /// The document's name as the caller sent it.
    pub document_name: String,
    /// The review application's session id.
    pub session_id: String,
    /// Who reviewed the document.
    pub reviewer: String,
    /// The authenticated caller; empty without authentication.
    pub requested_by: String,
    /// When the export was accepted.
    pub accepted_time: AcceptedTime,
    /// How the bundle was rendered. This release may not know the number of a later one.
    /// [`Manifest::NOT_RENDERED`] if this service did not render it.
    pub format_version: u32,
    /// Whether the review application wrote the files before this service existed, and this service
    /// wrote only the manifest ([`AdoptedBundle`](super::AdoptedBundle)).
    #[serde(default, skip_serializing_if = "is_false")]
    pub adopted: bool,
    /// The digest of the request's content; of an adopted bundle, the digest of its files.
    pub content_digest: Sha256,
    /// Every other file of the folder, in path order.
    pub artifacts: Vec<ManifestArtifact>,
    /// Files of the layout that this bundle does not have.
    pub omitted: Vec<Omitted>,
    /// The values of the review that the client replaced; absent if there are none, and in format
    /// version 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replacements: Vec<Replacement>,
}

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestArtifact {
    /// Path within the bundle's folder.
    pub path: ArtifactPath,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
    /// Its media type.
    pub media_type: String,
    /// The caller's name of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
}

/// The bytes are not a manifest of this service.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    /// Not JSON, or a field is missing or invalid.
    #[error("not a manifest: {0}")]
    Malformed(#[source] serde_json::Error),
    /// Another program wrote it, or a release whose manifests this one cannot read.
    #[error("not a manifest of schema {schema}: {0:?}", schema = Manifest::SCHEMA)]
    OtherSchema(String),
    /// Two artifacts have one path.
    #[error("the manifest lists {0} twice")]
    PathTwice(ArtifactPath),
    /// A manifest cannot contain its own digest.
    #[error("the manifest lists itself")]
    ListsItself,
}

impl Manifest {
    /// Identifies a file as a manifest. Later releases may add fields under the same name.
    pub const SCHEMA: &str = "tara-export/manifest/v1";

    /// The `format_version` of bundles that this service did not render.
    pub const NOT_RENDERED: u32 = 0;

    /// The manifest of a bundle in this folder.
    pub(super) fn new(bundle: &Bundle, export: &AcceptedExport, folder_name: &FolderName) -> Self {
        let review = &export.content.review;
        let artifacts = bundle.artifacts.iter().map(|artifact| ManifestArtifact {
            path: artifact.path.clone(),
            size_bytes: artifact.size_bytes(),
            sha256: artifact.sha256,
            media_type: artifact.media_type.clone(),
            file_name: artifact.file_name.clone(),
        });
        Self {
            schema: Self::SCHEMA.to_owned(),
            export_id: export.export_id,
            folder_name: folder_name.clone(),
            document_name: review.document_name.clone(),
            session_id: review.session_id.clone(),
            reviewer: review.reviewer.clone(),
            requested_by: export.requested_by.clone(),
            accepted_time: export.accepted_time,
            format_version: export.format_version.into(),
            adopted: false,
            content_digest: export.content_digest,
            artifacts: artifacts.collect(),
            omitted: bundle.omitted.clone(),
            replacements: export.replacements().to_vec(),
        }
    }

    /// Parses a stored manifest. Accepts fields and format versions of later releases.
    ///
    /// # Errors
    /// [`InvalidManifest`] if a field that readers rely on is missing or invalid.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        #[derive(Deserialize)]
        struct Marked {
            schema: String,
        }
        let marked: Marked = serde_json::from_slice(bytes).map_err(InvalidManifest::Malformed)?;
        if marked.schema != Self::SCHEMA {
            return Err(InvalidManifest::OtherSchema(marked.schema));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(InvalidManifest::Malformed)?;
        let mut paths = HashSet::new();
        for artifact in &manifest.artifacts {
            if artifact.path == ArtifactPath::manifest() {
                return Err(InvalidManifest::ListsItself);
            }
            if !paths.insert(&artifact.path) {
                return Err(InvalidManifest::PathTwice(artifact.path.clone()));
            }
        }
        Ok(manifest)
    }

    /// Size of all artifacts in bytes, without the manifest.
    pub fn size_bytes(&self) -> u64 {
        self.artifacts.iter().fold(0, |sum, artifact| sum.saturating_add(artifact.size_bytes))
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manifest() -> Value {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        json!({
            "schema": "tara-export/manifest/v1",
            "export_id": "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e",
            "folder_name": "20261122_183700_incident_report_2",
            "document_name": "incident/report.docx",
            "session_id": "s",
            "reviewer": "",
            "requested_by": "",
            "accepted_time": "2026-11-22T18:37:00.123456Z",
            "format_version": 1,
            "content_digest": digest,
            "artifacts": [
                {"path": "a.json", "size_bytes": 0, "sha256": digest, "media_type": "application/json"},
                {"path": "b/c.docx", "size_bytes": 7, "sha256": digest, "media_type": "", "file_name": "ü:.docx"},
            ],
            "omitted": [{"path": "d", "reason": "none was sent"}],
        })
    }

    fn parse(value: &Value) -> Result<Manifest, InvalidManifest> {
        Manifest::parse(value.to_string().as_bytes())
    }

    #[test]
    fn manifests_of_later_releases_are_read() {
        let mut value = manifest();
        let current = parse(&value).unwrap();
        assert_eq!((current.artifacts.len(), current.size_bytes()), (2, 7));
        assert_eq!(current.replacements, []);
        assert_eq!(serde_json::to_value(&current).unwrap(), value);
        value["signature"] = json!({"by": "later"});
        value["artifacts"][0]["encoding"] = json!("zstd");
        assert_eq!(parse(&value).unwrap(), current);
        value["format_version"] = json!(77);
        assert_eq!(parse(&value).unwrap().format_version, 77);
    }

    #[test]
    fn replacements_are_read_and_written() {
        let mut value = manifest();
        value["replacements"] = json!([{"path": "chat_history[0].x", "reason": "NOT_FINITE"}]);
        let manifest = parse(&value).unwrap();
        assert_eq!(manifest.replacements[0].path, "chat_history[0].x");
        assert_eq!(serde_json::to_value(&manifest).unwrap(), value);
    }

    #[test]
    fn fields_that_readers_rely_on_are_checked() {
        let broken = |change: fn(&mut Value)| {
            let mut value = manifest();
            change(&mut value);
            parse(&value)
        };
        for change in [
            (|m| m["artifacts"][0]["path"] = json!("../a")) as fn(&mut Value),
            |m| m["artifacts"][0]["path"] = json!("/etc/passwd"),
            |m| m["artifacts"][0]["size_bytes"] = json!(-1),
            |m| m["artifacts"][0]["sha256"] = json!("00"),
            |m| m["folder_name"] = json!("a/b"),
            |m| m["export_id"] = json!("not an id"),
            |m| m["accepted_time"] = json!("today"),
            |m| m["artifacts"] = json!(null),
            |m| drop(m.as_object_mut().unwrap().remove("content_digest")),
        ] {
            assert!(matches!(broken(change), Err(InvalidManifest::Malformed(_))));
        }
        let twice = broken(|m| m["artifacts"][0]["path"] = json!("b/c.docx"));
        assert!(
            matches!(twice, Err(InvalidManifest::PathTwice(path)) if path.as_str() == "b/c.docx")
        );
        let itself = broken(|m| m["artifacts"][0]["path"] = json!("manifest.json"));
        assert!(matches!(itself, Err(InvalidManifest::ListsItself)));
        let other = broken(|m| m["schema"] = json!("someone/else"));
        assert!(matches!(other, Err(InvalidManifest::OtherSchema(_))));
        assert!(matches!(Manifest::parse(b"\xff"), Err(InvalidManifest::Malformed(_))));
    }
}

//! Bundles that the review application wrote before this service existed: the same folders without
//! a manifest. Adoption makes the manifest.

use tara_export_digest::Sha256;
use uuid::Uuid;

use super::{
    AcceptedTime, ArtifactPath, ExportId, FolderBase, FolderName, Manifest, ManifestArtifact,
    Omitted, artifact::document_media_type,
};

/// The namespace of the UUIDs of adopted exports.
const NAMESPACE: Uuid = Uuid::from_u128(0x6326_1c91_573a_48b8_987b_5f21_f85c_e0bf);
/// The first line of the text whose digest is the content digest of an adopted bundle.
const DIGEST_FIRST_LINE: &str = "tara-export/adopted/v1";
/// The reason for a missing file in the manifest of an adopted bundle. Manifests have this text, so it never changes.
const OMITTED_REASON: &str = "it was not there when the bundle was adopted";
/// The files that the review application wrote into every folder, in path order.
static ALWAYS_WRITTEN: [ArtifactPath; 9] = [
    ArtifactPath::comprehensive_report(),
    ArtifactPath::accepted_feedback(),
    ArtifactPath::all_ai_suggestions(),
    ArtifactPath::rejected_feedback(),
    ArtifactPath::user_custom_feedback(),
    ArtifactPath::activity_log(),
    ArtifactPath::audit_logs(),
    ArtifactPath::chat_history(),
    ArtifactPath::readable_report(),
];

/// Facts from the files of an adopted bundle. A fact is empty if the files do not contain it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdoptedReview {
    /// The document's name.
    pub document_name: String,
    /// The review application's session id.
    pub session_id: String,
    /// Who reviewed the document.
    pub reviewer: String,
}

/// A folder of the review application with all of its files.
///
/// Invariant: id, digest and manifest are a function of the folder's name and files alone, so that
/// repeated adoptions write the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedBundle {
    folder: FolderBase,
    accepted_time: AcceptedTime,
    review: AdoptedReview,
    artifacts: Vec<ManifestArtifact>,
    content_digest: Sha256,
}

impl AdoptedBundle {
    /// The bundle in this folder with these files.
    pub fn new(
        folder: FolderBase,
        accepted_time: AcceptedTime,
        review: AdoptedReview,
        mut artifacts: Vec<ManifestArtifact>,
    ) -> Self {
        artifacts.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let content_digest = content_digest(&artifacts);
        Self { folder, accepted_time, review, artifacts, content_digest }
    }

    /// Whether at least one path is that of a file of the review application.
    pub fn is_likely<'a>(mut paths: impl Iterator<Item = &'a ArtifactPath>) -> bool {
        paths.any(|path| ALWAYS_WRITTEN.contains(path))
    }

    /// A file of an adopted bundle. The extension determines its media type.
    pub fn artifact(path: ArtifactPath, size_bytes: u64, sha256: Sha256) -> ManifestArtifact {
        let media_type = document_media_type("", &path);
        ManifestArtifact { path, size_bytes, sha256, media_type, file_name: None }
    }

    /// The export's id: UUIDv5 of the folder's name and the content digest. A copy of the folder in
    /// another store has the same id; another folder of the same name has not.
    pub fn export_id(&self) -> ExportId {
        let name = format!("{}\n{}", self.folder, self.content_digest);
        ExportId::new(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    /// The digest of all files: see [`AdoptedBundle::manifest`].
    pub fn content_digest(&self) -> Sha256 {
        self.content_digest
    }

    /// The time in the folder's name.
    pub fn accepted_time(&self) -> AcceptedTime {
        self.accepted_time
    }

    /// The folder's name as a base.
    pub fn folder_base(&self) -> &FolderBase {
        &self.folder
    }

    /// The folder's name.
    pub fn folder(&self) -> FolderName {
        FolderName::new(&self.folder, 1)
    }

    /// The manifest with `adopted: true`. Its `format_version` is [`Manifest::NOT_RENDERED`]; its
    /// `content_digest` is the SHA-256 of the line `tara-export/adopted/v1` and a line
    /// `<sha256> <size_bytes> <path>` for each file in path order, each with a line feed.
    pub fn manifest(&self) -> Manifest {
        let is_present = |path: &ArtifactPath| self.artifacts.iter().any(|a| a.path == *path);
        let omitted = ALWAYS_WRITTEN
            .iter()
            .filter(|path| !is_present(path))
            .map(|path| Omitted { path: path.to_string(), reason: OMITTED_REASON.to_owned() });
        Manifest {
            schema: Manifest::SCHEMA.to_owned(),
            export_id: self.export_id(),
            folder_name: self.folder(),
            document_name: self.review.document_name.clone(),
            session_id: self.review.session_id.clone(),
            reviewer: self.review.reviewer.clone(),
            requested_by: String::new(),
            accepted_time: self.accepted_time,
            format_version: Manifest::NOT_RENDERED,
            adopted: true,
            content_digest: self.content_digest,
            artifacts: self.artifacts.clone(),
            omitted: omitted.collect(),
            replacements: Vec::new(),
        }
    }
}

fn content_digest(artifacts: &[ManifestArtifact]) -> Sha256 {
    let mut text = format!("{DIGEST_FIRST_LINE}\n");
    for ManifestArtifact { path, size_bytes, sha256, .. } in artifacts {
        // Unambiguous: a path contains no line break and ends its line.
        text.push_str(&format!("{sha256} {size_bytes} {path}\n"));
    }
    Sha256::of(text.as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::to_json_pretty;

    fn bundle(folder: &str, files: &[(&str, &str)]) -> AdoptedBundle {
        let folder: FolderBase = folder.parse().unwrap();
        let files = files.iter().map(|(path, content)| {
            let content = content.as_bytes();
            AdoptedBundle::artifact(
                path.parse().unwrap(),
                content.len() as u64,
                Sha256::of(content),
            )
        });
        let time = folder.time().unwrap();
        AdoptedBundle::new(folder, time, AdoptedReview::default(), files.collect())
    }

    const FOLDER: &str = "20240229_235959_incident_report";
    const FILES: [(&str, &str); 3] = [
        ("readable_report.txt", "report"),
        ("comprehensive_report.json", "{}"),
        ("documents/before x.docx", ""),
    ];

    #[test]
    fn manifest_bytes_are_pinned() {
        let manifest = to_json_pretty(&bundle(FOLDER, &FILES).manifest());
        let text = String::from_utf8(manifest).unwrap();
        let (start, rest) = text.split_once("  \"artifacts\"").unwrap();
        // Computed with Python's uuid.uuid5 and hashlib.
        assert_eq!(
            start,
            r#"{
  "schema": "tara-export/manifest/v1",
  "export_id": "eb0652b7-5097-5a12-9067-2671884de880",
  "folder_name": "20240229_235959_incident_report",
  "document_name": "",
  "session_id": "",
  "reviewer": "",
  "requested_by": "",
  "accepted_time": "2024-02-29T23:59:59.000000Z",
  "format_version": 0,
  "adopted": true,
  "content_digest": "7d922cb758454c42fb768454275591fc6bc405c17ae3d8c376b537beb1859aa0",
"#
        );
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        let paths: Vec<&str> = manifest.artifacts.iter().map(|a| a.path.as_str()).collect();
        let sorted =
            ["comprehensive_report.json", "documents/before x.docx", "readable_report.txt"];
        assert_eq!(paths, sorted);
        assert_eq!(manifest.omitted.len(), 7);
        assert!(rest.contains("\"feedback/accepted_feedback.json\""));
    }

    #[test]
    fn export_id_depends_on_name_and_content_but_not_on_order() {
        let one = bundle(FOLDER, &FILES);
        let [a, b, c] = FILES;
        assert_eq!(bundle(FOLDER, &[c, a, b]), one);
        let others = [
            bundle("20240229_235958_incident_report", &FILES),
            bundle(FOLDER, &[a, b]),
            bundle(FOLDER, &[a, b, ("documents/before x.docx", "x")]),
            bundle(FOLDER, &[a, b, ("documents/before y.docx", "")]),
        ];
        for other in others {
            assert_ne!(other.export_id(), one.export_id(), "{other:?}");
        }
    }

    #[test]
    fn folder_without_files_of_the_application_is_not_a_bundle() {
        let path = |text: &str| text.parse::<ArtifactPath>().unwrap();
        let files = [path("a.txt"), path("documents/before_a.docx")];
        assert!(!AdoptedBundle::is_likely(files.iter()));
        assert!(AdoptedBundle::is_likely([path("logs/audit_logs.json")].iter()));
    }
}

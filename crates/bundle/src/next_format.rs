//! A format version after the current one, for tests of upgrades. Its bytes, its set of artifacts and
//! its digests differ from those of the current version.

use tara_export_digest::Sha256;

use super::{Artifact, ArtifactPath, Bundle};

/// A digest of the same content that differs from the current one.
pub(super) fn digest(encoded: &[u8]) -> Sha256 {
    Sha256::of(&[b"next ", encoded].concat())
}

/// Changes the bytes of one artifact and adds another.
pub(super) fn change(mut bundle: Bundle) -> Bundle {
    for artifact in &mut bundle.artifacts {
        if artifact.path.as_str() == "readable_report.txt" {
            let bytes = [
                &b"NEXT FORMAT\n"[..],
                artifact.content.inline().map_or(&[][..], |bytes| &bytes[..]),
            ]
            .concat();
            *artifact = Artifact::rendered(artifact.path.clone(), bytes);
        }
    }
    if let Ok(path) = "logs/next.txt".parse::<ArtifactPath>() {
        bundle.artifacts.push(Artifact::rendered(path, b"next\n".to_vec()));
    }
    bundle.artifacts.sort_by(|one, other| one.path.cmp(&other.path));
    bundle
}

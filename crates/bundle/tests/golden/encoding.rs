//! The journal's encoding: every release decodes the files in `tests/golden/encoding`. Earlier releases wrote
//! versions 1 to 3.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use tara_export_bundle::{
    AcceptedExport, Content, Document, DocumentKind, FormatVersion, Reference,
    encoding::{EncodedHeader, header_end},
};
use tara_export_digest::{Crc64Nvme, Sha256};
use uuid::Uuid;

use crate::{cases, golden};

/// An export whose documents are stored elsewhere: one in each kind of location.
fn with_documents_elsewhere(version: FormatVersion) -> AcceptedExport {
    let crc64nvme: Crc64Nvme = "AAECAwQFBgc=".parse().unwrap();
    let locations = [
        Reference::Upload {
            upload_id: Uuid::from_u128(0x6f1c_7a52_3b0e_4c59_9d7e_0b1f_2a3c_4d5f),
            e_tag: "\"9b2cf535f27731c974343645a3985328-2\"".into(),
            crc64nvme,
        },
        Reference::Attachment { kind: DocumentKind::After, crc64nvme },
        Reference::Object {
            bucket: "own-documents".into(),
            key: "guidelines/house rules №4.pdf".into(),
            version_id: Some("3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY".into()),
            e_tag: "\"d41d8cd98f00b204e9800998ecf8427e\"".into(),
            crc64nvme: None,
        },
    ];
    let kinds = [DocumentKind::Before, DocumentKind::After, DocumentKind::Guidelines];
    let documents = kinds.into_iter().zip(locations).map(|(kind, reference)| Document {
        kind,
        file_name: "a document".into(),
        media_type: "application/pdf".into(),
        // The digest of an object is unknown until it is read.
        sha256: (kind != DocumentKind::Guidelines).then(|| Sha256::of(b"its content")),
        content: Content::Referenced { size_bytes: 6_000_000_000, reference },
    });
    let all = cases::all(version);
    let (_, unicode) = all.iter().find(|(case, _)| *case == "unicode").unwrap();
    cases::accepted(unicode.content.review.clone(), documents.collect(), version)
}

#[test]
fn encodings_have_the_bytes_of_the_current_version() {
    for (case, export) in all(FormatVersion::CURRENT) {
        let file = file("v4", case);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, export.encode().concat()).unwrap();
        }
        let bytes = Bytes::from(fs::read(file).unwrap());
        let encoded = export.encode().concat();
        // The header has the footprint, whose estimate may change with a release.
        assert!(without_header(&encoded) == without_header(&bytes), "{case}");
        check("v4", case, &export);
    }
}

#[test]
fn entries_of_earlier_releases_are_decoded() {
    for (case, export) in all(FormatVersion::V1) {
        let version = if case == "documents_elsewhere" { "v2" } else { "v1" };
        check(version, case, &export);
        check("v3", case, &export);
    }
}

fn all(version: FormatVersion) -> Vec<(&'static str, AcceptedExport)> {
    let chosen = ["typical", "no_suggestions", "unicode", "replacements"];
    let cases = cases::all(version).into_iter().filter(|(case, _)| chosen.contains(case));
    cases.chain([("documents_elsewhere", with_documents_elsewhere(version))]).collect()
}

fn file(version: &str, case: &str) -> PathBuf {
    golden("encoding").join(version).join(format!("{case}.export"))
}

fn check(version: &str, case: &str, export: &AcceptedExport) {
    let bytes = Bytes::from(fs::read(file(version, case)).unwrap());
    assert_eq!(AcceptedExport::decode(bytes.clone()).as_ref(), Ok(export), "{version}/{case}");
    let encoded = EncodedHeader::decode(&bytes).unwrap();
    assert_eq!(encoded.header, export.header(), "{version}/{case}");
    assert!(encoded.memory_bytes >= bytes.len() as u64, "{version}/{case}");
}

fn without_header(encoding: &[u8]) -> &[u8] {
    &encoding[usize::try_from(header_end(encoding).unwrap()).unwrap()..]
}

//! Accepted exports as the journal keeps them: every release reads what `tests/golden/encoding` has.
//!
//! Versions 1 and 2 were written by earlier releases. `UPDATE_GOLDEN=1 cargo test --test
//! encoding_golden` writes the files of version 3 again. A change to a file that a release has
//! written is a new version of the encoding, never an update.

#![allow(clippy::unwrap_used)]

#[path = "golden/cases.rs"]
mod cases;
#[path = "golden/session.rs"]
#[allow(dead_code, reason = "whole sessions are loaded by the other golden test")]
mod session;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tara_export::{
    bundle::{
        AcceptedExport, Content, Document, DocumentKind, Reference,
        encoding::{EncodedHeader, header_end},
    },
    digest::{Crc64Nvme, Sha256},
};
use uuid::Uuid;

/// An export whose documents lie elsewhere: in every place there is.
fn with_documents_elsewhere() -> AcceptedExport {
    let crc64nvme: Crc64Nvme = "AAECAwQFBgc=".parse().unwrap();
    let places = [
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
    let documents = kinds.into_iter().zip(places).map(|(kind, reference)| Document {
        kind,
        file_name: "a document".into(),
        media_type: "application/pdf".into(),
        // Of an object that nobody has read yet, nothing is known.
        sha256: (kind != DocumentKind::Guidelines).then(|| Sha256::of(b"its content")),
        content: Content::Referenced { size_bytes: 6_000_000_000, reference },
    });
    let all = cases::all();
    let (_, unicode) = all.iter().find(|(case, _)| *case == "unicode").unwrap();
    cases::accepted(unicode.content.review.clone(), documents.collect())
}

#[test]
fn accepted_exports_are_written_as_they_always_were() {
    for (case, export) in all() {
        let file = file("v3", case);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, export.encode().concat()).unwrap();
        }
        let bytes = Bytes::from(fs::read(file).unwrap());
        let encoded = export.encode().concat();
        // A release may estimate the footprint in another way.
        assert!(without_header(&encoded) == without_header(&bytes), "{case}");
        check("v3", case, &export);
    }
}

#[test]
fn entries_of_earlier_releases_are_read() {
    for (case, export) in all() {
        let version = if case == "documents_elsewhere" { "v2" } else { "v1" };
        check(version, case, &export);
    }
}

fn all() -> Vec<(&'static str, AcceptedExport)> {
    let chosen = ["typical", "no_suggestions", "unicode"];
    let cases = cases::all().into_iter().filter(|(case, _)| chosen.contains(case));
    cases.chain([("documents_elsewhere", with_documents_elsewhere())]).collect()
}

fn file(version: &str, case: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoding");
    folder.join(version).join(format!("{case}.export"))
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

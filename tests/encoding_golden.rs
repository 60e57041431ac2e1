//! Accepted exports as the journal keeps them: what stands in `tests/golden/encoding` was written by
//! the first release, and every later one reads it.
//!
//! `UPDATE_GOLDEN=1 cargo test --test encoding_golden` writes the files anew. A change to one that a
//! release has written is a new version of the encoding, never an update.

#![allow(clippy::unwrap_used)]

#[path = "golden/cases.rs"]
mod cases;
#[path = "golden/session.rs"]
#[allow(dead_code, reason = "whole sessions are loaded by the other golden test")]
mod session;

use std::{fs, path::Path};

use bytes::Bytes;
use tara_export::{
    bundle::{AcceptedExport, Content, Document, DocumentKind, Reference, encoding::EncodedHeader},
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
fn accepted_exports_are_written_and_read_as_they_have_always_been() {
    let chosen = ["typical", "no_suggestions", "unicode"];
    for (case, export) in cases::all().into_iter().filter(|(case, _)| chosen.contains(case)) {
        check(&format!("v1/{case}"), &export);
    }
    check("v2/documents_elsewhere", &with_documents_elsewhere());
}

fn check(case: &str, export: &AcceptedExport) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoding");
    let file = folder.join(format!("{case}.export"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, export.encode().concat()).unwrap();
    }
    let bytes = Bytes::from(fs::read(file).unwrap());
    assert_eq!(AcceptedExport::decode(bytes.clone()).as_ref(), Ok(export), "{case}");
    assert_eq!(EncodedHeader::decode(&bytes).unwrap().header, export.header(), "{case}");
    assert!(export.encode().concat() == bytes, "{case} is written in another way");
}

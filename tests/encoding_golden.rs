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
use tara_export::bundle::{AcceptedExport, encoding::EncodedHeader};

#[test]
fn accepted_exports_are_written_and_read_as_they_have_always_been() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoding/v1");
    let chosen = ["typical", "no_suggestions", "unicode"];
    for (case, export) in cases::all().into_iter().filter(|(case, _)| chosen.contains(case)) {
        let file = folder.join(format!("{case}.export"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, export.encode().concat()).unwrap();
        }
        let bytes = Bytes::from(fs::read(file).unwrap());
        assert_eq!(AcceptedExport::decode(bytes.clone()).as_ref(), Ok(&export), "{case}");
        assert_eq!(EncodedHeader::decode(&bytes).unwrap().header, export.header(), "{case}");
        assert!(export.encode().concat() == bytes, "{case} is written in another way");
    }
}

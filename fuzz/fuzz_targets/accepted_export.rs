//! The journal's encoding: a written export is read back unchanged, damaged bytes are refused, and
//! invalid bytes with correct digests cause an error and nothing else.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::{
    arbitrary::{Arbitrary, Unstructured},
    fuzz_target,
};
use tara_export_bundle::{AcceptedExport, UndecodableExport, encoding::header_end};
use tara_export_digest::Sha256;
use tara_export_fuzz::accepted_export;

fuzz_target!(|data: &[u8]| {
    if let Ok(export) = AcceptedExport::decode(Bytes::copy_from_slice(data)) {
        check_stable(&export);
    }
    decode_redigested(data);
    let mut input = Unstructured::new(data);
    let Ok((position, change)) = <(u32, u8)>::arbitrary(&mut input) else { return };
    if let Ok(export) = accepted_export(&mut input) {
        check_stable(&export);
        check_damaged(&export.encode().concat(), position as usize, change);
    }
});

/// Checks that an export is read back unchanged and encoded to the same bytes again.
fn check_stable(export: &AcceptedExport) {
    let written = export.encode().concat();
    let read = AcceptedExport::decode(written.clone().into()).expect("this release wrote it");
    assert_eq!(&read, export);
    assert!(read.encode().concat() == written, "the same export has other bytes");
}

/// Checks that a changed byte or a missing end is damage: never another export, never one of a
/// later release.
fn check_damaged(written: &[u8], position: usize, change: u8) {
    let position = position % written.len();
    let mut damaged = written.to_vec();
    damaged[position] ^= change.max(1);
    for damaged in [damaged, written[..position].to_vec()] {
        let result = AcceptedExport::decode(damaged.into());
        assert!(matches!(result, Err(UndecodableExport::Damaged { .. })), "{result:?}");
    }
}

/// Decodes bytes that no release wrote, with correct digests and sizes, so that the parser is
/// reached. The input is a header's JSON, a line break, and a body.
fn decode_redigested(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, body) = data.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let mut header = match serde_json::from_slice(header) {
        Ok(serde_json::Value::Object(header)) => header,
        _ => return,
    };
    header.insert("body_size_bytes".to_owned(), body.len().into());
    header.insert("body_sha256".to_owned(), Sha256::of(body).to_string().into());
    let header = format!("{}\n", serde_json::Value::Object(header));
    for version in [1, 2, 3] {
        let prefix = format!("tara-export/accepted v{version:04} {:020} ", header.len());
        let digest = Sha256::of(format!("{prefix}{header}").as_bytes());
        let mut bytes = format!("{prefix}{digest}\n{header}").into_bytes();
        assert_eq!(header_end(&bytes), Ok(bytes.len() as u64));
        bytes.extend_from_slice(body);
        if let Ok(export) = AcceptedExport::decode(bytes.into()) {
            check_stable(&export);
        }
    }
}

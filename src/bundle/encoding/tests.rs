#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    bundle::{FeedbackItem, FeedbackSection, FiniteNumber, Json, JsonObject, Review, arbitrary},
    digest::Sha256,
};

fn whole(export: &AcceptedExport) -> Vec<u8> {
    export.encode().concat()
}

fn decode(bytes: Vec<u8>) -> Result<AcceptedExport, UndecodableExport> {
    AcceptedExport::decode(Bytes::from(bytes))
}

/// An export with a value in every corner, and small.
fn small() -> AcceptedExport {
    use crate::bundle::{
        AcceptedTime, Destination, Document, DocumentKind, ExportContent, ExportId, Fallback,
        FolderBase, FormatVersion,
    };

    let item = FeedbackItem {
        id: Some("1".into()),
        confidence: Some(-0.0),
        additional_fields: JsonObject([("é".to_owned(), Json::Null)].into()),
        ..FeedbackItem::default()
    };
    let content = ExportContent {
        review: Review {
            document_name: "a.docx".into(),
            suggestions: vec![FeedbackSection { name: "s".into(), items: vec![item] }],
            ..Review::default()
        },
        documents: vec![Document::inline(
            DocumentKind::Before,
            "b.docx".into(),
            String::new(),
            Bytes::from_static(b"abc"),
        )],
        destination: None,
        fallback: Fallback::None,
    };
    let accepted_time = AcceptedTime::new("2026-11-22T18:37:00.123456Z".parse().unwrap());
    AcceptedExport {
        export_id: ExportId::new(uuid::Uuid::from_u128(7)),
        content_digest: content.digest(FormatVersion::V1),
        folder_base: FolderBase::new(&accepted_time, "a.docx"),
        content: content.into(),
        accepted_time,
        format_version: FormatVersion::V1,
        destination: Destination::S3,
        requested_by: "review-application".into(),
        read_digests: Default::default(),
    }
}

/// The first two lines of an export's encoding whose body has this many bytes, any of them.
pub(crate) fn head(version: u32, export: AcceptedHeader, body_size_bytes: u64) -> Vec<u8> {
    let body_sha256 = Sha256::of(b"");
    let export = export.into();
    let header = HeaderV1 { export, content_size_bytes: 0, body_size_bytes, body_sha256 };
    let mut header = to_json_compact(&header);
    header.push(b'\n');
    [frame::encode(version, &header), header].concat()
}

/// The encoding with this text of its header exchanged, and right digests.
fn with_header(export: &AcceptedExport, version: u32, from: &str, to: &str) -> Vec<u8> {
    let pieces = export.encode();
    let header = String::from_utf8(pieces[1].to_vec()).unwrap();
    assert!(header.contains(from), "{header}");
    let header = header.replace(from, to).into_bytes();
    let mut bytes = frame::encode(version, &header);
    bytes.extend(header);
    bytes.extend(pieces[2..].concat());
    bytes
}

fn is_damaged(result: &Result<AcceptedExport, UndecodableExport>) -> bool {
    matches!(result, Err(UndecodableExport::Damaged { .. }))
}

proptest! {
    #[test]
    fn exports_come_back_whole(export in arbitrary::accepted_export()) {
        let bytes = whole(&export);
        let encoded = EncodedHeader::decode(&bytes).unwrap();
        prop_assert_eq!(&encoded.header, &export.header());
        prop_assert_eq!(encoded.size_bytes, bytes.len() as u64);
        let decoded = decode(bytes.clone()).unwrap();
        prop_assert_eq!(&decoded, &export);
        prop_assert_eq!(whole(&decoded), bytes);
    }

    #[test]
    fn any_bytes_are_refused_or_not(bytes: Vec<u8>, text in "tara-export/accepted v0001 [0-9]{0,20}[ -~]{0,90}\n?") {
        prop_assert!(is_damaged(&decode(bytes)));
        prop_assert!(is_damaged(&decode(text.into_bytes())));
    }
}

#[test]
fn the_first_bytes_tell_the_header() {
    let export = small();
    let bytes = whole(&export);
    let end = usize::try_from(header_end(&bytes[..FRAME_BYTES]).unwrap()).unwrap();
    assert!(bytes[..end].ends_with(b"}\n"));
    let encoded = EncodedHeader::decode(&bytes[..end]).unwrap();
    assert_eq!((encoded.header, encoded.size_bytes), (export.header(), bytes.len() as u64));
    assert!(EncodedHeader::decode(&bytes[..end - 1]).is_err());
    assert!(header_end(&bytes[..FRAME_BYTES - 1]).is_err());
}

#[test]
fn every_changed_byte_is_found() {
    let bytes = whole(&small());
    assert_eq!(decode(bytes.clone()), Ok(small()));
    for place in 0..bytes.len() {
        // A low bit (another digit), the bit between capitals and small letters, and all of them.
        for bits in [0x01, 0x20, 0xff] {
            let mut changed = bytes.clone();
            changed[place] ^= bits;
            let result = decode(changed);
            assert!(is_damaged(&result), "byte {place} ^ {bits:#x}: {result:?}");
        }
    }
}

#[test]
fn a_missing_or_added_end_is_found() {
    let bytes = whole(&small());
    for length in 0..bytes.len() {
        assert!(is_damaged(&decode(bytes[..length].to_vec())), "{length} bytes");
    }
    for more in [&b"\n"[..], b"\0", &bytes] {
        assert!(is_damaged(&decode([&bytes[..], more].concat())));
    }
}

#[test]
fn a_later_release_s_encoding_is_not_damage() {
    let later = with_header(&small(), 3, "{", "{\"more\":[],");
    let expected = UndecodableExport::LaterRelease { what: "encoding version", version: 3 };
    assert_eq!(EncodedHeader::decode(&later), Err(expected.clone()));
    assert_eq!(decode(later), Err(expected));
    // Its other fields may have values that this release does not know either.
    let later = with_header(
        &small(),
        1,
        r#""format_version":1,"destination":"s3""#,
        r#""format_version":2,"destination":"tape""#,
    );
    let expected = UndecodableExport::LaterRelease { what: "format version", version: 2 };
    assert_eq!(decode(later), Err(expected));
}

#[test]
fn a_header_that_is_not_its_content_s_is_damage() {
    let digest = small().content_digest.to_string();
    let other = Sha256::of(b"other").to_string();
    for (from, to) in [
        (digest.as_str(), other.as_str()),
        (r#""document_name":"a.docx""#, r#""document_name":"b.docx""#),
        (r#""fallback":"none""#, r#""fallback":"local""#),
        (r#""body_size_bytes":"#, r#""body_size_bytes":1"#),
        (r#""content_size_bytes":"#, r#""content_size_bytes":1"#),
        (r#""destination":"s3""#, r#""destination":"tape""#),
        (r#""format_version":1"#, r#""format_version":-1"#),
    ] {
        let result = decode(with_header(&small(), 1, from, to));
        assert!(is_damaged(&result), "{to}: {result:?}");
    }
}

#[test]
fn minus_zero_stays_minus_zero() {
    let mut export = small();
    let minus_zero = Json::Number(FiniteNumber::new(-0.0).unwrap());
    let content = Arc::make_mut(&mut export.content);
    content.review.performance_metrics = JsonObject([("n".to_owned(), minus_zero)].into());
    export.content_digest = content.digest(export.format_version);
    // Zeros are equal; the digest of what was written tells them apart.
    let decoded = decode(whole(&export)).unwrap();
    assert_eq!(whole(&decoded), whole(&export));
    let confidence = decoded.content.review.suggestions[0].items[0].confidence.unwrap();
    assert!(confidence.is_sign_negative());
}

#[test]
fn the_deepest_free_fields_that_can_come_are_read() {
    let mut value = Json::Null;
    for _ in 0..100 {
        value = Json::Array(vec![value]);
    }
    let mut export = small();
    let content = Arc::make_mut(&mut export.content);
    content.review.suggestions[0].items[0].additional_fields =
        JsonObject([("deep".to_owned(), value)].into());
    export.content_digest = content.digest(export.format_version);
    assert_eq!(decode(whole(&export)), Ok(export));
}

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use tara_export_digest::Sha256;

use super::*;
use crate::{
    FeedbackItem, FeedbackSection, FiniteNumber, Json, JsonObject, Replacement, Review, arbitrary,
};

fn encode(export: &AcceptedExport) -> Vec<u8> {
    export.encode().concat()
}

fn decode(bytes: Vec<u8>) -> Result<AcceptedExport, UndecodableExport> {
    AcceptedExport::decode(Bytes::from(bytes))
}

/// A small export with all kinds of values.
fn small() -> AcceptedExport {
    use crate::{
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
            replacements: vec![Replacement { path: "a".into(), reason: "b".into() }],
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
        content_digest: content.digest(FormatVersion::CURRENT),
        folder_base: FolderBase::new(&accepted_time, "a.docx"),
        content: content.into(),
        accepted_time,
        format_version: FormatVersion::CURRENT,
        destination: Destination::S3,
        requested_by: "review-application".into(),
        store_id: None,
        read_digests: Default::default(),
    }
}

/// The encoding with a replaced text in its header and right digests.
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
    fn exports_round_trip(export in arbitrary::accepted_export()) {
        let bytes = encode(&export);
        let encoded = EncodedHeader::decode(&bytes).unwrap();
        prop_assert_eq!(&encoded.header, &export.header());
        prop_assert_eq!(encoded.size_bytes, bytes.len() as u64);
        let decoded = decode(bytes.clone()).unwrap();
        prop_assert_eq!(&decoded, &export);
        prop_assert_eq!(encode(&decoded), bytes);
    }

    #[test]
    fn arbitrary_bytes_are_damaged(bytes: Vec<u8>, text in "tara-export/accepted v0001 [0-9]{0,20}[ -~]{0,90}\n?") {
        prop_assert!(is_damaged(&decode(bytes)));
        prop_assert!(is_damaged(&decode(text.into_bytes())));
    }
}

#[test]
fn header_is_decoded_from_the_first_bytes() {
    let export = small();
    let bytes = encode(&export);
    let end = usize::try_from(header_end(&bytes[..FRAME_BYTES]).unwrap()).unwrap();
    assert!(bytes[..end].ends_with(b"}\n"));
    let encoded = EncodedHeader::decode(&bytes[..end]).unwrap();
    assert_eq!((encoded.header, encoded.size_bytes), (export.header(), bytes.len() as u64));
    assert!(EncodedHeader::decode(&bytes[..end - 1]).is_err());
    assert!(header_end(&bytes[..FRAME_BYTES - 1]).is_err());
}

#[test]
fn every_changed_byte_is_detected() {
    let bytes = encode(&small());
    assert_eq!(decode(bytes.clone()), Ok(small()));
    for index in 0..bytes.len() {
        // The lowest bit (another digit), the bit that changes case, and all bits.
        for bits in [0x01, 0x20, 0xff] {
            let mut changed = bytes.clone();
            changed[index] ^= bits;
            let result = decode(changed);
            assert!(is_damaged(&result), "byte {index} ^ {bits:#x}: {result:?}");
        }
    }
}

#[test]
fn truncation_and_appended_bytes_are_detected() {
    let bytes = encode(&small());
    for length in 0..bytes.len() {
        assert!(is_damaged(&decode(bytes[..length].to_vec())), "{length} bytes");
    }
    for appended in [&b"\n"[..], b"\0", &bytes] {
        assert!(is_damaged(&decode([&bytes[..], appended].concat())));
    }
}

#[test]
fn encoding_of_a_later_release_is_not_damaged() {
    let later = with_header(&small(), 5, "{", "{\"more\":[],");
    let expected = UndecodableExport::LaterRelease { what: "encoding version", version: 5 };
    assert_eq!(EncodedHeader::decode(&later), Err(expected.clone()));
    assert_eq!(decode(later), Err(expected));
    // This release need not know the values of its other fields.
    let later = with_header(
        &small(),
        4,
        r#""format_version":2,"destination":"s3""#,
        r#""format_version":9,"destination":"tape""#,
    );
    let expected = UndecodableExport::LaterRelease { what: "format version", version: 9 };
    assert_eq!(decode(later), Err(expected));
}

#[test]
fn header_that_differs_from_its_content_is_damaged() {
    let digest = small().content_digest.to_string();
    let other = Sha256::of(b"other").to_string();
    for (from, to) in [
        (digest.as_str(), other.as_str()),
        (r#""document_name":"a.docx""#, r#""document_name":"b.docx""#),
        (r#""fallback":"none""#, r#""fallback":"local""#),
        (r#""body_size_bytes":"#, r#""body_size_bytes":1"#),
        (r#""content_size_bytes":"#, r#""content_size_bytes":1"#),
        (r#""destination":"s3""#, r#""destination":"tape""#),
        (r#""format_version":2"#, r#""format_version":-1"#),
    ] {
        let result = decode(with_header(&small(), 4, from, to));
        assert!(is_damaged(&result), "{to}: {result:?}");
    }
}

#[test]
fn minus_zero_round_trips() {
    let mut export = small();
    let minus_zero = Json::Number(FiniteNumber::new(-0.0).unwrap());
    let content = Arc::make_mut(&mut export.content);
    content.review.performance_metrics = JsonObject([("n".to_owned(), minus_zero)].into());
    export.content_digest = content.digest(export.format_version);
    // Both zeros are equal, but have different encodings.
    let decoded = decode(encode(&export)).unwrap();
    assert_eq!(encode(&decoded), encode(&export));
    let confidence = decoded.content.review.suggestions[0].items[0].confidence.unwrap();
    assert!(confidence.is_sign_negative());
}

#[test]
fn deepest_free_fields_round_trip() {
    let mut value = Json::Null;
    for _ in 0..100 {
        value = Json::Array(vec![value]);
    }
    let mut export = small();
    let content = Arc::make_mut(&mut export.content);
    content.review.suggestions[0].items[0].additional_fields =
        JsonObject([("deep".to_owned(), value)].into());
    export.content_digest = content.digest(export.format_version);
    assert_eq!(decode(encode(&export)), Ok(export));
}

fn with_review(review: Review) -> AcceptedExport {
    let mut export = small();
    let content = Arc::make_mut(&mut export.content);
    content.review = Review { document_name: "a.docx".into(), ..review };
    export.content_digest = content.digest(export.format_version);
    export
}

fn with_items(items: Vec<FeedbackItem>) -> AcceptedExport {
    let suggestions = vec![FeedbackSection { name: "s".into(), items }];
    with_review(Review { suggestions, ..Review::default() })
}

#[test]
fn encoding_is_about_as_large_as_its_request() {
    let constant_bytes = 2_000;
    let object = |key: &str, value| JsonObject([(key.to_owned(), value)].into());
    // Size on the wire: a tag and a length for each value.
    for (case, wire_bytes, export) in [
        ("empty items", 2 * 10_000, with_items(vec![FeedbackItem::default(); 10_000])),
        (
            "empty texts",
            4 * 10_000,
            with_items(vec![
                FeedbackItem { id: Some(String::new()), ..Default::default() };
                10_000
            ]),
        ),
        (
            "control characters",
            100_000,
            with_review(Review {
                section_names: vec!["\u{1}".repeat(100_000)],
                ..Default::default()
            }),
        ),
        (
            "empty objects",
            2 * 10_000,
            with_review(Review {
                activity_log: vec![JsonObject::default(); 10_000],
                ..Default::default()
            }),
        ),
        (
            "null",
            10 * 10_000,
            with_review(Review {
                chat_history: vec![object("", Json::Null); 10_000],
                ..Default::default()
            }),
        ),
        (
            "empty lists",
            4 * 10_000,
            with_review(Review {
                audit_logs: vec![object("l", Json::Array(vec![Json::Array(vec![]); 10_000]))],
                ..Default::default()
            }),
        ),
        (
            "numbers",
            11 * 10_000,
            with_items(vec![FeedbackItem {
                additional_fields: object(
                    "n",
                    Json::Array(vec![Json::Number(FiniteNumber::new(-1.2e-300).unwrap()); 10_000]),
                ),
                ..Default::default()
            }]),
        ),
        (
            "hawkeye_refs",
            10_000,
            with_items(vec![FeedbackItem { hawkeye_refs: vec![1; 10_000], ..Default::default() }]),
        ),
        (
            "questions",
            2 * 10_000,
            with_items(vec![FeedbackItem {
                questions: vec![String::new(); 10_000],
                ..Default::default()
            }]),
        ),
    ] {
        let encoding = encode(&export);
        let size_bytes = encoding.len();
        assert!(
            size_bytes <= wire_bytes + constant_bytes,
            "{case}: {size_bytes} for {wire_bytes} bytes"
        );
        assert_eq!(decode(encoding), Ok(export), "{case}");
    }
}

#[test]
fn decoding_stays_within_its_budget() {
    let export = with_items(vec![FeedbackItem::default(); 10_000]);
    let bytes = Bytes::from(encode(&export));
    let memory_bytes = EncodedHeader::decode(&bytes).unwrap().memory_bytes;
    assert_eq!(memory_bytes, export.content.footprint_bytes());
    assert_eq!(AcceptedExport::decode_within(bytes.clone(), memory_bytes), Ok(export.clone()));
    let budget_bytes = memory_bytes / 10;
    let result = AcceptedExport::decode_within(bytes, budget_bytes);
    assert_eq!(result, Err(UndecodableExport::OverBudget { budget_bytes }));
    // The header does not matter.
    let understated = with_header(
        &export,
        4,
        &format!(r#""footprint_bytes":{memory_bytes}"#),
        r#""footprint_bytes":1"#,
    );
    let encoded = EncodedHeader::decode(&understated).unwrap();
    assert_eq!(encoded.memory_bytes, understated.len() as u64);
    let result = AcceptedExport::decode_within(understated.into(), encoded.memory_bytes);
    assert_eq!(result, Err(UndecodableExport::OverBudget { budget_bytes: encoded.memory_bytes }));
}

#[test]
fn version_3_is_decoded() {
    let mut export = small();
    let content = Arc::make_mut(&mut export.content);
    content.review.replacements.clear();
    export.content_digest = content.digest(export.format_version);
    assert_eq!(decode(with_header(&export, 3, "{", "{")), Ok(export));
}

proptest! {
    #[test]
    fn encoding_is_within_the_budget_of_its_header(export in arbitrary::accepted_export()) {
        let bytes = Bytes::from(encode(&export));
        let encoded = EncodedHeader::decode(&bytes).unwrap();
        prop_assert_eq!(AcceptedExport::decode_within(bytes, encoded.memory_bytes), Ok(export));
    }
}

/// An encoding with these bytes as its body, and right digests.
fn with_content(version: u32, content: &[u8]) -> Vec<u8> {
    let header = HeaderV1 {
        export: small().header().into(),
        content_size_bytes: content.len() as u64,
        body_size_bytes: content.len() as u64,
        body_sha256: Sha256::of(content),
        footprint_bytes: Some(0),
    };
    let mut header = to_json_compact(&header);
    header.push(b'\n');
    [&frame::encode(version, &header)[..], &header, content].concat()
}

#[test]
fn hostile_bodies_are_rejected_before_they_take_memory() {
    // Lists with an announced length of 2^60, with extreme nesting, or without an end.
    let huge = |lead: u8| [&[lead][..], &(1_u64 << 60).to_be_bytes()].concat();
    let review = |value: Vec<u8>| [&b"\xa1\x61r\xa1\x61c"[..], &value].concat();
    for content in [
        huge(0x9b),
        huge(0xbb),
        huge(0x7b),
        huge(0x5b),
        review(huge(0x9b)),
        review([huge(0x9b), huge(0x7b)].concat()),
        [&b"\xa1\x61r\xa1\x61m\xa1\x61x"[..], &vec![0x81; 1_000_000]].concat(),
        [&b"\xa1\x61r\xa1\x61m\xa1\x61x"[..], &b"\xa1\x61x".repeat(300_000)].concat(),
        vec![0x9f; 1_000_000],
        vec![0xc1; 1_000_000],
        vec![],
    ] {
        let result = AcceptedExport::decode_within(with_content(4, &content).into(), 8 << 20);
        assert!(is_damaged(&result), "{result:?}");
    }
    for content in ["[".repeat(1_000_000), r#"{"review":"#.repeat(100_000)] {
        let bytes = with_content(1, content.as_bytes());
        assert!(is_damaged(&AcceptedExport::decode_within(bytes.into(), 8 << 20)));
    }
    // Many small elements in the JSON of an earlier release.
    let items = r#"{"additional_fields":{}},"#.repeat(50_000);
    let json = format!(
        r#"{{"review":{{"suggestions":[{{"name":"","items":[{}]}}]}}}}"#,
        items.trim_end_matches(',')
    );
    let budget_bytes = 4 << 20;
    let result =
        AcceptedExport::decode_within(with_content(1, json.as_bytes()).into(), budget_bytes);
    assert_eq!(result, Err(UndecodableExport::OverBudget { budget_bytes }));
}

#[test]
fn oversized_header_is_damaged() {
    let mut line = frame::encode(3, &vec![b' '; 300_000]);
    assert!(matches!(header_end(&line), Err(UndecodableExport::Damaged { .. })));
    line.extend(vec![b' '; 300_000]);
    assert!(is_damaged(&decode(line)));
}

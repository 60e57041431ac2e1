use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use prost::Message as _;
use prost_types::{ListValue, Struct, Value, value::Kind};
use tara_export_bundle::{Destination, Document, DocumentKind, ExportContent, Fallback};

use tara_export_notify::AllowedRecipients;

use super::*;
use crate::{
    grpc::{convert::start_request, status::Violations},
    proto::{
        FeedbackItem, FeedbackSection, PreviewExportRequest, Replacement, Review,
        StartExportRequest, document::Source,
    },
};

const START: &str = "tara.export.v1.StartExportRequest";

fn scan_review(review: Review) -> Result<Scan, ScanError> {
    let request = StartExportRequest { review: Some(review), ..StartExportRequest::default() };
    scan(START, &request.encode_to_vec())
}

/// The field and the limit in the error of a review.
fn limit_of(review: Review) -> (String, String) {
    match scan_review(review) {
        Err(ScanError::Limit { field, description }) => (field, description),
        other => panic!("{other:?}"),
    }
}

fn items(count: usize) -> Vec<FeedbackSection> {
    vec![FeedbackSection { items: vec![FeedbackItem::default(); count], ..Default::default() }]
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    Struct { fields: fields.map(|(key, value)| (key.to_owned(), value)).into() }
}

fn list(values: Vec<Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

#[test]
fn error_names_field_and_limit() {
    let count = |count: u64| usize::try_from(count).unwrap();
    let sections = |number| vec![FeedbackSection::default(); number];
    let entries = |number| vec![Struct::default(); number];
    let item = |item: FeedbackItem| {
        vec![
            FeedbackSection::default(),
            FeedbackSection { items: vec![item], ..Default::default() },
        ]
    };
    let free = |fields: Struct| {
        item(FeedbackItem { additional_fields: Some(fields), ..Default::default() })
    };
    let over = |limit: u64| count(limit) + 1;
    let keys = (0..over(limits::KEYS)).map(|key| (key.to_string(), text("")));
    let many = |number: usize| list(vec![text(""); number]);
    let long = "x".repeat(TEXT_BYTES + 1);
    for (what, review, field, limit) in [
        (
            "sections",
            Review { rejected: sections(over(limits::SECTIONS)), ..Default::default() },
            "review.rejected",
            "20000",
        ),
        (
            "section names",
            Review {
                section_names: vec![String::new(); over(limits::SECTION_NAMES)],
                ..Default::default()
            },
            "review.section_names",
            "20000",
        ),
        (
            "items of two lists",
            Review {
                suggestions: items(count(limits::ITEMS) / 2),
                user_created: items(count(limits::ITEMS) / 2 + 1),
                ..Default::default()
            },
            "review.user_created[0].items",
            "100000",
        ),
        (
            "an activity log",
            Review { activity_log: entries(over(limits::LOG_ENTRIES)), ..Default::default() },
            "review.activity_log",
            "100000",
        ),
        (
            "replacements",
            Review {
                replacements: vec![Replacement::default(); over(limits::REPLACEMENTS)],
                ..Default::default()
            },
            "review.replacements",
            "1000",
        ),
        (
            "a chat",
            Review { chat_history: entries(over(limits::LOG_ENTRIES)), ..Default::default() },
            "review.chat_history",
            "100000",
        ),
        (
            "questions",
            Review {
                accepted: item(FeedbackItem {
                    questions: vec![String::new(); over(limits::ITEM_LIST_VALUES)],
                    ..Default::default()
                }),
                ..Default::default()
            },
            "review.accepted[1].items[0].questions",
            "1000",
        ),
        (
            "packed references",
            Review {
                accepted: item(FeedbackItem {
                    hawkeye_refs: vec![1; over(limits::ITEM_LIST_VALUES)],
                    ..Default::default()
                }),
                ..Default::default()
            },
            "review.accepted[1].items[0].hawkeye_refs",
            "1000",
        ),
        (
            "keys of an object",
            Review {
                performance_metrics: Some(Struct { fields: keys.collect() }),
                ..Default::default()
            },
            "review.performance_metrics",
            "10000",
        ),
        (
            "free values",
            Review {
                audit_logs: vec![
                    object([("a", many(count(limits::FREE_VALUES) / 2))]),
                    object([("b", list(vec![many(count(limits::FREE_VALUES) / 2)]))]),
                ],
                ..Default::default()
            },
            "review.audit_logs[1].b[0]",
            "1000000",
        ),
        (
            "depth",
            Review {
                suggestions: free(object([(
                    "a",
                    (0..30).fold(text(""), |inner, _| Value {
                        kind: Some(Kind::StructValue(object([("b", inner)]))),
                    }),
                )])),
                ..Default::default()
            },
            &format!("review.suggestions[1].items[0].additional_fields.a{}", ".b".repeat(30)),
            "30 levels",
        ),
        (
            "a text",
            Review {
                suggestions: item(FeedbackItem {
                    description: Some(long.clone()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            "review.suggestions[1].items[0].description",
            "1048576 bytes",
        ),
        (
            "a section's name",
            Review {
                accepted: vec![FeedbackSection { name: long.clone(), ..Default::default() }],
                ..Default::default()
            },
            "review.accepted[0].name",
            "1048576 bytes",
        ),
        (
            "a question",
            Review {
                suggestions: item(FeedbackItem {
                    questions: vec![String::new(), long.clone()],
                    ..Default::default()
                }),
                ..Default::default()
            },
            "review.suggestions[1].items[0].questions[1]",
            "1048576 bytes",
        ),
        (
            "a free text",
            Review {
                chat_history: vec![object([("a", list(vec![text(&long)]))])],
                ..Default::default()
            },
            "review.chat_history[0].a[0]",
            "1048576 bytes",
        ),
    ] {
        let (named, description) = limit_of(review);
        assert_eq!(named, field, "{what}");
        assert!(description.contains(limit), "{what}: {description}");
    }
}

#[test]
fn requests_at_the_limits_pass() {
    let sections = usize::try_from(limits::SECTIONS).unwrap();
    let review = Review {
        suggestions: items(usize::try_from(limits::ITEMS).unwrap()),
        accepted: vec![FeedbackSection::default(); sections],
        section_names: vec![String::new(); sections],
        ..Default::default()
    };
    assert_eq!(scan_review(review).unwrap().items, limits::ITEMS);
}

/// The decoder merges a review that is sent in two fields.
#[test]
fn repeated_occurrences_of_a_field_count_together() {
    let half = |review: Review| {
        StartExportRequest { review: Some(review), ..Default::default() }.encode_to_vec()
    };
    let lists = |number: u64| Review {
        accepted: vec![FeedbackSection::default(); usize::try_from(number).unwrap()],
        ..Default::default()
    };
    let merged = [half(lists(limits::SECTIONS)), half(lists(1))].concat();
    let Err(ScanError::Limit { field, .. }) = scan(START, &merged) else { panic!() };
    assert_eq!(field, "review.accepted");
    let keys = |from: u64, to: u64| Review {
        performance_metrics: Some(Struct {
            fields: (from..to).map(|key| (key.to_string(), text(""))).collect(),
        }),
        ..Default::default()
    };
    // Metrics that occur twice in one review.
    let metrics = [keys(0, 9_999).encode_to_vec(), keys(9_999, 10_001).encode_to_vec()].concat();
    let mut message = vec![0x12];
    prost::encoding::encode_varint(metrics.len() as u64, &mut message);
    message.extend(metrics);
    assert!(StartExportRequest::decode(&*message).is_ok());
    let Err(ScanError::Limit { field, .. }) = scan(START, &message) else { panic!() };
    assert_eq!(field, "review.performance_metrics");
}

#[test]
fn malformed_messages_are_refused() {
    for message in [&[0x12, 5][..], &[0x12, 1, 0xff], &[0x10, 1], &[0x0a, 1], &[0x13]] {
        assert!(StartExportRequest::decode(message).is_err(), "{message:x?}");
        assert_eq!(scan(START, message), Err(ScanError::Malformed), "{message:x?}");
    }
    assert_eq!(scan("tara.export.v1.Nothing", &[]), Err(ScanError::Malformed));
}

#[test]
fn empty_items_cost_their_decoded_size() {
    let review = Review { suggestions: items(100_000), ..Default::default() };
    let scan = scan_review(review).unwrap();
    let item_bytes = size_of::<FeedbackItem>() as u64;
    assert!(scan.decoded_bytes > 2 * 100_000 * item_bytes, "{scan:?}");
    assert!(scan.decoded_bytes < 4 * 100_000 * item_bytes, "{scan:?}");
}

#[test]
fn ordinary_review_costs_a_small_multiple_of_its_size() {
    let item = FeedbackItem {
        id: Some("0192f0c1-7a3e".into()),
        r#type: Some("critical".into()),
        category: Some("Root cause".into()),
        description: Some("The cause is missing. ".repeat(10)),
        suggestion: Some("Say what caused the outage. ".repeat(8)),
        risk_level: Some("High".into()),
        confidence: Some(0.9),
        ..Default::default()
    };
    let section = |number: usize| FeedbackSection {
        name: format!("Section {number}"),
        items: vec![item.clone(); 20],
    };
    let review = Review {
        document_name: "incident.docx".into(),
        suggestions: (0..200).map(section).collect(),
        ..Default::default()
    };
    let size_bytes = review.encoded_len() as u64;
    let scan = scan_review(review).unwrap();
    let factor = (scan.decoded_bytes + scan.rendered_bytes) / size_bytes;
    assert!(factor < 12, "{factor} times {size_bytes}");
}

fn value() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        Just(None),
        Just(Some(Kind::NullValue(0))),
        any::<bool>().prop_map(|value| Some(Kind::BoolValue(value))),
        (-1e9..1e9).prop_map(|number| Some(Kind::NumberValue(number))),
        "\\PC{0,8}|[\\x00-\\x1f\"]{0,40}".prop_map(|text| Some(Kind::StringValue(text))),
    ];
    let leaf = kind.prop_map(|kind| Value { kind });
    leaf.prop_recursive(5, 60, 14, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..14).prop_map(list),
            fields(inner).prop_map(|fields| Value { kind: Some(Kind::StructValue(fields)) }),
        ]
    })
}

fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Struct> {
    let key = "category|id|risk_level|[a-z\\x01]{0,6}";
    proptest::collection::btree_map(key, value, 0..14)
        .prop_map(|fields: BTreeMap<String, Value>| Struct { fields })
}

fn item() -> impl Strategy<Value = FeedbackItem> {
    let word = || option::of("[a-z\\x00\"é\u{2028}]{0,30}");
    (
        (word(), word(), word(), word()),
        vec("[a-z]{0,5}", 0..4),
        vec(any::<i64>(), 0..20),
        option::of(any::<f64>()),
        option::of(any::<bool>()),
        option::of(fields(value())),
    )
        .prop_map(
            |((id, category, risk_level, text), questions, refs, confidence, created, free)| {
                FeedbackItem {
                    id,
                    category,
                    risk_level,
                    description: text.clone(),
                    ai_reference: text,
                    questions,
                    hawkeye_refs: refs,
                    confidence,
                    user_created: created,
                    additional_fields: free,
                    ..Default::default()
                }
            },
        )
}

fn sections() -> impl Strategy<Value = Vec<FeedbackSection>> {
    let section = ("[a-z\\x00]{0,20}", vec(item(), 0..4))
        .prop_map(|(name, items)| FeedbackSection { name, items });
    vec(section, 0..4)
}

fn review() -> impl Strategy<Value = Review> {
    let log = || vec(fields(value()), 0..6);
    (
        "[a-z\\x00]{1,50}",
        (sections(), sections(), sections(), sections()),
        (log(), log(), log(), log()),
        (vec("[a-z]{0,9}", 0..9), vec(replacement(), 0..20)),
        option::of(fields(value())),
    )
        .prop_map(|(name, lists, logs, (section_names, replacements), metrics)| Review {
            document_name: name.clone(),
            reviewer: name,
            suggestions: lists.0,
            accepted: lists.1,
            rejected: lists.2,
            user_created: lists.3,
            activity_log: logs.0,
            chat_history: logs.1,
            audit_logs: logs.2,
            activity_timeline: logs.3,
            section_names,
            performance_metrics: metrics,
            replacements,
            ..Default::default()
        })
}

fn replacement() -> impl Strategy<Value = Replacement> {
    ("[a-z\\x00\"é\u{2028}]{0,80}", "[A-Z_\\x01]{0,20}")
        .prop_map(|(path, reason)| Replacement { path, reason })
}

fn count_items(review: &Review) -> u64 {
    let lists = [&review.suggestions, &review.accepted, &review.rejected, &review.user_created];
    lists.into_iter().flatten().map(|section| section.items.len() as u64).sum()
}

fn count_values(review: &Review) -> u64 {
    let lists = [&review.suggestions, &review.accepted, &review.rejected, &review.user_created];
    let items = lists.into_iter().flatten().flat_map(|section| &section.items);
    let logs =
        [&review.activity_log, &review.chat_history, &review.audit_logs, &review.activity_timeline];
    let objects = items.filter_map(|item| item.additional_fields.as_ref());
    let objects = objects.chain(logs.into_iter().flatten()).chain(&review.performance_metrics);
    objects.map(in_object).sum()
}

fn in_object(object: &Struct) -> u64 {
    object.fields.values().map(|value| 1 + in_value(value)).sum()
}

fn in_value(value: &Value) -> u64 {
    match &value.kind {
        Some(Kind::StructValue(object)) => in_object(object),
        Some(Kind::ListValue(list)) => list.values.iter().map(|value| 1 + in_value(value)).sum(),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn scan_counts_match_the_decoded_message(review in review()) {
        let scan = scan_review(review.clone()).unwrap();
        prop_assert_eq!(scan.items, count_items(&review));
        prop_assert_eq!(scan.free_values, count_values(&review));
        let preview = PreviewExportRequest { review: Some(review), documents: vec![] };
        let preview = super::scan("tara.export.v1.PreviewExportRequest", &preview.encode_to_vec());
        prop_assert_eq!(preview.unwrap(), scan);
    }

    /// The memory reserved for a message is enough for its export.
    #[test]
    fn scan_is_upper_bound_of_content_footprint(review in review()) {
        let scan = scan_review(review.clone()).unwrap();
        let converted = crate::grpc::convert::review(review, &mut Violations::default());
        let document = Document::inline(
            DocumentKind::Before, "x".into(), String::new(), Bytes::new());
        let content = ExportContent {
            review: converted,
            documents: vec![document],
            destination: Some(Destination::Local),
            fallback: Fallback::Local,
        };
        let footprint = content.footprint_bytes();
        prop_assert!(scan.decoded_bytes + scan.rendered_bytes >= footprint,
            "{:?} < {}", scan, footprint);
    }

    #[test]
    fn scan_accepts_everything_that_the_decoder_accepts(bytes in vec(any::<u8>(), 0..40)) {
        for prefix in [&[][..], &[0x12, 0x20, 0x3a, 0x1e, 0x12, 0x1c], &[0x12, 0x10, 0x5a, 0x0e]] {
            let message = [prefix, &bytes].concat();
            let is_scanned = scan(START, &message).is_ok();
            if StartExportRequest::decode(&*message).is_ok() {
                prop_assert!(is_scanned, "{:x?}", message);
            }
        }
    }
}

#[test]
fn conversion_agrees_with_the_scan_on_depth() {
    let nested = |levels: usize| (1..levels).fold(text("bottom"), |inner, _| list(vec![inner]));
    let request = |levels| StartExportRequest {
        review: Some(Review {
            document_name: "x".into(),
            activity_log: vec![object([("a", nested(levels))])],
            ..Default::default()
        }),
        documents: vec![crate::proto::Document {
            kind: 1,
            source: Some(Source::Content(Bytes::new())),
            ..Default::default()
        }],
        ..Default::default()
    };
    assert!(scan(START, &request(DEPTH).encode_to_vec()).is_ok());
    assert!(start_request(request(DEPTH), &AllowedRecipients::default()).is_ok());
    assert!(scan(START, &request(DEPTH + 1).encode_to_vec()).is_err());
    assert!(start_request(request(DEPTH + 1), &AllowedRecipients::default()).is_err());
}

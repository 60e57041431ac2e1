//! Arbitrary JSON in a request is stored completely and unchanged.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::Value as Json;
use tara_export_client::proto::{FeedbackItem, StartExportRequest};

use crate::{
    bundles,
    following::committed,
    harness::Host,
    requests::{request, section},
};

/// Keys of the typed fields of items, in the order in which they are written.
const KNOWN: [&str; 14] = [
    "id",
    "type",
    "category",
    "description",
    "suggestion",
    "example",
    "questions",
    "hawkeye_refs",
    "risk_level",
    "confidence",
    "user_created",
    "timestamp",
    "ai_reference",
    "ai_id",
];

/// Any text; control characters, quotes and surrogate pairs more often than by chance.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-c]{0,2}",
        "[\u{0}-\u{1F}\"\\\\/\u{7F}-\u{9F}\u{2028}\u{FEFF}é😀]{0,6}",
    ]
}

fn number() -> impl Strategy<Value = f64> {
    const LARGEST: i64 = 1 << 53;
    prop_oneof![
        (-LARGEST..=LARGEST).prop_map(|integer| integer as f64),
        prop_oneof![Just(LARGEST), Just(-LARGEST)].prop_map(|integer| integer as f64),
        -1000.0..1000.0,
        any::<f64>().prop_filter("finite", |number| number.is_finite()),
    ]
}

/// Any JSON as a protobuf Value.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Kind::NullValue(0)),
        any::<bool>().prop_map(Kind::BoolValue),
        number().prop_map(Kind::NumberValue),
        text().prop_map(Kind::StringValue),
    ];
    let leaf = leaf.prop_map(|kind| Value { kind: Some(kind) });
    leaf.prop_recursive(6, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| Kind::ListValue(ListValue { values })),
            vec((text(), inner), 0..4).prop_map(|fields| {
                Kind::StructValue(Struct { fields: fields.into_iter().collect() })
            }),
        ]
        .prop_map(|kind| Value { kind: Some(kind) })
    })
}

fn object() -> impl Strategy<Value = Struct> {
    // Known keys more often than by chance, with values of any type.
    let key = prop_oneof![text(), proptest::sample::select(&KNOWN[..]).prop_map(str::to_owned)];
    vec((key, value()), 0..5).prop_map(|fields| Struct { fields: fields.into_iter().collect() })
}

#[derive(Debug, Clone)]
struct Sent {
    items: Vec<Struct>,
    logs: Vec<Struct>,
    metrics: Struct,
    section_names: Vec<String>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let names = proptest::collection::btree_set(text(), 1..4);
    (vec(object(), 0..3), vec(object(), 0..4), object(), names).prop_map(
        |(items, logs, metrics, names)| Sent {
            items,
            logs,
            metrics,
            section_names: names.into_iter().rev().collect(),
        },
    )
}

impl Sent {
    fn request(&self, number: u32) -> StartExportRequest {
        let mut request = request(number, "incident report.docx");
        let review = request.review.as_mut().unwrap();
        let items = self.items.iter().map(|fields| FeedbackItem {
            additional_fields: Some(fields.clone()),
            ..FeedbackItem::default()
        });
        let items: Vec<FeedbackItem> = items.collect();
        let sections: Vec<_> =
            self.section_names.iter().map(|name| section(name, items.clone())).collect();
        review.suggestions.clone_from(&sections);
        review.accepted.clone_from(&sections);
        review.rejected.clone_from(&sections);
        review.user_created = sections;
        review.activity_log.clone_from(&self.logs);
        review.chat_history.clone_from(&self.logs);
        review.audit_logs.clone_from(&self.logs);
        review.activity_timeline.clone_from(&self.logs);
        review.performance_metrics = Some(self.metrics.clone());
        request
    }
}

/// Whether the read value has the same types and values as the sent value, and nothing else.
fn is_same(sent: &Value, read: &Json) -> bool {
    match (sent.kind.as_ref().unwrap(), read) {
        (Kind::NullValue(_), Json::Null) => true,
        (Kind::BoolValue(sent), Json::Bool(read)) => sent == read,
        // Integers are read as integers, with the digits of the double.
        (Kind::NumberValue(sent), Json::Number(read)) => match read.as_i64() {
            Some(integer) => integer as f64 == *sent && integer.unsigned_abs() <= 1 << 53,
            None => read.as_f64() == Some(*sent),
        },
        (Kind::StringValue(sent), Json::String(read)) => sent == read,
        (Kind::ListValue(sent), Json::Array(read)) => {
            sent.values.len() == read.len()
                && sent.values.iter().zip(read).all(|(sent, read)| is_same(sent, read))
        }
        (Kind::StructValue(sent), read) => is_same_object(sent, read),
        _ => false,
    }
}

fn is_same_object(sent: &Struct, read: &Json) -> bool {
    let Json::Object(read) = read else { return false };
    sent.fields.len() == read.len()
        && sent
            .fields
            .iter()
            .all(|(key, sent)| read.get(key).is_some_and(|read| is_same(sent, read)))
}

fn check(files: &BTreeMap<String, Vec<u8>>, sent: &Sent) -> Result<(), TestCaseError> {
    let json = |path: &str| -> Json { serde_json::from_slice(&files[path]).unwrap() };
    let same_list = |read: &Json, sent: &[Struct]| {
        read.as_array().is_some_and(|read| {
            read.len() == sent.len()
                && sent.iter().zip(read).all(|(sent, read)| is_same_object(sent, read))
        })
    };
    for list in
        ["accepted_feedback", "rejected_feedback", "user_custom_feedback", "all_ai_suggestions"]
    {
        let file = json(&format!("feedback/{list}.json"));
        let sections = file["feedback_by_section"].as_object().unwrap();
        prop_assert_eq!(sections.len(), sent.section_names.len());
        for name in &sent.section_names {
            prop_assert!(same_list(&sections[name], &sent.items), "{} {:?}", list, sections[name]);
        }
    }
    prop_assert!(same_list(&json("logs/activity_log.json")["activity_log"], &sent.logs));
    prop_assert!(same_list(&json("logs/chat_history.json")["chat_history"], &sent.logs));
    let audit = json("logs/audit_logs.json");
    prop_assert!(same_list(&audit["audit_logs"], &sent.logs));
    prop_assert!(same_list(&audit["activity_timeline"], &sent.logs));
    prop_assert!(is_same_object(&sent.metrics, &audit["performance_metrics"]));
    Ok(())
}

#[test]
fn arbitrary_json_is_stored_unchanged() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let host = Host::new();
    let server = runtime.block_on(host.start());
    let number = std::cell::Cell::new(0);
    let config = Config { cases: 96, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&sent(), |sent| {
        number.set(number.get() + 1);
        let request = sent.request(number.get());
        host.clock.advance(chrono::TimeDelta::seconds(1));
        let mut client = server.client.clone();
        let export = runtime.block_on(committed(&mut client, request));
        check(&bundles::files(&host.folder(&export.folder_name)), &sent)
    });
    result.unwrap();
}

//! Requests: for any message, the memory that its call takes stays within the factor of docs/security.md
//! of the reservation.

use prost::Message as _;
use prost_types::{ListValue, Struct, Value, value::Kind};
use tara_export::grpc::request_memory_bytes;
use tara_export_client::proto::{
    BatchStartExportsRequest, Document, FeedbackItem, FeedbackSection, PreviewExportRequest,
    Review, StartExportRequest, document,
};
use tonic::Code;

use crate::{
    allocator::{alone, peak_during},
    harness::{Host, waiting::until_journal_is_empty},
    raw::{BATCH, PREVIEW, Protocol, START, call, compress, framed},
};

/// The highest allowed peak of a call, relative to its reservation (docs/security.md).
const FACTOR: f64 = 1.5;
/// Connections, the client of this test and the export's own work.
const OVERHEAD_BYTES: f64 = 6e6;

fn sections(count: usize, items: usize, item: &FeedbackItem) -> Vec<FeedbackSection> {
    let section = |number: usize| FeedbackSection {
        name: number.to_string(),
        items: vec![item.clone(); items],
    };
    (0..count).map(section).collect()
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

fn list(values: Vec<Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

fn object(fields: impl IntoIterator<Item = (String, Value)>) -> Struct {
    Struct { fields: fields.into_iter().collect() }
}

fn one_key() -> Struct {
    object([(String::new(), list(vec![]))])
}

fn in_object(value: Value) -> Value {
    Value { kind: Some(Kind::StructValue(object([(String::new(), value)]))) }
}

/// Reviews that take much more memory than bytes on the wire, each for a different reason.
pub(crate) fn amplifying() -> Vec<(&'static str, Review)> {
    let empty = FeedbackItem::default();
    let suggestions = |item: FeedbackItem, count| Review {
        suggestions: sections(1, count, &item),
        ..Review::default()
    };
    let free = |fields: Struct| FeedbackItem { additional_fields: Some(fields), ..empty.clone() };
    let control = "\u{1}".repeat(400_000);
    let many = |count| list(vec![list(vec![]); count]);
    let logs = |entry: Struct, count| Review {
        activity_log: vec![entry.clone(); count],
        audit_logs: vec![entry; count],
        ..Review::default()
    };
    let named = |count: usize| {
        let item = |number: usize| FeedbackItem {
            id: Some(number.to_string()),
            category: Some(format!("c{number}")),
            risk_level: Some(format!("r{number}")),
            ..empty.clone()
        };
        let items: Vec<FeedbackItem> = (0..count).map(item).collect();
        let list = vec![FeedbackSection { name: String::new(), items }];
        Review { suggestions: list.clone(), accepted: list, ..Review::default() }
    };
    let counted =
        free(object([("category".to_owned(), text(&control)), ("id".to_owned(), many(10_000))]));
    vec![
        ("empty items", suggestions(empty.clone(), 20_000)),
        (
            "one item in each section",
            Review {
                suggestions: sections(6_000, 1, &empty),
                accepted: sections(6_000, 1, &empty),
                ..Review::default()
            },
        ),
        (
            "empty sections",
            Review {
                suggestions: sections(7_000, 0, &empty),
                accepted: sections(7_000, 0, &empty),
                user_created: sections(7_000, 0, &empty),
                ..Review::default()
            },
        ),
        ("objects of one key", suggestions(free(one_key()), 7_000)),
        ("log entries of one key", logs(one_key(), 7_000)),
        ("empty log entries", logs(Struct::default(), 30_000)),
        ("wide lists", suggestions(free(object([("a".to_owned(), many(100_000))])), 1)),
        ("lists of one", {
            let deep = (0..28).fold(list(vec![]), |inner, _| list(vec![inner]));
            logs(object([("a".to_owned(), deep)]), 1_500)
        }),
        ("objects of one in objects of one", {
            let deep = (0..28).fold(list(vec![]), |inner, _| in_object(inner));
            logs(object([("a".to_owned(), deep)]), 700)
        }),
        ("many keys", {
            let keys = (0..10_000)
                .map(|key: usize| (key.to_string(), Value { kind: Some(Kind::BoolValue(true)) }));
            logs(object(keys), 3)
        }),
        (
            "control characters",
            suggestions(FeedbackItem { description: Some(control.clone()), ..empty.clone() }, 4),
        ),
        (
            "control characters in names",
            Review {
                suggestions: (0..4)
                    .map(|number| FeedbackSection {
                        name: format!("{control}{number}"),
                        items: vec![],
                    })
                    .collect(),
                ..Review::default()
            },
        ),
        (
            "control characters in counted fields",
            suggestions(
                FeedbackItem {
                    category: Some(control.clone()),
                    risk_level: Some(control.clone()),
                    ..empty.clone()
                },
                1,
            ),
        ),
        ("free values that are counted", suggestions(counted, 1)),
        (
            "packed references",
            suggestions(FeedbackItem { hawkeye_refs: vec![1; 1000], ..empty.clone() }, 500),
        ),
        (
            "empty questions",
            suggestions(
                FeedbackItem { questions: vec![String::new(); 1000], ..empty.clone() },
                300,
            ),
        ),
        (
            "empty section names",
            Review { section_names: vec![String::new(); 20_000], ..Review::default() },
        ),
        ("names that all differ", named(6_000)),
        ("violations", {
            let wrong = FeedbackItem { confidence: Some(f64::NAN), ..empty.clone() };
            suggestions(wrong, 20_000)
        }),
        ("violations below a long key", {
            let fields =
                (0..1000).map(|key| (format!("{}{key}", "k".repeat(1000)), Value::default()));
            suggestions(free(object(fields)), 2)
        }),
    ]
}

fn start(review: Review) -> Vec<u8> {
    let document = Document {
        kind: 1,
        source: Some(document::Source::Content(vec![7; 100_000].into())),
        ..Document::default()
    };
    StartExportRequest {
        review: Some(Review { document_name: "a.docx".to_owned(), ..review }),
        documents: vec![document],
        ..StartExportRequest::default()
    }
    .encode_to_vec()
}

pub(crate) fn preview(review: Review) -> Vec<u8> {
    let review = Review { document_name: "a.docx".to_owned(), ..review };
    PreviewExportRequest { review: Some(review), documents: vec![] }.encode_to_vec()
}

pub(crate) fn expect_within(what: &str, method: &str, reserved: f64, peak: usize) {
    let allowed = FACTOR * reserved + OVERHEAD_BYTES;
    println!("{what}, {method}: peak {peak}, reserved {reserved}: {:.2}", peak as f64 / reserved);
    assert!((peak as f64) < allowed, "{what}, {method}: peak {peak}, reserved {reserved}");
}

#[test]
fn calls_stay_within_their_reservation() {
    alone(async {
        let host = Host::new().flags(&["--max-request-memory=2GiB"]);
        let server = host.start().await;
        for (what, review) in amplifying() {
            for (method, message_type, message) in [
                (START, "tara.export.v1.StartExportRequest", start(review.clone())),
                (PREVIEW, "tara.export.v1.PreviewExportRequest", preview(review.clone())),
            ] {
                let reserved = request_memory_bytes(message_type, &message).unwrap() as f64;
                let body = framed(0, &message);
                drop(message);
                let call = call(server.address, Protocol::Grpc, method, None, body);
                let ((status, _), peak) = peak_during(call).await;
                let expected =
                    if what.starts_with("violations") { Code::InvalidArgument } else { Code::Ok };
                assert_eq!(status.code(), expected, "{what} {method} {status:?}");
                expect_within(what, method, reserved, peak);
            }
        }
        assert_eq!(server.running.engine().admission().reserved_bytes(), 0);
    });
}

/// Items of a batch are exported while others are accepted: one at a time here, whose memory is reserved separately.
#[test]
fn batches_stay_within_their_reservation() {
    alone(async {
        let flags = ["--max-request-memory=2GiB", "--backlog-concurrency=1"];
        let host = Host::new().flags(&flags);
        let server = host.start().await;
        for (what, review) in amplifying().into_iter().step_by(3) {
            let message = start(review);
            let one = request_memory_bytes("tara.export.v1.StartExportRequest", &message).unwrap();
            let requests = vec![StartExportRequest::decode(message.as_slice()).unwrap(); 3];
            let message = BatchStartExportsRequest { batch_id: String::new(), requests };
            let message = message.encode_to_vec();
            let batch_type = "tara.export.v1.BatchStartExportsRequest";
            let batch = request_memory_bytes(batch_type, &message).unwrap();
            let body = framed(0, &message);
            drop(message);
            let call = call(server.address, Protocol::Grpc, BATCH, None, body);
            let ((status, _), peak) = peak_during(call).await;
            let expected =
                if what.starts_with("violations") { Code::InvalidArgument } else { Code::Ok };
            assert_eq!(status.code(), expected, "{what} {status:?}");
            expect_within(what, BATCH, (batch + one) as f64, peak);
            until_journal_is_empty(&host).await;
        }
    });
}

/// Refused messages are not decoded.
#[test]
fn refused_messages_take_no_more_than_their_bytes() {
    alone(async {
        let host = Host::new();
        let server = host.start().await;
        let items = [0x12, 0].repeat(2_000_000);
        let mut section = vec![0x3a];
        prost::encoding::encode_varint(items.len() as u64, &mut section);
        section.extend(items);
        let mut message = vec![0x0a];
        prost::encoding::encode_varint(section.len() as u64, &mut message);
        message.extend(&section);
        drop(section);
        for encoding in [None, Some("gzip"), Some("zstd"), Some("deflate")] {
            let body = match encoding {
                None => framed(0, &message),
                Some(encoding) => framed(1, &compress(encoding, &message)),
            };
            let call = call(server.address, Protocol::Grpc, PREVIEW, encoding, body);
            let ((status, _), peak) = peak_during(call).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            // The size of a compressed message is known only after decompression, into a buffer that grows fourfold.
            let buffers = if encoding.is_some() { 4 } else { 1 };
            let reserved = (buffers * message.len()) as f64;
            expect_within("refused", encoding.unwrap_or("plain"), reserved, peak);
        }
    });
}

#[test]
fn compression_bombs_take_no_more_than_the_limit() {
    alone(async {
        let host = Host::new().flags(&["--max-request-size=8MiB"]);
        let server = host.start().await;
        let zeros = vec![0; 32 << 20];
        for encoding in ["gzip", "deflate", "zstd"] {
            let body = framed(1, &compress(encoding, &zeros));
            let call = call(server.address, Protocol::Grpc, PREVIEW, Some(encoding), body);
            let ((status, _), peak) = peak_during(call).await;
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
            expect_within("bomb", encoding, f64::from(8 << 20), peak);
        }
    });
}

//! Invalid requests: every violation is reported, and nothing is stored.

use prost_types::{ListValue, Struct, Value, value::Kind};
use tara_export_client::proto::{
    Document, FeedbackItem, PreviewDocument, PreviewExportRequest, Replacement, Review,
    StartExportRequest, document,
};
use tonic::Code;

use crate::{
    bundles,
    following::{committed, refused},
    harness::Host,
    requests::{fields_of, item, object, request, section, text},
    statuses::{expect_status, violations},
};

fn number(number: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(number)) }
}

fn list(values: Vec<Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

/// A value that is nested this many levels deep in the additional fields.
fn nested_lists(levels: usize) -> Value {
    (1..levels).fold(text("bottom"), |inner, _| list(vec![inner]))
}

fn nested_objects(levels: usize) -> Value {
    (1..levels).fold(text("bottom"), |inner, _| Value {
        kind: Some(Kind::StructValue(fields_of([("a", inner)]))),
    })
}

type Change = Box<dyn Fn(&mut StartExportRequest)>;

fn with_review(change: impl Fn(&mut Review) + 'static) -> Change {
    Box::new(move |request| change(request.review.as_mut().unwrap()))
}

fn with_item(change: impl Fn(&mut FeedbackItem) + 'static) -> Change {
    with_review(move |review| change(&mut review.suggestions[0].items[1]))
}

fn with_additional_field(key: &'static str, value: Value) -> Change {
    with_item(move |item| item.additional_fields = Some(fields_of([(key, value.clone())])))
}

fn with_document(change: impl Fn(&mut Document) + 'static) -> Change {
    Box::new(move |request| change(&mut request.documents[1]))
}

/// Invalid requests: a description, the change, and exactly the fields that must be reported.
fn invalid_requests() -> Vec<(&'static str, Change, Vec<&'static str>)> {
    let fields = "review.suggestions[0].items[1].additional_fields";
    let field_key = |key: &str| -> &'static str { format!("{fields}.{key}").leak() };
    let duplicates = || vec![section("same", vec![item("1")]), section("same", vec![])];
    vec![
        ("a malformed id", Box::new(|r| r.request_id = "7".into()), vec!["request_id"]),
        (
            "an id without hyphens",
            Box::new(|r| r.request_id = r.request_id.replace('-', "")),
            vec!["request_id"],
        ),
        ("no review", Box::new(|r| r.review = None), vec!["review"]),
        ("no name", with_review(|r| r.document_name.clear()), vec!["review.document_name"]),
        (
            "a name above 2,048 bytes",
            with_review(|r| r.document_name = format!("{}x", "é".repeat(1024))),
            vec!["review.document_name"],
        ),
        (
            "other names above 2,048 bytes",
            with_review(|r| {
                let long = "x".repeat(2049);
                r.session_id.clone_from(&long);
                r.reviewer.clone_from(&long);
                r.guidelines_name = Some(long.clone());
                r.guidelines_preference = long;
            }),
            vec![
                "review.session_id",
                "review.reviewer",
                "review.guidelines_name",
                "review.guidelines_preference",
            ],
        ),
        (
            "no documents and no feedback at all",
            Box::new(|r| {
                r.documents.clear();
                let review = r.review.as_mut().unwrap();
                review.suggestions = vec![section("Summary", vec![])];
                (review.accepted, review.rejected) = (vec![], vec![]);
            }),
            vec!["documents"],
        ),
        ("an unknown destination", Box::new(|r| r.destination = 3), vec!["destination"]),
        ("a negative destination", Box::new(|r| r.destination = -1), vec!["destination"]),
        ("an unknown fallback", Box::new(|r| r.fallback = 3), vec!["fallback"]),
        (
            "two documents of a kind",
            with_document(|d| d.set_kind(document::Kind::Before)),
            vec!["documents"],
        ),
        (
            "a document of no kind",
            with_document(|d| d.set_kind(document::Kind::Unspecified)),
            vec!["documents[1].kind"],
        ),
        ("a document of an unknown kind", with_document(|d| d.kind = 4), vec!["documents[1].kind"]),
        (
            "a document without content",
            with_document(|d| d.source = None),
            vec!["documents[1].content"],
        ),
        (
            "a digest of other content",
            with_document(|d| d.sha256 = "0".repeat(64)),
            vec!["documents[1].sha256"],
        ),
        (
            "an invalid digest",
            with_document(|d| d.sha256 = "abc".into()),
            vec!["documents[1].sha256"],
        ),
        (
            "a file name above 2,048 bytes",
            with_document(|d| d.file_name = "x".repeat(2049)),
            vec!["documents[1].file_name"],
        ),
        (
            "a media type that would split a header",
            with_document(|d| d.media_type = "text/plain\r\nx: y".into()),
            vec!["documents[1].media_type"],
        ),
        (
            "a media type above 255 bytes",
            with_document(|d| d.media_type = "x".repeat(256)),
            vec!["documents[1].media_type"],
        ),
        (
            "not a number",
            with_item(|item| item.confidence = Some(f64::NAN)),
            vec!["review.suggestions[0].items[1].confidence"],
        ),
        (
            "infinity",
            with_item(|item| item.confidence = Some(f64::NEG_INFINITY)),
            vec!["review.suggestions[0].items[1].confidence"],
        ),
        (
            "a NaN in the additional fields",
            with_additional_field("score", number(f64::NAN)),
            vec![field_key("score")],
        ),
        (
            "nested infinities in the additional fields",
            with_additional_field(
                "a",
                list(vec![text("b"), list(vec![number(f64::INFINITY), number(-f64::INFINITY)])]),
            ),
            vec![field_key("a[1][0]"), field_key("a[1][1]")],
        ),
        (
            "a value without a kind",
            with_additional_field("a", list(vec![Value::default()])),
            vec![field_key("a[0]")],
        ),
        (
            "values deeper than 30 levels",
            with_additional_field("a", nested_lists(31)),
            vec![field_key(&format!("a{}", "[0]".repeat(30)))],
        ),
        (
            "a key that is also a typed field",
            with_additional_field("description", text("again")),
            vec![field_key("description")],
        ),
        (
            "a list that is also a typed field",
            with_item(|item| {
                item.questions = vec!["why?".into()];
                item.additional_fields = Some(fields_of([("questions", list(vec![]))]));
            }),
            vec![field_key("questions")],
        ),
        (
            "two sections of one name in each list",
            with_review(move |r| {
                (r.suggestions, r.accepted) = (duplicates(), duplicates());
                (r.rejected, r.user_created) = (duplicates(), duplicates());
            }),
            vec![
                "review.suggestions[1].name",
                "review.accepted[1].name",
                "review.rejected[1].name",
                "review.user_created[1].name",
            ],
        ),
        (
            "violations in every log",
            with_review(|r| {
                let bad = || vec![object([]), fields_of([("x", number(f64::NAN))])];
                (r.activity_log, r.chat_history) = (bad(), bad());
                (r.audit_logs, r.activity_timeline) = (bad(), bad());
                r.performance_metrics = Some(fields_of([("x", Value::default())]));
            }),
            vec![
                "review.activity_log[1].x",
                "review.chat_history[1].x",
                "review.audit_logs[1].x",
                "review.activity_timeline[1].x",
                "review.performance_metrics.x",
            ],
        ),
        (
            "replacements without texts and beyond their limits",
            with_review(|r| {
                let replacement = |path: usize, reason: usize| Replacement {
                    path: "x".repeat(path),
                    reason: "y".repeat(reason),
                };
                r.replacements = vec![replacement(1024, 1024); 63];
                r.replacements.extend([replacement(0, 1025), replacement(1025, 0)]);
            }),
            vec![
                "review.replacements",
                "review.replacements[63].path",
                "review.replacements[63].reason",
                "review.replacements[64].path",
                "review.replacements[64].reason",
            ],
        ),
        (
            "too many replacements",
            with_review(|r| r.replacements = vec![Replacement::default(); 1001]),
            vec!["review.replacements"],
        ),
        (
            "many violations at once",
            Box::new(|r| {
                r.request_id = "x".into();
                r.destination = 9;
                r.review.as_mut().unwrap().document_name.clear();
                r.documents = vec![Document::default()];
            }),
            vec![
                "request_id",
                "review.document_name",
                "documents[0].kind",
                "documents[0].content",
                "destination",
            ],
        ),
    ]
}

#[tokio::test]
async fn every_violation_is_reported_and_nothing_is_stored() {
    let host = Host::new();
    let mut server = host.start().await;
    for (case, change, expected) in invalid_requests() {
        let mut request = request(1, "incident report.docx");
        change(&mut request);
        let status = refused(&mut server.client, request).await;
        let mut named: Vec<String> =
            violations(&status).into_iter().map(|(field, _)| field).collect();
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        named.sort();
        expected.sort();
        assert_eq!(named, expected, "{case}");
        assert!(violations(&status).iter().all(|(_, rule)| !rule.is_empty()), "{case}");
    }
    assert_eq!(bundles::folders(&host.data_dir()), [""; 0]);
    assert_eq!(bundles::records(&host.data_dir()), [""; 0]);
    // The id is still unused.
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

#[tokio::test]
async fn request_at_the_limits_is_exported() {
    let host = Host::new();
    let mut server = host.start().await;
    let same = || vec![section("same", vec![item("1")]), section("", vec![])];
    let changes: Vec<Change> = vec![
        with_review(|r| r.document_name = "é".repeat(1024)),
        with_review(|r| r.document_name = "../..\0/\r\n\u{202E}%00".into()),
        with_review(move |r| (r.suggestions, r.accepted, r.rejected) = (same(), same(), same())),
        with_additional_field("a", nested_lists(30)),
        with_additional_field("a", nested_objects(30)),
        with_additional_field("", text("")),
        with_document(|d| d.source = Some(document::Source::Content("".into()))),
        with_document(|d| {
            d.sha256 = tara_export_digest::Sha256::of(b"as it is now").to_string();
        }),
        Box::new(|r| r.documents.clear()),
        // Each character takes six bytes in the manifest.
        with_review(|r| {
            let replacement = Replacement { path: "\u{1}".repeat(100), reason: "\u{1}".repeat(31) };
            r.replacements = vec![replacement; 1000];
        }),
        Box::new(|r| {
            r.review =
                Some(Review { document_name: "only a document".into(), ..Review::default() });
        }),
    ];
    for (number, change) in (1..).zip(changes) {
        let mut request = request(number, "incident report.docx");
        change(&mut request);
        let export = committed(&mut server.client, request).await;
        bundles::verify(&host.folder(&export.folder_name));
    }
}

#[tokio::test]
async fn too_deep_nesting_is_an_invalid_request() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut request = request(1, "incident report.docx");
    with_additional_field("a", nested_objects(60))(&mut request);
    let status = refused(&mut server.client, request).await;
    expect_status(&status, Code::InvalidArgument, "INVALID_REQUEST");
}

#[tokio::test]
async fn ten_thousand_violations_make_a_readable_response() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut request = request(1, "incident report.docx");
    let sections = (0..10_001).map(|_| section("same", vec![]));
    request.review.as_mut().unwrap().user_created = sections.collect();
    let status = refused(&mut server.client, request).await;
    let named = violations(&status);
    assert!(named.len() > 20, "{named:?}");
    assert_eq!(named[0].0, "review.user_created[1].name");
    let (last, rest) = named.last().unwrap();
    assert_eq!(last, "");
    assert_eq!(*rest, format!("and {} more invalid fields", 10_000 - (named.len() - 1)));
    assert!(status.message().contains("9999 more"), "{}", status.message());
}

#[tokio::test]
async fn violations_below_very_long_keys_make_a_readable_response() {
    let host = Host::new();
    let mut server = host.start().await;
    for key in ["x".repeat(500_000), "字".repeat(5_000), "\u{1}".repeat(5_000)] {
        let mut request = request(1, "incident report.docx");
        let fields = (0..50).map(|number| (format!("{key}{number}"), Value::default()));
        let fields = Struct { fields: fields.collect() };
        request.review.as_mut().unwrap().suggestions[0].items[1].additional_fields = Some(fields);
        let status = refused(&mut server.client, request).await;
        let (field, _) = &violations(&status)[0];
        assert!(field.starts_with("review.suggestions[0].items[1].additional_fields."), "{field}");
    }
}

#[tokio::test]
async fn previews_are_validated_like_exports() {
    let host = Host::new();
    let mut server = host.start().await;
    let good = PreviewDocument {
        kind: document::Kind::Before.into(),
        file_name: String::new(),
        size_bytes: 7,
    };
    let preview = |review: Option<Review>, documents: Vec<PreviewDocument>| PreviewExportRequest {
        review,
        documents,
    };
    let review = || Some(crate::requests::review("incident report.docx"));
    let long = PreviewDocument { file_name: "x".repeat(2049), ..good.clone() };
    let negative = PreviewDocument { size_bytes: -1, ..good.clone() };
    let kindless = PreviewDocument { kind: 0, ..good.clone() };
    for (request, expected) in [
        (preview(None, vec![]), "review"),
        (preview(Some(Review::default()), vec![]), "review.document_name"),
        (preview(review(), vec![long]), "documents[0].file_name"),
        (preview(review(), vec![negative]), "documents[0].size_bytes"),
        (preview(review(), vec![good.clone(), kindless]), "documents[1].kind"),
        (preview(review(), vec![good.clone(), good.clone()]), "documents"),
    ] {
        let status = server.client.preview_export(request).await.unwrap_err();
        let named: Vec<String> = violations(&status).into_iter().map(|(field, _)| field).collect();
        assert_eq!(named, [expected]);
    }
    server.client.preview_export(preview(review(), vec![good])).await.unwrap();
    assert!(!host.data_dir().exists());
    // The preview matches the export to the byte.
    let sent = request(1, "incident report.docx");
    let documents = sent.documents.iter().map(|document| PreviewDocument {
        kind: document.kind,
        file_name: document.file_name.clone(),
        size_bytes: if document.kind == 1 { 9 } else { 12 },
    });
    let request = preview(sent.review.clone(), documents.collect());
    let planned = server.client.preview_export(request).await.unwrap().into_inner();
    let export = committed(&mut server.client, sent).await;
    assert_eq!(planned.size_bytes, export.size_bytes);
    for (planned, mut stored) in planned.artifacts.into_iter().zip(export.artifacts) {
        stored.sha256.clear();
        assert_eq!(planned, stored);
    }
}

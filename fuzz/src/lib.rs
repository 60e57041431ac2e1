//! What the fuzz targets share: an accepted export made of a fuzzer's bytes, and what JSON must keep.

use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};
use prost::Message as _;
use tara_export::{
    bundle::{
        AcceptedExport, AcceptedTime, Destination, Document, DocumentKind, ExportContent, Fallback,
        FeedbackItem, FeedbackSection, FiniteNumber, FolderBase, FormatVersion, Json, JsonObject,
        Review,
    },
    client::{request_from_json, to_json, to_json_pretty},
    proto::StartExportRequest,
};

/// How deep the service lets free fields be nested, their own object being the first level.
const DEEPEST_LEVEL: usize = 30;

/// In both forms of proto3 JSON a request is read again as the same one.
pub fn check_json(request: &StartExportRequest) {
    for json in [to_json(request), to_json_pretty(request)] {
        let again = request_from_json(&json).expect("this release wrote it");
        // A `NaN` is a number that differs from itself; its bytes don't.
        assert_eq!(again.encode_to_vec(), request.encode_to_vec(), "{json}");
    }
}

/// An accepted export, as any request could lead to it.
pub fn accepted_export(input: &mut Unstructured<'_>) -> Result<AcceptedExport> {
    let micros = input.int_in_range(0..=AcceptedTime::LATEST_MICROS)?;
    let accepted_time = AcceptedTime::from_micros(micros).expect("it is in the range");
    let destination = *input.choose(&[None, Some(Destination::S3), Some(Destination::Local)])?;
    let fallback = *input.choose(&[Fallback::Local, Fallback::None])?;
    let documents = documents(input)?;
    let content = ExportContent { review: review(input)?, documents, destination, fallback };
    Ok(AcceptedExport {
        export_id: "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e".parse().expect("it is an id"),
        content_digest: content.digest(FormatVersion::V1),
        folder_base: FolderBase::new(&accepted_time, &content.review.document_name),
        destination: destination.unwrap_or(Destination::Local),
        content: content.into(),
        accepted_time,
        format_version: FormatVersion::V1,
        requested_by: String::arbitrary(input)?,
        read_digests: Default::default(),
    })
}

/// At most one of each kind, in the order of kinds.
fn documents(input: &mut Unstructured<'_>) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for kind in DocumentKind::ALL {
        if input.arbitrary()? {
            let (file_name, media_type, bytes): (_, _, Vec<u8>) = input.arbitrary()?;
            documents.push(Document::inline(kind, file_name, media_type, bytes.into()));
        }
    }
    Ok(documents)
}

fn review(input: &mut Unstructured<'_>) -> Result<Review> {
    Ok(Review {
        document_name: input.arbitrary()?,
        session_id: input.arbitrary()?,
        reviewer: input.arbitrary()?,
        guidelines_name: input.arbitrary()?,
        guidelines_preference: input.arbitrary()?,
        section_names: input.arbitrary()?,
        suggestions: sections(input)?,
        accepted: sections(input)?,
        rejected: sections(input)?,
        user_created: sections(input)?,
        activity_log: list(input, |input| object(input, 1))?,
        chat_history: list(input, |input| object(input, 1))?,
        audit_logs: list(input, |input| object(input, 1))?,
        activity_timeline: list(input, |input| object(input, 1))?,
        performance_metrics: object(input, 1)?,
    })
}

/// Sections whose names differ.
fn sections(input: &mut Unstructured<'_>) -> Result<Vec<FeedbackSection>> {
    let mut sections: Vec<FeedbackSection> = list(input, |input| {
        Ok(FeedbackSection { name: input.arbitrary()?, items: list(input, item)? })
    })?;
    sections.sort_by(|one, other| one.name.cmp(&other.name));
    sections.dedup_by(|one, other| one.name == other.name);
    Ok(sections)
}

fn item(input: &mut Unstructured<'_>) -> Result<FeedbackItem> {
    let mut additional_fields = object(input, 1)?;
    additional_fields.0.retain(|key, _| !FeedbackItem::KEYS.contains(&key.as_str()));
    Ok(FeedbackItem {
        id: input.arbitrary()?,
        r#type: input.arbitrary()?,
        category: input.arbitrary()?,
        description: input.arbitrary()?,
        suggestion: input.arbitrary()?,
        example: input.arbitrary()?,
        questions: input.arbitrary()?,
        hawkeye_refs: input.arbitrary()?,
        risk_level: input.arbitrary()?,
        confidence: Option::<f64>::arbitrary(input)?.filter(|number| number.is_finite()),
        user_created: input.arbitrary()?,
        timestamp: input.arbitrary()?,
        ai_reference: input.arbitrary()?,
        ai_id: input.arbitrary()?,
        additional_fields,
    })
}

/// A few values: what is left of the input is for what comes after them.
fn list<T>(
    input: &mut Unstructured<'_>,
    mut value: impl FnMut(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let length = input.int_in_range(0..=3)?;
    (0..length).map(|_| value(input)).collect()
}

fn object(input: &mut Unstructured<'_>, level: usize) -> Result<JsonObject> {
    let entries = list(input, |input| Ok((input.arbitrary()?, json(input, level + 1)?)))?;
    Ok(JsonObject(entries.into_iter().collect()))
}

fn json(input: &mut Unstructured<'_>, level: usize) -> Result<Json> {
    let kinds = if level > DEEPEST_LEVEL { 3 } else { 5 };
    Ok(match input.int_in_range(0..=kinds)? {
        0 => Json::Null,
        1 => Json::Bool(input.arbitrary()?),
        2 => FiniteNumber::new(input.arbitrary()?).map_or(Json::Null, Json::Number),
        3 => Json::String(input.arbitrary()?),
        4 => Json::Array(list(input, |input| json(input, level + 1))?),
        _ => Json::Object(object(input, level)?),
    })
}

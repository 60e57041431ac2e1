//! Shared code of the fuzz targets: an accepted export from a fuzzer's bytes, and the JSON round
//! trip.

use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};
use prost::Message as _;
use tara_export_bundle::{
    AcceptedExport, AcceptedTime, Destination, Document, DocumentKind, ExportContent, Fallback,
    FeedbackItem, FeedbackSection, FiniteNumber, FolderBase, FormatVersion, Json, JsonObject,
    Replacement, Review,
};
use tara_export_client::{proto::StartExportRequest, request_from_json, to_json, to_json_pretty};

/// The service's nesting limit of free fields; their own object is the first level.
const MAX_LEVEL: usize = 30;

/// Checks that a request round-trips in both forms of proto3 JSON.
pub fn check_json(request: &StartExportRequest) {
    for json in [to_json(request), to_json_pretty(request)] {
        let again = request_from_json(&json).expect("this release wrote it");
        // `NaN` is not equal to itself, but its bytes are.
        assert_eq!(again.encode_to_vec(), request.encode_to_vec(), "{json}");
    }
}

/// An accepted export that a request could produce.
pub fn accepted_export(input: &mut Unstructured<'_>) -> Result<AcceptedExport> {
    let micros = input.int_in_range(0..=AcceptedTime::LATEST_MICROS)?;
    let accepted_time = AcceptedTime::from_micros(micros).expect("a valid time");
    let destination = *input.choose(&[None, Some(Destination::S3), Some(Destination::Local)])?;
    let fallback = *input.choose(&[Fallback::Local, Fallback::None])?;
    let documents = documents(input)?;
    let content = ExportContent { review: review(input)?, documents, destination, fallback };
    Ok(AcceptedExport {
        export_id: "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e".parse().expect("a valid id"),
        content_digest: content.digest(FormatVersion::CURRENT),
        folder_base: FolderBase::new(&accepted_time, &content.review.document_name),
        destination: destination.unwrap_or(Destination::Local),
        content: content.into(),
        accepted_time,
        format_version: FormatVersion::CURRENT,
        requested_by: String::arbitrary(input)?,
        store_id: None,
        read_digests: Default::default(),
    })
}

/// At most one document of each kind, in the order of kinds.
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
        replacements: list(input, |input| {
            Ok(Replacement { path: input.arbitrary()?, reason: input.arbitrary()? })
        })?,
    })
}

/// Sections with distinct names.
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

/// At most three values, so that input remains for the fields after them.
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
    let kinds = if level > MAX_LEVEL { 3 } else { 5 };
    Ok(match input.int_in_range(0..=kinds)? {
        0 => Json::Null,
        1 => Json::Bool(input.arbitrary()?),
        2 => FiniteNumber::new(input.arbitrary()?).map_or(Json::Null, Json::Number),
        3 => Json::String(input.arbitrary()?),
        4 => Json::Array(list(input, |input| json(input, level + 1))?),
        _ => Json::Object(object(input, level)?),
    })
}

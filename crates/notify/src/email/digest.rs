//! The values that templates of mails use.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use tara_export_events::{Event, EventContent, EventType, Names};

use super::{
    catalogue::{Labels, Locale},
    line::one_line,
};
use crate::templates::values_of;

/// Maximum length of a name in a row.
pub(super) const NAME_LIMIT_BYTES: usize = 200;
/// Maximum length of another text in a row.
pub(super) const TEXT_LIMIT_BYTES: usize = 400;
/// Maximum length of any text of the first event's CloudEvent.
const VALUE_LIMIT_BYTES: usize = 1_024;

#[derive(Serialize)]
struct Digest<'a> {
    locale: &'static str,
    count: usize,
    summary: String,
    rows: Vec<Row<'a>>,
    more: Option<String>,
    actions: Vec<Action<'a>>,
    labels: &'a Labels,
    footer: &'a str,
}

#[derive(Serialize, Default)]
struct Row<'a> {
    r#type: &'static str,
    event: &'a str,
    export: String,
    document: String,
    reviewer: String,
    time: String,
    reason: &'a str,
    reason_code: String,
    details: String,
    location: String,
}

#[derive(Serialize)]
struct Action<'a> {
    r#type: &'static str,
    event: &'a str,
    text: &'a str,
}

/// The values of a mail about these events, of which the first `row_count` are listed. Beside those of the digest,
/// `event` and `data` are the first event, as in templates of webhooks.
///
/// Each text is one line without control characters.
pub(super) fn values(events: &[&Event], row_count: usize, names: Names, locale: Locale) -> Value {
    let texts = locale.texts();
    let types = types_of(events);
    let more = events.len().saturating_sub(row_count);
    let digest = Digest {
        locale: locale.as_str(),
        count: events.len(),
        summary: summary(events, locale),
        rows: events.iter().take(row_count).map(|event| row(event, names, locale)).collect(),
        more: (more > 0).then(|| locale.counted(&texts.more, more)),
        actions: types
            .into_iter()
            .map(|event_type| Action {
                r#type: event_type.as_str(),
                event: texts.events.get(event_type),
                text: texts.next.get(event_type),
            })
            .collect(),
        labels: &texts.labels,
        footer: &texts.footer,
    };
    let mut values = match serde_json::to_value(digest) {
        Ok(Value::Object(values)) => values,
        _ => Map::new(),
    };
    if let Some(Value::Object(first)) = events.first().map(|event| values_of(event, names)) {
        values.extend(first.into_iter().map(|(name, value)| (name, one_line_each(value))));
    }
    Value::Object(values)
}

/// The types of these events, each once, in the order in which they happen to an export.
pub(super) fn types_of(events: &[&Event]) -> Vec<EventType> {
    let mut types: Vec<EventType> = events.iter().map(|event| event.event_type).collect();
    types.sort();
    types.dedup();
    types
}

/// What happened, such as "3 exports fell back to local disk".
fn summary(events: &[&Event], locale: Locale) -> String {
    let texts = locale.texts();
    let parts = types_of(events).into_iter().map(|event_type| {
        let count = events.iter().filter(|event| event.event_type == event_type).count();
        locale.counted(texts.summaries.get(event_type), count)
    });
    parts.collect::<Vec<_>>().join(&texts.separator)
}

fn row<'a>(event: &Event, names: Names, locale: Locale) -> Row<'a> {
    let texts = locale.texts();
    let named = |text: &str, limit_bytes| match names {
        Names::Included => one_line(text, limit_bytes),
        Names::Omitted => String::new(),
    };
    let row = Row {
        r#type: event.event_type.as_str(),
        event: texts.events.get(event.event_type),
        export: event.subject(),
        time: shown_time(event.time),
        details: named(&event.message, TEXT_LIMIT_BYTES),
        ..Row::default()
    };
    match &event.content {
        EventContent::Export(exported) => {
            let export = &exported.export;
            Row {
                document: named(&export.document_name, NAME_LIMIT_BYTES),
                reviewer: named(&export.reviewer, NAME_LIMIT_BYTES),
                reason: match export.state_reason.as_str() {
                    "" => "",
                    code => texts.reason(code),
                },
                reason_code: one_line(&export.state_reason, NAME_LIMIT_BYTES),
                location: named(&export.location, TEXT_LIMIT_BYTES),
                ..row
            }
        }
        EventContent::Batch(batch) => Row {
            // A batch has no names.
            details: one_line(&event.message, TEXT_LIMIT_BYTES),
            location: named(&batch.report_location, TEXT_LIMIT_BYTES),
            ..row
        },
        EventContent::Job(run) => Row {
            // Whether it succeeded is no name.
            reason: texts.run(run.has_succeeded),
            reason_code: event.state_name().to_owned(),
            ..row
        },
    }
}

/// The time as mails show it.
pub(super) fn shown_time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn one_line_each(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(one_line(&text, VALUE_LIMIT_BYTES)),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, one_line_each(value))).collect()
        }
        other => other,
    }
}

//! The filter language of ListExports: conditions `field op value` joined by AND.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use tara_export_bundle::{AcceptedTime, Destination};
use tara_export_store::StoreKind;

use super::{Export, ExportState, destination_of};

/// Maximum length of a filter in bytes.
const LIMIT_BYTES: usize = 1024;
/// The field names, for messages.
const FIELDS: &str =
    "accepted_time, document_name, reviewer, session_id, state, requested_destination or stored_in";

/// Conditions that an export must meet, all of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    text: String,
    conditions: Vec<Condition>,
}

/// A syntax error of a filter, with its position and reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {position}: {reason}")]
pub struct InvalidFilter {
    /// The position of the error, in bytes from the start.
    pub position: usize,
    /// The reason.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    AcceptedTime(Order, DateTime<Utc>),
    Text(TextField, TextMatch, String),
    State(bool, ExportState),
    RequestedDestination(bool, Destination),
    StoredIn(bool, Destination),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextField {
    DocumentName,
    Reviewer,
    SessionId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextMatch {
    Is,
    IsNot,
    /// Ignores case.
    Contains,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// Parses a filter. Every export matches an empty filter.
    pub fn parse(text: &str) -> Result<Self, InvalidFilter> {
        if text.len() > LIMIT_BYTES {
            let reason =
                format!("a filter has at most {LIMIT_BYTES} bytes, this one has {}", text.len());
            return Err(InvalidFilter { position: LIMIT_BYTES, reason });
        }
        let mut reader = Reader { text, position: 0 };
        let mut conditions = Vec::new();
        reader.skip_spaces();
        while !reader.at_end() {
            if !conditions.is_empty() {
                reader.expect_and()?;
            }
            conditions.push(reader.condition()?);
            reader.skip_spaces();
        }
        Ok(Self { text: text.to_owned(), conditions })
    }

    /// The text that it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the export meets every condition.
    pub fn matches(&self, export: &Export) -> bool {
        self.conditions.iter().all(|condition| condition.matches(export))
    }

    /// Whether a bundle in this store can match at all; reads no bundle.
    pub fn may_match_in(&self, kind: StoreKind) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::StoredIn(is, destination) => (*destination == destination_of(kind)) == *is,
            Condition::State(true, state) => match state {
                ExportState::Committed | ExportState::Quarantined => true,
                ExportState::FellBack => kind == StoreKind::Local,
                ExportState::Running | ExportState::Pending | ExportState::Failed => false,
            },
            Condition::RequestedDestination(true, Destination::Local) => kind == StoreKind::Local,
            _ => true,
        })
    }

    /// The range of acceptance times that can match, determined without reading any export; `None` if no
    /// export can match.
    pub fn accepted_times(&self) -> Option<RangeInclusive<AcceptedTime>> {
        let (mut earliest, mut latest) = (0, AcceptedTime::LATEST_MICROS);
        for condition in &self.conditions {
            if let Condition::AcceptedTime(order, time) = condition {
                let micros = order.micros(*time);
                earliest = earliest.max(*micros.start());
                latest = latest.min(*micros.end());
            }
        }
        if earliest > latest {
            return None;
        }
        Some(AcceptedTime::from_micros(earliest)?..=AcceptedTime::from_micros(latest)?)
    }
}

impl Condition {
    fn matches(&self, export: &Export) -> bool {
        match self {
            Self::AcceptedTime(order, time) => {
                order.matches(export.accepted_time.as_datetime(), *time)
            }
            Self::Text(field, text_match, value) => {
                let text = match field {
                    TextField::DocumentName => &export.document_name,
                    TextField::Reviewer => &export.reviewer,
                    TextField::SessionId => &export.session_id,
                };
                match text_match {
                    TextMatch::Is => text == value,
                    TextMatch::IsNot => text != value,
                    TextMatch::Contains => text.to_lowercase().contains(&value.to_lowercase()),
                }
            }
            Self::State(is, state) => (export.state == *state) == *is,
            Self::RequestedDestination(is, destination) => {
                (export.requested_destination == *destination) == *is
            }
            Self::StoredIn(is, destination) => {
                (export.stored_in.map(destination_of) == Some(*destination)) == *is
            }
        }
    }
}

impl Order {
    fn matches<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }

    /// The range of microseconds since 1970 that are in this order to a time, which may be between two
    /// microseconds; all of them for [`Order::NotEqual`].
    fn micros(self, time: DateTime<Utc>) -> RangeInclusive<i64> {
        // A leap second has more than 999,999,999 nanoseconds: no microsecond is in that range.
        let nanos = i64::from(time.timestamp_subsec_nanos().min(999_999_999));
        let last_before_or_at = time.timestamp() * 1_000_000 + nanos / 1000;
        let is_whole = nanos % 1000 == 0;
        let last_before = last_before_or_at - i64::from(is_whole);
        match self {
            Self::Equal => last_before + 1..=last_before_or_at,
            Self::NotEqual => i64::MIN..=i64::MAX,
            Self::Less => i64::MIN..=last_before,
            Self::LessOrEqual => i64::MIN..=last_before_or_at,
            Self::Greater => last_before_or_at + 1..=i64::MAX,
            Self::GreaterOrEqual => last_before + 1..=i64::MAX,
        }
    }
}

/// Parses a filter from left to right.
struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn condition(&mut self) -> Result<Condition, InvalidFilter> {
        let field_position = self.position;
        let field = self.word();
        if field.is_empty() {
            return Err(Self::error(field_position, format!("expected a field: {FIELDS}")));
        }
        self.skip_spaces();
        let operator_position = self.position;
        let operator = self.operator();
        self.skip_spaces();
        let value_position = self.position;
        // Checked last: an error before the value is more likely the cause.
        let value = self.value();
        let wrong_operator = |allowed: &str| {
            let found = if operator.is_empty() { "nothing" } else { operator };
            Self::error(
                operator_position,
                format!("{field} is compared by {allowed}, not by {found}"),
            )
        };
        let equality = |operator: &str| match operator {
            "=" => Some(true),
            "!=" => Some(false),
            _ => None,
        };
        match field {
            "accepted_time" => {
                let order = match operator {
                    "=" => Order::Equal,
                    "!=" => Order::NotEqual,
                    "<" => Order::Less,
                    "<=" => Order::LessOrEqual,
                    ">" => Order::Greater,
                    ">=" => Order::GreaterOrEqual,
                    _ => return Err(wrong_operator("=, !=, <, <=, > or >=")),
                };
                let value = value?;
                let time = DateTime::parse_from_rfc3339(&value).map_err(|_| {
                    let reason = format!(
                        "{value:?} is not an RFC 3339 time such as \"2026-11-01T00:00:00Z\""
                    );
                    Self::error(value_position, reason)
                })?;
                Ok(Condition::AcceptedTime(order, time.with_timezone(&Utc)))
            }
            "document_name" | "reviewer" | "session_id" => {
                let text_field = match field {
                    "document_name" => TextField::DocumentName,
                    "reviewer" => TextField::Reviewer,
                    _ => TextField::SessionId,
                };
                let text_match = match operator {
                    "=" => TextMatch::Is,
                    "!=" => TextMatch::IsNot,
                    ":" => TextMatch::Contains,
                    _ => return Err(wrong_operator("=, != or :")),
                };
                Ok(Condition::Text(text_field, text_match, value?))
            }
            "state" => {
                let is = equality(operator).ok_or_else(|| wrong_operator("= or !="))?;
                let value = value?;
                let state = match value.as_str() {
                    "STATE_RUNNING" => ExportState::Running,
                    "STATE_PENDING" => ExportState::Pending,
                    "STATE_FELL_BACK" => ExportState::FellBack,
                    "STATE_COMMITTED" => ExportState::Committed,
                    "STATE_FAILED" => ExportState::Failed,
                    "STATE_QUARANTINED" => ExportState::Quarantined,
                    _ => {
                        let known = "STATE_RUNNING, STATE_PENDING, STATE_FELL_BACK, STATE_COMMITTED or STATE_FAILED";
                        return Err(Self::error(
                            value_position,
                            format!("{value:?} is not a state: {known}"),
                        ));
                    }
                };
                Ok(Condition::State(is, state))
            }
            "requested_destination" | "stored_in" => {
                let is = equality(operator).ok_or_else(|| wrong_operator("= or !="))?;
                let value = value?;
                let destination = match value.as_str() {
                    "DESTINATION_S3" => Destination::S3,
                    "DESTINATION_LOCAL" => Destination::Local,
                    _ => {
                        let known = "DESTINATION_S3 or DESTINATION_LOCAL";
                        return Err(Self::error(
                            value_position,
                            format!("{value:?} is not a destination: {known}"),
                        ));
                    }
                };
                Ok(match field {
                    "requested_destination" => Condition::RequestedDestination(is, destination),
                    _ => Condition::StoredIn(is, destination),
                })
            }
            _ => Err(Self::error(
                field_position,
                format!("{field:?} is not a filter field: {FIELDS}"),
            )),
        }
    }

    fn expect_and(&mut self) -> Result<(), InvalidFilter> {
        let position = self.position;
        if self.word() != "AND" {
            return Err(Self::error(position, "expected AND or the end".to_owned()));
        }
        self.skip_spaces();
        Ok(())
    }

    fn word(&mut self) -> &'a str {
        self.take_while(|character| character.is_ascii_alphanumeric() || character == '_')
    }

    fn operator(&mut self) -> &'a str {
        self.take_while(|character| matches!(character, '=' | '!' | '<' | '>' | ':'))
    }

    fn value(&mut self) -> Result<String, InvalidFilter> {
        let start = self.position;
        if !self.rest().starts_with('"') {
            let is_plain = |character: char| {
                character.is_alphanumeric() || matches!(character, '_' | '-' | '.')
            };
            let value = self.take_while(is_plain);
            return if value.is_empty() {
                let reason = "expected a value, in double quotes unless it is a plain word";
                Err(Self::error(start, reason.to_owned()))
            } else {
                Ok(value.to_owned())
            };
        }
        self.position += 1;
        let mut value = String::new();
        let mut characters = self.rest().char_indices();
        while let Some((offset, character)) = characters.next() {
            match character {
                '"' => {
                    self.position += offset + 1;
                    return Ok(value);
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                    _ => {
                        let reason = "a backslash can only be followed by \" or \\";
                        return Err(Self::error(self.position + offset, reason.to_owned()));
                    }
                },
                _ => value.push(character),
            }
        }
        Err(Self::error(start, "the closing double quote is missing".to_owned()))
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|character| !accept(character)).unwrap_or(rest.len());
        self.position += end;
        &rest[..end]
    }

    fn skip_spaces(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn error(position: usize, reason: String) -> InvalidFilter {
        InvalidFilter { position, reason }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tara_export_bundle::{AcceptedTime, ExportId};

    use super::*;

    fn export() -> Export {
        Export {
            export_id: ExportId::new(uuid::Uuid::nil()),
            is_id_unknown: false,
            state: ExportState::FellBack,
            state_reason: String::new(),
            document_name: "Incident \"Großer\" report.docx".to_owned(),
            session_id: "s-1".to_owned(),
            reviewer: "Ada".to_owned(),
            requested_by: String::new(),
            requested_destination: Destination::S3,
            stored_in: Some(StoreKind::Local),
            folder_name: None,
            location: String::new(),
            artifacts: Vec::new(),
            manifest_sha256: None,
            accepted_time: AcceptedTime::new("2026-11-22T18:37:00Z".parse().unwrap()),
            committed_time: None,
            adopted: false,
            replacements: Default::default(),
        }
    }

    #[test]
    fn filters_match_the_expected_exports() {
        for (filter, expected) in [
            ("", true),
            ("  ", true),
            (
                r#"document_name:"incident" AND state = STATE_FELL_BACK AND accepted_time >= "2026-11-01T00:00:00Z""#,
                true,
            ),
            (r#"document_name:"GROSSER""#, false),
            (r#"document_name:"GROßER""#, true),
            (r#"document_name = "Incident \"Großer\" report.docx""#, true),
            ("document_name=Incident", false),
            ("reviewer!=Ada", false),
            ("reviewer : da", true),
            ("session_id = s-1", true),
            ("state != STATE_COMMITTED", true),
            ("stored_in = DESTINATION_LOCAL AND requested_destination = DESTINATION_S3", true),
            ("stored_in = DESTINATION_S3", false),
            (r#"accepted_time < "2026-11-22T19:37:00+01:00""#, false),
            (r#"accepted_time <= "2026-11-22T19:37:00+01:00""#, true),
        ] {
            assert_eq!(Filter::parse(filter).unwrap().matches(&export()), expected, "{filter}");
        }
    }

    #[test]
    fn errors_have_position_and_reason() {
        for (filter, position, reason) in [
            ("colour = red", 0, "is not a filter field"),
            ("= x", 0, "expected a field"),
            ("reviewer", 8, "compared by =, != or :, not by nothing"),
            ("reviewer =", 10, "expected a value"),
            ("reviewer Ada", 9, "compared by =, != or :, not by nothing"),
            ("reviewer < Ada", 9, "compared by"),
            ("reviewer = \"Ada", 11, "closing double quote"),
            (r#"reviewer = "A\da""#, 13, "backslash"),
            ("reviewer = Ada OR state = x", 15, "expected AND"),
            ("reviewer = Ada AND", 18, "expected a field"),
            ("state = RUNNING", 8, "is not a state"),
            ("stored_in = S3", 12, "is not a destination"),
            ("accepted_time > yesterday", 16, "RFC 3339"),
            ("reviewer = ü&", 13, "expected AND"),
        ] {
            let error = Filter::parse(filter).unwrap_err();
            assert_eq!(error.position, position, "{filter}: {error}");
            assert!(error.reason.contains(reason), "{filter}: {error}");
        }
        assert_eq!(Filter::parse(&"x".repeat(1025)).unwrap_err().position, 1024);
    }

    #[test]
    fn accepted_times_are_derived_from_the_filter() {
        let micros = |filter: &str| {
            let times = Filter::parse(filter).unwrap().accepted_times();
            times.map(|times| (times.start().micros(), times.end().micros()))
        };
        let latest = AcceptedTime::LATEST_MICROS;
        for (filter, expected) in [
            ("", Some((0, latest))),
            ("reviewer = Ada", Some((0, latest))),
            (r#"accepted_time != "1970-01-01T00:00:01Z""#, Some((0, latest))),
            (r#"accepted_time = "1970-01-01T00:00:01Z""#, Some((1_000_000, 1_000_000))),
            (r#"accepted_time = "1970-01-01T00:00:01.0000005Z""#, None),
            (r#"accepted_time < "1970-01-01T00:00:01Z""#, Some((0, 999_999))),
            (r#"accepted_time < "1970-01-01T00:00:01.0000005Z""#, Some((0, 1_000_000))),
            (r#"accepted_time <= "1970-01-01T00:00:01Z""#, Some((0, 1_000_000))),
            (r#"accepted_time <= "1970-01-01T00:00:01.0000005Z""#, Some((0, 1_000_000))),
            (r#"accepted_time > "1970-01-01T00:00:01Z""#, Some((1_000_001, latest))),
            (r#"accepted_time > "1970-01-01T00:00:01.0000005Z""#, Some((1_000_001, latest))),
            (r#"accepted_time >= "1970-01-01T00:00:01Z""#, Some((1_000_000, latest))),
            (r#"accepted_time >= "1970-01-01T00:00:01.0000005Z""#, Some((1_000_001, latest))),
            (r#"accepted_time > "1970-01-01T00:00:59.9999995Z""#, Some((60_000_000, latest))),
            (r#"accepted_time > "1970-01-01T00:00:60.5Z""#, Some((60_000_000, latest))),
            (r#"accepted_time < "1970-01-01T00:00:60.5Z""#, Some((0, 59_999_999))),
            (r#"accepted_time < "1969-12-31T23:59:59.5Z""#, None),
            (r#"accepted_time < "1970-01-01T00:00:00Z""#, None),
            (r#"accepted_time > "9999-12-31T23:59:59Z""#, None),
            (
                r#"accepted_time >= "1970-01-01T00:00:01Z" AND reviewer = Ada AND accepted_time < "1970-01-01T00:00:02Z""#,
                Some((1_000_000, 1_999_999)),
            ),
            (
                r#"accepted_time >= "1970-01-01T00:00:02Z" AND accepted_time < "1970-01-01T00:00:02Z""#,
                None,
            ),
        ] {
            assert_eq!(micros(filter), expected, "{filter}");
        }
    }

    #[test]
    fn stores_that_cannot_match_are_excluded() {
        for (filter, s3, local) in [
            ("", true, true),
            ("state = STATE_FELL_BACK", false, true),
            ("state = STATE_RUNNING", false, false),
            ("state != STATE_FELL_BACK", true, true),
            ("stored_in = DESTINATION_S3", true, false),
            ("stored_in != DESTINATION_S3", false, true),
            ("requested_destination = DESTINATION_LOCAL", false, true),
        ] {
            let filter = Filter::parse(filter).unwrap();
            assert_eq!(filter.may_match_in(StoreKind::S3), s3, "{filter:?}");
            assert_eq!(filter.may_match_in(StoreKind::Local), local, "{filter:?}");
        }
    }
}

//! One page of a source: `{"requests": […], "cursor": "<RFC 3339>"}`.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use tara_export_jobs::SKEW;

/// A page as it is in its JSON.
#[derive(Deserialize)]
struct PageJson<'a> {
    #[serde(borrow)]
    requests: Vec<&'a RawValue>,
    cursor: Option<String>,
}

/// A page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<'a> {
    /// The requests, in JSON.
    pub(super) requests: Vec<PageRequest<'a>>,
    /// The time up to which the page has all sessions. `None` only if the page is empty.
    pub(super) cursor: Option<DateTime<Utc>>,
}

/// One request of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRequest<'a> {
    pub(super) json: &'a str,
    /// Where it starts in the page: the line and the column, from 1.
    pub(super) position: (usize, usize),
}

impl<'a> Page<'a> {
    /// Parses the response to a request with this time and limit.
    ///
    /// # Errors
    /// What is wrong, with its field, or its line and column.
    pub(super) fn parse(
        body: &'a [u8],
        after: DateTime<Utc>,
        limit: usize,
        now: DateTime<Utc>,
    ) -> Result<Self, String> {
        let PageJson { requests, cursor } = serde_json::from_slice(body)
            .map_err(|error| format!("the page is not valid: {error}"))?;
        if requests.len() > limit {
            let count = requests.len();
            return Err(format!("requests: has {count} elements, but \"limit\" is {limit}"));
        }
        let cursor = match cursor {
            Some(text) => Some(parse_cursor(&text, after, now)?),
            None if requests.is_empty() => None,
            None => return Err("cursor: is missing".to_owned()),
        };
        let requests = requests.into_iter().map(|request| PageRequest {
            json: request.get(),
            position: position(body, request.get()),
        });
        Ok(Self { requests: requests.collect(), cursor })
    }
}

fn parse_cursor(
    text: &str,
    after: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, String> {
    let shown: String = text.chars().take(80).collect();
    let cursor = DateTime::parse_from_rfc3339(text)
        .map_err(|error| {
            format!("cursor: must be a time such as 2026-11-30T14:00:00Z, not {shown:?}: {error}")
        })?
        .with_timezone(&Utc);
    if cursor < after {
        return Err(format!(
            "cursor: {shown:?} is before completed_after ({}): it must not go backwards",
            after.to_rfc3339()
        ));
    }
    // Sessions that are completed until then would be skipped.
    if cursor > now.checked_add_signed(SKEW).unwrap_or(DateTime::<Utc>::MAX_UTC) {
        return Err(format!(
            "cursor: {shown:?} is more than {} hour after the time of this server",
            TimeDelta::num_hours(&SKEW)
        ));
    }
    Ok(cursor)
}

/// The line and the column at which a part of the body starts.
fn position(body: &[u8], part: &str) -> (usize, usize) {
    let offset = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize).min(body.len());
    let before = &body[..offset];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |found| found + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    (line, offset - line_start + 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn parse(body: &str) -> Result<Page<'_>, String> {
        let (after, now) = (time("2026-11-30T12:00:00Z"), time("2026-11-30T13:00:00Z"));
        Page::parse(body.as_bytes(), after, 2, now)
    }

    #[test]
    fn requests_have_their_position() {
        let body = "{\"x\": 1, \"requests\": [{},\n  {\"a\": \"b\"}],\n \"cursor\": \"2026-11-30T12:30:00Z\"}";
        let page = parse(body).unwrap();
        let found: Vec<_> =
            page.requests.iter().map(|request| (request.json, request.position)).collect();
        assert_eq!(found, [("{}", (1, 23)), ("{\"a\": \"b\"}", (2, 3))]);
        assert_eq!(page.cursor, Some(time("2026-11-30T12:30:00Z")));
        assert_eq!(parse("{\"requests\": []}").unwrap(), Page { requests: vec![], cursor: None });
    }

    #[test]
    fn hostile_pages_are_faults_with_their_place() {
        let with_cursor =
            |cursor: &str| format!("{{\"requests\": [{{}}], \"cursor\": {cursor:?}}}");
        for (body, part) in [
            ("".to_owned(), "line 1 column 0"),
            ("<html>".to_owned(), "line 1 column 1"),
            ("[]".to_owned(), "the page is not valid"),
            ("{\"cursor\": null}".to_owned(), "missing field `requests`"),
            ("{\"requests\": {}}".to_owned(), "line 1 column 13"),
            ("{\"requests\": [], \"requests\": []}".to_owned(), "duplicate field"),
            ("{\"requests\": [{}]}".to_owned(), "cursor: is missing"),
            ("{\"requests\": [{}, {}, {}], \"cursor\": \"x\"}".to_owned(), "has 3 elements"),
            (with_cursor("yesterday"), "cursor: must be a time"),
            (with_cursor("2026-11-30T11:59:59Z"), "must not go backwards"),
            (with_cursor("2026-11-30T14:00:01Z"), "after the time of this server"),
            (format!("{{\"requests\": [{}", "[".repeat(100_000)), "EOF while parsing a list"),
            (
                format!("{{\"requests\": [], \"cursor\": \"{}\"}}", "9".repeat(1_000_000)),
                "not \"999",
            ),
        ] {
            let error = parse(&body).unwrap_err();
            assert!(error.contains(part) && error.len() < 400, "{part}: {error}");
        }
    }
}

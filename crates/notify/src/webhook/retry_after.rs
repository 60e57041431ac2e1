//! The header `Retry-After`. Source: RFC 9110, section 10.2.3.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

/// The longest wait that a receiver can ask for.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait that the value asks for, at most 24 h. `None` if it is neither a number of seconds nor a date.
pub(super) fn parse(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that is too large for 64 bits.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LIMIT));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let wait = until.duration_since(SystemTime::from(now)).unwrap_or_default();
    Some(wait.min(LIMIT))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_limited() {
        let now = DateTime::from_timestamp(784_111_777, 0).unwrap();
        for (value, expected_s) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:27 GMT", Some(86_400)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(parse(value, now), expected_s.map(Duration::from_secs), "{value}");
        }
    }
}

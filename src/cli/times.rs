//! Times on the command line.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use prost_types::Timestamp;

/// A time: RFC 3339, a date (UTC), or an age such as `12h` or `7d`.
///
/// # Errors
/// A message with the accepted forms.
pub(super) fn time_argument(text: &str) -> Result<Timestamp, String> {
    parse(text, Utc::now()).ok_or_else(|| {
        "must be a time such as 2026-11-30T14:00:00Z, a date such as 2026-11-30, or an age such as 12h or 7d"
            .to_owned()
    })
}

fn parse(text: &str, now: DateTime<Utc>) -> Option<Timestamp> {
    let time = if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        time.with_timezone(&Utc)
    } else if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        date.and_time(NaiveTime::MIN).and_utc()
    } else {
        let age = humantime::parse_duration(text).ok()?;
        now.checked_sub_signed(chrono::TimeDelta::from_std(age).ok()?)?
    };
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0);
    Some(Timestamp { seconds: time.timestamp(), nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_dates_and_ages_are_accepted() {
        let now = DateTime::from_timestamp(1_795_372_620, 0).unwrap_or_default();
        let seconds = |text| parse(text, now).map(|time| time.seconds);
        assert_eq!(seconds("2026-11-22T19:37:00+01:00"), Some(1_795_372_620));
        assert_eq!(seconds("2026-11-22"), Some(1_795_305_600));
        assert_eq!(seconds("2h"), Some(1_795_372_620 - 7200));
        assert_eq!(seconds("7d"), Some(1_795_372_620 - 7 * 86_400));
        for text in ["", "yesterday", "2026-13-01", "-1h", "9999999999999y"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}

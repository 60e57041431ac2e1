//! Cron expressions in a time zone.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

/// Maximum length of a cron expression.
const EXPRESSION_LIMIT_BYTES: usize = 100;

/// When a job runs: five fields of cron (minute, hour, day, month, weekday) in a time zone.
///
/// When clocks are put forward, a fixed time in the gap runs right after it; when they are put back, it runs once.
#[derive(Clone, PartialEq, Eq)]
pub struct Schedule {
    expression: String,
    cron: Cron,
    timezone: Tz,
}

/// A text that is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// The expression has a fault.
    #[error("must be a cron expression of five fields, such as \"0 7 * * MON\": {0}")]
    Expression(String),
    /// No time matches, such as 30 February.
    #[error("must be a cron expression that matches a time: there is none")]
    Never,
}

impl Schedule {
    /// Parses an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(expression: &str, timezone: Tz) -> Result<Self, InvalidSchedule> {
        if expression.len() > EXPRESSION_LIMIT_BYTES {
            let message = format!("it is longer than {EXPRESSION_LIMIT_BYTES} bytes");
            return Err(InvalidSchedule::Expression(message));
        }
        let parser = CronParser::builder();
        let parser = parser.seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|error| {
            InvalidSchedule::Expression(error.to_string().trim_end_matches('.').to_owned())
        })?;
        let schedule = Self { expression: expression.to_owned(), cron, timezone };
        // Every schedule that matches at all matches within eight years: 29 February.
        schedule.next_after(DateTime::UNIX_EPOCH).ok_or(InvalidSchedule::Never)?;
        Ok(schedule)
    }

    /// The expression as it was written.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The time zone.
    pub fn timezone(&self) -> Tz {
        self.timezone
    }

    /// The first tick after a time. `None` at the end of the calendar.
    pub fn next_after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let found = self.cron.find_next_occurrence(&time.with_timezone(&self.timezone), false);
        found.ok().map(|tick| tick.with_timezone(&Utc))
    }

    /// The last tick at or before a time. `None` at the beginning of the calendar.
    pub fn last_until(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let found = self.cron.find_previous_occurrence(&time.with_timezone(&self.timezone), true);
        found.ok().map(|tick| tick.with_timezone(&Utc))
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} in {}", self.expression, self.timezone)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn ticks(expression: &str, timezone: Tz, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::new(expression, timezone).unwrap();
        let mut time = at(from);
        let mut next = || {
            time = schedule.next_after(time).unwrap();
            assert_eq!(schedule.last_until(time), Some(time));
            assert_eq!(schedule.last_until(time + chrono::TimeDelta::seconds(59)), Some(time));
            time.format("%FT%RZ").to_string()
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn ticks_are_those_of_the_time_zone() {
        assert_eq!(
            ticks("0 7 * * MON", Tz::UTC, "2026-11-30T07:00:00Z", 2),
            ["2026-12-07T07:00Z", "2026-12-14T07:00Z"]
        );
        assert_eq!(
            ticks("0 7 * * *", Tz::Europe__Berlin, "2026-03-28T00:00:00Z", 2),
            ["2026-03-28T06:00Z", "2026-03-29T05:00Z"]
        );
    }

    #[test]
    fn changes_of_the_clock_neither_drop_nor_repeat_a_daily_tick() {
        // 02:30 does not exist on 29 March, and exists twice on 25 October.
        assert_eq!(
            ticks("30 2 * * *", Tz::Europe__Berlin, "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]
        );
        assert_eq!(
            ticks("30 2 * * *", Tz::Europe__Berlin, "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]
        );
    }

    #[test]
    fn faults_say_what_is_allowed() {
        for (expression, part) in [
            ("", "five fields"),
            ("* * * *", "five fields"),
            ("* * * * * *", "five fields"),
            ("60 * * * *", "five fields"),
            ("* * * * FOO", "five fields"),
            ("0 0 30 2 *", "there is none"),
        ] {
            let error = Schedule::new(expression, Tz::UTC).unwrap_err().to_string();
            assert!(error.contains(part), "{expression}: {error}");
        }
        let long = "0,".repeat(1_000);
        assert!(Schedule::new(&long, Tz::UTC).unwrap_err().to_string().contains("100 bytes"));
    }

    #[test]
    fn leap_days_match() {
        let schedule = Schedule::new("0 0 29 2 *", Tz::UTC).unwrap();
        let next = schedule.next_after(at("2026-11-30T00:00:00Z")).unwrap();
        assert_eq!(next, Utc.with_ymd_and_hms(2028, 2, 29, 0, 0, 0).unwrap());
    }
}

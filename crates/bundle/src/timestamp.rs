//! Timestamps of review applications.

use chrono::NaiveDate;

/// Parses an ISO 8601 time such as `2026-11-01T09:00:18` to microseconds since 1970. Accepts a space
/// instead of the `T`, a fraction (truncated to microseconds) and a zone. A time without a zone is
/// UTC. Returns `None` for other texts.
///
/// Not a library function because the bytes of bundles depend on it and must not change.
pub(super) fn parse_micros(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (date_and_time, rest) = bytes.split_at_checked(19)?;
    let separators =
        [(4, b"-"), (7, b"-"), (10, b"T "), (13, b":"), (16, b":")] as [(usize, &[u8]); 5];
    if separators.iter().any(|(index, allowed)| !allowed.contains(&date_and_time[*index])) {
        return None;
    }
    let number = |from: usize, to: usize| digits(&date_and_time[from..to]);
    let date = NaiveDate::from_ymd_opt(
        number(0, 4)?.try_into().ok()?,
        number(5, 7)?.try_into().ok()?,
        number(8, 10)?.try_into().ok()?,
    )?;
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    let (fraction_micros, zone) = fraction(rest)?;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset_seconds(zone)?;
    Some(seconds * 1_000_000 + fraction_micros)
}

/// The microseconds of a fraction such as `.25`, and the rest of the text.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(b'.' | b',') = rest.first() else { return Some((0, rest)) };
    let length = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, zone) = rest[1..].split_at(length);
    let used = &fraction[..length.min(6)];
    let micros = digits(used)? * 10_i64.pow(6 - used.len() as u32);
    Some((micros, zone))
}

/// The offset of a zone such as `Z`, `+05:30`, `+0530` or `-05` from UTC.
fn offset_seconds(zone: &[u8]) -> Option<i64> {
    let (sign, offset) = match zone {
        [] | b"Z" | b"z" => return Some(0),
        [b'+', offset @ ..] => (1, offset),
        [b'-', offset @ ..] => (-1, offset),
        _ => return None,
    };
    let (hours, minutes) = match offset {
        [_, _] => (digits(offset)?, 0),
        [_, _, b':', minutes @ ..] | [_, _, minutes @ ..] if minutes.len() == 2 => {
            (digits(&offset[..2])?, digits(minutes)?)
        }
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Parses a few ASCII digits, at least one.
fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn iso_8601_times_are_parsed() {
        // 2026-11-01T09:00:18Z is `date -u -d … +%s` 1793523618.
        let seconds = 1_793_523_618;
        for (text, micros) in [
            ("2026-11-01T09:00:18", 0),
            ("2026-11-01 09:00:18", 0),
            ("2026-11-01T09:00:18Z", 0),
            ("2026-11-01T09:00:18z", 0),
            ("2026-11-01T09:00:18.5", 500_000),
            ("2026-11-01T09:00:18,123456789Z", 123_456),
            ("2026-11-01T10:30:18+01:30", 0),
            ("2026-11-01T10:30:18.25+0130", 250_000),
            ("2026-10-31T23:00:18-10", 0),
        ] {
            assert_eq!(parse_micros(text), Some(seconds * 1_000_000 + micros), "{text}");
        }
        assert_eq!(parse_micros("1970-01-01T00:00:00"), Some(0));
        assert_eq!(parse_micros("0000-01-01T00:00:00"), Some(-62_167_219_200_000_000));
        assert_eq!(parse_micros("9999-12-31T23:59:59.999999"), Some(253_402_300_799_999_999));
    }

    #[test]
    fn other_texts_are_rejected() {
        for text in [
            "",
            "2026-11-01",
            "2026-11-01T09:00",
            "2026-11-01T09:00:18.",
            "2026-11-01T09:00:18 ",
            "2026-11-01t09:00:18",
            "2026-13-01T09:00:18",
            "2026-02-29T09:00:18",
            "2026-11-01T24:00:00",
            "2026-11-01T09:60:00",
            "2026-11-01T09:00:60",
            "2026-11-01T09:00:18+1",
            "2026-11-01T09:00:18+24:00",
            "2026-11-01T09:00:18+01:0",
            "2026-11-01T09:00:18+01:300",
            "+2026-11-1T09:00:18",
            "yesterday",
            "2026-11-01T09:00:1８",
            "2026-11-01T09:00:18 UTC",
        ] {
            assert_eq!(parse_micros(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in "[0-9TZ:. +é-]{0,40}", any: String) {
            let _ = (parse_micros(&text), parse_micros(&any));
        }
    }
}

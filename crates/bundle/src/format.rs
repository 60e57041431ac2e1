//! The JSON of bundles, byte for byte.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Formats a value as JSON with an indent of two spaces, unescaped UTF-8, keys in the order in which
/// the value writes them, doubles as in Python, and no newline at the end. Readers of bundles depend
/// on this form.
///
/// The keys of the value must be texts, and its `Serialize` must not fail, as for all values of this
/// crate.
pub fn to_json_pretty(value: &impl Serialize) -> Vec<u8> {
    to_json(value, PinnedNumbers(PrettyFormatter::with_indent(b"  ")))
}

/// As [`to_json_pretty`], without spaces and line breaks.
pub fn to_json_compact(value: &impl Serialize) -> Vec<u8> {
    to_json(value, PinnedNumbers(CompactFormatter))
}

/// Writes the value as [`to_json_compact`] to a writer that does not fail.
pub(super) fn write_json_compact(value: &impl Serialize, writer: impl Write) {
    write_json(value, writer, PinnedNumbers(CompactFormatter));
}

fn to_json(value: &impl Serialize, formatter: impl Formatter) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_json(value, &mut bytes, formatter);
    // Files stay in memory while they are stored, and a buffer has up to twice the size of its file.
    bytes.shrink_to_fit();
    bytes
}

fn write_json(value: &impl Serialize, writer: impl Write, formatter: impl Formatter) {
    let result = value.serialize(&mut Serializer::with_formatter(writer, formatter));
    // The writer does not fail, and serde_json only rejects keys that are not texts.
    #[allow(clippy::expect_used, reason = "the values of this crate have only text keys")]
    result.expect("a value with text keys is JSON");
}

/// Formats doubles itself, since serde_json may change its format, and everything else with the inner
/// formatter.
struct PinnedNumbers<F>(F);

/// Delegates methods to the inner formatter.
macro_rules! delegate {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<W: ?Sized + Write>(&mut self, writer: &mut W $(, $argument: $type)*) -> io::Result<()> {
            self.0.$method(writer $(, $argument)*)
        }
    )*};
}

impl<F: Formatter> Formatter for PinnedNumbers<F> {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, number: f64) -> io::Result<()> {
        writer.write_all(format_double(number).as_bytes())
    }

    delegate! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }
}

/// Formats a finite double as Python's `repr`: the shortest digits that parse as the same double, with
/// a fraction, or with an exponent below 1e-4 and from 1e16 on.
pub(super) fn format_double(number: f64) -> String {
    let scientific = shortest_scientific(number);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let (minus, mantissa) = match mantissa.strip_prefix('-') {
        Some(positive) => ("-", positive),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    // Number of digits before the decimal point.
    let whole_digits = (exponent + 1).max(0).unsigned_abs() as usize;
    if whole_digits == 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{minus}0.{zeros}{digits}");
    }
    match digits.split_at_checked(whole_digits) {
        Some((whole, fraction)) if !fraction.is_empty() => format!("{minus}{whole}.{fraction}"),
        _ => format!("{minus}{digits:0<whole_digits$}.0"),
    }
}

/// The shortest digits with an exponent, `1.2345e-5`. If two candidates are equally near, Rust may
/// choose either; this function, like Python, chooses the one whose last digit is even.
fn shortest_scientific(number: f64) -> String {
    let shortest = format!("{number:e}");
    let digits =
        shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    // Correctly rounded from the exact value of the double, ties to even.
    let nearest = format!("{number:.*e}", digits.saturating_sub(1));
    if nearest.parse() == Ok(number) { nearest } else { shortest }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_are_formatted_as_in_python() {
        // Each text is the output of `repr` in CPython 3.11.
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (65.0, "65.0"),
            (33.17, "33.17"),
            (0.1 + 0.2, "0.30000000000000004"),
            (200.0 / 3.0, "66.66666666666667"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (0.00012345, "0.00012345"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (12_345_678_901_234_567_890.0, "1.2345678901234567e+19"),
            (-1.5e300, "-1.5e+300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            // Two candidates are equally near.
            (5_849_874_349_264_405.0 / 4.0, "1462468587316101.2"),
            (-1_871_134_174_267_437.0 / 8.0, "-233891771783429.62"),
            // Powers of two: the next lower double is nearer than the next higher one.
            (9_007_199_254_740_992.0, "9007199254740992.0"),
            (2.0_f64.powi(-44), "5.684341886080802e-14"),
        ] {
            assert_eq!(format_double(number), text);
            assert_eq!(to_json_pretty(&number), text.as_bytes());
            assert_eq!(to_json_compact(&number), text.as_bytes());
        }
    }

    #[test]
    fn json_format_is_pinned() {
        let value = BTreeMap::from([
            (
                "a",
                vec![
                    serde_json::json!("é😀\u{7f}\u{2028}/\"\\"),
                    serde_json::json!("\u{0}\n\t\u{1f}"),
                ],
            ),
            ("b", vec![]),
            ("c", vec![serde_json::json!({}), serde_json::json!(-3), serde_json::json!(null)]),
        ]);
        let pretty = "{\n  \"a\": [\n    \"é😀\u{7f}\u{2028}/\\\"\\\\\",\n    \"\\u0000\\n\\t\\u001f\"\n  ],\n  \
                      \"b\": [],\n  \"c\": [\n    {},\n    -3,\n    null\n  ]\n}";
        assert_eq!(String::from_utf8_lossy(&to_json_pretty(&value)), pretty);
        let compact = "{\"a\":[\"é😀\u{7f}\u{2028}/\\\"\\\\\",\"\\u0000\\n\\t\\u001f\"],\"b\":[],\"c\":[{},-3,null]}";
        assert_eq!(String::from_utf8_lossy(&to_json_compact(&value)), compact);
    }

    proptest! {
        #[test]
        fn doubles_round_trip(number in prop::num::f64::ANY.prop_filter("finite", |n| n.is_finite())) {
            let text = format_double(number);
            prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(number.to_bits()));
            prop_assert!(text.contains(['.', 'e']));
        }
    }
}

//! JSON as bundles have it, byte for byte.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// A value as JSON with two-space indent, UTF-8 unescaped, keys in the order the value writes
/// them, doubles as Python writes them, and no newline at the end: what readers of bundles have
/// always read.
///
/// For values whose keys are texts and whose own `Serialize` reports no error, as all of this
/// room's are.
pub fn to_json_pretty(value: &impl Serialize) -> Vec<u8> {
    to_json(value, PinnedNumbers(PrettyFormatter::with_indent(b"  ")))
}

/// The same without spaces and line breaks.
pub fn to_json_compact(value: &impl Serialize) -> Vec<u8> {
    to_json(value, PinnedNumbers(CompactFormatter))
}

/// Writes the same to a writer that does not fail.
pub(super) fn write_json_compact(value: &impl Serialize, writer: impl Write) {
    write_json(value, writer, PinnedNumbers(CompactFormatter));
}

fn to_json(value: &impl Serialize, formatter: impl Formatter) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_json(value, &mut bytes, formatter);
    // Files are kept while they are stored; their buffers grew to up to twice their sizes.
    bytes.shrink_to_fit();
    bytes
}

fn write_json(value: &impl Serialize, writer: impl Write, formatter: impl Formatter) {
    let result = value.serialize(&mut Serializer::with_formatter(writer, formatter));
    // The writer does not fail, and serde_json itself refuses only keys that are no texts.
    #[allow(clippy::expect_used, reason = "the values of this room have text keys only")]
    result.expect("a value with text keys is JSON");
}

/// Writes doubles its own way, since serde_json may change how it prints them, and leaves the rest
/// to another formatter.
struct PinnedNumbers<F>(F);

/// Passes calls on to the inner formatter.
macro_rules! pass_on {
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

    pass_on! {
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

/// A finite double as Python's `repr` writes it: the fewest digits that read back as the same
/// double, with a fraction or an exponent, the latter below 1e-4 and from 1e16 on.
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
    // Digits before the point, the first one of the mantissa included.
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

/// The shortest digits with an exponent, `1.2345e-5`. Where two of that length are as near, Rust
/// may take either; here, as in Python, it is the one whose last digit is even.
fn shortest_scientific(number: f64) -> String {
    let shortest = format!("{number:e}");
    let digits =
        shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    // Correctly rounded from the double's exact value, ties to even.
    let nearest = format!("{number:.*e}", digits.saturating_sub(1));
    if nearest.parse() == Ok(number) { nearest } else { shortest }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_are_written_as_python_writes_them() {
        // Each text is what CPython 3.11 prints with `repr`.
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
            // Both neighbours are as near and read back.
            (5_849_874_349_264_405.0 / 4.0, "1462468587316101.2"),
            (-1_871_134_174_267_437.0 / 8.0, "-233891771783429.62"),
            // Powers of two: their neighbour below is nearer than the one above.
            (9_007_199_254_740_992.0, "9007199254740992.0"),
            (2.0_f64.powi(-44), "5.684341886080802e-14"),
        ] {
            assert_eq!(format_double(number), text);
            assert_eq!(to_json_pretty(&number), text.as_bytes());
            assert_eq!(to_json_compact(&number), text.as_bytes());
        }
    }

    #[test]
    fn the_form_is_pinned() {
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
        fn every_double_reads_back(number in prop::num::f64::ANY.prop_filter("finite", |n| n.is_finite())) {
            let text = format_double(number);
            prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(number.to_bits()));
            prop_assert!(text.contains(['.', 'e']));
        }
    }
}

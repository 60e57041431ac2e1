#![allow(clippy::unwrap_used)]

use super::*;
use crate::{proto::Replacement, replaced::Replacements};

/// Reads a text, of which every value is exported.
fn read(text: impl AsRef<[u8]>) -> Result<Json, JsonError> {
    super::read(text.as_ref(), &mut Replacements::default(), |_, _| true)
}

/// The value, and the paths and reasons of its replacements.
fn replaced(text: impl AsRef<[u8]>) -> (Json, Vec<(String, String)>) {
    let mut replaced = Replacements::default();
    let json = super::read(text.as_ref(), &mut replaced, |_, _| true).unwrap();
    let mut list = Vec::new();
    replaced.append_to(&mut list, ToOwned::to_owned);
    (json, list.into_iter().map(|Replacement { path, reason }| (path, reason)).collect())
}

fn string(text: &str) -> Json {
    Json::String(text.to_owned())
}

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn numbers_keep_their_exact_value() {
    let numbers = |text: &str| match read(text).unwrap() {
        Json::Array(elements) => elements,
        other => vec![other],
    };
    let integer = |integer| Json::Number(Number::Integer(integer));
    assert_eq!(
        numbers("[0, -7, 9223372036854775807, -9223372036854775808]"),
        [integer(0), integer(-7), integer(i64::MAX), integer(i64::MIN)]
    );
    assert_eq!(
        numbers("[9223372036854775808]"),
        [Json::Number(Number::HugeInteger("9223372036854775808".to_owned()))]
    );
    // The nearest double is 1 + 2^-52; a reader that multiplies by powers of ten can miss it.
    let expected = 1.000_000_000_000_000_2_f64;
    assert_eq!(
        numbers("[1.00000000000000016653345369377348106354475021362304687500001]"),
        [Json::Number(Number::Float(expected))]
    );
    let Json::Number(zero) = read("-0").unwrap() else { unreachable!() };
    assert!(zero.as_double().unwrap().is_sign_negative(), "negative zero keeps its sign");
}

#[test]
fn doubles_represent_integers_up_to_two_to_the_53() {
    for exact in ["9007199254740992", "-9007199254740992"] {
        let Json::Number(number) = read(exact).unwrap() else { unreachable!() };
        assert_eq!(number.as_double(), Ok(exact.parse().unwrap()));
    }
    for rounded in ["9007199254740993", "-9007199254740993", "123456789012345678901234567890"] {
        let Json::Number(number) = read(rounded).unwrap() else { unreachable!() };
        assert_eq!(number.as_double(), Err((rounded.to_owned(), Reason::NotExact)));
    }
}

#[test]
fn objects_keep_the_order_of_keys() {
    let Json::Object(entries) = read(r#"{"z":1,"a":2,"m":3}"#).unwrap() else { unreachable!() };
    let keys: Vec<_> = entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["z", "a", "m"]);
}

#[test]
fn equal_keys_are_renamed() {
    let keys = |json: &Json| match json {
        Json::Object(entries) => entries.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(),
        _ => unreachable!(),
    };
    // The second is the same key with an escape.
    let (json, list) = replaced(r#"{"a (2)":1,"a":2,"\u0061":3,"a":4}"#);
    assert_eq!(keys(&json), ["a (2)", "a", "a (3)", "a (4)"]);
    let renamed = ["a (3)", "a (4)"];
    assert_eq!(list, renamed.map(|key| (format!("[\"{key}\"]"), "DUPLICATE_KEY".to_owned())));
}

#[test]
fn deep_nesting_is_cut_without_stack_overflow() {
    for depth in [120, 121, 100_000] {
        let mut json = &read(format!("{}{}", "[".repeat(depth), "]".repeat(depth))).unwrap();
        let mut levels = 0;
        while let Json::Array(elements) = json {
            levels += 1;
            match elements.first() {
                Some(first) => json = first,
                None => break,
            }
        }
        assert_eq!(levels, 120);
        assert_eq!(*json == Json::Null, depth > 120);
    }
}

#[test]
fn numbers_beyond_doubles_keep_their_text() {
    let number = Number::BeyondDouble("1e999".to_owned());
    assert_eq!(read("1e999").unwrap(), Json::Number(number.clone()));
    assert_eq!(number.as_double(), Err(("1e999".to_owned(), Reason::NotExact)));
}

#[test]
fn numbers_that_are_not_finite_are_read() {
    let number = |name| Json::Number(Number::NotFinite(name));
    assert_eq!(
        read("[NaN,-Infinity ,\n Infinity]").unwrap(),
        Json::Array(vec![number("NaN"), number("-Infinity"), number("Infinity")])
    );
    assert_eq!(read(r#""NaN, Infinity""#).unwrap(), string("NaN, Infinity"));
    for text in
        ["[1NaN]", "[NaN1]", "[NaNN]", "[-NaN]", "[+Infinity]", "[--Infinity]", "[nan]", "{NaN: 1}"]
    {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn unpaired_surrogates_are_replaced_and_listed() {
    for (text, expected) in [
        (r#""\ud800""#, "\u{fffd}"),
        (r#""\uDC00\uD800""#, "\u{fffd}\u{fffd}"),
        (r#""\ud800x\\ud800""#, "\u{fffd}x\\ud800"),
        (r#""\ud800\ud83d\ude00""#, "\u{fffd}😀"),
        (r#""\ud800\n""#, "\u{fffd}\n"),
    ] {
        let (json, list) = replaced(format!("[{text}]"));
        assert_eq!(json, Json::Array(vec![string(expected)]), "{text}");
        assert_eq!(list, [("[0]".to_owned(), "NOT_UNICODE".to_owned())]);
    }
    assert_eq!(replaced(r#""\ud83d\ude00\ufffd""#), (string("😀\u{fffd}"), vec![]));
    for text in [r#""\ud8""#, r#""\ud80g""#, r#""\u+d80""#] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn invalid_bytes_are_replaced_and_listed() {
    let (json, list) = replaced(b"[\"a\", \"\xff\xc3\xa4\xc3\"]");
    assert_eq!(json, Json::Array(vec![string("a"), string("\u{fffd}ä\u{fffd}")]));
    assert_eq!(list, [("[1]".to_owned(), "NOT_UNICODE".to_owned())]);
    assert!(read(b"[\xff]").is_err());
}

#[test]
fn other_syntax_errors_have_line_and_column() {
    assert_eq!(error("[1,\n 2,]"), "line 2, column 4: expected value");
    assert_eq!(error("{} {}"), "line 1, column 4: trailing characters");
    assert_eq!(error(""), "line 1, column 1: EOF while parsing a value");
}

#[test]
fn byte_order_mark_is_ignored() {
    assert_eq!(read("\u{feff}null").unwrap(), Json::Null);
}

#[test]
fn paths_are_printed_like_javascript() {
    let top = Path::Top;
    let list = top.key("feedback_data");
    let section = list.key("Section \"1\"\u{1}");
    let item = section.index(3);
    assert_eq!(item.key("weird").to_string(), r#"feedback_data["Section \"1\"\u0001"][3].weird"#);
    assert_eq!(top.index(0).key("1a").to_string(), r#"[0]["1a"]"#);
    assert_eq!(top.key("Größe").to_string(), r#"["Größe"]"#);
}

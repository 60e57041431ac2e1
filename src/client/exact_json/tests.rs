#![allow(clippy::unwrap_used)]

use super::*;

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
    assert!(zero.as_double().unwrap().is_sign_negative(), "minus zero keeps its sign");
}

#[test]
fn doubles_hold_integers_up_to_two_to_the_53() {
    for exact in ["9007199254740992", "-9007199254740992"] {
        let Json::Number(number) = read(exact).unwrap() else { unreachable!() };
        assert_eq!(number.as_double(), Ok(exact.parse().unwrap()));
    }
    for rounded in ["9007199254740993", "-9007199254740993", "123456789012345678901234567890"] {
        let Json::Number(number) = read(rounded).unwrap() else { unreachable!() };
        assert_eq!(number.as_double(), Err(rounded.to_owned()));
    }
}

#[test]
fn objects_keep_their_order() {
    let Json::Object(entries) = read(r#"{"z":1,"a":2,"m":3}"#).unwrap() else { unreachable!() };
    let keys: Vec<_> = entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["z", "a", "m"]);
}

#[test]
fn equal_keys_are_refused_with_their_path() {
    assert_eq!(error(r#"{"a":[{"b c":1,"b c":2}]}"#), r#"a[0]["b c"]: stands twice in its object"#);
    // Written differently, and the same key.
    assert_eq!(error(r#"{"ab":1,"a\u0062":2}"#), "ab: stands twice in its object");
}

#[test]
fn deep_nesting_is_refused_with_its_path_and_without_using_up_the_stack() {
    assert!(read(&format!("{}{}", "[".repeat(40), "]".repeat(40))).is_ok());
    let expected = format!("{}: is nested deeper than 40 levels", "[0]".repeat(40));
    for depth in [41, 100] {
        assert_eq!(error(&format!("{}{}", "[".repeat(depth), "]".repeat(depth))), expected);
    }
    let bottomless = error(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    assert!(bottomless.contains("deeper") || bottomless.contains("recursion"), "{bottomless}");
}

#[test]
fn numbers_beyond_doubles_are_refused() {
    assert_eq!(error(r#"{"a":[1e999]}"#), "a[0]: the number 1e999 is too large for a double");
}

#[test]
fn what_other_writers_produce_is_explained_with_line_and_column() {
    assert_eq!(error("{\n  \"a\": NaN}"), "line 2, column 8: NaN is no JSON value");
    assert_eq!(error("[1,\nInfinity]"), "line 2, column 1: Infinity is no JSON value");
    assert_eq!(error("[\n\n -Infinity]"), "line 3, column 3: -Infinity is no JSON value");
}

#[test]
fn half_characters_are_refused_where_they_stand() {
    let half = "half of a surrogate pair, which is no character";
    // Columns count characters: the umlauts are one each. The character after the half is where
    // the other half would have to be.
    assert_eq!(error("{\"ää\": 1,\n \"ää\\ud800\": 2}"), format!("line 2, column 11: {half}"));
    for text in [r#"["\ud800"]"#, r#"["\udc00"]"#, r#"["\ud800x"]"#, r#"["\ud800A"]"#] {
        let message = error(text);
        assert!(message.starts_with("line 1, column ") && message.ends_with(half), "{message}");
    }
    assert_eq!(read(r#""\ud83d\ude00""#).unwrap(), Json::String("😀".to_owned()));
}

#[test]
fn other_syntax_errors_say_where() {
    assert_eq!(error("[1,\n 2,]"), "line 2, column 4: expected value");
    assert_eq!(error("{} {}"), "line 1, column 4: trailing characters");
    assert_eq!(error(""), "line 1, column 1: EOF while parsing a value");
}

#[test]
fn a_byte_order_mark_is_ignored() {
    assert_eq!(read("\u{feff}null").unwrap(), Json::Null);
}

#[test]
fn paths_are_written_as_a_person_would() {
    let top = Path::Top;
    let list = top.key("feedback_data");
    let section = list.key("Section \"1\"\u{1}");
    let item = section.index(3);
    assert_eq!(item.key("weird").to_string(), r#"feedback_data["Section \"1\"\u0001"][3].weird"#);
    assert_eq!(top.index(0).key("1a").to_string(), r#"[0]["1a"]"#);
    assert_eq!(top.key("Größe").to_string(), r#"["Größe"]"#);
}

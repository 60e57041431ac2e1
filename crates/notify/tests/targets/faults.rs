//! Every kind of fault has a row: the text, where the fault is, and a part of its message.

use super::*;

/// Whether a fault is one of the shape, which the schema rejects as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Shape,
    Content,
}
use Of::{Content, Shape};

/// A file with one webhook; `$` is replaced by fields in addition to its name and kind.
fn webhook(fields: &str) -> String {
    format!(r#"{{"targets": [{{"name": "hook", "kind": "webhook"{fields}}}]}}"#)
}

/// A file with a webhook that is valid without these fields.
fn with(fields: &str) -> String {
    webhook(&format!(r#", "url": "https://example.com/", "secret_files": ["secret"], {fields}"#))
}

/// A file with a webhook of this URL.
fn url(url: &str) -> String {
    webhook(&format!(r#", "secret_files": ["secret"], "url": "{url}""#))
}

/// A file with a webhook of these files of secrets.
fn secrets(list: &str) -> String {
    webhook(&format!(r#", "url": "https://example.com/", "secret_files": {list}"#))
}

fn named(name: &str) -> String {
    let target = |name: &str| {
        format!(r#"{{"name": {name}, "kind": "webhook", "url_file": "url", "template": "slack"}}"#)
    };
    format!(r#"{{"targets": [{}, {}]}}"#, target("\"other\""), target(name))
}

pub(crate) fn faults() -> Vec<(Of, String, &'static str, &'static str)> {
    let target = "targets[0]";
    vec![
        // The file.
        (Shape, "[]".into(), "", "the file must be an object, not a list"),
        (Shape, "7".into(), "", "the file must be an object, not 7"),
        (Shape, "{}".into(), "targets", "is missing"),
        (Shape, r#"{"targets": null}"#.into(), "targets", "is missing"),
        (Shape, r#"{"targets": {}}"#.into(), "targets", "must be a list of objects, not an object"),
        (Shape, r#"{"targets": [], "extra": 1}"#.into(), "extra", "is unknown; allowed are "),
        (Shape, r#"{"targets": [7]}"#.into(), target, "must be an object, not 7"),
        (Shape, many(17), "targets", "has 17 elements; at most 16 are allowed"),
        // Not JSON, or ambiguous.
        (Content, "".into(), "", "the file is not JSON: EOF while parsing"),
        (
            Content,
            "{\"targets\": [}".into(),
            "",
            "the file is not JSON: expected value at line 1 column 14",
        ),
        (Content, "{\"targets\": []} x".into(), "", "the file is not JSON: trailing characters"),
        (
            Content,
            r#"{"targets": [], "targets": []}"#.into(),
            "",
            "the key \"targets\" is there twice",
        ),
        (
            Content,
            with(r#""url": "https://example.com/hunter2""#),
            "",
            "the key \"url\" is there twice",
        ),
        (Content, format!("{{\"targets\": {}", "[".repeat(10_000)), "", "recursion limit exceeded"),
        // The name.
        (
            Shape,
            r#"{"targets": [{"kind": "webhook", "url_file": "url", "template": "slack"}]}"#.into(),
            "targets[0].name",
            "is missing",
        ),
        (Shape, named("null"), "targets[1].name", "is missing"),
        (Shape, named("\"\""), "targets[1].name", "must not be empty"),
        (Shape, named("7"), "targets[1].name", "must be a text, not 7"),
        (Shape, named("\"Ops\""), "targets[1].name", "must be 1 to 32 lower-case letters"),
        (Shape, named("\"-ops\""), "targets[1].name", "not \"-ops\""),
        (Shape, named("\"../ops\""), "targets[1].name", "not \"../ops\""),
        (
            Shape,
            named("\"012345678901234567890123456789012\""),
            "targets[1].name",
            "must be 1 to 32",
        ),
        (Content, named("\"other\""), "targets[1].name", "\"other\" is the name of another target"),
        // The kind.
        (Shape, r#"{"targets": [{"name": "a"}]}"#.into(), "targets[0].kind", "is missing"),
        (
            Shape,
            r#"{"targets": [{"name": "a", "kind": "fax"}]}"#.into(),
            "targets[0].kind",
            "not \"fax\"",
        ),
        // What all kinds have.
        (
            Shape,
            with(r#""events": []"#),
            "targets[0].events",
            "must have at least one of committed, ",
        ),
        (Shape, with(r#""events": ["done"]"#), "targets[0].events[0]", "not \"done\""),
        (Shape, with(r#""events": ["test"]"#), "targets[0].events[0]", "not \"test\""),
        (
            Shape,
            with(r#""events": ["failed", "failed"]"#),
            "targets[0].events[1]",
            "\"failed\" is there twice",
        ),
        (Shape, with(r#""events": "failed""#), "targets[0].events", "must be a list of texts"),
        (Shape, with(r#""events": [null]"#), "targets[0].events[0]", "must be a text, not null"),
        (Shape, with(r#""filter": true"#), "targets[0].filter", "must be a text, not true"),
        (Content, with(r#""filter": "reviewer ~ 7""#), "targets[0].filter", ""),
        (
            Shape,
            with(r#""include_names": "yes""#),
            "targets[0].include_names",
            "must be true or false",
        ),
        // Webhooks.
        (
            Shape,
            with(r#""secrets": ["hunter2"]"#),
            "targets[0].secrets",
            "is unknown; allowed are name, kind, ",
        ),
        (
            Shape,
            with(r#""private_network": 1"#),
            "targets[0].private_network",
            "must be true or false, not 1",
        ),
        (Shape, with(r#""timeout": 10"#), "targets[0].timeout", "must be a text, not 10"),
        (
            Shape,
            with(r#""timeout": "soon""#),
            "targets[0].timeout",
            "must be a duration from 1s to 1m",
        ),
        (Content, with(r#""timeout": "0s""#), "targets[0].timeout", "not \"0s\""),
        (Content, with(r#""timeout": "61s""#), "targets[0].timeout", "not \"61s\""),
        (Shape, with(r#""template": 7"#), "targets[0].template", "must be a text, not 7"),
        (
            Content,
            with(r#""template": "missing""#),
            "targets[0].template",
            "has no file missing.json",
        ),
        (
            Content,
            with(r#""template": "../secret""#),
            "targets[0].template",
            "is not the name of a template",
        ),
        (
            Content,
            with(r#""template": "faulty""#),
            "targets[0].template",
            "faulty.json is faulty in line 1",
        ),
        (
            Shape,
            webhook(r#", "secret_files": ["secret"]"#),
            "targets[0].url",
            "url or url_file is required",
        ),
        (
            Shape,
            with(r#""url_file": "url""#),
            "targets[0].url",
            "must not be set together with url_file",
        ),
        (Shape, url("ftp://example.com/hunter2"), "targets[0].url", "must be an https:// URL"),
        (
            Content,
            url("http://example.com/hunter2"),
            "targets[0].url",
            "to loopback addresses only",
        ),
        (
            Content,
            url("http://127.0.0.1/hunter2"),
            "targets[0].url",
            "needs \"private_network\": true",
        ),
        (
            Content,
            url("https://10.0.0.1/hunter2"),
            "targets[0].url",
            "a private address; private ones need",
        ),
        (Content, url("https://169.254.169.254/"), "targets[0].url", "never allowed"),
        (
            Content,
            url("https://a:hunter2@example.com/"),
            "targets[0].url",
            "a user name or a password",
        ),
        (Content, url("https://exa mple.com/hunter2"), "targets[0].url", "without spaces"),
        (
            Content,
            webhook(r#", "url_file": "not-https", "template": "slack""#),
            "targets[0].url_file",
            "https://",
        ),
        (
            Content,
            webhook(r#", "url_file": "large", "template": "slack""#),
            "targets[0].url_file",
            "more than",
        ),
        (
            Content,
            webhook(r#", "url_file": "line", "template": "slack""#),
            "targets[0].url_file",
            "it is empty",
        ),
        (
            Shape,
            webhook(r#", "url": "https://example.com/""#),
            "targets[0].secret_files",
            "is missing",
        ),
        (Shape, secrets("[]"), "targets[0].secret_files", "must have 1 to 2 elements"),
        (Shape, secrets(r#"["a", "b", "c"]"#), "targets[0].secret_files", "at most 2 are allowed"),
        (
            Shape,
            secrets(r#""whsec_hunter2""#),
            "targets[0].secret_files",
            "must be a list of texts, not a text",
        ),
        (
            Content,
            secrets(r#"["whsec_hunter2"]"#),
            "targets[0].secret_files[0]",
            "there is no such file",
        ),
        (Content, secrets(r#"["templates"]"#), "targets[0].secret_files[0]", "it is not a file"),
        (Content, secrets(r#"["/dev/zero"]"#), "targets[0].secret_files[0]", "it is not a file"),
        (Content, secrets(r#"["secret", "empty"]"#), "targets[0].secret_files[1]", "it is empty"),
        (Content, secrets(r#"["large"]"#), "targets[0].secret_files[0]", "more than 1024 bytes"),
        (Content, secrets(r#"["binary"]"#), "targets[0].secret_files[0]", "it is not UTF-8"),
        (
            Content,
            secrets(r#"["short"]"#),
            "targets[0].secret_files[0]",
            "must contain whsec_ and the base64",
        ),
    ]
}

/// A file with so many targets.
fn many(count: usize) -> String {
    let target = |number| {
        format!(
            r#"{{"name": "t{number}", "kind": "webhook", "url_file": "url", "template": "slack"}}"#
        )
    };
    format!(r#"{{"targets": [{}]}}"#, (0..count).map(target).collect::<Vec<_>>().join(", "))
}

#[test]
fn every_fault_is_reported_with_its_path_and_without_secrets() {
    let folder = folder();
    for (_, text, path, message) in faults() {
        let error = match Targets::parse(&text, &context(&folder)) {
            Ok(_) => panic!("accepted: {text}"),
            Err(error) => error,
        };
        let found =
            error.faults.iter().any(|fault| fault.path == path && fault.message.contains(message));
        assert!(found, "{text}: {error}");
        assert_eq!(error.faults.len(), 1, "{text}: {error}");
        // The texts of the table that stand for secrets, and those of the files.
        for secret in ["hunter2", "aHVudGVyMg", &SECRET[6..]] {
            assert!(!format!("{error} {error:?}").contains(secret), "{text}: {error}");
        }
    }
}

#[test]
fn sixteen_targets_are_allowed() {
    let folder = folder();
    assert_eq!(Targets::parse(&many(16), &context(&folder)).unwrap().iter().count(), 16);
}

#[test]
fn invalid_name_hides_no_fault_of_the_target() {
    let text = r#"{"targets": [{"name": "Ops", "kind": "webhook", "url": "ftp://x", "extra": 1}]}"#;
    let error = Targets::parse(text, &context(&folder())).unwrap_err();
    let paths: Vec<&str> = error.faults.iter().map(|fault| fault.path.as_str()).collect();
    for path in ["name", "url", "secret_files", "extra"] {
        assert!(paths.contains(&format!("targets[0].{path}").as_str()), "{path}: {error}");
    }
}

#[test]
fn all_faults_are_reported_up_to_a_limit() {
    let folder = folder();
    let targets = vec![r#"{"name": "A", "kind": "b"}"#; 16].join(", ");
    let error = Targets::parse(&format!(r#"{{"targets": [{targets}]}}"#), &context(&folder));
    let error = error.unwrap_err();
    assert_eq!(error.faults.len(), 32);
    assert!(error.to_string().ends_with("; and 12 more"), "{error}");
}

#[test]
fn long_values_are_shortened() {
    let folder = folder();
    let long = "9".repeat(100_000);
    for text in [
        format!(r#"{{"targets": [], "{long}": 1}}"#),
        format!(r#"{{"targets": [{{"name": "{long}", "kind": "{long}"}}]}}"#),
        with(&format!(r#""timeout": "{long}""#)),
        with(&format!(r#""events": ["{long}"]"#)),
        with(&format!(r#""filter": "{long}""#)),
        with(&format!(r#""template": "{long}""#)),
        format!(r#"{{"{long}": 1, "{long}": 2}}"#),
    ] {
        let error = Targets::parse(&text, &context(&folder)).unwrap_err().to_string();
        assert!(error.len() < 1_000, "{} bytes: {}", error.len(), &error[..200]);
    }
}

use std::path::Path;

use serde_json::json;

use super::*;
use crate::{Target, Targets};
use tara_export_settings_file::{Fault, InvalidFile};

fn parse(changes: Value) -> Result<Target, InvalidFile> {
    parse_in(Path::new("/nowhere"), None, changes)
}

fn parse_in(
    folder: &Path,
    templates: Option<&Path>,
    changes: Value,
) -> Result<Target, InvalidFile> {
    let mut target = json!({
        "name": "ops", "kind": "email", "smtp": "smtps://mail.example.com",
        "from": "audit@example.com", "to": ["ops@example.com"],
    });
    for (name, value) in changes.as_object().unwrap() {
        target[name] = value.clone();
    }
    let text = json!({ "targets": [target] }).to_string();
    let context = TargetContext::new(folder.to_owned(), templates.map(Path::to_owned));
    let targets = Targets::parse(&text, &context)?;
    Ok(targets.iter().next().unwrap().clone())
}

#[test]
fn defaults_are_those_of_a_list_or_of_requested_recipients() {
    let target = parse(json!({})).unwrap();
    assert_eq!(target.digest, Duration::from_secs(60));
    assert!(!target.is_for_requested);
    assert_eq!(
        target.events,
        [EventType::FellBack, EventType::Synced, EventType::Failed, EventType::Quarantined]
    );
    let target = parse(json!({ "to": "requested", "digest": "0s" })).unwrap();
    assert!(target.is_for_requested);
    let all_but_runs = EventType::ALL.into_iter().filter(|kind| *kind != EventType::JobEnded);
    assert_eq!(target.events, all_but_runs.collect::<Vec<_>>());
    assert_eq!(target.digest, Duration::ZERO);
    assert!(!target.wants(&sample(EventType::Committed, 1)));
}

#[test]
fn all_settings_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "secret\n").unwrap();
    let changes = json!({
        "smtp": "smtp://mail.example.com:2587", "username": "ada", "password_file": "password",
        "from": "Audit <audit@example.com>", "reply_to": "Help <help@example.com>",
        "to": ["a@example.com", "b@example.com"], "events": ["committed"], "locale": "ja",
        "digest": "1h", "timeout": "5m", "include_names": true,
    });
    let target = parse_in(folder.path(), None, changes).unwrap();
    assert_eq!(target.digest, Duration::from_secs(3600));
    assert!(!format!("{target:?}").contains("secret"));
}

#[test]
fn faults_name_the_field_and_show_no_secret() {
    for (changes, path, expected) in [
        (json!({ "smtp": "smtps://a:hunter2@b.c" }), "smtp", "set username and password_file"),
        (json!({ "smtp": "smtp://hunter2" }), "", ""),
        (json!({ "smtp": "http://hunter2.example" }), "smtp", "must be smtps://HOST"),
        (json!({ "username": "a" }), "password_file", "is missing"),
        (json!({ "password_file": "a" }), "username", "is missing"),
        (json!({ "username": "a", "password_file": "none" }), "password_file", "cannot read"),
        (json!({ "username": "a", "password_file": "/dev/zero" }), "password_file", "not a file"),
        (json!({ "username": "a\r\n", "password_file": "none" }), "username", "on one line"),
        (json!({ "from": "audit" }), "from", "name@example.com"),
        (json!({ "from": "A\r\nBcc: b@c.de <a@b.cd>" }), "from", "control characters"),
        (json!({ "reply_to": "a b" }), "reply_to", "name@example.com"),
        (json!({ "to": [] }), "to", "1 to 50"),
        (json!({ "to": "someone" }), "to", "\"requested\""),
        (json!({ "to": "a@example.com" }), "to", "\"requested\""),
        (json!({ "to": ["a@example.com", 1] }), "to[1]", "name@example.com"),
        (json!({ "to": ["a@example.com", "a@EXAMPLE.com"] }), "to[1]", "twice"),
        (json!({ "to": vec!["a@example.com"; 51] }), "to", "1 to 50"),
        (json!({ "locale": "it" }), "locale", "en, de, fr, es, ja"),
        (json!({ "digest": "61m" }), "digest", "0s to 1h"),
        (json!({ "timeout": "500ms" }), "timeout", "1s to 5m"),
        (json!({ "template": "alert" }), "template", "NOTIFY_TEMPLATES"),
        (json!({ "template": "../a" }), "template", "NOTIFY_TEMPLATES"),
        (json!({ "tls": "none" }), "tls", "is unknown"),
    ] {
        let result = parse(changes.clone());
        if path.is_empty() {
            assert!(result.is_ok(), "{changes}");
            continue;
        }
        let faults = result.unwrap_err().faults;
        let is_expected = |fault: &Fault| {
            fault.path == format!("targets[0].{path}") && fault.message.contains(expected)
        };
        assert!(faults.iter().any(is_expected), "{changes}: {faults:?}");
        assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
    }
}

#[test]
fn templates_of_the_operator_are_checked_with_samples() {
    let folder = tempfile::tempdir().unwrap();
    let read = |changes| parse_in(folder.path(), Some(folder.path()), changes);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("failed.de.txt", "{{ summary }}\n{% for row in rows %}{{ row.exprot }}{% endfor %}");
    assert!(read(json!({})).is_ok());
    let faults = read(json!({ "locale": "de" })).unwrap_err().faults;
    assert_eq!(faults[0].path, "targets[0].template");
    assert!(faults[0].message.contains("failed.de.txt is faulty in line 2"), "{faults:?}");
    write("failed.de.txt", "{% for");
    let faults = read(json!({ "locale": "de" })).unwrap_err().faults;
    assert!(faults[0].message.contains("failed.de.txt is faulty in line 1"), "{faults:?}");
    write("alert.en.subject", "{{ summary }}");
    assert!(read(json!({ "template": "alert" })).is_ok());
    assert!(read(json!({ "template": "other" })).is_err());
    assert!(read(json!({ "template": "../alert" })).is_err());
}

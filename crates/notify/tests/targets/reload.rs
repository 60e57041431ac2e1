//! The file is read again when something changed; faults leave the previous targets in force.

use tara_export_notify::TargetsFile;
use tara_export_settings_file::LoadError;

use super::*;

const ONE: &str = r#"{"targets": [{"name": "one", "kind": "webhook", "url_file": "url", "template": "own",
    "secret_files": ["secret"]}]}"#;

#[test]
fn changes_of_the_file_and_of_what_it_names_are_found() {
    let folder = folder();
    let path = folder.path().join("notify.json");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("notify.json", ONE);
    let (mut file, targets) = TargetsFile::open(&path, context(&folder)).unwrap();
    assert!(targets.get("one").is_some());
    assert!(file.poll_changed().is_none());
    // The same content is no change.
    write("notify.json", ONE);
    assert!(file.poll_changed().is_none());

    write("notify.json", &ONE.replace("\"one\"", "\"two\""));
    let targets = file.poll_changed().unwrap().unwrap();
    assert!(targets.get("one").is_none() && targets.get("two").is_some());
    assert!(file.poll_changed().is_none());

    for (name, text) in [
        ("secret", "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"),
        ("url", "https://hooks.example.org/"),
        ("templates/own.json", "{}"),
        ("templates/new.json", "{}"),
    ] {
        write(name, text);
        assert!(file.poll_changed().unwrap().is_ok(), "{name}");
        assert!(file.poll_changed().is_none(), "{name}");
    }
}

#[test]
fn each_fault_is_reported_once_and_is_fixed_by_a_further_change() {
    let folder = folder();
    let path = folder.path().join("notify.json");
    fs::write(&path, ONE).unwrap();
    let (mut file, _) = TargetsFile::open(&path, context(&folder)).unwrap();
    for text in [Some("{"), Some(&*ONE.replace("own", "faulty")), None] {
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = file.poll_changed().unwrap().unwrap_err().to_string();
        assert!(error.contains("notify.json (NOTIFY_FILE): "), "{error}");
        assert!(file.poll_changed().is_none());
    }
    fs::write(&path, ONE).unwrap();
    assert!(file.poll_changed().unwrap().is_ok());
    // A file that the last version with faults named is watched as well.
    fs::remove_file(folder.path().join("secret")).unwrap();
    assert!(file.poll_changed().unwrap().is_err());
    fs::write(folder.path().join("secret"), SECRET).unwrap();
    assert!(file.poll_changed().unwrap().is_ok());
}

#[test]
fn file_that_cannot_be_read_is_an_error_with_its_path() {
    let folder = folder();
    let context = context(&folder);
    fs::write(folder.path().join("huge.json"), " ".repeat(1024 * 1024 + 1)).unwrap();
    for (name, expected) in [
        ("missing.json", "No such file"),
        ("templates", "it is not a file"),
        ("huge.json", "more than 1048576 bytes"),
        ("binary", "it is not UTF-8"),
    ] {
        let error = Targets::load(&folder.path().join(name), &context).unwrap_err();
        assert!(matches!(error, LoadError::Unreadable { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(expected) && error.contains(name), "{error}");
    }
}

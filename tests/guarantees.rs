//! docs/guarantees.md names tests, files and mechanisms that exist.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

use std::{fs, path::Path};

const GUARANTEES: &str = include_str!("../docs/guarantees.md");

/// The rows of all tables before the model's, which are made by a program: their cells.
fn rows() -> Vec<Vec<&'static str>> {
    let text = GUARANTEES.split("\n## The model\n").next().unwrap();
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    lines
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .filter(|cells: &Vec<&str>| *cells.last().unwrap() != "proved by")
        .collect()
}

/// What stands between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a file has a test of this name: beside its attribute, or in a list that a macro reads.
fn has_test(path: &str, name: &str) -> bool {
    let Ok(text) = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)) else {
        return false;
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_it = |line: &&str| {
        let declared = line.strip_suffix("() {").or(line.strip_suffix("(store: Arc<dyn Store>) {"));
        declared.is_some_and(|line| line.ends_with(&format!("fn {name}")))
    };
    let Some(place) = lines.iter().position(is_it) else { return false };
    let attributes = lines[..place].iter().rev().take_while(|line| line.starts_with("#["));
    let has_attribute = attributes.into_iter().any(|line| line.contains("test"));
    has_attribute || is_in_contract(path, name)
}

/// Tests of every store are functions that `store_contract` calls for each.
fn is_in_contract(path: &str, name: &str) -> bool {
    let Some(module) = path.strip_prefix("tests/store_contract/") else { return false };
    let main = include_str!("store_contract/main.rs");
    let module = module.trim_end_matches(".rs");
    main.contains(&format!("    {module}::{name},\n"))
}

#[test]
fn every_test_that_is_named_exists() {
    let mut named = 0;
    let mut faults = Vec::new();
    for span in spans(GUARANTEES) {
        let Some((module, name)) = span.split_once("::").filter(|(_, name)| *name != "…") else {
            continue;
        };
        let folder = if module.starts_with("src/") { "" } else { "tests/" };
        let path = format!("{folder}{module}.rs");
        named += 1;
        if !has_test(&path, name) {
            faults.push(format!("{path} has no test {name}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(named > 100, "{named} tests are named: they are no longer found");
}

#[test]
fn every_row_names_a_test() {
    let rows = rows();
    assert!(rows.len() > 50, "{} rows: they are no longer found", rows.len());
    for row in rows {
        let proof = row.last().unwrap();
        assert!(spans(proof).any(|span| span.contains("::")), "nothing proves {}", row[0]);
    }
}

#[test]
fn every_mechanism_of_the_model_exists() {
    let mechanisms = include_str!("model/src/mechanisms.rs");
    for row in rows() {
        let proof = row.last().unwrap();
        let words =
            spans(proof).filter(|span| span.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        for word in words {
            assert!(mechanisms.contains(&format!("pub {word}: bool")), "the model has no {word}");
        }
    }
}

#[test]
fn every_file_that_is_named_exists() {
    for row in rows() {
        let [_, place, _] = row[..] else { continue };
        for span in spans(place).filter(|span| span.ends_with(".rs") || span.ends_with('/')) {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(span);
            assert!(path.exists(), "{span} is gone");
        }
    }
}

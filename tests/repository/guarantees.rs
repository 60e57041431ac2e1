//! docs/guarantees.md names only tests, files and mechanisms that exist, and code and model follow the steps of
//! docs/design/commit-protocol.md.

use std::{collections::BTreeSet, fs, path::Path};

use crate::clone;
use crate::markdown::spans;

const PROTOCOL: &str = include_str!("../../docs/design/commit-protocol.md");
const GUARANTEES: &str = include_str!("../../docs/guarantees.md");

/// The cells of the rows of all tables before the model's, which are generated.
fn rows() -> Vec<Vec<&'static str>> {
    let text = GUARANTEES.split("\n## The model\n").next().unwrap();
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    lines
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .filter(|cells: &Vec<&str>| *cells.last().unwrap() != "proved by")
        .collect()
}

/// Whether a file has a test of this name, with an attribute or in the list of the contract suite.
fn has_test(path: &str, name: &str) -> bool {
    let Ok(text) = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)) else {
        return false;
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declares_it = |line: &&str| {
        // The parameters of a property test follow on their own lines.
        let ends = ["() {", "(store: Arc<dyn Store>) {", "("];
        let declared = ends.iter().find_map(|end| line.strip_suffix(end));
        declared.is_some_and(|line| line.ends_with(&format!("fn {name}")))
    };
    let Some(position) = lines.iter().position(declares_it) else { return false };
    let attributes = lines[..position].iter().rev().take_while(|line| line.starts_with("#["));
    let has_attribute = attributes.into_iter().any(|line| line.contains("test"));
    has_attribute || is_in_contract(path, name)
}

/// The contract suite calls its test functions for each store.
fn is_in_contract(path: &str, name: &str) -> bool {
    let Some(module) = path.strip_prefix("crates/store/tests/contract/") else { return false };
    let main = include_str!("../../crates/store/tests/contract/main.rs");
    let module = module.trim_end_matches(".rs");
    main.contains(&format!("    {module}::{name},\n"))
}

#[test]
fn every_named_test_exists() {
    let mut named = 0;
    let mut missing = Vec::new();
    for span in spans(GUARANTEES) {
        let Some((module, name)) = span.split_once("::").filter(|(_, name)| *name != "…") else {
            continue;
        };
        let is_full_path =
            ["src/", "crates/", "clients/"].iter().any(|root| module.starts_with(root));
        let folder = if is_full_path { "" } else { "tests/" };
        let path = format!("{folder}{module}.rs");
        named += 1;
        if !has_test(&path, name) {
            missing.push(format!("{path} has no test {name}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(named > 100, "only {named} tests found");
}

#[test]
fn every_row_names_a_test() {
    let rows = rows();
    assert!(rows.len() > 50, "only {} rows found", rows.len());
    for row in rows {
        let proof = row.last().unwrap();
        assert!(spans(proof).any(|span| span.contains("::")), "no test proves {}", row[0]);
    }
}

#[test]
fn every_named_mechanism_exists() {
    let mechanisms = include_str!("../model/src/mechanisms.rs");
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
fn every_named_file_exists() {
    for row in rows() {
        let [_, files, _] = row[..] else { continue };
        for span in spans(files).filter(|span| span.ends_with(".rs") || span.ends_with('/')) {
            let (crate_name, rest) = span.split_once('/').unwrap_or((span, ""));
            let in_crate = Path::new("crates").join(crate_name).join("src").join(rest);
            let paths = [Path::new("src").join(span), in_crate, span.into()];
            assert!(paths.iter().any(clone::has), "{span} does not exist");
        }
    }
}

/// The numbers of the steps that a text names, as in "steps 3, 6 and 7 of docs/design/commit-protocol.md".
fn cited_steps(text: &str) -> Vec<u32> {
    let text = text.replace("//!", " ").replace("///", " ").to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let ends = words.iter().enumerate().filter(|(_, word)| word.contains("commit-protocol.md"));
    ends.flat_map(|(end, _)| {
        let start = words[..end].iter().rposition(|word| matches!(*word, "step" | "steps"));
        let list = start.map_or(&[][..], |start| &words[start..end]);
        list.iter().filter_map(|word| word.trim_matches(',').parse().ok()).collect::<Vec<u32>>()
    })
    .collect()
}

#[test]
fn code_cites_every_step_of_the_commit_protocol() {
    let steps: BTreeSet<u32> =
        PROTOCOL.lines().filter_map(|line| line.split_once(". **")?.0.parse().ok()).collect();
    assert_eq!(steps.len(), 20);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "crates/catalog/src", "crates/events/src", "crates/notify/src"];
    let mut folders: Vec<_> = folders.map(|folder| root.join(folder)).into();
    let mut cited = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                cited.extend(cited_steps(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert_eq!(cited, steps);
}

#[test]
fn commit_protocol_names_every_mechanism_of_the_model() {
    let model = include_str!("../model/src/mechanisms.rs");
    let declared = model.lines().filter_map(|line| {
        line.trim().strip_prefix("pub ").and_then(|rest| rest.strip_suffix(": bool,"))
    });
    let declared: BTreeSet<&str> = declared.collect();
    assert!(declared.len() > 30, "only {} mechanisms found", declared.len());
    let missing: Vec<_> =
        declared.iter().filter(|name| !PROTOCOL.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

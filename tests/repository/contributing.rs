//! CONTRIBUTING.md names only recipes, paths and steps that exist, and all files name the same version of Rust.

use std::path::Path;

use crate::clone;
use crate::markdown::{links, spans};

const CONTRIBUTING: &str = include_str!("../../CONTRIBUTING.md");
const JUSTFILE: &str = include_str!("../../justfile");
const GATE: &str = include_str!("../../.ci/run");

/// The arguments of each mention of a command.
fn arguments(command: &str) -> Vec<Vec<&'static str>> {
    let words = spans(CONTRIBUTING).map(|span| span.split_whitespace().collect::<Vec<&str>>());
    words.filter(|words| words.first() == Some(&command)).map(|words| words[1..].to_vec()).collect()
}

/// The names of the justfile's recipes: the first word of each line with a colon that is not indented.
fn recipes() -> Vec<&'static str> {
    let heads = JUSTFILE
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .filter(|line| !line.contains(":="))
        .filter_map(|line| line.split_once(':'));
    heads.filter_map(|(head, _)| head.split_whitespace().next()).collect()
}

/// The steps that `.ci/run --list` prints.
fn steps() -> Vec<&'static str> {
    let list = GATE.lines().find_map(|line| line.strip_prefix("steps=(")?.strip_suffix(')'));
    list.expect(".ci/run lists its steps").split_whitespace().collect()
}

/// Whether a word is a path in the repository, and not a command, a type or a module.
fn is_path(word: &str) -> bool {
    let ends = [".md", ".rs", ".toml", ".yaml"];
    let is_plain = !word.contains([' ', '<', '*', ':', '…']);
    is_plain && (word.contains('/') || ends.iter().any(|end| word.ends_with(end)))
}

#[test]
fn every_named_path_exists() {
    let sources = spans(CONTRIBUTING)
        .filter(|span| is_path(span))
        .filter(|path| !clone::is_output(Path::new(path)));
    let paths: Vec<&str> = sources.chain(links(CONTRIBUTING)).collect();
    assert!(paths.len() > 50, "only {} paths found", paths.len());
    let missing: Vec<&str> = paths.into_iter().filter(|path| !clone::has(path)).collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md names missing paths: {missing:?}");
}

#[test]
fn every_named_recipe_exists() {
    let recipes = recipes();
    let named: Vec<&str> =
        arguments("just").iter().filter_map(|words| words.first().copied()).collect();
    assert!(named.len() > 10, "only found {named:?}");
    for name in &named {
        assert!(recipes.contains(name), "the justfile has no recipe {name}");
    }
    // `just` without arguments runs `default`.
    for recipe in recipes.iter().filter(|recipe| **recipe != "default") {
        assert!(named.contains(recipe), "CONTRIBUTING.md does not name the recipe {recipe}");
    }
}

#[test]
fn every_named_gate_step_exists() {
    let steps = steps();
    let named: Vec<&str> = arguments(".ci/run").concat();
    assert!(named.len() > 5, "only found {named:?}");
    for name in named.iter().filter(|name| **name != "--list") {
        assert!(steps.contains(name), ".ci/run has no step {name}");
    }
}

#[test]
fn rust_version_is_the_same_everywhere() {
    let toolchain = include_str!("../../rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = "));
    let channel = channel.expect("rust-toolchain.toml has a channel").trim_matches('"');
    let dockerfile = include_str!("../../deploy/Dockerfile");
    assert!(
        dockerfile.contains(&format!("rust:{channel}-")),
        "the image uses another Rust version"
    );
    let app_runner = include_str!("../../apprunner.yaml");
    for part in [format!("--default-toolchain {channel}\n"), format!(" +{channel} build ")] {
        assert!(
            app_runner.contains(&part),
            "apprunner.yaml uses another Rust version: no {part:?}"
        );
    }
    let oldest = format!("rust-version = \"{}", &channel[..channel.rfind('.').unwrap()]);
    let manifest = include_str!("../../Cargo.toml");
    assert!(manifest.contains(&oldest), "the rust-version in Cargo.toml is not {channel}");
}

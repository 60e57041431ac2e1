//! What a clone of the repository has. Files that a build wrote do not count: a check that accepts them passes on the
//! machine that built them and fails in a new clone.

use std::path::{Component, Path};

const IGNORED: &str = include_str!("../../.gitignore");

/// Whether a path, relative to the repository, is in a folder that `.gitignore` names from the root.
pub(crate) fn is_output(path: &Path) -> bool {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().unwrap_or_default()),
            Component::ParentDir => drop(names.pop()),
            _ => {}
        }
    }
    let patterns = IGNORED.lines().filter_map(|line| line.strip_prefix('/'));
    let mut patterns = patterns.map(|pattern| pattern.split('/').collect::<Vec<_>>());
    patterns.any(|pattern| {
        pattern.len() <= names.len()
            && pattern.iter().zip(&names).all(|(part, name)| *part == "*" || part == name)
    })
}

/// Whether a clone has a file or a folder at a path relative to the repository.
pub(crate) fn has(path: impl AsRef<Path>) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    !is_output(path.as_ref()) && root.join(path).exists()
}

#[test]
fn outputs_are_not_in_a_clone() {
    for output in ["target", "target/dist", "clients/web/dist/index.js", "docs/../target/debug"] {
        assert!(is_output(Path::new(output)), "{output}");
    }
    for source in ["src", "clients/web/src", "tests/target"] {
        assert!(!is_output(Path::new(source)), "{source}");
    }
    assert!(has("tests/repository/../../README.md"));
    assert!(!has("target"));
}

//! Code blocks of the documents.

const DEPLOYMENT: &str = include_str!("../../../docs/deployment.md");
const SECURITY: &str = include_str!("../../../docs/security.md");

/// The code blocks of this language in a section of `docs/deployment.md`.
pub(crate) fn of_deployment(heading: &str, language: &str) -> Vec<String> {
    blocks(DEPLOYMENT, heading, language)
}

/// The code blocks of this language in a section of `docs/security.md`.
pub(crate) fn of_security(heading: &str, language: &str) -> Vec<String> {
    blocks(SECURITY, heading, language)
}

fn blocks(document: &str, heading: &str, language: &str) -> Vec<String> {
    let (_, section) = document.split_once(&format!("\n{heading}\n")).expect("the section");
    let level = heading.split(' ').next().unwrap();
    let end = section.find(&format!("\n{level} ")).unwrap_or(section.len());
    let fences = section[..end].split("\n```").skip(1).step_by(2);
    let found = fences.filter_map(|block| block.strip_prefix(&format!("{language}\n")));
    let found: Vec<String> = found.map(str::to_owned).collect();
    assert!(!found.is_empty(), "no {language} in {heading}");
    found
}

/// Replaces a text that the block must have.
pub(crate) fn replaced(block: &str, from: &str, to: &str) -> String {
    assert!(block.contains(from), "{from} is not in the document:\n{block}");
    block.replace(from, to)
}

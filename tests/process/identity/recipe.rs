//! The settings and refusals in `docs/identity-providers.md`.

use crate::machine::Variables;

const DOCUMENT: &str = include_str!("../../../docs/identity-providers.md");

/// Settings of a section.
#[derive(Clone)]
pub(super) struct Settings(Vec<(&'static str, String)>);

/// The text below a heading, without the sections below it.
fn section(heading: &str) -> &'static str {
    let mut sections = DOCUMENT.split("\n## ").flat_map(|section| section.split("\n### "));
    let found = sections.find_map(|section| {
        let (first, text) = section.split_once('\n')?;
        (first == heading).then_some(text)
    });
    found.unwrap_or_else(|| panic!("docs/identity-providers.md has no section {heading}"))
}

/// The section of a provider with the sections below it.
fn complete_section(heading: &str) -> &'static str {
    let mut sections = DOCUMENT.split("\n## ");
    let found = sections.find_map(|section| section.strip_prefix(heading)?.strip_prefix('\n'));
    found.unwrap_or_else(|| panic!("docs/identity-providers.md has no section {heading}"))
}

/// The settings that a text exports, as a shell reads them.
fn exports(text: &'static str) -> Vec<(&'static str, String)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    lines
        .map(|(name, value)| match value.strip_prefix('\'') {
            Some(quoted) => (name, quoted.strip_suffix('\'').unwrap().to_owned()),
            None => {
                assert!(
                    !value.contains([' ', '"', '\'', '$', '`', '*', '&', ';']),
                    "{name}={value}"
                );
                (name, value.to_owned())
            }
        })
        .collect()
}

impl Settings {
    /// The settings of a provider's section.
    pub(super) fn of(provider: &str) -> Self {
        let settings = exports(section(provider));
        assert!(settings.iter().any(|(name, _)| *name == "JWT_ISSUER"), "{provider}");
        Self(settings)
    }

    /// The same, changed by a section below that of the provider.
    pub(super) fn changed_by(&self, heading: &str) -> Self {
        let changes = exports(section(heading));
        assert!(!changes.is_empty(), "{heading}");
        let mut settings = self.clone();
        for (name, value) in changes {
            settings = settings.with(name, &value);
        }
        settings
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.retain(|(other, _)| *other != name);
        self.0.push((name, value.to_owned()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        let before = self.0.len();
        self.0.retain(|(other, _)| *other != name);
        assert_eq!(self.0.len(), before - 1, "{name} is not in the recipe");
        self
    }

    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(other, _)| *other == name);
        &found.unwrap_or_else(|| panic!("{name} is not in the recipe")).1
    }

    pub(super) fn variables(&self) -> Variables<'static> {
        self.0.clone()
    }
}

/// The messages and details in a provider's table of refusals, in the order of the table.
pub(super) fn refusals(provider: &str) -> Vec<(String, String)> {
    let rows = complete_section(provider).lines().filter(|line| line.starts_with("| `"));
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        assert_eq!(cells.len(), 5, "{row}");
        (cell(cells[1]), cell(cells[2]))
    })
    .collect()
}

#[test]
fn every_setting_in_the_document_is_part_of_a_tested_section() {
    let tested = [
        "Keycloak",
        "Amazon Cognito",
        "Microsoft Entra",
        "Auth0",
        "Okta",
        "Google",
        "Kubernetes service accounts",
    ];
    let found: usize = tested.iter().map(|name| exports(complete_section(name)).len()).sum();
    assert_eq!(exports(DOCUMENT).len(), found);
    for name in tested {
        assert!(refusals(name).len() >= 2, "{name}");
    }
}

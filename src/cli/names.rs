//! Names of exports on the command line: `exports/ID`, an id, the start of one, or a bundle's folder.

use chrono::{NaiveDateTime, TimeDelta};
use tara_export_client::{
    Client,
    proto::{Export, ListExportsRequest},
};
use uuid::Uuid;

use super::{CliError, pages::Pages};

/// The form of a folder's time, at the start of its name.
const FOLDER_TIME: &str = "%Y%m%d_%H%M%S";
/// Digits of [`FOLDER_TIME`] with its underscore.
const FOLDER_TIME_LENGTH: usize = 15;
/// The shortest accepted start of an id.
const MIN_PREFIX: usize = 4;
/// Exports that are searched for the start of an id, newest first.
const MAX_SEARCHED: usize = 20_000;
/// Candidates that an error lists.
const MAX_CANDIDATES: usize = 5;

/// What an argument names.
#[derive(Debug, PartialEq, Eq)]
enum Reference<'a> {
    /// A complete id.
    Id(Uuid),
    /// The start of an id, in lower case.
    Prefix(String),
    /// The name of a bundle's folder.
    Folder(&'a str),
}

impl<'a> Reference<'a> {
    fn parse(argument: &'a str) -> Option<Self> {
        // Tab completion of a folder in the data directory adds its path and a slash.
        let name = argument.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if let Ok(id) = Uuid::try_parse(name) {
            return Some(Self::Id(id));
        }
        if folder_time(name).is_some() {
            return Some(Self::Folder(name));
        }
        let is_prefix = name.len() >= MIN_PREFIX
            && name.chars().all(|character| character.is_ascii_hexdigit() || character == '-');
        is_prefix.then(|| Self::Prefix(name.to_ascii_lowercase()))
    }
}

impl Reference<'_> {
    /// A filter for a list that has the export.
    fn filter(&self) -> String {
        let Self::Folder(folder) = self else { return String::new() };
        let start = folder_time(folder).unwrap_or_default();
        let end = start + TimeDelta::seconds(1);
        let [start, end] = [start, end].map(|time| time.format("%Y-%m-%dT%H:%M:%SZ"));
        format!("accepted_time >= \"{start}\" AND accepted_time < \"{end}\"")
    }

    fn matches(&self, export: &Export) -> bool {
        let id = export.name.strip_prefix("exports/").unwrap_or_default();
        match self {
            Self::Id(expected) => id == expected.to_string(),
            Self::Prefix(start) => id.starts_with(start.as_str()),
            Self::Folder(folder) => export.folder_name == *folder,
        }
    }
}

/// The time in a folder's name.
fn folder_time(name: &str) -> Option<NaiveDateTime> {
    let (time, rest) = name.split_at_checked(FOLDER_TIME_LENGTH)?;
    let is_folder = rest.is_empty() || rest.starts_with('_');
    NaiveDateTime::parse_from_str(time, FOLDER_TIME).ok().filter(|_| is_folder)
}

/// The resource name of the export that an argument names. Asks the server unless the argument has a complete id.
///
/// # Errors
/// [`CliError::Usage`] if the argument names no export, [`CliError::NoMatch`] and [`CliError::Ambiguous`], or a failed
/// call.
pub(super) async fn export_name(client: &Client, argument: &str) -> Result<String, CliError> {
    let reference = match Reference::parse(argument) {
        Some(Reference::Id(id)) => return Ok(format!("exports/{id}")),
        Some(reference) => reference,
        None => return Err(not_a_name(argument)),
    };
    let mut found: Vec<Export> = Vec::new();
    let request = ListExportsRequest { filter: reference.filter(), ..Default::default() };
    let mut pages = Pages::new(client.clone(), request, MAX_SEARCHED);
    while let Some(page) = pages.next().await? {
        found.extend(page.exports.into_iter().filter(|export| reference.matches(export)));
    }
    match &found[..] {
        [] => Err(CliError::NoMatch {
            argument: argument.to_owned(),
            is_search_limited: pages.has_more().then_some(MAX_SEARCHED),
        }),
        [export] => Ok(export.name.clone()),
        several => Err(CliError::Ambiguous {
            argument: argument.to_owned(),
            candidates: several.iter().take(MAX_CANDIDATES).map(candidate).collect(),
            more: several.len().saturating_sub(MAX_CANDIDATES),
        }),
    }
}

/// Those of the names that the argument names; for names that are known without a server.
///
/// # Errors
/// As [`export_name`].
pub(super) fn among(argument: &str, names: &[String]) -> Result<String, CliError> {
    let start = match Reference::parse(argument) {
        Some(Reference::Id(id)) => format!("exports/{id}"),
        Some(Reference::Prefix(prefix)) => format!("exports/{prefix}"),
        Some(Reference::Folder(_)) | None => return Err(not_a_name(argument)),
    };
    let found: Vec<&String> = names.iter().filter(|name| name.starts_with(&start)).collect();
    match &found[..] {
        [] => Err(CliError::NoMatch { argument: argument.to_owned(), is_search_limited: None }),
        [name] => Ok((*name).clone()),
        several => Err(CliError::Ambiguous {
            argument: argument.to_owned(),
            candidates: several.iter().take(MAX_CANDIDATES).map(|name| (*name).clone()).collect(),
            more: several.len().saturating_sub(MAX_CANDIDATES),
        }),
    }
}

fn candidate(export: &Export) -> String {
    super::format::printable(&format!("{}  {}", export.name, export.document_name))
}

fn not_a_name(argument: &str) -> CliError {
    CliError::Usage(format!(
        "{argument:?} is not an export: pass exports/ID, an ID, at least {MIN_PREFIX} characters of its start, or the \
         name of a bundle's folder"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_ids_prefixes_and_folders() {
        let id = "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
        let uuid = Uuid::parse_str(id).unwrap_or_default();
        for argument in
            [id, &format!("exports/{id}"), &format!("exports/{id}/"), &id.to_uppercase()]
        {
            assert_eq!(Reference::parse(argument), Some(Reference::Id(uuid)), "{argument}");
        }
        for argument in ["6f1c", "exports/6F1C"] {
            assert_eq!(Reference::parse(argument), Some(Reference::Prefix("6f1c".to_owned())));
        }
        let folder = "20261122_183700_incident_report_2";
        for path in ["", "exports/", "./exports/", "/var/data/", "s3://bucket/tara/"] {
            for end in ["", "/", "//"] {
                let argument = format!("{path}{folder}{end}");
                assert_eq!(Reference::parse(&argument), Some(Reference::Folder(folder)));
            }
        }
        for argument in
            ["", "/", "6f1", "report.docx", "20261399_183700_a", "exports/", "20261122_18370é"]
        {
            assert_eq!(Reference::parse(argument), None, "{argument}");
        }
    }

    #[test]
    fn ambiguous_start_lists_the_candidates() {
        let names =
            ["exports/6f1c7a52-1", "exports/6f1c0000-2", "exports/77aa0000-3"].map(str::to_owned);
        assert_eq!(among("77aa", &names).ok().as_deref(), Some("exports/77aa0000-3"));
        let error = among("6f1c", &names).map_err(|error| error.to_string());
        let expected = "\"6f1c\" is the start of 2 exports; pass more of its characters:\n  exports/6f1c7a52-1\n  exports/6f1c0000-2";
        assert_eq!(error, Err(expected.to_owned()));
        assert!(among("abcd", &names).is_err());
    }
}

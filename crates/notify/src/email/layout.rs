//! The templates of a target's mails: built in, or of the operator.

use serde_json::Value;
use tara_export_events::{Event, EventType, Names};

use super::{
    catalogue::Locale,
    digest::{types_of, values},
    line::{is_unprintable, one_line},
    report,
};
use crate::{
    Report,
    samples::samples,
    templates::{TemplateError, TemplateSource, Templates},
};

/// Maximum number of exports that a mail lists.
pub(super) const MAX_ROWS: usize = 100;
/// Maximum length of a subject.
const SUBJECT_LIMIT_BYTES: usize = 250;
/// The prefix of names of templates for mails about events of several types.
const SEVERAL_TYPES: &str = "digest";

/// The parts of a mail that have a template each.
const PARTS: [(&str, &str); 3] = [
    ("subject", include_str!("templates/mail.subject")),
    ("txt", include_str!("templates/mail.txt")),
    ("html", include_str!("templates/mail.html")),
];

/// The templates of reports. They are always the built-in ones.
const REPORT_PARTS: [(&str, &str); 3] = [
    ("subject", include_str!("templates/report.subject")),
    ("txt", include_str!("templates/report.txt")),
    ("html", include_str!("templates/report.html")),
];

/// What templates render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// The templates of a target.
///
/// Files of the operator are named `<event>.<locale>.subject`, `.txt` and `.html`, where `<event>` is the type of all
/// events of the mail, or `digest` if it has several; or `<template>.<locale>.…` for all mails, if the target names a
/// template. A part without a file is built in.
#[derive(Debug)]
pub(super) struct Layout {
    templates: Templates,
    /// The names of the operator's templates.
    own: Vec<String>,
    locale: Locale,
    template: Option<String>,
    names: Names,
}

impl Layout {
    /// Reads the templates, and renders each with sample events.
    ///
    /// # Errors
    /// The faults of the templates.
    pub(super) fn read(
        source: Option<&TemplateSource>,
        template: Option<String>,
        locale: Locale,
        names: Names,
    ) -> Result<Self, Vec<String>> {
        let (templates, own) = (Templates::new(), Vec::new());
        let mut layout = Self { templates, own, locale, template, names };
        let mut faults = Vec::new();
        for (part, text) in PARTS {
            let added = layout.templates.add(&built_in(part), text.to_owned());
            faults.extend(added.err().map(|error| error.to_string()));
        }
        for (part, text) in REPORT_PARTS {
            let added = layout.templates.add(&report_template(part), text.to_owned());
            faults.extend(added.err().map(|error| error.to_string()));
        }
        let prefixes: Vec<&str> = match &layout.template {
            Some(template) => vec![template],
            None => {
                EventType::ALL.map(EventType::as_str).into_iter().chain([SEVERAL_TYPES]).collect()
            }
        };
        let names: Vec<String> = prefixes
            .into_iter()
            .flat_map(|prefix| PARTS.map(|(part, _)| file_name(prefix, locale, part)))
            .collect();
        for name in names {
            match source.map_or(Ok(None), |source| source.read(&name)) {
                Ok(None) => {}
                Ok(Some(text)) => match layout.templates.add(&name, text) {
                    Ok(()) => layout.own.push(name),
                    Err(error) => faults.push(error.to_string()),
                },
                Err(error) => faults.push(error.to_string()),
            }
        }
        if layout.own.is_empty() && faults.is_empty() && layout.template.is_some() {
            faults.push(match source {
                Some(_) => {
                    "has no file NAME.LOCALE.subject, .txt or .html in NOTIFY_TEMPLATES".to_owned()
                }
                None => "needs the setting NOTIFY_TEMPLATES".to_owned(),
            });
        }
        if faults.is_empty() {
            faults.extend(layout.try_samples());
        }
        if faults.is_empty() { Ok(layout) } else { Err(faults) }
    }

    /// The faults of the operator's templates with sample events of every type, alone and together.
    fn try_samples(&self) -> Vec<String> {
        let samples = samples();
        let all: Vec<&Event> = samples.iter().collect();
        let mails = all.iter().map(std::slice::from_ref).chain([all.as_slice()]);
        let mut faults = Vec::new();
        for events in mails {
            let values = values(events, MAX_ROWS, self.names, self.locale);
            for (part, _) in PARTS {
                let Some(name) = self.own_template(events, part) else { continue };
                if let Err(error) = self.templates.render(&name, &values) {
                    faults.push(error.to_string());
                }
            }
        }
        faults.sort();
        faults.dedup();
        faults
    }

    /// Renders a mail. If a template fails, which its samples did not show, the built-in one is used: the mail matters
    /// more than its form.
    ///
    /// # Errors
    /// The built-in templates exceed a limit even with one row.
    pub(super) fn render(&self, events: &[&Event]) -> Result<Rendered, TemplateError> {
        let mut row_count = events.len().clamp(1, MAX_ROWS);
        loop {
            let values = values(events, row_count, self.names, self.locale);
            let own = |part| self.own_template(events, part).unwrap_or_else(|| built_in(part));
            let rendered = match self.render_parts(&values, own) {
                Err(error) if !self.own.is_empty() => {
                    tracing::warn!(%error, "cannot render a mail with this template: used the built-in one");
                    self.render_parts(&values, built_in)
                }
                rendered => rendered,
            };
            // Escaped, hostile names become so long that fewer of them fit.
            match rendered {
                Err(_) if row_count > 1 => row_count /= 2,
                rendered => return rendered,
            }
        }
    }

    /// Renders a report with as many exports as fit.
    ///
    /// # Errors
    /// The templates exceed a limit even without exports.
    pub(super) fn render_report(&self, report: &Report) -> Result<Rendered, TemplateError> {
        let mut row_count = MAX_ROWS;
        loop {
            let values = report::values(report, row_count, self.names, self.locale);
            match self.render_parts(&values, report_template) {
                Err(_) if row_count > 0 => row_count /= 2,
                rendered => return rendered,
            }
        }
    }

    fn render_parts(
        &self,
        values: &Value,
        template: impl Fn(&'static str) -> String,
    ) -> Result<Rendered, TemplateError> {
        let render = |part| self.templates.render(&template(part), values);
        Ok(Rendered {
            subject: subject_line(&render("subject")?),
            text: printable_lines(&render("txt")?),
            html: printable_lines(&render("html")?),
        })
    }

    /// The operator's template for a part of a mail about these events.
    fn own_template(&self, events: &[&Event], part: &'static str) -> Option<String> {
        let prefix = match (&self.template, types_of(events).as_slice()) {
            (Some(template), _) => template,
            (None, [event_type]) => event_type.as_str(),
            (None, _) => SEVERAL_TYPES,
        };
        let name = file_name(prefix, self.locale, part);
        self.own.contains(&name).then_some(name)
    }
}

/// A name that no file of the operator has.
fn built_in(part: &'static str) -> String {
    format!("(built in).{part}")
}

fn report_template(part: &'static str) -> String {
    format!("(built in report).{part}")
}

fn file_name(prefix: &str, locale: Locale, part: &str) -> String {
    format!("{prefix}.{}.{part}", locale.as_str())
}

/// The text as a subject. Mail programs would decode an encoded word of RFC 2047 in it, and so show characters that
/// were not there.
fn subject_line(text: &str) -> String {
    one_line(&text.replace("=?", "= ?"), SUBJECT_LIMIT_BYTES)
}

/// The text without control characters other than line breaks.
fn printable_lines(text: &str) -> String {
    let printable = |character| match character {
        '\n' | '\t' => Some(character),
        '\r' => None,
        character if is_unprintable(character) => Some(char::REPLACEMENT_CHARACTER),
        character => Some(character),
    };
    text.chars().filter_map(printable).collect()
}

#[cfg(test)]
mod tests;

//! The body of a request: the CloudEvent, or what a JSON template renders.

use std::fmt;

use bytes::Bytes;
use serde_json::Value;
use tara_export_events::{Event, Names};
use tara_export_settings_file::quoted;

use crate::{
    TargetContext,
    samples::samples,
    templates::{TemplateError, TemplateSource, Templates, values_of},
};

/// The templates of this program.
const BUILT_IN: [(&str, &str); 2] = [
    ("slack", include_str!("templates/slack.json")),
    ("teams", include_str!("templates/teams.json")),
];
/// The name of the body without a template.
const CLOUD_EVENTS: &str = "cloudevents";

/// What is sent for an event.
pub(super) enum Payload {
    /// The CloudEvent.
    CloudEvent,
    /// A JSON template.
    Template {
        /// The name of its file.
        name: String,
        /// This template.
        templates: Box<Templates>,
    },
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CloudEvent => formatter.write_str(CLOUD_EVENTS),
            Self::Template { name, .. } => formatter.write_str(name),
        }
    }
}

impl Payload {
    /// The payload of this name: `cloudevents`, a built-in template, or `<name>.json` of the folder of templates.
    /// Checked with events of every type.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn of_name(
        name: &str,
        names: Names,
        context: &TargetContext,
    ) -> Result<Self, String> {
        if name == CLOUD_EVENTS {
            return Ok(Self::CloudEvent);
        }
        let text = match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            Some((_, text)) => (*text).to_owned(),
            None => own_text(name, context)?,
        };
        let payload =
            Self::parse(format!("{name}.json"), text).map_err(|error| error.to_string())?;
        for event in samples() {
            payload.render(&event, names).map_err(|error| {
                format!("cannot be rendered for events of type {}: {error}", event.event_type)
            })?;
        }
        Ok(payload)
    }

    fn parse(name: String, text: String) -> Result<Self, TemplateError> {
        let mut templates = Templates::new();
        templates.add(&name, text)?;
        Ok(Self::Template { name, templates: Box::new(templates) })
    }

    /// The media type of the body.
    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::CloudEvent => "application/cloudevents+json",
            Self::Template { .. } => "application/json",
        }
    }

    /// The body for an event, as compact JSON.
    ///
    /// # Errors
    /// The template's failure, without values.
    pub(super) fn render(&self, event: &Event, names: Names) -> Result<Bytes, TemplateError> {
        let value = match self {
            Self::CloudEvent => event.to_cloud_event(names),
            Self::Template { name, templates } => {
                let text = templates.render(name, &values_of(event, names))?;
                serde_json::from_str::<Value>(&text).map_err(|error| {
                    let (line, column) = (error.line(), error.column());
                    TemplateError::new(format!(
                        "the template {name} does not render valid JSON: line {line}, column {column} of its output"
                    ))
                })?
            }
        };
        Ok(value.to_string().into())
    }
}

/// The text of a template of the operator.
fn own_text(name: &str, context: &TargetContext) -> Result<String, String> {
    let built_in = "cloudevents, slack, teams";
    let Some(folder) = &context.templates else {
        return Err(format!(
            "must be {built_in}, or the name of a template in NOTIFY_TEMPLATES, which is not set; not {}",
            quoted(name)
        ));
    };
    let file = format!("{name}.json");
    match TemplateSource::new(folder).read(&file) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(format!(
            "must be {built_in}, or the name of a template: {} has no file {file}",
            folder.display()
        )),
        Err(error) => Err(error.to_string()),
    }
}

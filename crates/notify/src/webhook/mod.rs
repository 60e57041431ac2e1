//! Webhooks, signed as Standard Webhooks.

mod payload;
mod retry_after;
mod sender;
mod signature;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tara_export_events::Names;

use self::{
    payload::Payload,
    sender::WebhookSender,
    signature::{MAX_SECRETS, SECRET_FILE_LIMIT_BYTES, Secret},
};
use tara_export_outbound::{CheckedUrl, HostNames, URL_LIMIT_BYTES};
use tara_export_settings_file::{Faults, Fields};

use crate::{
    TargetContext,
    target::{DEFAULT_EVENTS, OwnSettings},
};

/// The default of `timeout`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest and the longest `timeout`.
const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(60);

/// Reads the settings of this kind.
pub(crate) fn read(
    fields: &mut Fields,
    names: Names,
    context: &TargetContext,
    faults: &mut Faults,
) -> Option<OwnSettings> {
    let is_private_network = fields.flag("private_network", false, faults);
    let receiver = read_receiver(fields, is_private_network, context, faults);
    let secrets = read_secrets(fields, context, faults);
    let timeout = fields.duration("timeout", TIMEOUTS, faults).unwrap_or(TIMEOUT);
    let template = fields.text("template", faults).unwrap_or_else(|| "cloudevents".to_owned());
    let payload = match Payload::of_name(&template, names, context) {
        Ok(payload) => payload,
        Err(message) => {
            faults.add(fields.path_of("template"), message);
            return None;
        }
    };
    let secrets = secrets?;
    if secrets.is_empty() && matches!(payload, Payload::CloudEvent) {
        let message = "is missing: without it, receivers cannot verify requests; only requests of a template, such as \
                       slack, may be unsigned";
        faults.add(fields.path_of("secret_files"), message);
    }
    let sender = WebhookSender::new(receiver?, secrets, payload, names, timeout, context);
    let sender = sender.map_err(|message| faults.add(fields.path_of("url"), message)).ok()?;
    Some(OwnSettings {
        default_events: DEFAULT_EVENTS,
        digest: Duration::ZERO,
        is_for_requested: false,
        sender: Arc::new(sender),
        reports: None,
    })
}

/// Reads `url` or `url_file`.
fn read_receiver(
    fields: &mut Fields,
    is_private_network: bool,
    context: &TargetContext,
    faults: &mut Faults,
) -> Option<CheckedUrl> {
    let (name, text, host_names) = match (fields.has("url"), fields.has("url_file")) {
        (true, false) => ("url", fields.text("url", faults)?, HostNames::Shown),
        (false, true) => {
            let text = fields.file_text(
                "url_file",
                URL_LIMIT_BYTES as u64 + 2,
                &context.folder,
                faults,
            )?;
            ("url_file", text, HostNames::Hidden)
        }
        (true, true) => {
            faults.add(fields.path_of("url"), "must not be set together with url_file");
            return None;
        }
        (false, false) => {
            faults.add(fields.path_of("url"), "is missing; url or url_file is required");
            return None;
        }
    };
    CheckedUrl::parse(&text, is_private_network, host_names)
        .map_err(|message| faults.add(fields.path_of(name), message))
        .ok()
}

/// Reads `secret_files`; empty without it.
fn read_secrets(
    fields: &mut Fields,
    context: &TargetContext,
    faults: &mut Faults,
) -> Option<Vec<Secret>> {
    if !fields.has("secret_files") {
        return Some(Vec::new());
    }
    let path = fields.path_of("secret_files");
    let files = fields.file_texts(
        "secret_files",
        MAX_SECRETS,
        SECRET_FILE_LIMIT_BYTES,
        &context.folder,
        faults,
    );
    let texts = files?;
    let mut secrets = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let Some(text) = text else { continue };
        match Secret::parse(text) {
            Some(secret) => secrets.push(secret),
            None => faults.add(
                format!("{path}[{number}]"),
                format!("the file must contain {}", Secret::RULE),
            ),
        }
    }
    (secrets.len() == texts.len()).then_some(secrets)
}

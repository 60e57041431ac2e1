//! Mail over SMTP.
//!
//! A target is read here; `target.rs` sends. A mail is made by `digest.rs` (values), `layout.rs` (templates) and
//! `message.rs` (its format), and is sent in a conversation (`conversation.rs`).

mod address;
mod answered;
mod catalogue;
mod conversation;
mod digest;
mod failure;
mod layout;
mod line;
mod mailbox;
mod message;
mod recipients;
mod report;
mod server;
mod stream;
mod target;

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tara_export_events::{EventType, Names};
use tara_export_outbound::Authorities;

pub(crate) use self::target::{EmailTarget, Recipients};
pub use self::{
    address::{EmailAddress, InvalidAddress},
    recipients::{AllowedRecipients, InvalidAllowedRecipients},
};
use self::{
    answered::Answered,
    catalogue::Locale,
    conversation::{Login, Mailer, read_password},
    layout::Layout,
    mailbox::Mailbox,
    message::Letterhead,
    server::Server,
};
use tara_export_settings_file::{Faults, Fields};

use crate::{
    ReportMailer, TargetContext,
    target::{DEFAULT_EVENTS, OwnSettings},
    templates::TemplateSource,
};

/// Maximum number of addresses of a list. Every mail server takes 100 recipients of one mail.
const MAX_RECIPIENTS: usize = 50;
/// The value of `to` for the addresses that requests name.
const REQUESTED: &str = "requested";
/// Maximum length of a user name.
const USERNAME_LIMIT_BYTES: usize = 256;
const DEFAULT_DIGEST: Duration = Duration::from_secs(60);
const MAX_DIGEST: Duration = Duration::from_secs(60 * 60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(5 * 60);

/// The events that a list gets by default. Stored exports are many, and need no action.
const LISTED_EVENTS: &[EventType] =
    &[EventType::FellBack, EventType::Synced, EventType::Failed, EventType::Quarantined];

/// Reads the settings of this kind.
pub(crate) fn read(
    fields: &mut Fields,
    names: Names,
    context: &TargetContext,
    faults: &mut Faults,
) -> Option<OwnSettings> {
    read_trusting(fields, names, context, &Authorities::of_system(), faults)
}

/// Reads the settings of a target whose mail server has a certificate of one of these authorities.
fn read_trusting(
    fields: &mut Fields,
    names: Names,
    context: &TargetContext,
    authorities: &Authorities,
    faults: &mut Faults,
) -> Option<OwnSettings> {
    let server = read_server(fields, faults);
    let login = read_login(fields, context, faults);
    let from = fields
        .required_text("from", faults)
        .and_then(|text| read_mailbox(&text, &fields.path_of("from"), faults));
    let reply_to = fields
        .text("reply_to", faults)
        .and_then(|text| read_mailbox(&text, &fields.path_of("reply_to"), faults));
    let recipients = read_recipients(fields, faults);
    let digest = fields.duration("digest", Duration::ZERO..=MAX_DIGEST, faults);
    let timeout = fields.duration("timeout", TIMEOUTS, faults);
    let locale = read_locale(fields, faults);
    let layout = read_layout(fields, locale, names, context, faults);

    let (server, login, recipients) = (server?, login?, recipients?);
    let letterhead = Letterhead { from: from?, reply_to };
    let mailer = Mailer::new(server, login, authorities)
        .map_err(|error| faults.add(fields.path_of("smtp"), format!("cannot use TLS: {error}")));
    let is_for_requested = recipients == Recipients::Requested;
    let sender = Arc::new(EmailTarget {
        mailer: mailer.ok()?,
        letterhead,
        recipients,
        locale,
        layout: layout?,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        answered: Answered::new(),
    });
    Some(OwnSettings {
        default_events: if is_for_requested { DEFAULT_EVENTS } else { LISTED_EVENTS },
        digest: digest.unwrap_or(DEFAULT_DIGEST),
        is_for_requested,
        reports: Some(ReportMailer(sender.clone())),
        sender,
    })
}

fn read_server(fields: &mut Fields, faults: &mut Faults) -> Option<Server> {
    let url = fields.required_text("smtp", faults)?;
    let server = Server::parse(&url);
    server.map_err(|error| faults.add(fields.path_of("smtp"), error.to_string())).ok()
}

/// The user name and the file of the password: both, or none of them. `None` after a fault.
fn read_login(
    fields: &mut Fields,
    context: &TargetContext,
    faults: &mut Faults,
) -> Option<Option<Login>> {
    let username = fields.text("username", faults);
    let password_file = fields.file("password_file", &context.folder, faults);
    let (username, password_file) = match (username, password_file) {
        (None, None) => return Some(None),
        (Some(username), Some(password_file)) => (username, password_file),
        (Some(_), None) => {
            faults.add(fields.path_of("password_file"), "is missing: username is set");
            return None;
        }
        (None, Some(_)) => {
            faults.add(fields.path_of("username"), "is missing: password_file is set");
            return None;
        }
    };
    let is_valid = (1..=USERNAME_LIMIT_BYTES).contains(&username.len())
        && !username.contains(char::is_control);
    if !is_valid {
        let message = format!("must have 1 to {USERNAME_LIMIT_BYTES} bytes on one line");
        faults.add(fields.path_of("username"), message);
    }
    if let Err(error) = read_password(&password_file) {
        let message = format!("cannot read {}: {error}", password_file.display());
        faults.add(fields.path_of("password_file"), message);
    }
    Some(Some(Login { username, password_file }))
}

fn read_mailbox(text: &str, path: &str, faults: &mut Faults) -> Option<Mailbox> {
    Mailbox::parse(text).map_err(|message| faults.add(path, message)).ok()
}

fn read_recipients(fields: &mut Fields, faults: &mut Faults) -> Option<Recipients> {
    let path = fields.path_of("to");
    let values = match fields.take("to") {
        Some(Value::String(text)) if text == REQUESTED => return Some(Recipients::Requested),
        Some(Value::Array(values)) if (1..=MAX_RECIPIENTS).contains(&values.len()) => values,
        Some(_) => {
            let message =
                format!("must be a list of 1 to {MAX_RECIPIENTS} addresses, or \"{REQUESTED}\"");
            faults.add(path, message);
            return None;
        }
        None => {
            faults.add(path, format!("is missing: it is a list of addresses, or \"{REQUESTED}\""));
            return None;
        }
    };
    let mut addresses: Vec<EmailAddress> = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let parsed = EmailAddress::parse(value.as_str().unwrap_or_default());
        match parsed {
            Err(error) => faults.add(format!("{path}[{number}]"), error.to_string()),
            Ok(address) if addresses.contains(&address) => {
                faults.add(format!("{path}[{number}]"), "is there twice");
            }
            Ok(address) => addresses.push(address),
        }
    }
    (addresses.len() == values.len()).then_some(Recipients::Listed(addresses))
}

fn read_locale(fields: &mut Fields, faults: &mut Faults) -> Locale {
    let Some(text) = fields.text("locale", faults) else { return Locale::default() };
    Locale::parse(&text).unwrap_or_else(|| {
        let allowed = Locale::ALL.map(Locale::as_str).join(", ");
        faults.add(fields.path_of("locale"), format!("must be one of {allowed}, not {text:?}"));
        Locale::default()
    })
}

fn read_layout(
    fields: &mut Fields,
    locale: Locale,
    names: Names,
    context: &TargetContext,
    faults: &mut Faults,
) -> Option<Layout> {
    let template = fields.text("template", faults);
    let source = context.templates.as_deref().map(TemplateSource::new);
    match Layout::read(source.as_ref(), template, locale, names) {
        Ok(layout) => Some(layout),
        Err(found) => {
            for message in found {
                faults.add(fields.path_of("template"), message);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;

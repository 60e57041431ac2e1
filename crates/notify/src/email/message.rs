//! A mail in the format of RFC 5322.

use std::time::SystemTime;

use lettre::{
    Message,
    address::Envelope,
    message::{
        Mailbox as LettreMailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};
use tara_export_events::Event;
use uuid::Uuid;

use super::{address::EmailAddress, layout::Rendered, mailbox::Mailbox};

/// The sender of mails.
#[derive(Debug, Clone)]
pub(super) struct Letterhead {
    pub(super) from: Mailbox,
    pub(super) reply_to: Option<Mailbox>,
}

/// The Message-ID of a mail about these events to these recipients. A retry has the same one, so that mail systems can
/// recognise it; a mail with other content has another one, so that they do not drop it.
///
/// It is the first event's id with a digest of the other events, the sender, the recipients and the language:
/// `<79a19730-ec9c-5990-9ec4-48720362f90d.3f0c2a9b8d7e6f10@example.com>`.
pub(super) fn message_id(
    events: &[&Event],
    from: &EmailAddress,
    recipients: &[EmailAddress],
    locale: &str,
) -> String {
    let first = events.first().map(|event| *event.id().as_uuid()).unwrap_or_default();
    let ids: String = events.iter().map(|event| event.id().to_string()).collect();
    message_id_of(first, &ids, from, recipients, locale)
}

/// The same with the first id and all ids in one text.
pub(super) fn message_id_of(
    first: Uuid,
    ids: &str,
    from: &EmailAddress,
    recipients: &[EmailAddress],
    locale: &str,
) -> String {
    let mut content = format!("{from}\n{locale}\n");
    for recipient in recipients {
        content.push_str(recipient.as_str());
        content.push('\n');
    }
    content.push_str(ids);
    let content = Uuid::new_v5(&first, content.as_bytes()).simple().to_string();
    format!("<{first}.{}@{}>", &content[..16], from.domain())
}

/// The mail as it is sent, in ASCII.
///
/// # Errors
/// A message; not for recipients that were parsed.
pub(super) fn compose(
    letterhead: &Letterhead,
    recipients: &[EmailAddress],
    rendered: Rendered,
    message_id: String,
    date: SystemTime,
) -> Result<Vec<u8>, String> {
    let automatic = HeaderValue::new(
        HeaderName::new_from_ascii_str("Auto-Submitted"),
        "auto-generated".to_owned(),
    );
    let addresses = recipients.iter().map(EmailAddress::to_lettre).collect();
    let envelope = Envelope::new(Some(letterhead.from.address.to_lettre()), addresses);
    let mut builder = Message::builder()
        .envelope(envelope.map_err(|error| error.to_string())?)
        .from(letterhead.from.to_lettre())
        .date(date)
        .message_id(Some(message_id))
        .subject(rendered.subject)
        .raw_header(automatic);
    if let Some(reply_to) = &letterhead.reply_to {
        builder = builder.reply_to(reply_to.to_lettre());
    }
    for recipient in recipients {
        builder = builder.to(LettreMailbox::new(None, recipient.to_lettre()));
    }
    let parts = MultiPart::alternative_plain_html(rendered.text, rendered.html);
    let message = builder.multipart(parts).map_err(|error| error.to_string())?;
    Ok(message.formatted())
}

#[cfg(test)]
mod tests;

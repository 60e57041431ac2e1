//! What an answer of a mail server means for the delivery.

use std::error::Error as _;

use lettre::transport::smtp::{Error, response::Response};

use super::{address::EmailAddress, line::one_line, server::Server};
use crate::{SendError, SendErrorKind};

/// Maximum length of a server's text in a message.
const TEXT_LIMIT_BYTES: usize = 200;

/// The step of a conversation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// Before the first mail, and between mails.
    Greeting,
    /// STARTTLS.
    Tls,
    /// AUTH.
    Authentication,
    /// MAIL FROM.
    Sender,
    /// RCPT TO of one recipient.
    Recipient(&'a EmailAddress),
    /// DATA and the message.
    Content,
}

/// The answer of a server to one step.
#[derive(Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) server: &'a Server,
    pub(super) step: Step<'a>,
    /// Removed from messages; empty without authentication.
    pub(super) password: &'a str,
}

/// The target cannot take any event now.
pub(super) fn unavailable(message: impl Into<String>) -> SendError {
    SendError::new(SendErrorKind::Unavailable, message)
}

impl Answer<'_> {
    /// Checks that a positive response has the code of this step.
    ///
    /// # Errors
    /// The server does not speak SMTP.
    pub(super) fn expect(&self, response: &Response, code: u16) -> Result<(), SendError> {
        match response.has_code(code) {
            true => Ok(()),
            false => Err(unavailable(format!(
                "the mail server {} answered {} to {}, not {code}",
                self.server,
                response.code(),
                self.subject()
            ))),
        }
    }

    /// The failure that an error means. Texts of the server are shortened, without line breaks, addresses and the
    /// password; after AUTH they are omitted, because servers may repeat the command.
    pub(super) fn failure(&self, error: &Error) -> SendError {
        let code = error.status().map(u16::from);
        let text = match (self.step, code) {
            (Step::Authentication, Some(_)) => String::new(),
            _ => format!(": {}", self.text(error)),
        };
        let (server, subject) = (self.server, self.subject());
        let message = match (self.step, code) {
            (Step::Authentication, Some(code)) => format!(
                "the mail server {server} refused the credentials ({code}): check username and password_file"
            ),
            (_, Some(code)) => {
                let hint = if is_authentication_code(code) {
                    ": set username and password_file"
                } else {
                    ""
                };
                format!("the mail server {server} refused {subject} ({code}){text}{hint}")
            }
            (Step::Tls, None) => format!("cannot start TLS with the mail server {server}{text}"),
            (_, None) => {
                format!("the conversation with the mail server {server} failed at {subject}{text}")
            }
        };
        SendError::new(self.kind(code), message)
    }

    fn kind(&self, code: Option<u16>) -> SendErrorKind {
        match (self.step, code) {
            // 421: the server ends the conversation.
            (Step::Recipient(_) | Step::Content, Some(code))
                if code != 421 && !is_authentication_code(code) =>
            {
                if code >= 500 {
                    SendErrorKind::Rejected
                } else {
                    SendErrorKind::Refused
                }
            }
            _ => SendErrorKind::Unavailable,
        }
    }

    fn subject(&self) -> String {
        match self.step {
            Step::Greeting => "the conversation".to_owned(),
            Step::Tls => "STARTTLS".to_owned(),
            Step::Authentication => "the authentication".to_owned(),
            Step::Sender => "the sender".to_owned(),
            Step::Recipient(recipient) => format!("the recipient {}", recipient.masked()),
            Step::Content => "the message".to_owned(),
        }
    }

    fn text(&self, error: &Error) -> String {
        let text = error.source().map_or_else(|| error.to_string(), |source| source.to_string());
        let text = match self.password {
            "" => text,
            password => text.replace(password, "…"),
        };
        let words = text.split_whitespace().map(|word| if word.contains('@') { "…" } else { word });
        one_line(&words.collect::<Vec<_>>().join(" "), TEXT_LIMIT_BYTES)
    }
}

/// Whether the server requires authentication, or another one. Source: RFC 4954, section 6.
fn is_authentication_code(code: u16) -> bool {
    matches!(code, 530 | 534 | 535 | 538)
}

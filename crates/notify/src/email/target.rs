//! Sends events by mail.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tara_export_events::Event;
use tokio::time::{Instant, timeout_at};

use super::{
    address::EmailAddress,
    answered::{Answer, Answered},
    catalogue::Locale,
    conversation::{Conversation, Mailer},
    failure::unavailable,
    layout::Layout,
    message::{Letterhead, compose, message_id, message_id_of},
};
use crate::{Report, SendError, SendErrorKind, Sender};

/// Time for the end of a conversation, after its mails were answered.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Who gets the mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recipients {
    /// These addresses, which see each other.
    Listed(Vec<EmailAddress>),
    /// The addresses that each export's request names, in a mail each.
    Requested,
}

/// A target of kind `email`. Each delivery is one conversation with the mail server.
#[derive(Debug)]
pub(crate) struct EmailTarget {
    pub(super) mailer: Mailer,
    pub(super) letterhead: Letterhead,
    pub(crate) recipients: Recipients,
    pub(super) locale: Locale,
    pub(super) layout: Layout,
    /// For a whole delivery, from the resolution of the name to the last answer.
    pub(super) timeout: Duration,
    pub(super) answered: Answered,
}

#[async_trait]
impl Sender for EmailTarget {
    /// A list gets one mail about all events, or none.
    ///
    /// With requested recipients, an event is answered once each of them was: accepted, or rejected for ever and
    /// logged. Events without any accepted mail make the result [`SendErrorKind::Rejected`]; sending the others of the
    /// same call again succeeds without a second mail.
    async fn send(&self, events: &[Event]) -> Result<(), SendError> {
        if events.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + self.timeout;
        let mut open = None;
        let result = self.until(deadline, self.deliver(events, &mut open)).await;
        close(open, deadline).await;
        result
    }

    async fn check(&self) -> Result<(), SendError> {
        let deadline = Instant::now() + self.timeout;
        let mut open = None;
        let result = self.until(deadline, self.check_server(&mut open)).await;
        close(open, deadline).await;
        result
    }
}

/// Ends a conversation whose mails were answered before. A server that does not take part changes nothing.
async fn close(open: Option<Conversation>, deadline: Instant) {
    let Some(conversation) = open else { return };
    let deadline = deadline.min(Instant::now() + CLOSE_TIMEOUT);
    _ = timeout_at(deadline, conversation.close()).await;
}

impl EmailTarget {
    async fn until(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<(), SendError>>,
    ) -> Result<(), SendError> {
        timeout_at(deadline, work).await.unwrap_or_else(|_| {
            Err(unavailable(format!(
                "the conversation with the mail server took more than {}",
                humantime::format_duration(self.timeout)
            )))
        })
    }

    /// Sends a report in one mail, within the time limit of a delivery.
    ///
    /// # Errors
    /// If the mail server did not accept it for all addresses, or there is none.
    pub(crate) async fn send_report(
        &self,
        report: &Report,
        to: &[EmailAddress],
    ) -> Result<(), SendError> {
        let rejected = |message: String| SendError::new(SendErrorKind::Rejected, message);
        let recipients = match &self.recipients {
            Recipients::Listed(listed) if to.is_empty() => listed,
            Recipients::Requested if to.is_empty() => {
                return Err(rejected("the target has no addresses of its own".to_owned()));
            }
            _ => to,
        };
        let rendered =
            self.layout.render_report(report).map_err(|error| rejected(error.to_string()))?;
        let from = &self.letterhead.from.address;
        let id = message_id_of(report.id, "", from, recipients, self.locale.as_str());
        let mail = compose(&self.letterhead, recipients, rendered, id, SystemTime::now())
            .map_err(|error| rejected(format!("cannot write the mail: {error}")))?;
        let deadline = Instant::now() + self.timeout;
        let mut open = None;
        let delivering = async {
            let conversation = open.insert(self.mailer.open().await?);
            conversation.deliver(from, recipients, &mail).await
        };
        let result = self.until(deadline, delivering).await;
        close(open, deadline).await;
        result
    }

    /// Sends the events in a conversation that it leaves open, unless it broke.
    async fn deliver(
        &self,
        events: &[Event],
        open: &mut Option<Conversation>,
    ) -> Result<(), SendError> {
        let events: Vec<&Event> = events.iter().collect();
        match &self.recipients {
            Recipients::Listed(recipients) => self.send_listed(&events, recipients, open).await,
            Recipients::Requested => self.send_requested(&events, open).await,
        }
    }

    async fn check_server(&self, open: &mut Option<Conversation>) -> Result<(), SendError> {
        open.insert(self.mailer.open().await?).check().await
    }

    async fn send_listed(
        &self,
        events: &[&Event],
        recipients: &[EmailAddress],
        open: &mut Option<Conversation>,
    ) -> Result<(), SendError> {
        let mail = self.mail(events, recipients)?;
        let conversation = open.insert(self.mailer.open().await?);
        conversation.deliver(&self.letterhead.from.address, recipients, &mail).await
    }

    async fn send_requested(
        &self,
        events: &[&Event],
        open: &mut Option<Conversation>,
    ) -> Result<(), SendError> {
        let mut refused = None;
        for (recipient, events) in self.unanswered(events) {
            let recipients = [recipient];
            let mail = self.mail(&events, &recipients)?;
            let mut conversation = match open.take() {
                Some(conversation) => conversation,
                None => self.mailer.open().await?,
            };
            let from = &self.letterhead.from.address;
            let [recipient] = &recipients;
            self.remember(&events, recipient, Answer::Tried);
            let error = match conversation.deliver(from, &recipients, &mail).await {
                Ok(()) => {
                    self.remember(&events, recipient, Answer::Accepted);
                    *open = Some(conversation);
                    continue;
                }
                Err(error) => error,
            };
            match error.kind {
                SendErrorKind::Rejected => {
                    self.remember(&events, recipient, Answer::Rejected);
                    tracing::warn!(
                        recipient = recipient.masked(), %error, event_count = events.len(),
                        "a recipient of a request gets no mail"
                    );
                }
                SendErrorKind::Refused => refused = Some(error),
                SendErrorKind::Unavailable | SendErrorKind::Gone => return Err(error),
            }
            *open = conversation.reset().await.is_ok().then_some(conversation);
        }
        match refused {
            Some(error) => Err(error),
            None => self.check_accepted(events),
        }
    }

    /// The recipients who need a mail, each with its events. Those whose mail was tried before are last, so that one at
    /// which the server hangs does not keep the others from their mails.
    fn unanswered<'a>(&self, events: &[&'a Event]) -> Vec<(EmailAddress, Vec<&'a Event>)> {
        let mut mails: BTreeMap<(bool, String), (EmailAddress, Vec<&Event>)> = BTreeMap::new();
        let mut tried = HashSet::new();
        for event in events {
            let is_tried = |recipient: &EmailAddress| {
                self.answered.get(event.id(), recipient) == Some(Answer::Tried)
            };
            tried.extend(recipients_of(event).into_iter().filter(is_tried).map(|one| key_of(&one)));
        }
        for event in events {
            for recipient in recipients_of(event) {
                if !matches!(self.answered.get(event.id(), &recipient), None | Some(Answer::Tried))
                {
                    continue;
                }
                let key = key_of(&recipient);
                let (_, events) = mails
                    .entry((tried.contains(&key), key))
                    .or_insert_with(|| (recipient, Vec::new()));
                // A request may name an address twice.
                if events.last().is_none_or(|last| last.id() != event.id()) {
                    events.push(event);
                }
            }
        }
        mails.into_values().collect()
    }

    fn remember(&self, events: &[&Event], recipient: &EmailAddress, answer: Answer) {
        for event in events {
            self.answered.insert(event.id(), recipient, answer);
        }
    }

    /// Checks that each event reached a recipient.
    fn check_accepted(&self, events: &[&Event]) -> Result<(), SendError> {
        let is_accepted = |event: &&&Event| {
            recipients_of(event)
                .iter()
                .any(|recipient| self.answered.get(event.id(), recipient) == Some(Answer::Accepted))
        };
        match events.len() - events.iter().filter(is_accepted).count() {
            0 => Ok(()),
            count => Err(SendError::new(
                SendErrorKind::Rejected,
                format!(
                    "{count} of {} events have no recipient whose mail was accepted: their requests' notify_emails \
                     are wrong",
                    events.len()
                ),
            )),
        }
    }

    fn mail(&self, events: &[&Event], recipients: &[EmailAddress]) -> Result<Vec<u8>, SendError> {
        let rejected = |message: String| SendError::new(SendErrorKind::Rejected, message);
        let rendered = self.layout.render(events).map_err(|error| rejected(error.to_string()))?;
        let from = &self.letterhead.from.address;
        let id = message_id(events, from, recipients, self.locale.as_str());
        compose(&self.letterhead, recipients, rendered, id, SystemTime::now())
            .map_err(|error| rejected(format!("cannot write the mail: {error}")))
    }
}

/// The same for addresses that differ in case only.
fn key_of(recipient: &EmailAddress) -> String {
    recipient.as_str().to_ascii_lowercase()
}

/// The valid addresses among those of the request.
fn recipients_of(event: &Event) -> Vec<EmailAddress> {
    event.recipients.iter().filter_map(|text| EmailAddress::parse(text).ok()).collect()
}

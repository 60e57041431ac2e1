#![allow(clippy::unwrap_used, clippy::panic)]

use tara_export_events::{Event, EventType, testing::sample};

use self::peer::{Peer, Reply};
use super::{server::Security, *};
use crate::{SendError, SendErrorKind, Sender as _};

mod failures;
mod hanging;
mod peer;
mod real_mail;
mod requested;
mod settings;
mod tls;

/// A target that sends to a peer, with this time limit.
fn target_of(
    server: Server,
    authorities: &Authorities,
    login: Option<Login>,
    recipients: Recipients,
    timeout: Duration,
) -> EmailTarget {
    EmailTarget {
        mailer: Mailer::new(server, login, authorities).unwrap(),
        letterhead: Letterhead {
            from: Mailbox::parse("Audit <audit@example.com>").unwrap(),
            reply_to: None,
        },
        recipients,
        locale: Locale::English,
        layout: Layout::read(None, None, Locale::English, Names::Included).unwrap(),
        timeout,
        answered: Answered::new(),
    }
}

/// A target without authentication and with a time limit that is not reached.
fn patient(peer: &Peer, recipients: Recipients) -> EmailTarget {
    let timeout = Duration::from_secs(60);
    target_of(peer.server.clone(), &peer.authorities, None, recipients, timeout)
}

fn listed(addresses: &[&str]) -> Recipients {
    Recipients::Listed(addresses.iter().map(|text| EmailAddress::parse(text).unwrap()).collect())
}

fn is_step(step: &str, command: &str) -> bool {
    command.to_ascii_uppercase().starts_with(&step.to_ascii_uppercase())
}

fn kind_and_message(result: Result<(), SendError>) -> (SendErrorKind, String) {
    let error = result.unwrap_err();
    (error.kind, error.message)
}

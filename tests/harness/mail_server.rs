//! A mail server without TLS that keeps what it gets.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A mail as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) recipients: Vec<String>,
    /// Headers and body, in the format of RFC 5322.
    pub(crate) content: String,
}

impl Mail {
    pub(crate) fn message_id(&self) -> String {
        self.parsed().message_id().unwrap().to_owned()
    }

    /// Decoded.
    pub(crate) fn subject(&self) -> String {
        self.parsed().subject().unwrap().to_owned()
    }

    /// The plain text.
    pub(crate) fn text(&self) -> String {
        self.parsed().body_text(0).unwrap().into_owned()
    }

    pub(crate) fn html(&self) -> String {
        self.parsed().body_html(0).unwrap().into_owned()
    }

    fn parsed(&self) -> mail_parser::Message<'_> {
        mail_parser::MessageParser::default().parse(self.content.as_bytes()).unwrap()
    }
}

#[derive(Debug, Default)]
struct Mailbox {
    mails: Mutex<Vec<Mail>>,
    /// The answer to mails; `None` to accept them.
    refusal: Mutex<Option<&'static str>>,
}

/// A running mail server.
pub(crate) struct MailServer {
    pub(crate) address: SocketAddr,
    mailbox: Arc<Mailbox>,
    serving: JoinHandle<()>,
}

impl MailServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mailbox = Arc::new(Mailbox::default());
        let shared = mailbox.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, shared.clone()));
            }
        });
        Self { address, mailbox, serving }
    }

    /// A target that sends to this server.
    pub(crate) fn target(&self, name: &str, to: Value) -> Value {
        json!({
            "name": name, "kind": "email", "smtp": format!("smtp://{}", self.address),
            "from": "audit@example.com", "to": to, "digest": "0s",
        })
    }

    /// Answers mails with this line, or accepts them.
    pub(crate) fn refuse(&self, line: Option<&'static str>) {
        *self.mailbox.refusal.lock().unwrap() = line;
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mailbox.mails.lock().unwrap().clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn talk(stream: TcpStream, mailbox: Arc<Mailbox>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 test ESMTP\r\n").await.ok()?;
    let (mut line, mut recipients) = (String::new(), Vec::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let command = line.trim_end();
        let refusal = *mailbox.refusal.lock().unwrap();
        let answer = match command.split([' ', ':']).next()? {
            "EHLO" => "250-test\r\n250 8BITMIME",
            "RCPT" => match refusal {
                Some(refusal) => refusal,
                None => {
                    let address = command.strip_prefix("RCPT TO:<")?.strip_suffix('>')?;
                    recipients.push(address.to_owned());
                    "250 ok"
                }
            },
            "DATA" => {
                stream.write_all(b"354 send it\r\n").await.ok()?;
                let content = read_content(&mut stream).await?;
                let recipients = std::mem::take(&mut recipients);
                mailbox.mails.lock().unwrap().push(Mail { recipients, content });
                "250 ok"
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}

/// The lines of a mail until the single dot.
async fn read_content(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut content = String::new();
    loop {
        let start = content.len();
        if stream.read_line(&mut content).await.ok()? == 0 {
            return None;
        }
        if &content[start..] == ".\r\n" {
            content.truncate(start);
            return Some(content);
        }
        if content[start..].starts_with('.') {
            content.remove(start);
        }
    }
}
